"""Tables of configuration keys for the documentation, made from the schema dataclasses, so that no page can
lie about a key.

A page marks where a table stands; everything between the marks is made:

    <!-- keys of lgtc_core.fleet.fleet:FleetFile -->
    <!-- end of keys -->

``python -m lgtc_core.reference docs/scenarios.md`` makes the tables of a page anew; a test fails while one
is out of date.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import json
import re
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from lgtc_core import schema
from lgtc_core.errors import ConfigError
from lgtc_core.schema import Bounds

_BLOCK = re.compile(r"<!-- keys of (?P<module>[\w.]+):(?P<name>\w+) -->\n.*?<!-- end of keys -->", re.DOTALL)


def table(cls: type) -> str:
    """Markdown table of the keys of a schema dataclass: key, what it accepts with its unit, default,
    meaning.
    """
    lines = ["| key | accepts | default | meaning |", "| --- | --- | --- | --- |"]
    for field in sorted(schema.fields_of(cls), key=lambda field: field.default is not dataclasses.MISSING):
        cells = (f"`{field.name}`", _accepts(field.type, field.bounds), _default(field.default), field.sentence)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def refresh(text: str, source: str) -> str:
    """A page with all its tables made anew.

    Raises:
        ConfigError: a mark names a class that does not exist.
    """

    def remake(match: re.Match[str]) -> str:
        module, name = match["module"], match["name"]
        try:
            cls = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            raise ConfigError(source, "", f"a table of {module}:{name}", "a schema dataclass that exists") from None
        return f"<!-- keys of {module}:{name} -->\n{table(cls)}\n<!-- end of keys -->"

    return _BLOCK.sub(remake, text)


def _accepts(hint: Any, bounds: Bounds | None) -> str:
    """What a type accepts, in words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        own = next((extra for extra in args[1:] if isinstance(extra, Bounds)), None)
        return _accepts(args[0], own or bounds)
    if origin in (Union, types.UnionType):
        return " or ".join("null" if arg is type(None) else _accepts(arg, bounds) for arg in args)
    if origin is Literal:
        return ", ".join(f"`{arg}`" for arg in args)
    if dataclasses.is_dataclass(hint):
        return f"keys of *{getattr(hint, '__name__', hint)}*"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in hint)
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return f"list, each {_accepts(args[0], bounds)}"
        return f"list of {len(args)}, each {_accepts(args[0], bounds)}"
    if origin is not None and issubclass(origin, Mapping):
        return f"mapping from names, each {_accepts(args[1], bounds)}"
    words = {bool: "true or false", str: "text", int: "whole number", float: "number", Any: "value"}[hint]
    return f"{words} {bounds}" if bounds is not None and hint in (int, float) else words


def _default(value: Any) -> str:
    if value is dataclasses.MISSING:
        return "required"
    if dataclasses.is_dataclass(value):
        return "its defaults"
    return f"`{json.dumps(schema.dump(value))}`"


def main(paths: list[str]) -> int:
    """Make the tables of the pages `paths` anew; returns the exit status."""
    for path in map(Path, paths):
        path.write_text(refresh(path.read_text(encoding="utf-8"), str(path)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
