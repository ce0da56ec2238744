"""Names of topics, services and frames: they stand here once, for nodes, plan, recorder and analysis.

Relative names live in a drone's namespace (``/cf1/pose``); absolute ones belong to the whole team.
"""

from __future__ import annotations

WORLD_FRAME = "world"
"""The only frame: east, north, up [m], origin where the motion capture has it."""

# Per drone, topics
POSE = "pose"  # geometry_msgs/PoseStamped, from the vehicle
FEATURES = "features"  # lgtc_interfaces/AgentFeatures, to the neighbours
VELOCITY_NOMINAL = "velocity_nominal"  # geometry_msgs/TwistStamped, policy -> safety filter
VELOCITY_SAFE = "velocity_safe"  # geometry_msgs/TwistStamped, safety filter -> vehicle adapter
SAFETY = "safety"  # lgtc_interfaces/SafetyStatus
RESOURCES = "resources"  # lgtc_interfaces/ResourceState
POLICY_STATE = "policy_state"  # lgtc_interfaces/PolicyState
BATTERY = "battery"  # sensor_msgs/BatteryState, from the vehicle
VEHICLE = "vehicle"  # lgtc_interfaces/VehicleStatus, from the vehicle adapter
SETPOINT = "setpoint"  # nav_msgs/Odometry, vehicle adapter -> vehicle: position and velocity reference

# Per drone, services
SET_SUPPLY = "set_supply"  # lgtc_interfaces/SetSupply, resource monitor
VEHICLE_LAND = "vehicle/land"  # std_srvs/Trigger, vehicle adapter: an operator lands one drone
ARM = "arm"  # std_srvs/SetBool, vehicle
TAKEOFF = "takeoff"  # std_srvs/Trigger, vehicle's high-level commander
LAND = "land"  # std_srvs/Trigger, vehicle's high-level commander
NOTIFY_SETPOINTS_STOP = "notify_setpoints_stop"  # std_srvs/Trigger, vehicle: setpoints no longer outrank `land`

# Team, topics
MISSION = "/mission"  # lgtc_interfaces/MissionState, from the supervisor; its heartbeat
POSES = "/poses"  # lgtc_interfaces/Poses, of all drones, from a simulator that moves them together
PRESENCE = "/presence"  # lgtc_interfaces/Presence, from every drone
DEMAND = "/demand"  # lgtc_interfaces/Demand, transient local
FLIGHT_INFO = "/flight_info"  # std_msgs/String (JSON), transient local: how this flight was made
CLOCK = "/clock"
FAULTS = "/faults"  # lgtc_interfaces/Faults, transient local: what goes wrong on purpose, from the simulator

# Team, services
DELIVER = "/demand/deliver"  # lgtc_interfaces/Deliver
EDIT_CONSUMER = "/demand/edit_consumer"  # lgtc_interfaces/EditConsumer
PUT_IN = "/demand/put_in"  # lgtc_interfaces/PutIn
MISSION_LAND = "/mission/land"  # std_srvs/Trigger: end the mission, all land
MISSION_ABORT = "/mission/abort"  # std_srvs/Trigger: all land now
EDIT_FAULTS = "/faults/edit"  # lgtc_interfaces/EditFaults, simulator
EMERGENCY = "/all/emergency"  # std_srvs/Empty: motors off, everywhere, at once


def of_drone(drone: str, name: str) -> str:
    """Absolute name of a per-drone topic or service, as in ``of_drone("cf1", POSE) == "/cf1/pose"``."""
    return f"/{drone}/{name}"


def bundled(name: str) -> str:
    """Where bundles (lgtc_interfaces/Bundle) of a per-drone topic travel, ``bundled(POSE) == "/bundle/pose"``."""
    return f"/bundle/{name}"
