"""How faults act on messages and sensors. Pure, and the same for nodes and offline loop; kinds: fleet/fault.py.

Everything random is drawn from a seed and the receiver's name, so that equal seeds fail alike.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from lgtc_core.fleet.fault import LINK_KINDS, Fault, FaultKind
from lgtc_core.wire import Pose

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
T = TypeVar("T")


class Schedule:
    """Which faults hold when: those of the scenario by the mission's time, those added by hand from then on.

    Args:
        faults: of the scenario.
    """

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._planned = tuple(faults)
        self._added: list[tuple[float, Fault]] = []

    def add(self, now_s: float, fault: Fault) -> None:
        """From `now_s` + its `start_s` on."""
        self._added.append((now_s, fault))

    def clear(self) -> int:
        """Nothing goes wrong any more; how many faults were planned, holding or to come."""
        count = len(self._planned) + len(self._added)
        self._planned, self._added = (), []
        return count

    def holding(self, now_s: float, active_s: float | None) -> tuple[Fault, ...]:
        """The faults that hold at `now_s`; `active_s`: when the policies took over, None: they have not yet."""
        if not (self._planned or self._added):
            return ()
        dated = [*self._added] if active_s is None else [*((active_s, fault) for fault in self._planned), *self._added]
        return tuple(fault for since_s, fault in dated if _holds(fault, now_s - since_s))


def _holds(fault: Fault, elapsed_s: float) -> bool:
    end_s = math.inf if fault.duration_s is None else fault.start_s + fault.duration_s
    return fault.start_s <= elapsed_s + 1e-9 and elapsed_s < end_s - 1e-9


class Arrived(NamedTuple, Generic[T]):
    """k messages that have arrived, in the order of arrival."""

    receiver: Ints  # (k,) index into the receivers
    sender: Ints  # (k,) index into the senders of its batch
    batch: Ints  # (k,) index into `batches`
    batches: list[T]


class Links(Generic[T]):
    """The receiving ends of the messages that some drones hear from others.

    Args:
        receivers: R drones.
        seed: of everything random.
        purpose: tells several links of one drone apart, so that they do not lose the same messages.
    """

    def __init__(self, receivers: Sequence[str], seed: int, purpose: str = "") -> None:
        self.receivers = tuple(receivers)
        self.faults: tuple[Fault, ...] = ()
        self._random = np.random.default_rng([*f"{seed}/{'/'.join(self.receivers)}/{purpose}".encode()])
        nothing = np.zeros(0, np.int64)
        self._under_way = _UnderWay(np.zeros(0), nothing, nothing, nothing)
        self._batches: dict[int, T] = {}
        self._count = 0
        self._touched: dict[tuple[str, ...], list[Bools]] = {}

    @property
    def clear(self) -> bool:
        """Whether every message arrives at once: then nobody needs to ask these links."""
        return not self.faults and not self._batches

    def apply(self, faults: Iterable[Fault]) -> None:
        """These faults hold from now on; what is under way arrives as it was to."""
        self.faults = tuple(fault for fault in faults if fault.kind in LINK_KINDS)
        self._touched.clear()

    def send(self, now_s: float, senders: Sequence[str], heard: Bools, batch: T) -> None:
        """Messages were sent at one moment; `due` gives what arrives of them.

        Args:
            now_s: when [s].
            senders: of S messages.
            heard: (R, S) who is to hear whom.
            batch: the messages.
        """
        late_s, copies, passed = np.zeros(heard.shape), np.ones(heard.shape, np.int64), heard.copy()
        for fault, touched in zip(self.faults, self._touches(tuple(senders)), strict=True):
            amount = fault.amount or 0.0
            if fault.kind is FaultKind.PARTITION:
                passed &= ~touched
            elif fault.kind is FaultKind.LOSS:
                passed &= ~(touched & (self._random.random(heard.shape) < amount))
            elif fault.kind is FaultKind.DELAY:
                late_s += amount * touched
            elif fault.kind is FaultKind.REORDERING:
                late_s += amount * touched * self._random.random(heard.shape)
            else:
                copies += touched & (self._random.random(heard.shape) < amount)
        receiver, sender = np.nonzero(passed)
        if len(receiver):
            times = copies[receiver, sender]
            receiver, sender = np.repeat(receiver, times), np.repeat(sender, times)
            number = np.full(len(receiver), self._count)
            sent = _UnderWay(now_s + late_s[receiver, sender], receiver, sender, number)
            self._under_way = self._under_way.and_then(sent)
            self._batches[self._count] = batch
            self._count += 1

    def due(self, now_s: float) -> Arrived[T] | None:
        """What has arrived by now, each copy once; None: nothing."""
        ready = self._under_way.due_s <= now_s + 1e-9
        if not ready.any():
            return None
        at = np.flatnonzero(ready)
        at = at[np.argsort(self._under_way.due_s[at], kind="stable")]
        came = self._under_way.only(at)
        numbers, batch = np.unique(came.number, return_inverse=True)
        arrived = Arrived(came.receiver, came.sender, batch, [self._batches[one] for one in numbers.tolist()])
        self._under_way = self._under_way.only(~ready)
        for one in set(numbers.tolist()).difference(self._under_way.number.tolist()):
            del self._batches[one]
        return arrived

    def _touches(self, senders: tuple[str, ...]) -> list[Bools]:
        """By fault, which links (R, S) it touches."""
        if senders not in self._touched:
            self._touched[senders] = [_touches(fault, self.receivers, senders) for fault in self.faults]
        return self._touched[senders]


class _UnderWay(NamedTuple):
    """Messages on their way, in the order in which they were sent."""

    due_s: Array
    receiver: Ints
    sender: Ints
    number: Ints
    """Of its batch."""

    def only(self, which: Ints | Bools) -> _UnderWay:
        """Some of them."""
        return _UnderWay(self.due_s[which], self.receiver[which], self.sender[which], self.number[which])

    def and_then(self, later: _UnderWay) -> _UnderWay:
        """These and later ones."""
        return _UnderWay(
            np.concatenate((self.due_s, later.due_s)),
            np.concatenate((self.receiver, later.receiver)),
            np.concatenate((self.sender, later.sender)),
            np.concatenate((self.number, later.number)),
        )


def _touches(fault: Fault, receivers: Sequence[str], senders: Sequence[str]) -> Bools:
    """Which links (R, S) a fault touches: those across its sides, or from or to a drone that it concerns."""
    if fault.kind is FaultKind.PARTITION:
        inside = [[name in fault.drones for name in names] for names in (receivers, senders)]
        return np.not_equal.outer(*inside)
    concerned = [[fault.concerns(name) for name in names] for names in (receivers, senders)]
    return np.logical_or.outer(*concerned)


class Sensors:
    """What faults make of measured poses.

    Args:
        seed: of the directions of jumps.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._frozen: dict[str, Array] = {}

    def forget(self) -> None:
        """No sensor is frozen any more: one that freezes again does so where its drone is then."""
        self._frozen = {}

    def measured(self, faults: Iterable[Fault], poses: dict[str, Pose]) -> dict[str, Pose]:
        """The poses that are told instead of the true ones."""
        faults = [fault for fault in faults if fault.kind in SENSOR_KINDS]
        told, frozen = {}, {}
        for name, pose in poses.items():
            position_m: Array | None = pose.position_m
            for fault in faults:
                if not fault.concerns(name) or position_m is None:
                    continue
                if fault.kind is FaultKind.SILENT_SENSOR:
                    position_m = None
                elif fault.kind is FaultKind.FROZEN_SENSOR:
                    position_m = frozen[name] = self._frozen.get(name, position_m)
                else:
                    position_m = position_m + (fault.amount or 0.0) * direction(self._seed, name)
            if position_m is not None:
                told[name] = Pose(pose.stamp_s, position_m)
        self._frozen = frozen
        return told


SENSOR_KINDS = (FaultKind.SILENT_SENSOR, FaultKind.FROZEN_SENSOR, FaultKind.POSITION_JUMP)


def direction(seed: int, drone: str) -> Array:
    """Horizontal direction (3,) of what hits this drone: length one, of its own, equal for equal seeds."""
    angle = random.Random(f"{seed}/{drone}/direction").uniform(-math.pi, math.pi)
    return np.array([math.cos(angle), math.sin(angle), 0.0])


def total(faults: Iterable[Fault], kind: FaultKind, drone: str) -> float:
    """Sum of the amounts of one kind that concern a drone."""
    return math.fsum(fault.amount or 0.0 for fault in faults if fault.kind is kind and fault.concerns(drone))


def any_of(faults: Iterable[Fault], kind: FaultKind, drone: str) -> bool:
    """Whether a fault of this kind concerns a drone."""
    return any(fault.kind is kind and fault.concerns(drone) for fault in faults)


class Inbox(Generic[T]):
    """Hands one drone's messages from others over: at once while nothing goes wrong, by its link otherwise.

    Args:
        link: of one receiver.
        sender_of: who sent a message.
        take: takes messages that arrive together.
    """

    def __init__(
        self, link: Links[Sequence[T]], sender_of: Callable[[T], str], take: Callable[[Sequence[T]], object]
    ) -> None:
        self.link, self._sender_of, self._take = link, sender_of, take

    def put(self, now_s: float, items: Sequence[T]) -> None:
        """Messages of different senders came in together."""
        if self.link.clear:
            self._take(items)
            return
        senders = tuple(map(self._sender_of, items))
        self.link.send(now_s, senders, np.ones((1, len(senders)), np.bool_), items)
        self.deliver(now_s)

    def deliver(self, now_s: float) -> None:
        """Hand over what has arrived by now."""
        arrived = self.link.due(now_s)
        if arrived is not None:
            at = zip(arrived.batch.tolist(), arrived.sender.tolist(), strict=True)
            self._take([arrived.batches[batch][sender] for batch, sender in at])
