"""What the live view knows of a flight at one moment: plain values, so that it can be drawn and tested without ROS."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DroneSnapshot:
    """One drone as last heard. Empty text or NaN: not heard yet."""

    name: str
    phase: str = ""
    """Vehicle phase, as in VehicleStatus."""
    airborne: bool = False
    """True at flight height, where its distance to others counts; not during take-off and landing."""
    reason: str = ""
    """Why it is in this phase, or why its battery wants it down."""
    state_of_charge: float = math.nan
    """0 empty .. 1 full."""
    battery_voltage_v: float = math.nan
    tier: str = ""
    """Battery tier, as in ResourceState."""
    supply: tuple[float, ...] = ()
    """Carried per resource kind."""
    chosen: str = ""
    """Consumer that the policy is after."""
    safety: str = ""
    """Safety mode, as in SafetyStatus."""
    distance_min_m: float = math.nan
    """Distance to the nearest drone [m]."""

    @property
    def heard(self) -> bool:
        """True once its vehicle adapter has spoken."""
        return bool(self.phase)


@dataclass(frozen=True)
class ConsumerSnapshot:
    """One consumer as last heard."""

    name: str
    demanded: tuple[float, ...]
    remaining: tuple[float, ...]
    servers: tuple[str, ...] = ()

    def met(self, kind: int) -> float:
        """Share of the demand of one kind that is met, in [0, 1]; 1 if none is asked for."""
        demanded = self.demanded[kind]
        return 1.0 if demanded <= 0.0 else min(1.0, max(0.0, 1.0 - self.remaining[kind] / demanded))


@dataclass(frozen=True)
class Snapshot:
    """The team at one moment."""

    time_s: float = math.nan
    """ROS time of the supervisor's last heartbeat [s]; NaN: not heard yet."""
    silent_s: float = math.inf
    """Wall time since that heartbeat [s]."""
    mission: str = ""
    """Mission phase, as in MissionState."""
    reason: str = ""
    elapsed_s: float = 0.0
    """Time since the policies took over [s]."""
    kinds: tuple[str, ...] = ()
    """Resource kinds, the order of every per-kind tuple."""
    drones: tuple[DroneSnapshot, ...] = ()
    consumers: tuple[ConsumerSnapshot, ...] = ()
    distance_min_m: float = math.nan
    """Smallest distance between two flying drones seen so far [m]."""
    real_time_factor: float = math.nan
    """ROS time per wall time over the last seconds."""
    notes: tuple[str, ...] = field(default=())
    """What went wrong so far, one sentence each."""

    @property
    def up(self) -> bool:
        """True once the supervisor and every vehicle have spoken."""
        return bool(self.mission) and all(drone.heard for drone in self.drones)

    @property
    def missing(self) -> tuple[str, ...]:
        """Who has not spoken yet, for an error message."""
        silent = [f"the vehicle of {drone.name}" for drone in self.drones if not drone.heard]
        return tuple(silent if self.mission else [*silent, "the supervisor"])
