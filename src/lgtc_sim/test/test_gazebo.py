"""The world and the bridge that Gazebo gets: whole, consistent, and drones that fly by their own gains."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from lgtc_core.fleet.team import DroneSpec, Team
from lgtc_core.flight.phases import MissionPhase, VehiclePhase
from lgtc_sim import gazebo, vehicle
from lgtc_sim.body import GRAVITY_MPS2, Drive
from lgtc_sim.crazyflie import AIRFRAMES, RPM
from lgtc_sim.offline import fly
from lgtc_sim.remote import RemoteBodies

MakeTeam = Callable[..., Team]
SIZES = [1, 5, 50]
SYSTEM = "gz::sim::systems::"


def crowd(make_team: MakeTeam, count: int) -> Team:
    """So many, close enough to find room."""
    return make_team(fleet={"spacing_m": 0.5}, count=count)


def drones_of(text: str) -> list[ET.Element]:
    """Models that are not static."""
    world = ET.fromstring(text).find("world")
    assert world is not None
    return [model for model in world.findall("model") if model.findtext("static") is None]


def plugins(element: ET.Element, name: str) -> list[ET.Element]:
    return [plugin for plugin in element.findall("plugin") if plugin.get("name") == SYSTEM + name]


def numbers(element: ET.Element, tag: str) -> np.ndarray:
    return np.array([float(word) for word in element.findtext(tag, "").split()])


@pytest.mark.parametrize("count", SIZES)
def test_the_real_parser_reads_every_body_joint_and_place(make_team: MakeTeam, count: int) -> None:
    if importlib.util.find_spec("pydrake") is None:
        pytest.skip("libsdformat comes with the package drake: pip install drake")
    from pydrake.multibody.parsing import Parser
    from pydrake.multibody.plant import MultibodyPlant

    team = crowd(make_team, count)
    plant = MultibodyPlant(gazebo.STEP_S)
    parser = Parser(plant)
    parser.AddModelsFromString(gazebo.world(team), "sdf")
    plant.Finalize()
    for drone in team.drones:
        model = plant.GetModelInstanceByName(drone.name)
        assert len(plant.GetBodyIndices(model)) == 5
        assert len(plant.GetJointIndices(model)) >= 4
        mass_kg = sum(plant.get_body(i).default_mass() for i in plant.GetBodyIndices(model))
        assert mass_kg == pytest.approx(AIRFRAMES["cf2x_L250"].mass_kg)
    for consumer in team.consumers:
        assert plant.HasModelInstanceNamed(f"consumer-{consumer.name}")


@pytest.mark.parametrize("count", SIZES)
def test_every_drone_has_a_model_of_its_own_at_its_place_and_every_place_a_disc_of_its_size(
    make_team: MakeTeam, count: int
) -> None:
    team = crowd(make_team, count)
    text = gazebo.world(team)
    models = {model.get("name"): model for model in ET.fromstring(text).iter("model")}
    assert len(models) == len(list(ET.fromstring(text).iter("model")))
    for drone in team.drones:
        assert numbers(models[drone.name], "pose")[:3] == pytest.approx([*drone.start_m, 0.0])
    for present in team.consumers_over_time():
        for consumer in present:
            mine = [model for name, model in models.items() if str(name).startswith(f"consumer-{consumer.name}")]
            places = [
                (*numbers(model, "pose")[:2], numbers(model.find("link/visual/geometry/cylinder"), "radius")[0])
                for model in mine
            ]
            assert any(place == pytest.approx((*consumer.position_m, consumer.radius_m)) for place in places)


@pytest.mark.parametrize("count", SIZES)
def test_plugins_name_links_joints_and_topics_that_are_there_and_nobody_elses(make_team: MakeTeam, count: int) -> None:
    team = crowd(make_team, count)
    spoken, heard = {gazebo.GZ_CLOCK}, set()
    models = drones_of(gazebo.world(team))
    assert len(models) == count
    for model in models:
        name = model.get("name")
        links = {link.get("name") for link in model.findall("link")}
        joints = {joint.get("name"): joint for joint in model.findall("joint")}
        for joint in joints.values():
            assert {joint.findtext("parent"), joint.findtext("child")} <= links
        (control,) = plugins(model, "MulticopterVelocityControl")
        motors = plugins(model, "MulticopterMotorModel")
        assert {plugin.findtext("robotNamespace") for plugin in (control, *motors)} == {name}
        assert control.findtext("comLinkName") in links
        assert sorted(int(motor.findtext("actuator_number", "")) for motor in motors) == [0, 1, 2, 3]
        rotors = control.findall("rotorConfiguration/rotor")
        by_number = sorted(motors, key=lambda motor: int(motor.findtext("actuator_number", "")))
        for motor, rotor in zip(by_number, rotors, strict=True):
            joint_name = motor.findtext("jointName")
            assert joint_name == rotor.findtext("jointName")
            assert joints[joint_name].findtext("child") == motor.findtext("linkName")
            assert motor.findtext("motorConstant") == rotor.findtext("forceConstant")
            assert motor.findtext("momentConstant") == rotor.findtext("momentConstant")
            assert motor.findtext("turningDirection") == {"1": "ccw", "-1": "cw"}[rotor.findtext("direction", "")]
        (odometry,) = plugins(model, "OdometryPublisher")
        assert odometry.findtext("dimensions") == "3"
        spoken.add(odometry.findtext("odom_topic"))
        heard |= {f"/{name}/{control.findtext(tag)}" for tag in ("commandSubTopic", "enableSubTopic")}
    entries = yaml.safe_load(gazebo.bridge(team))
    assert {entry["gz_topic_name"] for entry in entries if entry["direction"] == "GZ_TO_ROS"} == spoken
    assert {entry["gz_topic_name"] for entry in entries if entry["direction"] == "ROS_TO_GZ"} == heard
    assert len(entries) == len(spoken) + len(heard) == 1 + 3 * count
    assert len({entry["ros_topic_name"] for entry in entries}) == len(entries)
    assert [entry["ros_type_name"] for entry in entries if "Clock" in entry["gz_type_name"]] == [
        "rosgraph_msgs/msg/Clock"
    ]


def test_nothing_in_the_world_needs_a_gpu_and_physics_is_stepped_by_a_millisecond(make_team: MakeTeam) -> None:
    text = gazebo.world(make_team())
    world = ET.fromstring(text).find("world")
    assert world is not None
    assert not list(world.iter("sensor"))
    systems = {str(plugin.get("name")).removeprefix(SYSTEM) for plugin in world.findall("plugin")}
    assert systems == {"Physics", "UserCommands", "SceneBroadcaster"}
    assert world.findtext("physics/max_step_size") == "0.001"


@pytest.mark.parametrize("airframe", sorted(AIRFRAMES))
def test_a_model_keeps_mass_inertia_and_hovering_of_the_identified_airframe(make_team: MakeTeam, airframe: str) -> None:
    body = AIRFRAMES[airframe]
    (model,) = drones_of(gazebo.world(make_team(count=1), airframe))
    mass_kg, inertia = 0.0, np.zeros(3)
    for link in model.findall("link"):
        inertial = link.find("inertial")
        assert inertial is not None
        m = numbers(inertial, "mass")[0]
        diagonal = np.array([numbers(inertial, f"inertia/{axis}")[0] for axis in ("ixx", "iyy", "izz")])
        assert (diagonal > 0).all()
        assert 2.0 * diagonal.max() <= diagonal.sum()
        x, y, _ = numbers(link, "pose")[:3]
        mass_kg, inertia = mass_kg + m, inertia + diagonal + m * np.array([y * y, x * x, x * x + y * y])
    assert mass_kg == pytest.approx(body.mass_kg)
    assert inertia == pytest.approx(np.array(body.inertia_kgm2))
    rotor = gazebo.rotor_of(body)
    hover_rad_per_s = math.sqrt(body.mass_kg * GRAVITY_MPS2 / 4.0 / rotor.force)
    rpm = hover_rad_per_s / RPM
    assert body.thrust[0] * rpm + body.thrust[1] * rpm**2 == pytest.approx(body.mass_kg * GRAVITY_MPS2 / 4.0)
    assert hover_rad_per_s < 0.9 * rotor.largest_rad_per_s


def skew(v: np.ndarray) -> np.ndarray:
    return np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])


class Flown:
    """A model flown by the law of Lee et al. with the gains, arms and senses that its file has: not Gazebo."""

    def __init__(self, model: ET.Element, spec: DroneSpec) -> None:
        body = AIRFRAMES["cf2x_L250"]
        self.m, self.j, self.spec = body.mass_kg, np.array(body.inertia_kgm2), spec
        (control,) = plugins(model, "MulticopterVelocityControl")
        self.kv, self.kr, self.kw = (
            numbers(control, tag) for tag in ("velocityGain", "attitudeGain", "angularRateGain")
        )
        self.largest = numbers(control, "maximumLinearAcceleration")
        motors = plugins(model, "MulticopterMotorModel")
        poses = {link.get("name"): numbers(link, "pose") for link in model.findall("link")}
        at = np.array([poses[motor.findtext("linkName")] for motor in motors])
        k = numbers(motors[0], "motorConstant")[0]
        sense = np.array([1.0 if motor.findtext("turningDirection") == "ccw" else -1.0 for motor in motors])
        c = numbers(motors[0], "momentConstant")[0]
        # moments about x, y, z and thrust of squared rotor speeds: r x f, and the drag against the turning
        self.effect = k * np.array([at[:, 1], -at[:, 0], -sense * c, np.ones(4)])
        self.top = numbers(motors[0], "maxRotVelocity")[0]
        self.turn, self.rate, self.velocity, self.position = (
            np.eye(3),
            np.zeros(3),
            np.zeros(3),
            np.array([0.0, 0.0, 1.0]),
        )
        self.rotors = np.full(4, math.sqrt(self.m * GRAVITY_MPS2 / 4.0 / k))

    def step(self, command_body: np.ndarray, dt_s: float) -> None:
        down, r = np.array([0.0, 0.0, -GRAVITY_MPS2]), self.turn
        a = (self.velocity - r @ command_body) * self.kv / self.m
        a = np.clip(a, -self.largest, self.largest) + down
        b3 = -a / np.linalg.norm(a)
        b2 = np.cross(b3, r[:, 0])
        b2 /= np.linalg.norm(b2)
        wanted = np.column_stack([np.cross(b2, b3), b2, b3])
        off = 0.5 * (wanted.T @ r - r.T @ wanted)
        error = np.array([off[2, 1], off[0, 2], off[1, 0]])
        moments = -error * self.kr - self.rate * self.kw
        squares = np.linalg.solve(self.effect, [*moments, -self.m * (a @ r[:, 2])])
        asked = np.minimum(np.sqrt(np.maximum(squares, 0.0)), self.top)
        slow = np.where(asked > self.rotors, gazebo.ROTOR_UP_S, gazebo.ROTOR_DOWN_S)
        self.rotors += (asked - self.rotors) * (1.0 - np.exp(-dt_s / slow))
        *torque, thrust = self.effect @ self.rotors**2
        self.rate = self.rate + dt_s * (np.array(torque) - np.cross(self.rate, self.j * self.rate)) / self.j
        turned = r @ (np.eye(3) + dt_s * skew(self.rate))
        self.turn, _ = np.linalg.qr(turned)
        self.turn *= np.sign(np.sum(self.turn * turned, axis=0))
        self.velocity = self.velocity + dt_s * (down + r[:, 2] * thrust / self.m)
        self._move(dt_s)

    def fall(self, dt_s: float) -> None:
        """Rotors off."""
        self.rotors = np.zeros(4)
        self.velocity = self.velocity - dt_s * np.array([0.0, 0.0, GRAVITY_MPS2])
        self._move(dt_s)

    def _move(self, dt_s: float) -> None:
        self.position = self.position + dt_s * self.velocity
        if self.position[2] <= 0.0:
            self.position[2], self.velocity = 0.0, np.array([0.0, 0.0, max(self.velocity[2], 0.0)])
            if not self.rotors.any():
                self.turn, self.rate = np.eye(3), np.zeros(3)


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)])
def test_by_its_gains_a_model_follows_a_velocity_about_as_fast_as_guard_and_pilot_reckon(
    make_team: MakeTeam, direction: tuple[float, float, float]
) -> None:
    team = make_team(count=1, vehicle="crazyflie")
    (model,) = drones_of(gazebo.world(team))
    flown, axis = Flown(model, team.drones[0]), np.array(direction)
    speeds = []
    for _ in range(1500):
        flown.step(flown.turn.T @ (0.5 * axis), 0.001)
        speeds.append(flown.velocity @ axis)
    lag_s = 0.001 * int(np.argmax(np.array(speeds) >= 0.5 * (1.0 - math.exp(-1.0))))
    assert speeds[-1] == pytest.approx(0.5, abs=0.01)
    assert max(speeds) < 1.1 * 0.5
    tau_s = team.drones[0].response.velocity_lag_s
    assert tau_s <= lag_s + 0.03
    assert lag_s <= tau_s + 0.1
    assert np.linalg.norm(flown.velocity - speeds[-1] * axis) < 0.01


class FlownBodies(RemoteBodies):
    """What the adapter commands, followed by the models of the world."""

    def __init__(self, team: Team, position_m: np.ndarray) -> None:
        speeds = [[drone.max_speed_mps, drone.climb_speed_mps] for drone in team.drones]
        super().__init__(position_m, *np.array(speeds).T, 2.0)
        self.flown = [
            Flown(model, drone) for model, drone in zip(drones_of(gazebo.world(team)), team.drones, strict=True)
        ]
        for one, at_m in zip(self.flown, position_m, strict=True):
            one.position, one.rotors = at_m.copy(), np.zeros(4)

    def step(self, drive: Drive, voltage_v: np.ndarray, dt_s: float) -> None:
        super().step(drive, voltage_v, dt_s)
        for i, one in enumerate(self.flown):
            for _ in range(round(dt_s / 0.002)):
                if self.enabled[i]:
                    one.step(self.twist_mps(i), 0.002)
                else:
                    one.fall(0.002)
            self.seen(i, one.position, Rotation.from_matrix(one.turn).as_quat(), one.turn.T @ one.velocity)


def test_a_team_flies_from_the_ground_to_the_ground_on_the_models_of_the_world(
    make_team: MakeTeam, greedy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = {f"cf{i}": {"start_m": [x_m, 0.0]} for i, x_m in enumerate((-1.8, 0.0, 1.8), start=1)}
    team = make_team(fleet={"drones": starts, "all": {"max_speed_mps": 0.8}}, vehicle="crazyflie", duration_s=4.0)
    monkeypatch.setattr(vehicle, "_body", lambda _, position_m, *others: FlownBodies(team, position_m))
    result = fly(team, greedy_model)
    assert [phase for _, phase, _ in result.mission][-1] is MissionPhase.DONE
    assert (result.phase == VehiclePhase.FLYING).any(axis=0).all()
    assert (result.phase[-1] == VehiclePhase.LANDED).all()
    travelled_m = np.abs(result.position_m - result.position_m[0]).max(axis=0)
    assert travelled_m[:, :2].max(axis=1).min() > 0.3
    assert travelled_m[:, 2] == pytest.approx(0.6, abs=0.1)
