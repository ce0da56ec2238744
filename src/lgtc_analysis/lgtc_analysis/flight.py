"""A flight as typed arrays: what every drone did, what was asked for, what the mission was.

A `Flight` is filled from messages, whether they come out of a bag (`lgtc_analysis.bag.read_flight`) or
straight from a loop.

Times. ``time_s`` is mission time: ROS time (header stamps) minus the start of phase ACTIVE, so that take-off
happens at negative times and an event "at 55 s" of a scenario stands at 55. ``received_s`` is the recorder's
own clock since the first message.
Positions are in frame "world" [m]. NaN means unknown everywhere. T is the number of messages of a series, N
of drones, M of consumers, r of resource kinds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lgtc_analysis.info import FlightInfo, info_from_json
from lgtc_analysis.messages import NS_PER_S, stamp_ns
from lgtc_core import topics
from lgtc_core.errors import ConfigError, ContractError
from lgtc_core.fleet.team import Team
from lgtc_core.flight.phases import MissionPhase
from lgtc_core.wire import fault_from_wire

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Received = list[tuple[int, Any]]
"""Messages of one topic: (time of receipt [ns], decoded message), in order of receipt."""

S = TypeVar("S", bound="Series")


@dataclass(frozen=True)
class Series:
    """Messages of one topic, ordered by header stamp."""

    stamp_ns: Ints  # (T,)
    """Header stamp, ROS time [ns]; exact, so that streams can be matched by it."""
    time_s: Floats  # (T,)
    """Header stamp as mission time [s]."""
    received_s: Floats  # (T,)
    """Time of receipt by the recorder, since the recording's first message [s]."""

    def __len__(self) -> int:
        return len(self.stamp_ns)


@dataclass(frozen=True)
class PoseSeries(Series):
    """Measured positions."""

    position_m: Floats  # (T, 3)
    """Position, frame "world" [m]."""


@dataclass(frozen=True)
class VelocitySeries(Series):
    """Velocity commands, nominal or safe. The stamp is that of the pose that the command answers."""

    velocity_mps: Floats  # (T, 3)
    """Velocity, frame "world" [m/s]."""


@dataclass(frozen=True)
class SafetySeries(Series):
    """What the safety filter did, as in SafetyStatus."""

    mode: Ints  # (T,)
    barrier_min: Floats  # (T,)
    distance_min_m: Floats  # (T,)
    correction_mps: Floats  # (T,)
    solve_time_s: Floats  # (T,)
    neighbour_age_max_s: Floats  # (T,)
    reason: tuple[str, ...]


@dataclass(frozen=True)
class ResourceSeries(Series):
    """What a drone carries, as in ResourceState."""

    supply: Floats  # (T, r)
    position_m: Floats  # (T, 3)
    serving: Bools  # (T,)
    battery_voltage_v: Floats  # (T,)
    state_of_charge: Floats  # (T,)
    time_left_s: Floats  # (T,)
    tier: Ints  # (T,)
    reason: tuple[str, ...]


@dataclass(frozen=True)
class PolicySeries(Series):
    """What the policy decided, as in PolicyState. Consumers are columns in the order of
    `Flight.demand.names`.
    """

    sequence: Ints  # (T,)
    action: Floats  # (T, 2)
    assignment: Floats  # (T, M)
    """Row of Xi (eq. 6); NaN for a consumer that the policy did not see."""
    chosen: Ints  # (T,)
    """Column of the chosen consumer; -1 none."""
    state: Floats  # (T, H)
    """Recurrent state after the tick; the model card's liquid width says how many of the first entries are
    the liquid state.
    """
    neighbours_heard: Ints  # (T,)
    oldest_message_age_s: Floats  # (T,)
    step_time_s: Floats  # (T,)


@dataclass(frozen=True)
class VehicleSeries(Series):
    """Phases of the vehicle, as in VehicleStatus."""

    phase: Ints  # (T,)
    reference_m: Floats  # (T, 3)
    setpoint_age_s: Floats  # (T,)
    reason: tuple[str, ...]


@dataclass(frozen=True)
class BatterySeries(Series):
    """Measured battery."""

    voltage_v: Floats  # (T,)
    state_of_charge: Floats  # (T,)


@dataclass(frozen=True)
class SetpointSeries(Series):
    """References streamed to the vehicle."""

    position_m: Floats  # (T, 3)
    velocity_mps: Floats  # (T, 3)


@dataclass(frozen=True)
class FeatureSeries(Series):
    """Message vectors sent to the neighbours; their content stays opaque."""

    sequence: Ints  # (T,)
    width: Ints  # (T,)
    """Length of the message vector."""


@dataclass(frozen=True)
class MissionSeries(Series):
    """Phases of the mission, as in MissionState."""

    phase: Ints  # (T,)
    elapsed_s: Floats  # (T,)
    reason: tuple[str, ...]


@dataclass(frozen=True)
class PresenceSeries(Series):
    """The slow roll call of all drones."""

    drone: tuple[str, ...]
    position_m: Floats  # (T, 3)


@dataclass(frozen=True)
class FaultSeries(Series):
    """What went wrong on purpose, whenever that changed; empty where nothing can (hardware)."""

    holding: tuple[tuple[str, ...], ...]
    """Faults from each time on, in words."""


@dataclass(frozen=True)
class DemandSeries(Series):
    """What is asked for, as in Demand, with one column per consumer that ever existed (identity: its
    name).
    """

    revision: Ints  # (T,)
    names: tuple[str, ...]  # M
    """Consumers, ordered by slot, then name."""
    kinds: tuple[str, ...]  # r
    exists: Bools  # (T, M)
    position_m: Floats  # (T, M, 2)
    """Centre of the disc, frame "world" [m]; NaN where the consumer does not exist."""
    radius_m: Floats  # (T, M)
    demanded: Floats  # (T, M, r)
    """Asked for in total; 0 where the consumer does not exist."""
    remaining: Floats  # (T, M, r)
    depletion: Ints  # (T, M, r)
    """0 instantaneous, 1 zero-depletion."""
    serving: Bools  # (T, M, N)
    """Whether a drone's 0-depletion supply counts there, drones in the order of `Flight.drones`."""


@dataclass(frozen=True)
class DroneFlight:
    """Everything recorded of one drone, a field per topic; a series without messages has length 0."""

    name: str
    pose: PoseSeries
    velocity_nominal: VelocitySeries
    velocity_safe: VelocitySeries
    safety: SafetySeries
    resources: ResourceSeries
    policy_state: PolicySeries
    vehicle: VehicleSeries
    battery: BatterySeries
    setpoint: SetpointSeries
    features: FeatureSeries


@dataclass(frozen=True)
class Flight:
    """One recorded flight."""

    source: str
    """Where it comes from, for messages to people."""
    info: FlightInfo
    """How the flight was made."""
    team: Team
    """Who flew, where, for what, and what was to happen."""
    drones: Mapping[str, DroneFlight]
    """Drones by name, in the team's order."""
    demand: DemandSeries
    mission: MissionSeries
    presence: PresenceSeries
    faults: FaultSeries
    recorded_from_ns: int
    """The recorder's clock at the first message [ns]; since the Unix epoch where that clock is the wall's."""
    duration_s: float
    """From the first to the last receipt [s]."""
    missing: tuple[str, ...]
    """Topics of `EVIDENCE` without a single message."""
    unfinished: str
    """Why the recording is known to be cut short; empty: it was closed properly."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the drones, in the team's order."""
        return self.team.names

    @cached_property
    def active_s(self) -> tuple[float, float]:
        """(begin, end) of phase ACTIVE in mission time [s]; (nan, nan) if it was never reached."""
        active = np.flatnonzero(self.mission.phase == MissionPhase.ACTIVE)
        if not len(active):
            return (float("nan"), float("nan"))
        after = active[-1] + 1
        end = self.mission.time_s[after] if after < len(self.mission) else self.mission.time_s[-1]
        return (float(self.mission.time_s[active[0]]), float(end))

    @cached_property
    def span_s(self) -> tuple[float, float]:
        """(first, last) mission time that any pose, demand or mission message carries [s]."""
        series = [self.mission, self.demand, *(drone.pose for drone in self.drones.values())]
        times = np.concatenate([one.time_s for one in series])
        return (float(times.min()), float(times.max())) if len(times) else (0.0, 0.0)


EVIDENCE = (
    topics.POSE,
    topics.VELOCITY_SAFE,
    topics.SAFETY,
    topics.RESOURCES,
    topics.POLICY_STATE,
    topics.VEHICLE,
    topics.SETPOINT,
)
"""Per-drone topics without which a verdict would be a guess."""


def flight_from_messages(
    source: str, received: Mapping[str, Received], unfinished: str = "", info: FlightInfo | None = None
) -> Flight:
    """Flight from decoded messages.

    Args:
        source: name of the flight for messages to people.
        received: topic name -> messages in order of receipt. Messages are read by attribute, so any ROS
            message class will do.
        unfinished: why the recording is known to be cut short; empty otherwise.
        info: how the flight was made; None: the first message on ``/flight_info`` says it.

    Raises:
        ContractError: no information about the flight, or one of ``/mission``, ``/demand`` and the drones'
            poses is missing.
    """
    if info is None:
        info = _info(source, received)
    team = _team(source, info)
    names = team.names
    required = [topics.MISSION, topics.DEMAND] + [topics.of_drone(name, topics.POSE) for name in names]
    missing = [topic for topic in required if not received.get(topic)]
    if missing:
        raise ContractError(
            source,
            "no message on " + ", ".join(missing),
            "a recorded flight: /flight_info, /mission, /demand and /<drone>/pose of every drone",
        )
    first_ns = min(messages[0][0] for messages in received.values() if messages)
    last_ns = max(messages[-1][0] for messages in received.values() if messages)
    reader = _Reader(received, first_ns, _mission_start_ns(received[topics.MISSION]))
    demand = reader.demand(names)
    drones = {name: reader.drone(name, demand) for name in names}
    expected = [topics.of_drone(name, topic) for name in names for topic in EVIDENCE]
    absent = [topic for topic in expected if not received.get(topic)]
    return Flight(
        source=source,
        info=info,
        team=team,
        drones=drones,
        demand=demand,
        mission=reader.mission(),
        presence=reader.presence(),
        faults=reader.faults(),
        recorded_from_ns=first_ns,
        duration_s=(last_ns - first_ns) / NS_PER_S,
        missing=tuple(absent),
        unfinished=unfinished,
    )


def _info(source: str, received: Mapping[str, Received]) -> FlightInfo:
    messages = received.get(topics.FLIGHT_INFO)
    if not messages:
        raise ContractError(source, f"no message on {topics.FLIGHT_INFO}", "a bag written by this project's recorder")
    return info_from_json(messages[0][1].data, source)


def _team(source: str, info: FlightInfo) -> Team:
    try:
        return Team.from_dict(info.team, f"{source}: {topics.FLIGHT_INFO}: team")
    except ConfigError as error:
        raise ContractError(f"{error.file}: {error.key}", error.got, error.expected) from None


def _mission_start_ns(messages: Received) -> int:
    """ROS time at which ACTIVE began [ns]; the first stamp of the mission if it never did."""
    for _, message in messages:
        if message.phase == MissionPhase.ACTIVE:
            return stamp_ns(message.header.stamp) - round(float(message.elapsed_s) * NS_PER_S)
    return stamp_ns(messages[0][1].header.stamp)


def _point(point: Any) -> tuple[float, float, float]:
    return (point.x, point.y, point.z)


def _wide(rows: Sequence[Sequence[float]], fill: float = float("nan")) -> Floats:
    """(T, longest) array of rows of unequal length, filled up."""
    width = max((len(row) for row in rows), default=0)
    result = np.full((len(rows), width), fill)
    for i, row in enumerate(rows):
        result[i, : len(row)] = row
    return result


class _Reader:
    """Turns messages of one recording into series that share both clocks."""

    def __init__(self, received: Mapping[str, Received], first_ns: int, start_ns: int) -> None:
        self.received, self.first_ns, self.start_ns = received, first_ns, start_ns

    def series(self, cls: type[S], topic: str, columns: Callable[[list[Any]], Mapping[str, Any]]) -> S:
        """Series `cls` of one topic; `columns` turns its messages, ordered by stamp, into the fields of the
        class.
        """
        pairs = sorted(self.received.get(topic, ()), key=lambda pair: stamp_ns(pair[1].header.stamp))
        messages = [message for _, message in pairs]
        stamps = np.array([stamp_ns(message.header.stamp) for message in messages], dtype=np.int64)
        receipt = np.array([received for received, _ in pairs], dtype=np.int64)
        return cls(
            stamp_ns=stamps,
            time_s=(stamps - self.start_ns) / NS_PER_S,
            received_s=(receipt - self.first_ns) / NS_PER_S,
            **columns(messages),
        )

    def mission(self) -> MissionSeries:
        return self.series(
            MissionSeries,
            topics.MISSION,
            lambda ms: {
                "phase": _ints(m.phase for m in ms),
                "elapsed_s": _floats(m.elapsed_s for m in ms),
                "reason": tuple(m.reason for m in ms),
            },
        )

    def presence(self) -> PresenceSeries:
        return self.series(
            PresenceSeries,
            topics.PRESENCE,
            lambda ms: {"drone": tuple(m.drone for m in ms), "position_m": _points(m.position for m in ms)},
        )

    def faults(self) -> FaultSeries:
        return self.series(
            FaultSeries,
            topics.FAULTS,
            lambda ms: {"holding": tuple(tuple(str(fault_from_wire(fault)) for fault in m.faults) for m in ms)},
        )

    def demand(self, drones: Sequence[str]) -> DemandSeries:
        column = {name: i for i, name in enumerate(drones)}

        def columns(ms: list[Any]) -> Mapping[str, Any]:
            slots: dict[str, int] = {}
            for m in ms:
                for consumer in m.consumers:
                    slots.setdefault(consumer.name, consumer.slot)
            names = tuple(sorted(slots, key=lambda name: (slots[name], name)))
            kinds = tuple(ms[0].kinds) if ms else ()
            t, m_all, r = len(ms), len(names), len(kinds)
            arrays: dict[str, Any] = {
                "exists": np.zeros((t, m_all), dtype=bool),
                "position_m": np.full((t, m_all, 2), np.nan),
                "radius_m": np.full((t, m_all), np.nan),
                "demanded": np.zeros((t, m_all, r)),
                "remaining": np.zeros((t, m_all, r)),
                "depletion": np.zeros((t, m_all, r), dtype=np.int64),
                "serving": np.zeros((t, m_all, len(drones)), dtype=bool),
            }
            for i, m in enumerate(ms):
                for consumer in m.consumers:
                    j = names.index(consumer.name)
                    if len(consumer.demanded) != r or len(consumer.remaining) != r or len(consumer.depletion) != r:
                        raise ContractError(
                            f"{topics.DEMAND}, consumer {consumer.name}",
                            f"{len(consumer.demanded)} amounts",
                            f"{r}, one per kind of the first message",
                        )
                    arrays["exists"][i, j] = True
                    arrays["position_m"][i, j] = (consumer.position.x, consumer.position.y)
                    arrays["radius_m"][i, j] = consumer.radius_m
                    arrays["demanded"][i, j] = consumer.demanded
                    arrays["remaining"][i, j] = consumer.remaining
                    arrays["depletion"][i, j] = consumer.depletion
                    for server in consumer.servers:
                        if server in column:
                            arrays["serving"][i, j, column[server]] = True
            return {"revision": _ints(m.revision for m in ms), "names": names, "kinds": kinds, **arrays}

        return self.series(DemandSeries, topics.DEMAND, columns)

    def drone(self, name: str, demand: DemandSeries) -> DroneFlight:
        def on(relative: str) -> str:
            return topics.of_drone(name, relative)

        return DroneFlight(
            name=name,
            pose=self.series(
                PoseSeries, on(topics.POSE), lambda ms: {"position_m": _points(m.pose.position for m in ms)}
            ),
            velocity_nominal=self.series(VelocitySeries, on(topics.VELOCITY_NOMINAL), _velocities),
            velocity_safe=self.series(VelocitySeries, on(topics.VELOCITY_SAFE), _velocities),
            safety=self.series(SafetySeries, on(topics.SAFETY), _safety),
            resources=self.series(ResourceSeries, on(topics.RESOURCES), _resources),
            policy_state=self.series(PolicySeries, on(topics.POLICY_STATE), lambda ms: _policy(ms, demand.names)),
            vehicle=self.series(VehicleSeries, on(topics.VEHICLE), _vehicle),
            battery=self.series(
                BatterySeries,
                on(topics.BATTERY),
                lambda ms: {
                    "voltage_v": _floats(m.voltage for m in ms),
                    "state_of_charge": _floats(m.percentage for m in ms),
                },
            ),
            setpoint=self.series(
                SetpointSeries,
                on(topics.SETPOINT),
                lambda ms: {
                    "position_m": _points(m.pose.pose.position for m in ms),
                    "velocity_mps": _points(m.twist.twist.linear for m in ms),
                },
            ),
            features=self.series(
                FeatureSeries,
                on(topics.FEATURES),
                lambda ms: {
                    "sequence": _ints(m.sequence for m in ms),
                    "width": _ints(len(m.data) for m in ms),
                },
            ),
        )


def _floats(values: Iterable[float]) -> Floats:
    return np.array(list(values), dtype=np.float64)


def _ints(values: Iterable[int]) -> Ints:
    return np.array(list(values), dtype=np.int64)


def _points(points: Iterable[Any]) -> Floats:
    return np.array([_point(point) for point in points], dtype=np.float64).reshape(-1, 3)


def _velocities(ms: list[Any]) -> Mapping[str, Any]:
    return {"velocity_mps": _points(m.twist.linear for m in ms)}


def _safety(ms: list[Any]) -> Mapping[str, Any]:
    return {
        "mode": _ints(m.mode for m in ms),
        "barrier_min": _floats(m.barrier_min for m in ms),
        "distance_min_m": _floats(m.distance_min_m for m in ms),
        "correction_mps": _floats(m.correction_mps for m in ms),
        "solve_time_s": _floats(m.solve_time_s for m in ms),
        "neighbour_age_max_s": _floats(m.neighbour_age_max_s for m in ms),
        "reason": tuple(m.reason for m in ms),
    }


def _resources(ms: list[Any]) -> Mapping[str, Any]:
    return {
        "supply": _wide([m.supply for m in ms]),
        "position_m": _points(m.position for m in ms),
        "serving": np.array([m.serving for m in ms], dtype=bool),
        "battery_voltage_v": _floats(m.battery_voltage_v for m in ms),
        "state_of_charge": _floats(m.state_of_charge for m in ms),
        "time_left_s": _floats(m.time_left_s for m in ms),
        "tier": _ints(m.tier for m in ms),
        "reason": tuple(m.reason for m in ms),
    }


def _policy(ms: list[Any], names: Sequence[str]) -> Mapping[str, Any]:
    column = defaultdict(lambda: -1, {name: j for j, name in enumerate(names)})
    assignment = np.full((len(ms), len(names)), np.nan)
    chosen = np.full(len(ms), -1, dtype=np.int64)
    for i, m in enumerate(ms):
        for name, weight in zip(m.consumers, m.assignment, strict=False):
            if column[name] >= 0:
                assignment[i, column[name]] = weight
        if 0 <= m.chosen < len(m.consumers):
            chosen[i] = column[m.consumers[m.chosen]]
    return {
        "sequence": _ints(m.sequence for m in ms),
        "action": np.array([m.action for m in ms], dtype=np.float64).reshape(-1, 2),
        "assignment": assignment,
        "chosen": chosen,
        "state": _wide([m.state for m in ms]),
        "neighbours_heard": _ints(m.neighbours_heard for m in ms),
        "oldest_message_age_s": _floats(m.oldest_message_age_s for m in ms),
        "step_time_s": _floats(m.step_time_s for m in ms),
    }


def _vehicle(ms: list[Any]) -> Mapping[str, Any]:
    return {
        "phase": _ints(m.phase for m in ms),
        "reference_m": _points(m.reference for m in ms),
        "setpoint_age_s": _floats(m.setpoint_age_s for m in ms),
        "reason": tuple(m.reason for m in ms),
    }
