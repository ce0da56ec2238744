"""Validated models from plain data: YAML and JSON files become frozen dataclasses, or an error that says where and why.

A dataclass is the schema. A field's bounds, unit and sentence stand beside its type, once:

    speed_mps: Annotated[float, Bounds(0.0, 5.0, "m/s"), "Largest speed over ground"] = 0.8

The same field declares a configuration key, a ROS parameter and a line of the documentation. Supported types: float,
int, bool, str, Literal, Enum, None-able (``X | None``), ``tuple[X, ...]`` and fixed tuples, ``Mapping[str, X]`` and
``dict[str, X]``, ``Any`` (plain data kept as it is), and nested dataclasses.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

from lgtc_core.errors import ConfigError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Closed interval of a number (or of every number in a tuple), with its unit."""

    lo: float = -math.inf
    hi: float = math.inf
    unit: str = ""

    def __contains__(self, value: float) -> bool:
        """True inside the interval; NaN is in no interval."""
        return self.lo <= value <= self.hi

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if math.isinf(self.lo) and math.isinf(self.hi):
            return f"a finite number{unit}"
        if math.isinf(self.hi):
            return f"at least {self.lo:g}{unit}"
        if math.isinf(self.lo):
            return f"at most {self.hi:g}{unit}"
        return f"between {self.lo:g} and {self.hi:g}{unit}"


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a schema dataclass, taken apart."""

    name: str
    type: Any
    """The bare type, without Annotated."""
    default: Any
    """The default, or ``dataclasses.MISSING``."""
    bounds: Bounds | None
    sentence: str


def fields_of(cls: type) -> tuple[Field, ...]:
    """Fields of a schema dataclass in order of declaration."""
    return _fields_of(cls)


@cache
def _fields_of(cls: Any) -> tuple[Field, ...]:
    hints = typing.get_type_hints(cls, include_extras=True)
    result = []
    for field in dataclasses.fields(cls):
        bare, bounds, sentence = _strip(hints[field.name])
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        result.append(Field(field.name, bare, default, bounds, sentence))
    return tuple(result)


def build(cls: type[T], data: object, source: str, key: str = "") -> T:
    """Validate plain data against dataclass `cls` and construct it.

    Args:
        cls: a dataclass whose fields are the schema.
        data: what a YAML or JSON parser returned.
        source: file name for error messages.
        key: path of `data` inside the file; empty at the top.

    Raises:
        ConfigError: unknown or missing key, wrong type, value out of bounds or not finite. A ConfigError raised by the
            dataclass's own ``__post_init__`` with an empty `file` gets file and key path filled in.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(source, key, _say(data), f"a mapping with the keys {_names(cls)}")
    fields = {field.name: field for field in fields_of(cls)}
    for name in data:
        if name not in fields:
            raise ConfigError(source, _join(key, str(name)), "an unknown key", f"one of {_names(cls)}")
    values = {}
    for field in fields.values():
        path = _join(key, field.name)
        if field.name in data:
            values[field.name] = _convert(field.type, field.bounds, data[field.name], source, path)
        elif field.default is dataclasses.MISSING:
            raise ConfigError(source, path, "no such key", _describe(field.type, field.bounds))
    try:
        return cls(**values)
    except ConfigError as error:
        if error.file:
            raise
        raise ConfigError(source, _join(key, error.key), error.got, error.expected) from None


def load_yaml(path: Path | str) -> Any:
    """Plain data of one YAML file. Duplicate keys are errors, as they would silently drop the first.

    Raises:
        ConfigError: file missing, unreadable, or not YAML.
    """
    path = Path(path)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except OSError as error:
        raise ConfigError(str(path), "", error.strerror or str(error), "a readable YAML file") from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), "", "bytes that are not UTF-8", "a YAML file in UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(str(path), "", " ".join(str(error).split()), "a well-formed YAML file") from None


def load_json(path: Path | str) -> Any:
    """Plain data of one JSON file.

    Raises:
        ConfigError: file missing, unreadable, or not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), "", error.strerror or str(error), "a readable JSON file") from None
    except ValueError as error:
        raise ConfigError(str(path), "", str(error), "a well-formed JSON file") from None


def load(cls: type[T], path: Path | str) -> T:
    """Validated model of one YAML file: ``build(cls, load_yaml(path), path)``."""
    return build(cls, load_yaml(path), str(path))


def dump(value: Any) -> Any:
    """Plain data (dict, list, str, number, bool, None) of a model; ``build(type(x), dump(x), ...) == x``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: dump(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): dump(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [dump(item) for item in value]
    return value


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys and reads ``1e-3`` as a number, which YAML 1.1 takes for text."""


def _mapping_without_duplicates(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        name = loader.construct_object(key_node, deep=True)
        if name in result:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {name!r} stands twice{key_node.start_mark}", key_node.start_mark
            )
        result[name] = loader.construct_object(value_node, deep=True)
    return result


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)
_StrictLoader.yaml_implicit_resolvers = {
    first: list(resolvers) for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _strip(hint: Any) -> tuple[Any, Bounds | None, str]:
    """(bare type, bounds, sentence) of a possibly annotated type."""
    if get_origin(hint) is not Annotated:
        return hint, None, ""
    bare, *extras = get_args(hint)
    bounds = next((extra for extra in extras if isinstance(extra, Bounds)), None)
    sentence = next((extra for extra in extras if isinstance(extra, str)), "")
    return bare, bounds, sentence


def _convert(hint: Any, bounds: Bounds | None, data: Any, source: str, key: str) -> Any:
    """`data` as `hint` demands, or ConfigError."""
    hint, own, _ = _strip(hint)
    bounds = own or bounds
    origin, args = get_origin(hint), get_args(hint)

    def refuse() -> ConfigError:
        return ConfigError(source, key, _say(data), _describe(hint, bounds))

    if hint is Any:
        return data
    if origin in (Union, types.UnionType):
        if data is None and type(None) in args:
            return None
        alternatives = [arg for arg in args if arg is not type(None)]
        if len(alternatives) == 1:
            return _convert(alternatives[0], bounds, data, source, key)
        for arg in alternatives:
            try:
                return _convert(arg, bounds, data, source, key)
            except ConfigError:
                continue
        raise refuse()
    if origin is Literal:
        if data in args and not (isinstance(data, bool) and True not in args and False not in args):
            return data
        raise refuse()
    if dataclasses.is_dataclass(hint):
        return build(typing.cast("type[Any]", hint), data, source, key)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        try:
            return hint(data)
        except ValueError:
            raise refuse() from None
    if origin is tuple:
        if not isinstance(data, (list, tuple)):
            raise refuse()
        if len(args) == 2 and args[1] is Ellipsis:
            hints: tuple[Any, ...] = (args[0],) * len(data)
        elif len(args) == len(data):
            hints = args
        else:
            raise refuse()
        return tuple(
            _convert(item_hint, bounds, item, source, f"{key}[{i}]")
            for i, (item_hint, item) in enumerate(zip(hints, data, strict=True))
        )
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(data, Mapping):
            raise refuse()
        result = {}
        for name, item in data.items():
            if not isinstance(name, str):
                raise ConfigError(source, key, f"the key {name!r}", "keys that are text (quote it)")
            result[name] = _convert(args[1], bounds, item, source, _join(key, name))
        return result
    if hint is bool:
        if isinstance(data, bool):
            return data
        raise refuse()
    if hint is str:
        if isinstance(data, str):
            return data
        raise refuse()
    if hint in (int, float):
        whole = isinstance(data, int) and not isinstance(data, bool)
        if not whole and not (hint is float and isinstance(data, float)):
            raise refuse()
        if not math.isfinite(data) or (bounds is not None and data not in bounds):
            raise refuse()
        return hint(data)
    raise TypeError(f"{key}: schema type {hint!r} is not supported")


def _describe(hint: Any, bounds: Bounds | None) -> str:
    """What a type accepts, in words."""
    hint, own, _ = _strip(hint)
    bounds = own or bounds
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join("nothing (null)" if a is type(None) else _describe(a, bounds) for a in args)
    if origin is Literal:
        return "one of " + ", ".join(map(str, args))
    if dataclasses.is_dataclass(hint):
        return f"a mapping with the keys {_names(typing.cast('type', hint))}"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return "one of " + ", ".join(str(member.value) for member in hint)
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return f"a list, each entry {_describe(args[0], bounds)}"
        return f"a list of {len(args)}, each {_describe(args[0], bounds)}"
    if origin is not None and issubclass(origin, Mapping):
        return f"a mapping from names, each value {_describe(args[1], bounds)}"
    words = {bool: "true or false", str: "text", int: "a whole number", float: "a number"}.get(hint, str(hint))
    return f"{words}, {bounds}" if bounds is not None and hint in (int, float) else words


def _say(data: object) -> str:
    """Short rendering of a found value."""
    if data is None:
        return "nothing (null)"
    if isinstance(data, Mapping):
        return "a mapping"
    if isinstance(data, (list, tuple)):
        return f"a list of {len(data)}"
    text = repr(data)
    return text if len(text) <= 60 else text[:57] + "..."


def _names(cls: type) -> str:
    return ", ".join(field.name for field in fields_of(cls))


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key and name and not name.startswith("[") else key + name
