"""From pose to safe command through ROS, with every process of a flight running, for teams of several sizes.

    ./setup/run python bench/latency.py --drones 5 16 32        # flies, 30 s each; one line of a table per team
    ./setup/run python bench/latency.py --drones 16 32 --rate 20   # commanded 20 instead of 50 times a second
    ./setup/run python bench/latency.py --bags runs/latest/bag  # only reads bags

Flights are those of config/scenarios/many.yaml with another number of drones, at real time. A latency is the time
between the receipts, at the recorder, of a pose and of the safe command (the policy's command) that answers it, while
the mission was ACTIVE. Simulated time may have waited for a machine that is too slow: hence the real-time factor. The
load average is the machine's when the bag was read.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from lgtc_analysis import metrics
from lgtc_analysis.bag import read_flight
from lgtc_bringup.plan import BAG_DIR

CONFIG = Path(__file__).parents[1] / "config"
FLEET, SCENARIO = CONFIG / "fleet.yaml", CONFIG / "scenarios" / "many.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Fly, read, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drones", type=int, nargs="+", default=[5, 16])
    parser.add_argument("--rate", type=float, default=50.0, help="commands per drone and second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the policies fly (%(default)s)")
    parser.add_argument("--folder", type=Path, help="keep runs here; default: a temporary folder")
    parser.add_argument("--bags", type=Path, nargs="+", help="read these instead of flying")
    arguments = parser.parse_args(argv)
    columns = ["drones", "pose to safe command: median, p99", "pose to decision: median, p99", "poses"]
    columns += ["real-time factor (slowest 5 s)", "load average"]
    print(f"| {' | '.join(columns)} |")
    print("| --- | --- | --- | --- | --- | --- |")
    for bag in arguments.bags or ():
        print(row(bag), flush=True)
    if not arguments.bags:
        with tempfile.TemporaryDirectory() as temporary:
            for drones in arguments.drones:
                bag = fly(drones, arguments.seconds, 1.0 / arguments.rate, arguments.folder or Path(temporary))
                print(row(bag), flush=True)
    return 0


def fly(drones: int, seconds: float, command_period_s: float, folder: Path) -> Path:
    """Fly so many drones with all their processes; the bag."""
    run_dir = (folder / f"drones-{drones}").resolve()
    run_dir.mkdir(parents=True)
    fleet = yaml.safe_load(FLEET.read_text()) | {"command_period_s": command_period_s}
    (run_dir / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    scenario = yaml.safe_load(SCENARIO.read_text()) | {"count": drones, "duration_s": seconds}
    scenario["events"] = [event for event in scenario["events"] if event["at_s"] <= seconds]
    (run_dir / "scenario.yaml").write_text(yaml.safe_dump(scenario))
    command = [
        "lgtc",
        "sim",
        "--scenario",
        str(run_dir / "scenario.yaml"),
        "--fleet",
        str(run_dir / "fleet.yaml"),
        "--no-live",
        "--run-dir",
        str(run_dir / "run"),
    ]
    with (run_dir / "lgtc.log").open("wb") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)  # the verdict is not the question
    return run_dir / "run" / BAG_DIR


def row(bag: Path) -> str:
    """One line of the table."""
    flight = read_flight(bag)
    command_s, decision_s = metrics.pose_to_command_s(flight), metrics.pose_to_decision_s(flight)
    if not len(command_s) or not len(decision_s):
        return f"| {len(flight.names)} | no pose was answered, see {bag.parent} | | 0 | | {os.getloadavg()[0]:.1f} |"
    cells = [f"{1e3 * np.median(s):.1f} ms, {1e3 * np.quantile(s, 0.99):.1f} ms" for s in (command_s, decision_s)]
    factors = metrics.real_time_factors(flight)  # the latencies are real time; simulated time may have waited
    cells += [str(len(command_s)), f"{1 / np.mean(1 / factors):.2f} ({factors.min():.2f})"]
    return f"| {len(flight.names)} | {' | '.join(cells)} | {os.getloadavg()[0]:.1f} |"


if __name__ == "__main__":
    sys.exit(main())
