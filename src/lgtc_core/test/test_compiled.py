"""What is packed for compiled code stays what it is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.compiled import Packed, compiled, pack

Array = npt.NDArray[np.float64]


class Pair(NamedTuple):
    """Two arrays."""

    first: Array
    second: Array


@compiled
def _add(packed: Packed[Pair]) -> float:
    """Sum of the first; 1 is added to the second."""
    pair = packed.content
    for i in range(len(pair.second)):
        pair.second[i] += 1.0
    return float(pair.first.sum())


def test_both_sides_see_every_change() -> None:
    pair = Pair(np.zeros(3), np.zeros(2))
    packed = pack(pair)
    pair.first[1] = 5.0
    assert _add(packed) == 5.0
    assert pair.second.tolist() == [1.0, 1.0]


def test_what_is_packed_outlives_who_packed_it() -> None:
    packed = pack(Pair(np.full(1000, 2.0), np.zeros(2)))
    np.full((8, 1000), 7.0)  # would be put where the first array was, were it gone
    assert _add(packed) == 2000.0
