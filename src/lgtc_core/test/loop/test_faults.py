"""Faults do what their table says, to whom it says, when it says, and the same for equal seeds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgtc_core import schema
from lgtc_core.errors import ConfigError
from lgtc_core.fleet.fault import AMOUNTS, Fault, FaultKind
from lgtc_core.loop.faults import Arrived, Inbox, Links, Schedule, Sensors, any_of, direction, total
from lgtc_core.wire import Pose

K = FaultKind
drones = st.sampled_from(["cf1", "cf2", "cf3"])
amounts = {K.LOSS: 0.3, K.DELAY: 0.2, K.DUPLICATION: 0.5, K.REORDERING: 0.3, K.POSITION_JUMP: 1.0, K.WIND: 0.5}
amounts[K.TRACKING_LAG] = 0.1
link_faults = st.lists(
    st.builds(
        lambda kind, who: Fault(kind=kind, drones=who, amount=amounts.get(kind)),
        st.sampled_from([K.LOSS, K.DELAY, K.DUPLICATION, K.REORDERING, K.PARTITION]),
        st.lists(drones, min_size=1, max_size=2, unique=True).map(tuple),
    ),
    max_size=4,
)


def arrivals(faults: list[Fault], sender: str = "cf2", count: int = 2000, seed: int = 1) -> list[tuple[float, int]]:
    """(time, number) of what arrives of one message each 20 ms."""
    arrived: list[tuple[float, int]] = []
    now_s = 0.0

    def take(numbers: Sequence[int]) -> None:
        arrived.extend((now_s, number) for number in numbers)

    inbox = Inbox(Links[Sequence[int]](("cf1",), seed), lambda _: sender, take)
    inbox.link.apply(faults)
    for i in range(count + 200):
        now_s = 0.02 * i
        if i < count:
            inbox.put(now_s, (i,))
        inbox.deliver(now_s)
    return arrived


def test_without_a_fault_everything_arrives_at_once_in_order_and_once() -> None:
    assert arrivals([]) == [(0.02 * i, i) for i in range(2000)]


def test_loss_takes_its_share_and_leaves_the_rest_as_it_is() -> None:
    arrived = arrivals([Fault(kind=K.LOSS, amount=0.3)])
    assert 0.66 < len(arrived) / 2000 < 0.74
    assert all(time_s == 0.02 * number for time_s, number in arrived)


def test_delay_keeps_order_and_number_and_shifts_every_message_alike() -> None:
    arrived = arrivals([Fault(kind=K.DELAY, amount=0.2)])
    assert [number for _, number in arrived] == list(range(2000))
    assert all(time_s - 0.02 * number == pytest.approx(0.2) for time_s, number in arrived)


def test_duplication_loses_nothing_and_doubles_its_share() -> None:
    counts = Counter(number for _, number in arrivals([Fault(kind=K.DUPLICATION, amount=0.25)]))
    assert set(counts) == set(range(2000))
    assert set(counts.values()) == {1, 2}
    assert 0.21 < sum(count == 2 for count in counts.values()) / 2000 < 0.29


def test_reordering_loses_nothing_and_lets_messages_overtake_within_its_time() -> None:
    arrived = arrivals([Fault(kind=K.REORDERING, amount=0.3)])
    numbers = [number for _, number in arrived]
    assert sorted(numbers) == list(range(2000))
    assert numbers != sorted(numbers)
    assert all(-1e-9 <= time_s - 0.02 * number <= 0.3 + 0.021 for time_s, number in arrived)


def test_a_partition_cuts_between_its_sides_and_nowhere_else() -> None:
    side = [Fault(kind=K.PARTITION, drones=("cf1", "cf2"))]
    assert len(arrivals(side, "cf2")) == 2000
    assert arrivals(side, "cf3") == []


@given(faults=link_faults, seed=st.integers(0, 99))
def test_equal_seeds_fail_alike_and_only_duplication_makes_more_of_a_message(faults: list[Fault], seed: int) -> None:
    first = arrivals(faults, count=100, seed=seed)
    assert first == arrivals(faults, count=100, seed=seed)
    counts = Counter(number for _, number in first)
    doubling = sum(fault.kind is K.DUPLICATION for fault in faults)
    assert not counts or max(counts.values()) <= 1 + doubling
    assert all(time_s >= 0.02 * number - 1e-9 for time_s, number in first)


def test_faults_of_other_drones_change_nothing() -> None:
    kinds = (K.LOSS, K.DELAY, K.DUPLICATION, K.REORDERING)
    faults = [Fault(kind=kind, drones=("cf7",), amount=amounts[kind]) for kind in kinds]
    assert arrivals(faults) == arrivals([])


def test_of_messages_that_come_together_each_is_lost_or_delayed_alone() -> None:
    taken: list[str] = []
    inbox = Inbox(Links[Sequence[str]](("cf1",), 0), lambda it: it[:3], taken.extend)
    inbox.link.apply([Fault(kind=K.PARTITION, drones=("cf2",)), Fault(kind=K.DELAY, drones=("cf3",), amount=0.5)])
    inbox.put(0.0, ["cf2 a", "cf3 b", "cf4 c"])
    assert taken == ["cf4 c"]
    inbox.deliver(0.5)
    assert taken == ["cf4 c", "cf3 b"]


def test_what_is_under_way_when_a_fault_ends_still_arrives() -> None:
    taken: list[int] = []
    inbox = Inbox(Links[Sequence[int]](("cf1",), 0), lambda _: "cf2", taken.extend)
    inbox.link.apply([Fault(kind=K.DELAY, amount=0.5)])
    inbox.put(0.0, (1,))
    inbox.link.apply([])
    inbox.put(0.1, (2,))
    assert taken == [2]
    inbox.deliver(0.5)
    assert taken == [2, 1]
    inbox.put(0.6, (3,))
    assert taken == [2, 1, 3]


@given(faults=link_faults, heard=st.lists(st.booleans(), min_size=9, max_size=9), seed=st.integers(0, 99))
def test_links_of_several_drones_let_through_what_each_drones_own_would(
    faults: list[Fault], heard: list[bool], seed: int
) -> None:
    names = ("cf1", "cf2", "cf3")
    sure = [fault for fault in faults if fault.kind in (K.PARTITION, K.DELAY)]
    wanted = np.array(heard).reshape(3, 3)
    links = Links[int](names, seed)
    links.apply(sure)
    own = [Links[int]((name,), seed) for name in names]
    for link in own:
        link.apply(sure)
    together, apart = [], []
    for tick in range(40):
        now_s = 0.02 * tick
        if tick < 5:
            links.send(now_s, names, wanted, tick)
            for i, link in enumerate(own):
                link.send(now_s, names, wanted[i : i + 1], tick)
        arrived = links.due(now_s)
        if arrived is not None:
            together += [(tick, *told) for told in zip(arrived.receiver, arrived.sender, told_in(arrived), strict=True)]
        for i, link in enumerate(own):
            arrived = link.due(now_s)
            if arrived is not None:
                apart += [(tick, i, *told) for told in zip(arrived.sender, told_in(arrived), strict=True)]
    assert sorted(together) == sorted(apart)
    assert links.clear == (not sure)


def told_in(arrived: Arrived[int]) -> list[int]:
    return [arrived.batches[at] for at in arrived.batch]


@given(seed=st.integers(0, 99))
def test_loss_is_drawn_for_every_pair_of_drones(seed: int) -> None:
    names = [f"cf{i}" for i in range(8)]
    links = Links[int](names, seed)
    links.apply([Fault(kind=K.LOSS, amount=0.3)])
    arrived = np.zeros((8, 8), int)
    for tick in range(200):
        links.send(float(tick), names, np.ones((8, 8), bool), tick)
        got = links.due(float(tick))
        if got is not None:
            np.add.at(arrived, (got.receiver, got.sender), 1)
    assert (arrived > 100).all()
    assert (arrived < 180).all()
    assert 0.67 < arrived.mean() / 200 < 0.73


def test_the_scenarios_faults_count_from_when_the_policies_fly_and_those_by_hand_from_then_on() -> None:
    planned = Fault(kind=K.LOSS, start_s=5.0, duration_s=2.0, amount=0.5)
    by_hand = Fault(kind=K.PARTITION, duration_s=1.0, drones=("cf1",))
    schedule = Schedule([planned])
    assert schedule.holding(100.0, None) == ()
    assert schedule.holding(4.9, 0.0) == ()
    assert schedule.holding(105.0, 100.0) == schedule.holding(106.9, 100.0) == (planned,)
    assert schedule.holding(107.0, 100.0) == ()
    schedule.add(106.0, by_hand)
    assert set(schedule.holding(106.5, 100.0)) == {planned, by_hand}
    assert schedule.holding(106.5, None) == (by_hand,)
    assert schedule.clear() == 2
    assert schedule.holding(106.5, 100.0) == ()


def poses(t_s: float, x_m: float) -> dict[str, Pose]:
    return {name: Pose(t_s, np.array([x_m, 0.0, 1.0])) for name in ("cf1", "cf2")}


def test_a_frozen_sensor_says_for_ever_where_it_was_with_fresh_stamps_and_thaws() -> None:
    sensors = Sensors(0)
    frozen = [Fault(kind=K.FROZEN_SENSOR, drones=("cf1",))]
    for t_s in (0.0, 1.0, 2.0):
        told = sensors.measured(frozen, poses(t_s, t_s))
        assert told["cf1"].stamp_s == t_s
        assert told["cf1"].position_m[0] == 0.0
        assert told["cf2"].position_m[0] == t_s
    assert sensors.measured([], poses(3.0, 3.0))["cf1"].position_m[0] == 3.0
    assert sensors.measured(frozen, poses(4.0, 4.0))["cf1"].position_m[0] == 4.0


def test_a_silent_sensor_says_nothing_and_a_jump_is_off_by_its_amount() -> None:
    faults = [
        Fault(kind=K.SILENT_SENSOR, drones=("cf1",)),
        Fault(kind=K.POSITION_JUMP, drones=("cf2",), amount=0.7),
    ]
    told = Sensors(3).measured(faults, poses(0.0, 0.0))
    assert set(told) == {"cf2"}
    offset_m = told["cf2"].position_m - [0.0, 0.0, 1.0]
    assert np.linalg.norm(offset_m) == pytest.approx(0.7)
    assert offset_m[2] == 0.0


def test_directions_have_length_one_and_differ_between_drones() -> None:
    assert np.linalg.norm(direction(0, "cf1")) == pytest.approx(1.0)
    assert not np.allclose(direction(0, "cf1"), direction(0, "cf2"))


def test_amounts_add_up_for_whom_they_concern() -> None:
    faults = [Fault(kind=K.WIND, amount=0.2), Fault(kind=K.WIND, amount=0.3, drones=("cf2",))]
    assert total(faults, K.WIND, "cf1") == pytest.approx(0.2)
    assert total(faults, K.WIND, "cf2") == pytest.approx(0.5)
    assert not any_of(faults, K.IGNORES_COMMANDS, "cf1")


@pytest.mark.parametrize("kind", list(K))
def test_every_kind_can_be_written_in_a_file_and_a_wrong_amount_is_refused(kind: FaultKind) -> None:
    sides = {"drones": ["cf1"]} if kind is K.PARTITION else {}
    good = {"kind": kind.value, **sides} | ({"amount": amounts[kind]} if kind in AMOUNTS else {})
    fault = schema.build(Fault, good, "s.yaml", "faults[0]")
    assert schema.build(Fault, schema.dump(fault), "s.yaml") == fault
    assert kind.value in str(fault)
    bad = {key: value for key, value in good.items() if key != "amount"} if kind in AMOUNTS else good | {"amount": 1.0}
    with pytest.raises(ConfigError) as refusal:
        schema.build(Fault, bad, "s.yaml", "faults[0]")
    assert (refusal.value.file, refusal.value.key) == ("s.yaml", "faults[0].amount")
    if kind in AMOUNTS:
        for amount in (-0.1, 1e9, math.nan):
            with pytest.raises(ConfigError):
                schema.build(Fault, good | {"amount": amount}, "s.yaml", "faults[0]")


def test_a_partition_without_sides_is_refused() -> None:
    with pytest.raises(ConfigError, match="drones"):
        Fault(kind=K.PARTITION)
