"""Who is near: the few team-mates whose fast topics a drone listens to: traffic grows with the neighbourhood, not N^2.

A team-mate at distance d, known from the slow shared presence topic, is

    near from then on      when d <= C + margin
    far from then on       when d >= C + margin + hysteresis, or when it has been silent for `silence_s`

Between two presences it can come closer by (v_i + v_j) * period; `margin_m` must cover that, or a neighbour within C is
heard late. The defaults cover 2 * 1 m/s * 0.5 s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.errors import InputError
from lgtc_core.schema import Bounds

Array = npt.NDArray[np.float64]

AHEAD_S = 0.5
"""A stamp farther ahead of the time than clocks may differ is wrong: it would never grow old, and shut out the rest."""


@dataclass(frozen=True)
class NeighbourhoodParams:
    """When a team-mate is near enough to be listened to."""

    margin_m: Annotated[float, Bounds(0.0, 100.0, "m"), "Listen to team-mates up to this far beyond the radius"] = 1.0
    hysteresis_m: Annotated[
        float, Bounds(0.0, 100.0, "m"), "Stop listening only this much farther out, so that subscriptions do not flap"
    ] = 0.5
    silence_s: Annotated[
        float, Bounds(0.1, 60.0, "s"), "Stop listening to a team-mate whose presence has been silent for so long"
    ] = 3.0


class Sighting(NamedTuple):
    """One "I am here" of a drone (lgtc_interfaces/Presence)."""

    drone: str
    stamp_s: float
    position_m: Array  # (3,) world frame


class Neighbourhood:
    """Set of near team-mates of one drone.

    Args:
        drone: own name; own sightings only move the own position.
        radius_m: within it everybody must be heard [m]: C for features, the filter's horizon for poses.
    """

    def __init__(self, drone: str, radius_m: float, params: NeighbourhoodParams | None = None) -> None:
        self.drone, self.radius_m = drone, radius_m
        self.params = params or NeighbourhoodParams()
        self._own_m: tuple[float, float] | None = None
        self._seen: dict[str, tuple[float, tuple[float, float]]] = {}
        """When and where others were."""
        self._near: frozenset[str] = frozenset()

    @property
    def near(self) -> frozenset[str]:
        """Names of the team-mates to listen to."""
        return self._near

    def moved(self, position_m: Array) -> None:
        """Own position (3,), world frame [m].

        Raises:
            InputError: not finite; the old position stays.
        """
        self._own_m = _finite(position_m, "position of", self.drone)

    def sighted(self, sighting: Sighting) -> None:
        """Take in one presence. An older one than already known is dropped.

        Raises:
            InputError: position not finite; nothing was changed.
        """
        drone, stamp_s, position_m = sighting
        at_m = _finite(position_m, "presence of", drone)
        last = self._seen.get(drone)
        if drone != self.drone and (last is None or stamp_s > last[0]):
            self._seen[drone] = stamp_s, at_m

    def update(self, now_s: float) -> frozenset[str]:
        """Near team-mates at `now_s`; without an own position, everybody who was heard lately."""
        limit_m = self.radius_m + self.params.margin_m
        self._seen = {
            name: seen for name, seen in self._seen.items() if -AHEAD_S <= now_s - seen[0] <= self.params.silence_s
        }
        self._near = frozenset(
            name
            for name, (_, at_m) in self._seen.items()
            if self._own_m is None
            or math.hypot(at_m[0] - self._own_m[0], at_m[1] - self._own_m[1])
            <= limit_m + (self.params.hysteresis_m if name in self._near else 0.0)
        )
        return self._near


def _finite(position_m: Array, what: str, drone: str) -> tuple[float, float]:
    """Where that is over ground."""
    x, y, z = position_m.tolist()
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)):
        raise InputError(f"{what} {drone}", str(position_m), "three finite numbers [m]")
    return x, y
