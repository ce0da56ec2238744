"""Supply account: offers survive a lossy line without loss or doubling; the battery follows the measurement
or the hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgtc_core.demand.account import SupplyAccount
from lgtc_core.demand.book import DemandBook
from lgtc_core.demand.consumer import ConsumerSpec
from lgtc_core.demand.view import NEGLIGIBLE_AMOUNT, DemandView
from lgtc_core.errors import InputError
from lgtc_core.fleet.team import DroneSpec
from lgtc_core.world import rules

KINDS = ("battery", "parcel", "water")
HERE_M, ELSEWHERE_M = (0.0, 0.0), (5.0, 0.0)


def _drone(name: str = "cf1", parcel: float = 1.0, water: float = 0.0) -> DroneSpec:
    return DroneSpec(name=name, type="crazyflie", start_m=(0.0, 0.0), supply=(1.0, parcel, water))


def _consumer(name: str, x_m: float, parcel: float, water: float = 0.0) -> ConsumerSpec:
    return ConsumerSpec(
        name=name,
        position_m=(x_m, 0.0),
        radius_m=0.5,
        demanded=(0.5, parcel, water),
        depletion=(rules.ZERO_DEPLETION, rules.INSTANTANEOUS, rules.INSTANTANEOUS),
    )


def _view(parcel: float = 0.6, water: float = 0.0) -> tuple[DemandBook, DemandView]:
    book = DemandBook(KINDS, ["cf1", "cf2", "cf3"])
    book.add(_consumer("depot", 0.0, parcel, water))
    return book, book.view(0.0)


def _account(parcel: float = 1.0, water: float = 0.0) -> SupplyAccount:
    return SupplyAccount(_drone(parcel=parcel, water=water), KINDS, "s1", retry_s=0.5)


# ---- offers


def test_inside_a_disc_the_smaller_of_carried_and_missing_is_offered_of_each_instantaneous_kind() -> None:
    _, view = _view(parcel=0.6, water=2.0)
    offers = _account(parcel=1.0, water=0.5).offers(0.0, HERE_M, view)
    assert [(offer.consumer, offer.kind, offer.amount) for offer in offers] == [
        ("depot", "parcel", 0.6),
        ("depot", "water", 0.5),
    ]


@pytest.mark.parametrize("position_m", [ELSEWHERE_M, (math.nan, 0.0), None])
def test_outside_of_every_disc_nothing_is_offered(position_m: tuple[float, float] | None) -> None:
    _, view = _view()
    assert _account().offers(0.0, position_m, view) == []


def test_an_offer_without_an_answer_is_repeated_unchanged_also_from_elsewhere() -> None:
    _, view = _view()
    account = _account()
    first = account.offers(0.0, HERE_M, view)
    assert account.offers(0.3, HERE_M, view) == []
    assert account.offers(0.5, ELSEWHERE_M, view) == first
    assert account.offers(0.7, None, view) == []
    assert account.offers(1.0, None, view) == first


def test_what_is_offered_here_is_not_offered_there_before_the_answer() -> None:
    book, _ = _view(parcel=0.6)
    book.add(_consumer("tower", 5.0, parcel=0.9))
    view, account = book.view(0.0), _account(parcel=1.0)
    assert account.offers(0.0, HERE_M, view)[0].amount == 0.6
    assert account.offers(0.1, ELSEWHERE_M, view)[0].amount == pytest.approx(0.4)
    assert account.supply[1] == 1.0


def test_after_an_answer_the_same_view_asks_for_nothing_more() -> None:
    book, view = _view(parcel=0.6)
    account = _account()
    (offer,) = account.offers(0.0, HERE_M, view)
    account.settle(offer.request_id, book.deliver(offer.request_id, "cf1", "depot", "parcel", offer.amount).amount)
    assert account.offers(0.1, HERE_M, view) == []
    assert account.offers(0.1, HERE_M, book.view(0.1)) == []
    assert account.supply[1] == pytest.approx(0.4)


def test_a_refused_offer_keeps_the_supply_and_is_tried_again_when_the_demand_changes() -> None:
    book, view = _view()
    account = _account()
    (offer,) = account.offers(0.0, HERE_M, view)
    account.settle(offer.request_id, 0.0)
    assert account.supply[1] == 1.0
    assert account.offers(5.0, HERE_M, view) == []
    book.change(_consumer("depot", 0.0, parcel=0.9))
    (again,) = account.offers(5.0, HERE_M, book.view(5.0))
    assert again.request_id != offer.request_id
    assert again.amount == 0.9


def test_a_second_answer_and_an_answer_to_nothing_change_nothing() -> None:
    _, view = _view()
    account = _account()
    (offer,) = account.offers(0.0, HERE_M, view)
    account.settle(offer.request_id, 0.6)
    account.settle(offer.request_id, 0.6)
    account.settle("cf1-s1-99", 0.6)
    assert account.supply[1] == pytest.approx(0.4)


@pytest.mark.parametrize("amount", [math.nan, math.inf, -0.1])
def test_a_nonsensical_answer_is_refused_and_the_offer_stays(amount: float) -> None:
    _, view = _view()
    account = _account()
    (offer,) = account.offers(0.0, HERE_M, view)
    with pytest.raises(InputError, match=offer.request_id):
        account.settle(offer.request_id, amount)
    assert account.offers(1.0, None, view) == [offer]


def test_request_ids_differ_between_offers_drones_and_sessions() -> None:
    _, view = _view(parcel=0.6, water=0.5)
    ids = [
        offer.request_id
        for name in ("cf1", "cf2")
        for session in ("s1", "s2")
        for offer in SupplyAccount(_drone(name, water=1.0), KINDS, session).offers(0.0, HERE_M, view)
    ]
    assert len(ids) == len(set(ids)) == 8


events = st.lists(
    st.tuples(
        st.integers(0, 2),  # which drone acts
        st.sampled_from([0.0, 2.0, 4.0]),  # where it is: depot, nowhere, tower
        st.booleans(),  # its request is lost
        st.booleans(),  # the answer is lost
        st.booleans(),  # the request arrives twice
        st.booleans(),  # it has the newest view
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3),
    st.floats(0.0, 1.5),
    st.floats(0.0, 1.5),
    events,
    st.booleans(),
)
def test_over_a_lossy_line_nothing_is_lost_and_nothing_is_delivered_twice(
    supplies: list[float], depot: float, tower: float, happenings: list[tuple], wire: bool
) -> None:
    """What left the drones is what arrived, exactly; `wire` rounds every amount to float32 as the services
    do."""
    names = ("cf1", "cf2", "cf3")
    carry = (lambda amount: float(np.float32(amount))) if wire else (lambda amount: amount)
    book = DemandBook(KINDS, names)
    book.add(_consumer("depot", 0.0, depot))
    book.add(_consumer("tower", 4.0, tower))
    accounts = [
        SupplyAccount(_drone(name, parcel), KINDS, "s", retry_s=0.1)
        for name, parcel in zip(names, supplies, strict=True)
    ]
    now_s, view = 0.0, book.view(0.0)

    def act(n: int, x_m: float | None, lost: bool, unanswered: bool, twice: bool) -> int:
        offers = accounts[n].offers(now_s, None if x_m is None else (x_m, 0.0), view)
        for offer in offers if not lost else []:
            for _ in range(1 + twice):
                answer = book.deliver(offer.request_id, names[n], offer.consumer, offer.kind, carry(offer.amount))
            if not unanswered:
                accounts[n].settle(offer.request_id, carry(answer.amount))
        return len(offers)

    def left() -> float:
        return sum(supplies) - sum(float(account.supply[1]) for account in accounts)

    def arrived() -> float:
        return sum(float(book.delivered_by(name)[1]) for name in names)

    tolerance = 1e-6 if wire else 1e-12
    for n, x_m, lost, unanswered, twice, fresh in happenings:
        now_s += 0.06
        view = book.view(now_s) if fresh else view
        act(n, x_m, lost, unanswered, twice)
        assert left() <= arrived() + tolerance
        assert all(account.supply[1] >= 0.0 for account in accounts)
    for x_m in (None, None, 0.0, 0.0, 4.0, 4.0):
        now_s += 1.0
        view = book.view(now_s)
        for n in range(3):
            act(n, x_m, False, False, False)
    assert left() == pytest.approx(arrived(), abs=tolerance)
    assert arrived() == pytest.approx(min(sum(supplies), depot + tower), abs=10 * NEGLIGIBLE_AMOUNT)
    now_s += 1.0
    assert act(0, None, False, False, False) == 0


# ---- set by hand


def test_a_supply_set_by_hand_is_what_is_carried_and_offered() -> None:
    _, view = _view(parcel=2.0)
    account = _account(parcel=0.3)
    assert account.set_supply("parcel", 0.8)[:3] == (True, 0.8, "")
    assert account.offers(0.0, HERE_M, view)[0].amount == 0.8


def test_what_is_on_its_way_stays_reserved_when_the_rest_is_set_by_hand() -> None:
    _, view = _view(parcel=0.6)
    account = _account(parcel=1.0)
    (offer,) = account.offers(0.0, HERE_M, view)
    account.set_supply("parcel", 0.1)
    account.settle(offer.request_id, 0.6)
    assert account.supply[1] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("kind", "amount", "words"),
    [
        ("coffee", 0.5, "unknown resource kind 'coffee'; cf1 knows battery, parcel, water"),
        ("parcel", -0.1, "at least"),
        ("parcel", math.nan, "got nan"),
        ("parcel", math.inf, "got inf"),
        ("battery", 1.1, "between 0 and 1"),
        ("battery", -0.1, "between 0 and 1"),
    ],
)
def test_a_bad_amount_by_hand_is_refused_and_nothing_changes(kind: str, amount: float, words: str) -> None:
    account = _account()
    before = account.supply.tolist()
    answer = account.set_supply(kind, amount)
    assert not answer.accepted
    assert words.replace("at least", "expected between 0") in answer.message
    assert account.supply.tolist() == before


# ---- battery


def test_the_battery_is_what_the_scenario_says_until_it_is_measured() -> None:
    account = _account()
    assert account.supply[0] == 1.0
    assert math.isnan(account.battery(math.nan))
    assert account.supply[0] == 1.0
    assert account.battery(0.8) == 0.8
    assert account.supply[0] == 0.8
    assert account.battery(math.nan) == 0.8


charges = st.lists(st.floats(0.0, 1.0), min_size=2, max_size=20).map(lambda values: sorted(values, reverse=True))


@given(charges, st.floats(0.0, 1.0), st.integers(0, 19))
def test_a_level_set_by_hand_discharges_as_the_measured_one_and_never_exceeds_it(
    measured: list[float], level: float, when: int
) -> None:
    account = _account()
    when = min(when, len(measured) - 1)
    for i, charge in enumerate(measured):
        counts = account.battery(charge)
        if i == when:
            counts = account.set_supply("battery", level).amount
        assert counts <= charge
        if i >= when:
            assert counts == pytest.approx(min(charge, max(0.0, level - (measured[when] - charge))))
        assert account.supply[0] == counts


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_level_above_the_measured_one_takes_a_reduction_back(measured: float, level: float) -> None:
    account = _account()
    account.battery(measured)
    account.set_supply("battery", level)
    assert account.set_supply("battery", 1.0).amount == measured


def test_a_level_set_before_the_first_measurement_holds() -> None:
    account = _account()
    account.set_supply("battery", 0.3)
    assert account.supply[0] == 0.3
    assert account.battery(0.9) == pytest.approx(0.3)
    assert account.battery(0.8) == pytest.approx(0.2)


def test_a_battery_is_never_offered_even_where_it_is_asked_for_at_once() -> None:
    book = DemandBook(KINDS, ["cf1"])
    consumer = _consumer("depot", 0.0, 0.0)
    book.add(
        ConsumerSpec(
            name="depot",
            position_m=(0.0, 0.0),
            radius_m=0.5,
            demanded=consumer.demanded,
            depletion=(rules.INSTANTANEOUS,) * 3,
        )
    )
    account = _account()
    account.battery(0.9)
    assert account.offers(0.0, HERE_M, book.view(0.0)) == []


def test_a_drone_without_a_battery_kind_carries_what_it_is_given() -> None:
    drone = DroneSpec(name="cf1", type="cart", start_m=(0.0, 0.0), supply=(0.4, 0.0, 0.0), battery_kind=None)
    account = SupplyAccount(drone, KINDS, "s")
    assert account.battery(0.9) == 0.9
    assert account.supply[0] == 0.4


# ---- a ledger keeps count


def _reported(book: DemandBook, session: str = "s1", parcel: float = 1.0) -> SupplyAccount:
    return SupplyAccount(_drone(parcel=parcel), KINDS, session, retry_s=0.5, reported=True)


def _enter(account: SupplyAccount, book: DemandBook, now_s: float) -> int:
    """Carry the loads to the book and the answers back; how many there were."""
    loads = account.loads(now_s)
    for load in loads:
        entry = book.put_in(load.request_id, account.drone, load.kind, load.amount)
        account.loaded(load.request_id, entry.accepted, entry.carried)
    return len(loads)


def test_nothing_is_carried_or_offered_before_the_ledger_has_said_so() -> None:
    book, view = _view()
    account = _reported(book)
    assert account.supply.tolist()[1:] == [0.0, 0.0]
    assert account.offers(0.0, HERE_M, view) == []
    assert not account.set_supply("parcel", 2.0).accepted
    first = account.loads(0.0)
    assert account.loads(0.4) == []
    assert account.loads(0.5) == first, "repeated, unchanged"
    assert _enter(account, book, 1.0) == 2
    assert account.supply.tolist()[1:] == [1.0, 0.0]
    assert account.offers(1.0, HERE_M, view)[0].amount == 0.6


def test_a_restarted_account_carries_what_is_left_and_not_what_it_set_out_with() -> None:
    book, view = _view()
    account = _reported(book)
    _enter(account, book, 0.0)
    (offer,) = account.offers(0.0, HERE_M, view)
    account.settle(offer.request_id, book.deliver(offer.request_id, "cf1", "depot", "parcel", offer.amount).amount)
    account.set_supply("parcel", 0.9)
    _enter(account, book, 1.0)
    restarted = _reported(book, "s2")
    _enter(restarted, book, 2.0)
    assert restarted.supply[1] == pytest.approx(account.supply[1]) == pytest.approx(0.9)
    assert book.accounts.carried("cf1", 1) == pytest.approx(0.9)


@given(st.lists(st.tuples(st.sampled_from(["offer", "set", "restart", "grow"]), st.floats(0.0, 2.0)), max_size=12))
def test_account_and_ledger_agree_whatever_happens(steps: list[tuple[str, float]]) -> None:
    book, _ = _view(parcel=3.0)
    account = _reported(book)
    put_in, now_s, demanded = 1.0, 0.0, 3.0
    for n, (what, amount) in enumerate(steps):
        now_s += 1.0
        _enter(account, book, now_s)
        if what == "set":
            before = float(account.supply[1])
            put_in += account.set_supply("parcel", amount).amount - before
        elif what == "restart":
            account = _reported(book, f"s{n + 2}")
        elif what == "grow":
            demanded += amount
            book.change(_consumer("depot", 0.0, demanded))
        _enter(account, book, now_s)
        for offer in account.offers(now_s, HERE_M, book.view(now_s)):
            answer = book.deliver(offer.request_id, "cf1", offer.consumer, offer.kind, offer.amount)
            assert answer.accepted, answer.message
            account.settle(offer.request_id, answer.amount)
        assert account.supply[1] == pytest.approx(book.accounts.carried("cf1", 1), abs=1e-9)
        assert account.supply[1] + book.delivered_by("cf1")[1] == pytest.approx(put_in, abs=1e-9)
        assert not book.accounts.imbalances()


def test_what_is_set_by_hand_is_known_to_the_ledger_by_its_id_and_a_batterys_level_too() -> None:
    book = DemandBook(KINDS, ("cf1",), presence_only=("battery",))
    account = _reported(book, parcel=0.5)
    _enter(account, book, 0.0)
    for kind, amount in (("parcel", 0.75), ("battery", 0.25)):
        answer = account.set_supply(kind, amount)
        assert answer.accepted
        assert account.unbooked(answer.load)
        assert account.set_supply(kind, amount).load == answer.load, "the same again waits for the same answer"
        assert _enter(account, book, 1.0) == 1
        assert not account.unbooked(answer.load)
        assert account.set_supply(kind, amount).load == "", "nothing is left to tell"
        assert float(account.supply[KINDS.index(kind)]) == amount
    assert book.accounts.carried("cf1", KINDS.index("parcel")) == 0.75
    refused = account.set_supply("battery", 0.125)
    (load,) = account.loads(2.0)
    account.loaded(load.request_id, False, math.nan)
    assert not account.unbooked(refused.load)
    assert float(account.supply[KINDS.index("battery")]) == 0.125, "a level is measured, not booked"
