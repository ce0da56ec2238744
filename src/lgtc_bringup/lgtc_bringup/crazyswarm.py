"""The files that crazyswarm2 reads, made from the fleet: crazyflies.yaml, server.yaml, motion_capture.yaml.

The user's own keys (`crazyswarm2:` of the fleet file) lie over what is generated, key by key. crazyswarm2 runs in the
namespace `NAMESPACE`, as its services have the names of ours and other types; the adapter node translates.

Radio load of one radio, in packets per second, is what the pre-flight gate holds against `RADIO_BUDGET_PER_S`:

    load = sum over its drones (setpoints + pose log + status log)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lgtc_core.errors import ConfigError
from lgtc_core.fleet.fleet import DroneEntry, Fleet, merge

NAMESPACE = "crazyswarm"
NO_URI = "usb://0"
"""Of a drone without an address: nobody answers there."""
POSE_HZ = 20.0
STATUS_HZ = 5.0
RADIO_BUDGET_PER_S = 500.0
"""Packets per second that one Crazyradio is planned for: half of what it can acknowledge, as losses cost repeats."""
MELLINGER, PID = 2, 1
"""Values of the firmware's parameter stabilizer.controller."""
KALMAN = 2
"""Value of the firmware's parameter stabilizer.estimator: the one that fuses motion capture."""

_URI = re.compile(
    r"(?P<scheme>radio|usb)://(?P<radio>\d+)(?:/(?P<channel>\d+)/(?P<rate>250K|1M|2M)/(?P<address>[0-9A-F]{10}))?"
)


def crazyflies(fleet: Fleet, drones: Mapping[str, DroneEntry]) -> dict[str, Any]:
    """Content of crazyflies.yaml for `drones`, by name.

    Without an address a drone can be simulated only; its `uri` then is one that nobody answers.
    """
    types = {str(drone.type): drone for drone in drones.values()}
    made = {
        "fileversion": 3,
        "robots": {
            name: {
                "enabled": True,
                "uri": drone.uri or NO_URI,
                "initial_position": [float(drone.start_m[0]), float(drone.start_m[1]), 0.0],
                "type": str(drone.type),
            }
            for name, drone in drones.items()
        },
        "robot_types": {
            name: {
                "motion_capture": {
                    "tracking": "librigidbodytracker",
                    "marker": "default_single_marker",
                    "dynamics": "default",
                },
                "big_quad": False,
                "battery": {
                    "voltage_warning": drone.battery.warn_voltage_v,
                    "voltage_critical": drone.battery.critical_voltage_v,
                },
            }
            for name, drone in types.items()
        },
        "all": {
            "firmware_logging": {
                "enabled": True,
                "default_topics": {"pose": {"frequency": int(POSE_HZ)}, "status": {"frequency": int(STATUS_HZ)}},
            },
            "firmware_params": {
                "commander": {"enHighLevel": 1},
                "stabilizer": {"estimator": KALMAN, "controller": MELLINGER},
                "locSrv": {"extPosStdDev": 1e-3, "extQuatStdDev": 0.5e-1},
            },
            "reference_frame": "world",
            "broadcasts": {"num_repeats": 15, "delay_between_repeats_ms": 1},
        },
    }
    return merge(made, fleet.file.crazyswarm2.crazyflies)


def server(fleet: Fleet) -> dict[str, Any]:
    """Content of server.yaml; its `sim` part counts in crazyswarm2's simulator only."""
    parameters = {
        "warnings": {
            "frequency": 1.0,
            "motion_capture": {"warning_if_rate_outside": [80.0, 120.0]},
            "communication": {
                "max_unicast_latency": 10.0,
                "min_unicast_ack_rate": 0.9,
                "min_unicast_receive_rate": 0.9,
                "min_broadcast_receive_rate": 0.9,
                "publish_stats": False,
            },
        },
        "firmware_params": {"query_all_values_on_connect": False},
        "robot_description": '<robot name="$NAME"/>',  # demanded; what RViz would draw
        "sim": {
            "max_dt": 0.0,
            "backend": "np",
            "visualizations": {"rviz": {"enabled": True}},  # without it the simulator tells nobody where a drone is
            "controller": "mellinger",
        },
    }
    return {f"/{NAMESPACE}/crazyflie_server": {"ros__parameters": merge(parameters, fleet.file.crazyswarm2.server)}}


def motion_capture(fleet: Fleet, drones: Mapping[str, DroneEntry]) -> dict[str, Any]:
    """Content of motion_capture.yaml: one rigid body of a single marker per drone. Type and host are the user's."""
    parameters = {
        "type": "optitrack",
        "hostname": "",
        "topics": {
            "frame_id": "world",
            "poses": {"qos": {"mode": "sensor", "deadline": 100.0}},
            "tf": {"child_frame_id": "{}_mocap"},
        },
        "marker_configurations": {
            "default_single_marker": {"offset": [0.0, 0.0, 0.0], "points": {"p0": [0.0, 0.0, 0.022]}}
        },
        "dynamics_configurations": {
            "default": {
                "max_velocity": [2.0, 2.0, 3.0],
                "max_angular_velocity": [20.0, 20.0, 10.0],
                "max_roll": 1.4,
                "max_pitch": 1.4,
                "max_fitness_score": 0.001,
            }
        },
        "rigid_bodies": {
            name: {
                "initial_position": [float(drone.start_m[0]), float(drone.start_m[1]), 0.0],
                "marker": "default_single_marker",
                "dynamics": "default",
            }
            for name, drone in drones.items()
        },
    }
    merged = merge(parameters, fleet.file.crazyswarm2.motion_capture)
    return {f"/{NAMESPACE}/motion_capture_tracking": {"ros__parameters": merged}}


def parameters(fleet: Fleet, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters of crazyflie_server and of motion_capture_tracking, put together as by crazyswarm2's launch file.

    Raises:
        ConfigError: a drone is not in the fleet.
    """
    drones = _named(fleet, names)
    (of_server,) = (content["ros__parameters"] for content in server(fleet).values())
    (of_capture,) = (content["ros__parameters"] for content in motion_capture(fleet, drones).values())
    deadline_hz = of_capture["topics"]["poses"]["qos"]["deadline"]
    return {**crazyflies(fleet, drones), **of_server, "poses_qos_deadline": deadline_hz}, of_capture


def files(fleet: Fleet, names: Sequence[str], folder: Path) -> dict[Path, str]:
    """All three files as text, by path below `folder`.

    Raises:
        ConfigError: a drone is not in the fleet.
    """
    drones = _named(fleet, names)
    contents = {
        "crazyflies.yaml": crazyflies(fleet, drones),
        "server.yaml": server(fleet),
        "motion_capture.yaml": motion_capture(fleet, drones),
    }
    return {folder / name: yaml.safe_dump(content, sort_keys=False) for name, content in contents.items()}


def _named(fleet: Fleet, names: Sequence[str]) -> dict[str, DroneEntry]:
    everybody = fleet.first(max(len(fleet.drones), len(names)))
    unknown = [name for name in names if name not in everybody]
    if unknown:
        raise ConfigError(fleet.source, "drones", f"no {unknown[0]}", f"one of {', '.join(everybody)}")
    return {name: everybody[name] for name in names}


def radio_of(uri: str) -> int:
    """Number of the radio that a uri goes through.

    Raises:
        ConfigError: not a uri of a Crazyflie.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        raise ConfigError("fleet", "uri", repr(uri), "like radio://0/80/2M/E7E7E7E701, or usb://0")
    return int(found["radio"])


def of_robot(content: Mapping[str, Any], name: str, key: str) -> dict[str, Any]:
    """A part of a crazyflies.yaml's content as it holds for one robot: all < its type < its own."""
    robot = content["robots"][name]
    layers = (content["all"], content["robot_types"].get(robot["type"], {}), robot)
    parts = [layer.get(key, {}) for layer in layers]
    return merge(merge(parts[0], parts[1]), parts[2])


def logged_hz(content: Mapping[str, Any], name: str, topic: str) -> float:
    """How often one of crazyswarm2's topics of a robot comes over the radio [Hz]; 0: not logged."""
    logging = of_robot(content, name, "firmware_logging")
    topics = logging.get("default_topics", {}) if logging.get("enabled", True) else {}
    return float(topics.get(topic, {}).get("frequency", 0.0))


def radio_load_per_s(content: Mapping[str, Any], command_period_s: float) -> dict[int, float]:
    """Planned packets per second by radio, of a crazyflies.yaml's content and a setpoint every `command_period_s`;
    robots that are not enabled send none.
    """
    load: dict[int, float] = {}
    for name, robot in content["robots"].items():
        if robot.get("enabled", True):
            topics = of_robot(content, name, "firmware_logging").get("default_topics", {})
            packets = 1.0 / command_period_s + sum(logged_hz(content, name, topic) for topic in topics)
            radio = radio_of(robot["uri"])
            load[radio] = load.get(radio, 0.0) + packets
    return load
