"""What the flyers of one process remember, as arrays; flyer.py and pilot.py say what it means.

Row i is a drone. A stamp of -inf stands for "never heard"; NaN for what nobody waits for.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.flight.phases import Tier, VehiclePhase

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


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
