"""rclpy messages from the plain values of `lgtc_core.wire`, which says how every core value appears in a message.

The way back needs nothing from here: the ``*_from_wire`` functions of `lgtc_core.wire` read messages by their
attributes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time as RosTime

from lgtc_core import topics
from lgtc_core.wire import split_stamp


def to_ros(kind: Any, values: Mapping[str, Any], into: Any = None) -> Any:
    """Message of class `kind`; fields not in `values` keep their defaults.

    Args:
        kind: message, request or response class.
        values: field name -> value. A ``Header`` may be its stamp in seconds (frame "world"), a ``Time`` likewise,
            and a message of x, y, z a sequence of three; other messages are mappings again.
        into: a message of that class to write into, instead of a new one.
    """
    message = kind() if into is None else into
    setters = _setters(kind)
    for name, value in values.items():
        setters[name](message, value)
    return message


_Setter = Callable[[Any, Any], None]


@cache
def _setters(kind: Any) -> dict[str, _Setter]:
    """How each field of a message class is set."""
    return {name: _setter(name, declared) for name, declared in kind.get_fields_and_field_types().items()}


def _setter(name: str, declared: str) -> _Setter:
    """Sets field `name` of type `declared`, as in "float", "std_msgs/Header", "sequence<pkg/Type>"."""
    element = declared.removeprefix("sequence<").removesuffix(">").partition("[")[0]
    if element != declared:
        return _sequence_setter(name, element)
    if element == "std_msgs/Header":
        return lambda message, stamp_s: _set_header(getattr(message, name), stamp_s)
    if element == "builtin_interfaces/Time":
        return lambda message, stamp_s: _set_time(getattr(message, name), stamp_s)
    if "/" in element:
        return lambda message, value: _fill(getattr(message, name), value)
    plain = _PLAIN.get(element, int)
    return lambda message, value: setattr(message, name, plain(value))


def _sequence_setter(name: str, element: str) -> _Setter:
    """Sets a field that is a sequence or an array."""
    if element == "uint8":
        return lambda message, values: setattr(message, name, array("B", np.asarray(values, np.uint8).tobytes()))
    if "/" not in element:
        return lambda message, values: setattr(message, name, np.asarray(values).tolist())
    if element == "builtin_interfaces/Time":
        return lambda message, stamps: setattr(message, name, [_set_time(RosTime(), stamp_s) for stamp_s in stamps])
    kind = _message_class(element)
    return lambda message, items: setattr(message, name, [_fill(kind(), item) for item in items])


def _fill(message: Any, value: Any) -> Any:
    """The message with the fields of `value`: a mapping, or a sequence of x, y, z."""
    if isinstance(value, Mapping):
        return to_ros(type(message), value, message)
    x, y, z = value
    message.x, message.y, message.z = float(x), float(y), float(z)
    return message


def _set_header(header: Any, stamp_s: float) -> None:
    header.frame_id = topics.WORLD_FRAME
    _set_time(header.stamp, stamp_s)


def _set_time(stamp: Any, stamp_s: float) -> Any:
    stamp.sec, stamp.nanosec = split_stamp(stamp_s)
    return stamp


_PLAIN: Mapping[str, Callable[[Any], Any]] = {"boolean": bool, "string": str, "float": float, "double": float}
"""Python type of the basic field types that are not whole numbers: rclpy's setters refuse NumPy's scalars."""


@cache
def _message_class(name: str) -> Any:
    package, _, type_name = name.partition("/")
    return getattr(import_module(f"{package}.msg"), type_name)
