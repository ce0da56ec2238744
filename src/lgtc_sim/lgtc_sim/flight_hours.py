"""Random flights by the hour: draw a case from a seed, fly it offline, judge how close its drones came.

Distance of a pair, as the guarantee measures it (docs/safety.md):

    both off the ground       d = |diag(1, 1, D / D_z) (p_i - p_j)|          one flies above the other: airflow
    one stands on the ground  d = |p_i - p_j|                                no airflow
    a violation               d < D

A drone that comes down or takes off by its own firmware beside one that stands there is corrected by nobody: where it
found no free place in time, nothing is claimed (docs/safety.md), and such a pair with d < D is told apart. Its adapter
says LANDED some centimetres above the ground, while the firmware lets it sink: that is the same descent.
Where a fault breaks a hypothesis of the guarantee, nothing is claimed; counted there is physical contact: centres
closer than 2 * CONTACT_RADIUS_M.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.errors import ConfigError
from lgtc_core.fleet.fault import Fault, FaultKind
from lgtc_core.fleet.fleet import build_fleet
from lgtc_core.fleet.scenario import VehicleModel, build_scenario
from lgtc_core.fleet.team import Team, resolve
from lgtc_core.flight.guard import GuardParams, Guards
from lgtc_core.flight.phases import VehiclePhase
from lgtc_core.flight.response import with_response
from lgtc_sim.offline import FlightResult
from lgtc_sim.world import AIRBORNE_M

Array = npt.NDArray[np.float64]

CONTACT_RADIUS_M = 0.07
"""A Crazyflie 2.1 from its centre to the tip of a propeller: 46 mm to the motor, 23 mm propeller radius."""
DISC_RADIUS = 0.22
"""Of every consumer, normalised, as the model was trained."""
COVERED = (
    FaultKind.LOSS,
    FaultKind.DELAY,
    FaultKind.DUPLICATION,
    FaultKind.REORDERING,
    FaultKind.SILENT_SENSOR,
    FaultKind.HANGING_ADAPTER,
)
"""Faults within the guarantee's hypotheses."""
NOT_COVERED = tuple(kind for kind in FaultKind if kind not in COVERED)
_AMOUNTS = {
    FaultKind.LOSS: (0.05, 0.6),
    FaultKind.DELAY: (0.02, 0.25),
    FaultKind.DUPLICATION: (0.1, 0.5),
    FaultKind.REORDERING: (0.02, 0.2),
    FaultKind.POSITION_JUMP: (0.05, 0.5),
    FaultKind.WIND: (0.05, 0.5),
    FaultKind.TRACKING_LAG: (0.05, 0.5),
}


class Case(NamedTuple):
    """One random flight, as plain data of a fleet and a scenario file."""

    fleet: dict[str, Any]
    scenario: dict[str, Any]
    covered: bool
    """Whether all its faults lie within the guarantee's hypotheses."""

    def team(self) -> Team:
        """The team that flies it."""
        return resolve(build_fleet(self.fleet, "fleet.yaml"), build_scenario(self.scenario, "scenario.yaml"))


class Verdict(NamedTuple):
    """How close the drones of a flight came."""

    flown_s: float
    """Time from the first take-off to the last touch-down [s]."""
    closest: float
    """Smallest distance of a pair that the guarantee speaks of, as a multiple of D; inf: never two in the air."""
    contact_m: float
    """Smallest distance of two centres of which one flew [m]; inf: never."""
    violations: tuple[tuple[float, str, str, float], ...]
    """(time [s], drone, drone, distance / D) at the closest of every pair that came closer than D."""
    beside: tuple[tuple[float, str, str, float], ...] = ()
    """The same of pairs of which one stood and the other was flown by its firmware."""


def draw(
    seed: int,
    *,
    drones: int = 16,
    duration_s: float = 120.0,
    model: VehicleModel = VehicleModel.KINEMATIC,
    always: Iterable[Fault] = (),
    outside: float = 0.2,
) -> Case:
    """A random case: places, demands, supplies, crowds, speeds, events, faults.

    Args:
        seed: of the case, and of the flight.
        drones: how many fly.
        duration_s: how long the policies fly [s].
        model: how the vehicles move.
        always: faults that hold for the whole flight, instead of random link faults.
        outside: share of cases with a fault that the guarantee does not cover.
    """
    rng = random.Random(f"flight hours {seed}")
    half_m = rng.uniform(2.2, 3.6)
    covered = rng.random() >= outside
    fleet = {
        "kinds": ["battery", "parcel"],
        "arena": {"half_extent_m": [half_m, half_m], "flight_height_m": rng.uniform(0.6, 1.2)},
        "all": {"max_speed_mps": rng.uniform(0.3, 0.8)},
        "types": {"crazyflie": {}},
        "drones": _starts(rng, drones, half_m),
    }
    names = list(fleet["drones"])
    consumers = _consumers(rng, half_m, drones)
    scenario = {
        "title": f"Flight hours, case {seed}",
        "consumers": consumers,
        "supplies": {"all": {"battery": 1.0}} | {name: {"parcel": rng.uniform(0.1, 1.0)} for name in _some(rng, names)},
        "events": _events(rng, consumers, half_m, duration_s, names),
        "faults": _faults(rng, names, duration_s, covered, tuple(always)),
        "duration_s": duration_s,
        "seed": seed,
        "vehicle": model.value,
    }
    return _slowed(Case(fleet, scenario, covered))


def _slowed(case: Case) -> Case:
    """The case at the highest speed up to the drawn one at which the guarantee can hold for its vehicles."""
    while True:
        team = case.team()
        fleet = {drone.name: drone for drone in team.drones}
        responses = (drone.response for drone in team.drones)
        try:
            Guards(fleet, team.arena, with_response(GuardParams(), team.command_period_s, *responses), fleet)
        except ConfigError:
            case.fleet["all"]["max_speed_mps"] *= 0.9
        else:
            return case


def judge(result: FlightResult, team: Team) -> Verdict:
    """The verdict on one flight."""
    safe_m = max(drone.safety_distance_m for drone in team.drones)
    flattening = min(1.0, safe_m / max(drone.downwash_m for drone in team.drones))
    up = result.position_m[..., 2] > AIRBORNE_M
    flown = np.flatnonzero(up.any(axis=1))
    if not len(flown):
        return Verdict(0.0, math.inf, math.inf, ())
    n = len(result.drones)
    touching_down = (result.phase == VehiclePhase.LANDED) & (
        result.position_m[..., 2] < GuardParams().grounded_height_m
    )
    firmware = np.isin(result.phase, (VehiclePhase.TAKING_OFF, VehiclePhase.LANDING)) | touching_down
    closest, contact_m = math.inf, math.inf
    violations: list[tuple[float, str, str, float]] = []
    beside: list[tuple[float, str, str, float]] = []
    for i in range(n - 1):
        for j in range(i + 1, n):
            some, both = up[:, i] | up[:, j], up[:, i] & up[:, j]
            delta_m = result.position_m[:, i] - result.position_m[:, j]
            apart_m = np.where(some, np.linalg.norm(delta_m, axis=1), np.inf)
            contact_m = min(contact_m, float(apart_m.min()))
            delta_m[both, 2] *= flattening
            share = np.where(some, np.linalg.norm(delta_m, axis=1) / safe_m, np.inf)
            unclaimed = (up[:, i] & firmware[:, i] & ~up[:, j]) | (up[:, j] & firmware[:, j] & ~up[:, i])
            for counted, found in ((~unclaimed, violations), (unclaimed, beside)):
                of_these = np.where(counted, share, np.inf)
                at = int(of_these.argmin())
                if found is violations:
                    closest = min(closest, float(of_these[at]))
                if of_these[at] < 1.0:
                    found.append((float(result.time_s[at]), result.drones[i], result.drones[j], float(of_these[at])))
    flown_s = float(result.time_s[flown[-1]] - result.time_s[flown[0]])
    return Verdict(flown_s, closest, contact_m, tuple(violations), tuple(beside))


def _some(rng: random.Random, names: list[str]) -> list[str]:
    return rng.sample(names, rng.randint(0, len(names)))


def _starts(rng: random.Random, drones: int, half_m: float) -> dict[str, dict[str, Any]]:
    """Start places on a grid, some cells left out."""
    spacing_m = rng.uniform(0.55, 0.8)
    side = int((2.0 * (half_m - 0.4)) // spacing_m) + 1
    reach_m = 0.5 * (side - 1) * spacing_m
    cells = rng.sample([(a, b) for a in range(side) for b in range(side)], drones)
    places = [(round(a * spacing_m - reach_m, 3), round(b * spacing_m - reach_m, 3)) for a, b in cells]
    return {f"cf{i}": {"start_m": list(place)} for i, place in enumerate(places, 1)}


def _consumers(rng: random.Random, half_m: float, drones: int) -> dict[str, dict[str, Any]]:
    """One to six places that do not overlap; sometimes one that everybody is to serve."""
    crowd = rng.random() < 0.4
    count = 1 if crowd and rng.random() < 0.5 else rng.randint(2, 6)
    places: dict[str, dict[str, Any]] = {}
    for k in range(count):
        at_m = _place(rng, half_m, [tuple(place["position_m"]) for place in places.values()])
        if at_m is None:
            break
        amount = 0.9 * drones if crowd and k == 0 else rng.uniform(0.3, 0.5 * drones / count)
        demand: dict[str, Any] = {"battery": {"amount": amount, "depletion": "zero_depletion"}}
        if rng.random() < 0.5:
            demand["parcel"] = {"amount": rng.uniform(0.2, 2.0), "depletion": "instantaneous"}
        places[f"c{k}"] = {"position_m": list(at_m), "radius_m": DISC_RADIUS * half_m, "demand": demand}
    return places


def _place(rng: random.Random, half_m: float, others_m: list[tuple[float, ...]]) -> tuple[float, float] | None:
    """A place whose disc overlaps no other."""
    reach_m = 0.75 * half_m
    for _ in range(50):
        at_m = (round(rng.uniform(-reach_m, reach_m), 3), round(rng.uniform(-reach_m, reach_m), 3))
        if all(math.dist(at_m, other) > 2.05 * DISC_RADIUS * half_m for other in others_m):
            return at_m
    return None


def _events(
    rng: random.Random, consumers: dict[str, dict[str, Any]], half_m: float, duration_s: float, names: list[str]
) -> list[dict[str, Any]]:
    """Places that move, which sends everybody across everybody's way, and batteries that are emptied."""
    events: list[dict[str, Any]] = []
    now = {name: dict(place) for name, place in consumers.items()}
    for at_s in sorted(rng.uniform(5.0, 0.9 * duration_s) for _ in range(rng.randint(0, int(duration_s / 15.0)))):
        if rng.random() < 0.2:
            change = {"drone": rng.choice(names), "kind": "battery", "amount": 0.0}
            events.append({"at_s": round(at_s, 2), "set_supply": change})
            continue
        name = rng.choice(list(now))
        others_m = [tuple(place["position_m"]) for other, place in now.items() if other != name]
        at_m = _place(rng, half_m, others_m)
        if at_m is not None:
            now[name] = now[name] | {"position_m": list(at_m)}
            events.append({"at_s": round(at_s, 2), "change_consumer": now[name] | {"name": name}})
    return events


def _faults(
    rng: random.Random, names: list[str], duration_s: float, covered: bool, always: tuple[Fault, ...]
) -> list[dict[str, Any]]:
    """None to four faults, one of them not covered where the case is to have such."""
    kinds = [rng.choice(COVERED) for _ in range(rng.randint(0, 4))]
    if not covered:
        kinds.append(rng.choice(NOT_COVERED))
    faults = [
        {"kind": fault.kind.value} | ({} if fault.amount is None else {"amount": fault.amount}) for fault in always
    ]
    for kind in kinds:
        if always and kind in (FaultKind.LOSS, FaultKind.DELAY, FaultKind.REORDERING):
            continue
        few = kind not in (FaultKind.LOSS, FaultKind.DELAY, FaultKind.DUPLICATION, FaultKind.REORDERING, FaultKind.WIND)
        drones = rng.sample(names, rng.randint(1, max(1, len(names) // 4))) if few or rng.random() < 0.5 else []
        fault: dict[str, Any] = {
            "kind": kind.value,
            "start_s": round(rng.uniform(0.0, 0.8 * duration_s), 2),
            "duration_s": round(10.0 ** rng.uniform(-0.7, 1.3), 2),
            "drones": sorted(drones),
        }
        if kind in _AMOUNTS:
            fault["amount"] = round(rng.uniform(*_AMOUNTS[kind]), 3)
        faults.append(fault)
    return faults
