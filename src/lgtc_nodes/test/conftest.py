"""A real team of node processes in a domain of its own, watched by a node of the test."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from lgtc_core import topics, wire
from lgtc_core.flight.phases import MissionPhase, VehiclePhase
from lgtc_nodes.conversions import to_ros
from lgtc_nodes.qos import STREAMS

FLEET = {
    "kinds": ["battery"],
    "arena": {"half_extent_m": [2.5, 2.5], "flight_height_m": 0.5},
    "all": {"max_speed_mps": 1.0},
    "types": {"crazyflie": {}},
    "drones": {"cf1": {"start_m": [-0.6, 0.0]}, "cf2": {"start_m": [0.6, 0.0]}},
}
SCENARIO = {
    "title": "Two drones, two places, a short flight",
    "consumers": {
        "west": {"position_m": [-1.4, 0.0], "demand": {"battery": {"amount": 0.5, "depletion": "zero_depletion"}}},
        "east": {"position_m": [1.4, 0.0], "demand": {"battery": {"amount": 0.5, "depletion": "zero_depletion"}}},
    },
    "duration_s": 5.0,
}
MINDS, WINGS = ("policy", "resource_monitor"), ("safety_filter", "vehicle")


class Swarm:
    """Processes of a team, and what a bystander hears of it.

    Args:
        folder: for files and logs.
        model_dir: the model that decides.
        domain: DDS domain of the team; of nobody else.
        speed: simulated seconds per second.
        scenario: keys that replace those of `SCENARIO`.
        supervisor: parameters of the supervisor.
        poses_together: whether the team hears poses out of /poses.
        bundled: whether what drones say travels in bundles.
    """

    def __init__(
        self,
        folder: Path,
        model_dir: Path,
        domain: int,
        speed: float = 1.0,
        scenario: dict[str, Any] | None = None,
        supervisor: dict[str, Any] | None = None,
        poses_together: bool = False,
        bundled: bool = False,
    ) -> None:
        self.folder, self.domain = folder, domain
        self.drones = tuple(FLEET["drones"])
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._write("fleet.yaml", FLEET)
        self._write("scenario.yaml", SCENARIO | (scenario or {}))
        common = {
            "use_sim_time": True,
            "fleet_file": str(folder / "fleet.yaml"),
            "scenario_file": str(folder / "scenario.yaml"),
            "bundled": bundled,
        }
        own: dict[str, dict[str, Any]] = {
            "/simulator": {"use_sim_time": False, "speed": speed, "patience_s": 0.0},  # as real drones
            "/recorder": {"run_dir": str(folder), "model_dir": str(model_dir)},
            "/demand_server": {},
            "/supervisor": supervisor or {},
            "/stand_in": {},
            "/gazebo": {},
        }
        for drone in self.drones:
            own |= {f"/{drone}/{kind}": {} for kind in (*MINDS, *WINGS)}
            own[f"/{drone}/policy"] = {"model_dir": str(model_dir)}
        for node in own.keys() - {"/simulator", "/demand_server", "/supervisor", "/gazebo"}:
            own[node]["poses_together"] = poses_together
        self._write("params.yaml", {node: {"ros__parameters": common | values} for node, values in own.items()})
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = Node("bystander", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.phases: dict[str, VehiclePhase] = {}
        self.missions: list[wire.MissionReport] = []
        self.heights_m: dict[str, float] = {}
        self.watch(topics.MISSION, lambda message: self.missions.append(wire.mission_from_wire(message)))
        for drone in self.drones:
            self.watch(topics.VEHICLE, partial(self._phase, drone), drone)
            self.watch(topics.POSE, partial(self._pose, drone), drone)

    def start(self, *kinds: str, drones: tuple[str, ...] | None = None) -> None:
        """Start processes by name: a team node's kind, `minds`, `wings` (one process per drone each)."""
        for kind in kinds:
            if kind not in ("minds", "wings"):
                self.start_host(kind, [kind])
                continue
            for drone in drones or self.drones:
                nodes = MINDS if kind == "minds" else WINGS
                self.start_host(f"{kind}-{drone}", [f"{node}:{drone}" for node in nodes])

    def start_all(self) -> None:
        """The whole team, as a flight has it."""
        self.start("recorder", "simulator", "demand_server", "wings", "minds", "supervisor")

    def wait(self, what: str, true: Callable[[], bool], timeout_s: float = 45.0) -> None:
        """Spin until `true`, or fail with the logs."""
        end_s = time.monotonic() + timeout_s
        while not true():
            self.executor.spin_once(timeout_sec=0.05)
            if time.monotonic() > end_s:
                pytest.fail(f"not within {timeout_s:g} s: {what}\n{self.logs()}")

    def wait_phase(self, phase: VehiclePhase, timeout_s: float = 45.0) -> None:
        """Wait until every drone is in `phase`."""
        wanted = dict.fromkeys(self.drones, phase)
        self.wait(f"all {phase.name}", lambda: self.phases == wanted, timeout_s)

    def wait_mission(self, phase: MissionPhase, timeout_s: float = 45.0) -> None:
        """Wait until the mission is in `phase`."""
        self.wait(f"mission {phase.name}", lambda: bool(self.missions) and self.missions[-1].phase is phase, timeout_s)

    def wait_ended(self, timeout_s: float = 45.0) -> dict[str, int | None]:
        """Wait until every process has ended; exit codes by name."""
        self.wait("every process ended", lambda: all(p.poll() is not None for p in self.processes.values()), timeout_s)
        return {name: process.returncode for name, process in self.processes.items()}

    def signal_all(self, number: int = signal.SIGINT) -> None:
        """What Ctrl-C in a terminal does."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(number)

    def say(self, topic: str, values: wire.Wire, drone: str | None = None) -> Callable[[], None]:
        """A publisher of one fixed message, to be called again and again."""
        kind, qos = STREAMS[topic]
        name = topic if drone is None else topics.of_drone(drone, topic)
        publisher = self.node.create_publisher(kind, name, qos)
        message = to_ros(kind, values)
        return lambda: publisher.publish(message)

    def call(self, kind: Any, service: str, values: wire.Wire, timeout_s: float = 10.0) -> Any:
        """Answer of a service."""
        client = self.node.create_client(kind, service)
        self.wait(f"{service} is there", client.service_is_ready, timeout_s)
        future = client.call_async(to_ros(kind.Request, values))
        self.wait(f"{service} answers", future.done, timeout_s)
        return future.result()

    def watch(self, topic: str, take: Callable[[Any], object], drone: str | None = None) -> None:
        """Listen to a topic."""
        kind, qos = STREAMS[topic]
        self.node.create_subscription(kind, topic if drone is None else topics.of_drone(drone, topic), take, qos)

    def logs(self) -> str:
        """Last lines of every process."""
        parts = []
        for name, process in self.processes.items():
            text = (self.folder / f"{name}.log").read_text(errors="replace")
            parts.append(f"--- {name} (exit code {process.poll()})\n" + "\n".join(text.splitlines()[-15:]))
        return "\n".join(parts)

    def log(self, name: str) -> str:
        """Log of one process."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def phases_told(self, drone: str) -> list[str]:
        """Phases that the drone's vehicle adapter told in its log, in order."""
        names = "|".join(phase.name for phase in VehiclePhase)
        return re.findall(rf"\[{drone}\.vehicle\]: ({names})", self.log(f"wings-{drone}"))

    def close(self) -> None:
        """End everything, whatever state it is in."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def start_host(self, name: str, nodes: list[str], *words: str) -> None:
        """Start one process with these nodes, and further words on its command line."""
        command = [sys.executable, "-m", "lgtc_nodes.host", *words]
        command += [word for node in nodes for word in ("--node", node)]
        command += ["--ros-args", "--params-file", str(self.folder / "params.yaml")]
        environment = (
            {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
            | os.environ
            | {
                "ROS_DOMAIN_ID": str(self.domain),
                "ROS_LOG_DIR": str(self.folder / "ros"),
                "OMP_NUM_THREADS": "1",
                "PYTHONUNBUFFERED": "1",
            }
        )
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )

    def _write(self, name: str, data: Any) -> None:
        (self.folder / name).write_text(yaml.safe_dump(data))

    def _phase(self, drone: str, message: Any) -> None:
        if message.phase in tuple(VehiclePhase):
            self.phases[drone] = VehiclePhase(message.phase)

    def _pose(self, drone: str, message: Any) -> None:
        self.heights_m[drone] = message.pose.position.z


@pytest.fixture
def swarm(tmp_path: Path, greedy_model: Path, ros_domain: int) -> Iterator[Callable[..., Swarm]]:
    """Makes the test's swarm, which is ended with the test."""
    made: list[Swarm] = []

    def make(**options: Any) -> Swarm:
        made.append(Swarm(tmp_path, greedy_model, ros_domain, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
