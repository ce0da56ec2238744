"""ROS 2 messages without ROS: their types, building them from plain values, and the topics of a flight.

`typestore` knows Jazzy's standard messages and the project's own, whose definitions come in as text. `build`
makes a message from plain values, so that the offline loop writes the same kind of bag as the recorder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from lgtc_core import topics
from lgtc_core.errors import ContractError

POSE_TYPE = "geometry_msgs/msg/PoseStamped"
VELOCITY_TYPE = "geometry_msgs/msg/TwistStamped"
NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class RecordedTopic:
    """One topic of a flight."""

    name: str
    """Absolute name, as in ``/cf1/pose``."""
    type: str
    """Message type, as in ``geometry_msgs/msg/PoseStamped``."""
    latched: bool = False
    """Transient local: a late subscriber still gets the last message."""


DRONE_TOPICS: Mapping[str, str] = {
    topics.POSE: POSE_TYPE,
    topics.VELOCITY_NOMINAL: VELOCITY_TYPE,
    topics.VELOCITY_SAFE: VELOCITY_TYPE,
    topics.SAFETY: "lgtc_interfaces/msg/SafetyStatus",
    topics.RESOURCES: "lgtc_interfaces/msg/ResourceState",
    topics.POLICY_STATE: "lgtc_interfaces/msg/PolicyState",
    topics.BATTERY: "sensor_msgs/msg/BatteryState",
    topics.VEHICLE: "lgtc_interfaces/msg/VehicleStatus",
    topics.SETPOINT: "nav_msgs/msg/Odometry",
    topics.FEATURES: "lgtc_interfaces/msg/AgentFeatures",
}
"""Message type of every recorded per-drone topic, by relative name."""

TEAM_TOPICS: tuple[RecordedTopic, ...] = (
    RecordedTopic(topics.FLIGHT_INFO, "std_msgs/msg/String", latched=True),
    RecordedTopic(topics.MISSION, "lgtc_interfaces/msg/MissionState"),
    RecordedTopic(topics.DEMAND, "lgtc_interfaces/msg/Demand", latched=True),
    RecordedTopic(topics.PRESENCE, "lgtc_interfaces/msg/Presence"),
)


def recorded_topics(drones: Sequence[str]) -> tuple[RecordedTopic, ...]:
    """Every topic that a recording of these drones holds, the team's first."""
    return TEAM_TOPICS + tuple(
        RecordedTopic(topics.of_drone(drone, name), kind) for drone in drones for name, kind in DRONE_TOPICS.items()
    )


def read_definitions(directory: Path | str, package: str = "lgtc_interfaces") -> dict[str, str]:
    """Texts of the .msg files in `directory`, keyed by type name as in ``lgtc_interfaces/msg/Demand``.

    Raises:
        ContractError: the folder holds no .msg file.
    """
    definitions = {
        f"{package}/msg/{path.stem}": path.read_text(encoding="utf-8") for path in sorted(Path(directory).glob("*.msg"))
    }
    if not definitions:
        raise ContractError(str(directory), "no .msg file", f"the folder msg/ of the package {package}")
    return definitions


def typestore(definitions: Mapping[str, str]) -> Typestore:
    """Jazzy's standard messages and those of `definitions` (type name -> text of the .msg file).

    Raises:
        ContractError: a definition redefines a known type differently, or cannot be parsed.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    for name, text in definitions.items():
        register(store, name, text)
    return store


def register(store: Typestore, name: str, text: str) -> None:
    """Add the definition `text` of message type `name`, with the definitions of its parts where the text
    brings them.

    Parts that the store knows already keep the store's definition.

    Raises:
        ContractError: the text cannot be parsed, or contradicts what the store holds for `name`.
    """
    try:
        found = get_types_from_msg(text, name)
        store.register({kind: fields for kind, fields in found.items() if kind == name or kind not in store.fielddefs})
    except Exception as error:  # rosbags raises plain exceptions of its parser and of the code it generates
        raise ContractError(
            f"definition of {name}", str(error), "a .msg definition, equal wherever it stands"
        ) from error


def build(store: Typestore, type_name: str, values: Mapping[str, Any] | None = None) -> Any:
    """Message of type `type_name`; fields not in `values` are zero, empty or False.

    Args:
        store: knows the type.
        type_name: as in ``lgtc_interfaces/msg/VehicleStatus``.
        values: field name -> value. Nested messages are mappings again, with two shorthands: a ``Header`` may
            be its stamp in seconds (frame "world"), and a message of three numbers x, y, z may be a sequence
            of three.

    Raises:
        ContractError: a field that the type does not have, or an array of the wrong length.
    """
    values = {} if values is None else values
    fields = store.fielddefs[type_name][1]
    unknown = set(values) - {name for name, _ in fields}
    if unknown:
        raise ContractError(type_name, f"the field {sorted(unknown)[0]!r}", "one of " + ", ".join(n for n, _ in fields))
    return store.types[type_name](**{name: _field(store, type_name, name, kind, values) for name, kind in fields})


def stamp(stamp_s: float) -> dict[str, int]:
    """Fields of ``builtin_interfaces/Time`` for a time in seconds, rounded to the nanosecond."""
    sec, nanosec = divmod(round(stamp_s * NS_PER_S), NS_PER_S)
    return {"sec": sec, "nanosec": nanosec}


def stamp_ns(time: Any) -> int:
    """Nanoseconds of a ``builtin_interfaces/Time``."""
    return int(time.sec) * NS_PER_S + int(time.nanosec)


def _field(store: Typestore, type_name: str, name: str, kind: Any, values: Mapping[str, Any]) -> Any:
    node, detail = kind
    given = values.get(name)
    if node is Nodetype.BASE:
        return _scalar(detail[0], given)
    if node is Nodetype.NAME:
        return build(store, detail, _nested(store, detail, given))
    item, length = detail
    items = [] if given is None else given
    if node is Nodetype.ARRAY:
        items = [0] * length if given is None else given
        if len(items) != length:
            raise ContractError(f"{type_name}.{name}", f"{len(items)} entries", f"{length}")
    if item[0] is Nodetype.NAME:
        return [build(store, item[1], _nested(store, item[1], entry)) for entry in items]
    if item[1][0] == "string":
        return [str(entry) for entry in items]
    return np.asarray(items, dtype=_dtype(item[1][0])).ravel()


def _nested(store: Typestore, type_name: str, given: Any) -> Mapping[str, Any]:
    if given is None or isinstance(given, Mapping):
        return {} if given is None else given
    if type_name == "std_msgs/msg/Header":
        return {"stamp": stamp(float(given)), "frame_id": topics.WORLD_FRAME}
    names = [name for name, _ in store.fielddefs[type_name][1]]
    if names != ["x", "y", "z"] or len(given) != 3:
        raise ContractError(type_name, f"{given!r}", "a mapping of its fields")
    return dict(zip(names, given, strict=True))


def _scalar(base: str, given: Any) -> Any:
    if base == "string":
        return "" if given is None else str(given)
    if base == "bool":
        return bool(given)
    if base in ("float32", "float64"):
        return 0.0 if given is None else float(given)
    return 0 if given is None else int(given)


def _dtype(base: str) -> np.dtype[Any]:
    return np.dtype({"bool": np.bool_, "byte": np.uint8, "char": np.uint8}.get(base, base))
