"""Eqs. (4)-(6): gradients, bounds, contraction, and that padding and order do not matter."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from training_cases import OURS, PRINTED

from lgtc_core.errors import ConfigError
from lgtc_core.mind.observation import Observation
from lgtc_training.configuration import NetworkConfig
from lgtc_training.networks import RELAY_SLOTS, LgtcNetwork, bounded, mean_action

SWITCHES = [field.name for field in dataclasses.fields(NetworkConfig) if "bool" in str(field.type)]
seeds = st.integers(0, 2**31 - 1)


def draw(
    network: LgtcNetwork, seed: int = 0, agents: int = 5, consumers: int = 4, neighbours: int = 3, size: float = 1.0
) -> Observation:
    """A random observation, with choices announced and some neighbours not heard."""
    g = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return size * (2 * torch.rand(*shape, generator=g) - 1)

    r = network.config.kinds
    messages = uniform(agents, neighbours, network.message_width)
    own = network.config.features + network.config.liquid_width
    messages[..., own:] = messages[..., own:].abs()  # amounts
    messages[..., -1] = torch.randint(0, consumers + 1, (agents, neighbours), generator=g)
    rows = torch.cat((
        uniform(agents, consumers, 2), uniform(agents, consumers, 2 * r).abs(),
        torch.randint(0, 2, (agents, consumers, r), generator=g),
    ), -1)  # fmt: skip
    state = uniform(agents, network.state_width).clamp(-1, 1)
    state[:, -1] = torch.randint(0, consumers + 1, (agents,), generator=g)
    return Observation(
        torch.cat((uniform(agents, 2), uniform(agents, r).abs()), -1), rows, torch.ones(agents, consumers), messages,
        torch.cat((uniform(agents, neighbours, 2), torch.ones(agents, neighbours, 1)), -1),
        (torch.rand(agents, neighbours, generator=g) < 0.8).float(), state,
    )  # fmt: skip


@pytest.mark.parametrize("config", [PRINTED, OURS, dataclasses.replace(PRINTED, activation="tanh")])
def test_the_selection_passes_gradient_to_every_consumers_features(config: NetworkConfig) -> None:
    network = LgtcNetwork(config, 4)
    observation = draw(network)
    rows = observation.consumers.clone().requires_grad_()
    out = network(observation._replace(consumers=rows))
    for answer in (out.head, out.state[..., : config.liquid_width]):  # the motion and the liquid state, each for itself
        (gradient,) = torch.autograd.grad(answer.square().sum(), rows, retain_graph=True)
        assert (gradient.abs().sum(-1) > 0).all()


def test_the_argmax_alone_would_pass_no_gradient_to_the_scores_but_the_straight_through_choice_does() -> None:
    network = LgtcNetwork(OURS, 4)
    out = network(draw(network))
    assert torch.equal(out.choice.detach().amax(-1), torch.ones(5))
    (gradient,) = torch.autograd.grad((out.choice * torch.rand(5, 4)).sum(), network.b_0.weight)
    assert gradient.abs().sum() > 0


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(0.1, 100.0), st.sampled_from([PRINTED, OURS]))
def test_the_liquid_state_stays_in_the_unit_box_and_tau_is_not_negative_for_any_weights_and_inputs(
    seed: int, size: float, config: NetworkConfig
) -> None:
    torch.manual_seed(seed)
    network = LgtcNetwork(config, 4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(size)
        assert (network.tau() >= 0).all()
        out = network(draw(network, seed, size=size))
        assert (out.state[..., : config.liquid_width].abs() <= 1).all()
        assert torch.isfinite(out.head).all()
        assert (mean_action(out).norm(dim=-1) <= 1 + 1e-6).all()


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_two_states_draw_together_at_the_certified_rate_on_every_graph(seed: int) -> None:
    """Continuous time, eq. (6), small Euler steps, the graph drawn anew on the way: faster than e^(-ct)."""
    torch.manual_seed(seed)
    network = LgtcNetwork(PRINTED, 4)
    with torch.no_grad():
        network.a_half.mul_(torch.rand(()) * 1.5)
        network.tau_raw.add_(torch.rand(8))
        rate = network.contraction_rate()
        if rate <= 0:
            network.a_half.mul_(0.1)
            rate = network.contraction_rate()
        assert rate > 0
        a, tau, dt, n = network.a_matrix().double(), network.tau().double(), 1e-3, 6
        bias = torch.tanh(network.b_f_raw).double()
        x, y = (2 * torch.rand(2, n, 8, dtype=torch.float64) - 1).unbind(0)
        start = (x - y).abs().max()
        for step in range(3000):
            if step % 300 == 0:
                graph = (torch.rand(n, n, dtype=torch.float64) < 0.5) & ~torch.eye(n, dtype=torch.bool)
                s = graph.double() / graph.sum(1, keepdim=True).clamp(min=1)
                f = torch.relu(torch.randn(n, 8, dtype=torch.float64))
            x, y = (z + dt * (-(tau + f) * z - s @ z @ a + f * bias) for z in (x, y))
            bound = start * torch.exp(-rate.double() * dt * (step + 1))
            assert (x - y).abs().max() <= bound * (1 + 3 * dt * (step + 1)) + 1e-9  # Euler's own error


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_one_fused_step_draws_states_together_by_the_stated_factor(seed: int) -> None:
    torch.manual_seed(seed)
    network = LgtcNetwork(OURS, 4)
    with torch.no_grad():
        x, y = 2 * torch.rand(2, 7, 8) - 1
        s = torch.rand(7, 7) * (torch.rand(7, 7) < 0.5)
        s = s / s.sum(1, keepdim=True).clamp(min=1e-6)
        f = torch.relu(torch.randn(7, 8))
        after = network.liquid_step(x, s @ x, f) - network.liquid_step(y, s @ y, f)
        assert after.abs().max() <= network.step_factor() * (x - y).abs().max() + 1e-6
    assert (network.step_factor() < 1) == (network.contraction_rate() > 0)


def test_the_regulariser_pushes_the_rate_up() -> None:
    network = LgtcNetwork(PRINTED, 4)
    before = network.contraction_rate().item()
    network.regulariser().backward()
    with torch.no_grad():
        for parameter in (network.tau_raw, network.a_half):
            parameter.sub_(0.05 * parameter.grad)
    assert network.contraction_rate().item() > before


@pytest.mark.parametrize("config", [PRINTED, OURS])
def test_padding_with_absent_neighbours_and_consumers_changes_nothing(config: NetworkConfig) -> None:
    network = LgtcNetwork(config, 4)
    short = draw(network)
    longer = short._replace(
        consumers=torch.cat((short.consumers, torch.zeros(5, 2, short.consumers.shape[-1])), 1),
        consumer_mask=torch.cat((short.consumer_mask, torch.zeros(5, 2)), 1),
        neighbours=torch.cat((short.neighbours, torch.full((5, 3, short.neighbours.shape[-1]), 1.0)), 1),
        neighbours_seen=torch.cat((short.neighbours_seen, torch.zeros(5, 3, 3)), 1),
        neighbour_mask=torch.cat((short.neighbour_mask, torch.zeros(5, 3)), 1),
    )
    a, b = network(short), network(longer)
    assert torch.allclose(a.head, b.head, atol=1e-5)
    assert torch.allclose(a.message, b.message, atol=1e-5)
    assert torch.allclose(a.logits, b.logits[:, :4], atol=1e-4)


@pytest.mark.parametrize("config", [PRINTED, OURS])
def test_the_order_of_neighbours_does_not_matter(config: NetworkConfig) -> None:
    network = LgtcNetwork(config, 4)
    one = draw(network)
    order = torch.tensor([2, 0, 1])
    other = one._replace(
        neighbours=one.neighbours[:, order],
        neighbours_seen=one.neighbours_seen[:, order],
        neighbour_mask=one.neighbour_mask[:, order],
    )
    assert torch.allclose(network(one).head, network(other).head, atol=1e-5)


@pytest.mark.parametrize("config", [PRINTED, OURS])
def test_an_agent_without_neighbours_and_without_consumers_still_answers(config: NetworkConfig) -> None:
    network = LgtcNetwork(config, 4)
    lonely = draw(network)
    out = network(lonely._replace(neighbour_mask=torch.zeros(5, 3), consumer_mask=torch.zeros(5, 4)))
    assert all(torch.isfinite(x).all() for x in (out.head, out.message, out.state))
    assert (out.state[..., -1] == 0).all()


def test_consumers_shared_by_a_world_give_what_separate_rows_give() -> None:
    network = LgtcNetwork(OURS, 4)
    flat = draw(network, agents=6)
    shared = flat._replace(consumers=flat.consumers[:1].expand(6, -1, -1))
    batched = Observation(*(x.unflatten(0, (1, 6)) for x in shared))
    batched = batched._replace(consumers=batched.consumers[:, :1], consumer_mask=batched.consumer_mask[:, :1])
    assert torch.allclose(network(batched).head[0], network(shared).head, atol=1e-5)


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_switch_stands_alone_and_changes_the_answer(switch: str) -> None:
    announced = {"edge_scorer": True, "announced_choice": True}
    needs = {"announced_choice": {"edge_scorer": True}, "competition": announced, "relayed_load": announced}
    base = dataclasses.replace(PRINTED, **needs.get(switch, {}))
    changed = dataclasses.replace(base, **{switch: not getattr(base, switch)})
    answers = []
    for config in (base, changed):
        torch.manual_seed(3)
        network = LgtcNetwork(config, 4)
        answers.append(network(draw(network)).head)
    assert not torch.allclose(*answers)


def test_impatience_grows_where_nobody_is_known_to_come_and_ends_when_somebody_is() -> None:
    network = LgtcNetwork(OURS, 4)
    seen = draw(network, neighbours=1)._replace(state=network.initial_state(5), neighbour_mask=torch.zeros(5, 1))
    seen.consumers[..., 4:6] = seen.consumers[..., 2:4] = 1.0  # nobody serves anything
    ticks = slice(OURS.liquid_width, -1)
    for tick in range(1, 4):
        out = network(seen)
        assert (out.state[:, ticks][:, :4] == tick).all()
        assert (out.state[:, ticks][:, 4:] == 0).all()
        seen = seen._replace(state=out.state)
    message = torch.zeros(5, 1, network.message_width)
    message[..., OURS.features + OURS.liquid_width], message[..., -1] = 0.7, 2.0  # it carries something, to the second
    told = network(seen._replace(neighbours=message, neighbour_mask=torch.ones(5, 1))).state[:, ticks]
    assert (told[:, 1] == 0).all()
    assert (told[:, 0] == 4).all()


def test_contradictory_switches_are_refused() -> None:
    with pytest.raises(ConfigError, match="edge_scorer"):
        dataclasses.replace(PRINTED, announced_choice=True)
    with pytest.raises(ConfigError, match="announced_choice"):
        dataclasses.replace(PRINTED, edge_scorer=True, competition=True)
    with pytest.raises(ConfigError, match="announced_choice"):
        dataclasses.replace(PRINTED, edge_scorer=True, relayed_load=True)


def test_a_load_that_only_a_neighbour_hears_of_counts_as_much_as_one_heard_and_nobody_counts_twice() -> None:
    """0 hears 1, 1 hears 2: what 2 serves reaches 0 through 1; what 1 says of 0 and of itself adds nothing."""
    network = LgtcNetwork(OURS, 4)
    r, consumers = 2, 3
    number = torch.arange(1, consumers + 1, dtype=torch.float32)
    supply = torch.tensor([[0.5, 0.25], [1.0, 0.0], [0.0, 2.0]])
    choice = torch.tensor([1.0, 1.0, 3.0])  # as announced: index + 1

    def message(agent: int, known: Tensor, farthest: Tensor) -> Tensor:
        table = torch.zeros(RELAY_SLOTS, r + 1)
        table[:consumers] = torch.cat((known, farthest[:, None]), 1)
        start = torch.zeros(network.message_width - r - table.numel() - 1)
        return torch.cat((start, supply[agent], table.flatten(), choice[agent : agent + 1]))

    known = torch.zeros(consumers, r)
    known[0], known[2] = supply[0] + supply[1], supply[2]
    p, d, seen = torch.zeros(1, 2), torch.zeros(1, consumers, 2), torch.tensor([[[0.0, 0.5, 1.0]]])
    farthest = torch.tensor([0.9, 0.0, 0.4])
    told = network._told(message(1, known, farthest)[None, None], torch.ones(1, 1), number, p, d, seen)
    assert torch.equal(told.farthest[0], farthest)
    assert torch.equal(told.load[0], torch.stack((supply[1], torch.zeros(r), torch.zeros(r))))
    own = torch.zeros(consumers, r)
    own[0] = supply[0]
    assert torch.equal(torch.maximum(told.load[0] + own, told.relayed[0]), known)


@given(seeds)
def test_bounded_keeps_the_direction_and_stays_inside_the_unit_disc(seed: int) -> None:
    v = 5 * torch.randn(10, 2, generator=torch.Generator().manual_seed(seed))
    w = bounded(v)
    assert (w.norm(dim=-1) <= 1 + 1e-6).all()
    assert torch.allclose(v[:, 0] * w[:, 1], v[:, 1] * w[:, 0], atol=1e-4)
