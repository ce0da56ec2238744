"""The closed loop of a whole flight in one process, without ROS, as fast as it goes: the same parts as the nodes carry.

One step of the world is followed by what its messages would cause, in this order:

    pose (50 Hz)      -> guard -> pilot -> vehicle              every drone answers its pose at once
    10 Hz             -> carriers -> demand book -> mission     resources, deliveries, events, phases
    policy tick       -> decisions -> guards; features -> neighbours' inboxes, where they count from the next tick on
    2 Hz              -> presence -> who is near whom

Messages take no time and none is lost, unless the team's faults say so; a neighbour's features are one tick old, as in
training. Equal seeds give equal flights to the last bit: time is counted in steps and no clock is read.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from lgtc_core import topics, wire
from lgtc_core.demand.book import DemandBook
from lgtc_core.demand.ledger import KEEP_ROWS_S, Ledger
from lgtc_core.demand.view import DemandView
from lgtc_core.errors import ContractError
from lgtc_core.fleet.fault import Fault, FaultKind
from lgtc_core.fleet.team import DroneSpec, Team, check_model
from lgtc_core.flight.command import SafeCommands
from lgtc_core.flight.guard import Guard, GuardParams, Guards
from lgtc_core.flight.landing import NO_DISCS_M
from lgtc_core.flight.mission import DueEvent, Mission, MissionParams
from lgtc_core.flight.phases import MissionPhase, VehiclePhase
from lgtc_core.flight.pilot import Action, Order
from lgtc_core.flight.response import with_response, with_smoothing
from lgtc_core.loop import server
from lgtc_core.loop.carrier import Carrier
from lgtc_core.loop.decider import Decider, tick_together
from lgtc_core.loop.faults import Links, Schedule, any_of
from lgtc_core.loop.flyer import Flyer, FlyerParams
from lgtc_core.loop.flyers import Flyers
from lgtc_core.loop.neighbourhood import Sighting
from lgtc_core.loop.stand_in import SIGNATURE, StandIn, StandInParams
from lgtc_core.mind.card import Policy
from lgtc_core.mind.central import minds
from lgtc_core.mind.policy import Decision, Features, Mind, PolicyModel
from lgtc_core.mind.taped import load_taped
from lgtc_sim.world import Measured, World, WorldParams

Array = npt.NDArray[np.float64]
T = TypeVar("T")

STATE_PERIOD_S = 0.1
"""Period of resources, demand, vehicle reports and mission, as the nodes have it."""
PRESENCE_PERIOD_S = 0.5
LINGER_S = 0.5
"""Recorded on after the mission's end."""


class Recorder(Protocol):
    """Where the flight's messages go; `lgtc_analysis.bag.BagWriter` is one."""

    def write_values(self, topic: str, received_ns: int, values: wire.Wire) -> None:
        """Append one message of plain values, received at a simulated time."""


class FlightResult(NamedTuple):
    """What a flight was like."""

    drones: tuple[str, ...]
    time_s: Array
    """(T,) simulated time of every pose [s]."""
    position_m: Array
    """(T, N, 3) true positions, world frame [m]."""
    phase: npt.NDArray[np.int64]
    """(T, N) `VehiclePhase` of every vehicle."""
    share_met: Array
    """(T,) share of all demand met, in [0, 1]."""
    mission: tuple[tuple[float, MissionPhase, str], ...]
    """When the mission entered which phase, and why."""
    events: tuple[tuple[float, str], ...]
    """When which event of the scenario happened, in words, and what came of it."""


class _Poses(NamedTuple):
    """What all N drones say of where they are at one moment."""

    stamp_s: Array  # (N,)
    position_m: Array  # (N, 3)


@dataclass
class _Drone:
    """The parts of one drone, as its nodes carry them."""

    name: str
    decider: Decider
    carrier: Carrier
    guard: Guard
    flyer: Flyer
    stand_in: StandIn | None
    """Only where the scenario lets an adapter hang: otherwise nobody falls silent here."""

    @property
    def stood_in(self) -> StandIn | None:
        """Its stand-in, while that flies it."""
        return self.stand_in if self.stand_in is not None and self.stand_in.flying else None


def fly(
    team: Team,
    model: PolicyModel | Path | str,
    *,
    seed: int | None = None,
    recorder: Recorder | None = None,
    progress: Callable[[float, MissionPhase, DemandView], None] | None = None,
    world: WorldParams | None = None,
    policy: Policy = "model",
    ledger: Path | str | None = None,
    keep_rows_s: float = KEEP_ROWS_S,
    positions: bool = True,
    recorded: Collection[str] | None = None,
) -> FlightResult:
    """Fly a team from the ground to the ground.

    Args:
        team: who flies, for what.
        model: folder of the exported model that decides, or that model: who flies many times loads it once.
        seed: of everything random; None: the team's.
        recorder: takes every message of the flight.
        progress: called ten times per simulated second with time [s], phase and demand.
        world: step, sensors, noise.
        policy: who decides; the yardsticks at the model's tick.
        ledger: file of the demand ledger, which must belong to this flight alone; None: the book is kept in memory.
        keep_rows_s: the ledger keeps changes row by row for so long [s].
        positions: False: keep no position of every step, so that memory stays flat over hours (T is 0 then).
        recorded: topics that the recorder takes, a drone's without its name; None: all.

    Raises:
        LedgerError: the ledger cannot be used.
        ConfigError, ContractError: the model does not fit the team, or the guarantee cannot hold in this configuration.
    """
    simulated = World(team, world, seed)
    with ExitStack() as stack:
        stack.enter_context(_seldom_collected())
        book = DemandBook.for_team(team)
        if ledger is not None:
            begun_s = time.time()  # the wall clock of a flight in real time
            kept = Ledger(ledger, team.kinds, lambda: simulated.now_s, lambda: begun_s + simulated.now_s, keep_rows_s)
            stack.callback(kept.close)
            book = DemandBook.for_team(team, journal=kept, accounts=kept.accounts)
        decides = model if isinstance(model, PolicyModel) else load_taped(model)
        return _Loop(team, decides, simulated, book, recorder, progress, policy, positions, recorded).run()


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Look for reference cycles a hundred times less often: a step leaves none, and looking costs a tenth of it."""
    often = gc.get_threshold()
    gc.set_threshold(100 * often[0], *often[1:])
    try:
        yield
    finally:
        gc.set_threshold(*often)


class _Loop:
    """One flight."""

    def __init__(
        self,
        team: Team,
        model: PolicyModel,
        world: World,
        book: DemandBook,
        recorder: Recorder | None,
        progress: Callable[[float, MissionPhase, DemandView], None] | None,
        policy: Policy,
        positions: bool,
        recorded: Collection[str] | None,
    ) -> None:
        self.team, self.world, self.recorder, self.progress = team, world, recorder, progress
        self.tick_s = model.card.tick_s
        check_model(team, model.card, self.tick_s)
        periods_s = (
            team.command_period_s,
            world.params.battery_period_s,
            STATE_PERIOD_S,
            PRESENCE_PERIOD_S,
            self.tick_s,
        )
        self._every = [world.steps_in(period_s) for period_s in periods_s]
        """Steps from one to the next of: poses, battery readings, states, presence, policy tick."""
        fleet = {spec.name: spec for spec in team.drones}
        speeds_mps = {spec.name: spec.max_speed_mps for spec in team.drones}
        self._mind = minds(policy, model, team.arena, speeds_mps, compiled=True)
        self._guard_params = with_response(
            GuardParams(), team.command_period_s, *(spec.response for spec in team.drones)
        )
        self.guards = Guards(fleet, team.arena, self._guard_params, fleet)
        flyers = [with_smoothing(FlyerParams(), team.command_period_s, spec.response) for spec in team.drones]
        self.flyers = Flyers(team.arena, flyers, rejoins=team.rejoin)
        self.drones = {spec.name: self._drone(i, spec) for i, spec in enumerate(team.drones)}
        self._each = list(self.drones.values())
        self._deciders = [drone.decider for drone in self._each]
        n, names = len(self._each), self.team.names
        self._pose_links = Links[_Poses](names, world.seed, "pose")
        self._roll_links = Links[list[Sighting]](names, world.seed, "roll call")
        self._feature_links = Links[Sequence[Features]](names, world.seed, "features")
        self._links: tuple[Links[Any], ...] = (self._pose_links, self._roll_links, self._feature_links)
        self._near = np.zeros((n, n), np.bool_)
        """Row i: the team-mates whose poses and features drone i listens to."""
        self._newest = _Poses(self.flyers.pose_s, self.flyers.pose_m)
        """The pose that every drone was told last; -inf: none yet."""
        self._hangs = np.zeros(n, np.bool_)
        """Whose vehicle adapter does nothing."""
        singly = recorder is not None and (recorded is None or topics.SETPOINT in recorded)
        self._singly = np.array([singly or drone.stand_in is not None for drone in self._each])
        """Whose setpoints somebody looks at, a recorder or a stand-in."""
        self._all = np.arange(n)
        self._watched = np.flatnonzero(self._singly).tolist()
        self.book, self.positions, self._recorded = book, positions, recorded
        self.view = self.book.view(0.0)
        self.mission = Mission(team, MissionParams())
        self.schedule = Schedule(team.faults)
        self.active_s: float | None = None
        self.ears_clear = True
        """Whether every message from another drone arrives at once."""
        self._say(topics.FAULTS, wire.faults_to_wire, wire.FaultsReport(0.0, ()))
        self.phases: list[tuple[float, MissionPhase, str]] = []
        self.events: list[tuple[float, str]] = []
        self.samples: list[tuple[float, Array, npt.NDArray[np.int64], float]] = []

    @property
    def share_met(self) -> float:
        """Share of all demand met now, in [0, 1]."""
        return self.view.share_met

    def run(self) -> FlightResult:
        """Step until the mission is done, and a little longer."""
        done_s = np.inf
        while self.world.now_s < done_s + LINGER_S:
            self._step()
            if self.mission.phase is MissionPhase.DONE and done_s == np.inf:
                done_s = self.world.now_s
        return FlightResult(
            drones=self.team.names,
            time_s=np.array([sample[0] for sample in self.samples]),
            position_m=np.array([sample[1] for sample in self.samples]),
            phase=np.array([sample[2] for sample in self.samples]),
            share_met=np.array([sample[3] for sample in self.samples]),
            mission=tuple(self.phases),
            events=tuple(self.events),
        )

    def _drone(self, i: int, spec: DroneSpec) -> _Drone:
        team, name = self.team, spec.name
        others = {other.name: other for other in team.drones if other.name != name}
        decider = Decider(self._mind(name, spec.max_speed_mps))
        guard = Guard(name, spec, team.arena, self._guard_params, others, self.guards)
        hanging = any(fault.kind is FaultKind.HANGING_ADAPTER and fault.concerns(name) for fault in team.faults)
        stand_in = StandInParams().of_vehicle(team.command_period_s, spec.response)
        return _Drone(
            name,
            decider,
            Carrier(spec, team.kinds, session="offline", reported=True),
            guard,
            self.flyers.each[i],
            StandIn(name, spec, team.arena, stand_in, others) if hanging else None,
        )

    def _step(self) -> None:
        holding = self.schedule.holding(self.world.now_s, self.active_s)
        if holding != self.world.faults:
            self._suffer(holding)
        self.world.step()
        now_s = self.world.now_s
        poses, batteries, states, presence, tick = [self.world.steps_made % steps == 0 for steps in self._every]
        if not self.ears_clear:
            self._deliver(now_s)
        if poses:
            self._poses(now_s, self.world.measured())
        if batteries:
            self._batteries()
        if states or presence or tick:
            self._tell_poses()
        if states:
            self._states(now_s)
        if presence:
            self._roll_call(now_s)
        if tick:
            self._decide(now_s)

    def _batteries(self) -> None:
        for name, battery in self.world.batteries().items():
            self._say(topics.BATTERY, wire.battery_to_wire, battery, name)
            self.drones[name].carrier.battery(battery)

    def _suffer(self, holding: tuple[Fault, ...]) -> None:
        """These faults hold from now on."""
        over, new = set(self.world.faults) - set(holding), set(holding) - set(self.world.faults)
        self.events += [(self.world.now_s, f"fault: {fault}") for fault in holding if fault in new]
        self.events += [(self.world.now_s, f"fault over: {fault}") for fault in self.world.faults if fault in over]
        self.world.suffer(holding)
        self._say(topics.FAULTS, wire.faults_to_wire, wire.FaultsReport(self.world.now_s, holding))
        self._hangs[:] = [any_of(holding, FaultKind.HANGING_ADAPTER, drone.name) for drone in self._each]
        for links in self._links:
            links.apply(holding)
        self._look_at_ears()

    def _deliver(self, now_s: float) -> None:
        """Messages between drones whose time has come."""
        self._deliver_poses(now_s)
        self._deliver_sightings(now_s)
        self._deliver_features(now_s)
        self._look_at_ears()

    def _deliver_poses(self, now_s: float) -> None:
        arrived = self._pose_links.due(now_s)
        if arrived is not None:
            at = arrived.batch, arrived.sender
            stamp_s, position_m = (np.stack(rows)[at] for rows in zip(*arrived.batches, strict=True))
            self.guards.hear(arrived.receiver, arrived.sender, stamp_s, position_m)

    def _deliver_sightings(self, now_s: float) -> None:
        arrived = self._roll_links.due(now_s)
        if arrived is not None:
            for receiver, sender, batch in zip(*(column.tolist() for column in arrived[:3]), strict=True):
                self._each[receiver].decider.neighbourhood.sighted(arrived.batches[batch][sender])

    def _deliver_features(self, now_s: float) -> None:
        arrived = self._feature_links.due(now_s)
        if arrived is not None:
            for batch, said in enumerate(arrived.batches):
                own = arrived.batch == batch
                heard = np.zeros((len(self._each), len(said)), np.bool_)
                heard[arrived.receiver[own], arrived.sender[own]] = True
                self._take_in(heard, said)

    def _take_in(self, heard: npt.NDArray[np.bool_], said: Sequence[Features]) -> None:
        """Every mind i takes in the messages j of which `heard` (N, k) is true."""
        mind = self._deciders[0].mind
        if isinstance(mind, Mind):
            mind.minds.hear(heard, said)

    def _look_at_ears(self) -> None:
        self.ears_clear = all(links.clear for links in self._links)

    def _poses(self, now_s: float, measured: Measured) -> None:
        """Every pose is answered by a safe command, and that by a setpoint."""
        told, stamp_s, position_m = measured
        self.guards.poses(told, stamp_s, position_m)
        self.flyers.poses(told, stamp_s, position_m)
        self._meet(now_s, told)
        commands = self.guards.commands(now_s)
        if self.recorder is not None:
            self._say_poses(measured, commands)
        orders = self.flyers.tick(now_s, commands, ~self._hangs)
        self.world.vehicles.setpoints(orders.streams & ~self._singly, now_s, orders.position_m, orders.velocity_mps)
        for i, order in orders.others.items():
            if not self._singly[i] and order.setpoint is None:
                self._obey(self._each[i], order, now_s)
        for i in self._watched:
            self._obey_singly(self._each[i], orders.of(i), now_s, measured)
        if self.positions:
            self.samples.append((now_s, self.world.vehicles.position_m.copy(), self._phases(now_s), self.share_met))

    def _obey_singly(self, drone: _Drone, order: Order | None, now_s: float, measured: Measured) -> None:
        """What its own flyer and its stand-in order one drone."""
        if order is not None:
            self._obey(drone, order, now_s)
        if drone.stand_in is not None:
            self._stand_in(drone, drone.stand_in, now_s, measured)

    def _meet(self, now_s: float, told: npt.NDArray[np.bool_]) -> None:
        """Everybody hears where the near ones are."""
        heard, newest = self._near & told, self._newest
        if self.ears_clear:
            self.guards.meet(heard, newest.stamp_s, newest.position_m)
            return
        poses = _Poses(newest.stamp_s.copy(), newest.position_m.copy())
        self._pose_links.send(now_s, self.team.names, heard, poses)
        self._deliver_poses(now_s)

    def _tell_poses(self) -> None:
        """Give everybody the pose that it would have had as its newest."""
        for drone, stamp_s, at_m in zip(
            self._each, self._newest.stamp_s.tolist(), self._newest.position_m.copy(), strict=True
        ):
            if stamp_s != -np.inf:
                pose = wire.Pose(stamp_s, at_m)
                drone.decider.pose(pose)
                drone.carrier.pose(pose)

    def _say_poses(self, measured: Measured, commands: SafeCommands) -> None:
        for name, pose in measured.poses(self.team.names).items():
            self._say(topics.POSE, wire.pose_to_wire, pose, name)
        for drone, command in zip(self._each, commands, strict=True):
            velocity = wire.Velocity(command.stamp_s, command.velocity_mps)
            self._say(topics.VELOCITY_SAFE, wire.velocity_to_wire, velocity, drone.name)
            self._say(topics.SAFETY, wire.safety_to_wire, command, drone.name)

    def _phases(self, now_s: float) -> npt.NDArray[np.int64]:
        """`VehiclePhase` of every drone (N,), by the word of those who fly them."""
        phases = self.flyers.phase
        for i in self._watched:
            stood_in = self._each[i].stood_in
            said = None if stood_in is None else stood_in.report(now_s)
            if said is not None:
                phases[i] = said.phase
        return phases

    def _stand_in(self, drone: _Drone, stand_in: StandIn, now_s: float, measured: Measured) -> None:
        """What its stand-in does for one drone."""
        if stand_in.flying:
            own = self._each.index(drone)
            told, stamp_s, position_m = measured
            if told[own]:
                stand_in.pose(wire.Pose(float(stamp_s[own]), position_m[own]))
            others = self._all != own
            stand_in.meet(told[others], stamp_s[others], position_m[others])
        order = stand_in.tick(now_s)
        self._obey(drone, order, now_s, SIGNATURE)

    def _obey(self, drone: _Drone, order: Order, now_s: float, author: str = "") -> None:
        """Give the vehicle its order."""
        vehicles, name, setpoint = self.world.vehicles, drone.name, order.setpoint
        if setpoint is not None:
            to_wire = partial(wire.setpoint_to_wire, stamp_s=now_s, author=author)
            self._say(topics.SETPOINT, to_wire, setpoint, name)
            vehicles.setpoint(name, now_s, *setpoint)
            if drone.stand_in is not None and not author:
                drone.stand_in.streamed(now_s, lambda: setpoint)
        elif order.action is Action.ARM:
            vehicles.arm(name, True)
        elif order.action is Action.TAKE_OFF:
            vehicles.takeoff(name, self.team.arena.flight_height_m)
        elif order.action is Action.NOTIFY_STOP:
            vehicles.notify_setpoints_stop(name)
        elif order.action is Action.LAND:
            vehicles.land(name)

    def _states(self, now_s: float) -> None:
        """Resources, deliveries, demand, vehicle reports, mission."""
        for drone in self._each:
            for load in drone.carrier.loads(now_s):
                entry = self.book.put_in(load.request_id, drone.name, load.kind, load.amount)
                drone.carrier.loaded(load.request_id, entry.accepted, entry.carried)
            carried = drone.carrier.tick(now_s)
            self._say(topics.RESOURCES, wire.resources_to_wire, carried.resources, drone.name)
            drone.decider.resources(carried.resources)
            drone.flyer.resources(carried.resources)
            server.report(self.book, drone.name, carried.resources)
            for offer in carried.offers:
                answer = self.book.deliver(offer.request_id, drone.name, offer.consumer, offer.kind, offer.amount)
                drone.carrier.settle(offer.request_id, answer.amount)
        self.view = self.book.view(now_s)
        self._say(topics.DEMAND, partial(wire.demand_to_wire, stamp_s=now_s), self.view)
        vehicles: dict[str, VehiclePhase | None] = {}
        discs_m = self.view.discs_m if self.mission.phase is MissionPhase.ACTIVE else NO_DISCS_M
        for drone, hangs in zip(self._each, self._hangs.tolist(), strict=True):
            drone.carrier.demand(self.view)
            drone.decider.demand(self.view)
            report = self._report(drone, now_s, hangs)
            drone.carrier.vehicle(report)
            drone.decider.vehicle(report)
            drone.guard.vehicle(report)
            drone.guard.discs_m = discs_m
            vehicles[drone.name] = report.phase if drone.flyer.airborne or drone.flyer.ready(now_s) else None
            self._say(topics.VEHICLE, wire.vehicle_to_wire, report, drone.name)
        self._announce(now_s, vehicles)

    def _report(self, drone: _Drone, now_s: float, hangs: bool) -> wire.VehicleReport:
        """What is said of a vehicle, by its adapter, which repeats itself while it hangs, or by its stand-in."""
        if drone.stand_in is None:
            return drone.flyer.report(now_s)
        said = drone.stand_in.report(now_s)
        if said is None and not hangs:
            said = drone.flyer.report(now_s)
            drone.stand_in.reported(said)
        return drone.flyer.report(now_s) if said is None else said

    def _announce(self, now_s: float, vehicles: dict[str, VehiclePhase | None]) -> None:
        """The mission's word, and the events that are due."""
        order = self.mission.update(now_s, vehicles, self.view, None)
        if self.active_s is None and order.phase is MissionPhase.ACTIVE:
            self.active_s = now_s - order.elapsed_s
        if not self.phases or self.phases[-1][1] is not order.phase:
            self.phases.append((now_s, order.phase, order.reason))
        report = wire.MissionReport(now_s, order.phase, order.elapsed_s, order.reason)
        self._say(topics.MISSION, wire.mission_to_wire, report)
        for drone in self._each:
            drone.decider.mission(report)
            drone.carrier.mission(report)
            drone.flyer.mission(report)
            if drone.stand_in is not None:
                drone.stand_in.mission(report)
        for due in order.events:
            self.events.append((now_s, self._happen(due)))
        if self.progress is not None:
            self.progress(now_s, order.phase, self.view)

    def _happen(self, due: DueEvent) -> str:
        """Make one event of the scenario happen; what happened, in words."""
        change, edit = due.event.set_supply, due.event.edit
        if change is not None and due.drone is not None:
            supplied = self.drones[due.drone].carrier.set_supply(change.kind, change.amount)
            return f"{change.kind} of {due.drone} set to {supplied.amount:g} {supplied.message}".rstrip()
        if edit is not None:
            answer = server.edit(self.book, edit.operation, edit.consumer)
            return f"{edit.operation.name.lower()} {edit.consumer.name} {answer.message}".rstrip()
        raise ContractError("event", "nothing to happen", "a change of supply or of a consumer")

    def _roll_call(self, now_s: float) -> None:
        """Everybody says where it is; everybody looks who is near."""
        seen = (drone.decider.presence(now_s) for drone in self._each)
        sightings = [sighting for sighting in seen if sighting is not None]
        for sighting in sightings:
            self._say(topics.PRESENCE, wire.presence_to_wire, sighting)
        if self.ears_clear:
            for drone in self._each:
                for sighting in sightings:
                    drone.decider.neighbourhood.sighted(sighting)
        else:
            everybody = np.ones((len(self._each), len(sightings)), np.bool_)
            self._roll_links.send(now_s, [sighting.drone for sighting in sightings], everybody, sightings)
            self._deliver_sightings(now_s)
        for i, drone in enumerate(self._each):
            near = drone.decider.near(now_s)
            self._near[i] = [other in near for other in self.drones]

    def _decide(self, now_s: float) -> None:
        """All decide on what was said at the ticks before; only then is anything of this tick heard."""
        ticked = tick_together(self._deciders, now_s)
        nominal_mps, given = np.zeros((len(self._each), 3)), np.zeros(len(self._each), np.bool_)
        for i, decider in enumerate(self._deciders):
            stay_mps = decider.stay_velocity_mps
            if stay_mps is not None:
                nominal_mps[i], given[i] = stay_mps, True
        # mostly all decide: a slice is several times as fast as a list
        which = slice(None) if len(ticked.which) == len(self._each) else ticked.which
        nominal_mps[which, :2], given[which] = ticked.velocity_mps, True
        self.guards.nominals(given, self._newest.stamp_s, nominal_mps)
        if self.recorder is not None:
            decisions = dict(zip(ticked.which, ticked.decisions, strict=True))
            for i in np.flatnonzero(given).tolist():
                nominal = wire.Velocity(self._deciders[i].pose_stamp_s, nominal_mps[i])
                self._say_decision(self._each[i].name, nominal, decisions.get(i))
        heard = self._near[:, which]
        if self.ears_clear:
            self._take_in(heard, ticked.said)
        else:
            names = [self.team.names[i] for i in ticked.which]
            self._feature_links.send(now_s, names, heard, ticked.said)
            self._deliver_features(now_s)

    def _say_decision(self, name: str, nominal: wire.Velocity, decision: Decision | None) -> None:
        self._say(topics.VELOCITY_NOMINAL, wire.velocity_to_wire, nominal, name)
        if decision is not None:
            self._say(topics.FEATURES, wire.features_to_wire, decision.features, name)
            recorded = decision._replace(step_time_s=0.0)  # the one figure that differs from run to run
            self._say(topics.POLICY_STATE, partial(wire.decision_to_wire, pose_stamp_s=nominal.stamp_s), recorded, name)

    def _records(self, topic: str) -> bool:
        return self.recorder is not None and (self._recorded is None or topic in self._recorded)

    def _say(self, topic: str, to_wire: Callable[[T], wire.Wire], value: T, drone: str | None = None) -> None:
        """Record a message."""
        if self.recorder is not None and self._records(topic):
            name = topic if drone is None else topics.of_drone(drone, topic)
            self.recorder.write_values(name, round(self.world.now_s * wire.NS_PER_S), to_wire(value))
