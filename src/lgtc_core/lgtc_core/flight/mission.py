"""The mission: what the whole team is to do, from the first stand-by to everybody down. The supervisor's logic.

    STANDBY -> TAKE_OFF -> ACTIVE -> LAND -> DONE          ABORT instead of LAND, from everywhere

No single drone stops the team: who is not in the air when the time for take-off is over stays behind, who lands in
mid-mission (its battery is empty) or is no longer heard is missed, not waited for. Only a team of which nobody is left
in the air lands; where charged drones rejoin, only one of which nobody can come back. Found in the air at the start
(the supervisor was started again), the team is brought down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, NamedTuple

from lgtc_core.flight.phases import MissionPhase, VehiclePhase
from lgtc_core.schema import Bounds

if TYPE_CHECKING:  # the fleet depends on the flight (battery levels), not the other way round
    from lgtc_core.demand.view import DemandView
    from lgtc_core.fleet.team import Event, Team

_TIME = Bounds(0.1, 3600.0, "s")
_OVER = (MissionPhase.LAND, MissionPhase.ABORT)


class Request(Enum):
    """What an operator may ask of a mission."""

    LAND = "land"
    """End it: all land."""
    ABORT = "abort"
    """All land now."""


@dataclass(frozen=True, kw_only=True)
class MissionParams:
    """Parameters of the supervisor."""

    ready_timeout_s: Annotated[float, _TIME, "Time for every drone to report that it is ready"] = 60.0
    settle_s: Annotated[
        float, Bounds(0.0, 60.0, "s"), "So long must every drone have been ready, without a break, before the take-off"
    ] = 0.0
    take_off_timeout_s: Annotated[float, _TIME, "Time for the take-off; who is not up by then stays behind"] = 25.0
    land_timeout_s: Annotated[float, _TIME, "Time for the landing; after it the mission ends all the same"] = 40.0


class DueEvent(NamedTuple):
    """A scenario event whose time has come."""

    event: Event
    drone: str | None
    """The drone that it is about, chosen now; None for events about consumers."""


class MissionOrder(NamedTuple):
    """What to announce, and what to do once."""

    phase: MissionPhase
    elapsed_s: float
    """Time since ACTIVE began [s]; 0 before."""
    reason: str
    """Why this phase was entered, one sentence."""
    events: tuple[DueEvent, ...]
    """Each is returned exactly once."""


class Mission:
    """Phases of the team.

    Args:
        team: who flies, how long, what happens.
        params: times.
    """

    def __init__(self, team: Team, params: MissionParams) -> None:
        self.team, self.params = team, params
        self.phase = MissionPhase.STANDBY
        self.reason = "waiting for every drone to be ready"
        self._due = sorted(team.events, key=lambda event: event.at_s)
        self._entered_s: float | None = None
        self._active_s: float | None = None
        self._met_since_s: float | None = None
        self._ready_since_s: float | None = None
        self._up: set[str] = set()
        """Drones in the air, and those last heard there."""

    def update(
        self,
        now_s: float,
        vehicles: Mapping[str, VehiclePhase | None],
        demand: DemandView | None,
        request: Request | None,
        objections: Mapping[str, str] | None = None,
    ) -> MissionOrder:
        """Decide.

        Args:
            now_s: time [s].
            vehicles: phase of each drone's vehicle; None or missing: not ready yet, or not heard any more.
            demand: what is asked for; None: not known yet.
            request: an operator's request, once.
            objections: why drones must not take off (yet), by name; counts while they stand by.
        """
        if self._entered_s is None:
            self._entered_s = now_s
        phases = {name: vehicles.get(name) for name in self.team.names}
        for name, phase in phases.items():
            if phase is not None:
                (self._up.add if phase.airborne else self._up.discard)(name)
        events: tuple[DueEvent, ...] = ()
        if request is not None:
            self._obey(now_s, request)
        if self.phase is MissionPhase.STANDBY:
            self._stand_by(now_s, phases, objections or {})
        elif self.phase is MissionPhase.TAKE_OFF:
            self._take_off(now_s, phases)
        elif self.phase is MissionPhase.ACTIVE:
            events = self._run(now_s, phases, demand)
        elif self.phase in _OVER:
            self._bring_down(now_s, phases)
        return MissionOrder(self.phase, self._elapsed_s(now_s), self.reason, events)

    def _elapsed_s(self, now_s: float) -> float:
        return 0.0 if self._active_s is None else now_s - self._active_s

    def _in_phase_s(self, now_s: float) -> float:
        return 0.0 if self._entered_s is None else now_s - self._entered_s

    def _enter(self, now_s: float, phase: MissionPhase, reason: str) -> None:
        self.phase, self.reason, self._entered_s = phase, reason, now_s

    def _obey(self, now_s: float, request: Request) -> None:
        if self.phase is MissionPhase.DONE or self.phase is MissionPhase.ABORT:
            return
        if request is Request.ABORT:
            self._enter(now_s, MissionPhase.ABORT, "abort requested")
        elif self.phase is not MissionPhase.LAND:
            self._enter(now_s, MissionPhase.LAND, "landing requested")

    def _stand_by(self, now_s: float, phases: Mapping[str, VehiclePhase | None], objections: Mapping[str, str]) -> None:
        if self._up:
            flying = [name for name in phases if name in self._up]
            self._enter(now_s, MissionPhase.ABORT, f"found in the air before the take-off: {', '.join(flying)}")
            return
        waiting = [
            f"{name} ({objections.get(name) or ('not heard' if phase is None else phase.name.lower())})"
            for name, phase in phases.items()
            if phase is not VehiclePhase.GROUNDED or name in objections
        ]
        if waiting:
            self._ready_since_s = None
        elif self._ready_since_s is None:
            self._ready_since_s = now_s
        if self._ready_since_s is not None and now_s - self._ready_since_s >= self.params.settle_s:
            self._enter(now_s, MissionPhase.TAKE_OFF, "every drone is ready")
        elif waiting and self._in_phase_s(now_s) > self.params.ready_timeout_s:
            after = f"not ready after {self.params.ready_timeout_s:g} s"
            self._enter(now_s, MissionPhase.ABORT, f"{after}: {', '.join(waiting)}")
        else:
            settling = f"everybody to have been ready for {self.params.settle_s:g} s"
            self.reason = f"waiting for {', '.join(waiting) or settling}"

    def _take_off(self, now_s: float, phases: Mapping[str, VehiclePhase | None]) -> None:
        up = [name for name, phase in phases.items() if phase in (VehiclePhase.HOLDING, VehiclePhase.FLYING)]
        gone = (VehiclePhase.LANDING, VehiclePhase.LANDED, VehiclePhase.FAILED)
        missing = [name for name, phase in phases.items() if name not in up and phase not in gone]
        late = self._in_phase_s(now_s) > self.params.take_off_timeout_s
        if missing and not late:
            return
        if not up:
            self._enter(now_s, MissionPhase.ABORT, "no drone got into the air")
            return
        self._active_s = now_s
        behind = [name for name in phases if name not in up]
        told = f"; without {', '.join(behind)}" if behind else ""
        self._enter(now_s, MissionPhase.ACTIVE, f"{len(up)} of {len(phases)} drones are in the air{told}")

    def _run(
        self, now_s: float, phases: Mapping[str, VehiclePhase | None], demand: DemandView | None
    ) -> tuple[DueEvent, ...]:
        events = self._events(self._elapsed_s(now_s), demand)
        settle_s = self.team.settle_s
        if settle_s is None or demand is None or not demand.met:
            self._met_since_s = None
        elif self._met_since_s is None:
            self._met_since_s = now_s
        may_return = self.team.rejoin and VehiclePhase.LANDED in phases.values()
        if not self._up and not may_return:
            self._enter(now_s, MissionPhase.LAND, "no drone is left in the air")
        elif self._elapsed_s(now_s) >= self.team.duration_s:
            self._enter(now_s, MissionPhase.LAND, f"flown for {self.team.duration_s:g} s")
        elif (
            settle_s is not None
            and self._met_since_s is not None
            and now_s - self._met_since_s >= settle_s
            and not self._due
        ):
            self._enter(now_s, MissionPhase.LAND, f"all demand has been met for {settle_s:g} s")
        return events

    def _events(self, elapsed_s: float, demand: DemandView | None) -> tuple[DueEvent, ...]:
        """The events due now. One about a drone that cannot be named yet stays due."""
        due, waiting = [], []
        for event in self._due:
            if event.at_s > elapsed_s:
                waiting.append(event)
            elif event.set_supply is None:
                due.append(DueEvent(event, None))
            elif demand is not None and (drone := event.set_supply.choose(demand)) is not None:
                due.append(DueEvent(event, drone))
            else:
                waiting.append(event)
        self._due = waiting
        return tuple(due)

    def _bring_down(self, now_s: float, phases: Mapping[str, VehiclePhase | None]) -> None:
        if not self._up:
            self._enter(now_s, MissionPhase.DONE, f"{self.reason}; all are down")
        elif self._in_phase_s(now_s) > self.params.land_timeout_s:
            up = [name for name in phases if name in self._up]
            self._enter(now_s, MissionPhase.DONE, f"{self.reason}; not known to be down: {', '.join(up)}")
