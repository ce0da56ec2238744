"""Layout of what the network sees and says: once, for training, simulator and node.

Every array has a leading batch B of agents; M consumers, K neighbours (K >= 1, padded), r resource kinds, D
message width,
H state width. Positions are normalised (arena frame). Exported networks take the fields of `Observation` as
inputs, by
name, and answer OUTPUTS_POLICY or OUTPUTS_VALUE. Builders take NumPy arrays and torch tensors alike.
"""

from __future__ import annotations

from typing import NamedTuple

from lgtc_core.world.namespace import Array, namespace
from lgtc_core.world.rules import outstanding

MESSAGE_LIFETIME_TICKS = 6
"""A message older than this is no longer used: its sender counts as gone. .3 s at 20 Hz; at 20 % loss one message in
16000 misses it, and a lost drone is noticed before its place is 5 % of a hand-over old."""

OUTPUTS_POLICY = ("action", "message", "state_out", "assignment")
"""action (B, 2), norm at most 1; message (B, D); state_out (B, H); assignment (B, M), row of Xi."""
OUTPUTS_VALUE = ("value", "message", "state_out")
"""value (B,); message (B, D); state_out (B, H)."""


class Observation(NamedTuple):
    """What one agent knows at a tick. All float32; masks are 1 or 0."""

    own: Array
    """(B, 2 + r) own position, own supply."""
    consumers: Array
    """(B, M, 2 + 3 r) position; outstanding (0-depletion: demanded in total; instantaneous: remaining); remaining;
    kind.
    """
    consumer_mask: Array
    """(B, M) 1: there is a consumer in this slot."""
    neighbours: Array
    """(B, K, D) message vectors as last heard, opaque outside the network."""
    neighbours_seen: Array
    """(B, K, 3) p_j - p_i, with p_j as in the message; age of the message in ticks (1: sent at the tick before)."""
    neighbour_mask: Array
    """(B, K) 1: heard, from within C, and not older than MESSAGE_LIFETIME_TICKS."""
    state: Array
    """(B, H) own recurrent state; all zeros at the start, so that nobody needs to know its layout."""


INPUTS = Observation._fields
"""Input names of the exported networks."""


def own_width(kinds: int) -> int:
    """Width of `own` for r = `kinds`."""
    return 2 + kinds


def consumer_width(kinds: int) -> int:
    """Width of a row of `consumers` for r = `kinds`."""
    return 2 + 3 * kinds


def own(p: Array, supply: Array) -> Array:
    """(..., 2 + r) from position (..., 2) and supply (..., r)."""
    return namespace(p).concatenate((p, supply), -1)


def consumers(d: Array, demanded: Array, remaining: Array, kind: Array) -> Array:
    """(..., M, 2 + 3 r) from positions (..., M, 2) and per-kind arrays (..., M, r)."""
    xp = namespace(d)
    return xp.concatenate([d, outstanding(demanded, remaining, kind), remaining, kind + 0.0 * remaining], -1)


def seen(p: Array, p_heard: Array, age_ticks: Array) -> Array:
    """(..., K, 3) from own position (..., 2), senders' positions (..., K, 2) and ages (..., K)."""
    return namespace(p).concatenate((p_heard - p[..., None, :], age_ticks[..., None]), -1)


def usable(p: Array, p_heard: Array, age_ticks: Array, radius: float) -> Array:
    """(..., K) bool: the message is young enough and was sent from within C of where the hearer is now."""
    offset = p_heard - p[..., None, :]
    near = offset[..., 0] ** 2 + offset[..., 1] ** 2 <= radius * radius
    return near & (age_ticks >= 1) & (age_ticks <= MESSAGE_LIFETIME_TICKS)


def action_to_velocity(action: Array, speed: Array | float) -> Array:
    """Velocity (..., 2) in the unit of `speed`, from an action (..., 2); actions longer than 1 are shortened."""
    xp = namespace(action)
    length = xp.sqrt(action[..., 0] ** 2 + action[..., 1] ** 2)
    return speed * action / xp.clip(length, 1.0, None)[..., None]
