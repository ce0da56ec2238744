"""How faults act on messages and sensors. Pure, and the same for nodes and offline loop; kinds: fleet/fault.py.

Everything random is drawn from a seed and the receiver's name, so that equal seeds fail alike.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from lgtc_core.fleet.fault import LINK_KINDS, Fault, FaultKind
from lgtc_core.wire import Pose

Array = npt.NDArray[np.float64]
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
        dated = [*self._added] if active_s is None else [*((active_s, fault) for fault in self._planned), *self._added]
        return tuple(fault for since_s, fault in dated if _holds(fault, now_s - since_s))


def _holds(fault: Fault, elapsed_s: float) -> bool:
    end_s = math.inf if fault.duration_s is None else fault.start_s + fault.duration_s
    return fault.start_s <= elapsed_s + 1e-9 and elapsed_s < end_s - 1e-9


class _Due(NamedTuple, Generic[T]):
    """A message on its way."""

    due_s: float
    order: int
    item: T


class Link(Generic[T]):
    """The receiving end of one drone's messages from others.

    Args:
        receiver: the drone.
        seed: of everything random.
        purpose: tells several links of one drone apart, so that they do not lose the same messages.
    """

    def __init__(self, receiver: str, seed: int, purpose: str = "") -> None:
        self.receiver = receiver
        self.faults: tuple[Fault, ...] = ()
        self._random = random.Random(f"{seed}/{receiver}/{purpose}")
        self._under_way: list[_Due[T]] = []
        self._count = 0

    @property
    def clear(self) -> bool:
        """Whether every message arrives at once: then nobody needs to ask this link."""
        return not self.faults and not self._under_way

    def apply(self, faults: Iterable[Fault]) -> None:
        """These faults hold from now on; what is under way arrives as it was to."""
        self.faults = tuple(fault for fault in faults if fault.kind in LINK_KINDS)

    def send(self, now_s: float, sender: str, item: T) -> None:
        """A message was sent; `due` gives what arrives of it."""
        late_s, copies = 0.0, 1
        for fault in self.faults:
            if fault.kind is FaultKind.PARTITION:
                if (sender in fault.drones) != (self.receiver in fault.drones):
                    return
                continue
            if not (fault.concerns(sender) or fault.concerns(self.receiver)):
                continue
            amount = fault.amount or 0.0
            if fault.kind is FaultKind.LOSS:
                if self._random.random() < amount:
                    return
            elif fault.kind is FaultKind.DELAY:
                late_s += amount
            elif fault.kind is FaultKind.REORDERING:
                late_s += amount * self._random.random()
            elif self._random.random() < amount:
                copies += 1
        for _ in range(copies):
            self._count += 1
            heapq.heappush(self._under_way, _Due(now_s + late_s, self._count, item))

    def due(self, now_s: float) -> list[T]:
        """What has arrived by now, in the order of arrival; each copy once."""
        arrived = []
        while self._under_way and self._under_way[0].due_s <= now_s + 1e-9:
            arrived.append(heapq.heappop(self._under_way).item)
        return arrived


class Sensors:
    """What faults make of measured poses.

    Args:
        seed: of the directions of jumps.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._frozen: dict[str, Array] = {}

    def measured(self, faults: Iterable[Fault], poses: dict[str, Pose]) -> dict[str, Pose]:
        """The poses that are told instead of the true ones."""
        faults = [fault for fault in faults if fault.kind in _SENSOR_KINDS]
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


_SENSOR_KINDS = (FaultKind.SILENT_SENSOR, FaultKind.FROZEN_SENSOR, FaultKind.POSITION_JUMP)


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
    """Hands over messages from others: at once while nothing goes wrong, by a `Link` otherwise.

    Args:
        link: of the receiver.
        sender_of: who sent a message.
        take: takes it.
    """

    def __init__(self, link: Link[T], sender_of: Callable[[T], str], take: Callable[[T], object]) -> None:
        self.link, self._sender_of, self._take = link, sender_of, take

    def put(self, now_s: float, item: T) -> None:
        """A message came in."""
        if self.link.clear:
            self._take(item)
            return
        self.link.send(now_s, self._sender_of(item), item)
        self.deliver(now_s)

    def deliver(self, now_s: float) -> None:
        """Hand over what has arrived by now."""
        for item in self.link.due(now_s):
            self._take(item)
