"""What a node does again and again, by ROS time.

In simulated time the process that hosts a node asks after every message whether something is due. rclpy's own timers
will not do there: its events executor calls a timer once for every /clock that came in while the process was busy, each
call counts as a period passed, and so the timer is silent for as long afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable

STALL_S = 0.1
"""An action that comes later than this, and later than three periods, has been held up by its own process."""


class Periodic:
    """An action with a period.

    Args:
        period_s: from one call to the next [s].
        action: called with the time [s].
    """

    def __init__(self, period_s: float, action: Callable[[float], object]) -> None:
        self.period_s, self.action = period_s, action
        self._stall_s = max(3.0 * period_s, STALL_S)
        self._due_s = self._last_s = math.nan

    def look(self, now_s: float) -> None:
        """Call the action if it is due at this time.

        It is called once for all periods that have passed. After a stall of this very process it is skipped once: what
        came in meanwhile is not read yet, so nobody may be called silent. The first call comes after one period.
        """
        if not self._due_s - self.period_s <= now_s + 1e-9:  # at the start, and where time was set back
            self._due_s = now_s + self.period_s
        if now_s < self._due_s - 1e-9:
            return
        since_s, self._last_s = now_s - self._last_s, now_s
        self._due_s += self.period_s * (1 + math.floor((now_s - self._due_s) / self.period_s + 1e-9))
        if not since_s > self._stall_s:
            self.action(now_s)
