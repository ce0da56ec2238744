"""The simulated world keeps to the wall's clock, waits for late setpoints, and not for ever."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgtc_sim.pace import BEHIND_S, LATE_S, Pace

DT_S, LOOK_S = 0.01, 0.002
STREAMS = np.array([True, True, False])


def run(pace: Pace, until_s: float, answer: Callable[[int, float, float], float | None]) -> tuple[float, float]:
    """(simulated time after `until_s` of real time, largest lag of the streams at a step).

    `answer`: (vehicle, real time, simulated time) -> stamp of what it is told now, if anything.
    """
    now_s, most_s, stamps_s = 0.0, 0.0, np.zeros(3)
    for look in range(round(until_s / LOOK_S)):
        wall_s = 100.0 + look * LOOK_S
        for i in range(3):
            stamp_s = answer(i, wall_s - 100.0, now_s)
            if stamp_s is not None:
                pace.answered(i, stamp_s)
                stamps_s[i] = stamp_s
        while pace.due(wall_s, now_s, STREAMS):
            most_s = max(most_s, float((now_s - stamps_s[STREAMS]).max()))
            now_s += pace.dt_s
    return now_s, most_s


@given(speed=st.floats(0.1, 4.0), patience_s=st.floats(0.0, 2.0))
def test_where_everybody_answers_in_time_it_keeps_to_the_wall_s_clock(speed: float, patience_s: float) -> None:
    pace = Pace(3, DT_S, speed, patience_s)
    now_s, _ = run(pace, 3.0, lambda i, wall_s, now_s: now_s if i < 2 else None)
    assert now_s == pytest.approx(3.0 * speed, abs=speed * LOOK_S + DT_S + 1e-9)
    assert pace.waited_s == 0.0


@given(speed=st.floats(1.0, 50.0), period_s=st.floats(0.12, 0.5))
def test_somebody_slow_makes_time_run_slower_and_is_never_farther_behind_than_is_late(
    speed: float, period_s: float
) -> None:
    pace, last_s = Pace(3, DT_S, speed, 2.0), [-1.0]

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


def test_who_is_silent_is_waited_for_once_and_again_after_it_was_in_time() -> None:
    pace = Pace(3, DT_S, 1.0, 0.5)
    silent = ((1.0, 3.0), (4.0, 5.0))

    def answer(i: int, wall_s: float, now_s: float) -> float | None:
        return None if i == 1 and any(begin <= wall_s < end for begin, end in silent) else now_s

    now_s, _ = run(pace, 6.0, answer)
    assert pace.waited_s == pytest.approx(2 * 0.5, abs=0.02)
    assert now_s == pytest.approx(6.0 - 2 * 0.5, abs=0.05)


def test_without_patience_it_waits_for_nobody_and_who_does_not_stream_is_never_waited_for() -> None:
    for pace, answers in ((Pace(3, DT_S, 1.0, 0.0), ()), (Pace(3, DT_S, 1.0, 5.0), (0, 1))):
        now_s, _ = run(pace, 2.0, lambda i, wall_s, now_s, answers=answers: now_s if i in answers else None)
        assert now_s == pytest.approx(2.0, abs=0.02)
        assert pace.waited_s == 0.0


def test_after_a_stall_only_a_little_is_made_up_for() -> None:
    pace, steps = Pace(1, DT_S, 1.0, 1.0), 0
    for wall_s in (0.0, 5.0):
        while pace.due(wall_s, steps * DT_S, np.zeros(1, np.bool_)):
            steps += 1
    assert steps * DT_S == pytest.approx(BEHIND_S, abs=DT_S)
