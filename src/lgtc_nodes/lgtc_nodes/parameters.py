"""ROS parameters from schema dataclasses: type, default, range and sentence with unit stand once, in the dataclass.

A nested dataclass becomes a group with dots (``filter.margin_m``). Parameters are read-only: a flight is flown with
the values that it was checked with. What the file says for this node and nobody declared is an error, as a typo would
be silently ignored.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange as RosFloatingPointRange
from rcl_interfaces.msg import IntegerRange as RosIntegerRange
from rcl_interfaces.msg import ParameterDescriptor as RosParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from lgtc_core import schema
from lgtc_core.errors import ConfigError

T = TypeVar("T")

FOREIGN = ("use_sim_time", "start_type_description_service", "qos_overrides.")
"""Parameters that rclpy itself declares."""


def declare(node: Node, cls: type[T]) -> T:
    """Declare every field of `cls` as a read-only parameter of `node`, and return the validated values.

    Raises:
        ConfigError: a value of the wrong type or out of bounds, or an override that is no parameter of this node. The
            error names the node where a file would stand.
    """
    source = node.get_fully_qualified_name()
    overrides = {name: parameter.value for name, parameter in node._parameter_overrides.items()}
    descriptors = dict(_descriptors(cls))
    for name in overrides:
        if name not in descriptors and not name.startswith(FOREIGN):
            raise ConfigError(source, name, "an unknown parameter", f"one of {', '.join(descriptors) or 'none'}")
    values = schema.build(cls, _nested({k: v for k, v in overrides.items() if k in descriptors}), source)
    flat = dict(_flat(schema.dump(values)))
    for name, descriptor in descriptors.items():
        # The override is in `flat` already, validated by the schema, whose errors say more than the middleware's.
        node.declare_parameter(name, flat[name], descriptor, ignore_override=True)
    return values


def _descriptors(cls: type, prefix: str = "") -> typing.Iterator[tuple[str, Any]]:
    """(name, descriptor) of every leaf of `cls`."""
    for field in schema.fields_of(cls):
        name = prefix + field.name
        if dataclasses.is_dataclass(field.type):
            yield from _descriptors(typing.cast("type", field.type), f"{name}.")
            continue
        unit = f" [{field.bounds.unit}]" if field.bounds is not None and field.bounds.unit else ""
        kind = _parameter_type(field.type, name)
        descriptor = RosParameterDescriptor(
            name=name, type=kind.value, description=field.sentence + unit, read_only=True
        )
        bounds = field.bounds
        if bounds is not None and math.isfinite(bounds.lo) and math.isfinite(bounds.hi):
            if kind is Parameter.Type.DOUBLE:
                descriptor.floating_point_range = [RosFloatingPointRange(from_value=bounds.lo, to_value=bounds.hi)]
            elif kind is Parameter.Type.INTEGER:
                descriptor.integer_range = [RosIntegerRange(from_value=int(bounds.lo), to_value=int(bounds.hi), step=0)]
        yield name, descriptor


_TYPES: dict[Any, Parameter.Type] = {
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
}
_ARRAYS: dict[Any, Parameter.Type] = {
    bool: Parameter.Type.BOOL_ARRAY,
    int: Parameter.Type.INTEGER_ARRAY,
    float: Parameter.Type.DOUBLE_ARRAY,
    str: Parameter.Type.STRING_ARRAY,
}


def _parameter_type(hint: Any, name: str) -> Parameter.Type:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in _TYPES:
        return _TYPES[hint]
    if origin is typing.Literal:
        return _TYPES[type(args[0])]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _TYPES[type(next(iter(hint)).value)]
    if origin is tuple and args and args[0] in _ARRAYS:
        return _ARRAYS[args[0]]
    if origin in (typing.Union, types.UnionType):
        raise TypeError(f"{name}: a ROS parameter cannot be null; give the field a value that says so")
    raise TypeError(f"{name}: {hint!r} cannot be a ROS parameter")


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Groups with dots as nested mappings; arrays as lists."""
    result: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, leaf = name.split(".")
        inner = result
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[leaf] = value if isinstance(value, (bool, int, float, str)) else list(value)
    return result


def _flat(nested: Mapping[str, Any], prefix: str = "") -> typing.Iterator[tuple[str, Any]]:
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
