"""What the guards of one process remember, as arrays, and the compiled arithmetic on it; guard.py says what it means.

Row i is a drone under guard, column j a slot for another drone. A stamp of -inf stands for "never heard".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.compiled import Packed, compiled, compiling, inlined, pack
from lgtc_core.flight import guarantee
from lgtc_core.flight.barrier import Constraints, write_pair, write_walls
from lgtc_core.flight.guarantee import ALONE, SHARED, Hypotheses
from lgtc_core.flight.phases import SafetyMode
from lgtc_core.flight.safety_filter import fence, filter_one, shorten_in_place

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

NEVER_S = -math.inf
"""Stamp of what was never heard."""
FUTURE_TOLERANCE_S = 0.25
"""How far clocks may differ before a stamp counts as wrong [s]; a simulator that catches up is .2 s ahead at most."""
WALL = -1
"""In `Answers.nearest`: no drone but a wall is nearest."""

_MEANT_MPS = 0.1
"""A nominal velocity slower than this does not mean to get anywhere."""
_PASSING_MPS = 0.3
"""Who moves as fast as this is soon past whatever is below."""
_OVER_S = 2.0
"""Who is above one that stands for longer, however fast it moves, does not only fly over."""
_OVER_FADE_S = 1.0
"""Within so much more time it is led out with all that there is."""
_WAYS = 16
"""So many directions lead out from above one that stands."""
_NO_WAY_MPS = 0.01
"""A way that may not be flown faster is taken for want of another."""
_AHEAD = 0.5
"""Cosine to the nominal velocity above which another drone is ahead."""
_MOST_TURN = math.radians(120.0)
"""A blocked drone turns no farther to the right than this."""
_GETTING_ON = 0.4
"""Who makes less than this share of the nominal velocity does not get on."""
_PATIENCE_S = 0.5
"""Not getting on for so long is being blocked."""
_ROUND = math.radians(90.0)
"""Whose goal has turned by so much while it was blocked goes round the goal, not past somebody on the way there."""
_FORGOTTEN_S = 10.0
"""Not blocked for so long, it has forgotten that it went round; not above one that stands, that it was there."""
_NEW_GOAL = math.radians(30.0)
"""A heading that jumps by more, from one command to the next, leads to another goal."""

NOMINAL_KEPT, NOMINAL_NEVER, NOMINAL_OLD = range(3)
"""What became of the nominal velocity (`Answers.lost`)."""

_PASSED, _FILTERED, _RELAXED = int(SafetyMode.PASSED), int(SafetyMode.FILTERED), int(SafetyMode.RELAXED)
_NOMINAL_LOST, _POSE_LOST = int(SafetyMode.NOMINAL_LOST), int(SafetyMode.POSE_LOST)


class Figures(NamedTuple):
    """The guards' parameters (GuardParams) and the arena's, as plain numbers."""

    hypotheses: Hypotheses
    period_s: float
    breach_tolerance_mps: float
    observation_time_s: float
    height_gain_per_s: float
    keep_right_gain: float
    grounded_height_m: float
    rise_clearance_m: float
    descent_clearance: float
    landing_gain_per_s: float
    nominal_timeout_s: float
    pose_hold_s: float
    pose_timeout_s: float
    neighbour_timeout_s: float
    neighbour_forget_s: float
    flight_height_m: float
    height_min_m: float


class Memory(NamedTuple):
    """What N guards know of themselves and of K others each. Frame "world", metres, seconds."""

    lower_m: Array  # (3,) walls of the arena
    upper_m: Array  # (3,)
    speed_mps: Array  # (N,) limits of the own airframe
    climb_mps: Array  # (N,)
    acceleration_mps2: Array  # (N,)
    pose_s: Array  # (N,)
    pose_m: Array  # (N, 3)
    nominal_s: Array  # (N,)
    nominal_mps: Array  # (N, 3)
    landing: Bools  # (N,) the command is to lead to `spot_m` and stand still there
    spot_m: Array  # (N, 2)
    last_s: Array  # (N,) of the last command
    last_mps: Array  # (N, 3)
    above_s: Array  # (N,) how long it has been above one that stands
    blocked_s: Array  # (N,) how long others have kept it from getting on
    heading: Array  # (N,) of the nominal velocity when it last meant to get anywhere [rad]
    gone_round: Array  # (N,) how far that heading has turned since others keep it from getting on [rad]
    heard_s: Array  # (N, K)
    heard_m: Array  # (N, K, 3)
    heard_mps: Array  # (N, K, 3) velocities as observed
    distance_m: Array  # (N, K) D of the pair
    flattening: Array  # (N, K) D / D_z of the pair
    bound_mps: Array  # (N, K) the other's speed bound


Known = Packed[tuple[Memory, Figures]]
"""What guards know, for compiled code."""


class Room(NamedTuple):
    """Room for what the guards answer: in few arrays, as each costs its time. `answers_in` names them."""

    pose_s: Array  # (N,)
    velocity_mps: Array  # (N, 3)
    mode: Ints  # (N,)
    figures: Array  # (6, N)
    counts: Ints  # (3, N)
    clear: Bools  # (2, N)


class Answers(NamedTuple):
    """What the guards answer."""

    pose_s: Array  # (N,) stamps that it was answered on
    velocity_mps: Array  # (N, 3)
    mode: Ints  # (N,) SafetyMode
    lost: Ints  # (N,) NOMINAL_...
    given_up_mps: Array  # (N,)
    barrier_min: Array  # (N,)
    nearest: Ints  # (N,) slot with the smallest barrier value, or WALL
    distance_min_m: Array  # (N,)
    correction_mps: Array  # (N,)
    neighbours: Ints  # (N,)
    age_max_s: Array  # (N,)
    clear_above: Bools  # (N,)
    clear_below: Bools  # (N,)
    nominal_s: Array  # (N,)


def empty_memory(guards: int, slots: int, lower_m: Array, upper_m: Array) -> Memory:
    """Memory of guards that have heard nothing yet."""
    n, k = guards, slots
    never = (NEVER_S,)
    return Memory(
        np.array(lower_m, np.float64), np.array(upper_m, np.float64),
        np.zeros(n), np.zeros(n), np.zeros(n),
        np.full(n, *never), np.zeros((n, 3)),
        np.full(n, *never), np.zeros((n, 3)),
        np.zeros(n, np.bool_), np.zeros((n, 2)),
        np.full(n, *never), np.zeros((n, 3)), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n),
        np.full((n, k), *never), np.zeros((n, k, 3)), np.zeros((n, k, 3)),
        np.zeros((n, k)), np.ones((n, k)), np.zeros((n, k)),
    )  # fmt: skip


def empty_room(guards: int) -> Room:
    """Room for the answers of so many guards."""
    n = guards
    return Room(
        np.empty(n), np.empty((n, 3)), np.empty(n, np.int64),
        np.empty((6, n)), np.empty((3, n), np.int64), np.empty((2, n), np.bool_),
    )  # fmt: skip


def answers_in(room: Room) -> Answers:
    """The answers by their names, in the same memory; `command` compiles it."""
    figures, counts, clear = room.figures, room.counts, room.clear
    return Answers(
        room.pose_s, room.velocity_mps, room.mode, counts[0], figures[0], figures[1], counts[1], figures[2],
        figures[3], counts[2], figures[4], clear[0], clear[1], figures[5],
    )  # fmt: skip


_answers_in = compiled(answers_in)


_displacement_m = compiled(guarantee.displacement_m)
_radius_m = compiled(guarantee.radius_m)
_wall_inset_m = compiled(guarantee.wall_inset_m)


@compiled
def hear(known: Known, i: int, j: int, stamp_s: float, x: float, y: float, z: float) -> bool:
    """Guard i hears drone j's finite position [m]; compiled. False: older than the last one, nothing changed."""
    memory, figures = known.content
    return _hear(memory, figures, i, j, stamp_s, x, y, z)


@compiled
def _hear(memory: Memory, figures: Figures, i: int, j: int, stamp_s: float, x: float, y: float, z: float) -> bool:
    dt_s = stamp_s - memory.heard_s[i, j]
    if not dt_s > 0.0:
        return False
    weight = _weight(figures, dt_s)
    _observe(memory.heard_m[i, j], memory.heard_mps[i, j], memory.bound_mps[i, j], dt_s, weight, x, y, z)
    memory.heard_s[i, j] = stamp_s
    return True


@compiled
def _weight(figures: Figures, dt_s: float) -> float:
    """How much a velocity observed over `dt_s` counts in the estimate; 0: a gap says nothing about the velocity."""
    return 0.0 if dt_s > figures.neighbour_timeout_s else -math.expm1(-dt_s / figures.observation_time_s)


@compiled
def _observe(
    p_m: Array, v_mps: Array, bound_mps: float, dt_s: float, weight: float, x: float, y: float, z: float
) -> None:
    """A drone believed at `p_m` (3,) with `v_mps` (3,) is seen at a place [m] `dt_s` later: both are changed.

    The velocity is observed from the positions, smoothed over `observation_time_s`.
    """
    dx, dy, dz = (x - p_m[0]) / dt_s, (y - p_m[1]) / dt_s, (z - p_m[2]) / dt_s
    believable_mps = 1.5 * bound_mps
    speed_mps = math.sqrt(dx * dx + dy * dy + dz * dz)
    if weight == 0.0 or speed_mps > 2.0 * believable_mps:
        v_mps[0], v_mps[1], v_mps[2] = 0.0, 0.0, 0.0  # nor does a jump of the position
    else:
        v_mps[0] += weight * (dx - v_mps[0])
        v_mps[1] += weight * (dy - v_mps[1])
        v_mps[2] += weight * (dz - v_mps[2])
        shorten_in_place(v_mps, believable_mps)
    p_m[0], p_m[1], p_m[2] = x, y, z


@compiled
def _is_finite(p_m: Array) -> bool:
    """Whether all three numbers are; np.isfinite(p_m).all() would make an array first."""
    return math.isfinite(p_m[0]) and math.isfinite(p_m[1]) and math.isfinite(p_m[2])


@compiled
def hear_in_turn(known: Known, others: int, hearer: Ints, heard: Ints, stamp_s: Array, position_m: Array) -> bool:
    """Guard hearer[k] hears drone heard[k] < others, for k in order: (K,) indices, stamps (K,), positions (K, 3).

    False: there is no such guard or drone, or a position is not finite; nothing changed.
    """
    memory, figures = known.content
    for k in range(len(hearer)):
        exist = 0 <= hearer[k] < len(memory.pose_s) and 0 <= heard[k] < others
        if not (exist and _is_finite(position_m[k])):
            return False
    for k in range(len(hearer)):
        x, y, z = position_m[k, 0], position_m[k, 1], position_m[k, 2]
        _hear(memory, figures, hearer[k], heard[k], stamp_s[k], x, y, z)
    return True


@compiled
def hear_all(known: Known, heard: Bools, stamp_s: Array, position_m: Array) -> bool:
    """Guard i hears drone j where `heard` (N, K) is true: stamps (K,), positions (K, 3).

    False: such a position is not finite; nothing changed.
    """
    memory, figures = known.content
    for j in range(heard.shape[1]):
        if not _is_finite(position_m[j]) and heard[:, j].any():
            return False
    known_s, weight = math.nan, 0.0
    for i in range(heard.shape[0]):
        heard_s, heard_m, heard_mps, bound_mps = (
            memory.heard_s[i],
            memory.heard_m[i],
            memory.heard_mps[i],
            memory.bound_mps[i],
        )
        for j in range(heard.shape[1]):
            dt_s = stamp_s[j] - heard_s[j]
            if heard[i, j] and dt_s > 0.0:
                if dt_s != known_s:  # mostly the same for all
                    known_s, weight = dt_s, _weight(figures, dt_s)
                x, y, z = position_m[j, 0], position_m[j, 1], position_m[j, 2]
                _observe(heard_m[j], heard_mps[j], bound_mps[j], dt_s, weight, x, y, z)
                heard_s[j] = stamp_s[j]
    return True


@compiled
def take_poses(known: Known, fresh: Bools, stamp_s: Array, position_m: Array) -> bool:
    """Guard i takes its own pose where `fresh` (N,) is true and it is newer: stamps (N,), positions (N, 3).

    False: such a position is not finite; nothing changed.
    """
    memory, _ = known.content
    for i in range(len(fresh)):
        if fresh[i] and not _is_finite(position_m[i]):
            return False
    for i in range(len(fresh)):
        if fresh[i] and stamp_s[i] > memory.pose_s[i]:
            memory.pose_s[i] = stamp_s[i]
            for c in range(3):
                memory.pose_m[i, c] = position_m[i, c]
    return True


@compiled
def command(known: Known, guards: Ints, now_s: float, room: Room) -> None:
    """The safe commands of the given guards at `now_s`, into `room`; compiled."""
    memory, figures = known.content
    answers = _answers_in(room)
    slots = memory.heard_s.shape[1]
    most = slots + 8
    rows = Constraints(np.empty((most, 3)), np.empty(most), np.empty(most), np.empty(most))
    counted, vectors = np.empty(slots, np.int64), np.empty((3, 3))
    for i in guards:
        _drop_future(memory, i, now_s)
        velocity_mps = answers.velocity_mps[i]
        age_s = now_s - memory.pose_s[i]
        if age_s > figures.pose_hold_s:
            _without_pose(answers, i, age_s > figures.pose_timeout_s)
        else:
            count = _count(memory, figures, i, now_s, counted, answers)
            _constrain(memory, figures, i, now_s, counted, count, rows, vectors)
            answers.lost[i] = _wanted(memory, figures, i, now_s, rows, counted, count, velocity_mps)
            _nearest(rows, counted, count, i, answers)
            wx, wy, wz = velocity_mps[0], velocity_mps[1], velocity_mps[2]
            used = count + 8
            own = Constraints(rows.A[:used], rows.b[:used], rows.floor[:used], rows.h[:used])
            mode, answers.given_up_mps[i] = filter_one(velocity_mps, own, memory.speed_mps[i])
            if fence(velocity_mps, rows.floor, count):
                mode = _RELAXED
            wx, wy, wz = velocity_mps[0] - wx, velocity_mps[1] - wy, velocity_mps[2] - wz
            answers.correction_mps[i] = math.sqrt(wx * wx + wy * wy + wz * wz)
            answers.mode[i] = _NOMINAL_LOST if answers.lost[i] != NOMINAL_KEPT and mode != _RELAXED else mode
        answers.pose_s[i], answers.nominal_s[i] = memory.pose_s[i], memory.nominal_s[i]
        memory.last_s[i] = now_s
        for c in range(3):
            memory.last_mps[i, c] = velocity_mps[c]


@inlined
def _drop_future(memory: Memory, i: int, now_s: float) -> None:
    """Forget what is stamped ahead of the time: it would never grow old, and shut out all that comes after it."""
    latest_s = now_s + FUTURE_TOLERANCE_S
    if memory.pose_s[i] > latest_s:
        memory.pose_s[i] = NEVER_S
    if memory.nominal_s[i] > latest_s:
        memory.nominal_s[i] = NEVER_S
    for j in range(memory.heard_s.shape[1]):
        if memory.heard_s[i, j] > latest_s:
            memory.heard_s[i, j] = NEVER_S


@inlined
def _without_pose(answers: Answers, i: int, timed_out: bool) -> None:
    """Zero velocity: nothing is known to be closer or farther in any direction."""
    for c in range(3):
        answers.velocity_mps[i, c] = 0.0
    answers.mode[i] = _POSE_LOST if timed_out else _NOMINAL_LOST
    answers.lost[i], answers.nearest[i], answers.neighbours[i] = NOMINAL_KEPT, WALL, 0
    answers.given_up_mps[i] = answers.correction_mps[i] = 0.0
    answers.barrier_min[i] = answers.distance_min_m[i] = answers.age_max_s[i] = np.nan
    answers.clear_above[i] = answers.clear_below[i] = False


@inlined
def _wanted(
    memory: Memory, figures: Figures, i: int, now_s: float, rows: Constraints, counted: Ints, count: int,
    wanted_mps: Array,
) -> int:  # fmt: skip
    """Nominal velocity after hold, room below, height hold, right-hand rule and limits, into `wanted_mps` (3,); what
    became of the nominal one.
    """
    own_m, last_mps, lost, led = memory.pose_m[i], memory.last_mps[i], NOMINAL_KEPT, memory.landing[i]
    dt_s = figures.period_s
    if memory.last_s[i] != NEVER_S:
        dt_s = min(max(now_s - memory.last_s[i], 0.0), 2.0 * figures.period_s)
    wanted_mps[0], wanted_mps[1], wanted_mps[2] = 0.0, 0.0, 0.0
    if memory.landing[i]:
        for c in range(2):
            wanted_mps[c] = figures.landing_gain_per_s * (memory.spot_m[i, c] - own_m[c])
    elif memory.nominal_s[i] == NEVER_S:
        lost = NOMINAL_NEVER
    elif now_s - memory.nominal_s[i] > figures.nominal_timeout_s:
        lost = NOMINAL_OLD
    else:
        for c in range(3):
            wanted_mps[c] = memory.nominal_mps[i, c]
        led = _keep_room_below(memory, figures, i, dt_s, rows, counted, count, wanted_mps)
    climb_mps = memory.climb_mps[i]
    wanted_mps[2] += figures.height_gain_per_s * (figures.flight_height_m - own_m[2])
    wanted_mps[2] = min(max(wanted_mps[2], -climb_mps), climb_mps)
    shorten_in_place(wanted_mps, memory.speed_mps[i])
    if led or lost != NOMINAL_KEPT:
        memory.blocked_s[i] = 0.0
    else:
        _keep_right(memory, figures, i, dt_s, rows, count, wanted_mps)
    for c in range(3):
        wanted_mps[c] -= last_mps[c]
    shorten_in_place(wanted_mps, memory.acceleration_mps2[i] * dt_s)
    for c in range(3):
        wanted_mps[c] += last_mps[c]
    return lost


@inlined
def _keep_room_below(
    memory: Memory, figures: Figures, i: int, dt_s: float, rows: Constraints, counted: Ints, count: int,
    wanted_mps: Array,
) -> bool:  # fmt: skip
    """Nobody stays above one that stands: who no longer knows where it is lands there, and would land on it.

    Who stays within 1.2 D of such a one, as it wants to or as others keep it there, is led out. A share of the way
    out is added to the nominal velocity, what leads back is taken from it, and of the rest the more the deeper it is:

        v_nom = (1 - share min(1, 2 L / 1.2 D)) (v_nom + share max(0, -v_nom . e) e) + share gain L e
        share = max(1 - |v_last| / 0.3 m/s, (t_above - 2 s) / 1 s)  between 0 and 1
        e, L: direction and length of the way out (_way_out)

    t_above is how long it has been there, and is forgotten slowly, so that who flies to and fro above it stays as well.
    Whoever only flies over is left alone: at 0.3 m/s, 2.4 D are behind it in 2 s. True: mostly the way out is left.
    """
    nearest_m, nearest = np.inf, -1
    for row in range(count):
        j = counted[row]
        if memory.heard_m[i, j, 2] < figures.grounded_height_m:
            dx, dy = memory.pose_m[i, 0] - memory.heard_m[i, j, 0], memory.pose_m[i, 1] - memory.heard_m[i, j, 1]
            distance_m = math.hypot(dx, dy)
            if distance_m < min(nearest_m, figures.descent_clearance * memory.distance_m[i, j]):
                nearest_m, nearest = distance_m, j
    longest_s = _OVER_S + _OVER_FADE_S
    stays_s = dt_s if nearest >= 0 else -longest_s * dt_s / _FORGOTTEN_S
    memory.above_s[i] = min(max(memory.above_s[i] + stays_s, 0.0), longest_s)
    share = max(
        1.0 - math.hypot(memory.last_mps[i, 0], memory.last_mps[i, 1]) / _PASSING_MPS,
        (memory.above_s[i] - _OVER_S) / _OVER_FADE_S,
    )
    if nearest < 0 or share <= 0.0:
        return False
    share = min(share, 1.0)
    ex, ey, way_m = _way_out(memory, figures, i, nearest, rows, counted, count)
    deep = min(2.0 * way_m / (figures.descent_clearance * memory.distance_m[i, nearest]), 1.0)
    back_mps = max(0.0, -(wanted_mps[0] * ex + wanted_mps[1] * ey))
    for c, e in ((0, ex), (1, ey)):
        kept_mps = (1.0 - share * deep) * (wanted_mps[c] + share * back_mps * e)
        wanted_mps[c] = kept_mps + share * figures.landing_gain_per_s * way_m * e
    return bool(share * deep > 0.5)


@inlined
def _way_out(
    memory: Memory, figures: Figures, i: int, nearest: int, rows: Constraints, counted: Ints, count: int
) -> tuple[float, float, float]:
    """The quickest way from above those that stand: unit vector, and length after which nobody of them is near.

    Straight away from the nearest one, unless others are in that way.
    """
    own_m, near_m = memory.pose_m[i], memory.heard_m[i, nearest]
    away = math.atan2(own_m[1] - near_m[1], own_m[0] - near_m[0])
    best_s, best_x, best_y, best_m = np.inf, 0.0, 0.0, 0.0
    for k in range(_WAYS):  # straight away, then to the right and to the left in turn
        turn = (-math.ceil(k / 2) if k % 2 else math.ceil(k / 2)) * 2.0 * math.pi / _WAYS
        ex, ey = math.cos(away + turn), math.sin(away + turn)
        way_m = 0.0
        for row in range(count):
            j = counted[row]
            if memory.heard_m[i, j, 2] < figures.grounded_height_m:
                dx, dy = own_m[0] - memory.heard_m[i, j, 0], own_m[1] - memory.heard_m[i, j, 1]
                clearance_m = figures.descent_clearance * memory.distance_m[i, j]
                along_m, inside_m2 = dx * ex + dy * ey, clearance_m * clearance_m - dx * dx - dy * dy
                if inside_m2 > 0.0:
                    way_m = max(way_m, math.sqrt(along_m * along_m + inside_m2) - along_m)
        lasts_s = way_m / max(_open_mps(memory, figures, i, ex, ey, way_m, rows, counted, count), _NO_WAY_MPS)
        if lasts_s < best_s:
            best_s, best_x, best_y, best_m = lasts_s, ex, ey, way_m
    return best_x, best_y, best_m


@inlined
def _open_mps(
    memory: Memory, figures: Figures, i: int, ex: float, ey: float, way_m: float, rows: Constraints, counted: Ints,
    count: int,
) -> float:  # fmt: skip
    """How fast a way out may be flown as the conditions are now; 0 where it leads above another one that stands, or
    closer to one that flies than the pair is to be.
    """
    speed_mps = _PASSING_MPS
    for row in range(count + 6):
        toward = -(rows.A[row, 0] * ex + rows.A[row, 1] * ey)
        if toward > 0.0:
            speed_mps = min(speed_mps, -rows.b[row] / toward)
    for row in range(count):
        j = counted[row]
        dx, dy = memory.pose_m[i, 0] - memory.heard_m[i, j, 0], memory.pose_m[i, 1] - memory.heard_m[i, j, 1]
        farther_m2 = way_m * (2.0 * (dx * ex + dy * ey) + way_m)
        if memory.heard_m[i, j, 2] >= figures.grounded_height_m:
            blocked = rows.h[row] + farther_m2 < min(rows.h[row], 0.0)
        else:
            clearance_m = figures.descent_clearance * memory.distance_m[i, j]
            blocked = dx * dx + dy * dy + farther_m2 < 0.99 * clearance_m * clearance_m
        if blocked:
            return 0.0
    return speed_mps


@inlined
def _keep_right(
    memory: Memory, figures: Figures, i: int, dt_s: float, rows: Constraints, count: int, wanted_mps: Array
) -> None:
    """Whom another drone has kept from getting on for a while turns right, the more the longer, and so passes it.

    The barrier lets two drones that want to pass through each other stand face to face for ever. With the rule both
    turn to their own right, which for both is the same way round; beyond 90 degrees they also back off, which makes
    room where others stand on the right as well. It changes what is asked of the filter, never what the filter allows:

        v_nom turned clockwise by    gain 90 deg (t_blocked - patience) / patience,    at most 120 deg

    A goal where others stand, as a place that is served, has no other side to get to: who has gone a quarter round it
    waits until the way is free or leads elsewhere.
    """
    wx, wy = wanted_mps[0], wanted_mps[1]
    speed_mps = math.hypot(wx, wy)
    ahead = False
    if speed_mps >= _MEANT_MPS:
        for row in range(count):
            ax, ay = rows.A[row, 0], rows.A[row, 1]
            closing_mps = -(ax * wx + ay * wy)
            if ahead or closing_mps <= -rows.b[row]:
                continue  # nobody blocks who may be approached as fast as is asked
            flat = math.hypot(ax, ay)
            ahead = flat > 0.5 and closing_mps > _AHEAD * flat * speed_mps  # nor who is above, below, beside or behind
    made_mps = (memory.last_mps[i, 0] * wx + memory.last_mps[i, 1] * wy) / max(speed_mps, _MEANT_MPS)
    blocked = ahead and made_mps < _GETTING_ON * speed_mps
    most_s = (1.0 + _MOST_TURN / (0.5 * math.pi)) * _PATIENCE_S
    memory.blocked_s[i] = min(max(memory.blocked_s[i] + (dt_s if blocked else -dt_s), 0.0), most_s)
    if speed_mps >= _MEANT_MPS:
        _follow_heading(memory, i, math.atan2(wy, wx), blocked, dt_s)
    late_s = memory.blocked_s[i] - _PATIENCE_S
    if ahead and late_s > 0.0 and abs(memory.gone_round[i]) < _ROUND:
        turn = figures.keep_right_gain * 0.5 * math.pi * late_s / _PATIENCE_S
        cos, sin = math.cos(turn), math.sin(turn)
        wanted_mps[0], wanted_mps[1] = cos * wx + sin * wy, cos * wy - sin * wx


@inlined
def _follow_heading(memory: Memory, i: int, heading: float, blocked: bool, dt_s: float) -> None:
    """How far the heading to the goal has turned while drone i was blocked, forgotten while it is not."""
    turned = heading - memory.heading[i]
    turned -= 2.0 * math.pi * round(turned / (2.0 * math.pi))
    memory.heading[i] = heading
    if abs(turned) > _NEW_GOAL:
        memory.gone_round[i] = 0.0
    elif memory.blocked_s[i] > 0.0:
        memory.gone_round[i] += turned
    if not blocked:
        less = _ROUND * dt_s / _FORGOTTEN_S
        memory.gone_round[i] -= min(max(memory.gone_round[i], -less), less)


@inlined
def _count(memory: Memory, figures: Figures, i: int, now_s: float, counted: Ints, answers: Answers) -> int:
    """The slots that count now, into `counted`; who is forgotten goes."""
    count, square, oldest_s, above, below = 0, np.inf, -np.inf, True, True
    for j in range(memory.heard_s.shape[1]):
        if now_s - memory.heard_s[i, j] > figures.neighbour_forget_s:
            memory.heard_s[i, j] = NEVER_S
            continue
        counted[count] = j
        count += 1
        dx = memory.heard_m[i, j, 0] - memory.pose_m[i, 0]
        dy = memory.heard_m[i, j, 1] - memory.pose_m[i, 1]
        dz = memory.heard_m[i, j, 2] - memory.pose_m[i, 2]
        square = min(square, dx * dx + dy * dy + dz * dz)
        oldest_s = max(oldest_s, max(now_s - memory.heard_s[i, j], 0.0))
        if memory.heard_m[i, j, 2] >= figures.grounded_height_m:
            above = above and _are_apart(dx, dy, figures.rise_clearance_m)
        if dz < -figures.grounded_height_m:
            below = below and _are_apart(dx, dy, figures.descent_clearance * memory.distance_m[i, j])
    answers.neighbours[i], answers.clear_above[i], answers.clear_below[i] = count, above, below
    answers.distance_min_m[i] = math.sqrt(square) if count else np.nan
    answers.age_max_s[i] = oldest_s if count else np.nan
    return count


@compiled
def _are_apart(dx: float, dy: float, least: float) -> bool:
    """Whether hypot(dx, dy) is at least so much, for which one of them is mostly enough."""
    return abs(dx) >= least or abs(dy) >= least or math.hypot(dx, dy) >= least


@inlined
def _constrain(
    memory: Memory, figures: Figures, i: int, now_s: float, counted: Ints, count: int, rows: Constraints,
    vectors: Array,
) -> None:  # fmt: skip
    """Conditions of guard i: one per counted neighbour, six walls, two limits of the climb; in `vectors` (3, 3) it
    reckons.
    """
    hypotheses, own_m = figures.hypotheses, memory.pose_m[i]
    own_age_s = max(0.0, now_s - memory.pose_s[i])
    most_mps, climb_mps = memory.speed_mps[i], memory.climb_mps[i]
    velocity_mps, inset_m, return_mps = vectors[0], vectors[1], vectors[2]
    for row in range(count):
        j = counted[row]
        other_m = memory.heard_m[i, j]
        age_s = max(now_s - memory.heard_s[i, j], 0.0)
        grounded = other_m[2] < figures.grounded_height_m
        still = grounded or age_s > figures.neighbour_timeout_s
        share = ALONE if still or other_m[2] < figures.height_min_m else SHARED
        bound_mps = 0.0 if grounded else memory.bound_mps[i, j]
        for c in range(3):
            velocity_mps[c] = 0.0 if still else memory.heard_mps[i, j, c]
        counts_s = min(age_s, figures.neighbour_timeout_s)
        e = _displacement_m(hypotheses, most_mps, own_age_s, bound_mps, counts_s)
        radius_m = _radius_m(hypotheses, memory.distance_m[i, j], e, most_mps, bound_mps, share)
        write_pair(
            rows, row, own_m, other_m, velocity_mps, radius_m, share, 1.0 if grounded else memory.flattening[i, j],
            hypotheses.gain_per_s, figures.breach_tolerance_mps, most_mps,
        )  # fmt: skip
    for c in range(3):  # fast enough to come back, slow enough for two walls and a climb to fit into the limit together
        inset_m[c] = _wall_inset_m(hypotheses, most_mps if c < 2 else climb_mps, own_age_s)
        return_mps[c] = 0.5 * (most_mps if c < 2 else min(climb_mps, most_mps))
    write_walls(rows, count, own_m, memory.lower_m, memory.upper_m, inset_m, hypotheses.gain_per_s, return_mps)
    for side in range(2):  # |v_z| <= climb_mps; nothing forbidden is near
        row = count + 6 + side
        rows.A[row, 0], rows.A[row, 1], rows.A[row, 2] = 0.0, 0.0, 1.0 - 2.0 * side
        rows.b[row] = rows.floor[row] = -climb_mps
        rows.h[row] = np.inf


@inlined
def _nearest(rows: Constraints, counted: Ints, count: int, i: int, answers: Answers) -> None:
    """The smallest barrier value, and whose it is."""
    answers.nearest[i], answers.barrier_min[i] = WALL, np.inf
    for row in range(count + 6):
        if rows.h[row] < answers.barrier_min[i]:
            answers.barrier_min[i] = rows.h[row]
            answers.nearest[i] = counted[row] if row < count else WALL


def prepare() -> None:
    """Compile now, or load what is compiled: the first command must not wait for it (10 s of processor time, once)."""
    figures = Figures(Hypotheses(1.0, 1.0, 0.0, 0.0), 1.0, *(0.0,) * (len(Figures._fields) - 2))
    nobody, box_m = np.zeros(0, np.int64), np.zeros(3)
    with compiling():
        known = pack((empty_memory(1, 1, box_m, box_m), figures))
        command(known, nobody, 0.0, empty_room(1))
        hear_in_turn(known, 0, nobody, nobody, np.zeros(0), np.zeros((0, 3)))
        hear_all(known, np.zeros((1, 0), np.bool_), np.zeros(0), np.zeros((0, 3)))
        take_poses(known, np.zeros(0, np.bool_), np.zeros(0), np.zeros((0, 3)))
        hear(known, 0, 0, 0.0, 0.0, 0.0, 0.0)
