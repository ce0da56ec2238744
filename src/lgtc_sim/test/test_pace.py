"""The simulated world keeps to the wall's clock, waits for who is late, and not for ever."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgtc_sim.pace import BEHIND_S, Pace

DT_S, LOOK_S, LATE_S = 0.01, 0.002, 0.1
AWAITED = np.array([True, True, False])


def run(pace: Pace, until_s: float, answer: Callable[[int, float, float], float | None]) -> tuple[float, float]:
    """(simulated time after `until_s` of real time, largest lag of those awaited at a step).

    `answer`: (sender, real time, simulated time) -> stamp of what it says now, if anything.
    """
    now_s, most_s, stamps_s = 0.0, 0.0, np.zeros(3)
    for look in range(round(until_s / LOOK_S)):
        wall_s = 100.0 + look * LOOK_S
        for i in range(3):
            stamp_s = answer(i, wall_s - 100.0, now_s)
            if stamp_s is not None:
                pace.heard(i, stamp_s)
                stamps_s[i] = stamp_s
        while pace.due(wall_s, now_s, AWAITED):
            most_s = max(most_s, float((now_s - stamps_s[AWAITED]).max()))
            now_s += pace.dt_s
    return now_s, most_s


@given(speed=st.floats(0.1, 4.0), patience_s=st.floats(0.0, 2.0))
def test_where_everybody_answers_in_time_it_keeps_to_the_wall_s_clock(speed: float, patience_s: float) -> None:
    pace = Pace([LATE_S] * 3, DT_S, speed, patience_s)
    now_s, _ = run(pace, 3.0, lambda i, wall_s, now_s: now_s if i < 2 else None)
    assert now_s == pytest.approx(3.0 * speed, abs=speed * LOOK_S + DT_S + 1e-9)
    assert pace.waited_s == 0.0


@given(speed=st.floats(1.0, 50.0), period_s=st.floats(0.12, 0.5))
def test_somebody_slow_makes_time_run_slower_and_is_never_farther_behind_than_is_late(
    speed: float, period_s: float
) -> None:
    pace, last_s = Pace([LATE_S] * 3, DT_S, speed, 2.0), [-1.0]

    def slow(i: int, wall_s: float, now_s: float) -> float | None:
        if i == 0 and wall_s - last_s[0] < period_s:
            return None
        if i == 0:
            last_s[0] = wall_s
        return now_s

    now_s, most_s = run(pace, 10.0, slow)
    assert most_s <= LATE_S + 1e-9
    assert now_s == pytest.approx(10.0 * min(speed, (LATE_S + DT_S) / period_s), rel=0.2)
    assert pace.waited_s > 0.0


def test_who_lags_but_speaks_is_waited_for_until_it_has_caught_up() -> None:
    pace, thinks_s = Pace([LATE_S] * 3, DT_S, 1.0, 0.2), [0.0]

    def behind(i: int, wall_s: float, now_s: float) -> float | None:
        """From 1 s on, sender 0 needs three times as long for everything, for a second."""
        if i == 0:
            thinks_s[0] = min(now_s, thinks_s[0] + LOOK_S / (3.0 if 1.0 <= wall_s < 2.0 else 0.1))
        return thinks_s[0] if i == 0 else now_s

    _, most_s = run(pace, 4.0, behind)
    assert most_s <= LATE_S + DT_S
    assert pace.waited_s == pytest.approx(2.0 / 3.0 - LATE_S, abs=0.05)


def test_who_is_silent_is_waited_for_once_and_again_after_it_spoke() -> None:
    pace = Pace([LATE_S] * 3, DT_S, 1.0, 0.5)
    silent = ((1.0, 3.0), (4.0, 5.0))

    def answer(i: int, wall_s: float, now_s: float) -> float | None:
        return None if i == 1 and any(begin <= wall_s < end for begin, end in silent) else now_s

    now_s, _ = run(pace, 6.0, answer)
    assert pace.waited_s == pytest.approx(2 * 0.5, abs=0.02)
    assert now_s == pytest.approx(6.0 - 2 * 0.5, abs=0.05)


def test_those_who_fall_silent_one_after_the_other_are_waited_for_once() -> None:
    limits_s = [LATE_S, 2.0 * LATE_S, 3.0 * LATE_S]
    pace = Pace(limits_s, DT_S, 1.0, 0.5)
    silent_s, now_s = (1.0, 1.05, 1.1), 0.0
    for look in range(round(6.0 / LOOK_S)):
        wall_s = look * LOOK_S
        for i in range(3):
            if wall_s < silent_s[i]:
                pace.heard(i, now_s)
        while pace.due(wall_s, now_s, np.ones(3, np.bool_)):
            now_s += DT_S
    assert pace.waited_s == pytest.approx(0.5, abs=0.02)
    assert now_s == pytest.approx(6.0 - 0.5, abs=0.05)


def test_without_patience_it_waits_for_nobody() -> None:
    pace = Pace([LATE_S] * 3, DT_S, 1.0, 0.0)
    now_s, _ = run(pace, 2.0, lambda i, wall_s, now_s: now_s if wall_s < 0.5 else None)
    assert now_s == pytest.approx(2.0, abs=0.02)
    assert pace.waited_s == 0.0


def test_who_is_not_awaited_or_was_never_heard_is_not_waited_for() -> None:
    pace = Pace([LATE_S] * 3, DT_S, 1.0, 5.0)
    until_s = {0: 9.0, 2: 0.5}  # nobody awaits the last one
    now_s, _ = run(pace, 2.0, lambda i, wall_s, now_s: now_s if wall_s < until_s.get(i, -1.0) else None)
    assert now_s == pytest.approx(2.0, abs=0.02)
    assert pace.waited_s == 0.0


def test_after_a_stall_only_a_little_is_made_up_for() -> None:
    pace, steps = Pace([LATE_S], DT_S, 1.0, 1.0), 0
    for wall_s in (0.0, 5.0):
        while pace.due(wall_s, steps * DT_S, np.zeros(1, np.bool_)):
            steps += 1
    assert steps * DT_S == pytest.approx(BEHIND_S, abs=DT_S)
