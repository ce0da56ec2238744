"""Opening the bag of a flight: the same topics and the same first message, whether nodes or the offline loop
fly.
"""

from __future__ import annotations

import datetime
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from lgtc_analysis.bag import BagWriter
from lgtc_analysis.info import FlightInfo
from lgtc_analysis.messages import read_definitions, recorded_topics, typestore
from lgtc_core import schema
from lgtc_core.fleet.team import Team
from lgtc_core.mind.card import Policy, load_card

VERSIONED = ("numpy", "onnxruntime", "osqp", "rclpy", "rosbags")
"""Software whose versions go into the flight's information, where it is installed."""


def flight_info(
    team: Team,
    model_dir: Path | str | None,
    backend: str,
    *,
    receive_clock: Literal["wall", "simulated"] = "wall",
    seed: int | None = None,
    plan: Any = None,
    command: str = "",
    policy: Policy = "model",
) -> FlightInfo:
    """How a flight is made, as far as its recorder can know.

    Args:
        team: who flies, for what.
        model_dir: the model that decides; None: none.
        backend: what carries the drones.
        receive_clock: clock of the bag's receive times.
        seed: of the simulation; None: the team's.
        plan: which process runs which nodes, plain data.
        command: command line that started the flight.
        policy: who decides.

    Raises:
        ConfigError, ContractError: the model's card cannot be used.
    """
    return FlightInfo(
        name=team.scenario,
        backend=backend,
        team=team.to_dict(),
        receive_clock=receive_clock,
        created_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seed=team.seed if seed is None else seed,
        model_card=schema.dump(load_card(model_dir)) if model_dir is not None else {},
        plan=plan,
        versions=_versions(),
        command=command,
        policy=policy,
    )


def open_bag(path: Path | str, definitions_dir: Path | str, info: FlightInfo, received_ns: int) -> BagWriter:
    """A bag that announces every topic of the team and begins with the flight's information.

    Args:
        path: folder to create.
        definitions_dir: folder with the .msg files of lgtc_interfaces.
        info: how the flight is made.
        received_ns: time of its first message, by the clock that `info` names [ns].

    Raises:
        ContractError: the folder exists, or the definitions are missing.
    """
    bag = BagWriter(path, typestore(read_definitions(definitions_dir)))
    for topic in recorded_topics([drone["name"] for drone in info.team["drones"]]):
        bag.add_topic(topic)
    bag.write_info(received_ns, info)
    return bag


def _versions() -> dict[str, str]:
    """Versions by name; what is not installed as a package is left out."""
    found = {"python": sys.version.split()[0], "ros": os.environ.get("ROS_DISTRO", "none")}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
