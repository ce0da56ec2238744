"""Point the ROS wheels' CMake and script files at the environment that they were installed into.

The wheels were built under ``/opt/python/cp3XY-cp3XY`` and their files keep that prefix, so CMake finds neither
Python's header nor the packages beside it. Replaced is, in this order, the include folder (it belongs to the base
interpreter, not to the environment) and then the prefix. Running it twice changes nothing.

Usage: ``relocate.py ENVIRONMENT``
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

BUILD_INCLUDE = re.compile(rb"/opt/python/cp3\d+-cp3\d+/include/python3\.\d+")
BUILD_PREFIX = re.compile(rb"/opt/python/cp3\d+-cp3\d+")


def relocate(prefix: Path, include: Path) -> int:
    """Rewrite the text files of ``prefix``/share and ``prefix``/bin in place; return how many changed."""
    changed = 0
    for folder in ("share", "bin"):
        for path in (prefix / folder).rglob("*"):
            if path.is_symlink() or not path.is_file():
                continue
            old = path.read_bytes()
            if b"\0" in old:  # a program, not text
                continue
            new = BUILD_PREFIX.sub(str(prefix).encode(), BUILD_INCLUDE.sub(str(include).encode(), old))
            if new != old:
                path.write_bytes(new)
                changed += 1
    return changed


if __name__ == "__main__":
    count = relocate(Path(sys.argv[1]).resolve(), Path(sysconfig.get_path("include")))
    sys.stdout.write(f"[setup] {count} CMake files of the ROS wheels point at this environment\n")
