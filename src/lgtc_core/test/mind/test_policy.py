"""The mind: who is heard, what the network is fed, and what is refused without a trace."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lgtc_core.demand.view import ConsumerView, DemandView
from lgtc_core.errors import ContractError, InputError
from lgtc_core.mind import observation as layout
from lgtc_core.mind.policy import Features, Heard, Mind, Minds, PolicyModel
from lgtc_core.mind.team_minds import TeamMinds
from lgtc_core.world.arena import Arena

TICK_S = 0.05


@pytest.fixture(scope="module")
def model(greedy_model: Path) -> PolicyModel:
    return PolicyModel(greedy_model)


@pytest.fixture
def arena() -> Arena:
    return Arena(
        centre_m=(1.0, -2.0),
        half_extent_m=(2.5, 2.5),
        height_min_m=0.3,
        height_max_m=2.0,
        flight_height_m=1.0,
        communication_radius=1.0,
    )


@pytest.fixture
def mind(model: PolicyModel, arena: Arena) -> Mind:
    return Mind(model, arena, "cf1", max_speed_mps=0.8)


def place(name: str, slot: int, x_m: float, y_m: float, remaining: float = 1.0) -> ConsumerView:
    return ConsumerView(
        name, slot, np.array([x_m, y_m]), 0.55, np.array([1.0]), np.array([remaining]), np.array([1]), ()
    )


def demand(*consumers: ConsumerView) -> DemandView:
    return DemandView(1, ("battery",), consumers)


def message(mind: Mind, stamp_s: float, x_m: float = 1.5, sequence: int = 1, **change: object) -> Features:
    card = mind.model.card
    good = Features(
        "cf2", sequence, stamp_s, np.array([x_m, -2.0]), card.contract, np.ones(card.message_width, np.float32)
    )
    return good._replace(**change)  # type: ignore[arg-type]


HERE = np.array([1.0, -2.0])
SUPPLY = np.array([1.0])


def test_it_flies_towards_the_chosen_consumer_at_no_more_than_full_speed(mind: Mind) -> None:
    decision = mind.decide(0.0, HERE, SUPPLY, demand(place("east", 0, 3.0, -2.0)))
    assert decision.chosen == 0
    assert decision.velocity_mps == pytest.approx([0.8, 0.0], abs=1e-6)


def test_the_assignment_names_consumers_whatever_their_slots_are(mind: Mind) -> None:
    decision = mind.decide(0.0, HERE, SUPPLY, demand(place("far", 2, 3.4, 0.4), place("near", 5, 1.5, -2.0)))
    assert decision.consumers == ("far", "near")
    assert decision.consumers[decision.chosen] == "near"
    assert decision.assignment.sum() == pytest.approx(1.0, abs=1e-5)


def test_without_any_consumer_it_stays(mind: Mind) -> None:
    decision = mind.decide(0.0, HERE, SUPPLY, demand())
    assert decision.chosen == -1
    assert decision.velocity_mps == pytest.approx([0.0, 0.0])


def test_the_state_recurs_and_reset_forgets_it(mind: Mind) -> None:
    wishes = demand(place("east", 0, 3.0, -2.0))
    first, second = (mind.decide(t * TICK_S, HERE, SUPPLY, wishes) for t in range(2))
    assert (first.features.sequence, second.features.sequence) == (1, 2)
    assert not np.array_equal(first.state, second.state)
    mind.reset()
    assert np.array_equal(mind.decide(1.0, HERE, SUPPLY, wishes).state, first.state)


def test_a_message_counts_until_it_is_too_old(mind: Mind) -> None:
    mind.decide(0.0, HERE, SUPPLY, demand())
    assert mind.hear(message(mind, 0.0)) is Heard.ACCEPTED
    lifetime_s = layout.MESSAGE_LIFETIME_TICKS * TICK_S
    young = mind.decide(lifetime_s - 1e-6, HERE, SUPPLY, demand())
    assert young.neighbours_heard == 1
    assert young.oldest_message_age_s == pytest.approx(lifetime_s, abs=1e-5)
    old = mind.decide(lifetime_s + 1e-3, HERE, SUPPLY, demand())
    assert old.neighbours_heard == 0
    assert np.isnan(old.oldest_message_age_s)


def test_duplicates_and_late_messages_are_dropped_and_a_restarted_sender_is_heard(mind: Mind) -> None:
    assert mind.hear(message(mind, 1.0, sequence=40)) is Heard.ACCEPTED
    assert mind.hear(message(mind, 1.0, sequence=40)) is Heard.DUPLICATE
    assert mind.hear(message(mind, 0.95, sequence=39)) is Heard.OLD
    assert mind.hear(message(mind, 1.4, sequence=1)) is Heard.ACCEPTED


def test_a_stamp_from_the_future_does_not_silence_its_sender(mind: Mind) -> None:
    mind.hear(message(mind, 1e6, sequence=7))
    assert mind.decide(0.0, HERE, SUPPLY, demand()).neighbours_heard == 0
    assert mind.hear(message(mind, 0.0, sequence=8)) is Heard.ACCEPTED
    assert mind.decide(TICK_S, HERE, SUPPLY, demand()).neighbours_heard == 1


def test_what_was_sent_from_beyond_the_radius_is_not_heard(mind: Mind, arena: Arena) -> None:
    mind.decide(0.0, HERE, SUPPLY, demand())
    assert mind.hear(message(mind, 0.0, x_m=1.0 + arena.radius_m + 1e-3)) is Heard.TOO_FAR
    assert mind.hear(message(mind, 0.0, x_m=1.0 + arena.radius_m - 1e-3)) is Heard.ACCEPTED
    away = HERE - [0.5, 0.0]
    assert mind.decide(TICK_S, away, SUPPLY, demand()).neighbours_heard == 0


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"data": np.ones(3, np.float32)}, ContractError),
        ({"contract": "another model"}, ContractError),
        ({"data": np.array([1.0, np.nan], np.float32)}, InputError),
        ({"position_m": np.array([np.inf, 0.0])}, InputError),
    ],
)
def test_a_bad_message_is_refused_and_the_last_good_one_stays(mind: Mind, change: dict, error: type) -> None:
    mind.hear(message(mind, 0.0))
    with pytest.raises(error, match=r"features of cf2: got .*; expected"):
        mind.hear(message(mind, 0.05, sequence=2, **change))
    assert mind.decide(0.05, HERE, SUPPLY, demand()).neighbours_heard == 1


def test_a_pose_that_is_not_finite_is_refused_and_changes_nothing(model: PolicyModel, arena: Arena) -> None:
    wishes = demand(place("east", 0, 3.0, -2.0))
    disturbed, calm = (Mind(model, arena, "cf1", 0.8) for _ in range(2))
    with pytest.raises(InputError, match="pose or supply of cf1"):
        disturbed.decide(0.0, np.array([np.nan, 0.0]), SUPPLY, wishes)
    assert np.array_equal(
        disturbed.decide(0.0, HERE, SUPPLY, wishes).state, calm.decide(0.0, HERE, SUPPLY, wishes).state
    )


def test_more_consumers_or_kinds_than_exported_for_are_refused(mind: Mind) -> None:
    with pytest.raises(ContractError, match="consumer slots"):
        mind.decide(0.0, HERE, SUPPLY, demand(place("last", mind.model.card.max_consumers, 1.0, -1.0)))
    kinds = tuple(f"kind{i}" for i in range(mind.model.card.resource_kinds + 1))
    with pytest.raises(ContractError, match="resource kinds"):
        mind.decide(0.0, HERE, np.ones(len(kinds)), DemandView(1, kinds, ()))


def test_a_network_that_is_not_the_cards_is_refused(greedy_model: Path, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text((greedy_model / "card.json").read_text())
    (tmp_path / "policy.onnx").write_bytes((greedy_model / "policy.onnx").read_bytes() + b"\0")
    with pytest.raises(ContractError, match=r"policy\.onnx"):
        PolicyModel(tmp_path)


def test_a_missing_or_edited_card_is_refused(greedy_model: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.onnx").write_bytes((greedy_model / "policy.onnx").read_bytes())
    with pytest.raises(Exception, match=r"card\.json"):
        PolicyModel(tmp_path)
    card = json.loads((greedy_model / "card.json").read_text())
    card["tick_s"] = 0.1
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(ContractError, match="contract"):
        PolicyModel(tmp_path)


def test_minds_that_share_a_memory_hear_and_decide_as_each_alone(model: PolicyModel, arena: Arena) -> None:
    """Messages lost and late, a stamp from the future, strangers, a reset: to rounding, with the same counts. Compiled,
    they are the same to the bit.
    """
    rng = np.random.default_rng(3)
    names = [f"cf{i}" for i in range(1, 6)]
    together, compiled = (
        shared(model, arena, dict.fromkeys(names[:4], 0.8), names[:3]) for shared in (Minds, TeamMinds)
    )
    alone = [Mind(model, arena, name, 0.8) for name in names[:4]]
    p = HERE + rng.uniform(-1.5, 1.5, size=(5, 2))
    wishes = demand(place("east", 0, 3.0, -2.0), place("west", 2, -1.0, -2.0))
    heard_ever = 0
    for tick in range(40):
        now_s = tick * TICK_S
        deciding = [i for i in range(4) if rng.random() < 0.9]
        if deciding:
            given = deciding, now_s, p[deciding], np.full((len(deciding), 1), 0.4), wishes
            made, made_compiled = together.decide(*given), compiled.decide(*given)
            for ours, same in zip(made, made_compiled, strict=True):
                np.testing.assert_equal(same._replace(step_time_s=0.0), ours._replace(step_time_s=0.0))
            for i, ours in zip(deciding, made, strict=True):
                own = alone[i].decide(now_s, p[i], np.array([0.4]), wishes)
                np.testing.assert_allclose(ours.velocity_mps, own.velocity_mps, atol=1e-6)
                np.testing.assert_allclose(ours.features.data, own.features.data, atol=1e-6)
                np.testing.assert_allclose(ours.assignment, own.assignment, atol=1e-6)
                np.testing.assert_equal(ours.oldest_message_age_s, own.oldest_message_age_s)
                assert (ours.neighbours_heard, ours.chosen, ours.consumers) == (
                    own.neighbours_heard, own.chosen, own.consumers,
                )  # fmt: skip
                assert ours.features.sequence == own.features.sequence
                heard_ever = max(heard_ever, own.neighbours_heard)
        late_s = now_s - rng.integers(0, 3) * TICK_S + (tick == 20)
        said = [
            message(
                alone[0], late_s, sequence=tick, drone=name, position_m=p[j], data=rng.random(model.card.message_width)
            )
            for j, name in enumerate(names)
        ]
        heard = rng.random((4, 5)) < 0.7
        together.hear(heard, said)
        compiled.hear(heard, said)
        for i, j in zip(*np.nonzero(heard), strict=True):
            alone[i].hear(said[j])
        if tick == 30:
            together.reset(1)
            compiled.reset(1)
            alone[1].reset()
        p = p + rng.uniform(-0.05, 0.05, size=p.shape)
    assert heard_ever == 5


def test_a_bad_message_among_many_refuses_them_all_and_changes_nothing(model: PolicyModel, arena: Arena) -> None:
    minds = Minds(model, arena, {"cf1": 0.8})
    good = message(Mind(model, arena, "cf1", 0.8), 0.0)
    bad = good._replace(drone="cf3", data=np.full(model.card.message_width, np.nan, np.float32))
    with pytest.raises(InputError, match="features of cf3"):
        minds.hear(np.ones((1, 2), np.bool_), [good, bad])
    assert minds.decide([0], TICK_S, HERE[None], SUPPLY[None], demand())[0].neighbours_heard == 0
