"""How core values travel in messages, said once: for the nodes, for the offline loop's bag, for whoever reads one.

    x_to_wire(value)    plain values by field name, for `lgtc_nodes.conversions.to_ros` and
                        `lgtc_analysis.messages.build`: a Header is its stamp in seconds (frame "world"), a Point or
                        Vector3 three numbers, a message a mapping
    x_from_wire(message)  the core value; reads rclpy's and rosbags' messages alike, by their attributes

Units and frames are those of lgtc_interfaces. What arrives with a number that must be finite and is not, or with
arrays of different lengths, raises InputError and goes no further.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from lgtc_core.demand.consumer import ConsumerSpec
from lgtc_core.demand.view import ConsumerView, DemandView
from lgtc_core.errors import ConfigError, InputError
from lgtc_core.fleet.fault import Fault, FaultKind
from lgtc_core.flight.command import SafeCommand
from lgtc_core.flight.phases import HASTE, MissionPhase, SafetyMode, Tier, VehiclePhase
from lgtc_core.flight.reference import Setpoint
from lgtc_core.loop.neighbourhood import Sighting

if TYPE_CHECKING:
    from lgtc_core.mind.policy import Decision, Features

Array = npt.NDArray[np.float64]
Wire = dict[str, Any]
E = TypeVar("E", bound=IntEnum)

NS_PER_S = 1_000_000_000
UNKNOWN_M = np.full(3, np.nan)
"""A position that is not known."""


class Pose(NamedTuple):
    """Where a drone was."""

    stamp_s: float
    position_m: Array  # (3,) world frame


class Poses(NamedTuple):
    """Where the drones of a team were at one moment (lgtc_interfaces/Poses)."""

    of: dict[str, Pose]
    position_m: Array  # (K, 3) of the same, in the same order
    refused: tuple[str, ...]
    """Drones whose position was told and is not finite."""


class Velocity(NamedTuple):
    """A velocity asked for."""

    stamp_s: float
    velocity_mps: Array  # (3,) world frame


class BatteryReading(NamedTuple):
    """What a vehicle says about its battery."""

    stamp_s: float
    voltage_v: float  # NaN: unknown
    state_of_charge: float  # 0 empty .. 1 full; NaN: unknown


class Resources(NamedTuple):
    """What a drone carries and what its battery asks for (lgtc_interfaces/ResourceState)."""

    stamp_s: float
    kinds: tuple[str, ...]
    supply: Array  # (r,)
    position_m: Array  # (3,) world frame; NaN: unknown
    serving: bool
    voltage_v: float  # NaN: unknown
    state_of_charge: float  # NaN: unknown
    time_left_s: float  # NaN: unknown
    tier: Tier
    reason: str
    may_take_off: bool = True


class VehicleReport(NamedTuple):
    """Where a vehicle is between the ground and the ground (lgtc_interfaces/VehicleStatus)."""

    stamp_s: float
    phase: VehiclePhase
    reason: str
    reference_m: Array  # (3,) position reference streamed, world frame; NaN: none
    setpoint_age_s: float  # NaN: none streamed

    @property
    def in_haste(self) -> bool:
        """Whether it lands with so little time that it can only step aside from others."""
        return self.phase is VehiclePhase.LANDING and self.reason.startswith(HASTE)


class MissionReport(NamedTuple):
    """What the team is to do, and the supervisor's heartbeat (lgtc_interfaces/MissionState)."""

    stamp_s: float
    phase: MissionPhase
    elapsed_s: float
    reason: str


class FaultsReport(NamedTuple):
    """What goes wrong from a time on (lgtc_interfaces/Faults)."""

    stamp_s: float
    faults: tuple[Fault, ...]


def split_stamp(stamp_s: float) -> tuple[int, int]:
    """(seconds, nanoseconds) of a time, rounded to the nanosecond."""
    return divmod(round(stamp_s * NS_PER_S), NS_PER_S)


def stamp_from_wire(message: Any) -> float:
    """Header stamp in seconds.

    At today's wall time a float keeps it to 0.24 us, in simulated time to the nanosecond.
    """
    return time_from_wire(message.header.stamp)


def time_from_wire(time: Any) -> float:
    """builtin_interfaces/Time in seconds."""
    return (int(time.sec) * NS_PER_S + int(time.nanosec)) / NS_PER_S


def pose_to_wire(pose: Pose) -> Wire:
    """geometry_msgs/PoseStamped; yaw is not used and 0."""
    return {"header": pose.stamp_s, "pose": {"position": pose.position_m, "orientation": {"w": 1.0}}}


def pose_from_wire(message: Any) -> Pose:
    """Pose of a PoseStamped.

    Raises:
        InputError: position not finite.
    """
    return Pose(stamp_from_wire(message), _finite(_vector(message.pose.position), "pose.position", "m"))


def poses_to_wire(stamp_s: float, position_m: Mapping[str, Array]) -> Wire:
    """lgtc_interfaces/Poses: positions (3,) by drone, frame "world" [m], all measured at one time [s]."""
    return {"header": stamp_s, "drones": list(position_m), "position": np.ravel([*position_m.values()])}


def poses_from_wire(message: Any) -> Poses:
    """Poses of a Poses. A position that is not finite concerns one drone alone, and is not refused here.

    Raises:
        InputError: not three numbers for every name, or a name twice.
    """
    names, numbers = message.drones, np.array(message.position, np.float64)
    if len(numbers) != 3 * len(names):
        raise InputError("poses.position", f"{len(numbers)} numbers", f"three for each of {len(names)} drones")
    stamp_s, position_m = stamp_from_wire(message), numbers.reshape(-1, 3)
    of = {name: Pose(stamp_s, at_m) for name, at_m in zip(names, position_m, strict=True)}
    if len(of) != len(names):
        raise InputError("poses.drones", ", ".join(names), "every name once")
    if math.isfinite(numbers @ numbers):
        return Poses(of, position_m, ())
    refused = tuple(name for name, pose in of.items() if not np.isfinite(pose.position_m).all())
    finite = np.isfinite(position_m).all(1)
    return Poses({name: pose for name, pose in of.items() if name not in refused}, position_m[finite], refused)


def bundle_to_wire(said: Sequence[tuple[str, bytes]]) -> Wire:
    """lgtc_interfaces/Bundle: serialised messages of one topic, each with its drone, in the order of their saying."""
    ends = accumulate(len(raw) for _, raw in said)
    return {
        "drones": [drone for drone, _ in said],
        "ends": list(ends),
        "data": np.frombuffer(b"".join(raw for _, raw in said), np.uint8),
    }


def bundle_from_wire(message: Any) -> list[tuple[str, bytes]]:
    """Drone and serialised message of everything in a Bundle, in the order in which it was said.

    Raises:
        InputError: not one end for every drone, or ends that do not divide the bytes.
    """
    drones, data = message.drones, bytes(message.data)
    bounds = [0, *(int(end) for end in message.ends)]
    if len(bounds) != len(drones) + 1:
        raise InputError("bundle.ends", f"{len(bounds) - 1} ends", f"one for each of {len(drones)} messages")
    if bounds != sorted(bounds) or bounds[-1] != len(data):
        raise InputError("bundle.ends", f"{bounds[1:]}", f"ends that rise to the {len(data)} bytes there are")
    return [(drone, data[a:b]) for drone, (a, b) in zip(drones, pairwise(bounds), strict=True)]


def velocity_to_wire(velocity: Velocity) -> Wire:
    """geometry_msgs/TwistStamped; angular rates are not used and 0."""
    return {"header": velocity.stamp_s, "twist": {"linear": velocity.velocity_mps}}


def velocity_from_wire(message: Any) -> Velocity:
    """Velocity of a TwistStamped.

    Raises:
        InputError: velocity not finite.
    """
    return Velocity(stamp_from_wire(message), _finite(_vector(message.twist.linear), "twist.linear", "m/s"))


def battery_to_wire(battery: BatteryReading) -> Wire:
    """sensor_msgs/BatteryState; what is not measured is NaN, as that message wants it."""
    unknown = dict.fromkeys(("temperature", "current", "charge", "capacity", "design_capacity"), math.nan)
    return {
        "header": battery.stamp_s,
        **unknown,
        "voltage": battery.voltage_v,
        "percentage": battery.state_of_charge,
        "present": True,
    }


def battery_from_wire(message: Any) -> BatteryReading:
    """Battery of a BatteryState.

    Raises:
        InputError: a state of charge outside 0 .. 1, or a voltage that is negative or infinite; NaN is unknown.
    """
    voltage_v, charge = float(message.voltage), float(message.percentage)
    if not (math.isnan(voltage_v) or 0.0 <= voltage_v < math.inf):
        raise InputError("battery.voltage", f"{voltage_v:g} V", "at least 0 V, or NaN for unknown")
    if not (math.isnan(charge) or 0.0 <= charge <= 1.0):
        raise InputError("battery.percentage", f"{charge:g}", "between 0 and 1, or NaN for unknown")
    return BatteryReading(stamp_from_wire(message), voltage_v, charge)


def features_to_wire(features: Features) -> Wire:
    """lgtc_interfaces/AgentFeatures."""
    return {
        "header": features.stamp_s,
        "sequence": features.sequence,
        "position": (*features.position_m, 0.0),
        "contract": features.contract,
        "data": features.data,
    }


def features_from_wire(message: Any, drone: str) -> Features:
    """Features of `drone`, whom the topic names. Width, contract and numbers are checked by `Mind.hear`."""
    from lgtc_core.mind.policy import Features  # here, as only who has a policy shall load onnxruntime (30 MB)

    return Features(
        drone=drone,
        sequence=int(message.sequence),
        stamp_s=stamp_from_wire(message),
        position_m=_vector(message.position)[:2],
        contract=str(message.contract),
        data=np.asarray(message.data, np.float32),
    )


def decision_to_wire(decision: Decision, pose_stamp_s: float) -> Wire:
    """lgtc_interfaces/PolicyState of a decision made on the pose of `pose_stamp_s`."""
    return {
        "header": pose_stamp_s,
        "sequence": decision.features.sequence,
        "action": decision.action,
        "consumers": decision.consumers,
        "assignment": decision.assignment,
        "chosen": decision.chosen,
        "state": decision.state,
        "neighbours_heard": decision.neighbours_heard,
        "oldest_message_age_s": decision.oldest_message_age_s,
        "step_time_s": decision.step_time_s,
    }


def safety_to_wire(command: SafeCommand) -> Wire:
    """lgtc_interfaces/SafetyStatus."""
    return {
        "header": command.stamp_s,
        "mode": command.mode,
        "reason": command.reason,
        "barrier_min": command.barrier_min,
        "distance_min_m": command.distance_min_m,
        "correction_mps": command.correction_mps,
        "solve_time_s": command.solve_time_s,
        "neighbours": command.neighbours,
        "neighbour_age_max_s": command.neighbour_age_max_s,
        "clear_above": command.clear_above,
        "clear_below": command.clear_below,
    }


def safety_from_wire(message: Any, velocity: Velocity) -> SafeCommand:
    """Safe command of a SafetyStatus and the velocity that was published with it, under the same stamp.

    Raises:
        InputError: unknown mode.
    """
    return SafeCommand(
        stamp_s=velocity.stamp_s,
        velocity_mps=velocity.velocity_mps,
        mode=_member(SafetyMode, message.mode, "safety.mode"),
        reason=str(message.reason),
        barrier_min=float(message.barrier_min),
        distance_min_m=float(message.distance_min_m),
        correction_mps=float(message.correction_mps),
        solve_time_s=float(message.solve_time_s),
        neighbours=int(message.neighbours),
        neighbour_age_max_s=float(message.neighbour_age_max_s),
        clear_above=bool(message.clear_above),
        clear_below=bool(message.clear_below),
    )


def resources_to_wire(resources: Resources) -> Wire:
    """lgtc_interfaces/ResourceState."""
    return {
        "header": resources.stamp_s,
        "kinds": resources.kinds,
        "supply": resources.supply,
        "position": resources.position_m,
        "serving": resources.serving,
        "battery_voltage_v": resources.voltage_v,
        "state_of_charge": resources.state_of_charge,
        "time_left_s": resources.time_left_s,
        "tier": resources.tier,
        "reason": resources.reason,
        "may_take_off": resources.may_take_off,
    }


def resources_from_wire(message: Any) -> Resources:
    """Resources of a ResourceState.

    Raises:
        InputError: as many supplies as kinds are missing, a supply negative or not finite, or an unknown tier.
    """
    kinds, supply = tuple(map(str, message.kinds)), np.asarray(message.supply, float)
    if len(supply) != len(kinds) or not (np.isfinite(supply) & (supply >= 0.0)).all():
        raise InputError("resources.supply", str(supply.tolist()), f"{len(kinds)} finite numbers, at least 0")
    return Resources(
        stamp_s=stamp_from_wire(message),
        kinds=kinds,
        supply=supply,
        position_m=_vector(message.position),
        serving=bool(message.serving),
        voltage_v=float(message.battery_voltage_v),
        state_of_charge=float(message.state_of_charge),
        time_left_s=float(message.time_left_s),
        tier=_member(Tier, message.tier, "resources.tier"),
        reason=str(message.reason),
        may_take_off=bool(message.may_take_off),
    )


def vehicle_to_wire(report: VehicleReport) -> Wire:
    """lgtc_interfaces/VehicleStatus."""
    return {
        "header": report.stamp_s,
        "phase": report.phase,
        "reason": report.reason,
        "reference": report.reference_m,
        "setpoint_age_s": report.setpoint_age_s,
    }


def vehicle_from_wire(message: Any) -> VehicleReport:
    """Report of a VehicleStatus.

    Raises:
        InputError: unknown phase.
    """
    return VehicleReport(
        stamp_s=stamp_from_wire(message),
        phase=_member(VehiclePhase, message.phase, "vehicle.phase"),
        reason=str(message.reason),
        reference_m=_vector(message.reference),
        setpoint_age_s=float(message.setpoint_age_s),
    )


def fault_to_wire(fault: Fault) -> Wire:
    """lgtc_interfaces/Fault."""
    return {
        "kind": fault.kind.value,
        "drones": fault.drones,
        "start_s": fault.start_s,
        "duration_s": math.nan if fault.duration_s is None else fault.duration_s,
        "amount": math.nan if fault.amount is None else fault.amount,
    }


def fault_from_wire(message: Any) -> Fault:
    """Fault of a message.

    Raises:
        InputError: unknown kind, an amount out of range, or a time that is none.
    """
    start_s, duration_s, amount = float(message.start_s), float(message.duration_s), float(message.amount)
    if not 0.0 <= start_s < math.inf or not (math.isnan(duration_s) or 0.0 <= duration_s < math.inf):
        raise InputError("fault", f"start {start_s:g} s, duration {duration_s:g} s", "times of at least 0 s")
    try:
        return Fault(
            kind=FaultKind(str(message.kind)),
            drones=tuple(str(name) for name in message.drones),
            start_s=start_s,
            duration_s=None if math.isnan(duration_s) else duration_s,
            amount=None if math.isnan(amount) else amount,
        )
    except ConfigError as error:
        raise InputError(f"fault {message.kind}: {error.key}", error.got, error.expected) from None
    except ValueError:
        kinds = ", ".join(kind.value for kind in FaultKind)
        raise InputError("fault", f"the kind {str(message.kind)!r}", f"one of {kinds}") from None


def faults_to_wire(report: FaultsReport) -> Wire:
    """lgtc_interfaces/Faults."""
    return {"header": report.stamp_s, "faults": [fault_to_wire(fault) for fault in report.faults]}


def faults_from_wire(message: Any) -> FaultsReport:
    """Report of a Faults.

    Raises:
        InputError: see `fault_from_wire`.
    """
    return FaultsReport(stamp_from_wire(message), tuple(fault_from_wire(fault) for fault in message.faults))


def mission_to_wire(report: MissionReport) -> Wire:
    """lgtc_interfaces/MissionState."""
    return {
        "header": report.stamp_s,
        "phase": report.phase,
        "elapsed_s": report.elapsed_s,
        "reason": report.reason,
    }


def mission_from_wire(message: Any) -> MissionReport:
    """Report of a MissionState.

    Raises:
        InputError: unknown phase.
    """
    phase = _member(MissionPhase, message.phase, "mission.phase")
    return MissionReport(stamp_from_wire(message), phase, float(message.elapsed_s), str(message.reason))


def presence_to_wire(sighting: Sighting) -> Wire:
    """lgtc_interfaces/Presence."""
    return {"header": sighting.stamp_s, "drone": sighting.drone, "position": sighting.position_m}


def presence_from_wire(message: Any) -> Sighting:
    """Sighting of a Presence.

    Raises:
        InputError: position not finite.
    """
    position_m = _finite(_vector(message.position), f"presence of {message.drone}", "m")
    return Sighting(str(message.drone), stamp_from_wire(message), position_m)


def setpoint_to_wire(setpoint: Setpoint, stamp_s: float, author: str = "") -> Wire:
    """nav_msgs/Odometry: position and velocity reference, both in the world frame.

    `author`, for which `child_frame_id` is free, tells a stand-in's setpoints from those of the drone's own adapter.
    """
    return {
        "header": stamp_s,
        "child_frame_id": author,
        "pose": {"pose": {"position": setpoint.position_m, "orientation": {"w": 1.0}}},
        "twist": {"twist": {"linear": setpoint.velocity_mps}},
    }


def setpoint_from_wire(message: Any) -> Setpoint:
    """Setpoint of an Odometry.

    Raises:
        InputError: position or velocity not finite.
    """
    return Setpoint(
        _finite(_vector(message.pose.pose.position), "setpoint.pose", "m"),
        _finite(_vector(message.twist.twist.linear), "setpoint.twist", "m/s"),
    )


def demand_to_wire(view: DemandView, stamp_s: float) -> Wire:
    """lgtc_interfaces/Demand."""
    return {
        "header": stamp_s,
        "revision": view.revision,
        "kinds": view.kinds,
        "consumers": [consumer_to_wire(consumer) for consumer in view.consumers],
    }


def demand_from_wire(message: Any) -> DemandView:
    """View of a Demand.

    Raises:
        InputError: a consumer with arrays of another length than the kinds, or with numbers that are not finite.
    """
    kinds = tuple(map(str, message.kinds))
    consumers = tuple(consumer_from_wire(consumer, len(kinds)) for consumer in message.consumers)
    return DemandView(int(message.revision), kinds, tuple(sorted(consumers, key=lambda consumer: consumer.slot)))


def consumer_to_wire(consumer: ConsumerView) -> Wire:
    """lgtc_interfaces/ConsumerDemand."""
    return {
        "name": consumer.name,
        "slot": consumer.slot,
        "position": (*consumer.position_m, 0.0),
        "radius_m": consumer.radius_m,
        "demanded": consumer.demanded,
        "remaining": consumer.remaining,
        "depletion": consumer.depletion,
        "servers": consumer.servers,
        "leaving": consumer.leaving,
    }


def consumer_from_wire(message: Any, kinds: int) -> ConsumerView:
    """Consumer of a ConsumerDemand with arrays of `kinds` entries.

    Raises:
        InputError: arrays of another length, or numbers that are not finite.
    """
    what = f"demand of {message.name}"
    demanded, remaining = np.asarray(message.demanded, float), np.asarray(message.remaining, float)
    depletion = np.frombuffer(bytes(message.depletion), np.uint8).astype(np.int64)
    if not len(demanded) == len(remaining) == len(depletion) == kinds:
        raise InputError(
            what, f"{len(demanded)}, {len(remaining)} and {len(depletion)} entries", f"{kinds} of each, one per kind"
        )
    return ConsumerView(
        name=str(message.name),
        slot=int(message.slot),
        position_m=_finite(_vector(message.position), f"{what}: position", "m")[:2],
        radius_m=float(message.radius_m),
        demanded=_finite(demanded, f"{what}: demanded", "in units of the kinds"),
        remaining=_finite(remaining, f"{what}: remaining", "in units of the kinds"),
        depletion=depletion,
        servers=tuple(map(str, message.servers)),
        leaving=tuple(map(str, message.leaving)),
    )


def consumer_spec_to_wire(consumer: ConsumerSpec) -> Wire:
    """lgtc_interfaces/ConsumerDemand of a request to edit: as it is to be, nothing about what is served."""
    return {
        "name": consumer.name,
        "position": (*consumer.position_m, 0.0),
        "radius_m": consumer.radius_m,
        "demanded": consumer.demanded,
        "depletion": consumer.depletion,
    }


def consumer_spec_from_wire(message: Any) -> ConsumerSpec:
    """Consumer of a request to edit, as it came: the demand book says what is wrong with it."""
    return ConsumerSpec(
        name=str(message.name),
        position_m=(float(message.position.x), float(message.position.y)),
        radius_m=float(message.radius_m),
        demanded=tuple(map(float, message.demanded)),
        depletion=tuple(map(int, message.depletion)),
    )


def _vector(point: Any) -> Array:
    """(3,) of a Point or Vector3."""
    return np.array((point.x, point.y, point.z), float)


def _finite(values: Array, what: str, unit: str) -> Array:
    if not math.isfinite(values @ values) and not np.isfinite(values).all():  # the first is the faster
        raise InputError(what, str(values.tolist()), f"finite numbers [{unit}]; check the sender")
    return values


def _member(kind: type[E], value: Any, what: str) -> E:
    try:
        return kind(int(value))
    except ValueError:
        raise InputError(what, str(value), f"one of {', '.join(f'{m.value} {m.name}' for m in kind)}") from None
