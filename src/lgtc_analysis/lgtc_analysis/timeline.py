"""All drones on one clock: positions interpolated, everything else held until the next message."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lgtc_analysis.flight import Bools, DroneFlight, Flight, Floats, Ints
from lgtc_core.flight.phases import VehiclePhase

POSE_GAP_S = 0.5
"""Between two poses farther apart than this, the position is unknown: nothing is invented."""
GROUND_M = 0.05
"""Without a vehicle status, a drone above this height counts as airborne [m]."""


@dataclass(frozen=True)
class Timeline:
    """The team on a common grid of T times. N drones in the order of `Flight.names`."""

    time_s: Floats  # (T,)
    """Mission time [s]."""
    position_m: Floats  # (T, N, 3)
    """Frame "world" [m]; NaN where no pose is near in time."""
    phase: Ints  # (T, N)
    """`VehiclePhase`; GROUNDED before the first status."""
    airborne: Bools  # (T, N)


def ticks(begin_s: float, end_s: float, tick_s: float) -> Floats:
    """Grid of times from `begin_s` to `end_s`, both included as far as the tick allows [s]."""
    count = int(np.floor((end_s - begin_s) / tick_s + 1e-9)) + 1
    return np.linspace(begin_s, begin_s + tick_s * (count - 1), count)


def pose_times(flight: Flight, limit: int = 20_000) -> Floats:
    """Every time at which any drone's pose was stamped; thinned evenly beyond `limit` times [s]."""
    times = np.unique(np.concatenate([drone.pose.time_s for drone in flight.drones.values()]))
    return times if len(times) <= limit else np.linspace(times[0], times[-1], limit)


def timeline(flight: Flight, time_s: Floats) -> Timeline:
    """The team at the times `time_s` (ascending, mission time [s])."""
    drones = tuple(flight.drones.values())
    position = np.stack([positions(drone, time_s) for drone in drones], 1)
    phase = np.stack([phases(drone, time_s) for drone in drones], 1)
    airborne = np.stack(
        [
            in_the_air(phase[:, i]) if len(drone.vehicle) else position[:, i, 2] > GROUND_M
            for i, drone in enumerate(drones)
        ],
        1,
    )
    return Timeline(time_s, position, phase, airborne)


def held(series_s: Floats, time_s: Floats) -> Ints:
    """Index of the newest message at or before each time; -1 before the first. `series_s` is ascending."""
    return np.asarray(np.searchsorted(series_s, time_s + 1e-9, side="right") - 1, dtype=np.int64)


def held_rows(series_s: Floats, values: Floats, time_s: Floats) -> Floats:
    """Rows of `values` (T, ...) held until the next message; NaN before the first."""
    index = held(series_s, time_s)
    result = np.full((len(time_s), *values.shape[1:]), np.nan)
    result[index >= 0] = values[index[index >= 0]]
    return result


def phases(drone: DroneFlight, time_s: Floats) -> Ints:
    """`VehiclePhase` at the given times."""
    index = held(drone.vehicle.time_s, time_s)
    return np.where(index >= 0, np.append(drone.vehicle.phase, VehiclePhase.GROUNDED)[index], VehiclePhase.GROUNDED)


def in_the_air(phase: Ints) -> Bools:
    """Whether others must expect a vehicle of this phase in the air."""
    return (phase >= VehiclePhase.TAKING_OFF) & (phase <= VehiclePhase.LANDING)


def positions(drone: DroneFlight, time_s: Floats) -> Floats:
    """(T, 3) positions interpolated between poses [m]; NaN outside them and inside gaps."""
    stamps, first = np.unique(drone.pose.time_s, return_index=True)
    measured = drone.pose.position_m[first]
    result = np.stack([np.interp(time_s, stamps, measured[:, axis]) for axis in range(3)], -1)
    after = np.clip(np.searchsorted(stamps, time_s), 0, len(stamps) - 1)
    before = np.clip(np.searchsorted(stamps, time_s, side="right") - 1, 0, None)
    outside = (time_s < stamps[0] - 1e-9) | (time_s > stamps[-1] + 1e-9)
    result[outside | (stamps[after] - stamps[before] > POSE_GAP_S)] = np.nan
    return result
