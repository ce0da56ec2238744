"""One flight from start to end: processes up, mission watched, everything ended, whatever happens in between.

    STARTING  until supervisor and vehicles have spoken; a process that ends here, or silence, ends the attempt
    FLYING    until the mission is DONE; Ctrl-C, or a process that fails, makes the team land, unless the plan says that
              it is started again or not needed
    ENDING    until every process has ended by itself, or its time is over

A first interruption lands all drones, a second one ends everything at once. Nothing is left behind in either case.
"""

from __future__ import annotations

import math
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from lgtc_bringup.plan import RESTARTS, OnFailure, Plan
from lgtc_bringup.runner import Exit, ProcessError, Runner
from lgtc_bringup.snapshot import Snapshot
from lgtc_bringup.usage import Usage, UsageMeter

STARTED_WITHIN_S = 60.0
"""Loading ROS costs .4 s of processor per process; a busy machine with a large team needs a while."""
LANDED_WITHIN_S = 50.0
"""Wall time after which a team that was told to land is ended all the same; the supervisor itself waits 40 s."""
ENDED_WITHIN_S = 10.0
"""Wall time for the processes to end by themselves after DONE; the recorder closes its bag meanwhile."""
LOOK_EVERY_S = 0.2
POLL_EVERY_S = 0.05
_MEASURE_EVERY_S = 2.0


class Watch(Protocol):
    """What watches the team: `lgtc_bringup.monitor.Monitor`."""

    def look(self) -> Snapshot:
        """The team as of now."""

    def abort(self) -> bool:
        """Abort the mission; True if the supervisor agreed."""


class View(Protocol):
    """What shows the team: `lgtc_bringup.live.LiveView`."""

    def show(self, snapshot: Snapshot) -> None:
        """Show the team as of now."""


@dataclass(frozen=True)
class Outcome:
    """How a flight ended."""

    completed: bool
    """The mission reached DONE and all processes ended by themselves."""
    interrupted: bool
    """A person ended it."""
    notes: tuple[str, ...]
    """What went wrong, one sentence each; empty for a good flight."""
    usage: Mapping[str, Usage]
    """CPU time over the mission's ACTIVE phase, and memory, per process; `lgtc` itself included."""


class Interrupts:
    """Counts SIGINT, SIGTERM and SIGHUP to this process while inside `counting`."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def counting(self) -> Iterator[Interrupts]:
        """Take the signals over; the former handlers return at the end. For the main thread only."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        former = {number: signal.signal(number, self._count) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _count(self, *_: object) -> None:
        self.count += 1


class Flight:
    """Flies one plan.

    Args:
        plan: what to run; its files are written.
        runner: its processes, not started yet.
        watch: the team, seen through ROS.
        view: where it is shown.
        interrupts: how often a person has asked for the end.
        clock: wall clock [s].
    """

    def __init__(
        self,
        plan: Plan,
        runner: Runner,
        watch: Watch,
        view: View,
        interrupts: Interrupts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._runner = runner
        self._watch = watch
        self._view = view
        self._interrupts = interrupts
        self._clock = clock
        self._notes: list[str] = []
        self._restarted = Counter[str]()
        self._usage = FlightUsage(runner)
        self._land_by_s = math.inf  # wall time by which the team must be down, once it was told to land

    def fly(self) -> Outcome:
        """Start, fly, end.

        Raises:
            ProcessError: the team did not come up; says who and why.
            KeyboardInterrupt: a person ended it before it flew.
        """
        self._runner.start()
        try:
            self._start()
            completed = self._fly_on() and self._end()
        finally:
            self._runner.stop()
        return Outcome(completed, self._interrupts.count > 0, tuple(self._notes), self._usage.result())

    def _start(self) -> None:
        deadline_s = self._clock() + STARTED_WITHIN_S
        while not self._look().up:
            for ended in self._runner.poll():
                raise ProcessError(f"{ended} before the flight began; its last words:\n{ended.last_words()}")
            if self._interrupts.count:
                raise KeyboardInterrupt
            if self._clock() > deadline_s:
                silent = ", ".join(self._snapshot.missing)
                raise ProcessError(f"not heard within {STARTED_WITHIN_S:g} s: {silent}; see {self._runner.logs_dir}")
            time.sleep(LOOK_EVERY_S)

    def _fly_on(self) -> bool:
        """Until DONE; False if the flight was cut short."""
        while self._look().mission != "DONE":
            self._usage.measure(self._snapshot)
            ended = self._ended()
            if ended and self._look().mission == "DONE":  # they ended because the mission did
                self._notes += [f"{one}" for one in ended if one.code != 0]
                return True
            for one in ended:
                self._failed(one)
            if not self._runner.running or self._interrupts.count > 1:
                return False
            if self._interrupts.count == 1 and math.isinf(self._land_by_s):
                self._runner.finish()
                self._land_by_s = self._clock() + LANDED_WITHIN_S
            if self._clock() > self._land_by_s:
                self._notes.append(f"the team was not down {LANDED_WITHIN_S:g} s after it was told to land")
                return False
        return True

    def _ended(self) -> tuple[Exit, ...]:
        """The processes that end until the next look, as soon as one does: who is started again is waited for."""
        next_s = self._clock() + LOOK_EVERY_S
        while not (ended := self._runner.poll()) and self._clock() < next_s and self._runner.running:
            time.sleep(POLL_EVERY_S)
        return ended

    def _failed(self, ended: Exit) -> None:
        """A process ended in mid-flight: tell, and do what the plan says of it."""
        if ended.code == 0 and not math.isinf(self._land_by_s):
            return  # it was told to finish, and has
        name, what = ended.process.name, ended.process.on_failure
        flying = math.isinf(self._land_by_s)
        if what is OnFailure.RESTART and flying and self._restarted[name] < RESTARTS:
            self._restarted[name] += 1
            self._notes.append(f"{ended}; started again")
            self._runner.restart(ended.process)
            return
        self._notes.append(f"{ended}")
        if what is OnFailure.STOP:
            self._runner.stop()
        elif what in (OnFailure.LAND, OnFailure.RESTART) and flying:
            self._land_by_s = self._clock() + LANDED_WITHIN_S
            if not self._watch.abort():
                self._runner.finish()

    def _end(self) -> bool:
        """After DONE; True if all ended by themselves, without an error."""
        deadline_s = self._clock() + ENDED_WITHIN_S
        ended: list[Exit] = []
        while self._runner.running and self._clock() < deadline_s and self._interrupts.count < 2:
            ended += self._runner.poll()
            self._look()
            time.sleep(LOOK_EVERY_S)
        late = self._runner.running
        if late:
            self._notes.append(f"still running {ENDED_WITHIN_S:g} s after the mission: {', '.join(late)}")
        self._notes += [f"{one}" for one in ended if one.code != 0]
        return len(self._notes) == self._restarted.total()

    def _look(self) -> Snapshot:
        self._snapshot = replace(self._watch.look(), notes=tuple(self._notes))
        self._view.show(self._snapshot)
        return self._snapshot


class FlightUsage:
    """CPU time and memory per process over the ACTIVE phase, when all nodes work and none loads."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._own = UsageMeter.of_this_process()
        self._first: Mapping[str, Usage] = {}
        self._last: Mapping[str, Usage] = {}
        self._measured_s = -math.inf

    def measure(self, snapshot: Snapshot) -> None:
        """Measure, if the team is on mission and the last time was long enough ago."""
        now_s = time.monotonic()
        if snapshot.mission != "ACTIVE" or now_s - self._measured_s < _MEASURE_EVERY_S:
            return
        self._measured_s = now_s
        self._last = {**self._runner.measure(), "lgtc": self._own.measure()}
        self._first = self._first or self._last

    def result(self) -> Mapping[str, Usage]:
        """Usage per process between the first and the last measurement; memory at its largest."""
        return {name: last.since(self._first[name]) for name, last in self._last.items() if name in self._first}
