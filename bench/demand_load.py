"""CPU of the demand server at full size: 100 consumers, 50 drones that report at 20 Hz, deliveries, a ledger on disk.

    setup/run python bench/demand_load.py --seconds 20

The server is the real node in a process of its own. Drones fly from place to place, so that arrivals and departures are
recorded too. Printed: cores used by the server (CPU time / wall time: the machine may be busy), views per second,
and the time from request to durable answer.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import yaml
from rclpy.experimental import EventsExecutor
from rclpy.node import Node

from lgtc_core import topics, wire
from lgtc_core.demand.ledger import LedgerReader
from lgtc_core.flight.phases import MissionPhase, Tier
from lgtc_interfaces.srv import Deliver as RosDeliver
from lgtc_nodes.conversions import to_ros
from lgtc_nodes.qos import STREAMS

REPORT_S, DELIVER_S = 0.05, 0.1
KINDS = ("battery", "parcel")


def write_files(folder: Path, consumers: int, drones: int) -> None:
    """Fleet, scenario and parameters of the server."""
    side = math.ceil(math.sqrt(consumers))
    half_m = 0.75 * side
    fleet = {
        "kinds": list(KINDS),
        "arena": {"half_extent_m": [half_m, half_m]},
        "types": {"crazyflie": {}},
        "drones": {f"cf{n + 1}": {"start_m": [0.6 * (n % 10) - 3.0, 0.6 * (n // 10)]} for n in range(drones)},
    }
    demand = {
        "battery": {"amount": 0.5, "depletion": "zero_depletion"},
        "parcel": {"amount": 1e3, "depletion": "instantaneous"},
    }
    places = {
        f"c{n}": {
            "position_m": [1.5 * (n % side) - half_m + 0.75, 1.5 * (n // side) - half_m + 0.75],
            "demand": demand,
        }
        for n in range(consumers)
    }
    scenario = {"title": "Full size", "consumers": places, "duration_s": 1e5}
    values = {
        "fleet_file": str(folder / "fleet.yaml"),
        "scenario_file": str(folder / "scenario.yaml"),
        "ledger_file": str(folder / "ledger.sqlite"),
        "book": {"max_consumers": consumers},
    }
    (folder / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    (folder / "scenario.yaml").write_text(yaml.safe_dump(scenario))
    (folder / "params.yaml").write_text(yaml.safe_dump({"/demand_server": {"ros__parameters": values}}))


class Load(Node):
    """Fifty resource monitors in one node."""

    def __init__(self, consumers: int, drones: int) -> None:
        super().__init__("load")
        self._names = [f"cf{n + 1}" for n in range(drones)]
        kind, qos = STREAMS[topics.RESOURCES]
        self._resources = [
            self.create_publisher(kind, topics.of_drone(name, topics.RESOURCES), qos) for name in self._names
        ]
        self._kind = kind
        mission, qos = STREAMS[topics.MISSION]
        self._mission = self.create_publisher(mission, topics.MISSION, qos)
        self._heartbeat = to_ros(mission, wire.mission_to_wire(wire.MissionReport(0.0, MissionPhase.ACTIVE, 0.0, "")))
        demand, qos = STREAMS[topics.DEMAND]
        self.create_subscription(demand, topics.DEMAND, self._heard, qos)
        self._deliver = self.create_client(RosDeliver, topics.DELIVER)
        self._number, self._consumers = 0, consumers
        self.views = self.reports = 0
        self.latencies_s: list[float] = []
        self._span_m = 1.5 * math.ceil(math.sqrt(consumers))
        self.create_timer(REPORT_S, self._report)
        self.create_timer(DELIVER_S, self._ask)
        self.create_timer(0.1, lambda: self._mission.publish(self._heartbeat))

    def _report(self) -> None:
        now_s = self.get_clock().now().nanoseconds * 1e-9
        for n, publisher in enumerate(self._resources):
            # On a line over the places, at half a metre per second.
            along_m = (0.5 * now_s + 1.7 * n) % self._span_m - 0.5 * self._span_m
            across_m = 1.5 * (n % round(self._span_m / 1.5)) - 0.5 * self._span_m + 0.75
            resources = wire.Resources(
                stamp_s=now_s,
                kinds=KINDS,
                supply=np.array((0.8, 1.0)),
                position_m=np.array((along_m, across_m, 1.0)),
                serving=True,
                voltage_v=3.8,
                state_of_charge=0.8,
                time_left_s=300.0,
                tier=Tier.OK,
                reason="",
            )
            publisher.publish(to_ros(self._kind, wire.resources_to_wire(resources)))
            self.reports += 1

    def _ask(self) -> None:
        self._number += 1
        request = RosDeliver.Request(
            request_id=f"load-{self._number}",
            drone=self._names[self._number % len(self._names)],
            consumer=f"c{self._number % self._consumers}",
            kind="parcel",
            offered=0.5,
        )
        begun_s = time.monotonic()
        future = self._deliver.call_async(request)
        future.add_done_callback(lambda _: self.latencies_s.append(time.monotonic() - begun_s))

    def _heard(self, _: Any) -> None:
        self.views += 1


def main() -> None:
    """Run it and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--consumers", type=int, default=100)
    parser.add_argument("--drones", type=int, default=50)
    parser.add_argument("--domain", type=int, default=77)
    arguments = parser.parse_args()
    os.environ["ROS_DOMAIN_ID"] = str(arguments.domain)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, arguments.consumers, arguments.drones)
        command = [sys.executable, "-m", "lgtc_nodes.host", "--node", "demand_server"]
        command += ["--ros-args", "--params-file", str(folder / "params.yaml")]
        server = subprocess.Popen(command)
        try:
            print(json.dumps(measured(server, arguments, folder / "ledger.sqlite"), indent=2))
        finally:
            server.kill()
            server.wait()


def cpu_s(pid: int) -> float:
    """CPU time of a process so far [s], user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(server: subprocess.Popen[bytes], arguments: argparse.Namespace, ledger: Path) -> dict[str, Any]:
    """Figures of `arguments.seconds` after the server has come up."""
    rclpy.init()
    load = Load(arguments.consumers, arguments.drones)
    executor = EventsExecutor()
    executor.add_node(load)
    while len(load.latencies_s) < 10:
        executor.spin_once(timeout_sec=0.1)
        if server.poll() is not None:
            raise SystemExit(f"the server ended by itself, code {server.returncode}")
    before_s, begun_s = cpu_s(server.pid), time.monotonic()
    load.views, load.reports, load.latencies_s = 0, 0, []
    while time.monotonic() - begun_s < arguments.seconds:
        executor.spin_once(timeout_sec=0.1)
    used_s, wall_s = cpu_s(server.pid) - before_s, time.monotonic() - begun_s
    latencies_ms = 1e3 * np.array(load.latencies_s)
    with LedgerReader(ledger) as reader:
        problems, rows = reader.check(), sum(1 for _ in reader.rows())
    load.destroy_node()
    rclpy.shutdown()
    return {
        "consumers": arguments.consumers,
        "drones": arguments.drones,
        "reports per second": round(load.reports / wall_s),
        "cores of the server": round(used_s / wall_s, 3),
        "CPU per report [us]": round(1e6 * used_s / max(1, load.reports)),
        "views per second": round(load.views / wall_s, 1),
        "answer to a delivery, median [ms]": round(float(np.median(latencies_ms)), 1),
        "answer to a delivery, p99 [ms]": round(float(np.quantile(latencies_ms, 0.99)), 1),
        "rows in the ledger": rows,
        "problems found by the check": problems,
        "load average of the machine": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    main()
