"""The supervisor's gate in the running system: in order it flies, and what is not in order keeps the team down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lgtc_core.flight.phases import MissionPhase


@pytest.mark.parametrize("charge", [1.0, 0.3])
def test_a_team_takes_off_only_when_every_battery_is_above_its_arming_level(
    swarm: Callable[..., Any], charge: float
) -> None:
    team = swarm(supervisor={"preflight": True}, scenario={"supplies": {"cf2": {"battery": charge}}})
    team.start("simulator", "demand_server", "wings", "minds", "supervisor")
    if charge == 1.0:
        team.wait_mission(MissionPhase.TAKE_OFF)
        team.wait("nobody hears poses any more", lambda: not poses_heard(team))
    else:
        told = "waiting for cf2 (cf2: battery: got"
        team.wait("cf2 alone is told", lambda: bool(team.missions) and team.missions[-1].reason.startswith(told))
        assert {report.phase for report in team.missions} == {MissionPhase.STANDBY}
        team.wait("poses are heard here too", lambda: set(team.heights_m) == set(team.drones))
        assert max(team.heights_m.values()) < 0.05


def poses_heard(team: Any) -> bool:
    found = team.node.get_subscriptions_info_by_topic("/cf1/battery")
    return any(one.node_name == "supervisor" for one in found)
