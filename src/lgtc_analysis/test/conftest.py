"""A small kinematic world that writes bags as the recorder does: ground truth for every figure of a flight.

Five drones, three places, as in the paper's Section V: at 12 s the only server of "north" is emptied and
lands, cf4 leaves the over-covered "west" and takes its place. cf5 also carries a parcel for "east".
Deterministic; faults can be switched on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from rosbags.typesys.store import Typestore

from lgtc_analysis.bag import BagWriter, read_flight
from lgtc_analysis.flight import Flight
from lgtc_analysis.info import FlightInfo
from lgtc_analysis.messages import read_definitions, recorded_topics, typestore
from lgtc_core.demand.book import DemandBook
from lgtc_core.fleet.fleet import build_fleet
from lgtc_core.fleet.scenario import build_scenario
from lgtc_core.fleet.team import Team, resolve
from lgtc_core.flight.phases import MissionPhase, SafetyMode, Tier, VehiclePhase

DEFINITIONS = Path(__file__).parents[2] / "lgtc_interfaces" / "msg"
TICK_S = 0.1
ROS_START_S = 40.0
"""ROS time at which the policies take over."""
TAKE_OFF_S, ACTIVE_S, LANDING_S = 2.0, 24.0, 2.6
WALL_START_NS = 1_700_000_000_000_000_000
DECISION_S, COMMAND_S = 0.002, 0.003
"""Receipt of nominal and safe command after the pose."""
SPEED_MPS, CLIMB_MPS, HEIGHT_M = 0.8, 0.5, 1.0
EMPTIED_S, TIER_S, LANDING_FROM_S, MOVING_FROM_S = 12.0, 12.5, 12.6, 12.2
NOTICE_S = 1.5
"""So long before its tier LAND, cf3 announces that it leaves."""
LIQUID, STATE = 8, 12
STARTS = {"cf1": (-1.2, -2.0), "cf2": (1.2, -2.0), "cf3": (0.0, -2.0), "cf4": (-2.0, -2.0), "cf5": (2.0, -2.0)}
PLACES = {"west": (-1.5, -0.5), "east": (1.5, -0.5), "north": (0.0, 1.5)}
SLOTS = {"cf1": (0.2, 0.0), "cf2": (-0.2, 0.0), "cf3": (0.0, 0.0), "cf4": (-0.25, 0.0), "cf5": (0.25, 0.0)}
CHOICES = {"cf1": "west", "cf2": "east", "cf3": "north", "cf4": "west", "cf5": "east"}


def make_team() -> Team:
    fleet = build_fleet(
        {
            "kinds": ["battery", "parcel"],
            "arena": {"half_extent_m": [2.5, 2.5]},
            "types": {"small": {}},
            "drones": {name: {"start_m": list(start)} for name, start in STARTS.items()},
        },
        "fleet.yaml",
    )
    battery = {"battery": {"amount": 0.6, "depletion": "zero_depletion"}}
    parcel = {"parcel": {"amount": 0.5, "depletion": "instantaneous"}}
    scenario = build_scenario(
        {
            "title": "A battery hand-over in a small kinematic world",
            "consumers": {
                name: {"position_m": list(place), "demand": battery | (parcel if name == "east" else {})}
                for name, place in PLACES.items()
            },
            "supplies": {"cf5": {"parcel": 0.5}},
            "events": [
                {"at_s": EMPTIED_S, "set_supply": {"server_of": "least_served", "kind": "battery", "amount": 0.0}}
            ],
            "duration_s": ACTIVE_S,
        },
        "handover.yaml",
    )
    return resolve(fleet, scenario)


class World:
    """The flight, tick by tick. `fault` names one thing that goes wrong."""

    def __init__(self, writer: BagWriter, fault: str = "") -> None:
        self.writer, self.fault = writer, fault
        self.team = make_team()
        self.book = DemandBook.for_team(self.team)
        self.p = {name: np.array([*start, 0.0]) for name, start in STARTS.items()}
        self.supply = {drone.name: np.array(drone.supply) for drone in self.team.drones}
        self.liquid = {name: np.zeros(LIQUID) for name in STARTS}
        self.sequence = 0

    def fly(self) -> None:
        for topic in recorded_topics(self.team.names):
            self.writer.add_topic(topic)
        info = FlightInfo(name="handover", backend="test", team=self.team.to_dict(), created_utc="2026-01-01T00:00:00Z")
        self.writer.write_info(WALL_START_NS - 3_000_000_000, info)
        for k in range(round((TAKE_OFF_S + ACTIVE_S + LANDING_S) / TICK_S) + 1):
            self.tick(k * TICK_S - TAKE_OFF_S)

    def tick(self, t: float) -> None:
        mission = self.mission(t)
        self.put("/mission", t, {"phase": mission, "elapsed_s": max(0.0, t), "reason": f"phase {mission.name}"})
        for name in STARTS:
            phase = self.phase(name, t)
            self.move(name, phase, t)
            serving = phase == VehiclePhase.FLYING
            self.book.presence(name, t, self.p[name][:2], self.supply[name], serving)
            if serving and self.supply[name][1] > 0 and self.inside(name, "east"):
                accepted = self.book.deliver(f"{name}:1", name, "east", "parcel", float(self.supply[name][1]))
                self.supply[name][1] -= accepted.amount
            self.report(name, phase, t)
        self.sequence += 1
        view = self.book.view(t)
        consumers = [{**vars(one), "position": (*one.position_m, 0.0), "position_m": None} for one in view.consumers]
        for one in consumers:
            del one["position_m"]
        self.put("/demand", t, {"revision": view.revision, "kinds": view.kinds, "consumers": consumers})

    def mission(self, t: float) -> MissionPhase:
        if t < -1e-9:
            return MissionPhase.TAKE_OFF
        if self.fault == "abort" and t >= 20.0:
            return MissionPhase.ABORT
        if t < ACTIVE_S - 1e-9:
            return MissionPhase.ACTIVE
        return MissionPhase.LAND if t < ACTIVE_S + LANDING_S - 1e-9 else MissionPhase.DONE

    def phase(self, name: str, t: float) -> VehiclePhase:
        if t < -1e-9:
            return VehiclePhase.TAKING_OFF
        end = 20.0 if self.fault == "abort" else ACTIVE_S
        if name == "cf3" and self.fault != "stays up":
            end = min(end, LANDING_FROM_S)
        if self.fault == "never lands" and name == "cf2":
            end = np.inf
        if t < end - 1e-9:
            return VehiclePhase.FLYING
        return VehiclePhase.LANDING if self.p[name][2] > 1e-9 else VehiclePhase.LANDED

    def move(self, name: str, phase: VehiclePhase, t: float) -> None:
        p = self.p[name]
        if phase == VehiclePhase.TAKING_OFF:
            p[2] = min(HEIGHT_M, p[2] + CLIMB_MPS * TICK_S)
        elif phase >= VehiclePhase.LANDING:
            p[2] = max(0.0, p[2] - CLIMB_MPS * TICK_S)
        elif phase == VehiclePhase.FLYING:
            goal = self.goal(name, t)
            way = goal - p[:2]
            p[:2] += way * min(1.0, SPEED_MPS * TICK_S / max(float(np.hypot(*way)), 1e-9))
        self.supply[name][0] = max(0.0, self.supply[name][0] - 0.002 * TICK_S)
        if name == "cf3" and t >= EMPTIED_S - 1e-9:
            self.supply[name][0] = 0.0

    def choice(self, name: str, t: float) -> str:
        return "north" if name == "cf4" and t >= MOVING_FROM_S and self.fault != "nobody comes" else CHOICES[name]

    def goal(self, name: str, t: float) -> np.ndarray:
        if self.fault == "too close" and name == "cf4" and t < 8.0:
            return np.array([-1.4, -0.5])
        if self.fault == "leaves the arena" and name == "cf5" and 5.0 < t < 8.0:
            return np.array([2.7, -0.5])
        beside_m = 0.05 if self.fault == "lands on another" else 0.4
        slot = (-beside_m, 0.0) if self.choice(name, t) == "north" and name == "cf4" else SLOTS[name]
        return np.array(PLACES[self.choice(name, t)]) + slot

    def inside(self, name: str, place: str) -> bool:
        return float(np.hypot(*(self.p[name][:2] - PLACES[place]))) <= 0.55

    def report(self, name: str, phase: VehiclePhase, t: float) -> None:
        empty = name == "cf3" and t >= TIER_S - 1e-9
        values = {"position": self.p[name], "serving": phase == VehiclePhase.FLYING, "supply": self.supply[name]}
        charge = {"state_of_charge": self.supply[name][0], "battery_voltage_v": 3.0 + self.supply[name][0]}
        leaving = name == "cf3" and t >= TIER_S - NOTICE_S - 1e-9
        asks = Tier.LAND if empty else Tier.HAND_OVER if leaving else Tier.OK
        tier = {"tier": asks, "kinds": self.team.kinds}
        self.put(f"/{name}/pose", t, {"pose": {"position": self.p[name]}})
        self.put(f"/{name}/battery", t, {"voltage": 3.0 + self.supply[name][0], "percentage": self.supply[name][0]})
        self.put(f"/{name}/resources", t, {**values, **charge, **tier})
        self.put(f"/{name}/vehicle", t, {"phase": phase, "reference": self.p[name], "setpoint_age_s": 0.02})
        if phase != VehiclePhase.FLYING:
            return
        self.decide(name, t)
        if self.fault == "wings stall" and name == "cf1" and 5.0 <= t < 5.6:
            return
        self.put(f"/{name}/setpoint", t, {"pose": {"pose": {"position": self.p[name]}}}, COMMAND_S)
        velocity = {"twist": {"linear": (0.1, 0.0, 0.0)}}
        self.put(f"/{name}/velocity_nominal", t, velocity, DECISION_S)
        self.put(f"/{name}/velocity_safe", t, velocity, COMMAND_S)
        squeezed = self.fault == "squeezed" and 4.0 < t < 6.5
        near = {
            "mode": SafetyMode.RELAXED if squeezed else SafetyMode.PASSED,
            "distance_min_m": 0.5,
            "barrier_min": 0.1,
            "solve_time_s": 1e-4,
        }
        self.put(f"/{name}/safety", t, near, COMMAND_S)

    def decide(self, name: str, t: float) -> None:
        chosen = tuple(PLACES).index(self.choice(name, t))
        equilibrium = (chosen - 1) * np.linspace(0.3, 0.9, LIQUID)
        self.liquid[name] += 0.1 * (equilibrium - self.liquid[name])
        decision = {
            "sequence": self.sequence,
            "action": (0.1, 0.0),
            "consumers": tuple(PLACES),
            "assignment": np.eye(3)[chosen],
            "chosen": chosen,
            "state": np.concatenate([self.liquid[name], np.full(STATE - LIQUID, chosen)]),
            "neighbours_heard": 2,
            "oldest_message_age_s": TICK_S,
            "step_time_s": 1e-4,
        }
        self.put(f"/{name}/policy_state", t, decision, DECISION_S)
        self.put(f"/{name}/features", t, {"sequence": self.sequence, "data": np.zeros(4)}, DECISION_S)

    def put(self, topic: str, t: float, values: dict, delay_s: float = 0.0) -> None:
        received_ns = WALL_START_NS + round((t + delay_s) * 1e9)
        self.writer.write_values(topic, received_ns, {"header": ROS_START_S + t, **values})


@pytest.fixture(scope="session")
def types() -> Typestore:
    return typestore(read_definitions(DEFINITIONS))


@pytest.fixture(scope="session")
def fly(types: Typestore, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Bag of a flight, `fault` naming what goes wrong in it."""

    @cache
    def make(fault: str = "") -> Path:
        path = tmp_path_factory.mktemp("flight") / "bag"
        with BagWriter(path, types) as writer:
            World(writer, fault).fly()
        return path

    return make


@pytest.fixture(scope="session")
def flown(fly: Callable[..., Path]) -> Callable[..., Flight]:
    """Flight of the bag of that fault; shared between tests, so leave it as it is."""
    return cache(lambda fault="": read_flight(fly(fault)))


@pytest.fixture(scope="session")
def flight(flown: Callable[..., Flight]) -> Flight:
    return flown()
