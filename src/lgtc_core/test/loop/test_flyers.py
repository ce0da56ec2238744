"""Flyers together order what each would order alone."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from lgtc_core.fleet.team import Team
from lgtc_core.flight.command import SafeCommand, SafeCommands
from lgtc_core.flight.phases import MissionPhase, SafetyMode, Tier, VehiclePhase
from lgtc_core.flight.pilot import Action
from lgtc_core.loop.flyer import Flyer, FlyerParams
from lgtc_core.loop.flyers import Flyers

DT_S = 0.02
MODES = tuple(SafetyMode)


def made(stamp_s: np.ndarray, velocity_mps: np.ndarray, mode: np.ndarray) -> SafeCommands:
    """Commands of several drones."""

    def one(i: int) -> SafeCommand:
        nan = math.nan
        return SafeCommand(stamp_s[i], velocity_mps[i], MODES[mode[i]], "so", nan, nan, 0.0, 0.0, 0, nan)

    return SafeCommands(stamp_s, velocity_mps, mode, one)


@pytest.mark.parametrize("seed", range(3))
def test_flyers_together_order_what_each_orders_alone(team: Team, words: Any, seed: int) -> None:
    rng, n = np.random.default_rng(seed), 4
    params = [FlyerParams() for _ in range(n)]
    params[1] = dataclasses.replace(params[1], pilot=dataclasses.replace(params[1].pilot, velocity_lag_s=0.2))
    together, alone = Flyers(team.arena, params, rejoins=True), [Flyer(team.arena, one, True) for one in params]
    p, climb_mps, flew = np.zeros((n, 3)), np.zeros(n), 0
    phases: set[VehiclePhase] = set()
    stamp_s, velocity_mps = np.zeros(n), np.zeros((n, 3))
    for k in range(1, 1500):
        now_s = k * DT_S
        silent = rng.random(n) < (0.9 if 700 < k < 720 else 0.02)  # of poses, commands, and whole ticks
        p[:, 2] = np.clip(p[:, 2] + DT_S * climb_mps, 0.0, team.arena.flight_height_m)
        if k == 900:
            p[0, 2] = 0.05  # somebody grabs one
        together.poses(~silent, np.full(n, now_s), p)
        late = rng.random(n) < (0.97 if 1000 < k < 1060 else 0.05)
        stamp_s, velocity_mps = (
            np.where(late, stamp_s, now_s),
            np.where(late[:, None], velocity_mps, rng.normal(size=3)),
        )
        velocity_mps = np.where(rng.random((n, 1)) < 0.02, 20.0, velocity_mps)  # the leash goes taut
        commands = made(stamp_s, velocity_mps, np.where(rng.random(n) < 0.0005, int(SafetyMode.POSE_LOST), 0))
        mission = words.mission(now_s, MissionPhase.ACTIVE if k > 200 else MissionPhase.TAKE_OFF)
        asked = rng.random(n) > 0.02
        for i, flyer in enumerate(alone):
            if not silent[i]:
                flyer.pose(words.pose(now_s)._replace(position_m=p[i].copy()))
            for one in (flyer, together.each[i]):
                if k % 5 == 0 and not 1200 < k < 1320:
                    one.mission(mission)
                    one.resources(words.resources(now_s, Tier.LAND if k > 1400 and i == 2 else Tier.OK))
                if k == 1100 and i == 3:
                    one.land("an operator landed it")
        orders = together.tick(now_s, commands, asked)
        for i, flyer in enumerate(alone):
            theirs = orders.of(i)
            if asked[i]:
                flyer.command(commands[i])
                order = flyer.tick(now_s)
                assert theirs is not None
                np.testing.assert_equal(tuple(theirs), tuple(order))
                climb_mps[i] = {Action.TAKE_OFF: 0.5, Action.LAND: -0.5}.get(order.action, climb_mps[i])
                if order.setpoint is not None:
                    p[i, :2] = order.setpoint.position_m[:2]
                flew += order.phase is VehiclePhase.FLYING and i not in orders.others
            else:
                assert theirs is None
            assert together.phase[i] == flyer.pilot.phase
            phases.add(flyer.pilot.phase)
            np.testing.assert_equal(together.each[i].report(now_s), flyer.report(now_s))
            assert together.each[i].ready(now_s) == flyer.ready(now_s)
    assert flew > 1000
    assert {VehiclePhase.HOLDING, VehiclePhase.FLYING, VehiclePhase.LANDING} <= phases
