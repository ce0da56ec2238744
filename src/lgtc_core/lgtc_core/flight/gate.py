"""What drones that stand ready must say before they may fly: each condition with what was got and what is needed.

`lgtc preflight` listens once and shows all; the supervisor listens while the team stands by, and takes off only when
every condition holds.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lgtc_core.loop.flyer import FlyerParams
from lgtc_core.wire import BatteryReading, Pose

if TYPE_CHECKING:  # the fleet depends on the flight (battery levels), not the other way round
    from lgtc_core.fleet.team import Team

Array = npt.NDArray[np.float64]

POSE_AGE_S = FlyerParams().pose_lifetime_s
POSE_HZ = 2.0 / POSE_AGE_S
"""Two poses within the time in which a position counts as known: one may be lost."""
FROM_START_M = 0.3
"""A drone further from its start place than this is another one, or was put down elsewhere."""
LISTEN_S = 1.0
"""Over so long the supervisor judges."""


@dataclass(frozen=True)
class Check:
    """One condition."""

    name: str
    got: str
    needed: str
    passed: bool
    drones: tuple[str, ...] = ()
    """Whom it is about; empty: the flight as a whole."""

    def __str__(self) -> str:
        return f"{self.name}: got {self.got}; needed {self.needed}"


@dataclass(frozen=True)
class Seen:
    """What one drone said while it was listened to."""

    positions_m: Array  # (n, 3)
    """Poses in the order in which they came, frame "world" [m]."""
    pose_ages_s: Array  # (n,)
    """How old each was on arrival by its stamp [s]; where clocks cannot be compared, the pause before it."""
    voltage_v: float
    """Last reading [V]; NaN: none."""
    charge: float
    """Last state of charge; NaN: none."""


_NOTHING = Seen(np.empty((0, 3)), np.empty(0), math.nan, math.nan)


def observed(team: Team, seen: Mapping[str, Seen], listened_s: float) -> tuple[Check, ...]:
    """What the drones said while they stood ready.

    Args:
        team: who flies.
        seen: by drone; who said nothing may be missing.
        listened_s: for how long was listened [s].
    """
    checks = [check for name in team.names for check in _of_drone(team, name, seen.get(name, _NOTHING), listened_s)]
    places_m = {name: seen[name].positions_m[-1] for name in team.names if name in seen and len(seen[name].positions_m)}
    pairs = {(a, b): math.dist(places_m[a][:2], places_m[b][:2]) for a, b in itertools.combinations(places_m, 2)}
    if pairs:
        nearest = min(pairs, key=lambda pair: pairs[pair])
        needed_m = max(team.drone(name).safety_distance_m for name in nearest)
        got = f"{pairs[nearest]:.2f} m ({nearest[0]} and {nearest[1]})"
        checks.append(Check("Apart", got, f"at least {needed_m:g} m", pairs[nearest] >= needed_m, nearest))
    return tuple(checks)


def clock_source(simulated: bool, speakers: int) -> Check:
    """Whether the clock that counts is the only one: a simulator's, told once, or the machine's, and nobody tells one.

    Args:
        simulated: the flight goes by /clock.
        speakers: how many tell /clock.
    """
    needed = 1 if simulated else 0
    return Check("Clock source", f"{speakers} that tell /clock", f"{needed}", speakers == needed)


def _of_drone(team: Team, name: str, seen: Seen, listened_s: float) -> list[Check]:
    spec, arena, me = team.drone(name), team.arena, (name,)
    hz = len(seen.positions_m) / listened_s
    checks = [Check(f"{name}: pose rate", f"{hz:.0f} Hz", f"at least {POSE_HZ:g} Hz", hz >= POSE_HZ, me)]
    if len(seen.positions_m):
        at_m = seen.positions_m[-1]
        away_m = math.dist(at_m[:2], spec.start_m)
        where = f"({at_m[0]:.2f}, {at_m[1]:.2f}) m"
        inside = bool(arena.contains(at_m[:2]))
        checks.append(Check(f"{name}: inside the arena", where, "inside", inside, me))
        checks.append(
            Check(
                f"{name}: at its start place",
                f"{away_m:.2f} m away",
                f"within {FROM_START_M:g} m, or it is another drone",
                away_m <= FROM_START_M,
                me,
            )
        )
        oldest_s = float(np.max(np.abs(seen.pose_ages_s)))
        needed = f"at most {POSE_AGE_S:g} s; check whose clock stamps them"
        checks.append(Check(f"{name}: pose age", f"{oldest_s:.3f} s", needed, oldest_s <= POSE_AGE_S, me))
    arm_v, arm_charge = spec.battery.arm_levels
    unknown = math.isnan(seen.voltage_v) and math.isnan(seen.charge)
    low = seen.voltage_v < arm_v or seen.charge < arm_charge
    charge = "charge unknown" if math.isnan(seen.charge) else f"{seen.charge:.0%}"
    got = "no reading" if unknown else f"{seen.voltage_v:.2f} V, {charge}"
    needed = f"at least {arm_v:.2f} V and {arm_charge:.0%}"
    checks.append(Check(f"{name}: battery", got, needed, not unknown and not low, me))
    return checks


class Gate:
    """Listens to a team that stands by.

    Args:
        team: who flies.
        simulated: the flight goes by /clock.
    """

    def __init__(self, team: Team, simulated: bool) -> None:
        self.team, self.simulated = team, simulated
        self._poses: dict[str, deque[tuple[float, Pose]]] = {name: deque() for name in team.names}
        self._batteries: dict[str, BatteryReading] = {}

    def pose(self, drone: str, now_s: float, pose: Pose) -> None:
        """A pose that came at `now_s`."""
        self._poses[drone].append((now_s, pose))

    def battery(self, drone: str, reading: BatteryReading) -> None:
        """A battery reading."""
        self._batteries[drone] = reading

    def checks(self, now_s: float, clock_speakers: int) -> tuple[Check, ...]:
        """Every condition, by what came in the last `LISTEN_S`."""
        seen = {}
        for name, poses in self._poses.items():
            while poses and now_s - poses[0][0] > LISTEN_S:
                poses.popleft()
            battery = self._batteries.get(name)
            seen[name] = Seen(
                np.array([pose.position_m for _, pose in poses]).reshape(-1, 3),
                np.array([came_s - pose.stamp_s for came_s, pose in poses]),
                math.nan if battery is None else battery.voltage_v,
                math.nan if battery is None else battery.state_of_charge,
            )
        return (clock_source(self.simulated, clock_speakers), *observed(self.team, seen, LISTEN_S))

    def objections(self, now_s: float, clock_speakers: int) -> dict[str, str]:
        """Per drone that must not fly, why: the conditions that do not hold."""
        why: dict[str, str] = {}
        for check in self.checks(now_s, clock_speakers):
            for name in () if check.passed else check.drones or self.team.names:
                why[name] = f"{why[name]}; {check}" if name in why else f"{check}"
        return why
