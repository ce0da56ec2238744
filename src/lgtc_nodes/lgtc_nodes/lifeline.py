"""When a process ends by itself: pure logic on the steady clock, for the host's loop. Nodes never read that clock.

| what happened | the process ends |
| --- | --- |
| the mission is DONE | `linger_s` after the last duty of its nodes, or after `grace_s` |
| first SIGINT or SIGTERM, or the parent is gone | likewise |
| /mission never heard for `start_s`, or silent for `silence_s` | likewise |
| second signal | now |

A node's duty is what must not be dropped in the air: the vehicle adapter has one until its drone is down, the
supervisor until the mission is DONE, the recorder as long as messages come in.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class LifelineParams:
    """Times on the steady clock [s]."""

    linger_s: float = 0.5
    """From the last duty to the end, so that the last messages still leave."""
    start_s: float = 60.0
    """Longest wait for the first /mission; a loaded machine starts twenty processes in a fraction of it."""
    silence_s: float = 6.0
    """Silence of /mission after which the supervisor counts as gone: 60 heartbeats. Drones land long before; a machine
    that starts a large team may keep one process from its messages for seconds."""
    grace_s: float = 20.0
    """Longest time that a duty may delay an end that was asked for; a landing from 2 m takes 8 s."""


class Cause(Enum):
    """Why a process is to end."""

    DONE = "the mission is done"
    SIGNAL = "it was asked to"
    ORPHANED = "its parent process is gone"
    SILENCE = "the supervisor is silent"


class Lifeline:
    """Decides when the process ends.

    Args:
        now_s: steady time of the start [s].
        parent_pid: process whose end ends this one too.
    """

    def __init__(self, now_s: float, parent_pid: int, params: LifelineParams | None = None) -> None:
        self.params = params or LifelineParams()
        self.parent_pid = parent_pid
        self.signals = 0
        self.cause: Cause | None = None
        """First reason to end, None while there is none."""
        self._asked_s = 0.0
        self._busy_s = now_s
        self._heard_s: float | None = None
        self._started_s = now_s
        self._done_s: float | None = None

    def signal(self) -> None:
        """SIGINT or SIGTERM came in. Called from a signal handler: it only counts."""
        self.signals += 1

    def heard(self, now_s: float, done: bool) -> None:
        """A /mission came in; `done` when it says DONE."""
        self._heard_s = now_s
        if done and self._done_s is None:
            self._done_s = now_s
        if self.cause is Cause.SILENCE and not done:
            self.cause = None  # the supervisor is back before anybody ended

    def update(self, now_s: float, parent_pid: int | None = None) -> Cause | None:
        """The cause to end, once there is one. `parent_pid`: the present parent, by default what the system says."""
        parent_pid = os.getppid() if parent_pid is None else parent_pid
        if self.cause is None:
            self.cause = self._first_cause(now_s, parent_pid)
            self._asked_s = now_s
        return self.cause

    def over(self, now_s: float, duty: bool) -> bool:
        """True when the process ends now; `duty` while one of its nodes has one."""
        if self.signals >= 2:
            return True
        since_s = self._asked_s if self._done_s is None else self._done_s
        if self.cause is None and self._done_s is None:
            return False
        if duty and now_s - since_s < self.params.grace_s:
            self._busy_s = now_s
            return False
        return now_s - max(since_s, self._busy_s) >= self.params.linger_s

    def _first_cause(self, now_s: float, parent_pid: int) -> Cause | None:
        if self._done_s is not None:
            return Cause.DONE
        if self.signals:
            return Cause.SIGNAL
        if parent_pid != self.parent_pid:
            return Cause.ORPHANED
        if self._heard_s is None:
            return Cause.SILENCE if now_s - self._started_s >= self.params.start_s else None
        return Cause.SILENCE if now_s - self._heard_s >= self.params.silence_s else None
