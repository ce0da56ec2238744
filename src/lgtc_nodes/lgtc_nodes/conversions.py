"""rclpy messages from the plain values of `lgtc_core.wire`, which says how every core value appears in a message.

The way back needs nothing from here: the ``*_from_wire`` functions of `lgtc_core.wire` read messages by their
attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time as RosTime
from std_msgs.msg import Header as RosHeader

from lgtc_core import topics
from lgtc_core.wire import split_stamp


def to_ros(kind: Any, values: Mapping[str, Any]) -> Any:
    """Message of class `kind`; fields not in `values` keep their defaults.

    Args:
        kind: message, request or response class.
        values: field name -> value. A ``Header`` may be its stamp in seconds (frame "world"), a ``Time`` likewise,
            and a message of x, y, z a sequence of three; other messages are mappings again.
    """
    message = kind()
    types = _fields(kind)
    for name, value in values.items():
        setattr(message, name, _value(types[name], value))
    return message


def _value(declared: str, value: Any) -> Any:
    """`value` as a field of type `declared` takes it; `declared` as in "float", "std_msgs/Header",
    "sequence<pkg/Type>".
    """
    element = declared.removeprefix("sequence<").removesuffix(">").partition("[")[0]
    if element != declared:
        return [_value(element, item) for item in value] if "/" in element else np.asarray(value).tolist()
    if element == "std_msgs/Header":
        return RosHeader(stamp=_value("builtin_interfaces/Time", value), frame_id=topics.WORLD_FRAME)
    if element == "builtin_interfaces/Time":
        sec, nanosec = split_stamp(value)
        return RosTime(sec=sec, nanosec=nanosec)
    if "/" not in element:
        return _PLAIN.get(element, int)(value)
    kind = _message_class(element)
    if not isinstance(value, Mapping):
        value = dict(zip(("x", "y", "z"), value, strict=True))
    return to_ros(kind, value)


_PLAIN: Mapping[str, Callable[[Any], Any]] = {"boolean": bool, "string": str, "float": float, "double": float}
"""Python type of the basic field types that are not whole numbers: rclpy's setters refuse NumPy's scalars."""


@cache
def _fields(kind: Any) -> dict[str, str]:
    return dict(kind.get_fields_and_field_types())


@cache
def _message_class(name: str) -> Any:
    package, _, type_name = name.partition("/")
    return getattr(import_module(f"{package}.msg"), type_name)
