"""What the files must say before drones fly; what the drones must say: lgtc_core.flight.gate. No ROS here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lgtc_bringup import crazyswarm
from lgtc_bringup.plan import Plan
from lgtc_core.errors import ConfigError
from lgtc_core.fleet.fleet import load_fleet
from lgtc_core.fleet.team import Team
from lgtc_core.flight.gate import POSE_HZ, Check


def planned(team: Team, content: Mapping[str, Any]) -> tuple[Check, ...]:
    """What the files say of a flight on real Crazyflies. Fleet, scenario and model were checked when they were read.

    Args:
        team: who flies.
        content: of crazyflies.yaml, the user's keys merged: they may change any of it, for all, a type or one robot.

    Raises:
        ConfigError: an address that is none.
    """
    robots, names = content["robots"], team.names
    parameters = {name: crazyswarm.of_robot(content, name, "firmware_params") for name in names}

    def values(group: str, parameter: str) -> dict[str, Any]:
        return {name: parameters[name].get(group, {}).get(parameter) for name in names}

    uris = {name: robots[name]["uri"] for name in names}
    missing = [name for name in names if uris[name] == crazyswarm.NO_URI]
    shared = [name for name in names if list(uris.values()).count(uris[name]) > 1 and name not in missing]
    addresses = f"none of {', '.join(missing)}" if missing else f"one for {', '.join(shared)}" if shared else ""
    off = [name for name in names if not robots[name].get("enabled", True)]
    pose_hz = {name: crazyswarm.logged_hz(content, name, "pose") for name in names}
    slowest = min(names, key=lambda name: pose_hz[name])
    return (
        _all_of(
            "Controller",
            "stabilizer.controller",
            values("stabilizer", "controller"),
            (crazyswarm.MELLINGER, crazyswarm.PID),
            f"{crazyswarm.MELLINGER} (Mellinger) or {crazyswarm.PID} (PID), which follow full states",
        ),
        _all_of(
            "Estimator",
            "stabilizer.estimator",
            values("stabilizer", "estimator"),
            (crazyswarm.KALMAN,),
            f"{crazyswarm.KALMAN} (Kalman), which uses motion capture",
        ),
        _all_of(
            "High-level commander",
            "commander.enHighLevel",
            values("commander", "enHighLevel"),
            (1,),
            "1, for take-off and landing",
        ),
        Check("Enabled", f"not {', '.join(off)}" if off else f"all {len(names)}", "all that fly", not off, tuple(off)),
        Check(
            "Radio addresses",
            addresses or f"{len(names)}, all different",
            "one of its own per drone (`uri` in the fleet file)",
            not addresses,
            tuple(missing or shared),
        ),
        Check(
            "Pose log",
            f"{pose_hz[slowest]:g} Hz ({slowest})",
            f"at least {POSE_HZ:g} Hz",
            pose_hz[slowest] >= POSE_HZ,
            (slowest,),
        ),
        *(
            Check(
                f"Load of radio {radio}",
                f"{packets:g} packets/s",
                f"at most {crazyswarm.RADIO_BUDGET_PER_S:g} packets/s; spread the drones over more radios",
                packets <= crazyswarm.RADIO_BUDGET_PER_S,
            )
            for radio, packets in sorted(crazyswarm.radio_load_per_s(content, team.command_period_s).items())
        ),
    )


def _all_of(name: str, parameter: str, values: Mapping[str, Any], allowed: Sequence[int], needed: str) -> Check:
    """A firmware parameter that has one of the allowed values in every drone."""
    wrong = tuple(drone for drone, value in values.items() if value not in allowed)
    told = ", ".join(f"{values[drone]} in {drone}" for drone in wrong) or ", ".join(map(str, set(values.values())))
    return Check(name, f"{parameter} {told}", needed, not wrong, wrong)


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
    return planned(team, crazyswarm.crazyflies(fleet, drones))


def refuse(plan: Plan, team: Team) -> None:
    """Do not fly real drones by files that do not fit them.

    Raises:
        ConfigError: the first check that failed, with got and needed.
    """
    for check in of_files(plan, team) if plan.backend == "crazyflie" else ():
        if not check.passed:
            raise ConfigError("preflight", check.name, check.got, check.needed)
