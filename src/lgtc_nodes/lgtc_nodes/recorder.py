"""The recorder as a ROS node: every topic of the flight, unread, into one bag."""

from __future__ import annotations

import datetime
import os
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from ament_index_python.packages import get_package_share_directory
from rclpy.qos import QoSProfile, ReliabilityPolicy

from lgtc_analysis.bag import BagWriter
from lgtc_analysis.info import FlightInfo
from lgtc_analysis.messages import RecordedTopic, read_definitions, recorded_topics, typestore
from lgtc_core import schema, topics
from lgtc_core.mind.card import load_card
from lgtc_nodes.lifeline import Lifeline
from lgtc_nodes.node import NodeParams, SwarmNode
from lgtc_nodes.qos import STREAMS, for_recorder

QUIET_S = 1.0
"""After the mission's end the recorder waits until nothing has come in for so long [s, steady clock]."""
VERSIONED = ("numpy", "onnxruntime", "osqp", "rclpy", "rosbags")
"""Software whose versions go into the flight's information."""


@dataclass(frozen=True, kw_only=True)
class RecorderParams(NodeParams):
    """Parameters of the recorder."""

    run_dir: Annotated[str, "Folder of the flight; the bag becomes its subfolder `bag`"]
    plan_file: Annotated[str, "JSON file with the flight's processes, kept in the bag; empty: none"] = ""
    model_dir: Annotated[str, "Folder of the model that decides, whose card is kept in the bag; empty: none"] = ""
    backend: Annotated[str, "What carries the drones, kept in the bag"] = "embedded"
    command: Annotated[str, "Command line that started the flight, kept in the bag"] = ""


class RecorderNode(SwarmNode[RecorderParams]):
    """Writes what the team says to a bag.

    Subscribes:
        every topic of `lgtc_analysis.messages.recorded_topics`, raw; the plan knows them, nothing is discovered.

    Publishes:
        /flight_info (String): latched: how this flight is made; also the first message of the bag.
    """

    def __init__(self, drone: str, lifeline: Lifeline) -> None:
        super().__init__("recorder", drone, RecorderParams, lifeline)
        definitions = read_definitions(Path(get_package_share_directory("lgtc_interfaces")) / "msg")
        self._bag = BagWriter(Path(self.params.run_dir) / "bag", typestore(definitions))
        self._quiet_since_s = time.monotonic()
        info = self._flight_info()
        for topic in recorded_topics(self.team.names):
            self._record(topic)
        self._bag.write_info(time.time_ns(), info)
        self.speak(topics.FLIGHT_INFO)({"data": info.to_json()})

    def has_duty(self) -> bool:
        """True while messages come in: a landing after the mission's end belongs to the flight."""
        return time.monotonic() - self._quiet_since_s < QUIET_S

    def close(self) -> None:
        """Write the bag's index."""
        self._bag.close()

    def _record(self, topic: RecordedTopic) -> None:
        kind, qos = self._stream(topic.name)
        self._bag.add_topic(topic, reliable=qos.reliability is ReliabilityPolicy.RELIABLE, depth=qos.depth)
        if topic.name != topics.FLIGHT_INFO:
            self.create_subscription(kind, topic.name, lambda raw: self._write(topic.name, raw), qos, raw=True)

    def _write(self, name: str, raw: bytes) -> None:
        # Receive times are the wall's, also in simulation: from them come the latencies of the report.
        self._bag.write(name, time.time_ns(), raw)
        self._quiet_since_s = time.monotonic()

    def _stream(self, name: str) -> tuple[Any, QoSProfile]:
        stream = STREAMS[name] if name in STREAMS else STREAMS[name.split("/", 2)[2]]
        return stream.type, for_recorder(stream)

    def _flight_info(self) -> FlightInfo:
        params = self.params
        return FlightInfo(
            name=self.team.scenario,
            backend=params.backend,
            team=self.team.to_dict(),
            created_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            seed=self.team.seed,
            model_card=schema.dump(load_card(params.model_dir)) if params.model_dir else {},
            plan=schema.load_json(params.plan_file) if params.plan_file else None,
            versions=_versions(),
            command=params.command,
        )


def _versions() -> dict[str, str]:
    """Versions by name; what is not installed as a package is left out."""
    found = {"python": sys.version.split()[0], "ros": os.environ.get("ROS_DISTRO", "unknown")}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


create = RecorderNode
