"""The book of what is asked for: consumers, deliveries that count once, servers that count while they are
there.

    accepted       = min(offered, remaining)                                   one delivery request,
    answered and final remaining_mk   = demanded_mk - delivered_mk
    instantaneous kinds remaining_mk   = max(0, demanded_mk - sum_{i inside} supply_ik)
    0-depletion kinds, from presence

The arithmetic is `lgtc_core.world.rules`; the book adds memory: who asked what (a repeated request is
answered as the first time and changes nothing), who is where (with hysteresis at the disc's rim, and for as
long as its word is fresh), and which slot belongs to whom. Nothing here reads a clock and nothing raises on
bad requests: a refusal is an answer with a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.demand.consumer import ConsumerSpec, objection
from lgtc_core.demand.view import ConsumerView, DemandView
from lgtc_core.errors import InputError
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
    max_consumers: Annotated[int, Bounds(1, 4096), "Largest number of consumers at one time"] = 64


class Answer(NamedTuple):
    """Answer to an edit or a presence report; the message says why it was refused and is empty otherwise."""

    accepted: bool
    message: str = ""


class Delivery(NamedTuple):
    """Answer to a delivery request (lgtc_interfaces/Deliver)."""

    accepted: bool
    amount: float
    """What was taken: min(offered, remaining)."""
    remaining: float
    """Still missing of this kind at this consumer after the delivery; 0 when refused."""
    message: str = ""


class _Request(NamedTuple):
    """What a delivery request says besides its id."""

    drone: str
    consumer: str
    kind: str
    offered: float


@dataclass
class _Entry:
    """One consumer and what it was given."""

    spec: ConsumerSpec
    slot: int
    delivered: Array  # (r,) since it was added


class _Report(NamedTuple):
    """A drone's last word about itself."""

    stamp_s: float
    position_m: Array  # (2,); NaN: unknown
    supply: Array  # (r,)
    serving: bool
    place: str | None
    """Consumer in whose disc it counts, after hysteresis."""


class DemandBook:
    """What is asked for, delivered and served.

    Args:
        kinds: names of the r resource kinds.
        drones: names of the drones that may deliver and serve.
        arena: consumers must lie in it; None: anywhere.
        presence_only: kinds that cannot be handed over (batteries).
        params: hysteresis, lifetimes and limits.
    """

    def __init__(
        self,
        kinds: Iterable[str],
        drones: Iterable[str],
        arena: Arena | None = None,
        presence_only: Iterable[str] = (),
        params: BookParams | None = None,
    ) -> None:
        self.kinds = tuple(kinds)
        self.drones = tuple(sorted(drones))
        self.params = params or BookParams()
        self._arena = arena
        self._presence_only = frozenset(presence_only)
        self._entries: dict[str, _Entry] = {}
        self._answers: dict[str, tuple[_Request, Delivery]] = {}
        self._delivered_by = {drone: np.zeros(len(self.kinds)) for drone in self.drones}
        self._reports: dict[str, _Report] = {}
        self._edits = 0
        self._view = DemandView(0, self.kinds, ())
        self._shown: object = None

    @classmethod
    def for_team(cls, team: Team, params: BookParams | None = None) -> DemandBook:
        """The book of a team's scenario at its start, consumers entered.

        Raises:
            InputError: the book refuses a consumer, e.g. because there are more than `max_consumers`.
        """
        batteries = {drone.battery_kind for drone in team.drones} - {None}
        book = cls(team.kinds, team.names, team.arena, (kind for kind in batteries if kind), params)
        for consumer in team.consumers:
            answer = book.add(consumer)
            if not answer.accepted:
                raise InputError(f"scenario {team.scenario}", answer.message, "consumers that the demand book can hold")
        return book

    # ---- consumers ----------------------------------------

    def add(self, consumer: ConsumerSpec) -> Answer:
        """Enter a new consumer in the lowest free slot."""
        if consumer.name in self._entries:
            return Answer(False, f"consumer {consumer.name} exists already; change or remove it")
        if len(self._entries) >= self.params.max_consumers:
            return Answer(False, f"{len(self._entries)} consumers exist, the most there may be; remove one first")
        refusal = self._refusal(consumer)
        if refusal:
            return refusal
        taken = {entry.slot for entry in self._entries.values()}
        slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
        self._entries[consumer.name] = _Entry(consumer, slot, np.zeros(len(self.kinds)))
        return self._edited()

    def change(self, consumer: ConsumerSpec) -> Answer:
        """Replace position, radius and demand; the slot and what was delivered stay."""
        entry = self._entries.get(consumer.name)
        if entry is None:
            return self._unknown_consumer(consumer.name)
        refusal = self._refusal(consumer)
        if refusal:
            return refusal
        entry.spec = consumer
        return self._edited()

    def remove(self, name: str) -> Answer:
        """Strike a consumer out; what it was given stays given, its slot becomes free."""
        if self._entries.pop(name, None) is None:
            return self._unknown_consumer(name)
        return self._edited()

    # ---- deliveries ----------------------------------------

    def deliver(self, request_id: str, drone: str, consumer: str, kind: str, offered: float) -> Delivery:
        """Hand over an amount of an instantaneous kind, once per request id.

        A request id that was answered is answered the same again, and changes nothing; with another content
        it is refused. Ids are kept for the life of the book.

        Args:
            request_id: chosen by the sender, unique for ever.
            drone: who delivers.
            consumer: to whom.
            kind: name of the resource kind.
            offered: amount offered, > 0.
        """
        request = _Request(drone, consumer, kind, offered)
        if not request_id:
            return _refused("an empty request id; choose one that is unique for ever")
        if request_id in self._answers:
            first, answer = self._answers[request_id]
            if request == first:
                return answer
            return _refused(f"request {request_id} was used for another delivery ({_words(first)}); choose a new id")
        if not (math.isfinite(offered) and offered > 0):
            return _refused(f"an offer of {offered:g}; expected a finite amount above 0")
        if drone not in self._delivered_by:
            return _refused(f"unknown drone {drone!r}; known are {', '.join(self.drones)}")
        answer = self._hand_over(request)
        self._answers[request_id] = (request, answer)
        return answer

    def delivered_by(self, drone: str) -> Array:
        """What a drone has delivered in total, per kind (r,), removed consumers included."""
        return self._delivered_by[drone].copy()

    # ---- presence ----------------------------------------

    def presence(
        self, drone: str, stamp_s: float, position_m: npt.ArrayLike, supply: npt.ArrayLike, serving: bool
    ) -> Answer:
        """A drone's word about where it is and what it carries.

        Args:
            drone: who speaks.
            stamp_s: when this was true [s].
            position_m: (2,) world frame [m]; NaN: unknown, it serves nowhere.
            supply: (r,) carried amount per kind.
            serving: whether its supply counts inside a disc (it flies on mission).
        """
        position, carried = np.array(position_m, float), np.array(supply, float)
        if drone not in self._delivered_by:
            return Answer(False, f"unknown drone {drone!r}; known are {', '.join(self.drones)}")
        if not math.isfinite(stamp_s):
            return Answer(False, f"presence of {drone}: got a stamp of {stamp_s}; expected a finite time [s]")
        if position.shape != (2,):
            return Answer(False, f"presence of {drone}: got a position of shape {position.shape}; expected (2,)")
        if carried.shape != (len(self.kinds),) or not (np.isfinite(carried) & (carried >= 0)).all():
            return Answer(
                False,
                f"presence of {drone}: got the supply {carried.tolist()};"
                f" expected {len(self.kinds)} finite amounts of at least 0",
            )
        last = self._reports.get(drone)
        if last is not None and stamp_s <= last.stamp_s:
            return Answer(
                False, f"presence of {drone} at {stamp_s:g} s is not newer than the one at {last.stamp_s:g} s"
            )
        fresh = last is not None and stamp_s - last.stamp_s <= self.params.presence_lifetime_s
        place = self._place(position, last.place if last is not None and fresh else None)
        self._reports[drone] = _Report(stamp_s, position, carried, serving, place)
        return Answer(True)

    # ---- view ----------------------------------------

    def view(self, now_s: float) -> DemandView:
        """All that is asked for at `now_s` [s]. The revision rises if anything differs from the view before."""
        entries = sorted(self._entries.values(), key=lambda entry: entry.slot)
        demanded, kind = self._table(entries)
        inside, supply = self._present(entries, now_s)
        covered = rules.cover(inside, supply, demanded, kind)
        delivered = np.array([entry.delivered for entry in entries]).reshape(demanded.shape)
        remaining = rules.remaining(demanded, delivered, covered, kind)
        serves = rules.serving(inside, supply, demanded, kind).any(-1)
        servers = [
            tuple(drone for drone, counts in zip(self.drones, column, strict=True) if counts) for column in serves.T
        ]
        shown = (self._edits, remaining.tobytes(), tuple(servers))
        if shown != self._shown:
            self._shown = shown
            for table in (demanded, kind, remaining):
                table.setflags(write=False)
            consumers = (
                ConsumerView(
                    entry.spec.name,
                    entry.slot,
                    np.array(entry.spec.position_m),
                    entry.spec.radius_m,
                    demanded[m],
                    remaining[m],
                    kind[m],
                    servers[m],
                )
                for m, entry in enumerate(entries)
            )
            self._view = DemandView(self._view.revision + 1, self.kinds, tuple(consumers))
        return self._view

    # ---- inside ----------------------------------------

    def _hand_over(self, request: _Request) -> Delivery:
        """The one place where an amount changes hands."""
        entry = self._entries.get(request.consumer)
        if entry is None:
            return _refused(self._unknown_consumer(request.consumer).message)
        if request.kind not in self.kinds:
            return _refused(f"unknown resource kind {request.kind!r}; known are {', '.join(self.kinds)}")
        k = self.kinds.index(request.kind)
        if entry.spec.depletion[k] != rules.INSTANTANEOUS or request.kind in self._presence_only:
            return _refused(
                f"{request.kind} at {request.consumer} is served by staying there; it cannot be handed over"
            )
        missing = max(0.0, entry.spec.demanded[k] - float(entry.delivered[k]))
        amount = float(rules.accept(np.float64(request.offered), np.float64(missing)))
        entry.delivered[k] += amount
        self._delivered_by[request.drone][k] += amount
        return Delivery(True, amount, max(0.0, entry.spec.demanded[k] - float(entry.delivered[k])))

    def _refusal(self, consumer: ConsumerSpec) -> Answer | None:
        others = (entry.spec for entry in self._entries.values())
        against = objection(consumer, others, self.kinds, self._arena, self._presence_only)
        return Answer(False, f"consumer {consumer.name!r}: {against}") if against else None

    def _unknown_consumer(self, name: str) -> Answer:
        return Answer(False, f"unknown consumer {name!r}; known are {', '.join(sorted(self._entries)) or 'none'}")

    def _edited(self) -> Answer:
        """Consumers changed: count it, and look anew where everybody is."""
        self._edits += 1
        for drone, report in self._reports.items():
            self._reports[drone] = report._replace(place=self._place(report.position_m, report.place))
        return Answer(True)

    def _place(self, position_m: Array, before: str | None) -> str | None:
        """Consumer in whose disc a drone counts: the one it is in; else the one it counted in, until beyond
        the rim.
        """
        for name, entry in self._entries.items():
            if math.dist(position_m, entry.spec.position_m) <= entry.spec.radius_m:
                return name
        entry_before = self._entries.get(before) if before is not None else None
        if entry_before is not None:
            reach_m = entry_before.spec.radius_m * (1.0 + self.params.rim_fraction)
            if math.dist(position_m, entry_before.spec.position_m) <= reach_m:
                return before
        return None

    def _table(self, entries: list[_Entry]) -> tuple[Array, npt.NDArray[np.int64]]:
        """Demanded amounts and depletion kinds, both (M, r)."""
        shape = (len(entries), len(self.kinds))
        demanded = np.array([entry.spec.demanded for entry in entries], float).reshape(shape)
        kind = np.array([entry.spec.depletion for entry in entries], np.int64).reshape(shape)
        return demanded, kind

    def _present(self, entries: list[_Entry], now_s: float) -> tuple[npt.NDArray[np.bool_], Array]:
        """Which drone counts where (N, M), and what it carries (N, r), by what is known and fresh at
        `now_s`.
        """
        inside = np.zeros((len(self.drones), len(entries)), bool)
        supply = np.zeros((len(self.drones), len(self.kinds)))
        column = {entry.spec.name: m for m, entry in enumerate(entries)}
        for n, drone in enumerate(self.drones):
            report = self._reports.get(drone)
            if report is None or not report.serving or report.place is None:
                continue
            if now_s - report.stamp_s <= self.params.presence_lifetime_s:
                inside[n, column[report.place]] = True
                supply[n] = report.supply
        return inside, supply


def _refused(message: str) -> Delivery:
    return Delivery(False, 0.0, 0.0, message)


def _words(request: _Request) -> str:
    return f"{request.offered:g} {request.kind} from {request.drone} to {request.consumer}"
