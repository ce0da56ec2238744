"""The filter in the environment is the flight's: everybody stays apart, what is safe is left, and it can be off."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lgtc_core.flight import barrier
from lgtc_core.flight.safety_filter import SafetyFilter
from lgtc_core.world.rules import RewardWeights
from lgtc_training.configuration import WorldConfig
from lgtc_training.env import World
from lgtc_training.safety import safe_action

RADIUS, GAIN, SPEED = 0.1, 4.0, 1.0


def ring(worlds: int, agents: int) -> torch.Tensor:
    """(W, N, 2) agents on a circle."""
    angles = torch.arange(agents) * (2 * math.pi / agents)
    return torch.stack([angles.cos(), angles.sin()], -1).mul(0.9).expand(worlds, agents, 2).clone()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), agents=st.integers(2, 12))
def test_each_agent_gets_what_the_filter_of_a_drone_in_its_place_answers(seed: int, agents: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(2, agents, 2, generator=generator) * 2 - 1
    action = torch.randn(2, agents, 2, generator=generator)
    alive = torch.rand(2, agents, generator=generator) > 0.2
    safe, _ = safe_action(p, action, torch.full((2, 1, 1), SPEED), alive, RADIUS, GAIN)
    for world in range(2):
        for i in range(agents):
            if not alive[world, i]:
                continue
            others = [j for j in range(agents) if j != i and alive[world, j]]
            at, them = p[world, i].double().numpy(), p[world, others].double().numpy().reshape(-1, 2)
            k = len(others)
            pairs = barrier.pairs(
                at, them, np.zeros((k, 2)), np.full(k, RADIUS), np.full(k, 0.5), np.ones(k), GAIN, 0.0, SPEED
            )
            walls = barrier.walls(at, -np.ones(2), np.ones(2), GAIN, np.full(2, SPEED))
            rows = barrier.Constraints(*(np.concatenate(both) for both in zip(pairs, walls, strict=True)))
            asked = action[world, i].double().numpy()
            own = SafetyFilter(2).solve(asked / max(1.0, float(np.linalg.norm(asked))) * SPEED, rows, SPEED)
            np.testing.assert_allclose(safe[world, i].numpy(), own.velocity_mps / SPEED, atol=1e-5)


def test_a_crowd_that_all_wants_to_one_place_stays_apart_with_it_and_collapses_without() -> None:
    closest = {}
    for radius in (0.0, RADIUS):
        config = WorldConfig(worlds=4, agents=(20, 20), consumers=(1, 1), ticks=80, safety_radius=radius)
        world = World(config, RewardWeights(), 0)
        world.p = ring(4, 20)
        gaps = []
        for _ in range(80):
            world.step(-4.0 * world.p, [])
            apart = torch.cdist(world.p, world.p) + 10.0 * torch.eye(20)
            gaps.append(float(apart.min()))
        closest[radius] = min(gaps)
    assert closest[0.0] < 0.05
    assert closest[RADIUS] >= RADIUS - 1e-5


def test_what_is_safe_is_left_as_it_is_and_corrections_are_told() -> None:
    p = torch.tensor([[[-0.5, 0.0], [0.5, 0.0]]])
    alive, speed = torch.ones(1, 2).bool(), torch.ones(1, 1, 1)
    apart = torch.tensor([[[0.0, 0.5], [0.0, -0.5]]])
    safe, correction = safe_action(p, apart, speed, alive, RADIUS, GAIN)
    assert torch.allclose(safe, apart, atol=1e-6)
    assert correction.max() < 1e-6
    near = p * 0.11
    safe, correction = safe_action(near, torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]]), speed, alive, RADIUS, GAIN)
    assert correction.min() > 0.5


def test_agents_that_are_lost_are_in_nobodys_way() -> None:
    p = torch.tensor([[[-0.06, 0.0], [0.06, 0.0]]])
    towards = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    alive = torch.tensor([[True, False]])
    safe, _ = safe_action(p, towards, torch.ones(1, 1, 1), alive, RADIUS, GAIN)
    assert torch.allclose(safe, towards, atol=1e-6)


def test_without_it_nothing_is_corrected() -> None:
    world = World(WorldConfig(worlds=2), RewardWeights(), 0)
    world.step(torch.ones(2, 10, 2), [])
    assert world.correction.abs().max() == pytest.approx(0.0)
