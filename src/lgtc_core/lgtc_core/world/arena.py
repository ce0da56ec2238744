"""The arena: the bounded convex environment Q of Section II, and the one mapping between metres and its
normalised coordinates.

    p = (p_m - centre_m) / scale_m,    scale_m = max(half_extent_m)

The mapping is isotropic, so that a disc stays a disc and the communication radius C means the same in every
direction; the longer side of the arena spans [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
import numpy.typing as npt

from lgtc_core.errors import ConfigError
from lgtc_core.schema import Bounds

Array = npt.NDArray[np.float64]

_EXTENT = Bounds(0.1, 10_000.0, "m")
_HEIGHT = Bounds(0.0, 1_000.0, "m")


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Where the swarm may be: a box in the world frame (east, north, up [m])."""

    centre_m: Annotated[
        tuple[float, float], Bounds(-1e6, 1e6, "m"), "Centre of the floor in the world frame, east and north"
    ] = (0.0, 0.0)
    half_extent_m: Annotated[
        tuple[float, float],
        _EXTENT,
        "Half of the floor's width, east and north; the larger one is the unit of length of the policy",
    ]
    height_min_m: Annotated[float, _HEIGHT, "Lowest height that a flying drone keeps"] = 0.3
    height_max_m: Annotated[float, _HEIGHT, "Greatest height that a flying drone keeps"] = 2.0
    flight_height_m: Annotated[float, _HEIGHT, "Height at which the team flies (the paper flies at one height)"] = 1.0
    communication_radius: Annotated[
        float,
        Bounds(0.01, 10.0, "normalised"),
        "C of Section II: drones within it hear each other; must be what the model was trained with",
    ] = 1.0

    def __post_init__(self) -> None:
        """Refuse heights that are not in order."""
        if not self.height_min_m < self.height_max_m:
            raise ConfigError(
                "", "height_max_m", f"{self.height_max_m:g} m", f"more than height_min_m ({self.height_min_m:g} m)"
            )
        if not self.height_min_m <= self.flight_height_m <= self.height_max_m:
            raise ConfigError(
                "",
                "flight_height_m",
                f"{self.flight_height_m:g} m",
                f"between height_min_m ({self.height_min_m:g} m) and height_max_m ({self.height_max_m:g} m)",
            )

    @property
    def scale_m(self) -> float:
        """Length of one normalised unit [m]."""
        return max(self.half_extent_m)

    @property
    def radius_m(self) -> float:
        """Communication radius C [m]."""
        return self.communication_radius * self.scale_m

    @cached_property
    def _centre(self) -> Array:
        return np.array(self.centre_m, float)

    def to_normalised(self, p_m: npt.ArrayLike) -> Array:
        """Normalised coordinates (..., 2) of horizontal positions (..., 2) in the world frame [m]."""
        return normalised(np.asarray(p_m, float), self._centre, self.scale_m)

    def to_metres(self, p: npt.ArrayLike) -> Array:
        """Horizontal positions (..., 2) in the world frame [m] of normalised coordinates (..., 2)."""
        p_m: Array = np.asarray(p, float) * self.scale_m + self._centre
        return p_m

    def contains(self, p_m: npt.ArrayLike, margin_m: float = 0.0) -> npt.NDArray[np.bool_]:
        """Which horizontal positions (..., 2) [m] are inside, at least `margin_m` from every wall. NaN is
        outside.
        """
        reach_m = np.asarray(self.half_extent_m) - margin_m
        inside: npt.NDArray[np.bool_] = (np.abs(np.asarray(p_m, float) - np.asarray(self.centre_m)) <= reach_m).all(
            axis=-1
        )
        return inside


def normalised(p_m: Array, centre_m: Array, scale_m: float) -> Array:
    """Normalised coordinates (..., 2) of horizontal positions (..., 2) in the world frame [m]; of arrays alone, so that
    it can be compiled.
    """
    p: Array = (p_m - centre_m) / scale_m
    return p
