"""Fly for hours: consumers come, move and go, drones drain, hand over, land, are charged and rejoin.

    setup/run python bench/long_flight.py --hours 2                      # offline, as fast as it goes
    setup/run python bench/long_flight.py --minutes 20                   # every node, through ROS

Five drones, two or three places of six; every minute one comes, changes or goes. Parcels are handed over, and put on
the drones again every five minutes. A cell that was flown empty is exchanged: charged within two minutes on the ground.
A line of JSON per ten minutes of flight: memory, size of the ledger. At the end: hand-overs, how many without a gap,
and whether ledger, bag and report tell the same (`lgtc ledger compare`); exit code 1 if they do not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from lgtc_analysis import metrics
from lgtc_analysis.bag import read_flight
from lgtc_analysis.drift import compare
from lgtc_analysis.recording import flight_info, open_bag
from lgtc_bringup import inputs
from lgtc_bringup.plan import BAG_DIR, LEDGER_FILE
from lgtc_bringup.usage import processes_of
from lgtc_core import topics
from lgtc_core.demand.ledger import KEEP_ROWS_S, LedgerReader
from lgtc_core.demand.view import DemandView
from lgtc_core.fleet.team import load_team
from lgtc_core.flight.phases import MissionPhase, VehiclePhase
from lgtc_sim.offline import fly

PLACES_M = [(-1.5, 1.5), (0.0, 1.6), (1.5, 1.4), (-1.5, -1.4), (0.1, -1.6), (1.5, -1.5)]
TOLD_EVERY_S = 600.0
KEPT = (topics.DEMAND, topics.RESOURCES, topics.VEHICLE, topics.MISSION, topics.POSE)
"""Topics of a long bag: all that tells who carries, delivers and serves."""


def consumer(chance: random.Random, number: int) -> dict[str, Any]:
    """What a place asks for: one server, or parcels and one server."""
    x_m, y_m = PLACES_M[number]
    demand: dict[str, Any] = {"battery": {"amount": 0.3, "depletion": "zero_depletion"}}
    if chance.random() < 0.5:
        demand["parcel"] = {"amount": round(chance.uniform(0.1, 1.0), 2), "depletion": "instantaneous"}
    position_m = [x_m + round(chance.uniform(-0.2, 0.2), 2), y_m + round(chance.uniform(-0.2, 0.2), 2)]
    return {"position_m": position_m, "demand": demand}


def write_files(folder: Path, duration_s: float, seed: int) -> tuple[Path, Path]:
    """Fleet and scenario of the flight; returns their files."""
    chance, there = random.Random(seed), {0, 2, 4}
    fleet = yaml.safe_load(inputs.fleet_path(inputs.FLEET).read_text())
    fleet["types"]["crazyflie"]["battery"] = {"charge_current_a": 6.0, "arm_charge": 0.9}
    consumers = {f"place{n}": consumer(chance, n) for n in sorted(there)}
    events: list[dict[str, Any]] = []
    for minute in range(1, int(duration_s // 60.0)):
        number = chance.randrange(len(PLACES_M))
        event: dict[str, Any] = {"at_s": 60.0 * minute}
        if number not in there and len(there) < 3:
            there.add(number)
            event["add_consumer"] = {"name": f"place{number}", **consumer(chance, number)}
        elif number in there and len(there) > 2:
            there.discard(number)
            event["remove_consumer"] = f"place{number}"
        else:
            number = chance.choice(sorted(there))
            event["change_consumer"] = {"name": f"place{number}", **consumer(chance, number)}
        events.append(event)
        if minute % 5 == 0:
            change = {"drone": f"cf{chance.randrange(1, 6)}", "kind": "parcel", "amount": 0.8}
            events.append({"at_s": 60.0 * minute + 30.0, "set_supply": change})
    scenario = {
        "title": "A long shift: places come and go, drones drain, are charged and fly again",
        "consumers": consumers,
        "supplies": {"all": {"parcel": 0.5}, **{f"cf{n}": {"battery": 1.0 - 0.1 * n} for n in range(1, 6)}},
        "events": events,
        "rejoin": True,
        "duration_s": duration_s,
        "seed": seed,
    }
    files = folder / "long_fleet.yaml", folder / "long_shift.yaml"
    for file, data in zip(files, (fleet, scenario), strict=True):
        file.write_text(yaml.safe_dump(data, sort_keys=False))
    return files


def memory_mb(pid: int | str = "self") -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


class Thinned:
    """A recorder that takes one pose in eleven, so that every drone has its turn; the poses of hours fill a disk."""

    def __init__(self, bag: Any) -> None:
        self._bag, self._poses = bag, 0

    def write_values(self, topic: str, received_ns: int, values: Any) -> None:
        """Record it, or leave it out."""
        is_pose = topic.endswith(f"/{topics.POSE}")
        self._poses += is_pose
        if not is_pose or self._poses % 11 == 0:
            self._bag.write_values(topic, received_ns, values)


def offline(folder: Path, duration_s: float, seed: int, model: str, keep_rows_s: float) -> None:
    """Fly without ROS."""
    fleet, scenario = write_files(folder, duration_s, seed)
    team, model_dir, ledger = load_team(fleet, scenario), inputs.model_path(model), folder / LEDGER_FILE
    begun_s, told_s = time.perf_counter(), [0.0]

    def tell(time_s: float, phase: MissionPhase, demand: DemandView) -> None:
        if time_s - told_s[0] >= TOLD_EVERY_S:
            told_s[0] = time_s
            figures = {
                "flown [min]": round(time_s / 60.0),
                "times real time": round(time_s / (time.perf_counter() - begun_s), 1),
                "memory [MB]": round(memory_mb(), 1),
                "ledger [kB]": round(ledger.stat().st_size / 1024),
                "demand met": round(demand.share_met, 2),
            }
            print(json.dumps(figures), flush=True)

    info = flight_info(team, model_dir, "offline", receive_clock="simulated", seed=seed)
    with open_bag(folder / BAG_DIR, inputs.definitions_dir(), info, 0) as bag:
        result = fly(
            team,
            model_dir,
            recorder=Thinned(bag),
            recorded=KEPT,
            progress=tell,
            ledger=ledger,
            keep_rows_s=keep_rows_s,
            positions=False,
        )
    print(json.dumps({"mission": [f"{at_s:.0f} s {phase.name}" for at_s, phase, _ in result.mission]}))


def through_ros(folder: Path, duration_s: float, seed: int, model: str, speed: float) -> None:
    """Fly with every node, and look at the memory of each."""
    fleet, scenario = write_files(folder, duration_s, seed)
    command = ["lgtc", "sim", str(scenario), "--fleet", str(fleet), "--model", model, "--speed", str(speed)]
    command += ["--run-dir", str(folder), "--no-live"]
    begun_s = time.monotonic()
    with (folder / "lgtc.log").open("wb") as log:
        flight = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        told_s = begun_s
        while flight.poll() is None:
            time.sleep(1.0)
            if time.monotonic() - told_s >= 60.0:
                told_s = time.monotonic()
                figures = {"wall [min]": round((told_s - begun_s) / 60.0), "memory [MB]": memories(folder)}
                print(json.dumps(figures), flush=True)
    print(json.dumps({"exit code": flight.returncode, "wall [s]": round(time.monotonic() - begun_s)}))


def memories(folder: Path) -> dict[str, float]:
    """Resident memory of every process of the flight, by the first of its nodes."""
    found = {}
    for pid, words in processes_of(folder).items():
        if "--node" in words:
            with contextlib.suppress(OSError, StopIteration):  # it ended meanwhile
                found[words[words.index("--node") + 1]] = round(memory_mb(pid), 1)
    return dict(sorted(found.items()))


def judged(folder: Path) -> bool:
    """Tell what the flight was like; False if its sources tell different things."""
    flight = read_flight(folder / BAG_DIR)
    found = compare(flight, folder / LEDGER_FILE)
    with LedgerReader(folder / LEDGER_FILE) as reader:
        problems = reader.check()
    left = [one for one in metrics.handovers(flight) if one.landing]
    flights = sum(_count(drone.vehicle.phase, VehiclePhase.TAKING_OFF) for drone in flight.drones.values())
    figures = {
        "take-offs": flights,
        "hand-overs": len(left),
        "of these without a gap": sum(one.gap_s == 0.0 for one in left),
        "of these announced": sum(one.notice_s == one.notice_s for one in left),
        "longest gap [s]": round(max((one.gap_s for one in left if one.gap_s == one.gap_s), default=0.0), 1),
        "figures compared": len(found),
        "figures that differ": [one._asdict() for one in found if one.differs],
        "problems of the ledger": problems,
    }
    print(json.dumps(figures, indent=2))
    return not (figures["figures that differ"] or problems)


def _count(phase: Any, wanted: VehiclePhase) -> int:
    """How often a phase was entered."""
    on = phase == wanted
    return int((on[1:] & ~on[:-1]).sum())


def main() -> int:
    """Fly and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--hours", type=float, help="offline")
    how.add_argument("--minutes", type=float, help="through ROS")
    parser.add_argument("--speed", type=float, default=1.0, help="through ROS: simulated seconds per second")
    parser.add_argument(
        "--keep", type=float, default=KEEP_ROWS_S, help="offline: rows of the ledger are kept for so long [s]"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs/long_flight"))
    parser.add_argument("--model", default=inputs.MODEL)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    if (folder / LEDGER_FILE).exists():
        raise SystemExit(f"{folder}: got a folder with a ledger; expected a new one")
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if arguments.hours is not None:
        offline(folder, 3600.0 * arguments.hours, arguments.seed, arguments.model, arguments.keep)
    else:
        through_ros(folder, 60.0 * arguments.minutes, arguments.seed, arguments.model, arguments.speed)
    return 0 if judged(folder) else 1


if __name__ == "__main__":
    sys.exit(main())
