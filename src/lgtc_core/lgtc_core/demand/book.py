"""The book of what is asked for: consumers, deliveries that count once, servers that count while they are
there.

    accepted       = min(offered, remaining)                                   one delivery request,
    answered and final remaining_mk   = demanded_mk - delivered_mk
    instantaneous kinds remaining_mk   = max(0, demanded_mk - sum_{i inside} supply_ik)
    0-depletion kinds, from presence; not counted: who has announced to leave

The arithmetic is `lgtc_core.world.rules`; the book adds memory: who asked what (a repeated request is
answered as the first time and changes nothing), who is where (with hysteresis at the disc's rim, and for as
long as its word is fresh), and which slot belongs to whom. What several drones offer at the same moment is
shared: who is offered more than is missing takes the same fraction of every offer.

Every change is decided, then written to the journal, then takes effect, then is answered. With a journal on
disk (`lgtc_core.demand.ledger`) the book therefore goes on after a crash as if nothing had happened. Nothing
here reads a clock and nothing raises on bad requests: a refusal is an answer with a sentence.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.demand.accounts import (
    START,
    Accounts,
    Arrived,
    Change,
    ConsumerRemoved,
    ConsumerSet,
    Delivered,
    Departed,
    Entry,
    Journal,
    LevelSet,
    MemoryJournal,
    Supplied,
)
from lgtc_core.demand.consumer import AMOUNT, ConsumerSpec, objection
from lgtc_core.demand.view import NEGLIGIBLE_AMOUNT, ConsumerView, DemandView
from lgtc_core.errors import InputError, LedgerError
from lgtc_core.fleet.names import is_name
from lgtc_core.fleet.team import Edit
from lgtc_core.schema import Bounds
from lgtc_core.world import rules
from lgtc_core.world.arena import Arena

if TYPE_CHECKING:
    from lgtc_core.fleet.team import Team

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BookParams:
    """How the demand server decides who serves."""

    rim_fraction: Annotated[
        float, Bounds(0.0, 0.5), "A server counts until it is this fraction of the radius outside its disc (hysteresis)"
    ] = 0.1
    presence_lifetime_s: Annotated[
        float, Bounds(0.05, 60.0, "s"), "Age at which a drone's last word about where it is no longer counts"
    ] = 1.0
    max_consumers: Annotated[int, Bounds(1, 4096), "Largest number of consumers at one time"] = 256


class Answer(NamedTuple):
    """Answer to an edit or a presence report; the message says why it was refused and is empty otherwise."""

    accepted: bool
    message: str = ""


_ACCEPTED = Answer(True)


class ConsumerEdit(NamedTuple):
    """A consumer comes, changes or goes."""

    operation: Edit
    consumer: ConsumerSpec
    """As it is asked for; to remove it, only its name is read."""
    request_id: str = ""
    """Chosen by the sender, unique for ever; a repeated request is answered as the first time. Empty: the book
    chooses one, and nothing can be repeated. A refused edit is not remembered: it changed nothing."""


class SupplyEntry(NamedTuple):
    """Answer to a change of what a drone carries."""

    accepted: bool
    carried: float
    """What it carries of that kind now, by the book; NaN: unknown."""
    message: str = ""
    final: bool = True
    """False: nothing was decided (the ledger could not be written); ask again with the same id."""


class Delivery(NamedTuple):
    """Answer to a delivery request (lgtc_interfaces/Deliver)."""

    accepted: bool
    amount: float
    """What was taken: min(offered, remaining)."""
    remaining: float
    """Still missing of this kind at this consumer after the delivery; 0 when refused."""
    message: str = ""
    final: bool = True
    """False: nothing was decided (the ledger could not be written); ask again with the same id."""


class Request(NamedTuple):
    """A delivery request (lgtc_interfaces/Deliver)."""

    id: str
    drone: str
    consumer: str
    kind: str
    offered: float


ID_LENGTH_MAX = 200
"""Characters of a request id."""


class _Report(NamedTuple):
    """A drone's last word about itself."""

    stamp_s: float
    """When; -inf: taken over from before a restart."""
    fresh_until_s: float
    """Until when it counts; NaN: for one lifetime from the first view on."""
    position_m: tuple[float, float]
    """NaN: unknown."""
    supply: tuple[float, ...]  # (r,)
    serving: bool
    place: str | None
    """Consumer in whose disc it counts, after hysteresis."""
    leaving: bool = False
    """It serves on, but is about to leave."""


class _Table(NamedTuple):
    """Consumers by slot, and what they ask for."""

    entries: list[Entry]  # M
    position_m: Array  # (M, 2)
    demanded: Array  # (M, r)
    kind: npt.NDArray[np.int64]  # (M, r)
    column: dict[str, int]
    """Their places in these, by name."""


class _Present(NamedTuple):
    """A drone that counts in a disc."""

    n: int
    """Its place among the drones."""
    m: int
    """The consumer's place in the table."""
    supply: tuple[float, ...]  # (r,)
    leaving: bool


class _Told(NamedTuple):
    """All that a view is made from: as long as it is the same, so is the view."""

    edits: int
    """Changes of consumers so far."""
    present: list[_Present]
    delivered: list[list[float]]  # (M, r)


class DemandBook:
    """What is asked for, delivered and served.

    Args:
        kinds: names of the r resource kinds.
        drones: names of the drones that may deliver and serve.
        arena: consumers must lie in it; None: anywhere.
        presence_only: kinds that cannot be handed over (batteries).
        params: hysteresis, lifetimes and limits.
        journal: where changes are recorded before they take effect; None: in memory.
        accounts: the state to go on from, as the journal restored it; None: nothing happened yet.
        revision: a number that no view before this book had, so that none is taken for one of this book.
    """

    def __init__(
        self,
        kinds: Iterable[str],
        drones: Iterable[str],
        arena: Arena | None = None,
        presence_only: Iterable[str] = (),
        params: BookParams | None = None,
        journal: Journal | None = None,
        accounts: Accounts | None = None,
        revision: int = 0,
    ) -> None:
        self.kinds = tuple(kinds)
        self.drones = tuple(sorted(drones))
        self.params = params or BookParams()
        self.trouble = ""
        """Why arrivals and departures could not be recorded lately; empty: they are."""
        self._arena = arena
        self._presence_only = frozenset(presence_only)
        self._journal: Journal = MemoryJournal() if journal is None else journal
        self._accounts = Accounts(self.kinds, self.drones) if accounts is None else accounts
        self._reports = {
            drone: _Report(-math.inf, math.nan, arrival.position_m, arrival.supply, True, arrival.consumer)
            for drone, arrival in self._accounts.serving.items()
            if drone in self.drones
        }
        self._view = DemandView(revision, self.kinds, ())
        self._told: _Told | None = None
        self._shown: object = None
        self._asked: tuple[int, _Table] | None = None
        """After how many edits that was."""
        self._known = frozenset(self.drones)

    @classmethod
    def for_team(
        cls,
        team: Team,
        params: BookParams | None = None,
        journal: Journal | None = None,
        accounts: Accounts | None = None,
        revision: int = 0,
    ) -> DemandBook:
        """The book of a team's scenario: consumers and supplies of its start are entered, each once in the
        life of the journal.

        Raises:
            InputError: the book refuses a consumer, e.g. because there are more than `max_consumers`.
        """
        batteries = {drone.battery_kind for drone in team.drones} - {None}
        presence_only = [kind for kind in batteries if kind]
        book = cls(team.kinds, team.names, team.arena, presence_only, params, journal, accounts, revision)
        for consumer in team.consumers:
            answer = book.add(consumer, f"{team.scenario}{START}{consumer.name}")
            if not answer.accepted:
                raise InputError(f"scenario {team.scenario}", answer.message, "consumers that the demand book can hold")
        return book

    @property
    def accounts(self) -> Accounts:
        """The state behind the book, to read."""
        return self._accounts

    # ---- consumers ----------------------------------------

    def add(self, consumer: ConsumerSpec, request_id: str = "") -> Answer:
        """Enter a new consumer in the lowest free slot. `request_id` as in `ConsumerEdit`."""
        return self.edit_together([ConsumerEdit(Edit.ADD, consumer, request_id)])

    def change(self, consumer: ConsumerSpec, request_id: str = "") -> Answer:
        """Replace position, radius and demand; the slot and what was delivered stay. `request_id` as in
        `ConsumerEdit`.
        """
        return self.edit_together([ConsumerEdit(Edit.CHANGE, consumer, request_id)])

    def remove(self, name: str, request_id: str = "") -> Answer:
        """Strike a consumer out; what it was given stays given, its slot becomes free. `request_id` as in
        `ConsumerEdit`.
        """
        gone = ConsumerSpec(name=name, position_m=(0.0, 0.0), radius_m=1.0, demanded=(), depletion=())
        return self.edit_together([ConsumerEdit(Edit.REMOVE, gone, request_id)])

    def edit_together(self, edits: Sequence[ConsumerEdit]) -> Answer:
        """Make all of these edits, one after the other and with one write, or none of them.

        Discs may overlap in between, but not in the end. Edits that were made before are answered as the first time.
        """
        changes = self._changes(edits)
        if isinstance(changes, Answer):
            return changes
        try:
            firsts = [self._journal.find(change.id) for change in changes]
            for first, change in zip(firsts, changes, strict=True):
                if first is not None and not _same_edit(first, change):
                    return Answer(False, _reused(first))
            if all(firsts):
                return Answer(True)
            for first in filter(None, firsts):
                return Answer(False, _reused(first))
            refusal = self._refusal(changes)
            if refusal:
                return Answer(False, refusal)
            self._record(changes)
        except LedgerError as error:
            return Answer(False, str(error))
        for drone, report in self._reports.items():  # discs have changed: look anew where everybody is
            self._reports[drone] = report._replace(place=self._place(report.position_m, report.place))
        return Answer(True)

    # ---- supplies ----------------------------------------

    def put_in(self, request_id: str, drone: str, kind: str, amount: float) -> SupplyEntry:
        """A drone was loaded (or unloaded: negative) by hand. From then on the book knows what it carries,
        and takes no more from it.

        Args:
            request_id: chosen by the sender, unique for ever; repeated requests count once.
            drone: who.
            kind: name of the resource kind.
            amount: difference to what it carried; the first time: all that it carries. Of a battery's kind the
                change of its level by hand, which is recorded and counts in no sum.
        """
        if drone not in self.drones:
            return SupplyEntry(False, math.nan, self._unknown_drone(drone))
        if kind not in self.kinds:
            return SupplyEntry(False, math.nan, self._unknown_kind(kind))
        k = self.kinds.index(kind)
        before = self._accounts.carried(drone, k)
        objection_to_id = _objection_to_id(request_id)
        if objection_to_id:
            return SupplyEntry(False, before, objection_to_id)
        carried = amount if math.isnan(before) else before + amount
        try:
            first = self._journal.find(request_id)
            if first is not None:
                same = (
                    isinstance(first, Supplied | LevelSet)
                    and (first.drone, first.kind) == (drone, kind)
                    and math.isclose(_put_in(first), amount, abs_tol=NEGLIGIBLE_AMOUNT)
                )
                return SupplyEntry(same, before, "" if same else _reused(first))
            if kind in self._presence_only:
                if not -1.0 <= amount <= 1.0:
                    got = f"a level of {kind} on {drone} changed by {amount:g}"
                    return SupplyEntry(False, before, f"{got}; expected a difference of at most 1")
                self._record([LevelSet(id=request_id, drone=drone, kind=kind, difference=amount)])
                return SupplyEntry(True, before)
            if not -NEGLIGIBLE_AMOUNT <= carried <= AMOUNT.hi:
                got = f"{amount:g} put in on top of {0.0 if math.isnan(before) else before:g}"
                return SupplyEntry(False, before, f"{kind} on {drone}: got {got}; expected {AMOUNT} to be carried")
            put_in = max(amount, 0.0 if math.isnan(before) else -before)  # no less than nothing is left
            change = Supplied(id=request_id, drone=drone, kind=kind, put_in=put_in, carried=max(0.0, carried))
            self._record([change])
        except LedgerError as error:
            return SupplyEntry(False, before, str(error), final=False)
        return SupplyEntry(True, self._accounts.carried(drone, k))

    # ---- deliveries ----------------------------------------

    def deliver(self, request_id: str, drone: str, consumer: str, kind: str, offered: float) -> Delivery:
        """Hand over an amount of an instantaneous kind, once per request id: `deliver_together` of one."""
        return self.deliver_together([Request(request_id, drone, consumer, kind, offered)])[0]

    def deliver_together(self, requests: Sequence[Request]) -> list[Delivery]:
        """Settle requests of one moment: their answers do not depend on the order in which they came.

        A request id that was answered is answered the same again, and changes nothing; with another content
        it is refused. Ids are known for as long as the journal keeps them.

        Args:
            requests: id chosen by the sender and unique for ever, who delivers, to whom, kind, amount > 0.

        Returns:
            The answers, in the order of the requests.
        """
        try:
            return self._deliver_together(requests)
        except LedgerError as error:
            return [Delivery(False, 0.0, 0.0, str(error), final=False)] * len(requests)

    def delivered_by(self, drone: str) -> Array:
        """What a drone has delivered in total, per kind (r,), removed consumers included."""
        given = self._accounts.given.get(drone)
        return np.zeros(len(self.kinds)) if given is None else given.copy()

    # ---- presence ----------------------------------------

    def presence(
        self,
        drone: str,
        stamp_s: float,
        position_m: npt.ArrayLike,
        supply: npt.ArrayLike,
        serving: bool,
        leaving: bool = False,
    ) -> Answer:
        """A drone's word about where it is and what it carries.

        Args:
            drone: who speaks.
            stamp_s: when this was true [s].
            position_m: (2,) world frame [m]; NaN: unknown, it serves nowhere.
            supply: (r,) carried amount per kind.
            serving: whether its supply counts inside a disc (it flies on mission).
            leaving: it is about to leave: it counts as a server while it is there, what it carries is missing
                already, so that others come before it goes.
        """
        position, carried = np.asarray(position_m, float), np.asarray(supply, float)
        if drone not in self._known:
            return Answer(False, self._unknown_drone(drone))
        if not math.isfinite(stamp_s):
            return Answer(False, f"presence of {drone}: got a stamp of {stamp_s}; expected a finite time [s]")
        if position.shape != (2,):
            return Answer(False, f"presence of {drone}: got a position of shape {position.shape}; expected (2,)")
        amounts = carried.tolist()
        if carried.shape != (len(self.kinds),) or not all([0.0 <= amount < math.inf for amount in amounts]):
            return Answer(
                False,
                f"presence of {drone}: got the supply {amounts};"
                f" expected {len(self.kinds)} finite amounts of at least 0",
            )
        last = self._reports.get(drone)
        if last is not None and stamp_s <= last.stamp_s:
            return Answer(
                False, f"presence of {drone} at {stamp_s:g} s is not newer than the one at {last.stamp_s:g} s"
            )
        fresh = last is not None and not stamp_s > last.fresh_until_s
        x_m, y_m = position.tolist()
        place = self._place((x_m, y_m), last.place if last is not None and fresh else None)
        until_s = stamp_s + self.params.presence_lifetime_s
        self._reports[drone] = _Report(stamp_s, until_s, (x_m, y_m), tuple(amounts), serving, place, leaving)
        return _ACCEPTED

    # ---- view ----------------------------------------

    def view(self, now_s: float) -> DemandView:
        """All that is asked for at `now_s` [s]. The revision rises if anything differs from the view before.

        Who arrived at or departed from a 0-depletion demand since the last view is recorded first. If it
        cannot be, `trouble` says why, the view shows what is true all the same, and the record follows with
        a later view.
        """
        table = self._table()
        delivered = [entry.delivered.tolist() for entry in table.entries]
        told = _Told(self._accounts.edits, self._present(table.column, now_s), delivered)
        if told == self._told and not self.trouble:
            return self._view
        self._told = told
        remaining, servers, leavers = self._state(table, told)
        serving = {drone: name for name, here in zip(table.column, servers, strict=True) for drone in here}
        self._record_visits(now_s, serving)
        shown = (told.edits, remaining.tobytes(), servers, leavers)
        if shown != self._shown:
            self._shown = shown
            remaining.setflags(write=False)
            consumers = (
                ConsumerView(
                    entry.spec.name,
                    entry.slot,
                    table.position_m[m],
                    entry.spec.radius_m,
                    table.demanded[m],
                    remaining[m],
                    table.kind[m],
                    servers[m],
                    leavers[m],
                )
                for m, entry in enumerate(table.entries)
            )
            self._view = DemandView(self._view.revision + 1, self.kinds, tuple(consumers))
        return self._view

    # ---- inside ----------------------------------------

    def _deliver_together(self, requests: Sequence[Request]) -> list[Delivery]:
        """`deliver_together`, raising LedgerError; the one place where amounts change hands."""
        answers: dict[int, Delivery] = {}
        changes: dict[str, Delivered] = {}
        shares: dict[tuple[str, int], list[Request]] = defaultdict(list)
        offered: dict[tuple[str, int], float] = defaultdict(float)
        order = sorted(range(len(requests)), key=lambda n: (requests[n].drone, requests[n].id))
        new: dict[str, Request] = {}
        for n in order:
            request = requests[n]
            earlier = new.get(request.id) or (self._journal.find(request.id) if request.id else None)
            answer = self._judged(request, earlier)
            if answer is not None:
                answers[n] = answer
                continue
            if earlier is not None:  # a second time in this batch
                continue
            new[request.id] = request
            words = self._against(request, offered)
            if words:
                changes[request.id] = _settled(request, False, 0.0, 0.0, words)
            else:
                k = self.kinds.index(request.kind)
                offered[request.drone, k] += request.offered
                shares[request.consumer, k].append(request)
        for (consumer, k), group in shares.items():
            changes.update((change.id, change) for change in self._shared(self._accounts.entries[consumer], k, group))
        self._record([changes[request_id] for request_id in new])
        return [answers[n] if n in answers else _answer(changes[requests[n].id]) for n in range(len(requests))]

    def _judged(self, request: Request, earlier: Change | Request | None) -> Delivery | None:
        """The answer to a request that needs no decision: a repeated one, or one that can never be met, which is
        refused again whenever it comes and needs no memory.
        """
        objection_to_id = _objection_to_id(request.id)
        if objection_to_id:
            return _refused(objection_to_id)
        if isinstance(earlier, Request):
            return None if request == earlier else _refused(_reused(_settled(earlier, False, 0.0, 0.0, "")))
        if isinstance(earlier, Delivered):
            return _answer(earlier) if request[1:] == earlier.request else _refused(_reused(earlier))
        if earlier is not None:
            return _refused(_reused(earlier))
        if not (math.isfinite(request.offered) and request.offered > 0):
            return _refused(f"an offer of {request.offered:g}; expected a finite amount above 0")
        if request.drone not in self.drones:
            return _refused(self._unknown_drone(request.drone))
        if request.kind not in self.kinds:
            return _refused(self._unknown_kind(request.kind))
        if not is_name(request.consumer):
            return _refused(self._unknown_consumer(request.consumer[:40]).message)
        return None

    def _against(self, request: Request, offered: dict[tuple[str, int], float]) -> str:
        """Why a request must be refused, given what the same drone `offered` before it at this moment; or empty."""
        entry = self._accounts.entries.get(request.consumer)
        if entry is None:
            return self._unknown_consumer(request.consumer).message
        k = self.kinds.index(request.kind)
        if entry.spec.depletion[k] != rules.INSTANTANEOUS or request.kind in self._presence_only:
            return f"{request.kind} at {request.consumer} is served by staying there; it cannot be handed over"
        carried = self._accounts.carried(request.drone, k) - offered[request.drone, k]
        if request.offered > carried + NEGLIGIBLE_AMOUNT * max(1.0, carried):
            return f"{request.drone} carries {carried:g} {request.kind} by the ledger; {request.offered:g} are more"
        return ""

    def _shared(self, entry: Entry, k: int, group: Sequence[Request]) -> list[Delivered]:
        """Amounts for requests of one moment to one consumer: all of each offer, or of each the same fraction."""
        missing = entry.missing(k)
        offers = np.array([[request.offered] for request in group])
        inside, kind = np.ones((len(group), 1), bool), np.full((1, 1), rules.INSTANTANEOUS)
        shares = rules.deliver(inside, offers, np.array([[missing]]), kind)[:, 0, 0]
        result = []
        for request, share in zip(group, shares, strict=True):
            carried = self._accounts.carried(request.drone, k)
            top = share if math.isnan(carried) else min(share, carried)
            amount = float(rules.accept(np.float64(top), np.float64(missing)))
            missing = max(0.0, missing - amount)
            result.append(_settled(request, True, amount, missing, ""))
        return result

    def _record(self, changes: Sequence[Change]) -> None:
        """Write changes down; only then let them take effect."""
        if changes:
            self._journal.write(changes)
            for change in changes:
                self._accounts.apply(change)
            self._journal.applied(self._accounts)

    def _record_visits(self, now_s: float, serving: dict[str, str]) -> None:
        """Record who arrived and departed, so that the accounts say what `serving` (drone: consumer) says."""
        before = self._accounts.serving
        changes: list[Change] = []
        for drone, arrival in before.items():
            if serving.get(drone) != arrival.consumer:
                changes.append(Departed(id=f"{arrival.id}-end", visit=arrival.id, drone=drone, stamp_s=now_s))
        number = self._accounts.visits
        for drone, consumer in serving.items():
            if drone not in before or before[drone].consumer != consumer:
                number += 1
                report = self._reports[drone]
                stamp_s = report.stamp_s if math.isfinite(report.stamp_s) else now_s
                changes.append(
                    Arrived(
                        id=f"visit-{number}",
                        drone=drone,
                        consumer=consumer,
                        stamp_s=stamp_s,
                        position_m=report.position_m,
                        supply=report.supply,
                    )
                )
        try:
            self._record(changes)
            self.trouble = ""
        except LedgerError as error:
            self.trouble = str(error)

    def _changes(self, edits: Sequence[ConsumerEdit]) -> list[ConsumerSet | ConsumerRemoved] | Answer:
        """What edits would record, each with the slot that its consumer has or gets; or why an id cannot be."""
        slots = {name: entry.slot for name, entry in self._accounts.entries.items()}
        changes: list[ConsumerSet | ConsumerRemoved] = []
        ids = [edit.request_id or f"edit-{self._accounts.edits + n + 1}" for n, edit in enumerate(edits)]
        for edit, change_id in zip(edits, ids, strict=True):
            words = _objection_to_id(change_id)
            if words or ids.count(change_id) > 1:
                return Answer(False, words or f"request id {change_id} twice in edits of one moment")
            name = edit.consumer.name
            if edit.operation is Edit.REMOVE:
                slots.pop(name, None)
                changes.append(ConsumerRemoved(id=change_id, name=name))
                continue
            if edit.operation is Edit.ADD:
                slots[name] = next(slot for slot in range(len(slots) + 1) if slot not in slots.values())
            new, slot = edit.operation is Edit.ADD, slots.get(name, 0)
            changes.append(ConsumerSet(id=change_id, new=new, slot=slot, consumer=edit.consumer))
        return changes

    def _refusal(self, changes: Sequence[ConsumerSet | ConsumerRemoved]) -> str:
        """Why these edits cannot be made, one after the other; or empty."""
        consumers = {name: entry.spec for name, entry in self._accounts.entries.items()}
        for change in changes:
            name = change.consumer.name if isinstance(change, ConsumerSet) else change.name
            new = isinstance(change, ConsumerSet) and change.new
            if new and name in consumers:
                return f"consumer {name} exists already; change or remove it"
            if not new and name not in consumers:
                return self._unknown_consumer(name).message
            if isinstance(change, ConsumerSet):
                consumers[name] = change.consumer
            else:
                del consumers[name]
        if len(consumers) > max(self.params.max_consumers, len(self._accounts.entries)):
            return f"{len(consumers)} consumers, where {self.params.max_consumers} are the most there may be"
        for change in changes:
            if isinstance(change, ConsumerSet) and consumers.get(change.consumer.name) is change.consumer:
                consumer = change.consumer
                against = objection(consumer, consumers.values(), self.kinds, self._arena, self._presence_only)
                if against:
                    return f"consumer {consumer.name!r}: {against}"
        return ""

    def _unknown_consumer(self, name: str) -> Answer:
        known = ", ".join(sorted(self._accounts.entries)) or "none"
        return Answer(False, f"unknown consumer {name!r}; known are {known}")

    def _unknown_drone(self, drone: str) -> str:
        return f"unknown drone {drone!r}; known are {', '.join(self.drones)}"

    def _unknown_kind(self, kind: str) -> str:
        return f"unknown resource kind {kind!r}; known are {', '.join(self.kinds)}"

    def _place(self, at_m: tuple[float, float], before: str | None) -> str | None:
        """Consumer in whose disc a drone counts: the one it is in; else the one it counted in, until beyond
        the rim.
        """
        for name, entry in self._accounts.entries.items():
            if math.dist(at_m, entry.spec.position_m) <= entry.spec.radius_m:
                return name
        entry_before = self._accounts.entries.get(before) if before is not None else None
        if entry_before is not None:
            reach_m = entry_before.spec.radius_m * (1.0 + self.params.rim_fraction)
            if math.dist(at_m, entry_before.spec.position_m) <= reach_m:
                return before
        return None

    def _table(self) -> _Table:
        """Who asks for what, read anew after every edit."""
        if self._asked is None or self._asked[0] != self._accounts.edits:
            entries = sorted(self._accounts.entries.values(), key=lambda entry: entry.slot)
            shape = (len(entries), len(self.kinds))
            position_m = np.array([entry.spec.position_m for entry in entries], float).reshape(-1, 2)
            demanded = np.array([entry.spec.demanded for entry in entries], float).reshape(shape)
            kind = np.array([entry.spec.depletion for entry in entries], np.int64).reshape(shape)
            for table in (position_m, demanded, kind):
                table.setflags(write=False)
            column = {entry.spec.name: m for m, entry in enumerate(entries)}
            self._asked = self._accounts.edits, _Table(entries, position_m, demanded, kind, column)
        return self._asked[1]

    def _present(self, column: dict[str, int], now_s: float) -> list[_Present]:
        """Which drone counts where, and what it carries, by what is known and fresh at `now_s`."""
        present = []
        for n, drone in enumerate(self.drones):
            report = self._reports.get(drone)
            if report is None or not report.serving or report.place is None:
                continue
            if math.isnan(report.fresh_until_s):
                report = self._reports[drone] = report._replace(fresh_until_s=now_s + self.params.presence_lifetime_s)
            if now_s <= report.fresh_until_s and report.place in column:
                present.append(_Present(n, column[report.place], report.supply, report.leaving))
        return present

    def _state(self, table: _Table, told: _Told) -> tuple[Array, list[tuple[str, ...]], list[tuple[str, ...]]]:
        """What is still missing (M, r); who serves each consumer, and who of them is leaving."""
        shape = (len(self.drones), len(table.entries))
        inside, stays = np.zeros(shape, bool), np.zeros(shape, bool)
        supply = np.zeros((len(self.drones), len(self.kinds)))
        for n, m, carried, leaving in told.present:
            inside[n, m], stays[n, m], supply[n] = True, not leaving, carried
        delivered = np.array(told.delivered).reshape(table.demanded.shape)
        covered = rules.cover(stays, supply, table.demanded, table.kind)
        remaining = rules.remaining(table.demanded, delivered, covered, table.kind)
        serves = rules.serving(inside, supply, table.demanded, table.kind).any(-1)
        servers: list[list[str]] = [[] for _ in table.entries]
        leavers: list[list[str]] = [[] for _ in table.entries]
        for n, m, _, leaving in told.present:
            if serves[n, m]:
                servers[m].append(self.drones[n])
                if leaving:
                    leavers[m].append(self.drones[n])
        return remaining, list(map(tuple, servers)), list(map(tuple, leavers))


def _refused(message: str) -> Delivery:
    return Delivery(False, 0.0, 0.0, message)


def _settled(request: Request, accepted: bool, amount: float, remaining: float, message: str) -> Delivered:
    return Delivered(
        id=request.id,
        drone=request.drone,
        consumer=request.consumer,
        kind=request.kind,
        offered=request.offered,
        accepted=accepted,
        amount=amount,
        remaining=remaining,
        message=message,
    )


def _answer(change: Delivered) -> Delivery:
    return Delivery(change.accepted, change.amount, change.remaining, change.message)


def _objection_to_id(request_id: str) -> str:
    if not request_id:
        return "an empty request id; choose one that is unique for ever"
    if len(request_id) > ID_LENGTH_MAX or not request_id.isprintable():
        return f"request id {request_id[:40]!r}; expected at most {ID_LENGTH_MAX} printable characters"
    return ""


def _put_in(change: Supplied | LevelSet) -> float:
    return change.put_in if isinstance(change, Supplied) else change.difference


def _same_edit(first: Change, change: Change) -> bool:
    """Whether two edits ask for the same; the slot is the book's own."""
    if isinstance(first, ConsumerSet) and isinstance(change, ConsumerSet):
        return (first.new, first.consumer) == (change.new, change.consumer)
    return first == change


def _reused(first: Change) -> str:
    if isinstance(first, Delivered):
        use = f"another delivery ({first.offered:g} {first.kind} from {first.drone} to {first.consumer})"
    elif isinstance(first, Supplied | LevelSet):
        use = f"a supply ({_put_in(first):g} {first.kind} on {first.drone})"
    else:
        use = "another edit of the consumers"
    return f"request {first.id} was used for {use}; choose a new id"
