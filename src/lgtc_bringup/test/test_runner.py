"""Whatever processes do and however a flight ends, none is left behind."""

import os
import signal
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bringup_stand_ins import group_members, plan_of, program, said, wait_until

from lgtc_bringup import runner as runner_module
from lgtc_bringup.middleware import IMPLEMENTATION, PROFILES, RANGE
from lgtc_bringup.runner import ProcessError, Runner, environment_of


@pytest.fixture
def quick_kill(monkeypatch):
    monkeypatch.setattr(runner_module, "TERMINATE_AFTER_S", 0.3)


def started(tmp_path: Path, **behaviours) -> Runner:
    runner = Runner(plan_of(tmp_path, **behaviours), program)
    runner.start()
    wait_until(lambda: all("up" in said(runner, name) for name in behaviours))
    return runner


def test_processes_end_by_themselves_after_the_first_signal(tmp_path):
    runner = started(tmp_path, a="good", b="good")
    runner.finish()
    assert {(ended.process.name, ended.code) for ended in runner.wait(5.0)} == {("a", 0), ("b", 0)}


def test_stop_ends_processes_that_want_two_signals_without_killing_them(tmp_path):
    runner = started(tmp_path, a="twice")
    assert [ended.code for ended in runner.stop()] == [0]


def test_a_process_that_ignores_signals_is_killed_with_its_children(tmp_path, quick_kill):
    runner = started(tmp_path, a="stubborn", b="good")
    pid = runner.pid("a")
    wait_until(lambda: len(group_members(pid)) == 2)
    codes = {ended.process.name: ended.code for ended in runner.stop()}
    assert codes == {"a": -signal.SIGKILL, "b": 0}
    wait_until(lambda: group_members(pid) == [])


def test_an_exception_in_the_flight_leaves_no_process(tmp_path):
    runner = Runner(plan_of(tmp_path, a="good", b="twice"), program)
    pids = []

    def fly():
        with runner:
            runner.start()
            pids.extend([runner.pid("a"), runner.pid("b")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fly()
    assert [group_members(pid) for pid in pids] == [[], []]


def test_an_ended_process_is_told_once_with_code_log_and_last_words(tmp_path):
    with Runner(plan_of(tmp_path, a="fails"), program) as runner:
        runner.start()
        (ended,) = runner.wait(10.0)
        assert (ended.code, ended.process.name, runner.poll(), runner.running) == (3, "a", (), ())
        assert "the last words" in ended.last_words()
        assert f"{ended}" == f"a ended (exit code 3), see {tmp_path / 'logs' / 'a.log'}"


def test_a_killed_process_is_told_by_the_name_of_the_signal(tmp_path):
    runner = started(tmp_path, a="good")
    os.kill(runner.pid("a"), signal.SIGKILL)
    (ended,) = runner.wait(5.0)
    assert "SIGKILL" in f"{ended}"


def test_if_one_program_is_missing_none_runs(tmp_path):
    runner = Runner(
        plan_of(tmp_path, a="good", b="good"), lambda p: program(p) if p.name == "a" else Path("/no/such/program")
    )
    with pytest.raises(ProcessError, match="/no/such/program"):
        runner.start()
    assert runner.running == ()


def test_processes_know_their_parent_and_write_into_logs_not_to_the_terminal(tmp_path, capfd):
    runner = started(tmp_path, a="good")
    runner.stop()
    assert f"parent {os.getpid()} up" in said(runner, "a")
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_in_the_terminal_does_not_reach_the_processes(tmp_path):
    runner = started(tmp_path, a="good")
    try:
        assert os.getpgid(runner.pid("a")) != os.getpgid(0)
    finally:
        runner.stop()


def test_the_users_environment_outranks_the_plans(tmp_path):
    plan = plan_of(tmp_path, a="good")
    own = {"PYTHONUNBUFFERED": "0", "HOME": "/h", RANGE: "SUBNET"}
    assert environment_of(plan, own) == own
    assert environment_of(plan, {})["PYTHONUNBUFFERED"] == "1"


def test_a_flight_stays_on_this_host_without_shared_memory_unless_the_user_has_decided_otherwise(tmp_path):
    plan = plan_of(tmp_path, a="good")
    alone = environment_of(plan, {IMPLEMENTATION: "rmw_fastrtps_cpp"})
    assert alone[RANGE] == "SYSTEM_DEFAULT"
    profile = ElementTree.parse(alone[PROFILES])
    kinds = [element.text for element in profile.iter() if element.tag.endswith("}type")]
    addresses = {element.text for element in profile.iter() if element.tag.endswith("}address")}
    assert (kinds, addresses) == (["UDPv4"], {"127.0.0.1"})
    for own in ({IMPLEMENTATION: "rmw_cyclonedds_cpp"}, {PROFILES: "mine.xml"}):
        chosen = environment_of(plan, own)
        assert chosen[RANGE] == "LOCALHOST"
        assert chosen.get(PROFILES) == own.get(PROFILES)


def test_a_signal_to_a_process_that_has_just_ended_reaches_nobody(tmp_path):
    with Runner(plan_of(tmp_path, a="fails"), program) as runner:
        runner.start()
        pid = runner.pid("a")
        wait_until(lambda: group_members(pid) == [])
        runner.signal(signal.SIGTERM)
        assert [ended.code for ended in runner.poll()] == [3]
