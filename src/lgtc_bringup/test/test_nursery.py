"""Forked hosts are what started ones are: children of whoever asked, with log, name and exit code."""

import ctypes
import os
import signal
from pathlib import Path

import pytest
from bringup_stand_ins import plan_of, wait_until

from lgtc_bringup.nursery import Nursery
from lgtc_bringup.plan import ProcessSpec
from lgtc_bringup.runner import Runner, installed_program
from lgtc_bringup.usage import pid_of

pytestmark = [pytest.mark.ros]


@pytest.fixture
def host():
    """The installed program; forked children come to this process only while a test runs."""
    yield installed_program(ProcessSpec("host", "lgtc_nodes", "host", (), (), None, "a test"))
    ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)


@pytest.fixture
def nursery(host, tmp_path, ros_domain):
    environment = os.environ | {"LGTC_PARENT_PID": str(os.getpid()), "OMP_NUM_THREADS": "1", "HERE": "given"}
    one = Nursery(host.with_name("nursery"), environment, tmp_path / "nursery.log")
    yield one
    one.close()


def status_of(pid: int) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def test_a_host_is_our_own_child_with_its_log_and_its_exit_code(nursery, tmp_path):
    child = nursery.born(["--node", "nonsense"], tmp_path / "a.log")
    assert int(status_of(child.pid)["PPid"]) == os.getpid()
    wait_until(lambda: child.poll() is not None, 30.0)
    assert child.poll() == 2
    assert "--node: got nonsense" in (tmp_path / "a.log").read_text()


def waiting(nursery: Nursery, folder: Path):
    """A host that waits for a clock that does not come."""
    scenario = Path(__file__).parents[3] / "config/scenarios/first_delivery.yaml"
    fleet = scenario.parents[1] / "fleet.yaml"
    parameters = ["-p", f"fleet_file:={fleet}", "-p", f"scenario_file:={scenario}", "-p", "use_sim_time:=true"]
    return nursery.born(["--node", "supervisor", "--ros-args", *parameters], folder / "b.log")


def test_it_is_found_by_its_name_in_a_session_of_its_own_and_told_by_the_signal_that_ends_it(nursery, tmp_path):
    child = waiting(nursery, tmp_path)
    wait_until(lambda: status_of(child.pid)["Name"] == "host")
    assert pid_of(Path("fleet_file:="), "supervisor") == child.pid
    assert os.getsid(child.pid) == child.pid
    assert "HERE=given" in Path(f"/proc/{nursery._process.pid}/environ").read_text()
    assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    wait_until(lambda: child.poll() is not None)
    assert child.poll() == -signal.SIGKILL
    child.send_signal(signal.SIGKILL)  # reaches nobody


def test_the_end_of_a_nursery_ends_no_host_and_whoever_asks_afterwards_is_told(nursery, tmp_path):
    child = waiting(nursery, tmp_path)
    os.kill(nursery._process.pid, signal.SIGKILL)
    nursery._process.wait()
    assert nursery.born(["--node", "nonsense"], tmp_path / "c.log") is None
    assert nursery.born(["--node", "nonsense"], tmp_path / "c.log") is None
    assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    wait_until(lambda: child.poll() is not None)


def test_a_runner_whose_nursery_has_died_starts_programs_as_ever(host, tmp_path, ros_domain):
    plan = plan_of(tmp_path, nonsense="good")
    plan.params_file.write_text("/**:\n  ros__parameters:\n    use_sim_time: true\n")
    with Runner(plan, lambda _: host) as runner:
        runner.start()
        (first,) = runner.wait(30.0)
        os.kill(runner._nursery._process.pid, signal.SIGKILL)
        runner._nursery._process.wait()
        runner.restart(first.process)
        (second,) = runner.wait(30.0)
    assert (first.code, second.code) == (2, 2)
    assert first.log.read_text().count("--node: got good:nonsense") == 2
