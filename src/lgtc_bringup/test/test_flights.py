"""Whole flights of the real nodes by the real command: they end as they should, and nothing is left running."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from bringup_stand_ins import wait_until

from lgtc_bringup import inputs
from lgtc_bringup.node_kinds import kind_of, resolved
from lgtc_core.flight.phases import MissionPhase, VehiclePhase

pytestmark = [pytest.mark.ros, pytest.mark.slow]

SHORT = {
    "title": "Two drones, one place, a short flight",
    "count": 2,
    "consumers": {
        "middle": {"position_m": [0.0, 0.8], "demand": {"battery": {"amount": 0.5, "depletion": "zero_depletion"}}}
    },
    "duration_s": 8.0,
}


def processes_of(run_dir: Path) -> list[str]:
    """Command lines of all living processes that belong to a run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if any(str(run_dir) in word for word in words):
                found.append(" ".join(words))
    return found


def pid_of(run_dir: Path, node: str) -> int:
    """Process id of the process in which a node runs."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if node in words and any(str(run_dir) in word for word in words):
                return int(entry.name)
    raise AssertionError(f"no process runs {node}")


class Command:
    """`lgtc sim` of the short scenario as a process of its own."""

    def __init__(self, folder: Path, model: Path, domain: int, *words: str, duration_s: float = 8.0) -> None:
        self.run_dir = folder / "run"
        scenario = folder / "short.yaml"
        scenario.write_text(yaml.safe_dump({**SHORT, "duration_s": duration_s}))
        self.log = folder / "lgtc.log"
        command = [sys.executable, "-m", "lgtc_bringup.cli", "sim", str(scenario), "--model", str(model)]
        command += ["--run-dir", str(self.run_dir), "--no-live", "--speed", "2", *words]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "ROS_DOMAIN_ID": str(domain)}
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, word: str, seconds: float = 60.0) -> None:
        wait_until(lambda: word in self.said or self.process.poll() is not None, seconds)
        assert word in self.said, self.said

    def end(self, seconds: float = 60.0) -> int:
        return self.process.wait(seconds)


@pytest.fixture
def command(tmp_path, greedy_model):
    started: list[Command] = []

    def start(domain: int, *words: str, **changes: float) -> Command:
        started.append(Command(tmp_path, greedy_model, domain, *words, **changes))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def reader(run_dir: Path):
    from lgtc_analysis.bag import read_flight

    return read_flight(run_dir / "bag")


def test_a_flight_ends_by_itself_with_bag_report_verdict_and_no_process_left(command):
    flight = command(71)
    code = flight.end(90.0)
    assert "report:" in flight.said, flight.said
    assert processes_of(flight.run_dir) == []
    assert (flight.run_dir / "report.html").stat().st_size > 10_000
    assert ("FAIL" not in flight.said) == (code == 0)
    assert reader(flight.run_dir).mission.phase[-1] == MissionPhase.DONE
    usage = json.loads((flight.run_dir / "processes.json").read_text())["processes"]
    plan = json.loads((flight.run_dir / "plan.json").read_text())
    assert set(usage) == {process["name"] for process in plan["processes"]} | {"lgtc"}


def test_ctrl_c_lands_all_and_ends_everything(command):
    flight = command(72, duration_s=600.0)
    flight.wait_for("FLYING")
    flight.process.send_signal(signal.SIGINT)
    flight.end(40.0)
    assert processes_of(flight.run_dir) == []
    recorded = reader(flight.run_dir)
    assert recorded.mission.phase[-1] == MissionPhase.DONE
    assert all(drone.vehicle.phase[-1] == VehiclePhase.LANDED for drone in recorded.drones.values())


def test_if_the_command_itself_is_killed_the_nodes_land_and_end(command):
    flight = command(73, duration_s=600.0)
    flight.wait_for("FLYING")
    flight.process.kill()
    flight.process.wait()
    wait_until(lambda: processes_of(flight.run_dir) == [], 30.0)
    recorded = reader(flight.run_dir)
    assert all(drone.vehicle.phase[-1] == VehiclePhase.LANDED for drone in recorded.drones.values())


def test_when_a_mind_is_killed_the_mission_is_aborted_and_all_land(command):
    flight = command(74, duration_s=600.0)
    flight.wait_for("FLYING")
    os.kill(pid_of(flight.run_dir, "policy:cf1"), signal.SIGKILL)
    assert flight.end(40.0) == 1
    assert "mind-cf1 ended (SIGKILL)" in flight.said
    assert processes_of(flight.run_dir) == []
    recorded = reader(flight.run_dir)
    assert MissionPhase.ABORT in recorded.mission.phase
    assert all(drone.vehicle.phase[-1] == VehiclePhase.LANDED for drone in recorded.drones.values())


def test_a_second_flight_in_the_same_domain_is_refused_and_the_first_flies_on(command, tmp_path, greedy_model):
    first = command(75, duration_s=600.0)
    first.wait_for("FLYING")
    (tmp_path / "second").mkdir()
    second = Command(tmp_path / "second", greedy_model, 75)
    assert second.end(30.0) == 2
    assert "another flight" in second.said
    assert first.process.poll() is None
    first.process.send_signal(signal.SIGINT)
    first.end(40.0)
    assert processes_of(tmp_path) == []


def test_the_table_of_nodes_is_what_the_running_nodes_say_hear_and_serve(command):
    import rclpy

    flight = command(76, duration_s=600.0)
    flight.wait_for("FLYING")
    plan = json.loads((flight.run_dir / "plan.json").read_text())
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=76)
    node = rclpy.create_node("reader_of_the_graph", context=context)
    try:
        nodes = [name for process in plan["processes"] for name in process["nodes"]]
        time.sleep(2.0)
        graph = {name: seen(node, name) for name in nodes}
    finally:
        node.destroy_node()
        context.try_shutdown()
        flight.process.send_signal(signal.SIGINT)
        flight.end(40.0)
    for name, (publishes, subscribes, serves, asks) in graph.items():
        kind = kind_of(name)
        drone = name.split("/")[1] if kind.per_drone else None
        team = tuple(plan["drones"])
        assert publishes == resolved(kind.publishes, drone, team), name
        assert subscribes == resolved(kind.subscribes, drone, team) - own_features(kind.kind, drone), name
        assert serves == resolved(kind.serves, drone, team), name
        assert asks == resolved(kind.asks, drone, team), name


def own_features(kind: str, drone: str | None) -> set[str]:
    """A policy listens to the others' features, which the table writes as everybody's."""
    return {f"/{drone}/features"} if kind == "policy" else set()


def seen(node, name: str) -> tuple[set[str], set[str], set[str], set[str]]:
    """Topics published and heard, services served and asked by a running node; rclpy's own left out."""
    namespace, _, base = name.rpartition("/")
    own = ("/rosout", "/parameter_events")
    where = (base, namespace or "/")

    def names(pairs) -> set[str]:
        return {topic for topic, _ in pairs if topic not in own and not topic.startswith(f"{name}/")}

    subscribed = names(node.get_subscriber_names_and_types_by_node(*where)) - {"/clock"}
    return (
        names(node.get_publisher_names_and_types_by_node(*where)),
        subscribed,
        names(node.get_service_names_and_types_by_node(*where)),
        names(node.get_client_names_and_types_by_node(*where)),
    )


def test_every_shipped_scenario_can_be_planned_with_the_model_that_flies_in_tests(greedy_model):
    for scenario in inputs.shipped("config/scenarios", ".yaml"):
        plan, team, _ = inputs.prepare(inputs.Choice(scenario=scenario, model=str(greedy_model)))
        assert plan.drones == team.names
