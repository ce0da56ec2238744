"""Ledger: what was answered is there after any end, nothing counts twice, damage is found and never overwritten."""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lgtc_core.demand.book import BookParams, ConsumerEdit, Delivery, DemandBook, Request
from lgtc_core.demand.consumer import ConsumerSpec
from lgtc_core.demand.ledger import CHECKPOINT_ROWS, SHARE, Ledger, LedgerReader, Turn
from lgtc_core.errors import LedgerError
from lgtc_core.fleet.team import Edit
from lgtc_core.world import rules

KINDS = ("battery", "parcel")
DRONES = ("cf1", "cf2", "cf3")
STAY, HAND_OVER = rules.ZERO_DEPLETION, rules.INSTANTANEOUS


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _spec(name: str = "depot", x_m: float = 0.0, parcel: float = 1.0, battery: float = 1.0) -> ConsumerSpec:
    return ConsumerSpec(
        name=name, position_m=(x_m, 0.0), radius_m=0.5, demanded=(battery, parcel), depletion=(STAY, HAND_OVER)
    )


def _open(path: Path, clock: Clock | None = None, keep_rows_s: float = 3600.0) -> Ledger:
    clock = clock or Clock()
    return Ledger(path, KINDS, clock, lambda: 1e9 + clock(), keep_rows_s)


def _book(ledger: Ledger) -> DemandBook:
    return DemandBook(
        KINDS, DRONES, None, ("battery",), BookParams(), ledger, ledger.accounts, revision=ledger.opened << 20
    )


def _remaining(book: DemandBook, name: str = "depot") -> float:
    return book.accounts.entries[name].missing(1)


# ---- what is there after the end of the process


class LedgerMachine(RuleBasedStateMachine):
    """Any requests, and at any moment the process ends and starts again: with the same ledger, the book goes on as
    one that never ended."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.ledger = _open(self.folder / "ledger.sqlite", self.clock, keep_rows_s=1e3)
        self.book = _book(self.ledger)
        self.model = DemandBook(KINDS, DRONES, None, ("battery",))

    names = st.sampled_from(["a", "b", "c"])
    amounts = st.floats(0.0, 2.0)
    numbers = st.integers(0, 20)

    @rule(number=numbers, name=names, x_m=st.sampled_from([-2.0, -0.5, 1.0]), parcel=amounts, new=st.booleans())
    def set_consumer(self, number: int, name: str, x_m: float, parcel: float, new: bool) -> None:
        spec = _spec(name, x_m, parcel)
        answers = [
            (book.add if new else book.change)(spec, f"e{number}" if number < 10 else "")
            for book in (self.book, self.model)
        ]
        assert answers[0] == answers[1]

    @rule(number=numbers, name=names)
    def remove_consumer(self, number: int, name: str) -> None:
        assert self.book.remove(name, f"e{number}") == self.model.remove(name, f"e{number}")

    @rule(number=numbers, drone=st.sampled_from(DRONES), amount=st.floats(-0.5, 2.0))
    def put_in(self, number: int, drone: str, amount: float) -> None:
        answers = [book.put_in(f"s{number}", drone, "parcel", amount) for book in (self.book, self.model)]
        assert str(answers[0]) == str(answers[1])

    @rule(
        requests=st.lists(
            st.tuples(numbers, st.sampled_from(DRONES), names, st.sampled_from([0.25, 0.5, 1.0, -1.0])), max_size=4
        )
    )
    def deliver(self, requests: list[tuple[int, str, str, float]]) -> None:
        batch = [Request(f"r{number}", drone, name, "parcel", offered) for number, drone, name, offered in requests]
        assert self.book.deliver_together(batch) == self.model.deliver_together(batch)

    @rule(drone=st.sampled_from(DRONES), x_m=st.sampled_from([-2.0, -0.5, 0.2, 1.0]), dt_s=st.floats(0.1, 1.5))
    def move(self, drone: str, x_m: float, dt_s: float) -> None:
        self.clock.now_s += dt_s
        for book in (self.book, self.model):
            book.presence(drone, self.clock.now_s, (x_m, 0.0), (0.5, 0.0), True)
            book.view(self.clock.now_s)

    @rule(compact=st.booleans())
    def end_and_start(self, compact: bool) -> None:
        if compact:
            self.ledger.compact(self.book.accounts)
        before = self.book.accounts.dump()
        revision = self.book.view(self.clock.now_s).revision
        self.ledger.close()
        self.ledger = _open(self.folder / "ledger.sqlite", self.clock, keep_rows_s=1e3)
        self.book = _book(self.ledger)
        assert self.book.accounts.dump()["entries"] == before["entries"]
        assert self.book.view(self.clock.now_s).revision > revision
        # Who was there counts on until it could have spoken again; the model hears them speak.
        for drone, report in self.model._reports.items():
            if math.isfinite(report.stamp_s):
                self.book.presence(drone, report.stamp_s, report.position_m, report.supply, report.serving)

    @invariant()
    def both_books_say_the_same(self) -> None:
        for book in (self.book, self.model):
            assert not book.accounts.imbalances()
        mine, other = self.book.accounts.dump(), self.model.accounts.dump()
        for part in ("entries", "put_in", "struck"):
            assert mine[part] == other[part], part
        assert all(self.book.delivered_by(d).tolist() == self.model.delivered_by(d).tolist() for d in DRONES)

    @invariant()
    def the_file_is_in_order(self) -> None:
        with LedgerReader(self.ledger.path) as reader:
            assert reader.check() == []

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)

CLIENT = """
import sys
from lgtc_core.demand.book import DemandBook
from lgtc_core.demand.consumer import ConsumerSpec
from lgtc_core.demand.ledger import Ledger
kinds = ("battery", "parcel")
ledger = Ledger(sys.argv[1], kinds, lambda: 0.0, lambda: 1e9)
book = DemandBook(kinds, ("cf1", "cf2", "cf3"), journal=ledger, accounts=ledger.accounts)
spec = ConsumerSpec(name="depot", position_m=(0.0, 0.0), radius_m=0.5, demanded=(1.0, 1e6), depletion=(1, 0))
book.add(spec, "start")
n = int(sys.argv[2])
while True:
    answer = book.deliver(f"r{n}", f"cf{1 + n % 3}", "depot", "parcel", 0.125 * (1 + n % 7))
    print(f"r{n}", answer.amount, flush=True)
    n += 1
"""


def test_what_was_answered_before_a_sigkill_is_there_once_and_only_once_after_it(tmp_path: Path) -> None:
    path, answered, number = tmp_path / "ledger.sqlite", {}, 0
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    chance = random.Random(1)
    for _ in range(6):
        command = [sys.executable, "-c", CLIENT, str(path), str(number)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        assert lines[0], "the process came up"
        time.sleep(chance.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
        process.wait()
        for line in lines:
            if line.endswith("\n"):
                request_id, amount = line.split()
                answered[request_id] = float(amount)
        number = len(answered)  # the first one without an answer is asked again
        with LedgerReader(path) as reader:
            assert reader.check() == []
            book = reader.audit().accounts
        unanswered = book.entries["depot"].delivered[1] - sum(answered.values())
        expected = 0.125 * (1 + number % 7)
        assert unanswered == 0.0 or unanswered == expected, "at most the request that was under way"
    assert len(answered) > 8


def test_a_repeated_request_is_answered_as_the_first_time_after_a_restart(tmp_path: Path) -> None:
    ledger = _open(tmp_path / "ledger.sqlite")
    book = _book(ledger)
    book.add(_spec(), "edit")
    first = book.deliver("r", "cf1", "depot", "parcel", 0.6)
    refused = book.deliver("q", "cf1", "nowhere", "parcel", 0.6)
    ledger.close()
    ledger = _open(tmp_path / "ledger.sqlite")
    book = _book(ledger)
    assert book.deliver("r", "cf1", "depot", "parcel", 0.6) == first
    book.add(_spec("nowhere", 3.0))
    assert book.deliver("q", "cf1", "nowhere", "parcel", 0.6) == refused
    assert book.add(_spec(), "edit").accepted
    assert "was used for another delivery" in book.deliver("r", "cf2", "depot", "parcel", 0.6).message
    assert "choose a new id" in book.add(_spec("other", 9.0), "edit").message
    assert _remaining(book) == pytest.approx(0.4)
    ledger.close()


def test_servers_count_on_after_a_restart_until_they_had_time_to_speak(tmp_path: Path) -> None:
    ledger = _open(tmp_path / "ledger.sqlite")
    book = _book(ledger)
    book.add(_spec())
    book.presence("cf1", 10.0, (0.0, 0.0), (0.8, 0.0), True)
    book.view(10.0)
    ledger.close()
    ledger = _open(tmp_path / "ledger.sqlite")
    book = _book(ledger)
    lifetime_s = book.params.presence_lifetime_s
    assert book.view(12.0).consumers[0].servers == ("cf1",)
    assert book.view(12.0 + lifetime_s).consumers[0].servers == ("cf1",)
    assert book.view(12.1 + lifetime_s).consumers[0].servers == ()
    ledger.close()


# ---- several at the same moment


@given(
    offers=st.lists(st.floats(1e-3, 5.0), min_size=1, max_size=3),
    demanded=st.floats(0.0, 6.0),
    order=st.randoms(use_true_random=False),
)
def test_drones_that_release_in_the_same_tick_share_in_proportion_whatever_the_order(
    offers: list[float], demanded: float, order: random.Random
) -> None:
    requests = [Request(f"{drone}-1", drone, "depot", "parcel", o) for drone, o in zip(DRONES, offers, strict=False)]
    book = DemandBook(KINDS, DRONES)
    book.add(_spec(parcel=demanded))
    amounts = dict(zip(requests, (d.amount for d in book.deliver_together(requests)), strict=True))
    shuffled = requests.copy()
    order.shuffle(shuffled)
    again = DemandBook(KINDS, DRONES)
    again.add(_spec(parcel=demanded))
    assert dict(zip(shuffled, (d.amount for d in again.deliver_together(shuffled)), strict=True)) == amounts
    fraction = min(1.0, demanded / sum(offers))
    for request, amount in amounts.items():
        assert amount == pytest.approx(fraction * request.offered, abs=1e-12)
    assert sum(amounts.values()) + _remaining(book) == pytest.approx(demanded, abs=1e-12)
    if fraction < 1.0:
        assert _remaining(book) == pytest.approx(0.0, abs=1e-12)


def test_the_same_request_twice_in_a_tick_counts_once() -> None:
    book = DemandBook(KINDS, DRONES)
    book.add(_spec())
    request = Request("1", "cf1", "depot", "parcel", 0.3)
    other = Request("1", "cf2", "depot", "parcel", 0.3)
    answers = book.deliver_together([request, other, request])
    assert answers[0] == answers[2] == Delivery(True, 0.3, 0.7)
    assert not answers[1].accepted
    assert _remaining(book) == 0.7


def test_more_than_a_drone_carries_is_refused_once_it_is_known_what_it_carries() -> None:
    book = DemandBook(KINDS, DRONES)
    book.add(_spec(parcel=10.0))
    assert book.deliver("0", "cf1", "depot", "parcel", 1.0).accepted
    assert book.put_in("s", "cf1", "parcel", 2.0).carried == 2.0
    assert book.put_in("s", "cf1", "parcel", 2.0).carried == 2.0
    assert "carries 2 parcel" in book.deliver("1", "cf1", "depot", "parcel", 2.5).message
    both = [Request(f"{n}", "cf1", "depot", "parcel", 1.5) for n in (2, 3)]
    assert [answer.accepted for answer in book.deliver_together(both)] == [True, False]
    assert book.put_in("t", "cf1", "parcel", -0.25).carried == 0.25
    assert not book.put_in("u", "cf1", "parcel", -0.5).accepted
    assert "was used" in book.put_in("s", "cf1", "parcel", 1.0).message
    assert not book.accounts.imbalances()


# ---- audit, growth


def test_the_state_of_every_past_time_is_the_state_that_was_then(tmp_path: Path) -> None:
    clock, past = Clock(), {}
    ledger = _open(tmp_path / "ledger.sqlite", clock)
    book = _book(ledger)
    for n in range(30):
        clock.now_s = n + 1.0
        if n % 10 == 0:
            book.add(_spec(f"c{n}", 2.0 * n, parcel=5.0))
        if n == 25:
            book.remove("c0")
        book.deliver(f"r{n}", "cf1", f"c{n // 10 * 10}", "parcel", 0.375)
        book.presence("cf1", clock.now_s, (2.0 * (n // 7 * 10), 0.0), (0.9, 0.0), True)
        book.view(clock.now_s)
        past[clock.now_s] = book.accounts.dump()
    with LedgerReader(ledger.path) as reader:
        for at_s, state in past.items():
            assert reader.audit(at_s=at_s).accounts.dump() == state
            assert reader.audit(at_s=at_s + 0.5).accounts.dump() == state
        assert reader.audit(at_s=0.5).moment is None
        assert reader.audit().accounts.dump() == book.accounts.dump()
        clock.now_s = 3.0  # another simulation begins
        book.deliver("again", "cf1", "c10", "parcel", 0.1)
        last = reader.audit(at_s=3.0).moment
        assert last is not None
        assert [row.change.id for row in reader.rows(last.seq - 1)] == ["again"]
    ledger.close()


def _hours(book: DemandBook, ledger: Ledger, clock: Clock, ticks: int) -> Iterator[float]:
    """A delivery, an arrival and a departure a minute; the times after each, after a checkpoint every tenth."""
    for tick in range(ticks):
        clock.now_s += 29.0
        book.presence("cf1", clock.now_s, (0.0 if tick % 2 else 3.0, 0.0), (0.9, 0.0), True)
        book.view(clock.now_s)
        yield clock.now_s
        clock.now_s += 1.0
        book.deliver(f"{clock.now_s:g}", "cf2", "depot", "parcel", 0.5)
        if tick % 10 == 9:
            ledger.compact(book.accounts)
        yield clock.now_s


def test_folding_bounds_the_file_and_keeps_every_state_of_the_window_and_some_of_those_before_it(
    tmp_path: Path,
) -> None:
    clock, keep_s, states = Clock(), 1500.0, {}
    ledger = _open(tmp_path / "ledger.sqlite", clock, keep_s)
    book = _book(ledger)
    book.add(_spec(parcel=1e5), "fleet:start:depot")
    book.put_in("cf2:start:parcel", "cf2", "parcel", 1e4)
    sizes = []
    for now_s in _hours(book, ledger, clock, 800):
        states[now_s] = book.accounts.dump()
        if len(states) % 400 == 0:
            sizes.append(os.path.getsize(ledger.path))
    assert ledger.check() == []
    assert ledger.folded > 0
    rows = list(ledger.rows())
    assert {row.change.id for row in rows if row.seq <= ledger.folded} == {"fleet:start:depot", "cf2:start:parcel"}
    assert len(rows) < 3.0 * (keep_s + keep_s / SHARE) / 30.0
    assert sizes[3] - sizes[2] <= 16 * 1024, "some checkpoints, where four hundred rows are 120 kB"
    checkpoints = [row[0] for row in ledger._db.execute("SELECT stamp_s FROM checkpoint ORDER BY seq")]
    assert len(checkpoints) <= 2 * SHARE * (1.0 + math.log(clock.now_s / keep_s)) + 3
    for at_s, state in [*states.items()][::7]:
        audit, age_s = ledger.audit(at_s=at_s), clock.now_s - at_s
        assert audit.moment is not None or at_s < checkpoints[0]
        if audit.moment is not None:
            assert audit.accounts.dump() == states[audit.moment.stamp_s]
            assert audit.folded == (audit.moment.seq < ledger.folded)
            assert at_s - audit.moment.stamp_s <= 2.0 * age_s / SHARE + 300.0
        if age_s <= keep_s:
            assert audit.accounts.dump() == state
            assert audit.moment is not None
            assert (audit.moment.stamp_s, audit.folded) == (at_s, False)
        assert ledger.audit(utc_s=1e9 + at_s).moment == audit.moment
    (served,) = book.accounts.served.values()
    assert (served.visits, served.seconds) == (399, pytest.approx(399 * 30.0))
    ledger.close()


def test_within_the_window_a_repeated_request_is_known_and_one_of_the_start_is_for_ever(tmp_path: Path) -> None:
    clock, keep_s = Clock(), 900.0
    ledger = _open(tmp_path / "ledger.sqlite", clock, keep_s)
    book = _book(ledger)
    start = _spec(parcel=1e5)
    book.add(start, "fleet:start:depot")
    book.put_in("cf2:start:parcel", "cf2", "parcel", 1e4)
    times = list(_hours(book, ledger, clock, 80))
    ledger.close()
    ledger = _open(tmp_path / "ledger.sqlite", clock, keep_s)
    book = _book(ledger)
    before = book.accounts.dump()
    for at_s in times:
        if clock.now_s - at_s <= keep_s and at_s % 30.0 == 0.0:
            answer = book.deliver(f"{at_s:g}", "cf2", "depot", "parcel", 0.5)
            assert (answer.accepted, answer.amount) == (True, 0.5)
    assert book.add(start, "fleet:start:depot").accepted
    assert book.put_in("cf2:start:parcel", "cf2", "parcel", 1e4).carried == pytest.approx(1e4 - 40.0)
    assert book.accounts.dump() == before
    ledger.close()


def test_a_row_or_a_checkpoint_that_is_missing_is_found(tmp_path: Path) -> None:
    clock = Clock()
    for n, statement in enumerate(
        (
            "DELETE FROM change WHERE seq = (SELECT max(seq) - 3 FROM change)",
            "DELETE FROM change WHERE seq > (SELECT max(seq) - 20 FROM change)",
            "DELETE FROM checkpoint",
        )
    ):
        ledger = _open(tmp_path / f"{n}.sqlite", clock, 300.0)
        book = _book(ledger)
        book.add(_spec(parcel=1e5))
        list(_hours(book, ledger, clock, 40))
        assert ledger.check() == []
        ledger._db.execute(statement)
        assert "missing" in " ".join(ledger.check())
        ledger.close()


def test_a_batterys_level_set_by_hand_is_recorded_once_and_is_in_no_sum(tmp_path: Path) -> None:
    ledger = _open(tmp_path / "ledger.sqlite")
    book = _book(ledger)
    before = book.accounts.dump()
    for _ in range(2):
        entry = book.put_in("hand", "cf1", "battery", -0.6)
        assert entry.accepted
        assert math.isnan(entry.carried)
    assert "was used for a supply" in book.put_in("hand", "cf1", "battery", -0.5).message
    for wrong in (math.nan, math.inf, -1.5):
        assert not book.put_in(f"{wrong}", "cf1", "battery", wrong).accepted
    (row,) = ledger.rows()
    assert vars(row.change) == {"id": "hand", "drone": "cf1", "kind": "battery", "difference": -0.6}
    assert book.accounts.dump() == before
    assert ledger.check() == []
    ledger.close()


# ---- all or none


def test_edits_of_one_moment_are_all_made_or_none(tmp_path: Path) -> None:
    ledger = _open(tmp_path / "ledger.sqlite")
    book = _book(ledger)
    book.add(_spec("a", -2.0))
    book.add(_spec("b", 2.0))
    swapped = [ConsumerEdit(Edit.CHANGE, _spec("a", 2.0), "1"), ConsumerEdit(Edit.CHANGE, _spec("b", -2.0), "2")]
    before = book.accounts.dump()
    for wrong in (
        ConsumerEdit(Edit.ADD, _spec("c", 2.3), "3"),
        ConsumerEdit(Edit.ADD, _spec("a", 5.0), "3"),
        ConsumerEdit(Edit.CHANGE, _spec("c", 5.0), "3"),
        ConsumerEdit(Edit.REMOVE, _spec("c"), "3"),
        ConsumerEdit(Edit.ADD, _spec("c", 5.0, parcel=math.nan), "3"),
        ConsumerEdit(Edit.ADD, _spec("c", 5.0), "2"),
        ConsumerEdit(Edit.ADD, _spec("c", 5.0), "x" * 300),
    ):
        assert not book.edit_together([*swapped, wrong]).accepted
        assert book.accounts.dump() == before
    ledger._db.execute("PRAGMA query_only = 1").fetchall()
    assert "cannot be written" in book.edit_together(swapped).message
    ledger._db.execute("PRAGMA query_only = 0").fetchall()
    assert book.accounts.dump() == before
    assert book.edit_together(swapped).accepted, "discs may overlap in between, not in the end"
    assert book.edit_together(swapped).accepted, "and the same again is answered as the first time"
    assert [book.accounts.entries[name].spec.position_m[0] for name in "ab"] == [2.0, -2.0]
    assert book.accounts.edits == 4
    assert "choose a new id" in book.edit_together([*swapped, ConsumerEdit(Edit.REMOVE, _spec("a"), "3")]).message
    ledger.close()


def test_a_restart_reads_a_checkpoint_and_few_rows(tmp_path: Path) -> None:
    ledger = _open(tmp_path / "ledger.sqlite")
    book = _book(ledger)
    book.add(_spec(parcel=1e6))
    for batch in range(12):
        requests = [Request(f"{batch}-{n}", "cf1", "depot", "parcel", 0.5) for n in range(CHECKPOINT_ROWS // 4)]
        book.deliver_together(requests)
    ledger.close()
    with LedgerReader(tmp_path / "ledger.sqlite") as reader:
        first = next(iter(reader.rows(after=3 * CHECKPOINT_ROWS - 2)), None)
        assert first is None or first.seq > 2 * CHECKPOINT_ROWS
        assert reader.check() == []
    again = _open(tmp_path / "ledger.sqlite")
    assert again.accounts.dump() == book.accounts.dump()
    again.close()


# ---- what can be wrong with the file


def _filled(path: Path) -> None:
    ledger = _open(path)
    book = _book(ledger)
    book.add(_spec())
    for n in range(50):
        book.deliver(f"r{n}", "cf1", "depot", "parcel", 0.01)
    ledger.close()


def test_a_locked_ledger_is_named_nothing_changes_and_the_repeated_request_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = _open(path)
    book = _book(ledger)
    book.add(_spec())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    before = book.accounts.dump()
    answer = book.deliver("r", "cf1", "depot", "parcel", 0.5)
    assert (answer.accepted, answer.final) == (False, False)
    assert "locked by another process" in answer.message
    assert "locked" in book.change(_spec(parcel=3.0)).message
    assert "locked" in book.put_in("s", "cf1", "parcel", 1.0).message
    book.presence("cf1", 1.0, (0.0, 0.0), (0.8, 0.0), True)
    assert book.view(1.0).consumers[0].servers == ("cf1",)
    assert "locked" in book.trouble
    assert book.accounts.dump() == before
    other.execute("ROLLBACK")
    assert book.deliver("r", "cf1", "depot", "parcel", 0.5) == Delivery(True, 0.5, 0.5)
    book.view(1.0)
    assert (book.trouble, set(book.accounts.serving)) == ("", {"cf1"})
    other.close()
    ledger.close()


@pytest.mark.parametrize(
    ("pragma", "undo", "words"),
    [
        ("query_only = 1", "query_only = 0", "cannot be written"),
        ("max_page_count = 1", "max_page_count = 1000000", "the disk is full"),
    ],
)
def test_a_full_or_read_only_disk_is_named_and_nothing_changes(
    tmp_path: Path, pragma: str, undo: str, words: str
) -> None:
    ledger = _open(tmp_path / "ledger.sqlite")
    book = _book(ledger)
    book.add(_spec(parcel=1e6))
    ledger._db.execute(f"PRAGMA {pragma}").fetchall()  # SQLite itself then answers as the disk would make it
    answers = [book.deliver(f"r{n}", "cf1", "depot", "parcel", 0.5) for n in range(200)]
    failed = [answer for answer in answers if not answer.accepted]
    assert failed
    assert all(words in answer.message and not answer.final for answer in failed)
    assert _remaining(book) == 1e6 - 0.5 * (200 - len(failed))
    ledger._db.execute(f"PRAGMA {undo}").fetchall()
    for n in range(200):
        assert book.deliver(f"r{n}", "cf1", "depot", "parcel", 0.5).accepted
    assert _remaining(book) == 1e6 - 100.0
    assert ledger.check() == []
    ledger.close()


def test_a_second_server_on_the_same_ledger_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = _open(path)
    with pytest.raises(LedgerError, match=f"another demand server \\(process {os.getpid()}\\)"):
        _open(path)
    with LedgerReader(path) as reader:
        assert reader.check() == []
    ledger.close()
    _open(path).close()


def test_of_those_that_wait_for_a_ledger_the_one_that_has_waited_longest_is_next(tmp_path: Path) -> None:
    first, second, third = (Turn(tmp_path / "new" / "ledger.sqlite") for _ in range(3))
    assert [one.mine() for one in (first, second, third)] == [True, False, False]
    first.pass_on()
    assert [one.mine() for one in (first, second, third)] == [False, True, False]
    assert second.mine()
    second.pass_on()
    assert third.mine()
    third.pass_on()


@pytest.mark.parametrize("seed", range(12))
def test_damage_anywhere_is_found_and_the_file_set_aside_unchanged(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "ledger.sqlite"
    _filled(path)
    data = bytearray(path.read_bytes())
    chance = random.Random(seed)
    if seed % 3 == 0:
        data[:100] = chance.randbytes(100)
    elif seed % 3 == 1:
        del data[chance.randrange(200, len(data)) :]
    else:
        at = data.find(b'"amount":', chance.randrange(len(data) // 2))
        data[at + 9 : at + 10] = b"7"
    path.write_bytes(data)
    with pytest.raises(LedgerError, match="set aside as"):
        _open(path)
    (aside,) = tmp_path.glob("*.damaged-*[!ml]")
    assert aside.read_bytes() == data
    assert not path.exists()
    fresh = _open(path)
    assert fresh.accounts.entries == {}
    fresh.close()
    assert aside.read_bytes() == data


def test_what_is_no_ledger_or_another_kind_of_one_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    _filled(path)
    with pytest.raises(LedgerError, match="about the resource kinds battery, parcel; the fleet has water"):
        Ledger(path, ("water",), Clock(), time.time)
    for version in (1, 3):  # an older schema and a newer one
        db = sqlite3.connect(path)
        db.execute(f"PRAGMA user_version = {version}")
        db.close()
        before = path.read_bytes()
        for opened in (_open, LedgerReader):
            with pytest.raises(LedgerError, match=f"schema version {version}; this program reads and writes 2"):
                opened(path)
        assert path.read_bytes() == before
    other = tmp_path / "other.sqlite"
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE t (a)")
    db.close()
    for name in (other, path):
        before = name.read_bytes()
        with pytest.raises(LedgerError):
            _open(name)
        with pytest.raises(LedgerError):
            LedgerReader(name)
        assert name.read_bytes() == before
    with pytest.raises(LedgerError, match="there is no such file"):
        LedgerReader(tmp_path / "none.sqlite")
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot be written"):
        _open(tmp_path / "file" / "ledger.sqlite")


def test_the_check_finds_a_delivery_that_could_not_be(tmp_path: Path) -> None:
    ledger = _open(tmp_path / "ledger.sqlite")
    book = _book(ledger)
    book.add(_spec())
    book.put_in("s", "cf1", "parcel", 0.75)
    book.deliver("r1", "cf1", "depot", "parcel", 0.5)
    first = ledger.find("r1")
    assert first is not None
    supplied = ledger.find("s")
    # Another hand writes well-formed rows past the book.
    assert supplied is not None
    for change, name in ((first, "r2"), (supplied, "s2"), (first, "r3"), (first, "r4")):
        ledger.write([type(change)(**{**vars(change), "id": name})])
    words = " ".join(ledger.check())
    assert "took 0.5 parcel from cf1, which carried 0.25" in words
    assert "left 0.5 of 0.5 after 0.5" in words
    assert "left 0.75 parcel on cf1, where 0.5 is what adds up" in words
    assert "parcel on cf1, put in less given" in words
    ledger.close()
    with pytest.raises(LedgerError, match=r"row 4 took 0.5 parcel .*set aside as"):
        _open(tmp_path / "ledger.sqlite")
