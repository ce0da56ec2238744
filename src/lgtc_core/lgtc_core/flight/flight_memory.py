"""What the flyers of one process remember, as arrays, and the compiled arithmetic on it; flyer.py and pilot.py say what
it means.

Row i is a drone. A stamp of -inf stands for "never heard"; NaN for what nobody waits for.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.compiled import compiled, compiling
from lgtc_core.flight import reference
from lgtc_core.flight.phases import MissionPhase, SafetyMode, Tier, VehiclePhase

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_ACTIVE, _LAND, _POSE_LOST = int(MissionPhase.ACTIVE), int(Tier.LAND), int(SafetyMode.POSE_LOST)


class Memory(NamedTuple):
    """What N flyers and their pilots know. Frame "world", metres, seconds."""

    pose_lifetime_s: Array  # (N,) parameters, of FlyerParams and PilotParams
    mission_lifetime_s: Array  # (N,)
    resources_lifetime_s: Array  # (N,)
    command_timeout_s: Array  # (N,)
    stall_s: Array  # (N,)
    grounded_height_m: Array  # (N,)
    leash_m: Array  # (N,)
    velocity_lag_s: Array  # (N,)
    pose_s: Array  # (N,)
    pose_m: Array  # (N, 3)
    command_s: Array  # (N,) stamp of the newest safe command
    mission_s: Array  # (N,)
    mission: Ints  # (N,) MissionPhase
    resources_s: Array  # (N,) NaN: nobody watches the battery
    tier: Ints  # (N,) Tier
    phase: Ints  # (N,) VehiclePhase
    flies: Bools  # (N,) follows its safe commands, and nothing else was asked for or noticed at its last update
    updated_s: Array  # (N,) NaN: never
    pose_seen_s: Array  # (N,)
    command_seen_s: Array  # (N,)
    reference_m: Array  # (N, 3)
    reference_mps: Array  # (N, 3)
    setpoint_s: Array  # (N,) when the reference was streamed last; NaN: it is not


def empty_memory(flyers: int) -> Memory:
    """Memory of flyers that have heard nothing yet; their parameters are to be entered."""
    n = flyers
    return Memory(
        np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n),
        np.full(n, -math.inf), np.zeros((n, 3)),
        np.full(n, -math.inf),
        np.full(n, -math.inf), np.zeros(n, np.int64),
        np.full(n, math.nan), np.full(n, int(Tier.OK)),
        np.full(n, int(VehiclePhase.GROUNDED)), np.zeros(n, np.bool_), np.full(n, math.nan),
        np.zeros(n), np.zeros(n),
        np.zeros((n, 3)), np.zeros((n, 3)), np.full(n, math.nan),
    )  # fmt: skip


_share = compiled(reference.share)
_advanced = compiled(reference.advanced)


@compiled
def fly_on(
    memory: Memory, asked: Bools, now_s: float, command_s: Array, command_mps: Array, mode: Ints, flown: Bools
) -> None:
    """Update those drones that fly and have nothing to decide; compiled. The others' pilots must be asked.

    Args:
        memory: of N flyers.
        asked: (N,) whose update is due.
        now_s: time [s].
        command_s: (N,) stamps of their safe commands [s].
        command_mps: (N, 3) velocities [m/s].
        mode: (N,) SafetyMode.
        flown: (N,) which have been updated, written.
    """
    r_m, w_mps = np.empty(3), np.empty(3)
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
        fly_on(empty_memory(0), nobody, 0.0, when_s, np.zeros((0, 3)), np.zeros(0, np.int64), nobody.copy())
