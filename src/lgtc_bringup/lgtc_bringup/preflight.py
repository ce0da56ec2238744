"""What the files must say before drones fly; what the drones must say: lgtc_core.flight.gate. No ROS here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lgtc_bringup import crazyswarm
from lgtc_bringup.plan import Plan
from lgtc_core.errors import ConfigError
from lgtc_core.fleet.fleet import DroneEntry, load_fleet
from lgtc_core.fleet.team import Team
from lgtc_core.flight.gate import POSE_HZ, Check


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
