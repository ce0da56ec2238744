"""One definition for NumPy and torch: the array library that an array belongs to, found without importing it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

Array = Any
"""A numpy.ndarray or a torch.Tensor; functions that take it return the same library's type."""


def namespace(array: Array) -> Any:
    """The module (numpy or torch) whose functions work on `array`.

    Python's own numbers count as NumPy's. Only operations that both libraries spell alike are used by the callers.
    lgtc_core never imports torch: whoever hands a tensor over has imported it already.
    """
    name = type(array).__module__.partition(".")[0]
    return np if name == "builtins" else sys.modules[name]


def indices(count: int, like: Array) -> Array:
    """(count,) whole numbers from 0, of the library and on the device of `like`."""
    xp = namespace(like)
    return xp.arange(count) if xp is np else xp.arange(count, device=like.device)
