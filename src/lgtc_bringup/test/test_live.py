"""What the live view shows is what was heard, on a terminal and off it."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from lgtc_bringup.live import LINE_EVERY_S, LiveView, line, picture
from lgtc_bringup.snapshot import ConsumerSnapshot, DroneSnapshot, Snapshot

FLYING = Snapshot(
    time_s=42.0,
    silent_s=0.1,
    mission="ACTIVE",
    elapsed_s=31.5,
    kinds=("battery", "parcel"),
    drones=(
        DroneSnapshot(
            "cf1", "FLYING", True, "", 0.83, 3.9, "OK", (0.83, 0.0), "north", "FILTERED", distance_min_m=0.71
        ),
        DroneSnapshot("cf2", "LANDED", False, "battery empty", 0.0, 3.0, "LAND", (0.0, 0.0)),
    ),
    consumers=(
        ConsumerSnapshot("north", (0.6, 0.0), (0.0, 0.0), ("cf1",)),
        ConsumerSnapshot("south", (0.6, 2.0), (0.6, 0.5)),
    ),
    distance_min_m=0.52,
    real_time_factor=0.98,
)


def drawn(snapshot: Snapshot, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(picture(snapshot, width))
    return console.file.getvalue()


def row(text: str, first: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(first))


def test_the_picture_tells_phase_battery_choice_filter_and_reason_of_every_drone():
    text = drawn(FLYING)
    for word in ("FLYING", "83%", "3.90 V", "north", "FILTERED", "0.71 m"):
        assert word in row(text, "cf1")
    for word in ("LANDED", "0%", "battery empty"):
        assert word in row(text, "cf2")


def test_the_picture_tells_mission_time_distance_and_speed():
    text = drawn(FLYING).splitlines()[0]
    for word in ("ACTIVE", "31.5 s", "0.52 m", "0.98 x"):
        assert word in text


def test_a_consumer_has_a_row_per_kind_that_it_asks_for_with_what_is_met_and_by_whom():
    lines = drawn(FLYING).splitlines()
    assert sum(text.startswith("north") for text in lines) == 1
    assert "0.60 / 0.60" in row(drawn(FLYING), "north")
    assert "cf1" in row(drawn(FLYING), "north")
    south = [text for text in lines if text.startswith("south")]
    assert ["0.00 / 0.60" in south[0], "1.50 / 2.00" in south[1]] == [True, True]


@pytest.mark.parametrize(("remaining", "met"), [(2.0, 0.0), (0.5, 0.75), (0.0, 1.0), (-1e-9, 1.0), (2.1, 0.0)])
def test_the_share_met_stays_between_none_and_all(remaining, met):
    assert ConsumerSnapshot("a", (2.0,), (remaining,)).met(0) == met


def test_before_anything_is_heard_the_picture_says_so():
    text = drawn(Snapshot(drones=(DroneSnapshot("cf1"),)))
    assert "waiting for the nodes" in text
    assert "not heard" in row(text, "cf1")
    assert Snapshot(drones=(DroneSnapshot("cf1"),)).missing == ("the vehicle of cf1", "the supervisor")


def test_a_team_is_up_when_supervisor_and_every_vehicle_have_spoken():
    assert FLYING.up
    assert not replace(FLYING, mission="").up
    assert not replace(FLYING, drones=(*FLYING.drones, DroneSnapshot("cf3"))).up


def test_a_narrow_terminal_still_tells_phase_battery_choice_and_demand():
    text = drawn(FLYING, width=60)
    assert all(len(one) <= 60 for one in text.splitlines())
    for word in ("FLYING", "83%", "north", "FILTERED"):
        assert word in row(text, "cf1")
    assert "0.60 / 0.60" in row(text, "north")


def test_notes_are_shown_as_they_are_even_with_brackets():
    assert "[mind] died" in drawn(replace(FLYING, notes=("[mind] died",)))
    assert "[mind] died" in line(replace(FLYING, notes=("[mind] died",)))


@pytest.mark.parametrize("terminal", ["pipe", "dumb", "no-live"])
def test_off_a_terminal_the_same_comes_as_a_line_now_and_then_and_at_every_change_of_phase(terminal):
    now_s = [0.0]
    console = Console(
        file=io.StringIO(),
        width=40,
        force_terminal=terminal != "pipe",
        _environ={"TERM": "dumb" if terminal == "dumb" else "xterm"},
    )
    with LiveView(console, live=terminal != "no-live", clock=lambda: now_s[0]) as view:
        for step in range(60):
            now_s[0] = step * 0.2
            view.show(FLYING if step < 50 else replace(FLYING, mission="LAND"))
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 1 + int(10.0 / LINE_EVERY_S - 1) + 1
    assert lines[0] == line(FLYING)
    assert lines[-1].startswith("LAND")
    assert all("\x1b" not in one for one in lines)


def test_on_a_terminal_the_picture_is_redrawn_in_place():
    console = Console(file=io.StringIO(), force_terminal=True, width=120, _environ={"TERM": "xterm"})
    with LiveView(console) as view:
        view.show(FLYING)
        view.show(replace(FLYING, elapsed_s=32.0))
    text = console.file.getvalue()
    assert "32.0 s" in text
    assert "\x1b[" in text
