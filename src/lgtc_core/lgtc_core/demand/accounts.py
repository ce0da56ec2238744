"""What is put in, handed over and left: the state behind the demand book, and the changes that make it.

    carried_ik   = put_in_ik - given_ik                      supply on drone i, instantaneous kinds
    missing_mk   = max(0, demanded_mk - delivered_mk)
    sum_i given_ik = sum_m delivered_mk + struck_k           what was given is somewhere, removed consumers included

State is changed by `Accounts.apply` alone, and a `Change` says everything that it needs. So the state is the
fold of its changes: a ledger that holds these holds the state, after a crash and at any time of the past.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from lgtc_core import schema
from lgtc_core.demand.consumer import ConsumerSpec
from lgtc_core.schema import Bounds

Array = npt.NDArray[np.float64]

START = ":start:"
"""In the id of a change that its sender repeats at every start: it is known for ever."""
REMEMBERED = 100_000
"""Changes that a journal in memory knows again."""
TOLERANCE = 1e-9
"""Rounding that a balance may show, relative to its largest term (or 1): sums of many float64 amounts."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something that happened once."""

    id: Annotated[str, "Chosen by the sender, unique for ever"]


@dataclass(frozen=True, kw_only=True)
class ConsumerSet(Change):
    """A consumer came, or asks for something else from now on."""

    new: Annotated[bool, "True: it came"]
    slot: Annotated[int, Bounds(0, 2**31), "Its stable index"]
    consumer: Annotated[ConsumerSpec, "As it is now"]


@dataclass(frozen=True, kw_only=True)
class ConsumerRemoved(Change):
    """A consumer went; what it was given stays given."""

    name: Annotated[str, "Its name"]


@dataclass(frozen=True, kw_only=True)
class Delivered(Change):
    """A delivery request and its final answer, refusals included."""

    drone: Annotated[str, "Who delivers"]
    consumer: Annotated[str, "To whom"]
    kind: Annotated[str, "Resource kind"]
    offered: Annotated[float, Bounds(0.0), "Amount offered"]
    accepted: Annotated[bool, "False: refused, the amount is 0"]
    amount: Annotated[float, Bounds(0.0), "Amount that changed hands"]
    remaining: Annotated[float, Bounds(0.0), "Still missing of this kind there, afterwards"]
    message: Annotated[str, "Why it was refused; else empty"] = ""

    @property
    def request(self) -> tuple[str, str, str, float]:
        """What was asked, besides the id."""
        return (self.drone, self.consumer, self.kind, self.offered)


@dataclass(frozen=True, kw_only=True)
class Supplied(Change):
    """A drone was loaded, or unloaded, by hand."""

    drone: Annotated[str, "Who"]
    kind: Annotated[str, "Resource kind"]
    put_in: Annotated[float, Bounds(), "Amount put in; negative: taken out"]
    carried: Annotated[float, Bounds(0.0), "What it carries of it, afterwards"]


@dataclass(frozen=True, kw_only=True)
class LevelSet(Change):
    """The level of a drone's battery was set by hand. It is in no sum: a battery is measured, not handed over."""

    drone: Annotated[str, "Whose"]
    kind: Annotated[str, "Resource kind"]
    difference: Annotated[float, Bounds(-1.0, 1.0), "By how much the level that counts was changed"]


@dataclass(frozen=True, kw_only=True)
class Arrived(Change):
    """A drone begins to serve a 0-depletion demand."""

    drone: Annotated[str, "Who"]
    consumer: Annotated[str, "Where"]
    stamp_s: Annotated[float, Bounds(), "Since when, ROS time [s]"]
    position_m: Annotated[tuple[float, float], Bounds(unit="m"), "Where it was, world frame"]
    supply: Annotated[tuple[float, ...], Bounds(0.0), "What it carried per kind (r,)"]


@dataclass(frozen=True, kw_only=True)
class Departed(Change):
    """A drone no longer serves where it arrived."""

    visit: Annotated[str, "Id of the arrival"]
    drone: Annotated[str, "Who"]
    stamp_s: Annotated[float, Bounds(), "Until when, ROS time [s]"]


CHANGES: Mapping[str, type[Change]] = {
    "consumer_set": ConsumerSet,
    "consumer_removed": ConsumerRemoved,
    "delivered": Delivered,
    "supplied": Supplied,
    "level_set": LevelSet,
    "arrived": Arrived,
    "departed": Departed,
}
"""Names of the changes, as they are stored."""


class Journal(Protocol):
    """Where changes are recorded before they take effect."""

    def write(self, changes: Iterable[Change]) -> None:
        """Record all or none.

        Raises:
            LedgerError: they could not be recorded; nothing was.
        """

    def find(self, change_id: str) -> Change | None:
        """The change of that id, if there was one.

        Raises:
            LedgerError: it could not be looked up.
        """

    def applied(self, accounts: Accounts) -> None:
        """All that was written has taken effect in `accounts`; a good moment to tidy up."""


class MemoryJournal:
    """A journal that ends with its process. It knows the last REMEMBERED changes again, and those of the start."""

    def __init__(self) -> None:
        self._changes: dict[str, Change] = {}
        self._lasting: dict[str, Change] = {}

    def write(self, changes: Iterable[Change]) -> None:
        """Remember them."""
        for change in changes:
            (self._lasting if START in change.id else self._changes)[change.id] = change
        while len(self._changes) > REMEMBERED:
            del self._changes[next(iter(self._changes))]

    def find(self, change_id: str) -> Change | None:
        """The change of that id."""
        return self._changes.get(change_id) or self._lasting.get(change_id)

    def applied(self, accounts: Accounts) -> None:
        """Nothing to tidy up."""


@dataclass
class Entry:
    """One consumer and what it was given."""

    spec: ConsumerSpec
    slot: int
    delivered: Array  # (r,) since it was added

    def missing(self, k: int) -> float:
        """Amount of kind k that was never delivered."""
        return max(0.0, self.spec.demanded[k] - float(self.delivered[k]))


@dataclass(frozen=True, kw_only=True)
class Served:
    """Visits of one drone to one consumer, or to all that have gone since, that have ended."""

    drone: Annotated[str, "Who"]
    consumer: Annotated[str, "Where; empty: at consumers that have gone since"]
    visits: Annotated[int, Bounds(0, 2**62), "How many"] = 0
    seconds: Annotated[float, Bounds(0.0, unit="s"), "How long, in all"] = 0.0


@dataclass(frozen=True, kw_only=True)
class _EntryData:
    """An entry as it is stored."""

    spec: Annotated[ConsumerSpec, "The consumer"]
    slot: Annotated[int, Bounds(0, 2**31), "Its slot"]
    delivered: Annotated[tuple[float, ...], Bounds(0.0), "What it was given (r,)"]


@dataclass(frozen=True, kw_only=True)
class _AccountsData:
    """Accounts as they are stored."""

    kinds: Annotated[tuple[str, ...], "Resource kinds"]
    entries: Annotated[tuple[_EntryData, ...], "Consumers"]
    given: Annotated[Mapping[str, tuple[float, ...]], Bounds(0.0), "Per drone (r,)"]
    put_in: Annotated[Mapping[str, tuple[float | None, ...]], Bounds(), "Per drone (r,); null: unknown"]
    struck: Annotated[tuple[float, ...], Bounds(0.0), "Given to consumers that went (r,)"]
    serving: Annotated[tuple[Arrived, ...], "Who serves"]
    served: Annotated[tuple[Served, ...], "Who served"]
    edits: Annotated[int, Bounds(0, 2**62), "Changes of consumers so far"]
    visits: Annotated[int, Bounds(0, 2**62), "Arrivals so far"]


class Imbalance(NamedTuple):
    """Two sums that should be equal, or an amount that should not be negative."""

    what: str
    got: float
    expected: float

    def __str__(self) -> str:
        return f"{self.what}: got {self.got:.9g}; expected {self.expected:.9g}"


class Accounts:
    """The state: consumers, amounts, who serves.

    Args:
        kinds: names of the r resource kinds.
        drones: names of the drones known from the start; others open an account with their first change.
    """

    def __init__(self, kinds: Iterable[str], drones: Iterable[str] = ()) -> None:
        self.kinds = tuple(kinds)
        self.entries: dict[str, Entry] = {}
        self.given: dict[str, Array] = {drone: np.zeros(len(self.kinds)) for drone in drones}
        self.put_in: dict[str, Array] = {}
        """Per drone (r,); NaN: never said, so that nothing is known about what it carries."""
        self.struck = np.zeros(len(self.kinds))
        self.serving: dict[str, Arrived] = {}
        """Per drone its arrival where it serves now."""
        self.served: dict[tuple[str, str], Served] = {}
        """Per drone and consumer the visits that ended."""
        self.edits = 0
        self.visits = 0

    def carried(self, drone: str, k: int) -> float:
        """What a drone still carries of kind k by what was put in and given; NaN: unknown."""
        put_in = self.put_in.get(drone)
        if put_in is None:
            return math.nan
        given = self.given.get(drone)
        return float(put_in[k] - (0.0 if given is None else given[k]))

    def apply(self, change: Change) -> None:
        """Let a change take effect.

        Raises:
            ValueError: it cannot follow on this state (only if a record was damaged).
        """
        if isinstance(change, Delivered):
            self._delivered(change)
        elif isinstance(change, Arrived):
            self.serving[change.drone] = change
            self.visits += 1
        elif isinstance(change, Departed):
            arrival = self.serving.get(change.drone)
            if arrival is not None and arrival.id == change.visit:
                del self.serving[change.drone]
                place = arrival.consumer if arrival.consumer in self.entries else ""
                self._count(
                    Served(
                        drone=change.drone,
                        consumer=place,
                        visits=1,
                        seconds=max(0.0, change.stamp_s - arrival.stamp_s),
                    )
                )
        elif isinstance(change, Supplied):
            self._supplied(change)
        elif isinstance(change, ConsumerSet):
            self._set(change)
        elif isinstance(change, ConsumerRemoved):
            self.struck = self.struck + self._entry(change.name).delivered
            del self.entries[change.name]
            for drone, place in [key for key in self.served if key[1] == change.name]:
                self._count(replace(self.served.pop((drone, place)), consumer=""))
            self.edits += 1
        elif not isinstance(change, LevelSet):
            raise ValueError(f"no rule for a {type(change).__name__}")

    def imbalances(self) -> list[Imbalance]:
        """Where the sums do not add up; empty when all is well."""
        found = []
        for k, kind in enumerate(self.kinds):
            given = math.fsum(float(amounts[k]) for amounts in self.given.values())
            there = math.fsum(float(entry.delivered[k]) for entry in self.entries.values()) + float(self.struck[k])
            if _differ(given, there):
                found.append(Imbalance(f"{kind} given by all drones, against what consumers got", given, there))
            for drone, put_in in self.put_in.items():
                carried = self.carried(drone, k)
                if carried < -TOLERANCE * max(1.0, float(put_in[k])):
                    found.append(Imbalance(f"{kind} on {drone}, put in less given", carried, 0.0))
        return found

    def dump(self) -> dict[str, Any]:
        """Plain data, fit for JSON; `load` takes it back."""
        data = _AccountsData(
            kinds=self.kinds,
            entries=tuple(
                _EntryData(spec=entry.spec, slot=entry.slot, delivered=tuple(map(float, entry.delivered)))
                for entry in self.entries.values()
            ),
            given={drone: tuple(map(float, amounts)) for drone, amounts in self.given.items()},
            put_in={
                drone: tuple(None if math.isnan(amount) else float(amount) for amount in amounts)
                for drone, amounts in self.put_in.items()
            },
            struck=tuple(map(float, self.struck)),
            serving=tuple(self.serving.values()),
            served=tuple(self.served.values()),
            edits=self.edits,
            visits=self.visits,
        )
        plain: dict[str, Any] = schema.dump(data)
        return plain

    @classmethod
    def load(cls, plain: object, source: str) -> Accounts:
        """Accounts from what `dump` gave; `source` says in errors where it came from.

        Raises:
            ConfigError: the data is not that of accounts.
        """
        data = schema.build(_AccountsData, plain, source)
        accounts = cls(data.kinds)
        accounts.entries = {
            entry.spec.name: Entry(entry.spec, entry.slot, np.array(entry.delivered, float)) for entry in data.entries
        }
        accounts.given = {drone: np.array(amounts, float) for drone, amounts in data.given.items()}
        accounts.put_in = {drone: np.array(amounts, float) for drone, amounts in data.put_in.items()}
        accounts.struck = np.array(data.struck, float)
        accounts.serving = {arrival.drone: arrival for arrival in data.serving}
        accounts.served = {(one.drone, one.consumer): one for one in data.served}
        accounts.edits, accounts.visits = data.edits, data.visits
        return accounts

    def _count(self, more: Served) -> None:
        """Add visits that ended."""
        key = more.drone, more.consumer
        sums = self.served.get(key, Served(drone=more.drone, consumer=more.consumer))
        self.served[key] = replace(sums, visits=sums.visits + more.visits, seconds=sums.seconds + more.seconds)

    def _given(self, drone: str) -> Array:
        return self.given.setdefault(drone, np.zeros(len(self.kinds)))

    def _entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise ValueError(f"no consumer {name!r} at that moment")
        return self.entries[name]

    def _delivered(self, change: Delivered) -> None:
        if change.accepted:
            k = self.kinds.index(change.kind)
            self._entry(change.consumer).delivered[k] += change.amount
            self._given(change.drone)[k] += change.amount

    def _supplied(self, change: Supplied) -> None:
        k = self.kinds.index(change.kind)
        put_in = self.put_in.setdefault(change.drone, np.full(len(self.kinds), math.nan))
        if math.isnan(put_in[k]):
            put_in[k] = self._given(change.drone)[k]
        put_in[k] += change.put_in

    def _set(self, change: ConsumerSet) -> None:
        if change.new:
            self.entries[change.consumer.name] = Entry(change.consumer, change.slot, np.zeros(len(self.kinds)))
        else:
            self._entry(change.consumer.name).spec = change.consumer
        self.edits += 1


def _differ(a: float, b: float) -> bool:
    return abs(a - b) > TOLERANCE * max(1.0, abs(a), abs(b))
