"""Messages from the bytes that travel, by rosbags' generated code.

rclpy makes Python objects of a message through C, attribute by attribute, which takes longer than all that our nodes do
with most of them; rosbags reads the same bytes into objects with the same attributes in less time (docs/speed.md). No
rclpy here: the nursery prepares what its hosts decode.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from rosbags.serde import SerdeError
from rosbags.typesys.store import Typestore

from lgtc_analysis.messages import BUNDLE_TYPE, DRONE_TOPICS, POSES_TYPE, TEAM_TOPICS, read_definitions, typestore
from lgtc_core.errors import InputError


def decoder(kind: Any) -> Callable[[bytes], Any] | None:
    """What reads a message of class `kind` from its bytes; None for types of neither ROS nor this project.

    It raises InputError for bytes that are no such message.
    """
    name = f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"
    types = _types()
    if name not in types.fielddefs:
        return None

    def decode(raw: bytes) -> Any:
        try:
            return types.deserialize_cdr(raw, name)
        except SerdeError as error:
            raise InputError(name, f"{len(raw)} bytes that are none ({error})", "a serialised message") from error

    return decode


def prepare() -> None:
    """Make the code for every message of a flight now, not when the first one comes."""
    for name in {BUNDLE_TYPE, POSES_TYPE, *DRONE_TOPICS.values(), *(topic.type for topic in TEAM_TOPICS)}:
        _types().get_msgdef(name)


@cache
def _types() -> Typestore:
    return typestore(read_definitions(Path(get_package_share_directory("lgtc_interfaces")) / "msg"))
