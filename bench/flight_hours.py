"""Fly random cases by the hour, offline and without recording; keep every seed; write down what it takes to fly a
violation again.

    ./setup/run python bench/flight_hours.py --hours 1                      # goes on after the seeds already flown
    ./setup/run python bench/flight_hours.py --hours 1 --hard               # the same under 30 % loss and 200 ms delay
    ./setup/run python bench/flight_hours.py --hours 1 --vehicle second_order --processes 2
    ./setup/run python bench/flight_hours.py --hours 1 --modes              # how long filters gave up conditions, too
    ./setup/run python bench/flight_hours.py --summary
    ./setup/run python bench/flight_hours.py --replay 17                    # exactly that flight, told in detail

Results lie in one file, a line per flight (seed, hours, closest pair, violations, vehicle, faults); a flight that is
cut short leaves none and is flown again.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import yaml

from lgtc_core import topics
from lgtc_core.fleet.fault import Fault, FaultKind
from lgtc_core.fleet.scenario import VehicleModel
from lgtc_core.flight.phases import SafetyMode, VehiclePhase
from lgtc_core.mind.taped import load_taped
from lgtc_sim.flight_hours import CONTACT_RADIUS_M, NOT_COVERED, Case, Verdict, draw, judge
from lgtc_sim.offline import fly

HARD = (Fault(kind=FaultKind.LOSS, amount=0.3), Fault(kind=FaultKind.DELAY, amount=0.2))
"""The harder run: so much loss and delay between all drones, all the time."""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 1 when a violation was found, or a contact within the hypotheses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1.0, help="flight time to add, of the whole team (%(default)s)")
    parser.add_argument("--wall", type=float, default=float("inf"), metavar="S", help="stop after so long [s]")
    parser.add_argument("--drones", type=int, default=16)
    parser.add_argument("--duration", type=float, default=120.0, metavar="S", help="of one flight (%(default)s)")
    parser.add_argument("--vehicle", choices=[model.value for model in VehicleModel], default="kinematic")
    parser.add_argument("--hard", action="store_true", help="30 %% loss and 200 ms delay between all drones")
    parser.add_argument("--modes", action="store_true", help="keep how long filters gave up conditions (slower)")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--model", type=Path, default=Path("models/lgtc"))
    parser.add_argument("--results", type=Path, default=Path("runs/flight_hours"), metavar="DIR")
    parser.add_argument("--summary", action="store_true", help="only tell what has been flown")
    parser.add_argument("--replay", type=int, metavar="SEED", help="fly one seed again and tell")
    arguments = parser.parse_args(argv)
    arguments.results.mkdir(parents=True, exist_ok=True)
    if arguments.replay is not None:
        case, verdict = flown(arguments, arguments.replay)
        write_case(arguments, arguments.replay, case)
        print(json.dumps(row(arguments, arguments.replay, case, verdict, 0.0), indent=2))
        return 0
    if not arguments.summary:
        run(arguments)
    return summary(arguments.results)


def run(arguments: argparse.Namespace) -> None:
    """Fly until the hours are reached."""
    left_s, begun_s = arguments.hours * 3600.0, time.monotonic()
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for line in pool.imap_unordered(one, jobs(arguments)):
            with results_file(arguments).open("a") as file:
                file.write(json.dumps(line) + "\n")
            if line["violations"] or line["contact"]:
                contact = f", contact at {line['closest_m']:.2f} m" if line["contact"] else ""
                covered = "" if line["covered"] else " (faults that are not covered)"
                print(f"seed {line['seed']}: violations {line['violations']}{contact}{covered}", flush=True)
            left_s -= line["flown_s"]
            if left_s <= 0.0 or time.monotonic() - begun_s > arguments.wall:
                pool.terminate()
                return


def jobs(arguments: argparse.Namespace) -> Iterator[tuple[argparse.Namespace, int]]:
    """Seeds not flown yet."""
    path = results_file(arguments)
    done = {json.loads(line)["seed"] for line in path.read_text().splitlines()} if path.exists() else set()
    seed = arguments.first_seed
    while True:
        if seed not in done:
            yield arguments, seed
        seed += 1


def results_file(arguments: argparse.Namespace) -> Path:
    """One per vehicle model and kind of run."""
    hard = "-hard" if arguments.hard else ""
    return Path(arguments.results) / f"{arguments.vehicle}{hard}.jsonl"


def one(job: tuple[argparse.Namespace, int]) -> dict[str, Any]:
    """Fly one seed."""
    arguments, seed = job
    begun_s = time.monotonic()
    modes = Modes() if arguments.modes else None
    case, verdict = flown(arguments, seed, modes)
    line = row(arguments, seed, case, verdict, time.monotonic() - begun_s)
    if modes is not None:
        line["relaxed_s"] = round(modes.longest_s, 2)
    if line["violations"] or line["beside"] or line["contact"]:
        line["files"] = str(write_case(arguments, seed, case))
    return line


class Modes:
    """Longest time for which the filter of a drone that follows its policy gave up conditions without a break."""

    TOPICS = (topics.SAFETY, topics.VEHICLE)

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._flying: dict[str, bool] = {}
        self._since_s: dict[str, float] = {}

    def write_values(self, topic: str, received_ns: int, values: Mapping[str, Any]) -> None:
        """Take one message, as a recorder does."""
        name, _, kind = topic.strip("/").partition("/")
        if kind == topics.VEHICLE:
            self._flying[name] = values["phase"] == VehiclePhase.FLYING
        elif kind == topics.SAFETY:
            now_s = received_ns / 1e9
            if values["mode"] != SafetyMode.RELAXED or not self._flying.get(name, False):
                self._since_s.pop(name, None)
            else:
                self.longest_s = max(self.longest_s, now_s - self._since_s.setdefault(name, now_s))


model_in = cache(load_taped)
"""The model in a folder: each process loads it once."""


def flown(arguments: argparse.Namespace, seed: int, modes: Modes | None = None) -> tuple[Case, Verdict]:
    """A case and what became of it."""
    case = draw(
        seed,
        drones=arguments.drones,
        duration_s=arguments.duration,
        model=VehicleModel(arguments.vehicle),
        always=HARD if arguments.hard else (),
    )
    team = case.team()
    return case, judge(fly(team, model_in(arguments.model), recorder=modes, recorded=Modes.TOPICS), team)


def row(arguments: argparse.Namespace, seed: int, case: Case, verdict: Verdict, wall_s: float) -> dict[str, Any]:
    """What is kept of one flight."""
    return {
        "seed": seed,
        "vehicle": arguments.vehicle,
        "drones": arguments.drones,
        "flown_s": round(verdict.flown_s, 2),
        "covered": case.covered,
        "faults": sorted({fault["kind"] for fault in case.scenario["faults"]}),
        "closest": round(verdict.closest, 4),
        "closest_m": round(verdict.contact_m, 4),
        "violations": [list(one) for one in verdict.violations] if case.covered else [],
        "beside": [list(one) for one in verdict.beside],
        "contact": verdict.contact_m < 2.0 * CONTACT_RADIUS_M,
        "wall_s": round(wall_s, 2),
    }


def write_case(arguments: argparse.Namespace, seed: int, case: Case) -> Path:
    """Fleet and scenario file of one case, as `lgtc sim --offline --fleet F --scenario S` flies them."""
    folder = Path(arguments.results) / f"{results_file(arguments).stem}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fleet.yaml").write_text(yaml.safe_dump(case.fleet, sort_keys=False))
    (folder / "scenario.yaml").write_text(yaml.safe_dump(case.scenario, sort_keys=False))
    return folder


COLUMNS = (
    "vehicle, run",
    "seeds",
    "hours of the team",
    "closest / D",
    "violations",
    "firmware beside one that stands",
    "contact, covered",
    "contact, not covered",
    "x real time",
)
"""Of the table in docs/flight-hours.md."""


def summary(results: Path) -> int:
    """Tell what all flights came to; 1 when there was a violation, or a contact within the hypotheses."""
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    bad, hours = 0, 0.0
    for path in sorted(results.glob("*.jsonl")):
        lines = sorted((json.loads(line) for line in path.read_text().splitlines()), key=lambda line: line["seed"])
        inside, outside = ([line for line in lines if line["covered"] is covered] for covered in (True, False))
        violated = [f"seed {line['seed']}" for line in inside if line["violations"]]
        touched = [f"seed {line['seed']}: {line['closest_m']:.2f} m" for line in inside if line["contact"]]
        beside = [f"seed {line['seed']}: {pair[3]:.2f} D" for line in inside for pair in line["beside"]]
        unlucky = [line for line in outside if line["contact"]]
        blamed = Counter(kind.value for line in unlucky for kind in NOT_COVERED if kind.value in line["faults"])
        flown_h = sum(line["flown_s"] for line in lines) / 3600.0
        print(
            f"| {path.stem} | {_ranges([line['seed'] for line in lines])} | {flown_h:.2f} |"
            f" {min((line['closest'] for line in inside), default=math.inf):.2f} |"
            f" {'; '.join(violated) or 0} of {len(inside)} | {'; '.join(beside) or 0} | {'; '.join(touched) or 0} |"
            f" {len(unlucky)} of {len(outside)}"
            f"{''.join(f'; {kind} {count}' for kind, count in sorted(blamed.items()))} |"
            f" {3600.0 * flown_h / max(1e-9, sum(line['wall_s'] for line in lines)):.0f} |"
        )
        bad, hours = bad + len(violated) + len(touched), hours + flown_h
    print(f"{hours:.1f} hours; violations and contacts within the hypotheses: {bad}")
    return 1 if bad else 0


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers in words: 0 to 4, 7."""
    starts = [n for n, before in zip(numbers, (None, *numbers), strict=False) if before != n - 1]
    ends = [n for n, after in zip(numbers, (*numbers[1:], None), strict=True) if after != n + 1]
    return ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True))


if __name__ == "__main__":
    raise SystemExit(main())
