"""What may be a name: drones are ROS namespaces, and no drone may sit on a name that the team's own topics
use.
"""

from __future__ import annotations

import re

from lgtc_core import topics

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")

RESERVED = frozenset(
    value.split("/")[1] for name, value in vars(topics).items() if name.isupper() and value.startswith("/")
)
"""First parts of the team's absolute topic and service names: ``/demand``, ``/all``, ... A drone of that
name would collide."""

EXPECTED = "letters, digits and single underscores, a letter first"


def is_name(text: str) -> bool:
    """True if `text` can name a drone, a consumer or a resource kind (and can be a ROS namespace)."""
    return _NAME.fullmatch(text) is not None
