"""Sequences that are kept as arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar, overload

T = TypeVar("T")


class Rows(Sequence[T], ABC):
    """What N drones have at one moment, as arrays: an element is made where somebody reads it."""

    @abstractmethod
    def row(self, i: int) -> T:
        """Element i, 0 <= i < len."""

    @overload
    def __getitem__(self, i: int) -> T: ...
    @overload
    def __getitem__(self, i: slice) -> list[T]: ...
    def __getitem__(self, i: int | slice) -> T | list[T]:
        which = range(len(self))[i]
        return self.row(which) if isinstance(which, int) else [self.row(one) for one in which]
