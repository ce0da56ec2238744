"""The yardsticks as minds: the answer of eq. (2), found together, and given anew when somebody is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lgtc_core.demand.view import ConsumerView, DemandView
from lgtc_core.errors import InputError
from lgtc_core.mind.central import CentralMind
from lgtc_core.mind.council import GAIN, MARGIN, Council
from lgtc_core.mind.observation import MESSAGE_LIFETIME_TICKS
from lgtc_core.world import rules
from lgtc_core.world.arena import Arena
from lgtc_core.world.assignment import assign, cost_of, linear_cost

ARENA = Arena(half_extent_m=(2.0, 2.0))
TICK_S = 0.05


def place(slot: int, x_m: float, y_m: float, amount: float, kind: int = rules.ZERO_DEPLETION) -> ConsumerView:
    amounts = np.array([amount])
    return ConsumerView(f"p{slot}", slot, np.array([x_m, y_m]), 0.44, amounts, amounts, np.array([kind]), ())


def view(*places: ConsumerView) -> DemandView:
    return DemandView(1, ("battery",), places)


def tick(
    minds: list[CentralMind], now_s: float, positions: np.ndarray, supplies: np.ndarray, demand: DemandView
) -> list[Any]:
    """One tick of every mind; the first one is what makes all others known, so it is the second that counts."""
    for _ in range(2):
        now_s += TICK_S
        decisions = [mind.decide(now_s, p, s, demand) for mind, p, s in zip(minds, positions, supplies, strict=True)]
    return decisions


def team(policy: Any, count: int) -> list[CentralMind]:
    council = Council(policy, ARENA, TICK_S)
    return [CentralMind(council, f"cf{i}", 0.5) for i in range(count)]


@pytest.mark.parametrize("seed", range(5))
def test_the_experts_choices_cost_what_the_exact_answer_of_eq_2_costs_within_gain_and_margin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    positions, supplies = rng.uniform(-2, 2, (6, 2)), rng.uniform(0.3, 1.0, (6, 1))
    demand = view(*(place(m, *rng.uniform(-1.7, 1.7, 2), 1.3) for m in range(3)))
    chosen = np.array([one.chosen for one in tick(team("expert", 6), 0.0, positions, supplies, demand)])
    p, d = ARENA.to_normalised(positions), ARENA.to_normalised(np.stack([c.position_m for c in demand.consumers]))
    wanted = np.stack([c.demanded for c in demand.consumers])
    cost = cost_of(chosen, linear_cost(p, supplies, d, wanted), supplies, wanted)
    assert cost <= (1 + MARGIN) * assign(p, supplies, d, wanted, "exact").cost + GAIN


def test_every_drone_flies_to_its_place_no_faster_than_it_may() -> None:
    demand = view(place(0, -1.0, 0.0, 0.5), place(2, 1.0, 0.0, 0.5))
    positions = np.array([[-0.5, 0.9], [0.5, 0.9]])
    west, east = tick(team("expert", 2), 0.0, positions, np.ones((2, 1)), demand)
    assert (west.consumers[west.chosen], east.consumers[east.chosen]) == ("p0", "p2")
    assert west.velocity_mps[0] < 0 < east.velocity_mps[0]
    assert np.linalg.norm(west.velocity_mps) == pytest.approx(0.5)
    assert west.assignment.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("how", ["reset", "silence"])
def test_the_place_of_a_drone_that_is_lost_is_given_to_another_and_greedy_does_not_care(how: str) -> None:
    demand = view(place(0, -1.0, 0.0, 0.6), place(1, 1.0, 0.0, 0.6))
    positions, supplies = np.array([[-1.0, 0.0], [1.0, 0.0], [0.9, 0.1]]), np.ones((3, 1))
    for policy, expected in (("expert", {"p0", "p1"}), ("greedy", {"p1"})):
        minds = team(policy, 3)
        tick(minds, 0.0, positions, supplies, demand)
        if how == "reset":
            minds[0].reset()
        now_s = 0.15 if how == "reset" else (MESSAGE_LIFETIME_TICKS + 4) * TICK_S
        decisions = tick(minds[1:], now_s, positions[1:], supplies[1:], demand)
        assert {one.consumers[one.chosen] for one in decisions} == expected, policy
        assert decisions[0].neighbours_heard == 1


def test_without_consumers_it_stands_still_and_nonsense_is_refused() -> None:
    (mind,) = team("expert", 1)
    decision = mind.decide(0.0, np.array([0.3, 0.0]), np.ones(1), view())
    assert decision.chosen == -1
    assert decision.velocity_mps.tolist() == [0.0, 0.0]
    with pytest.raises(InputError, match="cf0"):
        mind.decide(0.05, np.array([np.nan, 0.0]), np.ones(1), view())
