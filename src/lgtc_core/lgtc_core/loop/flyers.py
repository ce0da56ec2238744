"""Flyers of several drones of one process, in a file of their own: only who flies many shall load compiled code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.compiled import pack
from lgtc_core.flight import flight_memory, flying
from lgtc_core.flight.command import SafeCommands
from lgtc_core.flight.phases import VehiclePhase
from lgtc_core.flight.pilot import Action, Order
from lgtc_core.flight.reference import Setpoint
from lgtc_core.loop.flyer import Flyer, FlyerParams
from lgtc_core.world.arena import Arena

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


class Flyers:
    """Flyers of several drones of one process, ticked together: those that fly on in one compiled call, each as alone.

    They hear their missions and resources one by one (`each`), their poses and safe commands together.

    Args:
        arena: for the flight height.
        params: of each drone.
        rejoins: whether they take off again.
    """

    def __init__(self, arena: Arena, params: Sequence[FlyerParams], rejoins: bool = False) -> None:
        self._memory = flight_memory.empty_memory(len(params))
        self._known = pack(self._memory)
        self.each = [Flyer(arena, one, rejoins, self._memory, i) for i, one in enumerate(params)]
        flying.prepare()

    @property
    def phase(self) -> Ints:
        """`VehiclePhase` of each (N,)."""
        return self._memory.phase.copy()

    @property
    def pose_s(self) -> Array:
        """Stamps of the newest own poses (N,) [s]; -inf: none yet. Changed in place."""
        return self._memory.pose_s

    @property
    def pose_m(self) -> Array:
        """The newest own poses (N, 3), frame "world" [m]. Changed in place."""
        return self._memory.pose_m

    def poses(self, fresh: Bools, stamp_s: Array, position_m: Array) -> None:
        """Own poses, stamps (N,) and positions (N, 3) [m, frame "world"], of the drones where `fresh` (N,) is true."""
        np.copyto(self._memory.pose_s, stamp_s, where=fresh)
        np.copyto(self._memory.pose_m, position_m, where=fresh[:, None])

    def tick(self, now_s: float, commands: SafeCommands, asked: Bools) -> Orders:
        """What to order the vehicles of which `asked` (N,) is true, now that these safe commands of all have come."""
        memory, streams = self._memory, np.empty(len(self.each), np.bool_)
        flying.fly_on(self._known, asked, now_s, commands.stamp_s, commands.velocity_mps, commands.mode, streams)
        others = {}
        for i in (asked & ~streams).nonzero()[0].tolist():
            self.each[i].command(commands[i])
            others[i] = self.each[i].tick(now_s)
            streams[i] = others[i].setpoint is not None
        return Orders(streams, memory.reference_m.copy(), memory.reference_mps.copy(), others)


class Orders(NamedTuple):
    """What to order N vehicles now."""

    streams: Bools  # (N,)
    """Which get a setpoint."""
    position_m: Array  # (N, 3)
    """Of their setpoints, frame "world" [m]."""
    velocity_mps: Array  # (N, 3)
    """Of their setpoints, frame "world" [m/s]."""
    others: Mapping[int, Order]
    """Of those of which more is to be said than that they fly on."""

    def of(self, i: int) -> Order | None:
        """What to order vehicle i; None: its flyer was not asked."""
        if i in self.others or not self.streams[i]:
            return self.others.get(i)
        return Order(Action.STREAM, Setpoint(self.position_m[i], self.velocity_mps[i]), VehiclePhase.FLYING, "")
