"""The plan is complete, keeps apart what must not fall together, and stays within what one host can carry."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lgtc_bringup.node_kinds import KINDS, kind_of, resolved
from lgtc_bringup.plan import (
    BACKENDS,
    PARTICIPANTS_KEPT_FREE,
    PARTICIPANTS_PER_HOST,
    Inputs,
    OnFailure,
    Plan,
    plan,
)
from lgtc_core import topics
from lgtc_core.errors import ConfigError
from lgtc_core.fleet.team import Team

INPUTS = Inputs(Path("/fleet.yaml"), Path("/scenario.yaml"), Path("/model"), Path("/run"))


CARRIERS = {"embedded": "simulator", "crazyswarm2-sim": "crazyswarm", "crazyflie": "crazyswarm", "gazebo": "gazebo"}
"""Which node stands for the drones, by backend."""


def plan_of(team: Team, backend: str = "embedded", **changes: object) -> Plan:
    return plan(team, backend, INPUTS, **changes)


sizes = st.integers(1, 300)


@settings(deadline=None, max_examples=25)
@given(count=sizes, backend=st.sampled_from(BACKENDS))
def test_every_node_of_the_design_runs_exactly_once_per_drone_or_team(team_of, count, backend):
    team, others = team_of(count), set(CARRIERS.values()) - {CARRIERS[backend]}
    expected = [kind.node() for kind in KINDS.values() if not kind.per_drone and kind.kind not in others]
    expected += [kind.node(drone) for kind in KINDS.values() if kind.per_drone for drone in team.names]
    assert sorted(plan_of(team, backend).nodes) == sorted(expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_differ_in_who_carries_the_drones_in_whose_clock_counts_and_in_how_poses_come_and_in_nothing_else(
    team_of, backend
):
    ours, theirs = plan_of(team_of(3)), plan_of(team_of(3), backend)
    for node in set(ours.nodes) & set(theirs.nodes) - {"/simulator"}:
        same = {**ours.parameters[node], "use_sim_time": backend != "crazyflie"}
        if "poses_together" in same:
            same["poses_together"] = backend == "embedded"
        own = {"/recorder": {"backend": backend}, "/supervisor": {"preflight": backend != "embedded"}}
        assert theirs.parameters[node] == same | own.get(node, {})
    (carrier,) = set(theirs.nodes) - set(ours.nodes) or {"/simulator"}
    assert carrier == f"/{CARRIERS[backend]}"
    if carrier == "/crazyswarm":
        assert theirs.parameters[carrier]["simulated"] is (backend == "crazyswarm2-sim")


@settings(deadline=None, max_examples=25)
@given(count=sizes)
def test_what_keeps_a_drone_in_the_air_never_shares_a_process_with_what_decides(team_of, count):
    for process in plan_of(team_of(count)).processes:
        kinds = {kind_of(node).kind for node in process.nodes}
        assert kinds <= {"safety_filter", "vehicle"} or kinds <= {"policy", "resource_monitor"} or len(kinds) == 1


@pytest.mark.parametrize("count", [2, 20])
def test_the_minds_of_a_central_yardstick_share_one_process_and_wings_stay_apart(team_of, count):
    planned = plan_of(team_of(count), policy="expert")
    minds = [process for process in planned.processes if any(kind_of(node).kind == "policy" for node in process.nodes)]
    assert len(minds) == 1
    assert sum(kind_of(node).kind == "policy" for node in minds[0].nodes) == count
    assert {planned.parameters[node]["policy"] for node in ("/recorder", "/cf1/policy", "/cf2/policy")} == {"expert"}
    assert sorted(planned.nodes) == sorted(plan_of(team_of(count)).nodes)


@settings(deadline=None, max_examples=25)
@given(count=sizes)
def test_a_host_has_room_for_all_processes_and_some_for_people(team_of, count):
    assert len(plan_of(team_of(count)).processes) <= PARTICIPANTS_PER_HOST - PARTICIPANTS_KEPT_FREE


@pytest.mark.parametrize("count", [1, 5, 12])
def test_up_to_twelve_drones_have_a_mind_and_wings_of_their_own(team_of, count):
    names = {process.name for process in plan_of(team_of(count)).processes}
    assert {f"{role}-cf{i + 1}" for role in ("mind", "wings") for i in range(count)} <= names


@pytest.mark.parametrize(
    ("count", "sizes"), [(13, [8, 5]), (16, [8, 8]), (20, [10, 10]), (32, [16, 16]), (40, [16, 16, 8])]
)
def test_larger_teams_put_eight_to_sixteen_drones_into_a_process(team_of, count, sizes):
    for role in ("wings", "mind"):
        processes = [process for process in plan_of(team_of(count)).processes if process.name.startswith(role)]
        assert [len(process.nodes) // 2 for process in processes] == sizes


@settings(deadline=None, max_examples=10)
@given(count=sizes)
def test_process_names_are_unique_as_logs_are_called_by_them(team_of, count):
    names = [process.name for process in plan_of(team_of(count)).processes]
    assert len(set(names)) == len(names)


def _sides(planned: Plan, what: str) -> set[str]:
    result: set[str] = set()
    for node in planned.nodes:
        kind = planned.kind(node)
        drone = node.split("/")[1] if kind.per_drone else None
        result |= resolved(getattr(kind, what), drone, planned.drones)
    return result


@pytest.mark.parametrize("count", [5, 20])
def test_every_topic_that_is_heard_has_a_speaker(team_of, count):
    planned = plan_of(team_of(count))
    assert _sides(planned, "subscribes") <= _sides(planned, "publishes")


def test_every_service_that_is_asked_is_served(team_of):
    planned = plan_of(team_of(5))
    assert _sides(planned, "asks") <= _sides(planned, "serves")


def test_everything_said_but_the_clock_the_flight_info_and_what_is_for_people_is_heard_by_a_node(team_of):
    planned = plan_of(team_of(5))
    for_people = {topics.of_drone(name, topics.POSE) for name in planned.drones}  # the nodes hear them together
    unheard = _sides(planned, "publishes") - _sides(planned, "subscribes")
    assert unheard == {"/clock", "/flight_info"} | for_people


@pytest.mark.parametrize(("count", "bundled"), [(12, False), (13, True)])
def test_where_drones_share_processes_what_they_say_travels_in_bundles_for_every_node(team_of, count, bundled):
    planned = plan_of(team_of(count))
    assert planned.bundled == bundled
    assert {parameters["bundled"] for parameters in planned.parameters.values()} == {bundled}
    ours = {topics.of_drone(drone, name) for drone in planned.drones for name in (topics.SETPOINT, topics.FEATURES)}
    assert ours <= _sides(planned, "publishes")  # for people, where the team itself hears bundles
    assert (ours <= _sides(planned, "subscribes")) != bundled
    assert (topics.bundled(topics.SETPOINT) in _sides(planned, "subscribes")) == bundled


def test_bundles_are_for_all_nodes_or_for_none(team_of):
    without = {kind: {"bundled": False} for kind in KINDS}
    assert not plan_of(team_of(20), node_parameters=without).bundled
    del without["recorder"]
    with pytest.raises(ConfigError, match="bundled: got true for some nodes and false for others; expected the same"):
        plan_of(team_of(20), node_parameters=without)


def test_arguments_name_exactly_the_nodes_of_the_process(team_of):
    for process in plan_of(team_of(20)).processes:
        arguments = [word for word in process.arguments if word != "--no-parameter-services"]
        assert (len(arguments) < len(process.arguments)) == (len(process.nodes) > 2)  # several drones in it
        words = arguments[1::2]
        assert set(arguments[::2]) == {"--node"}
        named = [KINDS[word.split(":")[0]].node(*word.split(":")[1:]) for word in words]
        assert named == list(process.nodes)


def test_parameters_are_there_for_every_node_and_only_the_simulator_is_its_own_clock(team_of):
    planned = plan_of(team_of(3), speed=2.0, patience_s=0.5)
    assert set(planned.parameters) == set(planned.nodes)
    assert [node for node, values in planned.parameters.items() if not values["use_sim_time"]] == ["/simulator"]
    assert planned.parameters["/simulator"]["speed"] == 2.0
    assert planned.parameters["/simulator"]["patience_s"] == 0.5


def test_node_parameters_reach_every_node_of_their_kind_and_no_other(team_of):
    planned = plan_of(team_of(2), node_parameters={"policy": {"rate_hz": 10.0}})
    assert {node for node, values in planned.parameters.items() if "rate_hz" in values} == {
        "/cf1/policy",
        "/cf2/policy",
    }


def test_written_parameters_are_what_the_plan_says(team_of, tmp_path):
    inputs = Inputs(Path("/f"), Path("/s"), Path("/m"), tmp_path / "run")
    planned = plan(team_of(2), "embedded", inputs, node_parameters={"safety_filter": {"guard": {"latency_s": 0.1}}})
    planned.write()
    text = planned.params_file.read_text()
    read = yaml.safe_load(text)
    assert {node: entry["ros__parameters"] for node, entry in read.items()} == planned.parameters
    assert not any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text))  # rcl refuses them


def test_planning_changes_nothing_and_gives_the_same_twice(team_of, tmp_path):
    inputs = Inputs(Path("/f"), Path("/s"), Path("/m"), tmp_path / "run")
    assert plan(team_of(7), "embedded", inputs) == plan(team_of(7), "embedded", inputs)
    assert list(tmp_path.iterdir()) == []


def test_without_a_record_there_is_no_recorder(team_of):
    planned = plan_of(team_of(2), record=False)
    assert not planned.records
    assert "/recorder" not in planned.nodes


def test_what_goes_on_where_it_was_is_started_again_a_lost_simulator_stops_all_and_only_what_all_need_lands_the_team(
    team_of,
):
    by_name = {process.name: process.on_failure for process in plan_of(team_of(1)).processes}
    assert by_name.pop("simulator") is OnFailure.STOP
    assert by_name.pop("recorder") is OnFailure.TELL
    assert by_name.pop("wings-cf1") is OnFailure.TELL  # the stand-in lands its drone
    restarted = {by_name.pop(name) for name in ("mind-cf1", "demand_server", "stand_in")}
    assert restarted == {OnFailure.RESTART}
    assert set(by_name.values()) == {OnFailure.LAND}


@pytest.mark.parametrize("backend", ["gazebo-classic", "crazyswarm2", "", "Embedded"])
def test_an_unknown_backend_is_refused_by_name(team_of, backend):
    with pytest.raises(ConfigError) as refusal:
        plan(team_of(1), backend, INPUTS)
    assert repr(backend) in refusal.value.got
    assert "embedded" in refusal.value.expected


@pytest.mark.parametrize("patience_s", [-0.1, float("nan"), float("inf")])
def test_a_negative_or_endless_patience_is_refused(team_of, patience_s):
    with pytest.raises(ConfigError, match="patience"):
        plan_of(team_of(1), patience_s=patience_s)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(team_of, speed):
    with pytest.raises(ConfigError, match="speed"):
        plan_of(team_of(1), speed=speed)


def test_parameters_for_an_unknown_kind_of_node_are_refused(team_of):
    with pytest.raises(ConfigError, match="polic"):
        plan_of(team_of(1), node_parameters={"polic": {}})


def test_planning_loads_no_ros():
    check = "import sys, lgtc_bringup.plan, lgtc_bringup.inputs; sys.exit('rclpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_demand_servers_stand_by_where_the_ledger_is_to_go_on_at_once(team_of):
    plain, planned = plan_of(team_of(2)), plan_of(team_of(2), node_parameters={"demand_server": {"standby": True}})
    more = [process for process in planned.processes if process not in plain.processes]
    assert [process.name for process in more] == ["demand_server-standby-1", "demand_server-standby-2"]
    for process in more:
        assert (process.nodes, process.on_failure) == (("/demand_server",), OnFailure.RESTART)
    assert set(planned.nodes) == set(plain.nodes)
    assert planned.parameters["/demand_server"]["standby"] is True
