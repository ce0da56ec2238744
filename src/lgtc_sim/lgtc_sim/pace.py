"""How fast the simulated world goes: by the wall's clock, but not away from those who fly in it.

A step of dt is due every dt / speed of real time. Who streams to a vehicle answers what it saw at a simulated time, the
stamp of its setpoint; on a machine that is too slow, or at a speed that is too high, the answers fall behind:

    lag_i = now - stamp_i,    i is late where lag_i > LATE_S

While somebody is late, the world stands still, and time runs slower instead of drones losing their commands. Real
drones wait for nobody, and a process that is dead never answers: whoever stays late for `patience_s` of real time is
not waited for any more until it answers in time again, and the firmware's deadlines run on.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lgtc_core.flight.guard_memory import NEVER_S

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LATE_S = 0.1
"""A setpoint that is farther behind the simulated time than this is late; five are due in that time."""
BEHIND_S = 0.2
"""When the world falls behind the wall's clock, this much is made up for; what is beyond is given up."""


class Pace:
    """Says when the next step of a world with N vehicles is due.

    Args:
        vehicles: N.
        dt_s: simulated time of a step.
        speed: simulated seconds per second that it aims at.
        patience_s: how long it waits for somebody who is late [s, real time]; 0: it waits for nobody.
    """

    def __init__(self, vehicles: int, dt_s: float, speed: float, patience_s: float) -> None:
        self.dt_s, self.speed, self.patience_s = dt_s, speed, patience_s
        self.waited_s = 0.0
        """Real time for which it has stood still for somebody."""
        self._stamp_s: Array = np.full(vehicles, NEVER_S)
        self._missed_s: Array = np.zeros(vehicles)
        """Real time for which each has been waited for since it was in time."""
        self._begun_s = self._looked_s = math.nan

    def answered(self, i: int, stamp_s: float) -> None:
        """Vehicle i was told something that was decided at this simulated time."""
        self._stamp_s[i] = stamp_s

    def due(self, wall_s: float, now_s: float, streams: Bools) -> bool:
        """Whether the next step is due.

        Args:
            wall_s: steady real time [s].
            now_s: simulated time before the step [s].
            streams: which vehicles are flown by setpoints (N,); others are not waited for.
        """
        if math.isnan(self._begun_s):
            self._begun_s, self._looked_s = wall_s - now_s / self.speed, wall_s
        passed_s, self._looked_s = wall_s - self._looked_s, wall_s
        behind_s = (wall_s - self._begun_s) * self.speed - now_s
        if behind_s > BEHIND_S:
            self._begun_s += (behind_s - BEHIND_S) / self.speed
        if behind_s < self.dt_s:
            return False
        late = streams & (now_s - self._stamp_s > LATE_S)
        self._missed_s[~late] = 0.0
        awaited = late & (self._missed_s < self.patience_s)
        if not awaited.any():
            return True
        self._missed_s[awaited] += passed_s
        self._begun_s += passed_s  # what it stands still for is not made up for
        self.waited_s += passed_s
        return False
