"""Phases of vehicles, missions, batteries and safe commands; the numbers are the constants of
lgtc_interfaces.
"""

from __future__ import annotations

from enum import IntEnum

GROUNDED_HEIGHT_M = 0.12
"""A drone whose centre is lower stands on the ground [m]."""
HASTE = "battery: critical"
"""Begins the reason of a landing that has no time for more than stepping aside from others."""


class VehiclePhase(IntEnum):
    """Where a vehicle is between the ground and the ground (VehicleStatus)."""

    GROUNDED = 0
    """On the ground, motors off, has not flown yet."""
    TAKING_OFF = 1
    HOLDING = 2
    """In the air at its height, not following the policy."""
    FLYING = 3
    """Following the safe command."""
    LANDING = 4
    LANDED = 5
    """Down again: takes off a second time only charged, and where the scenario says `rejoin`."""
    FAILED = 6
    """Locked, tumbled or unreachable: needs a person."""

    @property
    def airborne(self) -> bool:
        """Whether other drones must expect it in the air."""
        return self in _AIRBORNE

    @property
    def on_mission(self) -> bool:
        """Whether it is in the air at its height, where policies decide and supplies count."""
        return self in _ON_MISSION


_ON_MISSION = frozenset((VehiclePhase.HOLDING, VehiclePhase.FLYING))
_AIRBORNE = _ON_MISSION | {VehiclePhase.TAKING_OFF, VehiclePhase.LANDING}


class MissionPhase(IntEnum):
    """What the whole team is to do (MissionState)."""

    STANDBY = 0
    TAKE_OFF = 1
    ACTIVE = 2
    LAND = 3
    ABORT = 4
    DONE = 5


class Tier(IntEnum):
    """What the battery asks of the vehicle (ResourceState)."""

    OK = 0
    WARN = 1
    HAND_OVER = 2
    """About to leave: its supply no longer counts for others; it serves on until it is relieved."""
    LAND = 3
    CRITICAL = 4


class SafetyMode(IntEnum):
    """What the safety filter did to the nominal velocity (SafetyStatus)."""

    PASSED = 0
    FILTERED = 1
    NOMINAL_LOST = 2
    RELAXED = 3
    POSE_LOST = 4
