"""The scenario file: what is asked for, who carries what, what happens when. Data only; a drone or a place
is one entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated

from lgtc_core import schema
from lgtc_core.demand.consumer import AMOUNT, DISC_RADIUS
from lgtc_core.errors import ConfigError
from lgtc_core.fleet.fault import Fault
from lgtc_core.flight.response import Response
from lgtc_core.schema import Bounds
from lgtc_core.world import rules

_PLACE = Bounds(-1e6, 1e6, "m")

LEAST_SERVED = "least_served"
"""Instead of a consumer's name in `server_of`: the place with the fewest servers at that time."""


class Depletion(Enum):
    """What becomes of a supply at a consumer (Section II)."""

    INSTANTANEOUS = "instantaneous"
    ZERO = "zero_depletion"

    @property
    def code(self) -> int:
        """The number that stands for it in arrays and messages."""
        return rules.INSTANTANEOUS if self is Depletion.INSTANTANEOUS else rules.ZERO_DEPLETION


class VehicleModel(Enum):
    """How simulated drones move."""

    KINEMATIC = "kinematic"
    """Velocities are followed at once: the paper's single integrator."""
    SECOND_ORDER = "second_order"
    """With a lag and a limit to acceleration."""
    CRAZYFLIE = "crazyflie"
    """A rigid body with four rotors under the firmware's controller."""

    @property
    def response(self) -> Response:
        """How it follows velocities, where the fleet file does not say (figures: docs/vehicles.md)."""
        return Response(velocity_lag_s={"kinematic": 0.0, "second_order": 0.15, "crazyflie": 0.18}[self.value])


@dataclass(frozen=True, kw_only=True)
class DemandEntry:
    """Demand for one resource kind."""

    amount: Annotated[float, AMOUNT, "How much is asked for; of a battery's kind, 1 is one full battery"]
    depletion: Annotated[
        Depletion,
        "instantaneous: handed over on entering the disc; zero_depletion: counts as long as its carrier stays inside",
    ]


@dataclass(frozen=True, kw_only=True)
class ConsumerEntry:
    """One place that asks for resources."""

    position_m: Annotated[tuple[float, float], _PLACE, "Centre of the interaction disc, world frame, east and north"]
    radius_m: Annotated[
        float, DISC_RADIUS, "Radius of the interaction disc; must be what the model was trained with"
    ] = 0.55
    demand: Annotated[Mapping[str, DemandEntry], "What is asked for, by resource kind"]


@dataclass(frozen=True, kw_only=True)
class SupplyChangeEntry:
    """Sets by hand what one drone carries of one kind (Section V: "reduce the level of one drone by hand")."""

    drone: Annotated[str | None, "Name of the drone; or give `server_of`"] = None
    server_of: Annotated[
        str | None,
        "The drone that serves this consumer at that time, the first by name if several; least_served: of the"
        " place with the fewest servers. Waits until there is one",
    ] = None
    kind: Annotated[str, "Resource kind"]
    amount: Annotated[float, AMOUNT, "Amount carried from then on; of the battery's kind a state of charge, 0 to 1"]

    def __post_init__(self) -> None:
        """Refuse none and two ways to name the drone."""
        if (self.drone is None) == (self.server_of is None):
            got = "neither" if self.drone is None else "both"
            raise ConfigError("", "drone", f"{got} of `drone` and `server_of`", "one of them")


@dataclass(frozen=True, kw_only=True)
class NamedConsumerEntry(ConsumerEntry):
    """A consumer that appears, or that an existing one turns into."""

    name: Annotated[str, "Name of the consumer"]


@dataclass(frozen=True, kw_only=True)
class EventEntry:
    """Something that happens at a time of the flight. Exactly one thing per event."""

    at_s: Annotated[float, Bounds(0.0, 1e6, "s"), "When, after the policies took over"]
    set_supply: Annotated[SupplyChangeEntry | None, "What one drone carries changes"] = None
    add_consumer: Annotated[NamedConsumerEntry | None, "A consumer appears"] = None
    change_consumer: Annotated[
        NamedConsumerEntry | None, "A consumer moves or asks for something else; what it was given stays given"
    ] = None
    remove_consumer: Annotated[str | None, "The consumer of this name goes"] = None

    def __post_init__(self) -> None:
        """Refuse events without content, and two in one."""
        names = ("set_supply", "add_consumer", "change_consumer", "remove_consumer")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            raise ConfigError(
                "", "", f"{' and '.join(given) or 'nothing'} to happen", f"exactly one of {', '.join(names)}"
            )


@dataclass(frozen=True, kw_only=True)
class ScenarioFile:
    """Keys of a scenario file."""

    title: Annotated[str, "One line for people: what this scenario shows"]
    drones: Annotated[tuple[str, ...] | None, "Names of the drones that fly; null: see `count`"] = None
    count: Annotated[
        int | None, Bounds(1, 1000), "How many of the fleet's drones fly, more being generated as needed; null: all"
    ] = None
    consumers: Annotated[Mapping[str, ConsumerEntry], "The places that ask for resources at the start, by name"]
    supplies: Annotated[
        Mapping[str, Mapping[str, Annotated[float, AMOUNT]]],
        "What is carried at the start, kind to amount, for `all` and by drone (which wins). Default: a full battery,"
        " nothing else",
    ] = field(default_factory=dict)
    events: Annotated[tuple[EventEntry, ...], "What happens during the flight"] = ()
    faults: Annotated[tuple[Fault, ...], "What goes wrong on purpose, in simulation"] = ()
    duration_s: Annotated[float, Bounds(1.0, 1e6, "s"), "Longest time that the policies fly; then all land"]
    settle_s: Annotated[
        float | None,
        Bounds(0.1, 1e6, "s"),
        "Land earlier, once no event is left and all demand has been met for this long; null: fly for the whole"
        " duration",
    ] = None
    rejoin: Annotated[
        bool,
        "A drone that landed with a low battery takes off again by itself once it is charged, while the mission goes"
        " on, and the mission goes on while all are down; false: who has landed stays down",
    ] = False
    seed: Annotated[int, Bounds(0, 2**31 - 1), "Seed of everything random in simulation"] = 0
    vehicle: Annotated[VehicleModel | None, "How simulated drones move; null: as the fleet file says"] = None


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A scenario file, with its name and origin."""

    name: str
    """Name of the file without its ending."""
    source: str
    """File that it was read from."""
    file: ScenarioFile


def load_scenario(path: Path | str) -> Scenario:
    """The scenario of a YAML file, its keys validated. What it says of a fleet is checked by `team.resolve`.

    Raises:
        ConfigError: with file, key, got and expected.
    """
    return build_scenario(schema.load_yaml(path), str(path))


def build_scenario(data: object, source: str) -> Scenario:
    """The scenario of plain data; `source` stands for the file in errors.

    Raises:
        ConfigError: likewise.
    """
    return Scenario(name=Path(source).stem, source=source, file=schema.build(ScenarioFile, data, source))
