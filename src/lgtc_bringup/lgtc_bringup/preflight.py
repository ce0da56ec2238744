"""What must hold before drones leave the ground: of the files, and of what the drones say. Pure; no ROS here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lgtc_bringup import crazyswarm
from lgtc_bringup.plan import Plan
from lgtc_core.errors import ConfigError
from lgtc_core.fleet.fleet import DroneEntry, load_fleet
from lgtc_core.fleet.team import Team
from lgtc_core.loop.flyer import FlyerParams

Array = npt.NDArray[np.float64]

POSE_AGE_S = FlyerParams().pose_lifetime_s
POSE_HZ = 2.0 / POSE_AGE_S
"""Two poses within the time in which a position counts as known: one may be lost."""
FROM_START_M = 0.3
"""A drone further from its start place than this is another one, or was put down elsewhere."""


@dataclass(frozen=True)
class Check:
    """One condition."""

    name: str
    got: str
    needed: str
    passed: bool


@dataclass(frozen=True)
class Seen:
    """What one drone said while it was listened to."""

    positions_m: Array  # (n, 3)
    """Poses in the order in which they came, frame "world" [m]."""
    pose_ages_s: Array  # (n,)
    """How old each was on arrival by its stamp [s]; of a simulator, whose clock is another, the pause before it."""
    voltage_v: float
    """Last reading [V]; NaN: none."""
    charge: float
    """Last state of charge; NaN: none."""


def planned(team: Team, drones: Mapping[str, DroneEntry], content: Mapping[str, Any]) -> tuple[Check, ...]:
    """What the files say of a flight on real Crazyflies. Fleet, scenario and model were checked when they were read.

    Args:
        team: who flies.
        drones: the same drones as the fleet file has them.
        content: of crazyflies.yaml, the user's keys merged.
    """
    parameters = content["all"]["firmware_params"]
    stabilizer, high_level = parameters.get("stabilizer", {}), parameters.get("commander", {}).get("enHighLevel")
    controller, estimator = stabilizer.get("controller"), stabilizer.get("estimator")
    without = [name for name in team.names if drones[name].uri is None]
    hz = content["all"]["firmware_logging"].get("default_topics", {}).get("pose", {}).get("frequency", 0)
    load = crazyswarm.radio_load_per_s(content)
    return (
        Check(
            "Controller",
            f"stabilizer.controller {controller}",
            f"{crazyswarm.MELLINGER} (Mellinger) or {crazyswarm.PID} (PID), which follow full states",
            controller in (crazyswarm.MELLINGER, crazyswarm.PID),
        ),
        Check(
            "Estimator",
            f"stabilizer.estimator {estimator}",
            f"{crazyswarm.KALMAN} (Kalman), which uses motion capture",
            estimator == crazyswarm.KALMAN,
        ),
        Check(
            "High-level commander",
            f"commander.enHighLevel {high_level}",
            "1, for take-off and landing",
            high_level == 1,
        ),
        Check(
            "Radio addresses",
            f"none of {', '.join(without)}" if without else f"{len(team.names)}, all different",
            "one of its own per drone (`uri` in the fleet file)",
            not without,
        ),
        Check("Pose log", f"{hz:g} Hz", f"at least {POSE_HZ:g} Hz", hz >= POSE_HZ),
        *(
            Check(
                f"Load of radio {radio}",
                f"{packets:g} packets/s",
                f"at most {crazyswarm.RADIO_BUDGET_PER_S:g} packets/s; spread the drones over more radios",
                packets <= crazyswarm.RADIO_BUDGET_PER_S,
            )
            for radio, packets in sorted(load.items())
        ),
    )


def of_files(plan: Plan, team: Team) -> tuple[Check, ...]:
    """What the files say of a planned flight; simulators other than crazyswarm2's read none of those.

    Raises:
        ConfigError: the fleet file is gone or wrong.
    """
    if plan.backend not in ("crazyswarm2-sim", "crazyflie"):
        return ()
    fleet = load_fleet(plan.inputs.fleet_file)
    everybody = fleet.first(max(len(fleet.drones), len(team.drones)))
    drones = {name: everybody[name] for name in team.names}
    return planned(team, drones, crazyswarm.crazyflies(fleet, drones))


def refuse(plan: Plan, team: Team) -> None:
    """Do not fly real drones by files that do not fit them.

    Raises:
        ConfigError: the first check that failed, with got and needed.
    """
    for check in of_files(plan, team) if plan.backend == "crazyflie" else ():
        if not check.passed:
            raise ConfigError("preflight", check.name, check.got, check.needed)


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
        checks.append(Check("Apart", got, f"at least {needed_m:g} m", pairs[nearest] >= needed_m))
    return tuple(checks)


_NOTHING = Seen(np.empty((0, 3)), np.empty(0), math.nan, math.nan)


def _of_drone(team: Team, name: str, seen: Seen, listened_s: float) -> list[Check]:
    spec, arena = team.drone(name), team.arena
    hz = len(seen.positions_m) / listened_s
    checks = [Check(f"{name}: pose rate", f"{hz:.0f} Hz", f"at least {POSE_HZ:g} Hz", hz >= POSE_HZ)]
    if len(seen.positions_m):
        at_m = seen.positions_m[-1]
        away_m = math.dist(at_m[:2], spec.start_m)
        where = f"({at_m[0]:.2f}, {at_m[1]:.2f}) m"
        inside = bool(arena.contains(at_m[:2]))
        checks.append(Check(f"{name}: inside the arena", where, "inside", inside))
        checks.append(
            Check(
                f"{name}: at its start place",
                f"{away_m:.2f} m away",
                f"within {FROM_START_M:g} m, or it is another drone",
                away_m <= FROM_START_M,
            )
        )
        oldest_s = float(np.max(seen.pose_ages_s))
        fresh = abs(oldest_s) <= POSE_AGE_S
        needed = f"at most {POSE_AGE_S:g} s; check whose clock stamps them"
        checks.append(Check(f"{name}: pose age", f"{oldest_s:.3f} s", needed, fresh))
    arm_v, arm_charge = spec.battery.arm_levels
    unknown = math.isnan(seen.voltage_v) and math.isnan(seen.charge)
    low = seen.voltage_v < arm_v or seen.charge < arm_charge
    charge = "charge unknown" if math.isnan(seen.charge) else f"{seen.charge:.0%}"
    got = "no reading" if unknown else f"{seen.voltage_v:.2f} V, {charge}"
    checks.append(
        Check(f"{name}: battery", got, f"at least {arm_v:.2f} V and {arm_charge:.0%}", not unknown and not low)
    )
    return checks
