"""What one drone carries, and what it may still give away.

    free_k          = carried_k - sum of the offers of kind k that are not settled yet
    state of charge = min(measured, set by hand - measured discharge since then)

An offer keeps its amount reserved until the demand server has answered it, however often the request must
be repeated: so nothing is delivered twice, and nothing is lost when an answer is. The battery's kind
follows the state of charge; it can be lowered by hand on every backend ("reduce the level of one drone",
Section V) and discharges from there.

Where a ledger keeps count (`reported`), it is told what is put in, each time once, and it answers what is
carried: at the first start what the scenario says, after a restart what is left. Until it has answered,
nothing of that kind counts as carried, and nothing is offered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from lgtc_core.demand.accounts import START
from lgtc_core.demand.consumer import AMOUNT
from lgtc_core.demand.view import NEGLIGIBLE_AMOUNT, ConsumerView, DemandView
from lgtc_core.errors import InputError
from lgtc_core.world import rules

if TYPE_CHECKING:
    from lgtc_core.fleet.team import DroneSpec

Array = npt.NDArray[np.float64]


SEEN_MAX = 256
"""Consumers and kinds of which an account remembers the last answer, before it looks which of them still exist."""


class Offer(NamedTuple):
    """A delivery request to send (lgtc_interfaces/Deliver). The same offer may come up again: send it
    again, unchanged.
    """

    request_id: str
    consumer: str
    kind: str
    amount: float


class SupplyAnswer(NamedTuple):
    """Answer to a supply set by hand (lgtc_interfaces/SetSupply)."""

    accepted: bool
    amount: float
    """What is carried now."""
    message: str = ""
    load: str = ""
    """Id of the request that tells the ledger; empty: there is nothing to tell."""


class Load(NamedTuple):
    """A request to enter what was put in (lgtc_interfaces/PutIn). The same load may come up again: send it
    again, unchanged.
    """

    request_id: str
    kind: str
    amount: float
    """Difference to what was carried; at the start all of it."""


@dataclass
class _PendingLoad:
    """A load on its way."""

    load: Load
    k: int
    sent_s: float = -math.inf


@dataclass
class _Pending:
    """An offer on its way."""

    offer: Offer
    k: int
    sent_s: float
    revision: int
    """Revision of the view that it was made from."""


P = TypeVar("P", _Pending, _PendingLoad)


class SupplyAccount:
    """Supply of one drone.

    Args:
        drone: the drone, with what it sets out with (`supply`, for the battery's kind its first state of
        charge). kinds: names of the r resource kinds. session: makes request ids unique between starts of
        the process, e.g. the start time. retry_s: a request without an answer is repeated after this [s].
        reported: the demand server's ledger keeps count of what is put in; see `loads`.
    """

    def __init__(
        self,
        drone: DroneSpec,
        kinds: tuple[str, ...],
        session: str,
        retry_s: float = 0.5,
        reported: bool = False,
    ) -> None:
        self.drone, self.kinds, self.session, self.retry_s = drone.name, tuple(kinds), session, retry_s
        self._battery = self.kinds.index(drone.battery_kind) if drone.battery_kind is not None else None
        self._handed_over = [k for k in range(len(self.kinds)) if k != self._battery]
        """Kinds that can be offered."""
        self._carried = np.array(drone.supply, float)
        self._pending: dict[str, _Pending] = {}
        self._seen: dict[tuple[str, int], int] = {}
        self._sequence = 0
        self._measured = math.nan
        self._by_hand: tuple[float, float] | None = None
        """State of charge set by hand, and the one measured then (NaN: none yet)."""
        self._reported = reported
        self._loads: dict[str, _PendingLoad] = {}
        self._unknown = {k for k in range(len(self.kinds)) if reported and k != self._battery}
        """Kinds of which the ledger has not said yet what is carried."""
        for k in sorted(self._unknown):
            # The same id at every start: so it counts once, and is answered with what is left.
            self._put_in(f"{self.drone}{START}{self.kinds[k]}", k, float(self._carried[k]))

    @property
    def supply(self) -> Array:
        """Carried amount per kind (r,), offers that are not settled included; 0 until the ledger has said it."""
        result = self._carried.copy()
        if self._unknown:
            result[list(self._unknown)] = 0.0
        return result

    @property
    def charge(self) -> float:
        """State of charge that counts, 0 empty .. 1 full: min(measured, set by hand less what was discharged since);
        NaN while neither is known.
        """
        if self._by_hand is None:
            return self._measured
        level, measured_then = self._by_hand
        if math.isnan(self._measured) or math.isnan(measured_then):
            return level
        return min(self._measured, max(0.0, level - (measured_then - self._measured)))

    def set_supply(self, kind: str, amount: float) -> SupplyAnswer:
        """Set by hand what is carried of one kind.

        Of an instantaneous kind, what is offered and not settled yet stays reserved on top. Of the
        battery's kind, a level above the measured one has no effect beyond taking an earlier reduction
        back.
        """
        if kind not in self.kinds:
            return SupplyAnswer(
                False, 0.0, f"unknown resource kind {kind!r}; {self.drone} knows {', '.join(self.kinds)}"
            )
        k = self.kinds.index(kind)
        if k in self._unknown:
            return SupplyAnswer(
                False, 0.0, f"the ledger has not said yet how much {kind} {self.drone} carries; ask again"
            )
        top = 1.0 if k == self._battery else AMOUNT.hi
        if not 0.0 <= amount <= top:
            return SupplyAnswer(
                False,
                float(self._carried[k]),
                f"{kind} of {self.drone}: got {amount:g}; expected between 0 and {top:g}",
            )
        before = float(self._carried[k])
        if k == self._battery:
            self._by_hand = (amount, self._measured)
            self._carried[k] = self.charge
        else:
            self._carried[k] = amount + self._reserved(k)
        if self._reported and self._carried[k] != before:
            self._sequence += 1
            self._put_in(f"{self.drone}-{self.session}-load-{self._sequence}", k, float(self._carried[k]) - before)
        waiting = [request_id for request_id, pending in self._loads.items() if pending.k == k]
        return SupplyAnswer(True, float(self._carried[k]), load=waiting[-1] if waiting else "")

    def unbooked(self, request_id: str) -> bool:
        """Whether the ledger has not answered this load yet."""
        return request_id in self._loads

    def battery(self, state_of_charge: float) -> float:
        """Take in a measured state of charge; returns the one that counts.

        Args:
            state_of_charge: measured, 0 empty .. 1 full; NaN: unknown, what was known stays.
        """
        if math.isfinite(state_of_charge):
            self._measured = min(1.0, max(0.0, state_of_charge))
            if self._by_hand is not None and math.isnan(self._by_hand[1]):
                self._by_hand = (self._by_hand[0], self._measured)
        charge = self.charge
        if self._battery is not None and math.isfinite(charge):
            self._carried[self._battery] = charge
        return charge

    def offers(self, now_s: float, position_m: npt.ArrayLike | None, view: DemandView) -> list[Offer]:
        """Requests to send now: what may be released where the drone is, and what was sent and not answered
        in time.

        After an answer, a consumer is offered the same kind again only when a new view has come: the old
        one does not show yet what the answer changed.

        Args:
            now_s: time [s].
            position_m: (2,) world frame [m]; None (or NaN): unknown, or not on mission; then only repetitions.
            view: what is asked for.
        """
        repeated = [pending.offer for pending in self._due(now_s, self._pending.values())] if self._pending else []
        if position_m is None or not view.consumers:
            return repeated
        if len(self._seen) > SEEN_MAX:  # of consumers that are gone nothing need be known
            self._seen = {key: revision for key, revision in self._seen.items() if view.consumer(key[0]) is not None}
        given = [k for k in self._handed_over if self._may_give(k)]
        if not given:
            return repeated
        d_m, radius_m = view.discs_m[:, :2], view.discs_m[:, 2]
        inside = rules.inside(np.asarray(position_m, float)[None], d_m, radius_m)[0]
        here = (consumer for consumer, is_here in zip(view.consumers, inside.tolist(), strict=True) if is_here)
        return repeated + [offer for consumer in here for offer in self._new_offers(now_s, consumer, given, view)]

    def loads(self, now_s: float) -> list[Load]:
        """Requests to send now, so that the ledger knows what is carried: new ones and repetitions; none unless
        `reported`.
        """
        return [pending.load for pending in self._due(now_s, self._loads.values())] if self._loads else []

    def loaded(self, request_id: str, accepted: bool, carried: float) -> None:
        """The answer to a load. A second answer to the same load changes nothing.

        Args:
            request_id: of the load.
            accepted: False: refused; what was put in is taken back, but for a battery's level, which is measured.
            carried: what the drone carries by the ledger; NaN: unknown.
        """
        pending = self._loads.pop(request_id, None)
        if pending is None:
            return
        k = pending.k
        if k in self._unknown:
            self._unknown.discard(k)
            if math.isfinite(carried):
                self._carried[k] = max(0.0, carried)
        elif not accepted and k != self._battery:
            self._carried[k] = max(0.0, float(self._carried[k]) - pending.load.amount)

    def settle(self, request_id: str, amount: float) -> None:
        """The answer to an offer: what was taken (0 when refused). A second answer to the same offer
        changes nothing.

        Raises:
            InputError: the amount is not finite or negative; the offer stays unsettled and will be repeated.
        """
        pending = self._pending.get(request_id)
        if pending is None:
            return
        if not (math.isfinite(amount) and amount >= 0.0):
            raise InputError(f"answer to {request_id}", f"an amount of {amount:g}", "a finite amount of at least 0")
        del self._pending[request_id]
        taken = min(amount, pending.offer.amount)
        self._carried[pending.k] = max(0.0, self._carried[pending.k] - taken)
        self._seen[pending.offer.consumer, pending.k] = pending.revision

    def _due(self, now_s: float, waiting: Iterable[P]) -> list[P]:
        """Those of the requests without an answer that are to be sent now; they count as sent."""
        due = [pending for pending in waiting if now_s - pending.sent_s >= self.retry_s]
        for pending in due:
            pending.sent_s = now_s
        return due

    def _may_give(self, k: int) -> bool:
        """Whether there is anything of a kind that could be released now."""
        if not self._carried[k] > NEGLIGIBLE_AMOUNT or k in self._unknown:
            return False
        return not any(pending.k == k for pending in self._loads.values())

    def _new_offers(self, now_s: float, consumer: ConsumerView, given: list[int], view: DemandView) -> list[Offer]:
        result = []
        for k in given:
            if consumer.depletion[k] != rules.INSTANTANEOUS:
                continue
            if any(p.k == k and p.offer.consumer == consumer.name for p in self._pending.values()):
                continue
            if self._seen.get((consumer.name, k)) == view.revision:
                continue
            free = self._carried[k] - self._reserved(k)
            amount = float(rules.accept(np.float64(free), np.float64(consumer.remaining[k])))
            if amount > NEGLIGIBLE_AMOUNT:
                self._sequence += 1
                offer = Offer(f"{self.drone}-{self.session}-{self._sequence}", consumer.name, self.kinds[k], amount)
                self._pending[offer.request_id] = _Pending(offer, k, now_s, view.revision)
                result.append(offer)
        return result

    def _put_in(self, request_id: str, k: int, amount: float) -> None:
        self._loads[request_id] = _PendingLoad(Load(request_id, self.kinds[k], amount), k)

    def _reserved(self, k: int) -> float:
        return sum(pending.offer.amount for pending in self._pending.values() if pending.k == k)
