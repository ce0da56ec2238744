"""Kill every kind of process of a real flight with SIGKILL, and measure what the drones noticed.

    ./setup/run python bench/process_kills.py --flights 5 --rounds 8    # adds to the file
    ./setup/run python bench/process_kills.py --summary

Each flight is `lgtc sim` as anybody starts it, runner and restarts included. The kills come some seconds apart: the
recorder, in every round one of each kind that is started again (three times at most), then the wings of all
drones that still fly but one, the supervisor last. Times are the drones' (stamps of their messages, simulated seconds):

    hold        kill to the first setpoint of the stand-in (wings), or to the first safe command that holds (mind)
    back        kill to the first safe command that follows the policy again (mind)
    landing     kill to the first word that the drone is landing (wings); of the last drone (supervisor)
    gap         longest pause between two setpoints of any drone in the air, from the kill to the next one
    down        of the drone whose wings were killed, kill to touchdown; of all after the supervisor's
    closest     smallest distance of two centres in the flight; fastest fall: largest speed downwards
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import rclpy
import yaml
from rclpy.experimental import EventsExecutor
from rclpy.serialization import deserialize_message

from lgtc_bringup.usage import pid_of, processes_of
from lgtc_core import topics, wire
from lgtc_core.flight.phases import MissionPhase, SafetyMode, VehiclePhase
from lgtc_core.loop.stand_in import SIGNATURE
from lgtc_nodes.qos import STREAMS, for_recorder

RESTARTED = ("demand_server", "stand_in", "mind")
"""Killed in every round: the flight goes on."""
KINDS = ("recorder", *RESTARTED, "wings", "supervisor")
"""In this order in every flight: what ends a drone's flight, or the mission, comes last."""
WATCHED_S = 3.0
"""Simulated time from one kill to the next."""
STREAMING = (VehiclePhase.HOLDING, VehiclePhase.FLYING)
HOLDS = (SafetyMode.NOMINAL_LOST, SafetyMode.RELAXED)
FOLLOWS = (SafetyMode.PASSED, SafetyMode.FILTERED)


class Bystander:
    """Hears what a team says, as cheaply as the recorder, so that it takes no processor from the flight: time, mission
    and phases at once, all else is kept as it came and read by `catch_up`.
    """

    def __init__(self, drones: Sequence[str], domain: int) -> None:
        self.drones = tuple(drones)
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("bystander", context=self.context)
        self.executor = EventsExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.mission: MissionPhase | None = None
        self.now_s = 0.0
        self.phases: dict[str, VehiclePhase] = {}
        self.position_m: dict[str, Any] = {}
        self.setpoints: dict[str, list[tuple[float, str]]] = {name: [] for name in self.drones}
        self.modes: dict[str, list[tuple[float, SafetyMode]]] = {name: [] for name in self.drones}
        self.entered: dict[str, list[tuple[float, VehiclePhase]]] = {name: [] for name in self.drones}
        self.closest_m, self.fall_mps = math.inf, 0.0
        self._unread: list[tuple[Callable[[Any], None], Any, bytes]] = []
        self._hear(topics.CLOCK, self._clock)
        self._hear(topics.MISSION, self._mission)
        for name in self.drones:
            self._hear(topics.VEHICLE, partial(self._vehicle, name), name)
            self._keep(topics.POSE, partial(self._pose, name), name)
            self._keep(topics.SETPOINT, partial(self._setpoint, name), name)
            self._keep(topics.SAFETY, partial(self._safety, name), name)

    def catch_up(self) -> None:
        """Read what was only kept."""
        for take, kind, raw in self._unread:
            take(deserialize_message(raw, kind))
        self._unread.clear()

    def first_s(self, name: str, phase: VehiclePhase, since_s: float) -> float:
        """When a drone first said after `since_s` that it is in a phase; inf: not yet."""
        return next((time_s for time_s, said in self.entered[name] if time_s >= since_s and said is phase), math.inf)

    def spin(self, until: Callable[[], bool], limit_s: float) -> bool:
        """Listen until something is true; False if it was not within a wall time."""
        end_s = time.monotonic() + limit_s
        while not until():
            self.executor.spin_once(timeout_sec=0.05)
            if time.monotonic() > end_s:
                return False
        return True

    def close(self) -> None:
        """Leave the network."""
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

    def _hear(self, topic: str, take: Callable[[Any], None], drone: str | None = None) -> None:
        kind, qos = STREAMS[topic]
        self.node.create_subscription(kind, topic if drone is None else topics.of_drone(drone, topic), take, qos)

    def _keep(self, topic: str, take: Callable[[Any], None], drone: str) -> None:
        stream = STREAMS[topic]
        self.node.create_subscription(
            stream.type,
            topics.of_drone(drone, topic),
            lambda raw: self._unread.append((take, stream.type, raw)),
            for_recorder(stream),
            raw=True,
        )

    def _clock(self, message: Any) -> None:
        self.now_s = message.clock.sec + message.clock.nanosec / wire.NS_PER_S

    def _mission(self, message: Any) -> None:
        self.mission = MissionPhase(message.phase)

    def _vehicle(self, name: str, message: Any) -> None:
        self.phases[name] = VehiclePhase(message.phase)
        self.entered[name].append((wire.stamp_from_wire(message), self.phases[name]))

    def _setpoint(self, name: str, message: Any) -> None:
        self.setpoints[name].append((wire.stamp_from_wire(message), message.child_frame_id))

    def _safety(self, name: str, message: Any) -> None:
        self.modes[name].append((wire.stamp_from_wire(message), SafetyMode(message.mode)))

    def _pose(self, name: str, message: Any) -> None:
        pose = wire.pose_from_wire(message)
        before = self.position_m.get(name)
        if before is not None and pose.stamp_s > before.stamp_s:
            sunk_m = before.position_m[2] - pose.position_m[2]
            self.fall_mps = max(self.fall_mps, float(sunk_m / (pose.stamp_s - before.stamp_s)))
        self.position_m[name] = pose
        if pose.position_m[2] > 0.1:
            for other, seen in self.position_m.items():
                if other != name and seen.position_m[2] > 0.1 and abs(seen.stamp_s - pose.stamp_s) < 0.03:
                    self.closest_m = min(self.closest_m, math.dist(seen.position_m, pose.position_m))


def main(argv: Sequence[str] | None = None) -> int:
    """Fly and kill; 0 if no figure is beyond its mark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flights", type=int, default=3)
    parser.add_argument("--drones", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1, help="kills per flight of each kind that is started again")
    parser.add_argument("--domain", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("runs/process_kills"))
    parser.add_argument("--summary", action="store_true", help="only tell what was measured so far")
    arguments = parser.parse_args(argv)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    results = arguments.folder / "kills.jsonl"
    for _ in range(0 if arguments.summary else arguments.flights):
        fly(arguments, results)
    return summary(results)


def fly(arguments: argparse.Namespace, results: Path) -> None:
    """One flight with at least one kill of every kind; what it showed is added to `results`."""
    run_dir = (arguments.folder / f"flight-{time.time_ns()}").resolve()
    run_dir.mkdir(parents=True)
    place = {"position_m": [0.0, 1.2], "demand": {"battery": {"amount": 2.0, "depletion": "zero_depletion"}}}
    scenario = {"title": "Kills", "count": arguments.drones, "consumers": {"here": place}, "duration_s": 600.0}
    (run_dir / "kills.yaml").write_text(yaml.safe_dump(scenario))
    environment = os.environ | {"ROS_DOMAIN_ID": str(arguments.domain)}
    command = ["lgtc", "sim", "--scenario", str(run_dir / "kills.yaml"), "--no-live", "--run-dir", str(run_dir / "run")]
    command += ["--patience", "0"]  # real drones wait for nobody
    with (run_dir / "lgtc.log").open("wb") as log:
        flight = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    watch = Bystander([f"cf{i + 1}" for i in range(arguments.drones)], arguments.domain)
    keep = partial(kill_and_keep, watch, run_dir, results)
    try:
        flying = partial(all_fly, watch)
        if not watch.spin(flying, 180.0):
            raise SystemExit(f"no flight within 180 s; see {run_dir / 'lgtc.log'}")
        keep("recorder")
        for k in range(arguments.rounds):
            for kind in RESTARTED:
                keep(kind, watch.drones[k % len(watch.drones)] if kind == "mind" else "")
        for name in in_the_air(watch)[1:]:
            keep("wings", name)
        keep("supervisor")
        ended_s = time.monotonic() + 60.0
        while set(processes_of(run_dir)) - {flight.pid} and time.monotonic() < ended_s:
            watch.spin(lambda: False, 0.5)
        flight.kill()  # it is alone now, and at work on a report that nobody reads
        flight.wait()
    finally:
        if flight.poll() is None:
            os.killpg(flight.pid, signal.SIGINT)
            watch.spin(lambda: flight.poll() is not None, 60.0)
        watch.close()


def all_fly(watch: Bystander) -> bool:
    """Every drone follows its policy."""
    phases = [watch.phases.get(name) for name in watch.drones]
    return watch.mission is MissionPhase.ACTIVE and all(phase is VehiclePhase.FLYING for phase in phases)


def in_the_air(watch: Bystander) -> list[str]:
    """The drones whose setpoints must not pause."""
    return [name for name in watch.drones if watch.phases.get(name) in STREAMING]


def kill_and_keep(watch: Bystander, run_dir: Path, results: Path, kind: str, victim: str = "") -> None:
    """Kill one process and add what followed to the file at once: a flight may be cut short."""
    row = kill(watch, kind, run_dir, victim)
    row |= {"closest_m": round(watch.closest_m, 3), "fall_mps": round(watch.fall_mps, 2)}
    print(json.dumps(row), flush=True)
    with results.open("a") as file:
        file.write(json.dumps(row) + "\n")


def kill(watch: Bystander, kind: str, run_dir: Path, victim: str = "") -> dict[str, Any]:
    """Kill one process, of the drone `victim` or of the team, and watch what follows."""
    node = {"mind": f"policy:{victim}", "wings": f"vehicle:{victim}"}.get(kind, kind)
    begun_s = watch.now_s
    watch.spin(lambda: watch.now_s > begun_s + 1.0, 60.0)
    up, pid = in_the_air(watch), pid_of(run_dir, node)
    looked_s = watch.now_s  # looking for the process took time in which nobody listened
    watch.spin(lambda: watch.now_s > looked_s, 10.0)
    killed_s = watch.now_s
    os.kill(pid, signal.SIGKILL)
    over = partial(lambda: watch.now_s > killed_s + WATCHED_S)
    if kind in ("wings", "supervisor"):
        wanted = [victim] if victim else up
        watch.spin(lambda: all(watch.phases[name] is VehiclePhase.LANDED for name in wanted), 60.0)
    else:
        watch.spin(over, 120.0)
    watch.catch_up()
    row: dict[str, Any] = {"kind": kind, "gap_s": round(longest_gap_s(watch, up, killed_s), 3)}
    row["load"] = round(os.getloadavg()[0], 1)
    if kind == "wings":
        taken = [time_s for time_s, author in watch.setpoints[victim] if author == SIGNATURE and time_s >= killed_s]
        row["hold_s"] = round(taken[0] - killed_s, 3) if taken else None
    elif kind == "mind":
        held = [time_s for time_s, mode in watch.modes[victim] if time_s >= killed_s and mode in HOLDS]
        row["hold_s"] = round(held[0] - killed_s, 3) if held else None
        back = [time_s for time_s, mode in watch.modes[victim] if held and time_s > held[0] and mode in FOLLOWS]
        landing_s = watch.first_s(victim, VehiclePhase.LANDING, killed_s)
        row["back_s"] = round(min([landing_s, *back[:1]]) - killed_s, 2)
    if kind in ("wings", "supervisor"):
        for key, phase in (("landing_s", VehiclePhase.LANDING), ("down_s", VehiclePhase.LANDED)):
            row[key] = round(max(watch.first_s(name, phase, killed_s) for name in wanted) - killed_s, 2)
    if kind not in ("wings", "supervisor"):
        row["flying_after"] = {victim, *up} == {victim, *in_the_air(watch)}
    return row


def longest_gap_s(watch: Bystander, drones: Sequence[str], since_s: float) -> float:
    """Longest pause between two setpoints of a drone that was in the air at `since_s`, until it began to descend."""
    worst_s = 0.0
    for name in drones:
        times_s = [time_s for time_s, _ in watch.setpoints[name] if time_s >= since_s - 0.1]
        worst_s = max([worst_s, *(later - earlier for earlier, later in pairwise(times_s))])
    return worst_s


def summary(results: Path) -> int:
    """Print the table; 1 if a mark was missed."""
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    print("| killed | kills | hold within (median, worst) | longest gap (median, worst) |", end="")
    print(" back or landing within (median, worst) | down within | all others fly on |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    missed = False
    for kind in KINDS:
        mine = [row for row in rows if row["kind"] == kind]
        if not mine:
            continue
        holds = [row["hold_s"] if row["hold_s"] is not None else math.inf for row in mine if "hold_s" in row]
        gaps, downs = [row["gap_s"] for row in mine], [row["down_s"] for row in mine if "down_s" in row]
        after = [row.get("back_s", row.get("landing_s")) for row in mine if "back_s" in row or "landing_s" in row]
        afters = [math.inf if after_s is None else after_s for after_s in after]
        on = [row["flying_after"] for row in mine if "flying_after" in row]
        cells = [
            f"{statistics.median(holds):.2f} s, {max(holds):.2f} s" if holds else "",
            f"{statistics.median(gaps):.2f} s, {max(gaps):.2f} s",
            f"{statistics.median(afters):.2f} s, {max(afters):.2f} s" if afters else "",
            f"{max(downs):.1f} s" if downs else "",
            f"{sum(on)} of {len(on)}" if on else "",
        ]
        print(f"| {kind} | {len(mine)} | {' | '.join(cells)} |")
        missed |= max(gaps) > 0.4 or max(holds, default=0.0) > 0.3 or max(afters, default=0.0) > 2.0
    if rows:
        closest_m, fall_mps = min(row["closest_m"] for row in rows), max(row["fall_mps"] for row in rows)
        print(f"closest pair {closest_m:.2f} m, fastest descent {fall_mps:.2f} m/s")
        late = sum(row["gap_s"] > 0.4 or (row.get("hold_s") or 0.0) > 0.3 for row in rows)
        loads = [row["load"] for row in rows]
        print(f"{late} of {len(rows)} beyond .4 s gap or .3 s hold; load average {min(loads)} to {max(loads)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
