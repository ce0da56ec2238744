"""Real nodes as real processes: a flight from the ground to the ground, and the ways in which it is cut short."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from std_srvs.srv import Trigger as RosTrigger

from lgtc_analysis.bag import read_flight
from lgtc_core import topics, wire
from lgtc_core.flight.phases import MissionPhase, VehiclePhase
from lgtc_core.loop.stand_in import SIGNATURE
from lgtc_core.mind.policy import Features
from lgtc_interfaces.srv import Deliver as RosDeliver
from lgtc_interfaces.srv import EditConsumer as RosEditConsumer
from lgtc_interfaces.srv import SetSupply as RosSetSupply
from lgtc_sim.vehicle import CUT_OFF_S

pytestmark = pytest.mark.ros

STANDING_M = 0.05
IN_THE_AIR = {VehiclePhase.FLYING, VehiclePhase.HOLDING}
"""On a busy machine a drone may hold for a moment."""
OTHER_MODEL = Features("cf2", 9, 1e6, np.zeros(2), "another model", np.ones(7, np.float32))


def flew_once(team: Any) -> bool:
    """Every drone went from the ground to the ground; between, on a busy machine, it may have held for a moment."""
    flights = [team.phases_told(drone) for drone in team.drones]
    return all(
        phases[:3] == ["TAKING_OFF", "HOLDING", "FLYING"]
        and set(phases[3:-2]) <= {"HOLDING", "FLYING"}
        and phases[-2:] == ["LANDING", "LANDED"]
        for phases in flights
    )


@pytest.mark.parametrize("bundled", [False, True])
def test_a_flight_goes_from_the_ground_to_the_ground_ends_by_itself_and_leaves_a_bag(
    swarm: Callable[..., Any], bundled: bool
) -> None:
    team = swarm(bundled=bundled)
    team.start_all()
    met: list[float] = []
    team.wait_mission(MissionPhase.ACTIVE)
    team.watch(topics.DEMAND, lambda message: met.append(wire.demand_from_wire(message).share_met))
    codes = team.wait_ended()
    assert set(codes.values()) == {0}, team.logs()
    assert flew_once(team), team.logs()
    assert max(met) == pytest.approx(1.0)
    assert [report.phase for report in team.missions if report.phase is MissionPhase.DONE]
    flight = read_flight(team.folder / "bag")
    assert set(flight.drones) == set(team.drones)
    assert flight.unfinished == ""
    setpoints = [drone.setpoint for drone in flight.drones.values()]
    assert all(len(one.time_s) > 100 for one in setpoints)


@pytest.mark.parametrize("poses_together", [False, True])
def test_bad_messages_and_bad_requests_are_refused_in_words_and_nobody_dies(
    swarm: Callable[..., Any], poses_together: bool
) -> None:
    team = swarm(scenario={"duration_s": 60.0}, poses_together=poses_together)
    team.start_all()
    team.wait_mission(MissionPhase.ACTIVE)
    nan = np.full(3, math.nan)
    together = [(["cf1", "cf2"], [0.0] * 2), (["cf1"] * 2, [0.0] * 6), (["nobody"], [1.0, 2.0, 3.0]), (["cf1"], nan)]
    poses = [
        team.say(topics.POSES, {"header": 1e6, "drones": drones, "position": position}) for drones, position in together
    ]
    bad = [
        *(poses if poses_together else [team.say(topics.POSE, wire.pose_to_wire(wire.Pose(1e6, nan)), "cf1")]),
        team.say(topics.VELOCITY_NOMINAL, wire.velocity_to_wire(wire.Velocity(1e6, nan)), "cf1"),
        team.say(topics.SETPOINT, {"header": 1e6, "pose": {"pose": {"position": nan}}}, "cf1"),
        team.say(topics.RESOURCES, {"header": 1e6, "kinds": ["battery"], "supply": []}, "cf1"),
        team.say(topics.VEHICLE, {"header": 1e6, "phase": 200}, "cf1"),
        team.say(topics.BATTERY, {"header": 1e6, "percentage": 17.0}, "cf1"),
        team.say(topics.DEMAND, {"header": 1e6, "kinds": ["battery"], "consumers": [{"name": "nowhere"}]}),
        team.say(topics.PRESENCE, {"header": 1e6, "drone": "cf2", "position": nan}),
        team.say(topics.FEATURES, wire.features_to_wire(OTHER_MODEL), "cf2"),
    ]
    for _ in range(20):
        for send in bad:
            send()
        team.executor.spin_once(timeout_sec=0.05)
    deliver = {"request_id": "test-1", "drone": "cf9", "consumer": "west", "kind": "battery", "offered": 1.0}
    for kind, service, values in (
        (RosDeliver, topics.DELIVER, deliver),
        (RosDeliver, topics.DELIVER, deliver | {"drone": "cf1", "consumer": "nowhere", "offered": math.nan}),
        (RosEditConsumer, topics.EDIT_CONSUMER, {"operation": 7}),
        (RosEditConsumer, topics.EDIT_CONSUMER, {"operation": 0, "consumer": {"name": "new", "demanded": [1.0, 2.0]}}),
        (RosSetSupply, topics.of_drone("cf1", topics.SET_SUPPLY), {"kind": "gold", "amount": 1.0}),
        (RosSetSupply, topics.of_drone("cf1", topics.SET_SUPPLY), {"kind": "battery", "amount": math.nan}),
    ):
        answer = team.call(kind, service, values)
        assert not answer.accepted
        assert len(answer.message) > 10
    heard = len(team.missions)
    team.wait("the mission goes on", lambda: len(team.missions) > heard + 20)
    assert all(process.poll() is None for process in team.processes.values()), team.logs()
    assert team.missions[-1].phase is MissionPhase.ACTIVE
    assert set(team.phases.values()) <= IN_THE_AIR, team.logs()

    def refused() -> bool:  # only the newest pose of a turn is looked at, and most are the simulator's
        for send in bad:
            send()
        log = team.log("wings-cf1")
        if poses_together:
            pose = "/poses: " in log and "/poses: " in team.log("recorder")
        else:
            pose = "/cf1/pose" in log or "pose.position" in log
        return pose and "features of cf2" in team.log("minds-cf1")

    team.wait("bad poses and features are refused by name", refused)
    assert team.call(RosTrigger, topics.MISSION_ABORT, {}).success
    team.wait_phase(VehiclePhase.LANDED)
    assert set(team.wait_ended().values()) == {0}, team.logs()


def test_an_operator_sets_a_supply_and_lands_one_drone_while_the_others_fly_on(swarm: Callable[..., Any]) -> None:
    team = swarm(scenario={"duration_s": 60.0})
    team.start("simulator", "demand_server", "wings", "minds", "supervisor")
    team.wait_mission(MissionPhase.ACTIVE)
    team.wait_phase(VehiclePhase.FLYING)
    carried: list[float] = []
    team.watch(topics.RESOURCES, lambda message: carried.append(message.supply[0]), "cf2")
    answer = team.call(RosSetSupply, topics.of_drone("cf2", topics.SET_SUPPLY), {"kind": "battery", "amount": 0.5})
    assert answer.accepted
    assert answer.amount == pytest.approx(0.5)
    team.wait("the supply is told", lambda: bool(carried) and carried[-1] <= 0.5)
    assert team.call(RosTrigger, topics.of_drone("cf1", topics.VEHICLE_LAND), {}).success
    team.wait("cf1 is down", lambda: team.phases["cf1"] is VehiclePhase.LANDED)
    assert team.missions[-1].phase is MissionPhase.ACTIVE
    assert team.phases["cf2"] in IN_THE_AIR
    assert team.call(RosTrigger, topics.MISSION_LAND, {}).success
    assert set(team.wait_ended().values()) == {0}, team.logs()
    assert flew_once(team), team.logs()


def test_ctrl_c_lands_every_drone_and_ends_every_process_with_code_0(swarm: Callable[..., Any]) -> None:
    team = swarm(scenario={"duration_s": 60.0})
    team.start_all()
    team.wait_mission(MissionPhase.ACTIVE)
    team.wait_phase(VehiclePhase.FLYING)
    team.signal_all(signal.SIGINT)
    codes = team.wait_ended()
    assert set(codes.values()) == {0}, team.logs()
    assert flew_once(team), team.logs()
    assert max(team.heights_m.values()) < STANDING_M
    assert read_flight(team.folder / "bag").unfinished == ""


def test_when_the_supervisor_is_killed_the_drones_land_and_the_processes_end(swarm: Callable[..., Any]) -> None:
    team = swarm(scenario={"duration_s": 60.0})
    team.start_all()
    team.wait_mission(MissionPhase.ACTIVE)
    team.wait_phase(VehiclePhase.FLYING)
    team.processes["supervisor"].kill()
    codes = team.wait_ended()
    assert codes.pop("supervisor") == -signal.SIGKILL
    assert set(codes.values()) == {0}, team.logs()
    assert flew_once(team), team.logs()
    assert max(team.heights_m.values()) < STANDING_M


@pytest.mark.parametrize("bundled", [False, True])
def test_when_the_wings_of_a_drone_are_killed_the_stand_in_holds_and_lands_it_and_the_others_fly_on(
    swarm: Callable[..., Any], bundled: bool
) -> None:
    team = swarm(scenario={"duration_s": 60.0}, bundled=bundled)
    team.start("simulator", "demand_server", "stand_in", "wings", "minds", "supervisor")
    team.wait_mission(MissionPhase.ACTIVE)
    team.wait_phase(VehiclePhase.FLYING)
    streamed: list[tuple[float, str]] = []
    team.watch(topics.SETPOINT, lambda it: streamed.append((wire.stamp_from_wire(it), it.child_frame_id)), "cf1")
    team.wait("setpoints are heard", lambda: len(streamed) > 20)
    team.processes["wings-cf1"].kill()
    team.wait("cf1 is down", lambda: team.phases["cf1"] is VehiclePhase.LANDED)
    times_s = [time_s for time_s, _ in streamed]
    taken_s = [time_s for time_s, author in streamed if author == SIGNATURE]
    last_s = max(time_s for time_s, author in streamed if not author)
    assert taken_s[0] > last_s
    assert np.diff(times_s).max() < CUT_OFF_S
    assert team.heights_m["cf1"] < STANDING_M
    assert team.missions[-1].phase is MissionPhase.ACTIVE
    assert team.phases["cf2"] in IN_THE_AIR
    assert team.call(RosTrigger, topics.MISSION_LAND, {}).success
    codes = team.wait_ended()
    assert codes.pop("wings-cf1") == -signal.SIGKILL
    assert set(codes.values()) == {0}, team.logs()
    assert team.phases_told("cf2")[-2:] == ["LANDING", "LANDED"]


def test_a_wrong_configuration_ends_a_process_with_code_2_and_one_sentence(swarm: Callable[..., Any]) -> None:
    team = swarm(scenario={"durations_s": 6.0})
    team.start("demand_server", "supervisor", "minds", "wings")
    assert set(team.wait_ended().values()) == {2}, team.logs()
    for name in team.processes:
        lines = team.log(name).strip().splitlines()
        assert "durations_s: got an unknown key; expected one of" in lines[-1]
        assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize("words", [(), ("--no-parameter-services",)])
def test_a_process_of_many_nodes_may_do_without_the_services_about_parameters(
    swarm: Callable[..., Any], words: tuple[str, ...]
) -> None:
    team = swarm()
    team.start_host("demand_server", ["demand_server"], *words)
    own = {topics.DELIVER, topics.EDIT_CONSUMER, topics.PUT_IN}
    expected = own if words else own | {"/demand_server/get_parameters"}

    def services() -> set[str]:
        if ("demand_server", "/") not in team.node.get_node_names_and_namespaces():
            return set()
        return {name for name, _ in team.node.get_service_names_and_types_by_node("demand_server", "/")}

    team.wait("its services are there", lambda: services() >= expected)
    assert (services() == own) == bool(words)
