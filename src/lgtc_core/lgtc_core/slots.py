"""Columns of arrays, by name: the known names keep theirs, strangers get one that is idle or a new one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


class Slots:
    """Which name has which column.

    Args:
        known: names that have the first columns for good, in their order.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._of = {name: slot for slot, name in enumerate(known)}
        self._known = len(self._of)
        self._names = {slot: name for name, slot in self._of.items()}

    def find(self, name: str) -> int | None:
        """Column of a name; None: it has none yet."""
        return self._of.get(name)

    def find_all(self, names: Iterable[str]) -> list[int | None]:
        """Columns of several names."""
        return list(map(self._of.get, names))

    def give(self, name: str, idle: npt.NDArray[np.bool_]) -> int:
        """Column for a stranger: the first of those `idle` (K,) that belongs to no known name, else K, a new one."""
        free = np.flatnonzero(idle[self._known :])
        slot = self._known + int(free[0]) if free.size else len(idle)
        self._of = {other: at for other, at in self._of.items() if at != slot} | {name: slot}
        self._names[slot] = name
        return slot

    def name(self, slot: int) -> str:
        """Who has a column."""
        return self._names[slot]
