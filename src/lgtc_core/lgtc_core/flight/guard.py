"""The guard of one drone: from positions and a nominal velocity to a safe command, and what if one of them is missing.

| lost | after | what happens |
| --- | --- | --- |
| nominal velocity | nominal_timeout_s | NOMINAL_LOST: hold, that is, the filtered zero velocity |
| own pose | pose_hold_s | NOMINAL_LOST: zero velocity, unfiltered, as nobody knows from what to recede |
| | pose_timeout_s | POSE_LOST: zero velocity, the vehicle is to land |
| a neighbour's pose | at once | its barrier grows with the age (guarantee.py), up to neighbour_timeout_s |
| | neighbour_timeout_s | its last known disc, grown to that age, is avoided alone: no share is left to it |
| | neighbour_forget_s | it is forgotten |

Whether a neighbour takes its share is told from its height: in the arena's height band it flies and runs this filter,
below it (taking off, landing, standing) its own vehicle flies it and this drone keeps clear alone. On the ground it is
still and makes no airflow: its ellipsoid becomes a sphere.

A `Guard` guards one drone. `Guards` are those of several drones of one process: they share their memory, so that one
compiled call answers for all of them; each answer is the one that the drone's own guard would give.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.compiled import pack
from lgtc_core.errors import ConfigError, InputError
from lgtc_core.flight import guarantee, guard_memory
from lgtc_core.flight.airframe import Airframe
from lgtc_core.flight.checks import finite_vector
from lgtc_core.flight.command import SafeCommand, SafeCommands
from lgtc_core.flight.guard_memory import NEVER_S, NOMINAL_NEVER, NOMINAL_OLD, WALL, Answers, Figures, Memory, Room
from lgtc_core.flight.landing import NO_DISCS_M, free_spot
from lgtc_core.flight.phases import GROUNDED_HEIGHT_M, SafetyMode, VehiclePhase
from lgtc_core.schema import Bounds
from lgtc_core.slots import Slots
from lgtc_core.wire import VehicleReport
from lgtc_core.world.arena import Arena

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_MODES = tuple(SafetyMode)
_LANDING = VehiclePhase.LANDING

_TIMEOUT = Bounds(0.02, 60.0, "s")


@dataclass(frozen=True, kw_only=True)
class GuardParams:
    """Parameters of the safety filter and its watchdogs."""

    rate_hz: Annotated[float, Bounds(10.0, 500.0, "Hz"), "How often a safe command is computed"] = 50.0
    latency_s: Annotated[
        float, Bounds(0.0, 1.0, "s"), "Longest time from a safe command to its effect on the vehicle (a hypothesis)"
    ] = 0.02
    velocity_lag_s: Annotated[
        float, Bounds(0.0, 2.0, "s"), "Time constant with which the vehicle follows a velocity (a hypothesis)"
    ] = 0.0
    velocity_error_mps: Annotated[
        float, Bounds(0.0, 1.0, "m/s"), "How much the vehicle's velocity may otherwise differ (a hypothesis)"
    ] = 0.02
    barrier_gain_per_s: Annotated[
        float, Bounds(0.1, 50.0, "1/s"), "alpha: share of the barrier value that may be used up per second"
    ] = 4.0
    breach_tolerance_mps: Annotated[
        float, Bounds(0.0, 1.0, "m/s"), "Faster than its share by this much, a neighbour counts as not cooperating"
    ] = 0.1
    observation_time_s: Annotated[
        float, Bounds(0.01, 1.0, "s"), "Time constant of the estimate of a neighbour's velocity"
    ] = 0.1
    height_gain_per_s: Annotated[
        float, Bounds(0.0, 5.0, "1/s"), "How fast the flight height is returned to; 0: the nominal command decides"
    ] = 1.5
    keep_right_gain: Annotated[
        float, Bounds(0.0, 2.0), "How strongly a drone that another blocks passes it on the right; 0: it waits"
    ] = 1.0
    grounded_height_m: Annotated[
        float, Bounds(0.0, 1.0, "m"), "A drone below this height stands on the ground, motors off"
    ] = GROUNDED_HEIGHT_M
    landing_clearance_m: Annotated[
        float, Bounds(0.0, 5.0, "m"), "A drone comes down where no other, flying or standing, is nearer than this"
    ] = 0.4
    landing_reach_m: Annotated[
        float, Bounds(0.0, 1000.0, "m"), "Farther than this it does not fly to come down outside of every disc"
    ] = 2.0
    rise_clearance_m: Annotated[
        float, Bounds(0.0, 5.0, "m"), "A drone on the ground is clear to rise where none in the air is nearer than this"
    ] = 0.5
    descent_clearance: Annotated[
        float, Bounds(1.0, 10.0), "A place is clear below where no lower drone is nearer than so many safety distances"
    ] = 1.2
    landing_gain_per_s: Annotated[
        float, Bounds(0.1, 10.0, "1/s"), "How fast the place to land is flown to, per metre of distance"
    ] = 1.5
    nominal_timeout_s: Annotated[float, _TIMEOUT, "Age at which a nominal velocity is lost: the drone holds"] = 0.25
    pose_hold_s: Annotated[float, _TIMEOUT, "Age of the own pose at which the drone stands still"] = 0.15
    pose_timeout_s: Annotated[float, _TIMEOUT, "Age at which the own pose is lost: the drone lands"] = 1.0
    neighbour_timeout_s: Annotated[
        float, _TIMEOUT, "Age at which a neighbour's position is lost: its last disc is avoided alone"
    ] = 0.3
    neighbour_forget_s: Annotated[float, Bounds(0.1, 3600.0, "s"), "Age at which a lost neighbour is forgotten"] = 10.0

    def __post_init__(self) -> None:
        """Refuse ages that are not in order."""
        for first, then in (("pose_hold_s", "pose_timeout_s"), ("neighbour_timeout_s", "neighbour_forget_s")):
            early_s, late_s = getattr(self, first), getattr(self, then)
            if early_s > late_s:
                raise ConfigError("", then, f"{late_s:g} s", f"at least {first} ({early_s:g} s)")

    @property
    def hypotheses(self) -> guarantee.Hypotheses:
        """The guarantee's figures."""
        return guarantee.Hypotheses(
            gain_per_s=self.barrier_gain_per_s,
            delay_s=1.0 / self.rate_hz + self.latency_s,
            lag_s=self.velocity_lag_s,
            velocity_error_mps=self.velocity_error_mps,
        )


class Guards:
    """Guards of several drones that share one memory.

    Args:
        airframes: of the drones under guard, by name.
        arena: where they may be.
        params: filter and watchdogs.
        others: airframes of all drones that they may meet, by name; `hear` counts them in this order.
            Who is not in it is taken for one like the hearer.

    Raises:
        ConfigError: the guarantee cannot hold in this configuration (got / needed).
    """

    def __init__(
        self,
        airframes: Mapping[str, Airframe],
        arena: Arena,
        params: GuardParams,
        others: Mapping[str, Airframe] | None = None,
    ) -> None:
        self.arena, self.params = arena, params
        self.names, self.airframes, self.others = tuple(airframes), dict(airframes), dict(others or {})
        hypotheses = params.hypotheses
        for name, airframe in airframes.items():
            guarantee.check_configuration(
                name,
                airframe,
                tuple(other for met, other in self.others.items() if met != name),
                arena,
                hypotheses,
                own_age_s=params.pose_hold_s,
                other_age_s=params.neighbour_timeout_s,
            )
        p = params
        self._figures = Figures(
            hypotheses, 1.0 / p.rate_hz, p.breach_tolerance_mps, p.observation_time_s, p.height_gain_per_s,
            p.keep_right_gain, p.grounded_height_m, p.rise_clearance_m, p.descent_clearance, p.landing_gain_per_s,
            p.nominal_timeout_s, p.pose_hold_s, p.pose_timeout_s, p.neighbour_timeout_s, p.neighbour_forget_s,
            arena.flight_height_m, arena.height_min_m,
        )  # fmt: skip
        centre_m, reach_m = np.array(arena.centre_m), np.array(arena.half_extent_m)
        lower_m = np.array([*(centre_m - reach_m), arena.height_min_m])
        upper_m = np.array([*(centre_m + reach_m), arena.height_max_m])
        n = len(self.names)
        self._slots = Slots(self.others)
        self._keep(guard_memory.empty_memory(n, max(1, len(self.others)), lower_m, upper_m))
        for i, airframe in enumerate(airframes.values()):
            self._memory.speed_mps[i] = airframe.max_speed_mps
            self._memory.climb_mps[i] = airframe.climb_speed_mps
            self._memory.acceleration_mps2[i] = airframe.max_acceleration_mps2
        for slot, name in enumerate(self.others):
            self._describe(name, slot)
        self._discs_m = [NO_DISCS_M] * n
        self._hasty = [False] * n
        self._landing: set[int] = set()
        self._all = np.arange(n)
        self._each = [self._all[i : i + 1] for i in range(n)]
        guard_memory.prepare()

    def pose(self, i: int, stamp_s: float, position_m: Array) -> bool:
        """Take drone i's finite position (3,), frame "world" [m]. False: older than the last one, nothing changed."""
        if stamp_s <= self._memory.pose_s[i]:
            return False
        self._memory.pose_s[i], self._memory.pose_m[i] = stamp_s, position_m
        return True

    def poses(self, fresh: Bools, stamp_s: Array, position_m: Array) -> None:
        """Take positions (N, 3), frame "world" [m], of the drones where `fresh` (N,) is true; older ones are dropped.

        Raises:
            InputError: a position is not finite. Nothing changed.
        """
        if not guard_memory.take_poses(self._known, fresh, stamp_s, position_m):
            _check_finite("pose.position", position_m[fresh])

    def nominal(self, i: int, stamp_s: float, velocity_mps: Array) -> bool:
        """Take drone i's finite nominal velocity (3,) [m/s]. False: older than the last one, nothing changed."""
        if stamp_s <= self._memory.nominal_s[i]:
            return False
        self._memory.nominal_s[i], self._memory.nominal_mps[i] = stamp_s, velocity_mps
        return True

    def nominals(self, given: Bools, stamp_s: Array, velocity_mps: Array) -> None:
        """Take finite nominal velocities (N, 3) [m/s], with their stamps (N,), of the drones of which `given` (N,) is
        true; older ones are dropped.
        """
        newer = given & (stamp_s > self._memory.nominal_s)
        np.copyto(self._memory.nominal_s, stamp_s, where=newer)
        np.copyto(self._memory.nominal_mps, velocity_mps, where=newer[:, None])

    def hear(self, hearer: Ints, heard: Ints, stamp_s: Array, position_m: Array) -> None:
        """Messages in the order in which they arrived: drone hearer[k] under guard hears where heard[k] was.

        Args:
            hearer: (K,) drones under guard.
            heard: (K,) drones of `others`, in their order.
            stamp_s: (K,) when that was [s]; what is older than what was heard before is dropped.
            position_m: (K, 3) where, frame "world" [m].

        Raises:
            InputError: a position is not finite, or there is no such drone. Nothing changed.
        """
        stamp_s, position_m = (np.ascontiguousarray(values, np.float64) for values in (stamp_s, position_m))
        self._hear(hearer, heard, stamp_s, position_m, len(self.others))

    def _hear(self, hearer: Ints, heard: Ints, stamp_s: Array, position_m: Array, others: int) -> None:
        """The same, of arrays that the compiled code can take, and of slots below `others`."""
        if guard_memory.hear_in_turn(self._known, others, hearer, heard, stamp_s, position_m):
            return
        _check_finite("pose.position", position_m)
        for what, which, count in (("hearer", hearer, len(self.names)), ("heard", heard, others)):
            if not 0 <= which.min() <= which.max() < count:
                raise InputError(what, f"number {which.min()} to {which.max()}", f"0 to {count - 1}")

    def meet(self, heard: Bools, stamp_s: Array, position_m: Array) -> None:
        """Drone i under guard hears where drone j of `others` was, for all of which `heard` (N, K) is true.

        Args:
            heard: who hears whom.
            stamp_s: (K,) when that was [s]; what is older than what was heard before is dropped.
            position_m: (K, 3) where, frame "world" [m].

        Raises:
            InputError: a position that is heard is not finite. Nothing changed.
        """
        if not guard_memory.hear_all(self._known, heard, stamp_s, position_m):
            _check_finite("pose.position", position_m[heard.any(0)])

    def hear_one(self, i: int, name: str, stamp_s: float, position_m: Array) -> bool:
        """Drone i hears where another is: finite position (3,) [m]. False: older than the last one, nothing changed."""
        slot = self._slot(name)  # first, as it may move the memory
        x, y, z = position_m
        return guard_memory.hear(self._known, i, slot, float(stamp_s), x, y, z)

    def hear_others(self, i: int, said: Sequence[tuple[str, float, Array]]) -> None:
        """Drone i hears where others are: (name, stamp [s], position (3,) [m]) of each, in turn.

        Raises:
            InputError: a position is not finite. Nothing changed.
        """
        names, stamp_s, position_m = zip(*said, strict=True)
        slots, at_m = [self._slots.find(name) for name in names], np.array(position_m)
        if None in slots:
            _check_finite("pose.position", at_m)
            for one in said:  # strangers get their slots in turn
                self.hear_one(i, *one)
        else:
            last = self._memory.heard_s.shape[1]
            self._hear(np.full(len(slots), i), np.array(slots), np.array(stamp_s, np.float64), at_m, last)

    def set_landing(self, i: int, landing: bool, hasty: bool = False) -> None:
        """Whether drone i is to land: its command then leads to a free place and stands still there.

        In haste, to the nearest one with nobody standing or landing there, be it inside a disc: who flies gives way.
        """
        self._memory.landing[i], self._hasty[i] = landing, hasty
        (self._landing.add if landing else self._landing.discard)(i)

    def is_landing(self, i: int) -> bool:
        """Whether drone i is to land."""
        return bool(self._memory.landing[i])

    def set_discs(self, i: int, discs_m: Array) -> None:
        """Centres and radii of the discs that drones serve in (m, 3) [m]: drone i does not land there."""
        self._discs_m[i] = discs_m

    def discs_m(self, i: int) -> Array:
        """The discs (m, 3) in which drone i does not land [m]."""
        return self._discs_m[i]

    def commands(self, now_s: float) -> SafeCommands:
        """The safe commands of all drones at this moment. Call it at least every 1 / rate_hz."""
        given = self._command(self._all, now_s)
        return SafeCommands(given.room.pose_s, given.room.velocity_mps, given.room.mode, given.of)

    def command(self, i: int, now_s: float) -> SafeCommand:
        """The safe command of drone i."""
        return self._command(self._each[i], now_s).of(i)

    def _command(self, which: Ints, now_s: float) -> _Given:
        memory, room = self._memory, guard_memory.empty_room(len(self.names))
        begun = time.perf_counter()
        for i in self._landing.intersection(which.tolist()) if self._landing else ():
            memory.spot_m[i] = self._landing_spot(i)
        guard_memory.command(self._known, which, now_s, room)
        return _Given(now_s, (time.perf_counter() - begun) / len(which), room, self.params, self._slots)

    def _landing_spot(self, i: int) -> Array:
        """Where drone i is to come down (2,) [m]."""
        memory = self._memory
        others_m, discs_m = memory.heard_m[i, memory.heard_s[i] != NEVER_S], self._discs_m[i]
        if self._hasty[i]:
            others_m, discs_m = others_m[others_m[:, 2] < self.arena.height_min_m], NO_DISCS_M
        p, own_m = self.params, memory.pose_m[i, :2]
        return free_spot(own_m, others_m[:, :2], p.landing_clearance_m, self.arena, discs_m, p.landing_reach_m)

    def _slot(self, name: str) -> int:
        """Column of another drone."""
        slot = self._slots.find(name)
        if slot is None:
            idle = (self._memory.heard_s == NEVER_S).all(0)
            slot = self._slots.give(name, idle)
            if slot == len(idle):
                self._grow()
            self._describe(name, slot)
        return slot

    def _grow(self) -> None:
        """Twice the columns."""
        old = self._memory
        n, k = old.heard_s.shape
        new = guard_memory.empty_memory(n, 2 * k, old.lower_m, old.upper_m)
        for before, after in zip(old, new, strict=True):
            if before.shape == after.shape:
                after[...] = before
            else:
                after[:, :k] = before
        self._keep(new)

    def _keep(self, memory: Memory) -> None:
        """From now on, guards know what is in this memory."""
        self._memory, self._known = memory, pack((memory, self._figures))

    def _describe(self, name: str, slot: int) -> None:
        """The figures of every pair with the drone of that name."""
        memory = self._memory
        for i, own in enumerate(self.airframes.values()):
            other = self.others.get(name, own)
            distance_m = max(own.safety_distance_m, other.safety_distance_m)
            memory.distance_m[i, slot] = distance_m
            memory.flattening[i, slot] = min(1.0, distance_m / max(own.downwash_m, other.downwash_m, distance_m))
            memory.bound_mps[i, slot] = max(other.max_speed_mps, other.climb_speed_mps)


class _Given(NamedTuple):
    """What guards answered at one moment; a command is made of it where somebody reads one."""

    now_s: float
    solve_time_s: float
    room: Room
    params: GuardParams
    slots: Slots

    def of(self, i: int) -> SafeCommand:
        """The command of drone i."""
        answers = guard_memory.answers_in(self.room)
        mode = _MODES[answers.mode[i]]
        stamp_s = float(answers.pose_s[i])
        never = stamp_s == NEVER_S
        return SafeCommand(
            stamp_s=math.nan if never else stamp_s,
            velocity_mps=answers.velocity_mps[i],
            mode=mode,
            reason="" if mode is SafetyMode.PASSED else self._why(i, mode, answers),
            barrier_min=float(answers.barrier_min[i]),
            distance_min_m=float(answers.distance_min_m[i]),
            correction_mps=float(answers.correction_mps[i]),
            solve_time_s=0.0 if never else self.solve_time_s,
            neighbours=int(answers.neighbours[i]),
            neighbour_age_max_s=float(answers.age_max_s[i]),
            clear_above=bool(answers.clear_above[i]),
            clear_below=bool(answers.clear_below[i]),
        )

    def _why(self, i: int, mode: SafetyMode, answers: Answers) -> str:
        """One sentence for the mode."""
        p, lost = self.params, answers.lost[i]
        if mode is SafetyMode.RELAXED:
            return f"conditions cannot all hold: braking, separating ({answers.given_up_mps[i]:.2f} m/s given up)"
        if lost == NOMINAL_NEVER:
            return "no nominal velocity yet: holding"
        if lost == NOMINAL_OLD:
            age_s = self.now_s - answers.nominal_s[i]
            return f"nominal velocity is {age_s:.2f} s old (limit {p.nominal_timeout_s:g} s): holding"
        if mode is SafetyMode.FILTERED:
            nearest = int(answers.nearest[i])
            return "keeping inside the arena" if nearest == WALL else f"keeping clear of {self.slots.name(nearest)}"
        if answers.pose_s[i] == NEVER_S:
            return "no own pose yet"
        limit_s = p.pose_timeout_s if mode is SafetyMode.POSE_LOST else p.pose_hold_s
        return f"own pose is {self.now_s - answers.pose_s[i]:.2f} s old (limit {limit_s:g} s)"


class Guard:
    """Watchdogs and safety filter of one drone.

    Args:
        name: of the drone, for messages.
        airframe: its limits.
        arena: where it may be.
        params: filter and watchdogs.
        others: airframes of the drones that it may meet, by name; who is not in it is taken for one like itself.
        guards: the guards that this one shares its memory with; without, it has its own.

    Raises:
        ConfigError: the guarantee cannot hold in this configuration (got / needed).
    """

    def __init__(
        self,
        name: str,
        airframe: Airframe,
        arena: Arena,
        params: GuardParams,
        others: Mapping[str, Airframe] | None = None,
        guards: Guards | None = None,
    ) -> None:
        self.name = name
        self._guards = guards or Guards({name: airframe}, arena, params, others)
        self._i = self._guards.names.index(name)

    @property
    def landing(self) -> bool:
        """Set when the vehicle is to land: the command then leads to a free place and stands still there."""
        return self._guards.is_landing(self._i)

    @landing.setter
    def landing(self, landing: bool) -> None:
        self._guards.set_landing(self._i, landing)

    def vehicle(self, report: VehicleReport) -> None:
        """What is said of the own vehicle: whether it is to land, and how much time it has."""
        self._guards.set_landing(self._i, report.phase is _LANDING, report.phase is _LANDING and report.in_haste)

    @property
    def discs_m(self) -> Array:
        """Centres and radii of the discs that drones serve in (m, 3), frame "world" [m]: no place to land."""
        return self._guards.discs_m(self._i)

    @discs_m.setter
    def discs_m(self, discs_m: Array) -> None:
        self._guards.set_discs(self._i, discs_m)

    def pose(self, stamp_s: float, position_m: npt.ArrayLike) -> bool:
        """Take the own position (3,), frame "world" [m]. False: older than the last one, nothing changed.

        Raises:
            InputError: not three finite numbers. Nothing changed.
        """
        return self._guards.pose(self._i, stamp_s, finite_vector(f"/{self.name}/pose.position", position_m, "m"))

    def nominal(self, stamp_s: float, velocity_mps: npt.ArrayLike) -> bool:
        """Take a nominal velocity (3,), frame "world" [m/s]. False: older than the last one, nothing changed.

        Raises:
            InputError: not three finite numbers. Nothing changed.
        """
        velocity = finite_vector(f"/{self.name}/velocity_nominal", velocity_mps, "m/s")
        return self._guards.nominal(self._i, stamp_s, velocity)

    def neighbour(self, name: str, stamp_s: float, position_m: npt.ArrayLike) -> bool:
        """Take another drone's position (3,), frame "world" [m]. False: older than the last one, nothing changed.

        Raises:
            InputError: not three finite numbers, or the drone's own name. Nothing changed.
        """
        position = finite_vector(f"/{name}/pose.position", position_m, "m")
        if name == self.name:
            raise InputError("neighbour", repr(name), "another drone's name")
        return self._guards.hear_one(self._i, name, stamp_s, position)

    def neighbours(self, said: Sequence[tuple[str, float, Array]]) -> None:
        """Take where others are: (name, stamp [s], finite position (3,), frame "world" [m]) of each, in turn.

        Raises:
            InputError: a position is not finite, or a name the drone's own. Nothing changed.
        """
        if any(name == self.name for name, _, _ in said):
            raise InputError("neighbour", repr(self.name), "another drone's name")
        if said:
            self._guards.hear_others(self._i, said)

    def meet(self, heard: Bools, stamp_s: Array, position_m: Array) -> None:
        """Take positions (K, 3), frame "world" [m], with their stamps (K,), of the drones of `others`, in their order,
        where `heard` (K,) is true; older ones are dropped.

        Raises:
            InputError: one of them is not finite. Nothing changed.
        """
        self._guards.meet(heard[None], stamp_s, position_m)

    def command(self, now_s: float) -> SafeCommand:
        """The safe command of this moment. Call it at least every 1 / rate_hz."""
        return self._guards.command(self._i, now_s)


def _check_finite(what: str, values: Array) -> None:
    if not np.isfinite(values).all():
        raise InputError(what, "a number that is not finite", "finite numbers [m]")
