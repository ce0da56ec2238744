"""What faults do to N simulated vehicles, whatever body they have.

wind            dp/dt = v + w                          w constant while it blows
tracking lag    dr/dt = (r_set - r) / tau              r: the references that the body follows instead of r_set
deaf            neither setpoints nor orders arrive
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from lgtc_core.fleet.fault import Fault, FaultKind
from lgtc_core.loop.faults import any_of, direction, total

Array = npt.NDArray[np.float64]


class Disturbance:
    """Wind, lag and deafness of N vehicles; none at first.

    Args:
        names: of the vehicles.
        seed: of the directions from which winds blow.
    """

    def __init__(self, names: Sequence[str], seed: int) -> None:
        self._names, self._seed = tuple(names), seed
        n = len(self._names)
        self.wind_mps: Array = np.zeros((n, 3))
        self.lag_s: Array = np.zeros(n)
        self.deaf = np.zeros(n, dtype=bool)
        self.blows = self.lags = False

    def apply(self, faults: Iterable[Fault]) -> None:
        """These faults hold from now on."""
        faults = tuple(faults)
        for i, name in enumerate(self._names):
            self.wind_mps[i] = total(faults, FaultKind.WIND, name) * direction(self._seed, name)
            self.lag_s[i] = total(faults, FaultKind.TRACKING_LAG, name)
            self.deaf[i] = any_of(faults, FaultKind.IGNORES_COMMANDS, name)
        self.blows, self.lags = bool(self.wind_mps.any()), bool(self.lag_s.any())

    def follow(self, reference: Array, asked: Array, dt_s: float) -> Array:
        """References (N, 3) after `dt_s`, on their way to those asked for (N, 3), each with its lag."""
        weight = np.where(self.lag_s > 0.0, -np.expm1(-dt_s / np.maximum(self.lag_s, 1e-9)), 1.0)
        return np.asarray(reference + weight[:, None] * (asked - reference), np.float64)
