"""How fast the simulated world goes: by the wall's clock, but not away from those who fly in it.

A step of dt is due every dt / speed of real time. Whoever flies says so again and again, and every message carries the
simulated time at which its sender was; on a machine that is too slow, or at a speed that is too high, they fall behind:

    lag_i = now - stamp_i,    i is late where lag_i > limit_i

While somebody is late, the world stands still, and time runs slower instead of drones losing their commands. Real
drones wait for nobody, and a process that is dead says nothing: who has been silent while the world stood still for
`patience_s` of real time is not waited for any more until it speaks again, and the firmware's deadlines run on. The
dead are so waited for once, not one after the other; who lives has then had that time to catch up.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SETPOINT_LATE_S = 0.1
"""Limit for a stream of setpoints at 50 Hz; a slower one has three of its periods, as single messages get lost."""
REPORT_LATE_S = 0.25
"""Limit for what is said ten times a second."""
BEHIND_S = 0.2
"""When the world falls behind the wall's clock, this much is made up for; what is beyond is given up."""


class Pace:
    """Says when the next step of a world is due that K senders follow.

    Args:
        limit_s: how far behind is late, for each sender (K,) [s].
        dt_s: simulated time of a step.
        speed: simulated seconds per second that it aims at.
        patience_s: how long it stands still for those who are silent [s, real time]; 0: it waits for nobody.
    """

    def __init__(self, limit_s: npt.ArrayLike, dt_s: float, speed: float, patience_s: float) -> None:
        self.dt_s, self.speed, self.patience_s = dt_s, speed, patience_s
        self.waited_s = 0.0
        """Real time for which it has stood still for somebody."""
        self._limit_s: Array = np.array(limit_s, np.float64)
        self._stamp_s: Array = np.full(len(self._limit_s), math.inf)
        """inf: never heard, and not late."""
        self._missed_s: Array = np.zeros(len(self._limit_s))
        """Real time for which the world has stood still since each was heard."""
        self._begun_s = self._looked_s = math.nan

    def heard(self, i: int, stamp_s: float) -> None:
        """Sender i said something at this simulated time."""
        self._stamp_s[i], self._missed_s[i] = stamp_s, 0.0

    def due(self, wall_s: float, now_s: float, awaited: Bools) -> bool:
        """Whether the next step is due.

        Args:
            wall_s: steady real time [s].
            now_s: simulated time before the step [s].
            awaited: who is to say something at all (K,).
        """
        if math.isnan(self._begun_s):
            self._begun_s, self._looked_s = wall_s - now_s / self.speed, wall_s
        passed_s, self._looked_s = wall_s - self._looked_s, wall_s
        behind_s = (wall_s - self._begun_s) * self.speed - now_s
        if behind_s > BEHIND_S:
            self._begun_s += (behind_s - BEHIND_S) / self.speed
        if behind_s < self.dt_s:
            return False
        late = awaited & (now_s - self._stamp_s > self._limit_s) & (self._missed_s < self.patience_s)
        if not late.any():
            return True
        self._missed_s += passed_s
        self._begun_s += passed_s  # what it stands still for is not made up for
        self.waited_s += passed_s
        return False
