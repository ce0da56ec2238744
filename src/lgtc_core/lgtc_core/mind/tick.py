"""What minds do besides running the network: hear, look at what there is, act. Arithmetic on arrays, of n of N minds.

Each function runs as it stands, where one mind decides for one drone, and compiled, where one process decides for a
whole team (team_minds.py): so it says only what both NumPy and numba understand, and both give equal bits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.mind import observation as layout
from lgtc_core.world import arena

Array = npt.NDArray[np.float64]
Array32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

AHEAD_S = 0.5
"""A message stamped farther in the future is forgotten: otherwise it would silence all later ones of its sender [s]."""

ACCEPTED, DUPLICATE, OLD, TOO_FAR = range(4)
"""What became of a message."""


class Figures(NamedTuple):
    """Of the arena and of the model, as plain numbers."""

    centre_m: Array  # (2,) of the arena
    scale_m: float  # of the arena
    radius: float  # C, normalised
    radius_m: float  # C
    tick_s: float  # of the model
    kinds: int  # r of the model


class Memory(NamedTuple):
    """What N minds know of themselves."""

    state: Array32  # (N, H) recurrent state
    position_m: Array  # (N, 2) at the last decision; NaN: none yet
    sequence: Ints  # (N,) decisions made
    speed_mps: Array  # (N,) of a full action


class Inbox(NamedTuple):
    """The newest message of every sender, for N minds and K senders."""

    stamp_s: Array  # (N, K), -inf: none
    sequence: Ints  # (N, K)
    p: Array  # (N, K, 2) the sender's position, normalised
    data: Array32  # (N, K, D)


class Looked(NamedTuple):
    """What n minds decide on: the network's inputs, as in `Observation`, and figures for the record."""

    own: Array32
    neighbours: Array32
    seen: Array32
    mask: Array32
    state: Array32
    counts: Ints  # (n,) messages that are usable
    oldest_s: Array  # (n,) age of the oldest of them; NaN: there is none


def finite(position_m: Array, supply: Array) -> bool:
    """Whether minds can decide on these positions and supplies."""
    return bool(np.isfinite(position_m).all() and np.isfinite(supply).all())


def take(
    inbox: Inbox, radius_m: float, own_m: Array, i: int, slot: int,
    stamp_s: float, sequence: int, position_m: Array, p: Array, data: Array32,
) -> int:  # fmt: skip
    """Mind i, which was at `own_m` (2,) [m], takes in a message from `position_m` (2,) [m], normalised `p` (2,), or
    drops it; what became of it.
    """
    if stamp_s <= inbox.stamp_s[i, slot]:
        return DUPLICATE if sequence == inbox.sequence[i, slot] else OLD
    # never too far where a place is not known
    if math.hypot(position_m[0] - own_m[0], position_m[1] - own_m[1]) > radius_m:
        return TOO_FAR
    inbox.stamp_s[i, slot], inbox.sequence[i, slot] = stamp_s, sequence
    inbox.p[i, slot], inbox.data[i, slot] = p, data
    return ACCEPTED


def hear(
    inbox: Inbox, figures: Figures, own_m: Array, heard: Bools, slots: Ints,
    stamp_s: Array, sequence: Ints, position_m: Array, data: Array32,
) -> None:  # fmt: skip
    """Each of N minds, which were at `own_m` (N, 2) [m], takes in those of k messages, of as many senders in `slots`
    (k,), of which `heard` (N, k) is true; arrays as in `Said`.
    """
    p = arena.normalised(position_m, figures.centre_m, figures.scale_m)
    for i in range(heard.shape[0]):
        for j in range(heard.shape[1]):
            if heard[i, j]:
                said = stamp_s[j], sequence[j], position_m[j], p[j], data[j]
                take(inbox, figures.radius_m, own_m[i], i, slots[j], *said)


def look(
    state: Array32, inbox: Inbox, figures: Figures, minds: Ints, now_s: float, position_m: Array, supply: Array
) -> Looked:
    """What there is to decide on for `minds` (n,) at these positions (n, 2) [m], with these supplies (n, up to r).

    `state` (N, H) is that of all minds. Messages from the future are forgotten.
    """
    n = len(minds)
    heard_s = inbox.stamp_s[minds]
    ahead = heard_s > now_s + AHEAD_S
    if ahead.any():
        heard_s = np.where(ahead, -np.inf, heard_s)
        inbox.stamp_s[minds] = heard_s
    age_s = now_s - heard_s
    # Nodes tick at different moments: a message may be younger than one tick here, which training never shows.
    age_ticks = np.maximum(1.0, age_s / figures.tick_s)
    p, p_heard = arena.normalised(position_m, figures.centre_m, figures.scale_m), inbox.p[minds]
    usable = layout.usable(p, p_heard, age_ticks, figures.radius)
    counts, oldest_s, k = np.zeros(n, np.int64), np.full(n, np.nan), 1
    for row in range(n):
        counts[row] = np.count_nonzero(usable[row])
        k = max(k, counts[row])
    neighbours, mask = np.zeros((n, k, inbox.data.shape[2]), np.float32), np.zeros((n, k), np.float32)
    p_seen, age_seen = np.zeros((n, k, 2)), np.zeros((n, k))  # where there is nobody: itself, now, which is seen as 0
    for row in range(n):
        which, c = np.flatnonzero(usable[row]), counts[row]
        p_seen[row], mask[row, :c] = p[row], 1.0
        if c > 0:
            neighbours[row, :c] = inbox.data[minds[row]][which]
            p_seen[row, :c], age_seen[row, :c] = p_heard[row][which], age_ticks[row][which]
            oldest_s[row] = age_s[row][which].max()
    supplies = np.zeros((n, figures.kinds))
    supplies[:, : supply.shape[1]] = supply
    own, seen = layout.own(p, supplies), layout.seen(p, p_seen, age_seen)
    own32, seen32 = own.astype(np.float32), seen.astype(np.float32)
    return Looked(own32, neighbours, seen32, mask, state[minds], counts, oldest_s)


def act(
    memory: Memory, minds: Ints, position_m: Array, action: Array32, message: Array32, state: Array32
) -> tuple[bool, Array, Ints]:
    """What the network's answer to `minds` (n,) at these positions (n, 2) [m] asks for.

    Returns:
        whether the answer is finite; else nothing was changed.
        the velocities (n, 2) [m/s].
        how many decisions each has made, with this one (n,).
    """
    velocity_mps = layout.action_to_velocity(action.astype(np.float64), memory.speed_mps[minds][:, None])
    good = bool(np.isfinite(action).all() and np.isfinite(message).all() and np.isfinite(state).all())
    if good:
        memory.state[minds], memory.position_m[minds] = state, position_m
        memory.sequence[minds] += 1
    return good, velocity_mps, memory.sequence[minds]
