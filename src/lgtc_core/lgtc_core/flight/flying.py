"""Drones that fly on: those that follow their safe commands, and of whose pilots nothing is to be decided; compiled."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lgtc_core.compiled import Packed, compiled, compiling, pack
from lgtc_core.flight import flight_memory, reference
from lgtc_core.flight.flight_memory import Memory
from lgtc_core.flight.phases import MissionPhase, SafetyMode, Tier

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_ACTIVE, _LAND, _POSE_LOST = int(MissionPhase.ACTIVE), int(Tier.LAND), int(SafetyMode.POSE_LOST)

_share = compiled(reference.share)
_advanced = compiled(reference.advanced)


@compiled
def fly_on(
    known: Packed[Memory],
    asked: Bools,
    now_s: float,
    command_s: Array,
    command_mps: Array,
    mode: Ints,
    flown: Bools,
) -> None:
    """Update those drones that fly and have nothing to decide; compiled. The others' pilots must be asked.

    Args:
        known: memory of N flyers.
        asked: (N,) whose update is due.
        now_s: time [s].
        command_s: (N,) stamps of their safe commands [s].
        command_mps: (N, 3) velocities [m/s].
        mode: (N,) SafetyMode.
        flown: (N,) which have been updated, written.
    """
    memory, r_m, w_mps = known.content, np.empty(3), np.empty(3)
    for i in range(len(asked)):
        flown[i] = False
        if not (asked[i] and memory.flies[i] and _is_as_before(memory, i, now_s, command_s[i], mode[i])):
            continue
        dt_s = max(0.0, now_s - memory.updated_s[i])
        share = _share(dt_s, memory.velocity_lag_s[i])
        square_m2 = 0.0
        for c in range(3):
            before_m, before_mps = memory.reference_m[i, c], memory.reference_mps[i, c]
            r_m[c], w_mps[c] = _advanced(before_m, before_mps, command_mps[i, c], share, dt_s)
            square_m2 += (r_m[c] - memory.pose_m[i, c]) ** 2
        if math.sqrt(square_m2) > reference.SLACK * memory.leash_m[i]:
            continue
        for c in range(3):
            memory.reference_m[i, c], memory.reference_mps[i, c] = r_m[c], w_mps[c]
        flown[i] = True
        memory.command_s[i] = command_s[i]
        memory.updated_s[i] = memory.pose_seen_s[i] = memory.command_seen_s[i] = memory.setpoint_s[i] = now_s


@compiled
def _is_as_before(memory: Memory, i: int, now_s: float, command_s: float, mode: int) -> bool:
    """Whether all that drone i's pilot looks at is as it must be for it to fly on."""
    return bool(
        max(0.0, now_s - memory.updated_s[i]) < memory.stall_s[i]
        and memory.mission[i] == _ACTIVE
        and now_s - memory.mission_s[i] <= memory.mission_lifetime_s[i]
        and memory.tier[i] < _LAND
        and not now_s - memory.resources_s[i] > memory.resources_lifetime_s[i]
        and now_s - memory.pose_s[i] <= memory.pose_lifetime_s[i]
        and memory.pose_m[i, 2] >= memory.grounded_height_m[i]
        and now_s - command_s <= memory.command_timeout_s[i]
        and mode != _POSE_LOST
    )


def prepare() -> None:
    """Compile now, or load what is compiled: the first setpoint must not wait for it."""
    nobody, when_s = np.zeros(0, np.bool_), np.zeros(0)
    with compiling():
        known = pack(flight_memory.empty_memory(0))
        fly_on(known, nobody, 0.0, when_s, np.zeros((0, 3)), np.zeros(0, np.int64), nobody.copy())
