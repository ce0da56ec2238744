"""Whether ledger, bag and report tell the same of one flight: amounts handed over, carried and missing, time served.

    delivered_mk   ledger: sum of the deliveries          bag: demanded - remaining in the mission's last demand
    carried_ik     ledger: put in - given                 bag: supply in the drone's last resource state
    served_im      ledger: sum of departures - arrivals   bag: time in which /demand names the drone as server
    share met      ledger: missing of what is handed over report: its share at the end of the mission

Amounts travel as float32 and add up in float64. A visit begins in the ledger with the drone's word and in the bag with
the next demand, so that each may differ by the periods of both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lgtc_analysis import metrics
from lgtc_analysis.flight import Flight
from lgtc_core.demand.accounts import Accounts, Arrived, Change, Departed
from lgtc_core.demand.ledger import LedgerReader
from lgtc_core.demand.view import NEGLIGIBLE_AMOUNT
from lgtc_core.world import rules

VISIT_S = 0.3
"""How much one visit may differ: two periods of resources and demand, and a tick [s]."""


class Compared(NamedTuple):
    """One figure that two sources tell."""

    what: str
    ledger: float
    other: float
    """What the bag, or the report, says."""
    tolerance: float

    @property
    def differs(self) -> bool:
        """Whether they differ by more than they may."""
        return not abs(self.ledger - self.other) <= self.tolerance


def compare(flight: Flight, ledger: Path | str) -> tuple[Compared, ...]:
    """Every figure of a flight that both its ledger and its bag tell.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    with LedgerReader(ledger) as reader:
        accounts = reader.audit().accounts
        # Where rows were folded, what is known of visits to consumers that went is their sum.
        changes = None if reader.folded else [row.change for row in reader.rows()]
    served_s, visits = _served_s(accounts, changes)
    rows = np.flatnonzero(metrics.within(flight.demand, flight.active_s))
    if not len(rows):
        return ()
    last, time_s = int(rows[-1]), flight.demand.time_s
    span_s = np.diff(time_s[rows], append=time_s[last])
    result = [*_amounts(flight, accounts, last), *_shares(flight, accounts, last)]
    serving = flight.demand.serving[rows]
    for i, drone in enumerate(flight.names):
        for j, consumer in enumerate(flight.demand.names):
            seen_s = float(span_s[serving[:, j, i]].sum())
            key = (drone, consumer)
            if changes is not None and (seen_s or key in visits):
                ended_s = served_s[key] + _unfinished_s(flight, accounts, drone, consumer)
                result.append(
                    Compared(f"{drone} served {consumer} [s]", ended_s, seen_s, VISIT_S * max(1, visits[key]))
                )
        if changes is None:
            ended_s = served_s[drone, ""] + _unfinished_s(flight, accounts, drone)
            seen_s = float(span_s[serving[:, :, i].any(1)].sum())
            result.append(Compared(f"{drone} served [s]", ended_s, seen_s, VISIT_S * max(1, visits[drone, ""])))
    return tuple(result)


def _amounts(flight: Flight, accounts: Accounts, last: int) -> list[Compared]:
    """Amounts delivered per consumer, and carried per drone, at the mission's end."""
    demand, result = flight.demand, []
    for name, entry in accounts.entries.items():
        j = demand.names.index(name) if name in demand.names else -1
        for k, kind in enumerate(accounts.kinds):
            if j >= 0 and entry.spec.depletion[k] == rules.INSTANTANEOUS and entry.spec.demanded[k] > 0:
                got = float(demand.demanded[last, j, k] - demand.remaining[last, j, k])
                booked = min(float(entry.delivered[k]), entry.spec.demanded[k])
                result.append(Compared(f"{kind} delivered to {name}", booked, got, _small(entry.spec.demanded[k])))
    for drone in flight.drones.values():
        for k, kind in enumerate(accounts.kinds):
            carried = accounts.carried(drone.name, k)
            if np.isfinite(carried) and len(drone.resources):
                said = float(drone.resources.supply[-1, k])
                result.append(Compared(f"{kind} on {drone.name}", carried, said, _small(carried)))
    return result


def _shares(flight: Flight, accounts: Accounts, last: int) -> list[Compared]:
    """Share met, as the report shows it, where nothing but what is handed over is asked for."""
    share, result = metrics.share_met_per_consumer(flight), []
    for name, entry in accounts.entries.items():
        asked = np.array(entry.spec.demanded)
        by_hand = np.array(entry.spec.depletion) == rules.INSTANTANEOUS
        if name in flight.demand.names and asked.any() and by_hand[asked > 0].all():
            met = 1.0 - sum(entry.missing(k) for k in range(len(asked))) / asked.sum()
            shown = float(share[last, flight.demand.names.index(name)])
            result.append(Compared(f"share met at {name} in the report", met, shown, _small(1.0)))
    return result


def _served_s(
    accounts: Accounts, changes: Sequence[Change] | None
) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], int]]:
    """Seconds and number of the visits that ended: per drone and consumer by all changes; where these are not known,
    per drone and "" by the accounts.
    """
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    visits: dict[tuple[str, str], int] = defaultdict(int)
    if changes is None:
        for one in accounts.served.values():
            seconds[one.drone, ""] += one.seconds
            visits[one.drone, ""] += one.visits
        return seconds, visits
    arrivals: dict[str, Arrived] = {}
    for change in changes:
        if isinstance(change, Arrived):
            arrivals[change.id] = change
            visits[change.drone, change.consumer] += 1
        elif isinstance(change, Departed):
            begun = arrivals.pop(change.visit)
            seconds[begun.drone, begun.consumer] += change.stamp_s - begun.stamp_s
    return seconds, visits


def _unfinished_s(flight: Flight, accounts: Accounts, drone: str, consumer: str = "") -> float:
    """Length of a visit, there or anywhere, that had not ended when the ledger was closed [s]."""
    arrival = accounts.serving.get(drone)
    if arrival is None or consumer not in ("", arrival.consumer):
        return 0.0
    return max(0.0, float(flight.demand.stamp_ns[-1]) * 1e-9 - arrival.stamp_s)


def _small(amount: float) -> float:
    return 10.0 * NEGLIGIBLE_AMOUNT * max(1.0, amount)
