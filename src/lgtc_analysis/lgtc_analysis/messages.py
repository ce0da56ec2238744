"""ROS 2 messages without ROS: their types, building them from plain values, and the topics of a flight.

`typestore` knows Jazzy's standard messages and the project's own, whose definitions come in as text. `build`
makes a message from plain values, so that the offline loop writes the same kind of bag as the recorder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from lgtc_core import topics
from lgtc_core.errors import ContractError

POSE_TYPE = "geometry_msgs/msg/PoseStamped"
POSES_TYPE = "lgtc_interfaces/msg/Poses"
BUNDLE_TYPE = "lgtc_interfaces/msg/Bundle"
VELOCITY_TYPE = "geometry_msgs/msg/TwistStamped"
HEADER_TYPE = "std_msgs/msg/Header"
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
    RecordedTopic(topics.FAULTS, "lgtc_interfaces/msg/Faults", latched=True),
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
    for name in definitions:
        for part in _parts(store, name):
            if part not in store.fielddefs:
                raise ContractError(
                    f"definition of {name}", f"the unknown type {part}", "types whose definition is given"
                )
    return store


def _parts(store: Typestore, name: str) -> Iterator[str]:
    """Names of the messages that a message has as fields or entries of fields."""
    fields: Any = store.fielddefs[name][1]
    for _, (node, detail) in fields:
        inner, content = detail[0] if node in (Nodetype.ARRAY, Nodetype.SEQUENCE) else (node, detail)
        if inner is Nodetype.NAME:
            yield content


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
    return _maker(store, type_name)({} if values is None else values)


Make = Callable[[Any], Any]
"""Makes a field or a message from what is given for it; None: nothing is given."""

_MAKERS: WeakKeyDictionary[Typestore, dict[str, Make]] = WeakKeyDictionary()


def _maker(store: Typestore, type_name: str) -> Make:
    """What makes messages of a type, worked out once per typestore."""
    makers = _MAKERS.setdefault(store, {})
    if type_name not in makers:
        makers[type_name] = _message_maker(store, type_name)
    return makers[type_name]


def _message_maker(store: Typestore, type_name: str) -> Make:
    cls = store.types[type_name]
    fields = {name: _field_maker(store, f"{type_name}.{name}", kind) for name, kind in store.fielddefs[type_name][1]}
    is_point, is_header = list(fields) == ["x", "y", "z"], type_name == HEADER_TYPE

    def make(given: Any) -> Any:
        if is_header and isinstance(given, (int, float)):
            given = {"stamp": stamp(given), "frame_id": topics.WORLD_FRAME}
        elif given is None:
            given = {}
        elif is_point and not isinstance(given, Mapping) and len(given) == 3:
            given = dict(zip(fields, given, strict=True))
        elif not isinstance(given, Mapping):
            raise ContractError(type_name, f"{given!r}", "a mapping of its fields")
        for name in given:
            if name not in fields:
                raise ContractError(type_name, f"the field {name!r}", "one of " + ", ".join(fields))
        return cls(**{name: field(given.get(name)) for name, field in fields.items()})

    return make


def _field_maker(store: Typestore, where: str, kind: Any) -> Make:
    node, detail = kind
    if node is Nodetype.BASE:
        return _SCALARS.get(detail[0], _whole)
    if node is Nodetype.NAME:
        return _maker(store, detail)
    item, length = detail
    fixed = length if node is Nodetype.ARRAY else 0
    make = _items_maker(store, item)

    def sequence(given: Any) -> Any:
        if given is None:
            given = [None if item[0] is Nodetype.NAME else 0] * fixed
        if fixed and len(given) != fixed:
            raise ContractError(where, f"{len(given)} entries", f"{fixed}")
        return make(given)

    return sequence


def _items_maker(store: Typestore, item: Any) -> Make:
    """What makes the entries of an array or sequence."""
    if item[0] is Nodetype.NAME:
        entry = _maker(store, item[1])
        return lambda given: [entry(one) for one in given]
    if item[1][0] == "string":
        return lambda given: [str(one) for one in given]
    dtype = np.dtype({"bool": np.bool_, "byte": np.uint8, "char": np.uint8}.get(item[1][0], item[1][0]))
    return lambda given: np.asarray(given, dtype=dtype).ravel()


def _text(given: Any) -> str:
    return "" if given is None else str(given)


def _real(given: Any) -> float:
    return 0.0 if given is None else float(given)


def _whole(given: Any) -> int:
    return 0 if given is None else int(given)


_SCALARS: Mapping[str, Make] = {"string": _text, "bool": bool, "float32": _real, "float64": _real}


def stamp(stamp_s: float) -> dict[str, int]:
    """Fields of ``builtin_interfaces/Time`` for a time in seconds, rounded to the nanosecond."""
    sec, nanosec = divmod(round(stamp_s * NS_PER_S), NS_PER_S)
    return {"sec": sec, "nanosec": nanosec}


def stamp_ns(time: Any) -> int:
    """Nanoseconds of a ``builtin_interfaces/Time``."""
    return int(time.sec) * NS_PER_S + int(time.nanosec)
