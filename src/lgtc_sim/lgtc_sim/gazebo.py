"""The world of Gazebo Harmonic and the file of ros_gz_bridge, made from a team.

One model is written out per drone, as an included model keeps the `<robotNamespace>` of its file whatever its name. No
sensor and no Sensors system: both want a GPU. `/clock` is bridged once.

A drone is a Crazyflie as it was identified (crazyflie.py), with the rotors of Gazebo's motor model,

    f = k W^2,   q = c f          k, c such that thrust and moment agree at hovering, 4 f = m g

and Gazebo's velocity controller (T. Lee et al., SE(3)) in the place of the firmware's. Its gains are divided by mass
and inertia there; they are chosen such that the closed loop is

    dv/dt = (v_set - v) / tau,     d2R/dt2 = -w^2 e_R - 2 z w dR/dt

tau from the drone's `response`, so that pilot and guard reckon with what flies; w and z below.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree as ET

import yaml

from lgtc_core.demand.consumer import ConsumerSpec
from lgtc_core.fleet.team import DroneSpec, Team
from lgtc_sim.body import GRAVITY_MPS2
from lgtc_sim.crazyflie import AIRFRAMES, PITCH, ROLL, RPM, YAW, Quadrotor

WORLD = "lgtc"
NAMESPACE = "gazebo"
"""ROS names on this side of the bridge begin with it; on Gazebo's side they begin with the drone's name."""
COMMAND, ENABLE, ODOMETRY = "command/twist", "command/enable", "odometry"
GZ_CLOCK = f"/world/{WORLD}/clock"
CLOCK = f"/{NAMESPACE}/clock"
WORLD_FILE, BRIDGE_FILE = "world.sdf", "bridge.yaml"

STEP_S = 0.001
HALF_HEIGHT_M = 0.015
"""Of the body: the model's origin lies on the floor below it."""
ROTOR_KG = 0.0003
ROTOR_UP_S, ROTOR_DOWN_S = 0.0125, 0.025
"""Time constants of the rotors, as Gazebo's motor model has them; the identified ones belong to the firmware's loop."""
ATTITUDE_RAD_PER_S, ATTITUDE_DAMPING = 25.0, 1.0
"""w and z."""
SLOWDOWN = 20.0
"""Rotors turn slower than they would by this factor in the physics engine, whose steps would alias."""
SHORTEST_LAG_S = 0.05
"""Velocities cannot be followed faster, as the attitude comes first."""

_HUES = 12


def ros_topic(drone: str, name: str) -> str:
    """ROS side of a bridged topic of a drone, as in ``ros_topic("cf1", COMMAND) == "/gazebo/cf1/command/twist"``."""
    return f"/{NAMESPACE}/{drone}/{name}"


def gz_topic(drone: str, name: str) -> str:
    """Gazebo's side of it."""
    return f"/{drone}/{name}"


class Rotor(NamedTuple):
    """Constants of Gazebo's motor model."""

    force: float
    """k [N s^2]."""
    moment_m: float
    """c [m]."""
    largest_rad_per_s: float
    drag: float
    """Force per rotor speed and velocity [N s^2/m]."""


def rotor_of(body: Quadrotor) -> Rotor:
    """The rotor that agrees with an identified one at hovering."""
    hover_n = body.mass_kg * GRAVITY_MPS2 / 4.0
    b1, b2 = body.thrust
    hover_rpm = (-b1 + math.sqrt(b1 * b1 + 4.0 * b2 * hover_n)) / (2.0 * b2)
    hover_rad_per_s = RPM * hover_rpm
    force = hover_n / hover_rad_per_s**2
    moment_n_m = body.torque[0] * hover_rpm + body.torque[1] * hover_rpm**2
    return Rotor(
        force,
        moment_n_m / hover_n,
        math.sqrt(body.thrust_max_n / force),
        -body.drag[0] / (4.0 * hover_rad_per_s),
    )


def world(team: Team, airframe: str = "cf2x_L250") -> str:
    """SDF of the world: floor, arena, every place that ever asks for something, and the drones at their start places.

    Args:
        team: who flies, where.
        airframe: of the drones, by its name in `AIRFRAMES`.
    """
    sdf = ET.Element("sdf", version="1.9")
    root = ET.SubElement(sdf, "world", name=WORLD)
    physics = ET.SubElement(root, "physics", name="1ms", type="ignored")
    _put(physics, "max_step_size", STEP_S)
    _put(physics, "real_time_factor", 1.0)
    _put(root, "gravity", 0.0, 0.0, -GRAVITY_MPS2)
    for system, name in (("physics", "Physics"), ("user-commands", "UserCommands")):
        _plugin(root, system, name)
    _plugin(root, "scene-broadcaster", "SceneBroadcaster")
    _sun(root)
    _floor(root, team)
    for name, consumer in _places(team):
        _place(root, name, consumer)
    for i, drone in enumerate(team.drones):
        root.append(model(drone, AIRFRAMES[airframe], team.command_period_s, i))
    ET.indent(sdf)
    return '<?xml version="1.0"?>\n' + ET.tostring(sdf, encoding="unicode") + "\n"


def model(drone: DroneSpec, body: Quadrotor, command_period_s: float, number: int = 0) -> ET.Element:
    """SDF model of one drone, which tells a pose every `command_period_s`; `number` chooses its colour."""
    name, rotor = drone.name, rotor_of(body)
    made = ET.Element("model", name=name)
    _put(made, "pose", *drone.start_m, 0.0, 0.0, 0.0, 0.0)
    colour = _colour(number)
    base = ET.SubElement(made, "link", name="base_link")
    _put(base, "pose", 0.0, 0.0, HALF_HEIGHT_M, 0.0, 0.0, 0.0)
    arms = 4.0 * ROTOR_KG * body.arm_m**2
    spin = body.rotor_inertia_kgm2
    jx, jy, jz = body.inertia_kgm2
    tilt = 4.0 * 0.6 * spin
    _inertial(base, body.mass_kg - 4.0 * ROTOR_KG, (jx - arms - tilt, jy - arms - tilt, jz - 2.0 * arms - 4.0 * spin))
    size = (2.0 * body.arm_m + 0.02, 2.0 * body.arm_m + 0.02, 2.0 * HALF_HEIGHT_M)
    _put(ET.SubElement(_geometry(base, "collision", "body"), "box"), "size", *size)
    _put(ET.SubElement(_geometry(base, "visual", "body", colour), "box"), "size", 0.06, 0.03, 0.02)
    for i in range(4):
        x_m, y_m = -PITCH[i] * body.arm_m, ROLL[i] * body.arm_m
        link = ET.SubElement(made, "link", name=f"rotor_{i}")
        _put(link, "pose", x_m, y_m, HALF_HEIGHT_M, 0.0, 0.0, 0.0)
        _inertial(link, ROTOR_KG, (0.6 * spin, 0.6 * spin, spin))
        disc = ET.SubElement(_geometry(link, "visual", "disc", colour), "cylinder")
        _put(disc, "radius", body.rotor_radius_m)
        _put(disc, "length", 0.002)
        joint = ET.SubElement(made, "joint", name=f"rotor_{i}_joint", type="revolute")
        _put(joint, "parent", "base_link")
        _put(joint, "child", f"rotor_{i}")
        axis = ET.SubElement(joint, "axis")
        _put(axis, "xyz", 0.0, 0.0, 1.0)
        limit = ET.SubElement(axis, "limit")
        _put(limit, "lower", -1e16)
        _put(limit, "upper", 1e16)
        _motor(made, name, i, rotor)
    _controller(made, drone, body, rotor)
    odometry = _plugin(made, "odometry-publisher", "OdometryPublisher")
    _put(odometry, "odom_frame", "world")
    _put(odometry, "robot_base_frame", name)
    _put(odometry, "odom_topic", gz_topic(name, ODOMETRY))
    _put(odometry, "odom_publish_frequency", 1.0 / command_period_s)
    _put(odometry, "dimensions", 3)
    return made


def bridge(team: Team) -> str:
    """YAML for ros_gz_bridge's `config_file`: one clock; of each drone command, enable and odometry."""
    entries = [_entry(CLOCK, GZ_CLOCK, "rosgraph_msgs/msg/Clock", "gz.msgs.Clock", to_ros=True)]
    for name in team.names:
        for topic, ros, gz, to_ros in (
            (COMMAND, "geometry_msgs/msg/Twist", "gz.msgs.Twist", False),
            (ENABLE, "std_msgs/msg/Bool", "gz.msgs.Boolean", False),
            (ODOMETRY, "nav_msgs/msg/Odometry", "gz.msgs.Odometry", True),
        ):
            entries.append(_entry(ros_topic(name, topic), gz_topic(name, topic), ros, gz, to_ros=to_ros))
    text: str = yaml.safe_dump(entries, sort_keys=False)
    return text


def _entry(ros_name: str, gz_name: str, ros_type: str, gz_type: str, *, to_ros: bool) -> dict[str, str]:
    return {
        "ros_topic_name": ros_name,
        "gz_topic_name": gz_name,
        "ros_type_name": ros_type,
        "gz_type_name": gz_type,
        "direction": "GZ_TO_ROS" if to_ros else "ROS_TO_GZ",
    }


def _motor(made: ET.Element, name: str, i: int, rotor: Rotor) -> None:
    motor = _plugin(made, "multicopter-motor-model", "MulticopterMotorModel")
    _put(motor, "robotNamespace", name)
    _put(motor, "jointName", f"rotor_{i}_joint")
    _put(motor, "linkName", f"rotor_{i}")
    _put(motor, "turningDirection", "ccw" if _turns(i) > 0 else "cw")
    _put(motor, "timeConstantUp", ROTOR_UP_S)
    _put(motor, "timeConstantDown", ROTOR_DOWN_S)
    _put(motor, "maxRotVelocity", rotor.largest_rad_per_s)
    _put(motor, "motorConstant", rotor.force)
    _put(motor, "momentConstant", rotor.moment_m)
    _put(motor, "commandSubTopic", "command/motor_speed")
    _put(motor, "actuator_number", i)
    _put(motor, "rotorDragCoefficient", rotor.drag)
    _put(motor, "rollingMomentCoefficient", 0.0)
    _put(motor, "rotorVelocitySlowdownSim", SLOWDOWN)
    _put(motor, "motorType", "velocity")


def _controller(made: ET.Element, drone: DroneSpec, body: Quadrotor, rotor: Rotor) -> None:
    w, z = ATTITUDE_RAD_PER_S, ATTITUDE_DAMPING
    velocity = body.mass_kg / max(drone.response.velocity_lag_s, SHORTEST_LAG_S)
    made = _plugin(made, "multicopter-control", "MulticopterVelocityControl")
    _put(made, "robotNamespace", drone.name)
    _put(made, "commandSubTopic", COMMAND)
    _put(made, "enableSubTopic", ENABLE)
    _put(made, "comLinkName", "base_link")
    _put(made, "velocityGain", velocity, velocity, velocity)
    _put(made, "attitudeGain", *(w * w * j for j in body.inertia_kgm2))
    _put(made, "angularRateGain", *(2.0 * z * w * j for j in body.inertia_kgm2))
    _put(made, "maximumLinearAcceleration", *(3 * [drone.max_acceleration_mps2]))
    rotors = ET.SubElement(made, "rotorConfiguration")
    for i in range(4):
        one = ET.SubElement(rotors, "rotor")
        _put(one, "jointName", f"rotor_{i}_joint")
        _put(one, "forceConstant", rotor.force)
        _put(one, "momentConstant", rotor.moment_m)
        _put(one, "direction", _turns(i))


def _turns(i: int) -> int:
    """Sense of rotor i about the vertical; its moment on the body is the opposite."""
    return -round(YAW[i])


def _places(team: Team) -> Iterator[tuple[str, ConsumerSpec]]:
    """Every place that there ever is, under a name of its own; the hyphen keeps it apart from those of drones."""
    told: set[tuple[object, ...]] = set()
    times: dict[str, int] = {}
    for present in team.consumers_over_time():
        for consumer in present:
            key = (consumer.name, tuple(consumer.position_m), consumer.radius_m)
            if key not in told:
                told.add(key)
                times[consumer.name] = times.get(consumer.name, 0) + 1
                again = f"-{times[consumer.name]}" if times[consumer.name] > 1 else ""
                yield f"consumer-{consumer.name}{again}", consumer


def _place(root: ET.Element, name: str, consumer: ConsumerSpec) -> None:
    """A flat disc to see, and a mark in its middle; nothing to touch."""
    link = _static(root, name, (*consumer.position_m, 0.0))
    disc = ET.SubElement(_geometry(link, "visual", "disc", (0.1, 0.6, 0.2), 0.4), "cylinder")
    _put(disc, "radius", consumer.radius_m)
    _put(disc, "length", 0.004)
    mark = ET.SubElement(_geometry(link, "visual", "centre", (0.1, 0.4, 0.2)), "cylinder")
    _put(mark, "radius", 0.04)
    _put(mark, "length", 0.02)


def _floor(root: ET.Element, team: Team) -> None:
    """A floor to stand on, and the arena's edge as lines."""
    arena = team.arena
    x_m, y_m = arena.half_extent_m
    floor = _static(root, "arena-floor", (*arena.centre_m, 0.0))
    for kind in ("collision", "visual"):
        plane = ET.SubElement(_geometry(floor, kind, "plane", (0.8, 0.8, 0.8) if kind == "visual" else None), "plane")
        _put(plane, "normal", 0.0, 0.0, 1.0)
        _put(plane, "size", 4.0 * x_m, 4.0 * y_m)
    edges = {"east": (x_m, 0.0), "west": (-x_m, 0.0), "north": (0.0, y_m), "south": (0.0, -y_m)}
    for side, (x, y) in edges.items():
        size = (0.02, 2.0 * y_m, 0.01) if x else (2.0 * x_m, 0.02, 0.01)
        _put(ET.SubElement(_geometry(floor, "visual", side, (0.2, 0.2, 0.2), 1.0, (x, y, 0.005)), "box"), "size", *size)


def _sun(root: ET.Element) -> None:
    sun = ET.SubElement(root, "light", type="directional", name="arena-sun")
    _put(sun, "pose", 0.0, 0.0, 10.0, 0.0, 0.0, 0.0)
    _put(sun, "cast_shadows", "true")
    _put(sun, "diffuse", 0.8, 0.8, 0.8, 1.0)
    _put(sun, "direction", -0.5, 0.1, -0.9)


def _static(root: ET.Element, name: str, at_m: tuple[float, ...]) -> ET.Element:
    """Link of a new static model."""
    made = ET.SubElement(root, "model", name=name)
    _put(made, "static", "true")
    _put(made, "pose", *at_m, 0.0, 0.0, 0.0)
    return ET.SubElement(made, "link", name="link")


def _geometry(
    link: ET.Element,
    kind: str,
    name: str,
    colour: tuple[float, float, float] | None = None,
    opacity: float = 1.0,
    at_m: tuple[float, float, float] | None = None,
) -> ET.Element:
    """`<geometry>` of a new visual or collision."""
    made = ET.SubElement(link, kind, name=name)
    if at_m is not None:
        _put(made, "pose", *at_m, 0.0, 0.0, 0.0)
    if colour is not None:
        material = ET.SubElement(made, "material")
        _put(material, "ambient", *colour, opacity)
        _put(material, "diffuse", *colour, opacity)
        if opacity < 1.0:
            _put(made, "transparency", 1.0 - opacity)
    return ET.SubElement(made, "geometry")


def _inertial(link: ET.Element, mass_kg: float, diagonal: tuple[float, float, float]) -> None:
    inertial = ET.SubElement(link, "inertial")
    _put(inertial, "mass", mass_kg)
    inertia = ET.SubElement(inertial, "inertia")
    for name, value in zip(("ixx", "iyy", "izz"), diagonal, strict=True):
        _put(inertia, name, value)
    for name in ("ixy", "ixz", "iyz"):
        _put(inertia, name, 0.0)


def _plugin(parent: ET.Element, file: str, name: str) -> ET.Element:
    return ET.SubElement(parent, "plugin", filename=f"gz-sim-{file}-system", name=f"gz::sim::systems::{name}")


def _put(parent: ET.Element, tag: str, *values: float | str) -> None:
    """An element with these values as its text."""
    ET.SubElement(parent, tag).text = " ".join(value if isinstance(value, str) else f"{value:.12g}" for value in values)


def _colour(number: int) -> tuple[float, float, float]:
    """A colour that differs from that of the next ones."""
    hue = 2.0 * math.pi * (number % _HUES) / _HUES
    red, green, blue = (round(0.5 + 0.4 * math.cos(hue - 2.0 * math.pi * k / 3.0), 3) for k in range(3))
    return red, green, blue
