"""Demand book: every request counts once, nothing is given beyond what is missing, and presence has memory
and an end."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lgtc_core.demand.book import BookParams, Delivery, DemandBook
from lgtc_core.demand.consumer import ConsumerSpec
from lgtc_core.world import rules
from lgtc_core.world.arena import Arena

KINDS = ("battery", "parcel")
DRONES = ("cf1", "cf2", "cf3")
ARENA = Arena(half_extent_m=(2.5, 2.5))
STAY, HAND_OVER = rules.ZERO_DEPLETION, rules.INSTANTANEOUS
LIFETIME_S = BookParams().presence_lifetime_s


def _spec(name: str = "depot", x_m: float = 0.0, parcel: float = 1.0, battery: float = 1.0) -> ConsumerSpec:
    return ConsumerSpec(
        name=name, position_m=(x_m, 0.0), radius_m=0.5, demanded=(battery, parcel), depletion=(STAY, HAND_OVER)
    )


def _book(*consumers: ConsumerSpec, **params: Any) -> DemandBook:
    book = DemandBook(KINDS, DRONES, ARENA, ("battery",), BookParams(**params))
    for consumer in consumers:
        assert book.add(consumer).accepted
    return book


def _remaining(book: DemandBook, name: str = "depot", now_s: float = 0.0) -> list[float]:
    consumer = book.view(now_s).consumer(name)
    assert consumer is not None
    return consumer.remaining.tolist()


def _servers(book: DemandBook, now_s: float, name: str = "depot") -> tuple[str, ...]:
    consumer = book.view(now_s).consumer(name)
    assert consumer is not None
    return consumer.servers


# ---- deliveries


def test_what_is_taken_is_the_smaller_of_offered_and_remaining() -> None:
    book = _book(_spec(parcel=1.0))
    assert book.deliver("1", "cf1", "depot", "parcel", 0.75) == Delivery(True, 0.75, 0.25)
    assert book.deliver("2", "cf2", "depot", "parcel", 0.75) == Delivery(True, 0.25, 0.0)
    assert book.deliver("3", "cf2", "depot", "parcel", 0.75) == Delivery(True, 0.0, 0.0)
    assert book.delivered_by("cf1").tolist() == [0.0, 0.75]
    assert book.delivered_by("cf2").tolist() == [0.0, 0.25]


def test_a_repeated_request_is_answered_as_the_first_time_and_changes_nothing() -> None:
    book = _book(_spec())
    first = book.deliver("1", "cf1", "depot", "parcel", 0.3)
    book.deliver("2", "cf2", "depot", "parcel", 0.3)
    revision = book.view(0.0).revision
    assert book.deliver("1", "cf1", "depot", "parcel", 0.3) == first
    assert book.view(0.0).revision == revision


@pytest.mark.parametrize(
    "content",
    [
        ("cf2", "depot", "parcel", 0.3),
        ("cf1", "tower", "parcel", 0.3),
        ("cf1", "depot", "battery", 0.3),
        ("cf1", "depot", "parcel", 0.4),
        ("cf1", "depot", "parcel", math.nan),
    ],
)
def test_a_reused_id_with_another_content_is_refused_by_name(content: tuple[str, str, str, float]) -> None:
    book = _book(_spec(), _spec("tower", 2.0))
    book.deliver("r-17", "cf1", "depot", "parcel", 0.3)
    answer = book.deliver("r-17", *content)
    assert not answer.accepted
    assert "r-17" in answer.message
    assert "0.3 parcel from cf1 to depot" in answer.message
    assert _remaining(book)[1] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("request_id", "drone", "consumer", "kind", "offered", "words"),
    [
        ("", "cf1", "depot", "parcel", 0.3, "empty request id"),
        ("1", "cf9", "depot", "parcel", 0.3, "unknown drone 'cf9'; known are cf1, cf2, cf3"),
        ("1", "cf1", "nowhere", "parcel", 0.3, "unknown consumer 'nowhere'; known are depot"),
        ("1", "cf1", "depot", "coffee", 0.3, "unknown resource kind 'coffee'; known are battery, parcel"),
        ("1", "cf1", "depot", "battery", 0.3, "cannot be handed over"),
        ("1", "cf1", "depot", "parcel", math.nan, "an offer of nan"),
        ("1", "cf1", "depot", "parcel", math.inf, "an offer of inf"),
        ("1", "cf1", "depot", "parcel", -0.3, "an offer of -0.3"),
        ("1", "cf1", "depot", "parcel", 0.0, "an offer of 0"),
    ],
)
def test_a_bad_request_is_refused_in_words_and_changes_nothing(
    request_id: str, drone: str, consumer: str, kind: str, offered: float, words: str
) -> None:
    book = _book(_spec())
    before = book.view(0.0)
    answer = book.deliver(request_id, drone, consumer, kind, offered)
    assert (answer.accepted, answer.amount) == (False, 0.0)
    assert words in answer.message
    assert book.view(0.0) is before


def test_a_refusal_is_as_final_as_an_acceptance() -> None:
    book = _book()
    first = book.deliver("1", "cf1", "depot", "parcel", 0.3)
    book.add(_spec())
    assert not first.accepted
    assert book.deliver("1", "cf1", "depot", "parcel", 0.3) == first


# ---- consumers


def test_a_changed_demand_keeps_what_was_delivered() -> None:
    book = _book(_spec(parcel=1.0))
    book.deliver("1", "cf1", "depot", "parcel", 0.6)
    assert book.change(_spec(parcel=2.0, x_m=1.0)).accepted
    assert _remaining(book)[1] == pytest.approx(1.4)
    assert book.change(_spec(parcel=0.5)).accepted
    assert _remaining(book)[1] == 0.0
    assert book.deliver("2", "cf1", "depot", "parcel", 0.6).amount == 0.0


def test_slots_stay_while_others_come_and_go_and_the_lowest_free_one_is_used_again() -> None:
    book = _book(_spec("a", -2.0), _spec("b", 0.0), _spec("c", 2.0))
    book.remove("a")
    book.remove("b")
    book.add(_spec("d", 0.0))
    assert {consumer.name: consumer.slot for consumer in book.view(0.0).consumers} == {"d": 0, "c": 2}


def test_a_consumer_that_comes_back_under_its_name_starts_anew() -> None:
    book = _book(_spec(parcel=1.0))
    book.deliver("1", "cf1", "depot", "parcel", 0.6)
    book.remove("depot")
    book.add(_spec(parcel=1.0))
    assert _remaining(book)[1] == 1.0
    assert book.delivered_by("cf1")[1] == 0.6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "no spaces"}, "name"),
        ({"position_m": (math.nan, 0.0)}, "position_m"),
        ({"position_m": (9.0, 0.0)}, "a place in the arena"),
        ({"position_m": (0.0, 0.0, 1.0)}, "position_m"),
        ({"radius_m": 0.0}, "radius_m"),
        ({"radius_m": math.nan}, "radius_m"),
        ({"radius_m": -1.0}, "radius_m"),
        ({"demanded": (1.0,)}, "2 of each"),
        ({"depletion": (STAY,)}, "2 of each"),
        ({"demanded": (1.0, -1.0)}, "demand.parcel.amount"),
        ({"demanded": (1.0, math.nan)}, "demand.parcel.amount"),
        ({"demanded": (1.0, math.inf)}, "demand.parcel.amount"),
        ({"depletion": (STAY, 2)}, "demand.parcel.depletion"),
        ({"depletion": (HAND_OVER, HAND_OVER)}, "battery cannot be handed over"),
        ({"position_m": (0.9, 0.0)}, "overlaps that of depot"),
    ],
)
def test_a_consumer_that_cannot_be_is_refused_and_nothing_changes(change: dict[str, Any], words: str) -> None:
    book = _book(_spec(), _spec("tower", 2.0))
    before = book.view(0.0)
    candidate = dataclasses.replace(_spec("tower", 2.0), **change)
    fresh = dataclasses.replace(candidate, name=change.get("name", "fresh"))
    for answer in (book.change(candidate) if "name" not in change else book.add(candidate), book.add(fresh)):
        assert not answer.accepted
        assert words in answer.message
    assert book.view(0.0) is before


def test_unknown_doubled_and_too_many_consumers_are_refused() -> None:
    book = _book(_spec("a", -2.0), _spec("b", 0.0), max_consumers=2)
    assert "exists already" in book.add(_spec("a", -2.0)).message
    assert "the most there may be" in book.add(_spec("c", 2.0)).message
    assert "unknown consumer 'c'; known are a, b" in book.change(_spec("c", 2.0)).message
    assert "unknown consumer 'c'" in book.remove("c").message


# ---- presence


def test_a_server_stays_one_until_it_is_beyond_the_rim_and_comes_back_only_inside() -> None:
    book = _book(_spec(), rim_fraction=0.1)
    states = []
    for tick, x_m in enumerate([0.56, 0.52, 0.49, 0.52, 0.54, 0.56, 0.54, 0.5]):
        book.presence("cf1", 0.1 * tick, (x_m, 0.0), (0.8, 0.0), True)
        states.append(bool(_servers(book, 0.1 * tick)))
    assert states == [False, False, True, True, True, False, False, True]


def test_a_server_that_falls_silent_stops_counting_when_its_word_is_old() -> None:
    book = _book(_spec())
    book.presence("cf1", 10.0, (0.0, 0.0), (0.8, 0.0), True)
    assert _servers(book, 10.0 + LIFETIME_S) == ("cf1",)
    assert _remaining(book, now_s=10.0 + LIFETIME_S)[0] == pytest.approx(0.2)
    assert _servers(book, 10.01 + LIFETIME_S) == ()
    assert _remaining(book, now_s=10.01 + LIFETIME_S)[0] == 1.0


def test_the_rim_is_forgotten_during_silence() -> None:
    book = _book(_spec())
    book.presence("cf1", 0.0, (0.0, 0.0), (0.8, 0.0), True)
    book.presence("cf1", 2 * LIFETIME_S, (0.52, 0.0), (0.8, 0.0), True)
    assert _servers(book, 2 * LIFETIME_S) == ()


def test_who_does_not_serve_or_does_not_know_where_it_is_does_not_count() -> None:
    book = _book(_spec())
    book.presence("cf1", 0.0, (0.0, 0.0), (0.8, 0.0), False)
    book.presence("cf2", 0.0, (math.nan, math.nan), (0.8, 0.0), True)
    book.presence("cf3", 0.0, (0.0, 0.1), (0.0, 1.0), True)
    assert _servers(book, 0.0) == ()
    assert _remaining(book) == [1.0, 1.0]


def test_a_late_message_does_not_undo_a_newer_one() -> None:
    book = _book(_spec())
    book.presence("cf1", 2.0, (0.0, 0.0), (0.8, 0.0), True)
    answer = book.presence("cf1", 1.9, (2.0, 0.0), (0.8, 0.0), True)
    assert not answer.accepted
    assert "not newer" in answer.message
    assert _servers(book, 2.0) == ("cf1",)


def test_servers_follow_a_consumer_that_moves() -> None:
    book = _book(_spec())
    book.presence("cf1", 0.0, (2.0, 0.0), (0.8, 0.0), True)
    assert _servers(book, 0.0) == ()
    book.change(_spec(x_m=2.0))
    assert _servers(book, 0.0) == ("cf1",)
    book.change(_spec(x_m=-2.0))
    assert _servers(book, 0.0) == ()


@pytest.mark.parametrize(
    ("drone", "stamp_s", "position_m", "supply", "words"),
    [
        ("cf9", 0.0, (0.0, 0.0), (1.0, 0.0), "unknown drone 'cf9'"),
        ("cf1", math.nan, (0.0, 0.0), (1.0, 0.0), "finite time"),
        ("cf1", 0.0, (0.0, 0.0, 1.0), (1.0, 0.0), "shape (3,)"),
        ("cf1", 0.0, (0.0, 0.0), (1.0,), "2 finite amounts"),
        ("cf1", 0.0, (0.0, 0.0), (-1.0, 0.0), "2 finite amounts"),
        ("cf1", 0.0, (0.0, 0.0), (math.nan, 0.0), "2 finite amounts"),
    ],
)
def test_a_bad_presence_is_refused_in_words(
    drone: str, stamp_s: float, position_m: tuple, supply: tuple, words: str
) -> None:
    book = _book(_spec())
    before = book.view(0.0)
    answer = book.presence(drone, stamp_s, position_m, supply, True)
    assert not answer.accepted
    assert words in answer.message
    assert book.view(0.0) is before


@given(
    st.lists(st.tuples(st.floats(-2.5, 2.5), st.floats(0.0, 1.0), st.booleans()), min_size=3, max_size=3),
    st.floats(0.0, 3.0),
)
def test_what_is_missing_of_a_0_depletion_demand_is_what_those_inside_do_not_cover(
    drones: list[tuple[float, float, bool]], demanded: float
) -> None:
    book = _book(_spec(battery=demanded))
    for name, (x_m, charge, serving) in zip(DRONES, drones, strict=True):
        book.presence(name, 0.0, (x_m, 0.0), (charge, 0.0), serving)
    covered = sum(charge for x_m, charge, serving in drones if serving and abs(x_m) <= 0.5)
    assert _remaining(book)[0] == pytest.approx(max(0.0, demanded - covered), abs=1e-9)


def test_the_revision_rises_exactly_when_the_view_shows_something_else() -> None:
    book = _book(_spec())
    first = book.view(0.0)
    assert book.view(5.0) is first
    book.presence("cf1", 5.0, (2.0, 0.0), (0.8, 0.0), True)
    assert book.view(5.0) is first
    book.presence("cf1", 5.1, (0.0, 0.0), (0.8, 0.0), True)
    assert book.view(5.1).revision == first.revision + 1
    assert book.view(5.1 + 2 * LIFETIME_S).revision == first.revision + 2
    book.deliver("1", "cf1", "depot", "parcel", 0.3)
    assert book.view(9.0).revision == first.revision + 3
    book.change(_spec(x_m=0.1))
    assert book.view(9.0).revision == first.revision + 4


def test_a_view_handed_out_does_not_change_and_cannot_be_changed() -> None:
    book = _book(_spec())
    view = book.view(0.0)
    book.deliver("1", "cf1", "depot", "parcel", 0.3)
    book.change(_spec(x_m=1.0, battery=0.2))
    consumer = view.consumers[0]
    assert consumer.remaining.tolist() == consumer.demanded.tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        consumer.remaining[0] = 5.0


# ---- the whole


class BookMachine(RuleBasedStateMachine):
    """Requests in any order, repeated and reused, while consumers come, change and go, beside a plain tally."""

    def __init__(self) -> None:
        super().__init__()
        self.book = DemandBook(KINDS, DRONES, ARENA, ("battery",))
        self.now_s = 0.0
        self.given: dict[str, float] = {}
        """Delivered to each consumer since it was added."""
        self.demanded: dict[str, float] = {}
        self.answers: dict[str, tuple[tuple, Delivery]] = {}
        self.total = dict.fromkeys(DRONES, 0.0)

    places = st.sampled_from([-2.0, -0.5, 1.0, 2.2])
    names = st.sampled_from(["a", "b", "c"])
    amounts = st.floats(0.0, 2.0)

    @rule(name=names, x_m=places, parcel=amounts)
    def add(self, name: str, x_m: float, parcel: float) -> None:
        if self.book.add(_spec(name, x_m, parcel)).accepted:
            assert name not in self.demanded
            self.demanded[name], self.given[name] = parcel, 0.0

    @rule(name=names, x_m=places, parcel=amounts)
    def change(self, name: str, x_m: float, parcel: float) -> None:
        if self.book.change(_spec(name, x_m, parcel)).accepted:
            self.demanded[name] = parcel

    @rule(name=names)
    def remove(self, name: str) -> None:
        assert self.book.remove(name).accepted == (name in self.demanded)
        self.demanded.pop(name, None)
        self.given.pop(name, None)

    @rule(
        number=st.integers(0, 12),
        drone=st.sampled_from(DRONES),
        name=names,
        offered=st.sampled_from([0.25, 0.5, 1.0, -1.0, math.nan]),
    )
    def deliver(self, number: int, drone: str, name: str, offered: float) -> None:
        request_id, content = f"r{number}", (drone, name, "parcel", offered)
        answer = self.book.deliver(request_id, *content)
        if request_id in self.answers:
            first, first_answer = self.answers[request_id]
            assert answer == first_answer if content == first else not answer.accepted
            return
        if not offered > 0:
            assert not answer.accepted
            return
        self.answers[request_id] = (content, answer)
        assert answer.accepted == (name in self.demanded)
        if answer.accepted:
            assert answer.amount == pytest.approx(
                min(offered, max(0.0, self.demanded[name] - self.given[name])), abs=1e-9
            )
            self.given[name] += answer.amount
            self.total[drone] += answer.amount

    @rule(drone=st.sampled_from(DRONES), x_m=st.floats(-2.5, 2.5), charge=st.floats(0.0, 1.0), dt_s=st.floats(0.0, 1.5))
    def move(self, drone: str, x_m: float, charge: float, dt_s: float) -> None:
        self.now_s += dt_s
        self.book.presence(drone, self.now_s, (x_m, 0.0), (charge, 0.0), True)

    @invariant()
    def nothing_is_lost_and_nothing_counted_twice(self) -> None:
        for drone in DRONES:
            assert self.book.delivered_by(drone)[1] == pytest.approx(self.total[drone], abs=1e-9)
        view = self.book.view(self.now_s)
        assert {consumer.name for consumer in view.consumers} == set(self.demanded)
        for consumer in view.consumers:
            expected = max(0.0, self.demanded[consumer.name] - self.given[consumer.name])
            assert consumer.remaining[1] == pytest.approx(expected, abs=1e-9)

    @invariant()
    def a_view_is_consistent(self) -> None:
        view = self.book.view(self.now_s)
        slots = [consumer.slot for consumer in view.consumers]
        assert slots == sorted(set(slots))
        assert len(slots) == 0 or max(slots) < 3
        servers = [drone for consumer in view.consumers for drone in consumer.servers]
        assert len(servers) == len(set(servers))
        for consumer in view.consumers:
            assert np.all(consumer.remaining >= 0)
            assert np.all(consumer.remaining <= consumer.demanded)


TestBookMachine = BookMachine.TestCase
TestBookMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_who_announces_to_leave_serves_on_while_what_it_carries_is_missing_already() -> None:
    book = _book(_spec())
    book.presence("cf1", 0.0, (0.0, 0.0), (0.8, 0.0), True, leaving=True)
    (consumer,) = book.view(0.0).consumers
    assert (consumer.servers, consumer.leaving) == (("cf1",), ("cf1",))
    assert consumer.remaining[0] == 1.0
    book.presence("cf2", 0.1, (0.1, 0.0), (1.0, 0.0), True)
    (consumer,) = book.view(0.1).consumers
    assert (consumer.servers, consumer.leaving) == (("cf1", "cf2"), ("cf1",))
    assert consumer.remaining[0] == 0.0
    book.presence("cf1", 0.2, (0.0, 0.0), (0.8, 0.0), False, leaving=True)
    (consumer,) = book.view(0.2).consumers
    assert (consumer.servers, consumer.leaving) == (("cf2",), ())
