"""The fleet file: who can fly, of which type, from where. Everything a backend needs about a drone is
resolved here, once.

    parameters of a drone = defaults < all < types.<its type> < drones.<its name>

Later layers win, key by key, also inside `battery`. Every layer is checked where it stands, so that an
error names the line that is wrong and not the drone that inherits it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from lgtc_core import schema
from lgtc_core.errors import ConfigError
from lgtc_core.fleet.names import EXPECTED, RESERVED, is_name
from lgtc_core.fleet.scenario import VehicleModel
from lgtc_core.flight.battery import BatteryParams
from lgtc_core.flight.response import COMMAND_PERIOD, Response
from lgtc_core.schema import Bounds
from lgtc_core.world.arena import Arena

_PLACE = Bounds(-1e6, 1e6, "m")
_ROUNDING_M = 1e-6
"""Grid places are multiples of a decimal fraction, which are not exact."""


@dataclass(frozen=True, kw_only=True)
class DroneType:
    """What a kind of drone can do."""

    max_speed_mps: Annotated[
        float, Bounds(0.05, 20.0, "m/s"), "Speed over ground that a full action of the policy asks for"
    ] = 1.0
    max_acceleration_mps2: Annotated[
        float, Bounds(0.1, 50.0, "m/s^2"), "Largest acceleration that the vehicle follows, braking included"
    ] = 4.0
    climb_speed_mps: Annotated[float, Bounds(0.05, 5.0, "m/s"), "Speed of take-off and landing"] = 0.5
    safety_distance_m: Annotated[
        float,
        Bounds(0.05, 50.0, "m"),
        "Smallest horizontal distance between the centres of two drones, airflow included",
    ] = 0.25
    downwash_m: Annotated[
        float, Bounds(0.0, 50.0, "m"), "Vertical distance within which a drone disturbs one below it"
    ] = 0.6
    battery_kind: Annotated[
        str | None, "Resource kind that is the drone's own battery: its supply is the state of charge; null: none"
    ] = "battery"
    response: Annotated[
        Response | None, "How it follows velocities; null: as measured of the simulated vehicle that flies"
    ] = None
    battery: Annotated[BatteryParams, "Cell and its warning levels"] = field(default_factory=BatteryParams)


@dataclass(frozen=True, kw_only=True)
class DroneEntry(DroneType):
    """One drone of the fleet file, its parameters resolved."""

    type: Annotated[str | None, "One of `types`; null: `default_type`"] = None
    start_m: Annotated[tuple[float, float], _PLACE, "Where it stands on the floor, world frame, east and north"]
    uri: Annotated[str | None, "Radio address, as in radio://0/80/2M/E7E7E7E701; null: can be simulated only"] = None


D = TypeVar("D", bound=DroneType)


@dataclass(frozen=True, kw_only=True)
class Crazyswarm2:
    """The user's own keys for the files of crazyswarm2; they win over what is generated."""

    crazyflies: Annotated[Mapping[str, Any], "Keys of crazyflies.yaml"] = field(default_factory=dict)
    server: Annotated[Mapping[str, Any], "Parameters of crazyflie_server"] = field(default_factory=dict)
    motion_capture: Annotated[Mapping[str, Any], "Parameters of motion_capture_tracking"] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FleetFile:
    """Keys of a fleet file."""

    kinds: Annotated[tuple[str, ...], "Names of the resource kinds, in the order of every per-kind array"]
    arena: Annotated[Arena, "Where the swarm may be"]
    all: Annotated[Mapping[str, Any], "Parameters of every drone (keys of a drone type)"] = field(default_factory=dict)
    types: Annotated[Mapping[str, Mapping[str, Any]], "Drone types by name (keys of a drone type)"]
    default_type: Annotated[str | None, "Type of drones that name none; null: the only type there is"] = None
    drones: Annotated[
        Mapping[str, Mapping[str, Any]], "Drones by name: `start_m`, `type` and any key of a drone type"
    ] = field(default_factory=dict)
    count: Annotated[
        int | None, Bounds(1, 1000), "Number of drones; null: those in `drones`. More than those: generated as needed"
    ] = None
    name_prefix: Annotated[str, "Generated drones are called by this and a number"] = "cf"
    spacing_m: Annotated[float, Bounds(0.1, 100.0, "m"), "Distance between generated start places"] = 0.6
    vehicle: Annotated[VehicleModel, "How simulated drones move"] = VehicleModel.KINEMATIC
    command_period_s: Annotated[
        float, COMMAND_PERIOD, "Time between two setpoints of a drone, and between two poses of a simulated one"
    ] = 0.02
    crazyswarm2: Annotated[Crazyswarm2, "Your own keys for the files that crazyswarm2 reads"] = field(
        default_factory=Crazyswarm2
    )


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """A fleet file, resolved."""

    source: str
    """File that it was read from."""
    kinds: tuple[str, ...]
    arena: Arena
    drones: Mapping[str, DroneEntry]
    """By name, in the order of the file."""
    file: FleetFile
    """The file's own keys, for drones still to be generated."""

    def first(self, count: int) -> Mapping[str, DroneEntry]:
        """The first `count` drones; further ones of the default type are generated at free places of a grid.

        Raises:
            ConfigError: the arena has no room for so many.
        """
        result = dict(itertools.islice(self.drones.items(), count))
        numbers = (number for number in itertools.count(1) if f"{self.file.name_prefix}{number}" not in self.drones)
        places = self._free_places(result)
        while len(result) < count:
            place = next(places, None)
            if place is None:
                raise ConfigError(
                    self.source,
                    "count",
                    f"{count} drones, of which {len(result)} have a place {self.file.spacing_m:g} m apart",
                    "fewer drones, a smaller spacing_m or a larger arena",
                )
            name = f"{self.file.name_prefix}{next(numbers)}"
            result[name] = _resolve(self.file, name, {"start_m": list(place)}, self.source)
        return result

    def _free_places(self, taken: Mapping[str, DroneEntry]) -> Any:
        """Grid places inside the arena, at least `spacing_m` from the drones there, nearest to the centre
        first.
        """
        spacing_m, arena = self.file.spacing_m, self.arena
        across = [int((half_m - spacing_m / 2) // spacing_m) for half_m in arena.half_extent_m]
        grid = itertools.product(*(range(-n, n + 1) for n in across))
        for i, j in sorted(grid, key=lambda cell: (math.hypot(*cell), cell)):
            place = (arena.centre_m[0] + i * spacing_m, arena.centre_m[1] + j * spacing_m)
            if all(math.dist(place, drone.start_m) >= spacing_m - _ROUNDING_M for drone in taken.values()):
                yield tuple(round(x, 6) for x in place)


def load_fleet(path: Path | str) -> Fleet:
    """The fleet of a YAML file, validated and resolved.

    Raises:
        ConfigError: with file, key, got and expected.
    """
    return build_fleet(schema.load_yaml(path), str(path))


def build_fleet(data: object, source: str) -> Fleet:
    """The fleet of plain data; `source` stands for the file in errors.

    Raises:
        ConfigError: likewise.
    """
    file = schema.build(FleetFile, data, source)
    _check_kinds(file, source)
    _layer(DroneType, file.all, file, source, "all")
    for name, layer in file.types.items():
        if not is_name(name):
            raise ConfigError(source, f"types.{name}", f"the name {name!r}", EXPECTED)
        _layer(DroneType, merge(file.all, layer), file, source, f"types.{name}")
    if not file.types:
        raise ConfigError(source, "types", "no drone type", "at least one, as in `crazyflie: {}`")
    if file.default_type is not None and file.default_type not in file.types:
        raise ConfigError(source, "default_type", repr(file.default_type), f"one of {', '.join(file.types)}")
    if not is_name(f"{file.name_prefix}1"):
        raise ConfigError(source, "name_prefix", repr(file.name_prefix), EXPECTED)
    drones = {name: _resolve(file, name, layer, source) for name, layer in file.drones.items()}
    _check_addresses(drones, source)
    fleet = Fleet(source=source, kinds=file.kinds, arena=file.arena, drones=drones, file=file)
    if file.count is None and not drones:
        raise ConfigError(source, "drones", "no drone", "at least one drone, or a `count`")
    if file.count is not None:
        fleet = Fleet(source=source, kinds=file.kinds, arena=file.arena, drones=fleet.first(file.count), file=file)
    check_places(fleet, fleet.drones)
    return fleet


def check_places(fleet: Fleet, drones: Mapping[str, DroneEntry]) -> None:
    """Every start place lies in the arena and apart from the others.

    Raises:
        ConfigError: the first that does not.
    """
    x_m, y_m = fleet.arena.half_extent_m
    for name, drone in drones.items():
        if not bool(fleet.arena.contains(drone.start_m)):
            got = f"{drone.start_m[0]:g}, {drone.start_m[1]:g} m"
            raise ConfigError(
                fleet.source,
                f"drones.{name}.start_m",
                got,
                f"a place in the arena, within {x_m:g} and {y_m:g} m of its centre",
            )
    for (one, a), (other, b) in itertools.combinations(drones.items(), 2):
        distance_m = math.dist(a.start_m, b.start_m)
        needed_m = max(a.safety_distance_m, b.safety_distance_m)
        if distance_m < needed_m:
            raise ConfigError(
                fleet.source,
                f"drones.{other}.start_m",
                f"a place {distance_m:.3g} m from {one}",
                f"at least the safety distance of {needed_m:g} m between drones",
            )


def _resolve(file: FleetFile, name: str, layer: Mapping[str, Any], source: str) -> DroneEntry:
    """One drone: defaults < all < type < its own keys."""
    key = f"drones.{name}"
    if not is_name(name):
        raise ConfigError(source, key, f"the name {name!r}", EXPECTED)
    if name in RESERVED:
        raise ConfigError(
            source, key, f"the name {name!r}", f"any other name, as the team's topics use {', '.join(sorted(RESERVED))}"
        )
    type_name = layer.get("type") or file.default_type or (next(iter(file.types)) if len(file.types) == 1 else None)
    if not isinstance(type_name, str) or type_name not in file.types:
        got = "none, and there are several types" if type_name is None else repr(type_name)
        raise ConfigError(source, f"{key}.type", got, f"one of {', '.join(file.types)}")
    merged = merge(merge(file.all, file.types[type_name]), layer)
    return _layer(DroneEntry, {**merged, "type": type_name}, file, source, key)


def _layer(cls: type[D], data: Mapping[str, Any], file: FleetFile, source: str, key: str) -> D:
    """One layer over those below it, validated. Those below were validated before, so what is wrong is
    wrong here.
    """
    drone = schema.build(cls, data, source, key)
    if drone.battery_kind is not None and drone.battery_kind not in file.kinds:
        expected = f"one of the kinds {', '.join(file.kinds)}, or null"
        raise ConfigError(source, f"{key}.battery_kind", repr(drone.battery_kind), expected)
    return drone


def _check_addresses(drones: Mapping[str, DroneEntry], source: str) -> None:
    """Two drones at one radio address would both obey either's commands."""
    owners: dict[str, str] = {}
    for name, drone in drones.items():
        if drone.uri is not None and drone.uri in owners:
            got = f"{drone.uri}, which is that of {owners[drone.uri]}"
            raise ConfigError(source, f"drones.{name}.uri", got, "an address of its own")
        owners[drone.uri or ""] = name


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """`high` over `low`, key by key, nested mappings too."""
    result = dict(low)
    for name, value in high.items():
        below = result.get(name)
        result[name] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def _check_kinds(file: FleetFile, source: str) -> None:
    if not file.kinds:
        raise ConfigError(source, "kinds", "no resource kind", "at least one name")
    for i, kind in enumerate(file.kinds):
        if not is_name(kind):
            raise ConfigError(source, f"kinds[{i}]", repr(kind), EXPECTED)
        if kind in file.kinds[:i]:
            raise ConfigError(source, f"kinds[{i}]", f"{kind!r} a second time", "every kind once")
