"""The simulated world: counted time, seeded noise, sensors when they are due."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lgtc_core import schema
from lgtc_core.errors import ConfigError
from lgtc_core.fleet.fault import Fault, FaultKind
from lgtc_core.fleet.team import Team
from lgtc_sim.world import World, WorldParams

MakeTeam = Callable[..., Team]


def measured(world: World, steps: int) -> list[tuple[float, float, float, float]]:
    """(stamp, x, y, z) of every pose of cf1."""
    result = []
    for _ in range(steps):
        world.step()
        result += [(pose.stamp_s, *pose.position_m) for name, pose in world.poses().items() if name == "cf1"]
    return result


def test_equal_seeds_measure_the_same_to_the_last_bit_and_others_do_not(make_team: MakeTeam) -> None:
    team = make_team()
    assert measured(World(team, seed=1), 50) == measured(World(team, seed=1), 50)
    assert measured(World(team, seed=1), 50) != measured(World(team, seed=2), 50)
    assert measured(World(team), 50) == measured(World(team, seed=team.seed), 50)


def test_every_sensor_speaks_at_its_rate_and_stamps_what_it_says(make_team: MakeTeam) -> None:
    world = World(make_team(), WorldParams(dt_s=0.01, battery_period_s=0.2))
    poses, batteries = [], []
    for _ in range(1000):
        world.step()
        poses += [pose.stamp_s for pose in world.poses().values()]
        batteries += [reading.stamp_s for reading in world.batteries().values()]
    assert world.now_s == pytest.approx(10.0)
    assert len(poses) == 4 * 500
    assert len(batteries) == 4 * 50
    np.testing.assert_allclose(np.diff(sorted(set(poses))), 0.02, atol=1e-9)


def test_without_noise_a_pose_is_the_truth(make_team: MakeTeam) -> None:
    world = World(make_team(), WorldParams(placement_sd_m=0.0, pose_sd_m=0.0))
    world.step()
    world.step()
    assert [pose.position_m.tolist() for pose in world.poses().values()] == world.vehicles.position_m.tolist()
    assert world.vehicles.position_m[0].tolist() == [-1.0, 0.0, 0.0]


def test_a_sensor_that_freezes_again_does_so_where_its_drone_is_then(make_team: MakeTeam) -> None:
    world = World(make_team(), WorldParams(pose_sd_m=0.001))
    frozen = (Fault(kind=FaultKind.FROZEN_SENSOR, drones=("cf1",)),)
    places = []
    for faults in (frozen, (), frozen):
        world.suffer(faults)
        places.append({at[1:] for at in measured(world, 20)})
    first, between, again = places
    assert len(first) == len(again) == 1 < len(between)
    assert first != again


def test_noise_has_the_deviation_that_was_asked_for(make_team: MakeTeam) -> None:
    world = World(make_team(), WorldParams(placement_sd_m=0.0, pose_sd_m=0.01))
    errors_m = []
    for _ in range(1000):
        world.step()
        truth_m = world.vehicles.position_m
        errors_m += [pose.position_m - at_m for pose, at_m in zip(world.poses().values(), truth_m, strict=False)]
    assert np.std(errors_m) == pytest.approx(0.01, rel=0.05)
    assert np.mean(errors_m) == pytest.approx(0.0, abs=0.001)


def test_a_drone_starts_with_the_charge_that_the_scenario_gives_it(make_team: MakeTeam) -> None:
    world = World(make_team(supplies={"all": {"battery": 0.8}, "cf2": {"battery": 0.3}}))
    world.step()
    assert world.vehicles.charge == pytest.approx([0.8, 0.3, 0.8, 0.8])


def test_a_period_that_is_no_multiple_of_the_step_is_refused(make_team: MakeTeam) -> None:
    with pytest.raises(ConfigError, match=r"battery_period_s.*multiple of dt_s"):
        schema.build(WorldParams, {"battery_period_s": 0.025, "dt_s": 0.01}, "test")
    with pytest.raises(ConfigError, match=r"fleet.*command_period_s.*got 0.025 s.*multiple of dt_s"):
        World(make_team(fleet={"command_period_s": 0.025}))
