"""The rules of the world: conservation, fairness, both depletion kinds, rewards of eq. (3), NumPy equal to torch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgtc_core.world import graph, rules
from lgtc_core.world.rules import INSTANTANEOUS, ZERO_DEPLETION, RewardWeights, Tick

seeds = st.integers(0, 2**32 - 1)


def draw(seed: int, worlds: int = 3, n: int = 6, m: int = 3, r: int = 2) -> dict:
    """Worlds with agents in and out of discs, some dead, some consumers missing."""
    rng = np.random.default_rng(seed)
    d = rng.uniform(-0.8, 0.8, (worlds, m, 2))
    near = d[np.arange(worlds)[:, None], rng.integers(0, m, (worlds, n))] + rng.normal(0, 0.15, (worlds, n, 2))
    exists = rng.random((worlds, m)) < 0.9
    return {
        "p": np.clip(near, -1, 1),
        "d": d,
        "alive": rng.random((worlds, n)) < 0.85,
        "exists": exists,
        "supply": rng.uniform(0, 1, (worlds, n, r)) * (rng.random((worlds, n, r)) < 0.7),
        "demanded": rng.uniform(0, 1.5, (worlds, m, r)) * exists[..., None],
        "kind": rng.integers(0, 2, (worlds, m, r)),
        "target": rng.integers(-1, m, (worlds, n)),
        "moved": np.clip(near + rng.normal(0, 0.04, near.shape), -1, 1),
    }


def one_tick(x: dict) -> Tick:
    """Deliver, cover, and collect what the reward looks at, as env and demand book do."""
    zero = 0 * x["demanded"]
    before = rules.remaining(x["demanded"], zero, zero, x["kind"])
    inside = rules.inside(x["moved"], x["d"], 0.22, x["alive"]) & x["exists"][:, None]
    delivered = rules.deliver(inside, x["supply"], before, x["kind"])
    supply = x["supply"] - delivered.sum(2)
    covered = rules.cover(inside, supply, x["demanded"], x["kind"])
    after = rules.remaining(x["demanded"], delivered.sum(1), covered, x["kind"])
    return Tick(
        x["p"], x["moved"], x["d"], 0.22, x["alive"], x["exists"], x["kind"], x["demanded"], before, after, inside,
        supply, delivered, x["supply"].sum(-1), x["supply"].sum(-1).sum(-1), x["target"],
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_delivery_takes_from_carriers_what_it_gives_to_consumers_and_exceeds_neither(seed: int) -> None:
    x = draw(seed)
    tick = one_tick(x)
    assert (tick.delivered >= 0).all()
    assert (tick.delivered.sum(2) <= x["supply"] + 1e-12).all()
    assert (tick.delivered.sum(1) <= tick.remaining_before + 1e-12).all()
    assert (tick.delivered[~np.broadcast_to(tick.inside[..., None], tick.delivered.shape)] == 0).all()
    instantaneous = x["kind"] == INSTANTANEOUS
    gone = tick.remaining_before - tick.remaining
    assert np.allclose(tick.delivered.sum(1)[instantaneous], gone[instantaneous])
    assert (tick.delivered.sum(1)[~instantaneous] == 0).all()


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_an_agent_in_a_single_disc_keeps_nothing_that_is_still_missing_there(seed: int) -> None:
    tick = one_tick(draw(seed))
    alone = tick.inside & (tick.inside.sum(2, keepdims=True) == 1)
    keeps = alone[..., None] & (tick.supply[:, :, None] > 1e-9) & (tick.kind == INSTANTANEOUS)[:, None]
    missing = np.broadcast_to((tick.remaining > 1e-9)[:, None], keeps.shape)
    assert not (keeps & missing).any()


def test_an_over_offered_consumer_takes_the_same_fraction_of_every_offer() -> None:
    inside = np.ones((3, 1), bool)
    supply = np.array([[1.0], [2.0], [3.0]])
    delivered = rules.deliver(inside, supply, np.array([[3.0]]), np.array([[INSTANTANEOUS]]))
    assert np.allclose(delivered[:, 0, 0], [0.5, 1.0, 1.5])


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_the_order_of_agents_does_not_matter(seed: int) -> None:
    x = draw(seed)
    order = np.random.default_rng(seed).permutation(x["p"].shape[1])
    shuffled = {k: v[:, order] if k in ("p", "moved", "alive", "supply", "target") else v for k, v in x.items()}
    a, b = (rules.rewards(RewardWeights(), one_tick(y)).total() for y in (x, shuffled))
    assert np.allclose(a[:, order], b)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_zero_depletion_uses_nothing_up_and_covers_at_most_the_demand(seed: int) -> None:
    x = draw(seed)
    x["kind"][:] = ZERO_DEPLETION
    tick = one_tick(x)
    assert (tick.supply == x["supply"]).all()
    present = (tick.inside[..., None] * x["supply"][:, :, None]).sum(1)
    assert np.allclose(tick.demanded - tick.remaining, np.minimum(present, tick.demanded))
    away = {**x, "moved": np.full_like(x["moved"], 5.0)}
    assert np.allclose(one_tick(away).remaining, x["demanded"])


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_satisfaction_is_the_share_met_and_lies_in_the_unit_interval(seed: int) -> None:
    tick = one_tick(draw(seed))
    value = rules.satisfaction(tick.demanded, tick.remaining, tick.exists)
    asked = tick.demanded.sum((1, 2))
    assert ((value >= 0) & (value <= 1)).all()
    assert np.allclose(value * asked, (tick.demanded - tick.remaining).sum((1, 2)))
    assert rules.satisfaction(np.zeros((2, 1)), np.zeros((2, 1))) == 1.0


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from(["hinge", "printed"]))
def test_numpy_and_torch_agree_on_a_whole_tick(seed: int, collision: str) -> None:
    torch = pytest.importorskip("torch")
    x = draw(seed)
    y = {name: torch.from_numpy(np.asarray(value)) for name, value in x.items()}
    weights = RewardWeights(collision=collision)  # type: ignore[arg-type]
    a, b = one_tick(x), one_tick(y)
    for name in ("remaining", "inside", "supply", "delivered"):
        assert np.allclose(getattr(a, name), getattr(b, name).numpy(), atol=1e-6), name
    for name, left, right in zip(
        rules.RewardTerms._fields, rules.rewards(weights, a), rules.rewards(weights, b), strict=True
    ):
        assert np.allclose(left, right.numpy(), atol=1e-6), name
    assert (graph.adjacency(x["p"], 0.3, x["alive"]) == graph.adjacency(y["p"], 0.3, y["alive"]).numpy()).all()
    action = np.random.default_rng(seed).normal(size=x["p"].shape)
    ours = rules.move(x["p"], 0 * action, action, 0.7, 0.2, 0.05)
    theirs = rules.move(y["p"], torch.zeros_like(y["p"]), torch.from_numpy(action), 0.7, 0.2, 0.05)
    assert all(np.allclose(a, b.numpy()) for a, b in zip(ours, theirs, strict=True))


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_rewards_follow_equation_3_agent_by_agent(seed: int) -> None:
    """Against a second, scalar reading of eq. (3)."""
    x = draw(seed, worlds=1)
    tick = one_tick(x)
    weights = RewardWeights()
    got = rules.rewards(weights, tick)
    n, m, r = tick.delivered.shape[1:]
    for i in range(n):
        if not tick.alive[0, i]:
            assert sum(term[0, i] for term in got) == 0
            continue
        drop = sum((tick.remaining_before - tick.remaining)[0, a].sum() for a in range(m) if tick.exists[0, a])
        assert got.g[0, i] == pytest.approx(weights.g * drop / max(tick.total_supply[0], 1e-6))
        assert got.im[0, i] == pytest.approx(weights.im * tick.delivered[0, i].sum() / max(tick.capacity[0, i], 1e-6))
        completed = sum(
            1
            for a in range(m)
            if tick.inside[0, i, a]
            and any(
                tick.kind[0, a, k] == INSTANTANEOUS
                and tick.remaining_before[0, a, k] > 0
                and tick.remaining[0, a, k] <= 0
                for k in range(r)
            )
        )
        assert got.rc[0, i] == pytest.approx(weights.rc * completed)
        pairs = sum(
            max(0.0, 1 - ((tick.p[0, i] - tick.p[0, j]) ** 2).sum() / weights.collision_distance**2)
            for j in range(n)
            if j != i and tick.alive[0, j]
        )
        assert got.collision[0, i] == pytest.approx(-weights.gamma_ij * pairs)
        a = tick.target[0, i]
        if a < 0:
            assert got.d[0, i] == 0
        elif tick.inside[0, i, a]:
            assert got.d[0, i] == pytest.approx(weights.gamma_d)
        else:
            before, now = (((y[0, i] - tick.d[0, a]) ** 2).sum() for y in (tick.p_before, tick.p))
            assert got.d[0, i] == pytest.approx(weights.d * (before - now))


def test_the_team_bonus_needs_every_consumer_to_be_served() -> None:
    d = np.array([[-0.5, 0.0], [0.5, 0.0]])
    demanded, kind = np.ones((2, 1)), np.ones((2, 1), int)

    def bonus(p: np.ndarray, exists: np.ndarray) -> np.ndarray:
        inside = rules.inside(p, d, 0.2) & exists
        alive, supply = np.ones(2, bool), np.ones((2, 1))
        nothing = np.zeros((2, 2, 1))
        tick = Tick(
            p, p, d, 0.2, alive, exists, kind, demanded, demanded, demanded, inside, supply, nothing, np.ones(2),
            np.float64(2.0), np.zeros(2, int),
        )  # fmt: skip
        return rules.rewards(RewardWeights(), tick).ws

    both = np.ones(2, bool)
    assert (bonus(d, both) > 0).all()
    assert (bonus(np.array([[-0.5, 0.0], [-0.4, 0.0]]), both) == 0).all()
    assert (bonus(np.array([[-0.5, 0.0], [-0.4, 0.0]]), np.array([True, False])) > 0).all()


def test_the_printed_collision_term_is_weakest_at_contact_and_the_hinge_strongest() -> None:
    alive = np.ones(2, bool)

    def penalty(collision: str, distance: float) -> float:
        p = np.array([[0.0, 0.0], [distance, 0.0]])
        return -rules.collision(RewardWeights(collision=collision), p, alive)[0]  # type: ignore[arg-type]

    assert penalty("printed", 0.001) < penalty("printed", 0.1)
    assert penalty("printed", 0.13) == 0
    assert penalty("hinge", 0.001) > penalty("hinge", 0.1) > 0
    assert penalty("hinge", 0.13) == 0


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(0.05, 3.0), st.floats(0.0, 0.5))
def test_nobody_moves_faster_than_allowed_or_out_of_the_arena(seed: int, speed: float, lag: float) -> None:
    rng = np.random.default_rng(seed)
    p, velocity = rng.uniform(-1, 1, (5, 2)), np.zeros((5, 2))
    for _ in range(30):
        before = p
        p, velocity = rules.move(p, velocity, rng.normal(0, 3, (5, 2)), speed, lag, 0.05)
        assert (np.hypot(*(p - before).T) <= speed * 0.05 + 1e-12).all()
        assert (np.abs(p) <= 1).all()


@given(st.floats(0, 10), st.floats(0, 10))
def test_one_request_gets_the_smaller_of_offer_and_remainder(offered: float, remaining: float) -> None:
    assert rules.accept(offered, remaining) == min(offered, remaining)


def test_a_supply_discharges_linearly_and_not_below_zero() -> None:
    assert np.allclose(rules.discharge(np.array([[0.5], [0.01]]), 0.1, 1.0), [[0.4], [0.0]])


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_the_graph_is_symmetric_without_loops_and_its_rows_sum_to_one_or_zero(seed: int) -> None:
    x = draw(seed)
    adjacent = graph.adjacency(x["p"], 0.4, x["alive"])
    assert (adjacent == adjacent.swapaxes(-1, -2)).all()
    assert not adjacent[..., range(6), range(6)].any()
    assert not adjacent[~x["alive"]].any()
    rows = graph.row_normalised(adjacent).sum(-1)
    assert np.allclose(rows, adjacent.any(-1))
