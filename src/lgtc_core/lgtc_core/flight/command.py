"""The safe command: what the guard answers and everybody else reads.

Apart from the guard, as only who filters shall load a solver (1.3 s of processor time, 45 MB).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.flight.phases import SafetyMode
from lgtc_core.rows import Rows

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class SafeCommand(NamedTuple):
    """A command that is safe to fly, with the evidence."""

    stamp_s: float
    """Stamp of the own pose that it answers [s]; NaN if there never was one."""
    velocity_mps: Array  # (3,)
    """Velocity, frame "world" [m/s]."""
    mode: SafetyMode
    reason: str
    """One sentence for a person; empty in PASSED."""
    barrier_min: float
    """Smallest barrier value h [m^2 for pairs, m for walls]; NaN without pose."""
    distance_min_m: float
    """Distance between centres to the nearest other drone [m]; NaN: none known."""
    correction_mps: float
    """|safe - nominal| [m/s], nominal after height hold, speed and acceleration limits."""
    solve_time_s: float
    """Time of building and solving [s]; 0 without pose. The one figure here that a clock is read for."""
    neighbours: int
    """Other drones that entered the barrier conditions."""
    neighbour_age_max_s: float
    """Age of the oldest of their positions [s]; NaN: none."""
    clear_above: bool = True
    """No other drone is known in the air above or beside the place where this one would rise."""
    clear_below: bool = True
    """No other drone is known to stand or to fly lower where this one would come down."""


@dataclass(frozen=True, eq=False)
class SafeCommands(Rows[SafeCommand]):
    """Commands of N drones at one moment."""

    stamp_s: Array  # (N,) -inf: of a drone without pose
    """Stamps of the own poses [s]."""
    velocity_mps: Array  # (N, 3)
    """Velocities, frame "world" [m/s]."""
    mode: Ints  # (N,)
    """`SafetyMode` of each."""
    make: Callable[[int], SafeCommand]
    """That of one drone, with the evidence."""

    def __len__(self) -> int:
        return len(self.mode)

    def row(self, i: int) -> SafeCommand:
        """The command of drone i."""
        return self.make(i)
