"""The verdict is true to the bag: each fault fails its own check, and no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lgtc_analysis.bag import read_flight
from lgtc_analysis.flight import Flight
from lgtc_analysis.verdict import Outcome, longest_run_s, percent, verdict

Fly = Callable[..., Path]
Flown = Callable[..., Flight]


def test_a_clean_flight_passes_every_check(flight: Flight) -> None:
    judged = verdict(flight)
    assert judged.passed
    assert [check.outcome for check in judged.checks] == [Outcome.PASS] * len(judged.checks)
    assert judged.headline == f"All {len(judged.checks)} checks passed."


@pytest.mark.parametrize(
    ("fault", "failing"),
    [
        ("abort", {"Mission flown to its end"}),
        ("nobody comes", {"Places served again after a server left", "Demand met when the mission ended"}),
        ("stays up", {"Drones with an empty battery landed"}),
        ("too close", {"No two drones closer than the safety distance"}),
        ("lands on another", {"No drone came down on another"}),
        ("leaves the arena", {"Flying drones stayed inside the arena"}),
        ("squeezed", {"Safety filters kept their conditions"}),
        ("wings stall", {"Setpoints never paused in flight"}),
        ("never lands", {"Every drone came down again"}),
    ],
)
def test_a_fault_fails_its_own_check_and_no_other(flown: Flown, fault: str, failing: set[str]) -> None:
    judged = verdict(flown(fault))
    assert not judged.passed
    assert {check.name for check in judged.failed} == failing
    assert all(name in judged.headline for name in failing)


def test_a_recording_cut_short_does_not_pass(fly: Fly, tmp_path: Path) -> None:
    whole = next(fly().glob("*.mcap")).read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[: len(whole) // 2])
    judged = verdict(read_flight(tmp_path / "cut.mcap"))
    assert "Recording is whole" in {check.name for check in judged.failed}
    assert "Mission flown to its end" in {check.name for check in judged.failed}


def test_a_topic_without_messages_does_not_pass(flight: Flight) -> None:
    object.__setattr__(flight, "missing", ("/cf1/safety",))
    try:
        failed = {check.name: check.got for check in verdict(flight).failed}
    finally:
        object.__setattr__(flight, "missing", ())
    assert failed == {"Recording is whole": "nothing on /cf1/safety"}


def test_the_longest_run_is_measured_from_its_first_to_its_last() -> None:
    flags = np.array([True, True, False, True, True, True, False])
    times_s = np.arange(7) * 0.1
    assert longest_run_s(flags, times_s) == pytest.approx(0.2)
    assert longest_run_s(np.zeros(7, bool), times_s) == 0.0


def test_a_share_short_of_all_is_never_called_all() -> None:
    assert percent(1.0) == "100 %"
    assert percent(0.9989) == "99.8 %"
    assert percent(0.0) == "0 %"
