"""A few minutes of the flight-hours in every test run: random crowds, events and faults, and no pair closer than D.

`bench/flight_hours.py` flies them by the hour, with the same functions.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from lgtc_core.fleet.fault import Fault, FaultKind
from lgtc_core.fleet.scenario import VehicleModel
from lgtc_core.flight.guard import GuardParams
from lgtc_core.flight.phases import MissionPhase, VehiclePhase
from lgtc_sim.flight_hours import CONTACT_RADIUS_M, COVERED, Verdict, draw, judge
from lgtc_sim.offline import FlightResult, fly

HARD = (Fault(kind=FaultKind.LOSS, amount=0.3), Fault(kind=FaultKind.DELAY, amount=0.2))


def flown(seed: int, greedy_model: Path, **options: object) -> Verdict:
    case = draw(seed, drones=8, duration_s=20.0, **options)  # type: ignore[arg-type]
    team = case.team()
    result = fly(team, greedy_model)
    assert result.mission[-1][1] is MissionPhase.DONE
    return judge(result, team)


@pytest.mark.parametrize("model", [VehicleModel.KINEMATIC, VehicleModel.SECOND_ORDER])
@pytest.mark.parametrize("hard", [False, True], ids=["", "30 % lost, 200 ms late"])
def test_random_flights_with_covered_faults_keep_every_pair_apart(
    greedy_model: Path, model: VehicleModel, hard: bool
) -> None:
    verdict = flown(100 + hard, greedy_model, model=model, always=HARD if hard else (), outside=0.0)
    assert verdict.violations == ()
    assert verdict.closest >= 1.0


def test_faults_beyond_the_hypotheses_are_flown_too_and_told_apart(greedy_model: Path) -> None:
    case = draw(7, outside=1.0)
    assert not case.covered
    assert not {fault["kind"] for fault in case.scenario["faults"]} <= {kind.value for kind in COVERED}
    assert flown(7, greedy_model, outside=1.0).contact_m > 0.0


def test_equal_seeds_draw_equal_cases_and_every_case_is_a_team() -> None:
    for seed in range(20):
        assert draw(seed) == draw(seed)
        assert len(draw(seed).team().drones) == 16
    assert draw(1) != draw(2)


def test_a_case_that_lagging_vehicles_could_not_fly_safely_is_drawn_slower(greedy_model: Path) -> None:
    team = draw(181, duration_s=1.0, model=VehicleModel.SECOND_ORDER).team()
    assert judge(fly(team, greedy_model), team).violations == ()


def test_the_judge_sees_a_pair_that_came_too_close_and_measures_as_the_guarantee_does() -> None:
    team = draw(0, drones=2).team()
    d_m, flat = team.drones[0].safety_distance_m, team.drones[0].safety_distance_m / team.drones[0].downwash_m
    rows = np.array(
        [
            [[0.0, 0.0, 1.0], [1.2 * d_m, 0.0, 1.0]],
            [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0 - 0.9 * d_m / flat]],
            [[0.0, 0.0, 0.3], [0.0, 0.0, 0.0]],
        ]
    )

    def verdict(positions_m: np.ndarray, first: VehiclePhase = VehiclePhase.FLYING) -> Verdict:
        t = len(positions_m)
        phase = np.full((t, 2), [first, VehiclePhase.LANDED])
        return judge(FlightResult(team.names, np.arange(t) * 1.0, positions_m, phase, np.zeros(t), (), ()), team)

    assert verdict(rows[:1]).violations == ()
    assert verdict(rows[:1]).closest == pytest.approx(1.2)
    above = verdict(rows[:2])
    assert above.violations == ((1.0, *team.names, pytest.approx(0.9)),)
    assert above.contact_m > 2.0 * CONTACT_RADIUS_M
    assert verdict(rows[2:]).closest == pytest.approx(0.3 / d_m)  # one on the ground: no airflow

    def near(height_m: float) -> np.ndarray:
        return np.array([[[0.0, 0.0, height_m], [0.8 * d_m, 0.0, 0.0]]])

    flying, landing = verdict(near(0.1)), verdict(near(0.1), VehiclePhase.LANDING)
    assert [pair[3] < 1.0 for pair in flying.violations] == [True]
    assert (landing.violations, landing.closest) == ((), math.inf)  # its firmware came down beside one that stands
    assert landing.beside == flying.violations
    ground_m = GuardParams().grounded_height_m
    touching, flying = (
        verdict(near(0.9 * ground_m), VehiclePhase.LANDED),
        verdict(near(1.1 * ground_m), VehiclePhase.LANDED),
    )
    assert (touching.violations, len(touching.beside)) == ((), 1)  # the last of the same descent
    assert (len(flying.violations), flying.beside) == (1, ())  # whatever it says of itself
