"""Guard, pilot, battery, mission and vehicles together: whole flights of a team, as the fleet file describes it."""

from __future__ import annotations

import itertools
from collections import deque
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from lgtc_core.fleet.scenario import VehicleModel
from lgtc_core.fleet.team import Team, load_team
from lgtc_core.flight.battery import BatteryMonitor
from lgtc_core.flight.guard import Guard, GuardParams
from lgtc_core.flight.mission import Mission, MissionParams, Request
from lgtc_core.flight.phases import MissionPhase, Tier, VehiclePhase
from lgtc_core.flight.pilot import Action, Pilot
from lgtc_core.flight.response import with_response, with_smoothing
from lgtc_core.loop.flyer import FlyerParams
from lgtc_core.wire import VehicleReport
from lgtc_sim.body import Control
from lgtc_sim.vehicle import Vehicles

Array = npt.NDArray[np.float64]
CONFIG = Path(__file__).parents[3] / "config"
DT_S = 0.01
TICK_S = 0.02


class Flight:
    """A team in the air: every drone is told where to go, and goes there as guard and pilot let it."""

    def __init__(
        self,
        team: Team,
        seed: int = 0,
        delay_s: float = 0.0,
        loss: float = 0.0,
        model: VehicleModel = VehicleModel.KINEMATIC,
    ) -> None:
        self.team, self.delay_s, self.loss = team, delay_s, loss
        self.rng = np.random.default_rng(seed)
        start_m = [(*drone.start_m, 0.0) for drone in team.drones]
        batteries = [drone.battery for drone in team.drones]
        self.vehicles = Vehicles(team.names, start_m, team.drones, batteries, model=model)
        guard = with_response(GuardParams(), team.command_period_s, model.response)
        pilot = with_smoothing(FlyerParams(), team.command_period_s, model.response).pilot
        others = {drone.name: drone for drone in team.drones}
        self.guards = [Guard(drone.name, drone, team.arena, guard, others) for drone in team.drones]
        self.pilots = [Pilot(team.arena, pilot) for _ in team.drones]
        self.monitors = [BatteryMonitor(drone.battery) for drone in team.drones]
        self.mission = Mission(team, MissionParams())
        self.mission_phase: MissionPhase | None = MissionPhase.STANDBY
        self.goals_m = np.array([drone.start_m for drone in team.drones])
        self.tiers = [Tier.OK] * len(team.drones)
        self.poses: deque[tuple[float, int, int, float, Array]] = deque()
        self.mute: set[int] = set()
        self.step_count = 0
        self.closest_m = np.inf
        self.setpoint_gap_s = 0.0
        self._streamed_s: dict[int, float] = {}

    @property
    def now_s(self) -> float:
        return self.step_count * DT_S

    def run(self, duration_s: float, request: Request | None = None) -> None:
        for _ in range(round(duration_s / DT_S)):
            if self.step_count % 10 == 0 and self.mission_phase is not None:
                phases = {name: pilot.phase for name, pilot in zip(self.team.names, self.pilots, strict=True)}
                self.mission_phase = self.mission.update(self.now_s, phases, None, request).phase
                request = None
            if self.step_count % 2 == 0:
                self._tick()
            self.step_count += 1
            self.vehicles.step(self.now_s, DT_S)
            self._measure()

    def _tick(self) -> None:
        now_s, measured_m = self.now_s, self.vehicles.position_m
        for sender, to in itertools.permutations(range(len(self.guards)), 2):
            if sender not in self.mute and self.rng.random() >= self.loss:
                self.poses.append((now_s + self.delay_s, to, sender, now_s, measured_m[sender]))
        while self.poses and self.poses[0][0] <= now_s + 1e-9:
            _, to, sender, stamp_s, position_m = self.poses.popleft()
            self.guards[to].neighbour(self.team.names[sender], stamp_s, position_m)
        voltages_v, charges = self.vehicles.voltage_v, self.vehicles.charge
        for i, (guard, pilot, name) in enumerate(zip(self.guards, self.pilots, self.team.names, strict=True)):
            guard.pose(now_s, measured_m[i])
            guard.vehicle(VehicleReport(now_s, pilot.phase, pilot.reason, measured_m[i], 0.0))
            guard.nominal(now_s, [*(2.0 * (self.goals_m[i] - measured_m[i, :2])), 0.0])
            self.tiers[i] = self.monitors[i].update(now_s, float(voltages_v[i]), float(charges[i])).tier
            order = pilot.update(now_s, self.mission_phase, self.tiers[i], measured_m[i], guard.command(now_s))
            if order.action is Action.ARM:
                self.vehicles.arm(name, True)
            elif order.action is Action.TAKE_OFF:
                self.vehicles.takeoff(name, self.team.arena.flight_height_m)
            elif order.action is Action.NOTIFY_STOP:
                self.vehicles.notify_setpoints_stop(name)
                self._streamed_s.pop(i, None)
            elif order.action is Action.LAND:
                self.vehicles.land(name)
            elif order.setpoint is not None:
                self.vehicles.setpoint(name, now_s, *order.setpoint)
                self.setpoint_gap_s = max(self.setpoint_gap_s, now_s - self._streamed_s.get(i, now_s))
                self._streamed_s[i] = now_s

    def _measure(self) -> None:
        """Distance of the closest pair, of which at least one has its motors on: below, elsewhere, above."""
        p = self.vehicles.position_m
        running = np.flatnonzero(self.vehicles.control != Control.OFF)
        for i in running:
            delta = p - p[i]
            safe = self.team.drones[i]
            delta[:, 2] *= safe.safety_distance_m / safe.downwash_m
            on_ground = p[:, 2] == 0.0
            delta[on_ground, 2] = (p[:, 2] - p[i, 2])[on_ground]
            distance_m = np.linalg.norm(delta, axis=1)
            distance_m[i] = np.inf
            self.closest_m = min(self.closest_m, float(distance_m.min()))

    @property
    def phases(self) -> list[VehiclePhase]:
        return [pilot.phase for pilot in self.pilots]


@pytest.fixture(scope="module")
def team() -> Team:
    return load_team(CONFIG / "fleet.yaml", CONFIG / "scenarios" / "battery_handover.yaml")


def in_the_air(flight: Flight) -> Flight:
    while flight.mission_phase is not MissionPhase.ACTIVE:
        flight.run(0.1)
        assert flight.now_s < 20.0
    return flight


@pytest.mark.parametrize(
    ("delay_s", "loss", "model"),
    [
        (0.0, 0.0, VehicleModel.KINEMATIC),
        (0.1, 0.3, VehicleModel.KINEMATIC),
        (0.02, 0.0, VehicleModel.SECOND_ORDER),
        (0.02, 0.0, VehicleModel.CRAZYFLIE),
    ],
)
def test_a_team_swaps_places_through_one_point_and_lands_without_undercutting_the_safety_distance(
    team: Team, delay_s: float, loss: float, model: VehicleModel
) -> None:
    flight = in_the_air(Flight(team, 1, delay_s, loss, model))
    for k in range(2):
        angles = 2.0 * np.pi * (np.arange(5) * 2 + k) / 5.0
        flight.goals_m = 1.4 * np.column_stack([np.cos(angles), np.sin(angles)])
        flight.run(4.0)
        flight.goals_m = np.zeros((5, 2))
        flight.run(3.0)
    flight.run(5.0, Request.LAND)
    assert flight.closest_m >= team.drones[0].safety_distance_m
    assert flight.closest_m <= 3.5 * team.drones[0].safety_distance_m  # they did meet: closer than where they start
    assert flight.phases == [VehiclePhase.LANDED] * 5
    assert flight.mission_phase is MissionPhase.DONE
    assert not flight.vehicles.locked.any()
    assert flight.setpoint_gap_s <= 2 * TICK_S


def test_an_emptied_drone_lands_unharmed_and_another_takes_its_place_but_not_above_it(team: Team) -> None:
    flight = in_the_air(Flight(team))
    flight.goals_m = np.array([[-1.3, 1.2], [1.4, 1.0], [0.1, -1.6], [0.5, 0.0], [-0.5, 0.0]])
    flight.run(8.0)
    flight.vehicles.set_charge("cf1", 0.0)
    flight.run(1.0)
    assert flight.pilots[0].phase is VehiclePhase.LANDING
    flight.goals_m[4] = [-1.3, 1.2]
    flight.run(8.0)
    assert flight.pilots[0].phase is VehiclePhase.LANDED
    assert not flight.vehicles.locked[0]
    assert 0.1 < np.linalg.norm(flight.vehicles.position_m[4, :2] - flight.vehicles.position_m[0, :2]) < 0.3
    assert flight.phases[1:] == [VehiclePhase.FLYING] * 4
    assert flight.closest_m >= team.drones[0].safety_distance_m
    flight.run(5.0, Request.LAND)
    assert flight.phases == [VehiclePhase.LANDED] * 5


@pytest.mark.parametrize("beside_m", [0.0, 0.15, 0.3])
def test_an_emptied_drone_steps_aside_from_the_one_that_stands_below_it_before_it_comes_down(
    team: Team, beside_m: float
) -> None:
    flight = in_the_air(Flight(team))
    flight.goals_m = np.array([[-1.3, 1.2], [1.4, 1.0], [0.1, -1.6], [0.5, 0.0], [-0.5, 0.0]])
    flight.run(8.0)
    flight.vehicles.set_charge("cf1", 0.0)
    flight.run(6.0)
    flight.goals_m[4] = [-1.3 + beside_m, 1.2]
    flight.run(8.0)
    flight.vehicles.set_charge("cf5", 0.0)
    flight.run(6.0)
    assert [flight.phases[i] for i in (0, 4)] == [VehiclePhase.LANDED] * 2
    assert not flight.vehicles.locked.any()
    assert flight.closest_m >= team.drones[0].safety_distance_m


def test_a_drone_whose_poses_fall_silent_is_kept_clear_of(team: Team) -> None:
    flight = in_the_air(Flight(team))
    flight.goals_m = np.array([[0.0, 0.0], [-1.4, 0.0], [1.4, 0.0], [0.0, 1.4], [0.0, -1.4]])
    flight.run(8.0)
    flight.mute = {0}
    flight.run(1.0)
    flight.goals_m[1:] = -flight.goals_m[1:]
    flight.run(8.0)
    assert flight.closest_m >= team.drones[0].safety_distance_m


def test_a_silent_supervisor_brings_the_team_down(team: Team) -> None:
    flight = in_the_air(Flight(team))
    flight.run(3.0)
    flight.mission_phase = None
    flight.run(5.0)
    assert flight.phases == [VehiclePhase.LANDED] * 5
    assert not flight.vehicles.locked.any()
    np.testing.assert_array_equal(flight.vehicles.position_m[:, 2], 0.0)
