"""Whole flights of the real nodes by the real command: they end as they should, and nothing is left running."""

import contextlib
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
from lgtc_bringup.node_kinds import (
    HANDED_OVER,
    POLICY,
    STAND_IN,
    VEHICLE,
    kind_of,
    resolved,
    with_poses_together,
)
from lgtc_bringup.usage import pid_of, processes_of
from lgtc_core import topics
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
def command(tmp_path, greedy_model, ros_domain):
    started: list[Command] = []

    def start(*words: str, folder: Path = tmp_path, **changes: float) -> Command:
        started.append(Command(folder, greedy_model, ros_domain, *words, **changes))
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
    flight = command()
    code = flight.end(90.0)
    assert "report:" in flight.said, flight.said
    assert processes_of(flight.run_dir) == {}
    assert (flight.run_dir / "report.html").stat().st_size > 10_000
    assert ("FAIL" not in flight.said) == (code == 0)
    assert reader(flight.run_dir).mission.phase[-1] == MissionPhase.DONE
    usage = json.loads((flight.run_dir / "processes.json").read_text())["processes"]
    plan = json.loads((flight.run_dir / "plan.json").read_text())
    assert set(usage) == {process["name"] for process in plan["processes"]} | {"lgtc"}


def test_if_the_command_itself_is_killed_the_nodes_land_and_end(command):
    flight = command(duration_s=600.0)
    flight.wait_for("FLYING")
    flight.process.kill()
    flight.process.wait()
    wait_until(lambda: processes_of(flight.run_dir) == {}, 30.0)
    recorded = reader(flight.run_dir)
    assert all(drone.vehicle.phase[-1] == VehiclePhase.LANDED for drone in recorded.drones.values())


def test_a_killed_mind_and_a_killed_demand_server_are_started_again_and_the_mission_flies_to_its_end(command):
    flight = command(duration_s=30.0)
    flight.wait_for("FLYING")
    killed = {name: pid_of(flight.run_dir, name) for name in ("policy:cf1", "demand_server")}
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: flight.said.count("started again") == 2, 20.0)
    assert pid_of(flight.run_dir, "policy:cf1") != killed["policy:cf1"]
    flight.end(90.0)
    assert processes_of(flight.run_dir) == {}
    recorded = reader(flight.run_dir)
    assert MissionPhase.ABORT not in recorded.mission.phase
    assert recorded.mission.phase[-1] == MissionPhase.DONE
    assert all(drone.vehicle.phase[-1] == VehiclePhase.LANDED for drone in recorded.drones.values())
    logs = [(flight.run_dir / "logs" / f"{name}.log").read_text() for name in ("mind-cf1", "demand_server")]
    assert not any("Traceback" in log for log in logs)


def test_a_flight_in_course_is_as_the_table_says_refuses_a_second_one_and_lands_on_ctrl_c(
    command, tmp_path, ros_domain
):
    flight = command(duration_s=600.0)
    flight.wait_for("FLYING")
    (tmp_path / "second").mkdir()
    second = command(folder=tmp_path / "second")
    plan = json.loads((flight.run_dir / "plan.json").read_text())
    team = tuple(plan["drones"])
    table = {name: table_of(name, team) for process in plan["processes"] for name in process["nodes"]}
    for process in plan["processes"]:  # what concerns the team is heard once per process, by the first of its nodes
        heard: Side = set()
        for name in process["nodes"]:
            subscribes = table[name][1]
            if kind_of(name) is VEHICLE:  # beside its safety filter
                subscribes -= resolved(HANDED_OVER, name.split("/")[1], team)
            subscribes -= heard
            heard |= {topic for topic in subscribes if topic.count("/") == 1 and topic != topics.MISSION}
    graph = graph_of(table, ros_domain)
    assert second.end(60.0) == 2, second.said
    assert "another flight" in second.said
    assert flight.process.poll() is None

    flight.process.send_signal(signal.SIGINT)
    flight.end(60.0)
    assert processes_of(tmp_path) == {}
    recorded = reader(flight.run_dir)
    assert recorded.mission.phase[-1] == MissionPhase.DONE
    assert MissionPhase.ABORT not in recorded.mission.phase
    assert all(drone.vehicle.phase[-1] == VehiclePhase.LANDED for drone in recorded.drones.values())
    assert graph == table


Side = set[str]
Sides = tuple[Side, Side, Side, Side]


def graph_of(table: dict[str, Sides], domain: int) -> dict[str, Sides]:
    """What the running nodes of a table publish, hear, serve and ask, a second after all of the table was discovered
    (what a node has beyond its table shows, too), or after half a minute whatever was."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("reader_of_the_graph", context=context)

    def complete() -> bool:
        known = {f"{space.rstrip('/')}/{base}" for base, space in node.get_node_names_and_namespaces()}
        return set(table) <= known and all(
            wanted <= had for name, sides in table.items() for wanted, had in zip(sides, seen(node, name), strict=True)
        )

    try:
        with contextlib.suppress(AssertionError):  # the comparison tells better what is missing
            wait_until(complete, 30.0)
        time.sleep(1.0)
        return {name: seen(node, name) for name in table}
    finally:
        node.destroy_node()
        context.try_shutdown()


def table_of(name: str, team: tuple[str, ...]) -> Sides:
    """The same, as the table of nodes says for the embedded simulator."""
    kind = with_poses_together(kind_of(name))
    drone = name.split("/")[1] if kind.per_drone else None
    sides = [kind.publishes, kind.subscribes, kind.serves, kind.asks]
    publishes, subscribes, serves, asks = [set(resolved(side, drone, team)) for side in sides]
    if kind.kind == POLICY.kind:  # the table says everybody's features, one of which is its own
        subscribes -= publishes - {topics.PRESENCE}
    if kind.kind == STAND_IN.kind:  # it listens to poses only while it flies a drone
        subscribes -= {topics.POSES}
    return publishes, subscribes, serves, asks


OF_EVERY_NODE = ("get_parameters", "set_parameters", "get_parameter_types", "describe_parameters", "list_parameters")
OF_EVERY_NODE += ("set_parameters_atomically", "get_type_description")


def seen(node, name: str) -> Sides:
    """Topics published and heard, services served and asked by a running node; rclpy's own left out."""
    namespace, _, base = name.rpartition("/")
    own = ("/rosout", "/parameter_events", *(f"{name}/{service}" for service in OF_EVERY_NODE))
    where = (base, namespace or "/")

    def names(pairs) -> set[str]:
        return {topic for topic, _ in pairs if topic not in own}

    subscribed = names(node.get_subscriber_names_and_types_by_node(*where)) - {"/clock"}
    if kind_of(name) is STAND_IN:
        subscribed -= {topics.POSES}
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
