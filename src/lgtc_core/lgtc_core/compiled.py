"""Compiling numeric functions: to machine code, kept on disk between starts, with exact IEEE arithmetic.

Numba tells a stale cache by the time of the file that a function stands in, but compiled functions call each other
across files. So what is kept lies in a folder of its own for every state of the sources in COMPILED.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numba
from numba.experimental import structref

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

COMPILED = (
    "compiled.py", "flight/*.py", "mind/tape.py",
    "mind/team_minds.py", "mind/tick.py", "mind/observation.py", "world/arena.py", "world/namespace.py",
)  # fmt: skip
"""Sources whose functions are compiled by this decorator, or are called or read by such."""


def _cache_folder(package: Path) -> Path | None:
    """Where the machine code of the present sources is kept; None where nothing can be written."""
    sources = hashlib.sha256()
    for path in sorted(path for pattern in COMPILED for path in package.glob(pattern)):
        sources.update(path.read_bytes())
    name = f"compiled-{sources.hexdigest()[:16]}"
    given = os.environ.get("NUMBA_CACHE_DIR")
    beside = Path(given) if given else package / "__pycache__"
    for folder in (beside / name, Path.home() / ".cache" / "lgtc_swarm" / name):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None


_FOLDER = _cache_folder(Path(__file__).parent)
if _FOLDER is not None:
    setattr(numba.config, "CACHE_DIR", str(_FOLDER))  # noqa: B010 (not in numba's type information)


def compiled(function: F) -> F:
    """The function as machine code, compiled at the first call of a new combination of argument types."""
    return _compiled(function, inlined=False)


def inlined(function: F) -> F:
    """The same, put into the compiled functions that call it with a whole memory: a call counts references to every
    array that it hands on, .3 us for twenty.
    """
    return _compiled(function, inlined=True)


def _compiled(function: F, inlined: bool) -> F:
    keep = _FOLDER is not None
    return cast(F, numba.njit(cache=keep, fastmath=False, error_model="numpy", forceinline=inlined)(function))


_structref: Any = structref
"""Without types."""


@structref.register
class _PackedType(numba.types.StructRef):
    """How compiled code sees a `Packed`."""


class Packed(structref.StructRefProxy, Generic[T]):
    """Arrays and numbers as compiled code takes them; made by `pack`.

    Of a NamedTuple numba converts every array at every call, .1 us each; what is packed is handed over as a whole.
    """

    content: T
    """For compiled code alone: who packed it has the same arrays."""


_structref.define_constructor(Packed, _PackedType, ["content"])
_structref.define_boxing(_PackedType, Packed)
_packed: Callable[[Any], Any] = Packed


@compiled
def pack(content: T) -> Packed[T]:
    """A NamedTuple, or a tuple of such, for compiled code. The arrays stay where they are: both see every change."""
    packed: Packed[T] = _packed(content)
    return packed


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Around the first calls of compiled functions: of processes that start together one compiles, the others wait."""
    if _FOLDER is None:
        yield
        return
    with open(_FOLDER / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
