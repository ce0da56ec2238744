"""The batched worlds: equal to a NumPy loop over the same rules, honest about what can be known, seeded, conserving."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_cases import WORLDS

from lgtc_core.errors import ConfigError
from lgtc_core.mind.observation import MESSAGE_LIFETIME_TICKS
from lgtc_core.world import rules
from lgtc_core.world.rules import RewardWeights
from lgtc_training.configuration import WorldConfig
from lgtc_training.env import Links, World

seeds = st.integers(0, 2**31 - 1)
QUIET = dataclasses.replace(WORLDS, losses=0.0, changes=0.0, message_loss=(0.0, 0.0))


def world_of(config: WorldConfig, seed: int = 0) -> World:
    return World(config, RewardWeights(), seed, (3,))


def fly(world: World, ticks: int, seed: int = 0) -> list[torch.Tensor]:
    """Random walk; the total reward of every tick."""
    g = torch.Generator().manual_seed(seed)
    return [
        world.step(torch.randn(world.p.shape, generator=g), [torch.randn(*world.p.shape[:2], 3, generator=g)]).total()
        for _ in range(ticks)
    ]


@settings(max_examples=8, deadline=None)
@given(seeds)
def test_a_world_follows_the_same_trajectory_as_a_numpy_loop_over_the_rules(seed: int) -> None:
    world = world_of(dataclasses.replace(QUIET, worlds=2), seed)
    # The discs are crossed at single precision here and at double there: start from what torch holds.
    names = ("p", "velocity", "supply", "d", "demanded", "delivered", "kind", "speed", "lag_s", "discharge")
    x = {name: getattr(world, name).double().numpy().copy() for name in names}
    alive, exists = world.alive.numpy(), world.exists.numpy()
    g = torch.Generator().manual_seed(seed)
    zero_kind = (x["kind"] * (x["demanded"] > 0)).max(1, keepdims=True)
    for _ in range(12):
        action = torch.randn(world.p.shape, generator=g)
        world.step(action, [torch.zeros(*world.p.shape[:2], 3)])
        p, velocity = rules.move(x["p"], x["velocity"], action.double().numpy(), x["speed"], x["lag_s"], 0.05)
        x["p"], x["velocity"] = np.where(alive[..., None], p, x["p"]), np.where(alive[..., None], velocity, 0)
        inside = rules.inside(x["p"], x["d"], 0.22, alive) & exists[:, None]
        missing = rules.remaining(x["demanded"], x["delivered"], x["demanded"], x["kind"])
        handed = rules.deliver(inside, x["supply"], missing, x["kind"])
        x["supply"] -= handed.sum(2)
        x["delivered"] += handed.sum(1)
        covered = rules.cover(inside, x["supply"], x["demanded"], x["kind"])
        left = rules.remaining(x["demanded"], x["delivered"], covered, x["kind"])
        x["supply"] = rules.discharge(x["supply"], x["discharge"] * zero_kind, 0.05)
        assert np.allclose(world.p.numpy(), x["p"], atol=1e-6)
        assert np.allclose(world.remaining.numpy(), left, atol=2e-6)
        assert np.allclose(world.supply.numpy(), x["supply"], atol=2e-6)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_the_same_seed_gives_the_same_worlds_and_another_seed_gives_others(seed: int) -> None:
    a, b, c = (fly(world_of(WORLDS, s), 12) for s in (seed, seed, seed + 1))
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(a[-1], c[-1])


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_through_losses_and_changes_labels_point_to_what_exists_and_amounts_stay_in_their_bounds(seed: int) -> None:
    world = world_of(WORLDS, seed)
    for _ in range(12):
        before = world.target
        seen = before.clone()
        fly(world, 1, seed)
        assert torch.equal(before, seen)  # a recorded label is not rewritten by a later event
        assert ((world.target >= 0) == world.alive).all()
        chosen = world.exists.gather(1, world.target.clamp(min=0))
        assert (chosen | ~world.alive).all()
        assert (world.supply >= 0).all()
        assert (world.remaining >= 0).all()
        assert (world.remaining <= world.demanded + 1e-6).all()
        assert (world.exists.sum(1) >= 1).all()
        assert (world.alive.sum(1) >= 1).all()


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_what_agents_observe_does_not_depend_on_what_nobody_told_them(seed: int) -> None:
    """Change the state of agents that were not heard: the observation of the others stays as it was."""
    world = world_of(dataclasses.replace(WORLDS, agents=(6, 6)), seed)
    fly(world, 3, seed)
    state = torch.zeros(*world.p.shape[:2], 1)
    before = world.observe(state, 0)
    world.p[:, 1:], world.supply[:, 1:] = world.p[:, 1:] + 0.1, 7.0
    after = world.observe(state, 0)
    for name in ("own", "neighbours", "neighbours_seen", "neighbour_mask"):
        assert torch.equal(getattr(before, name)[:, 0], getattr(after, name)[:, 0]), name


def test_a_message_arrives_one_tick_later_ages_and_is_forgotten() -> None:
    links = Links(1, 2, 1.0, (1,), torch.device("cpu"))
    p, alive = torch.tensor([[[0.0, 0.0], [0.5, 0.0]]]), torch.ones(1, 2, dtype=torch.bool)
    none, all_ = torch.zeros(1, 2, 1, dtype=torch.bool), torch.ones(1, 2, 1, dtype=torch.bool)
    assert links.heard(p)[1].sum() == 0
    links.send(p, alive, none, [torch.tensor([[[1.0], [2.0]]])])
    seen, mask = links.heard(p)
    assert mask.sum() == 2
    assert (seen[..., 2] == 1).all()
    assert links.messages[0].flatten().tolist() == [2.0, 1.0]  # each has the other's
    assert seen[0, 0, 0, :2].tolist() == [0.5, 0.0]
    for age in range(2, MESSAGE_LIFETIME_TICKS + 1):
        links.send(p, alive, all_, [torch.full((1, 2, 1), 9.0)])
        seen, mask = links.heard(p)
        assert mask.sum() == 2
        assert (seen[..., 2] == age).all()
        assert links.messages[0].max() == 2.0
    links.send(p, alive, all_, [torch.full((1, 2, 1), 9.0)])
    assert links.heard(p)[1].sum() == 0


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_a_delayed_message_is_what_was_said_so_many_ticks_ago_on_that_link_and_says_its_age(seed: int) -> None:
    config = dataclasses.replace(
        QUIET, worlds=2, agents=(4, 4), consumers=(2, 2), start_spread=(0.1, 0.1), message_delay=(0, 3)
    )
    world = world_of(config, seed)
    delay = world.links.delay
    assert delay is not None
    assert set(delay.unique().tolist()) <= {0, 1, 2, 3}
    said, positions = [], []
    for tick in range(9):
        said.append(torch.randn(2, 4, 3))
        positions.append(world.p)
        world.step(torch.zeros_like(world.p), [said[-1]])
        seen, mask = world.links.heard(world.p)
        for w, i, k in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(3)).tolist():
            sender, late = int(world.links.senders[i, k]), int(delay[w, i, k])
            assert bool(mask[w, i, k]) == (tick >= late)
            if tick >= late:
                assert torch.equal(world.links.messages[0][w, i, k], said[tick - late][w, sender])
                assert torch.equal(world.links.p[w, i, k], positions[tick - late][w, sender])
                assert seen[w, i, k, 2] == 1 + late


def test_loss_rates_differ_between_links_where_that_is_asked_for() -> None:
    config = WorldConfig(
        worlds=2, agents=(8, 8), message_loss=(0.0, 1.0), loss_per_link=True, start_spread=(0.01, 0.01)
    )
    world = world_of(config)
    heard = torch.zeros(2, 8, 7)
    for _ in range(200):
        world.step(torch.zeros_like(world.p), [torch.zeros(2, 8, 3)])
        heard += world.links.age == 1
    assert (heard / 200 - (1 - world.loss)).abs().max() < 0.2
    assert (heard / 200).std() > 0.2


def test_neither_the_far_nor_the_lost_are_heard() -> None:
    links = Links(1, 3, 1.0, (1,), torch.device("cpu"))
    p = torch.tensor([[[0.0, 0.0], [0.5, 0.0], [-0.9, 0.9]]])
    links.send(p, torch.tensor([[True, False, True]]), torch.zeros(1, 3, 2, dtype=torch.bool), [torch.zeros(1, 3, 1)])
    assert links.heard(p)[1].sum() == 0


def test_messages_are_lost_as_often_as_stated() -> None:
    config = WorldConfig(worlds=64, agents=(8, 8), consumers=(2, 2), message_loss=(0.3, 0.3), start_spread=(0.01, 0.01))
    world = world_of(config)
    world.step(torch.zeros_like(world.p), [torch.zeros(64, 8, 3)])
    assert abs(float(world.links.heard(world.p)[1].mean()) - 0.7) < 0.03


def test_every_world_of_a_single_kind_uses_one_kind_only() -> None:
    world = world_of(dataclasses.replace(QUIET, worlds=32, single_kind=1.0))
    assert (((world.supply.sum(1) > 0).sum(-1)) == 1).all()
    assert ((world.demanded.sum(1) > 0) == (world.supply.sum(1) > 0)).all()


def test_demand_stands_in_the_stated_ratio_to_supply() -> None:
    world = world_of(WorldConfig(worlds=64, demand_ratio=(1.0, 1.2)))
    ratio = world.demanded.sum(1) / world.supply.sum(1)
    assert (ratio >= 1.0 - 1e-5).all()
    assert (ratio <= 1.2 + 1e-5).all()


def test_consumers_lie_apart_where_there_is_room() -> None:
    world = world_of(WorldConfig(worlds=64))
    gap = torch.cdist(world.d, world.d) + 10 * torch.eye(4)
    assert (gap.amin((1, 2)) >= 0.54).float().mean() > 0.95


def test_a_lost_sole_server_leaves_its_place_uncovered_and_eq_2_sends_another() -> None:
    config = WorldConfig(
        worlds=16, ticks=200, agents=(5, 5), consumers=(3, 3), carried=1.0, supply=(1.0, 1.0), single_kind=1.0,
        zero_depletion=1.0, demand_each=(0.5, 0.9),
    )  # fmt: skip
    world = world_of(config)
    for _ in range(60):
        world.step(world.expert(), [torch.zeros(16, 5, 3)])
    assert (world.satisfaction() > 0.999).all()
    sole = world.sole_servers()
    assert (sole.sum(1) == 1).all()  # five drones, three places: 2, 2 and 1
    world.lose(sole)
    assert (world.satisfaction() < 0.99).all()
    for _ in range(60):
        world.step(world.expert(), [torch.zeros(16, 5, 3)])
    assert (world.satisfaction() > 0.999).all()


def test_labels_solved_again_follow_the_choices_of_the_team_and_who_gave_its_last_keeps_its_consumer() -> None:
    world = world_of(dataclasses.replace(QUIET, relabel_ticks=1, label_gain=10.0, label_margin=1.0))

    def relabelled() -> tuple[torch.Tensor, torch.Tensor]:
        choice = torch.randint(0, 99, world.target.shape) % world.exists.sum(1, keepdim=True)
        world.step(torch.zeros_like(world.p), [torch.zeros(*world.p.shape[:2], 3)], choice)
        carried = (choice.unsqueeze(-1) == torch.arange(world.shape[2])) & (world.supply.sum(-1) > 0).unsqueeze(-1)
        free = (carried.any(1) | ~world.exists).all(-1)  # worlds whose choices leave no consumer alone
        return torch.where(world.alive, choice, -1), free

    world.supply[:, 0] = 0.0
    first, free = relabelled()
    assert free.any()
    assert torch.equal(world.target[free], first[free])
    second, free = relabelled()
    assert free.any()
    assert torch.equal(world.target[free, 1:], second[free, 1:])
    assert torch.equal(world.target[:, 0], first[:, 0])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"agents": (5, 3)}, "agents"),
        ({"agents": (3, 3), "consumers": (4, 5)}, "consumers"),
        ({"lag_s": (1.0, 0.0)}, "lag_s"),
    ],
)
def test_contradictory_worlds_are_refused_by_name(change: dict, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        dataclasses.replace(WORLDS, **change)
