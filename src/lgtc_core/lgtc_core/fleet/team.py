"""The team of one flight: fleet and scenario resolved against each other. All that the closed loop needs,
as plain values.

`resolve` is the only way from files to a flight. Its result survives `to_dict` and `from_dict`, so the
recorder stores it in the bag and report and replay rebuild it from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

from lgtc_core import schema
from lgtc_core.demand.consumer import AMOUNT, ConsumerSpec, objection
from lgtc_core.demand.view import DemandView
from lgtc_core.errors import ConfigError, InputError
from lgtc_core.fleet.fault import Fault
from lgtc_core.fleet.fleet import DroneEntry, DroneType, Fleet, check_places, load_fleet
from lgtc_core.fleet.scenario import (
    LEAST_SERVED,
    ConsumerEntry,
    Depletion,
    EventEntry,
    Scenario,
    SupplyChangeEntry,
    VehicleModel,
    load_scenario,
)
from lgtc_core.flight.response import COMMAND_PERIOD, Response
from lgtc_core.mind.card import ModelCard, check_fits
from lgtc_core.schema import Bounds
from lgtc_core.world.arena import Arena

ALL = "all"
"""Entry of `supplies` that holds for every drone."""


@dataclass(frozen=True, kw_only=True)
class DroneSpec(DroneType):
    """One drone of the team: its name, its place, what it carries, and its type's parameters."""

    response: Annotated[Response, "How it follows velocities"] = field(default_factory=Response)
    name: Annotated[str, "Name, which is its ROS namespace"]
    type: Annotated[str, "Name of its type"]
    start_m: Annotated[tuple[float, float], Bounds(-1e6, 1e6, "m"), "Where it stands before the flight, world frame"]
    supply: Annotated[
        tuple[float, ...], AMOUNT, "Carried at the start per kind (r,); of the battery's kind the first state of charge"
    ]


class Edit(IntEnum):
    """What happens to a consumer; numbers equal the constants of lgtc_interfaces/EditConsumer."""

    ADD = 0
    CHANGE = 1
    REMOVE = 2


@dataclass(frozen=True, kw_only=True)
class ConsumerEdit:
    """A consumer comes, changes or goes."""

    operation: Annotated[Edit, "0 add, 1 change, 2 remove"]
    consumer: Annotated[ConsumerSpec, "The consumer as it is to be; for `remove` as it was last"]


@dataclass(frozen=True, kw_only=True)
class SupplyChange(SupplyChangeEntry):
    """What one drone carries is set by hand."""

    def choose(self, view: DemandView) -> str | None:
        """Name of the drone meant, given who serves now; None: nobody serves there yet, ask again.

        Ties are broken by slot, then by name, so that the same flight chooses the same drone.
        """
        if self.drone is not None:
            return self.drone
        served = [consumer for consumer in view.consumers if consumer.servers]
        if self.server_of != LEAST_SERVED:
            served = [consumer for consumer in served if consumer.name == self.server_of]
        if not served:
            return None
        return min(min(served, key=lambda consumer: (len(consumer.servers), consumer.slot)).servers)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happens at a time of the flight: exactly one of the two."""

    at_s: Annotated[float, Bounds(0.0, 1e6, "s"), "When, after the policies took over"]
    set_supply: Annotated[SupplyChange | None, "What one drone carries changes"] = None
    edit: Annotated[ConsumerEdit | None, "A consumer comes, changes or goes"] = None


@dataclass(frozen=True, kw_only=True)
class Team:
    """Who flies, where, for what, and what happens."""

    scenario: Annotated[str, "Name of the scenario"]
    title: Annotated[str, "What it shows, one line"]
    arena: Annotated[Arena, "Where the swarm may be"]
    kinds: Annotated[tuple[str, ...], "Names of the r resource kinds, the order of every per-kind array"]
    drones: Annotated[tuple[DroneSpec, ...], "Those that fly"]
    consumers: Annotated[tuple[ConsumerSpec, ...], "Those that exist at the start; the place in this list is the slot"]
    events: Annotated[tuple[Event, ...], "In the order of time"]
    duration_s: Annotated[float, Bounds(1.0, 1e6, "s"), "Longest time that the policies fly"]
    settle_s: Annotated[
        float | None, Bounds(0.1, 1e6, "s"), "Land earlier, after all demand was met for this long and no event is left"
    ]
    seed: Annotated[int, Bounds(0, 2**31 - 1), "Seed of everything random in simulation"]
    vehicle: Annotated[VehicleModel, "How simulated drones move"] = VehicleModel.KINEMATIC
    command_period_s: Annotated[
        float, COMMAND_PERIOD, "Time between two setpoints of a drone, and between two poses of a simulated one"
    ] = 0.02
    rejoin: Annotated[bool, "A drone that landed with a low battery takes off again, once charged"] = False
    faults: Annotated[tuple[Fault, ...], "What goes wrong on purpose, in simulation"] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the drones."""
        return tuple(drone.name for drone in self.drones)

    def drone(self, name: str) -> DroneSpec:
        """The drone of that name.

        Raises:
            InputError: there is none.
        """
        for drone in self.drones:
            if drone.name == name:
                return drone
        raise InputError("drone", repr(name), f"one of {', '.join(self.names)}")

    def consumers_over_time(self) -> Iterator[tuple[ConsumerSpec, ...]]:
        """The consumers that exist at the start, and after every event that edits them."""
        present = {consumer.name: consumer for consumer in self.consumers}
        yield tuple(present.values())
        for event in self.events:
            if event.edit is not None:
                _apply(present, event.edit)
                yield tuple(present.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, fit for JSON."""
        data: dict[str, Any] = schema.dump(self)
        return data

    @classmethod
    def from_dict(cls, data: object, source: str) -> Team:
        """The team of what `to_dict` gave; `source` says in errors where it came from.

        Raises:
            ConfigError: the data is not a team.
        """
        return schema.build(cls, data, source)


def load_team(fleet_path: Path | str, scenario_path: Path | str, count: int | None = None) -> Team:
    """The team of two files; `count` overrides how many drones fly.

    Raises:
        ConfigError: with file, key, got and expected.
    """
    return resolve(load_fleet(fleet_path), load_scenario(scenario_path), count)


def resolve(fleet: Fleet, scenario: Scenario, count: int | None = None) -> Team:
    """Check a scenario against a fleet and put both together; `count` overrides how many drones fly.

    Raises:
        ConfigError: with file, key, got and expected; the first thing that does not fit.
    """
    drones = _drones(fleet, scenario)
    known = {**fleet.drones, **drones}
    if count is not None:
        drones = _first(fleet, count)
    batteries = {drone.battery_kind for drone in drones.values() if drone.battery_kind is not None}
    supplies = _supplies(fleet, scenario, drones, {**known, **drones})
    check = _Consumers(fleet, scenario, frozenset(batteries))
    for name, entry in scenario.file.consumers.items():
        check.edit(Edit.ADD, name, entry, f"consumers.{name}")
    consumers = tuple(check.present.values())
    indices = range(len(scenario.file.events))
    order = sorted(indices, key=lambda i: scenario.file.events[i].at_s)
    events = tuple(_event(scenario, i, drones, check) for i in order)
    if not consumers and not any(event.edit for event in events):
        raise ConfigError(
            scenario.source, "consumers", "no consumer, and none appears", "at least one place that asks for something"
        )
    vehicle = scenario.file.vehicle or fleet.file.vehicle
    return Team(
        scenario=scenario.name,
        title=scenario.file.title,
        arena=fleet.arena,
        kinds=fleet.kinds,
        drones=tuple(
            DroneSpec(
                **_type_parameters(drone, vehicle),
                name=name,
                type=str(drone.type),
                start_m=drone.start_m,
                supply=supplies[name],
            )
            for name, drone in drones.items()
        ),
        consumers=consumers,
        events=events,
        duration_s=scenario.file.duration_s,
        settle_s=scenario.file.settle_s,
        seed=scenario.file.seed,
        vehicle=vehicle,
        command_period_s=fleet.file.command_period_s,
        rejoin=scenario.file.rejoin,
        faults=_faults(scenario, drones),
    )


def check_model(team: Team, card: ModelCard, tick_s: float) -> None:
    """Refuse a model that was not made for this team: see `card.check_fits`.

    Raises:
        ContractError: the first disagreement, in words, with what to do about it.
    """
    consumers = list(team.consumers_over_time())
    check_fits(
        card,
        team.arena,
        len(team.kinds),
        max(map(len, consumers)),
        tick_s,
        radii_m=sorted({consumer.radius_m for present in consumers for consumer in present}),
        max_speeds_mps=sorted({drone.max_speed_mps for drone in team.drones}),
    )


def _faults(scenario: Scenario, drones: Mapping[str, DroneEntry]) -> tuple[Fault, ...]:
    """The scenario's faults, which are about drones that fly."""
    for i, fault in enumerate(scenario.file.faults):
        for k, name in enumerate(fault.drones):
            if name not in drones:
                key = f"faults[{i}].drones[{k}]"
                raise ConfigError(scenario.source, key, repr(name), f"one of {', '.join(drones)}")
    return scenario.file.faults


def _drones(fleet: Fleet, scenario: Scenario) -> Mapping[str, DroneEntry]:
    """Those of the fleet that fly."""
    names, count = scenario.file.drones, scenario.file.count
    if names is not None and count is not None:
        raise ConfigError(scenario.source, "count", "both `drones` and `count`", "one of them")
    if count is not None:
        return _first(fleet, count)
    if names is None:
        return fleet.drones
    if not names:
        raise ConfigError(scenario.source, "drones", "an empty list", "at least one drone, or null for all")
    for i, name in enumerate(names):
        if name not in fleet.drones:
            raise ConfigError(
                scenario.source, f"drones[{i}]", repr(name), f"one of {', '.join(fleet.drones)} of {fleet.source}"
            )
        if name in names[:i]:
            raise ConfigError(scenario.source, f"drones[{i}]", f"{name!r} a second time", "every drone once")
    return {name: fleet.drones[name] for name in names}


def _first(fleet: Fleet, count: int) -> Mapping[str, DroneEntry]:
    """The first `count` drones, generated ones included."""
    drones = fleet.first(count)
    check_places(fleet, drones)
    return drones


def _supplies(
    fleet: Fleet, scenario: Scenario, drones: Mapping[str, DroneEntry], known: Mapping[str, DroneEntry]
) -> dict[str, tuple[float, ...]]:
    """What every drone carries at the start, per kind: a full battery < all < its own entry.

    Of `known` drones that stay at home, it may be said too.
    """
    given, source = scenario.file.supplies, scenario.source
    for name, amounts in given.items():
        if name != ALL and name not in known:
            raise ConfigError(source, f"supplies.{name}", f"the drone {name!r}", f"{ALL}, or one of {', '.join(known)}")
        for kind, amount in amounts.items():
            key = f"supplies.{name}.{kind}"
            _check_kind(kind, fleet.kinds, source, key)
            users = drones.values() if name == ALL else [known[name]]
            if any(drone.battery_kind == kind for drone in users):
                _check_charge(amount, source, key)
    result = {}
    for name, drone in drones.items():
        full = {} if drone.battery_kind is None else {drone.battery_kind: 1.0}
        carried = {**full, **given.get(ALL, {}), **given.get(name, {})}
        result[name] = tuple(carried.get(kind, 0.0) for kind in fleet.kinds)
    return result


class _Consumers:
    """The consumers that exist while the events of a scenario are gone through in order."""

    def __init__(self, fleet: Fleet, scenario: Scenario, presence_only: frozenset[str]) -> None:
        self.present: dict[str, ConsumerSpec] = {}
        self.kinds, self._arena, self._source = fleet.kinds, fleet.arena, scenario.source
        self._presence_only = presence_only

    def edit(self, operation: Edit, name: str, entry: ConsumerEntry | None, key: str) -> ConsumerEdit:
        """Check one edit and carry it out."""
        if operation is Edit.ADD and name in self.present:
            raise ConfigError(
                self._source, f"{key}.name", f"{name!r}, which exists at that time", "a new name, or change_consumer"
            )
        if operation is not Edit.ADD:
            self.check_exists(name, key if operation is Edit.REMOVE else f"{key}.name")
        consumer = self.present[name] if entry is None else self._spec(name, entry, key)
        edit = ConsumerEdit(operation=operation, consumer=consumer)
        _apply(self.present, edit)
        return edit

    def check_exists(self, name: str, key: str) -> None:
        """Refuse a consumer that does not exist at this time."""
        if name not in self.present:
            expected = f"one that exists at that time: {', '.join(self.present) or 'there is none'}"
            raise ConfigError(self._source, key, f"the consumer {name!r}", expected)

    def _spec(self, name: str, entry: ConsumerEntry, key: str) -> ConsumerSpec:
        if name == LEAST_SERVED:
            raise ConfigError(
                self._source, key, f"the name {name!r}", f"another name, as {LEAST_SERVED} has a meaning in events"
            )
        for kind in entry.demand:
            _check_kind(kind, self.kinds, self._source, f"{key}.demand.{kind}")
        if not entry.demand:
            raise ConfigError(
                self._source, f"{key}.demand", "nothing asked for", f"at least one of the kinds {', '.join(self.kinds)}"
            )
        asked = [entry.demand.get(kind) for kind in self.kinds]
        consumer = ConsumerSpec(
            name=name,
            position_m=entry.position_m,
            radius_m=entry.radius_m,
            demanded=tuple(demand.amount if demand else 0.0 for demand in asked),
            depletion=tuple((demand.depletion if demand else Depletion.ZERO).code for demand in asked),
        )
        against = objection(consumer, self.present.values(), self.kinds, self._arena, self._presence_only)
        if against:
            raise ConfigError(self._source, f"{key}.{against.key}", against.got, against.expected)
        return consumer


def _event(scenario: Scenario, i: int, drones: Mapping[str, DroneEntry], consumers: _Consumers) -> Event:
    """Check event number `i`, given those before it in time."""
    entry: EventEntry = scenario.file.events[i]
    source, key = scenario.source, f"events[{i}]"
    if entry.at_s > scenario.file.duration_s:
        expected = f"at most duration_s ({scenario.file.duration_s:g} s), as it would never happen"
        raise ConfigError(source, f"{key}.at_s", f"{entry.at_s:g} s", expected)
    if entry.set_supply is not None:
        change = SupplyChange(**vars(entry.set_supply))
        _check_supply_change(change, source, f"{key}.set_supply", drones, consumers)
        return Event(at_s=entry.at_s, set_supply=change)
    if entry.add_consumer is not None:
        edit = consumers.edit(Edit.ADD, entry.add_consumer.name, entry.add_consumer, f"{key}.add_consumer")
    elif entry.change_consumer is not None:
        edit = consumers.edit(Edit.CHANGE, entry.change_consumer.name, entry.change_consumer, f"{key}.change_consumer")
    else:
        edit = consumers.edit(Edit.REMOVE, str(entry.remove_consumer), None, f"{key}.remove_consumer")
    return Event(at_s=entry.at_s, edit=edit)


def _check_supply_change(
    change: SupplyChange, source: str, key: str, drones: Mapping[str, DroneEntry], consumers: _Consumers
) -> None:
    if change.drone is not None and change.drone not in drones:
        raise ConfigError(source, f"{key}.drone", f"the drone {change.drone!r}", f"one that flies: {', '.join(drones)}")
    if change.server_of is not None and change.server_of != LEAST_SERVED:
        consumers.check_exists(change.server_of, f"{key}.server_of")
    _check_kind(change.kind, consumers.kinds, source, f"{key}.kind")
    users = drones.values() if change.drone is None else [drones[change.drone]]
    if any(drone.battery_kind == change.kind for drone in users):
        _check_charge(change.amount, source, f"{key}.amount")


def _check_kind(kind: str, kinds: tuple[str, ...], source: str, key: str) -> None:
    if kind not in kinds:
        raise ConfigError(source, key, f"the resource kind {kind!r}", f"one of {', '.join(kinds)}")


def _check_charge(amount: float, source: str, key: str) -> None:
    if amount > 1.0:
        raise ConfigError(
            source, key, f"{amount:g}", "between 0 and 1, as this kind is a battery and the amount its state of charge"
        )


def _apply(present: dict[str, ConsumerSpec], edit: ConsumerEdit) -> None:
    """Carry an edit out on the consumers by name."""
    if edit.operation is Edit.REMOVE:
        del present[edit.consumer.name]
    else:
        present[edit.consumer.name] = edit.consumer


def _type_parameters(drone: DroneType, vehicle: VehicleModel) -> dict[str, Any]:
    parameters = {item.name: getattr(drone, item.name) for item in fields(DroneType)}
    return {**parameters, "response": drone.response or vehicle.response}
