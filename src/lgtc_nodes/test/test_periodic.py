"""What is done periodically is done once per period, whatever steps time takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgtc_nodes.periodic import Periodic


def calls(period_s: float, times_s: list[float]) -> list[float]:
    """When the action is called."""
    called: list[float] = []
    periodic = Periodic(period_s, called.append)
    for now_s in times_s:
        periodic.look(now_s)
    return called


@given(start=st.integers(0, 10**6), period=st.integers(2, 50))
def test_in_small_steps_it_comes_at_every_period_from_the_first_look_on(start: int, period: int) -> None:
    times_s = [(start + k) * 0.01 for k in range(10 * period + 1)]
    expected = [(start + k * period) * 0.01 for k in range(1, 11)]
    np.testing.assert_allclose(calls(period * 0.01, times_s), expected, atol=1e-9)


@given(steps=st.lists(st.integers(0, 15), min_size=1, max_size=60))
def test_it_comes_once_for_all_periods_passed_at_once_and_in_step_again_after_that(steps: list[int]) -> None:
    times_s = (0.01 * np.cumsum([0, *steps])).tolist()
    called = calls(0.1, times_s)
    whole = [round(100 * now_s) // 10 for now_s in times_s]
    due = [now_s for now_s, k, before in zip(times_s[1:], whole[1:], whole, strict=False) if k > before]
    assert called == due


def test_after_a_stall_of_its_process_it_is_skipped_once() -> None:
    assert calls(0.02, [0.0, 0.02, 0.04, 0.5, 0.5, 0.52]) == [0.02, 0.04, 0.52]
    assert calls(0.1, [0.0, 0.1, 0.38, 0.72, 0.8]) == [0.1, 0.38, 0.8]


def test_where_time_is_set_back_it_goes_on_from_there() -> None:
    assert calls(0.1, [5.0, 5.1, 0.0, 0.05, 0.1, 0.2]) == pytest.approx([5.1, 0.1, 0.2])
