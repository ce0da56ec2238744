"""A flight ends as it should, whichever process fails, whenever a person interrupts. Real processes, scripted team."""

import math
import os
import signal
import time
from dataclasses import replace

import pytest
from bringup_stand_ins import plan_of, program, said

from lgtc_bringup import flight as flight_module
from lgtc_bringup.flight import Flight, Interrupts
from lgtc_bringup.plan import RESTARTS, OnFailure
from lgtc_bringup.runner import ProcessError, Runner
from lgtc_bringup.snapshot import DroneSnapshot, Snapshot


class Team:
    """A team: up once its processes are, down 0.3 s after it was told to land, DONE at `done_s`; can be deaf."""

    def __init__(self, runner: Runner, done_s: float = 600.0, deaf: bool = False, up: bool = True) -> None:
        self.runner, self.deaf, self.up = runner, deaf, up
        self.done_after_s = done_s
        self.done_s = math.inf
        self.aborted = self.ended = False

    def look(self) -> Snapshot:
        now_s = time.monotonic()
        empty = Snapshot(drones=(DroneSnapshot("cf1"),))
        if not (self.up and all("up" in said(self.runner, one.name) for one in self.runner.plan.processes)):
            return empty
        if math.isinf(self.done_s):
            self.done_s = now_s + self.done_after_s
        if now_s >= self.done_s and not self.ended:
            self.ended = True
            self.runner.finish()  # the nodes end themselves on DONE
        phase = "DONE" if now_s >= self.done_s else "ABORT" if self.aborted else "ACTIVE"
        return replace(empty, mission=phase, drones=(DroneSnapshot("cf1", phase="FLYING"),))

    def land(self) -> None:
        if not self.deaf:
            self.done_s = min(self.done_s, time.monotonic() + 0.3)

    def abort(self) -> bool:
        self.aborted = not self.deaf
        self.land()
        return self.aborted


class Screen:
    def __init__(self) -> None:
        self.shown: list[Snapshot] = []

    def show(self, snapshot: Snapshot) -> None:
        self.shown.append(snapshot)


@pytest.fixture
def fly(tmp_path, monkeypatch):
    monkeypatch.setattr(flight_module, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(flight_module, "_MEASURE_EVERY_S", 0.1)
    screen = Screen()

    def run(*, interrupts: Interrupts | None = None, at_look=None, team=None, **behaviours):
        runner = Runner(plan_of(tmp_path, **behaviours), program)
        watch = Team(runner, **(team or {}))
        counted = interrupts or Interrupts()
        if at_look is not None:
            look = watch.look

            def hooked() -> Snapshot:
                at_look(runner, watch, counted)
                return look()

            watch.look = hooked
        with runner:
            outcome = Flight(runner.plan, runner, watch, screen, counted).fly()
        return outcome, runner, watch

    run.screen = screen
    return run


def once(action, when_s: float):
    """An action at one time of the flight, counted from when the team is up."""
    state = {"start_s": None, "done": False}

    def hook(runner, team, interrupts) -> None:
        if math.isinf(team.done_s):
            return
        state["start_s"] = state["start_s"] or time.monotonic()
        if not state["done"] and time.monotonic() - state["start_s"] >= when_s:
            state["done"] = True
            action(runner, team, interrupts)

    return hook


def kill(name: str):
    return once(lambda runner, *_: os.kill(runner.pid(name), signal.SIGKILL), 0.2)


def test_a_good_flight_ends_completed_without_notes_and_with_the_usage_of_every_process(fly):
    outcome, runner, _ = fly(team={"done_s": 0.8}, wings="good", mind="good")
    assert (outcome.completed, outcome.notes, outcome.interrupted, runner.running) == (True, (), False, ())
    assert set(outcome.usage) == {"wings", "mind", "lgtc"}
    assert all(0.0 <= one.cores < 2.0 and one.memory_mb > 1.0 for one in outcome.usage.values())


def test_when_a_mind_dies_the_mission_is_aborted_and_all_land(fly):
    outcome, runner, team = fly(at_look=kill("mind"), mind="good", wings="good")
    assert team.aborted
    assert not outcome.completed
    assert runner.running == ()
    assert "mind ended (SIGKILL)" in outcome.notes[0]


def test_when_the_supervisor_does_not_answer_the_processes_are_asked_to_finish(fly):
    outcome, runner, _ = fly(team={"deaf": True}, at_look=kill("supervisor"), supervisor="good", wings="good")
    assert not outcome.completed
    assert [note.split()[0] for note in outcome.notes] == ["supervisor"]
    assert runner.running == ()


def test_when_the_simulator_dies_all_is_stopped_at_once(fly):
    outcome, runner, team = fly(at_look=kill("simulator"), simulator=("good", OnFailure.STOP), wings="twice")
    assert not team.aborted
    assert not outcome.completed
    assert runner.running == ()


def test_when_the_recorder_dies_the_flight_goes_on_and_it_is_shown(fly):
    outcome, _, team = fly(
        team={"done_s": 1.0}, at_look=kill("recorder"), recorder=("good", OnFailure.TELL), wings="good"
    )
    assert not team.aborted
    assert "recorder ended" in outcome.notes[0]
    assert fly.screen.shown[-1].notes == outcome.notes


def test_the_first_interruption_asks_every_process_to_finish(fly):
    def press(runner, team, interrupts) -> None:
        interrupts.count += 1
        team.land()

    outcome, runner, _ = fly(at_look=once(press, 0.2), wings="good")
    assert outcome.interrupted
    assert runner.running == ()


def test_the_second_interruption_ends_even_a_team_that_does_not_land(fly):
    interrupts = Interrupts()

    def press(*_) -> None:
        interrupts.count += 2

    begin_s = time.monotonic()
    outcome, runner, _ = fly(interrupts=interrupts, at_look=once(press, 0.2), wings="twice", team={"deaf": True})
    assert (outcome.completed, outcome.interrupted, runner.running) == (False, True, ())
    assert time.monotonic() - begin_s < 5.0


def test_a_team_that_does_not_land_in_time_is_ended_and_told(fly, monkeypatch):
    monkeypatch.setattr(flight_module, "LANDED_WITHIN_S", 0.5)
    outcome, runner, _ = fly(
        at_look=once(lambda _r, _t, interrupts: setattr(interrupts, "count", 1), 0.2),
        wings="twice",
        team={"deaf": True},
    )
    assert not outcome.completed
    assert "was not down" in outcome.notes[-1]
    assert runner.running == ()


def test_processes_that_do_not_end_after_the_mission_are_ended_and_told(fly, monkeypatch):
    monkeypatch.setattr(flight_module, "ENDED_WITHIN_S", 0.5)
    monkeypatch.setattr("lgtc_bringup.runner.TERMINATE_AFTER_S", 0.3)
    outcome, runner, _ = fly(team={"done_s": 0.5}, wings="good", recorder="stubborn")
    assert not outcome.completed
    assert "still running" in outcome.notes[-1]
    assert "recorder" in outcome.notes[-1]
    assert runner.running == ()


def test_a_process_that_fails_at_the_start_is_named_with_its_last_words(fly):
    with pytest.raises(ProcessError, match=r"(?s)mind ended.*the last words"):
        fly(team={"up": False}, mind="fails", wings="good")


def test_an_interruption_before_the_flight_ends_it_without_one(fly):
    interrupts = Interrupts()
    interrupts.count = 1
    with pytest.raises(KeyboardInterrupt):
        fly(interrupts=interrupts, team={"up": False}, wings="good")


def test_a_team_that_does_not_come_up_is_named(fly, monkeypatch):
    monkeypatch.setattr(flight_module, "STARTED_WITHIN_S", 0.5)
    with pytest.raises(ProcessError, match=r"the vehicle of cf1, the supervisor"):
        fly(team={"up": False}, wings="good")


def test_signals_to_lgtc_are_counted_and_the_former_handlers_return():
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts().counting() as interrupts:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
        assert interrupts.count == 3
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_process_that_carries_on_from_the_ledger_is_started_again_and_the_flight_is_completed(fly):
    first = []
    hook = once(lambda runner, *_: (first.append(runner.pid("mind")), os.kill(first[0], signal.SIGKILL)), 0.2)
    outcome, runner, team = fly(team={"done_s": 2.0}, at_look=hook, mind=("good", OnFailure.RESTART), wings="good")
    assert outcome.completed
    assert not team.aborted
    assert outcome.notes == (f"mind ended (SIGKILL), see {runner.logs_dir / 'mind.log'}; started again",)
    assert (runner.logs_dir / "mind.log").read_text().count("up") == 2


def test_a_process_that_ends_again_and_again_lands_the_team(fly):
    def kill_again(runner, team, _) -> None:
        if not math.isinf(team.done_s) and "mind" in runner.running and not team.aborted:
            os.kill(runner.pid("mind"), signal.SIGKILL)

    outcome, _, team = fly(at_look=kill_again, mind=("good", OnFailure.RESTART), wings="good")
    assert team.aborted
    assert not outcome.completed
    assert sum("started again" in note for note in outcome.notes) == RESTARTS
