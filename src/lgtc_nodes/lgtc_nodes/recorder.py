"""The recorder as a ROS node: every topic of the flight, unread, into one bag."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from ament_index_python.packages import get_package_share_directory

from lgtc_analysis.messages import DRONE_TOPICS, TEAM_TOPICS
from lgtc_analysis.recording import flight_info, open_bag
from lgtc_core import schema, topics, wire
from lgtc_core.flight.phases import MissionPhase
from lgtc_core.mind.card import Policy
from lgtc_nodes import hearing
from lgtc_nodes.lifeline import Lifeline
from lgtc_nodes.node import SwarmNode
from lgtc_nodes.poses import PoseParams
from lgtc_nodes.qos import STREAMS, for_recorder

QUIET_S = 1.0
"""After the mission's end the recorder waits until nothing has come in for so long [s, steady clock]."""
SILENT_S = 5.0
"""Before it, so long: a simulated world may stand still, drones in the air, for those who are slow or have ended."""


@dataclass(frozen=True, kw_only=True)
class RecorderParams(PoseParams):
    """Parameters of the recorder."""

    run_dir: Annotated[str, "Folder of the flight; the bag becomes its subfolder `bag`"]
    plan_file: Annotated[str, "JSON file with the flight's processes, kept in the bag; empty: none"] = ""
    model_dir: Annotated[str, "Folder of the model that decides, whose card is kept in the bag; empty: none"] = ""
    policy: Annotated[Policy, "Who decides, kept in the bag"] = "model"
    backend: Annotated[str, "What carries the drones, kept in the bag"] = "embedded"
    command: Annotated[str, "Command line that started the flight, kept in the bag"] = ""


class RecorderNode(SwarmNode[RecorderParams]):
    """Writes what the team says to a bag.

    Subscribes:
        every topic of `lgtc_analysis.messages.recorded_topics`, raw; they are known, nothing is discovered. What comes
            together, poses on /poses (Poses) and bundles (Bundle), is written as each drone's own, so that all bags
            are alike.

    Publishes:
        /flight_info (String): latched: how this flight is made; also the first message of the bag.
    """

    def __init__(self, drone: str, lifeline: Lifeline) -> None:
        super().__init__("recorder", drone, RecorderParams, lifeline)
        params = self.params
        info = flight_info(
            self.team,
            params.model_dir or None,
            params.backend,
            plan=schema.load_json(params.plan_file) if params.plan_file else None,
            command=params.command,
            policy=params.policy,
        )
        definitions = Path(get_package_share_directory("lgtc_interfaces")) / "msg"
        self._bag = open_bag(Path(params.run_dir) / "bag", definitions, info, time.time_ns())
        self._heard_s = time.monotonic()
        self._done = False
        self._drones = frozenset(self.team.names)
        for topic in TEAM_TOPICS:
            if topic.name != topics.FLIGHT_INFO:
                self._record(topic.name)
        for name in DRONE_TOPICS:
            if not (params.poses_together and name == topics.POSE):
                self.hear_all(name, partial(self._write_of, name), deep=True)
        if params.poses_together:
            poses = STREAMS[topics.POSES]
            take = wire.poses_from_wire, self._write_poses
            hearing.hear(self, self, poses.type, topics.POSES, for_recorder(poses), *take)
        self.speak(topics.FLIGHT_INFO)({"data": info.to_json()})

    def on_mission(self, report: wire.MissionReport) -> None:
        """Whether the mission is done."""
        self._done = report.phase is MissionPhase.DONE

    def has_duty(self) -> bool:
        """True while messages come in: a landing after the mission's end belongs to the flight."""
        return time.monotonic() - self._heard_s < (QUIET_S if self._done else SILENT_S)

    def close(self) -> None:
        """Write the bag's index."""
        self._bag.close()

    def _record(self, name: str) -> None:
        stream = STREAMS[name]
        self.create_subscription(stream.type, name, lambda raw: self._write(name, raw), for_recorder(stream), raw=True)

    def _write_of(self, topic: str, drone: str, raw: bytes) -> None:
        if drone in self._drones:
            self._write(topics.of_drone(drone, topic), raw)

    def _write(self, name: str, raw: bytes) -> None:
        # Receive times are the wall's, also in simulation: from them come the latencies of the report.
        self._bag.write(name, time.time_ns(), raw)
        self._heard_s = time.monotonic()

    def _write_poses(self, poses: wire.Poses) -> None:
        now_ns = time.time_ns()
        for name, pose in poses.of.items():
            self._bag.write_values(topics.of_drone(name, topics.POSE), now_ns, wire.pose_to_wire(pose))
        self._heard_s = time.monotonic()


create = RecorderNode
