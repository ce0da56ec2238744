"""What a host costs until its nodes are in the ROS graph: forked by a nursery, and started as a program, in turn.

    ./setup/run python bench/starts.py --starts 5

Processor time of the host itself, and wall time from asking. What the nursery loads, once per flight, is over before
the first host is asked for.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import rclpy

from lgtc_bringup.middleware import on_this_host
from lgtc_bringup.nursery import Forked, Nursery
from lgtc_bringup.plan import ROS_ARGUMENTS, OnFailure, ProcessSpec
from lgtc_bringup.runner import installed_program
from lgtc_bringup.usage import UsageMeter

HOSTS = {
    "wings": ("safety_filter:cf1", "vehicle:cf1"),
    "mind": ("policy:cf1", "resource_monitor:cf1"),
    "demand server": ("demand_server",),
}
ROOT = Path(__file__).resolve().parents[1]
PARAMETERS = f"""
/**:
  ros__parameters:
    fleet_file: {ROOT / "config/fleet.yaml"}
    scenario_file: {ROOT / "config/scenarios/first_delivery.yaml"}
/cf1/policy:
  ros__parameters:
    model_dir: {ROOT / "models/lgtc"}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Start every kind both ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--domain", type=int, default=6)
    arguments = parser.parse_args(argv)
    os.environ |= {"ROS_DOMAIN_ID": str(arguments.domain), "OMP_NUM_THREADS": "1", "LGTC_PARENT_PID": str(os.getpid())}
    os.environ |= on_this_host(os.environ)
    program = installed_program(ProcessSpec("host", "lgtc_nodes", "host", (), (), OnFailure.LAND, ""))
    rclpy.init()
    node = rclpy.create_node("bystander")
    spent: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        log, parameters = Path(folder) / "log", Path(folder) / "params.yaml"
        parameters.write_text(PARAMETERS)
        nursery = Nursery(program.with_name("nursery"), os.environ, log)
        end(nursery.born(["--node", "nonsense"], log))  # answered once it has loaded
        for _ in range(arguments.starts):
            for kind, nodes in HOSTS.items():
                words = [word for name in nodes for word in ("--node", name)]
                words += ["--ros-args", *ROS_ARGUMENTS, "--params-file", str(parameters)]
                names = {name.partition(":")[0] for name in nodes}
                for way in ("forked", "started"):
                    begun_s = time.monotonic()
                    forked = nursery.born(words, log) if way == "forked" else None
                    child = forked or subprocess.Popen([str(program), *words])
                    spent.setdefault((kind, way), []).append(up(node, names, child, begun_s))
        nursery.close()
    print(f"{arguments.starts} starts each, load average {os.getloadavg()[0]:.1f}\n")
    print("| host | way | processor time (median) | in the graph within (median, worst) |\n| --- | --- | --- | --- |")
    for (kind, way), rows in spent.items():
        cpu_s, up_s = zip(*rows, strict=True)
        middle_s = statistics.median(up_s)
        print(f"| {kind} | {way} | {statistics.median(cpu_s):.2f} s | {middle_s:.2f} s, {max(up_s):.2f} s |")
    return 0


def up(
    node: rclpy.node.Node, names: set[str], child: Forked | subprocess.Popen[bytes], begun_s: float
) -> tuple[float, float]:
    """(processor time, wall time) [s] of a host until its nodes are in the graph; it is ended then."""
    meter = UsageMeter(child.pid)
    while not names <= set(node.get_node_names()):
        time.sleep(0.01)
        if child.poll() is not None:
            raise SystemExit(f"{', '.join(names)}: ended with {child.poll()}")
    figures = meter.measure().cpu_s, time.monotonic() - begun_s
    end(child)
    while names & set(node.get_node_names()):
        time.sleep(0.05)
    return figures


def end(child: Forked | subprocess.Popen[bytes] | None) -> None:
    """End a host: by two signals, so that it leaves the network."""
    while child is not None and child.poll() is None:
        child.send_signal(signal.SIGTERM)
        time.sleep(0.05)


if __name__ == "__main__":
    raise SystemExit(main())
