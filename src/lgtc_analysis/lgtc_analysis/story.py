"""What happened in a flight, in words and in the order of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lgtc_analysis import metrics
from lgtc_analysis.flight import DroneFlight, Flight
from lgtc_core.fleet.team import Event
from lgtc_core.flight.phases import MissionPhase, VehiclePhase

EVENT_SEEN_S = 5.0
"""A change by hand shows in what the drone reports within this time [s]."""
CHANGE = 0.02
"""A supply that falls by more than this between two reports was changed by hand, not discharged."""
PHASE_WORDS = {
    VehiclePhase.GROUNDED: "ground",
    VehiclePhase.TAKING_OFF: "take-off",
    VehiclePhase.HOLDING: "hold",
    VehiclePhase.FLYING: "policy flies",
    VehiclePhase.LANDING: "landing",
    VehiclePhase.LANDED: "landed",
    VehiclePhase.FAILED: "failed",
}


@dataclass(frozen=True)
class Moment:
    """Something worth knowing, and when."""

    time_s: float
    """Mission time [s]."""
    words: str


def story(flight: Flight) -> tuple[Moment, ...]:
    """The moments of a flight, in the order of time."""
    return tuple(sorted(_moments(flight), key=lambda moment: moment.time_s))


def _moments(flight: Flight) -> Iterator[Moment]:
    mission = flight.mission
    for i in np.flatnonzero(np.diff(mission.phase, prepend=-1)):
        phase = MissionPhase(int(mission.phase[i]))
        if phase != MissionPhase.DONE or mission.reason[i]:
            yield Moment(float(mission.time_s[i]), f"mission: {phase.name.lower().replace('_', '-')}")
    for place in metrics.coverages(flight):
        if np.isfinite(place.met_s):
            yield Moment(place.met_s, f"{place.consumer}: demand met for the first time")
    for event in happened(flight):
        yield Moment(event.at_s, event_words(flight, event))
    before: set[str] = set()
    for time_s, holding in zip(flight.faults.time_s, flight.faults.holding, strict=True):
        for fault in sorted(set(holding) - before):
            yield Moment(float(time_s), f"fault: {fault}")
        for fault in sorted(before - set(holding)):
            yield Moment(float(time_s), f"fault over: {fault}")
        before = set(holding)
    for one in metrics.handovers(flight):
        who = " and ".join(one.leavers)
        if np.isfinite(one.announced_s):
            yield Moment(one.announced_s, f"{one.consumer}: {who} announces to leave")
        covered = ", without a gap" if one.gap_s == 0 else ""
        yield Moment(one.left_s, f"{one.consumer}: {who} no longer serves{covered}")
        if one.successors and one.gap_s > 0:
            yield Moment(one.served_again_s, f"{one.consumer}: served again, by {' and '.join(one.successors)}")
    for drone in flight.drones.values():
        for begins_s in _begins_s(drone, VehiclePhase.LANDING):
            if begins_s < flight.active_s[1] - 1e-6:
                yield Moment(begins_s, f"{drone.name}: lands, the others fly on")
        for begins_s in _begins_s(drone, VehiclePhase.TAKING_OFF):
            if begins_s > flight.active_s[0] + 1e-6:
                yield Moment(begins_s, f"{drone.name}: takes off, charged again")


def _begins_s(drone: DroneFlight, phase: VehiclePhase) -> list[float]:
    """Every time at which a vehicle entered a phase [s]."""
    on = drone.vehicle.phase == phase
    begins: list[float] = drone.vehicle.time_s[on & ~np.append(False, on[:-1])].tolist()
    return begins


def happened(flight: Flight) -> tuple[Event, ...]:
    """Events of the scenario whose time came while the mission was active."""
    return tuple(event for event in flight.team.events if event.at_s < flight.active_s[1])


def event_words(flight: Flight, event: Event) -> str:
    """What an event did, in words."""
    if event.set_supply is not None:
        change = event.set_supply
        whose = change.drone or changed_drone(flight, event) or f"the server of {change.server_of}"
        return f"{whose}: {change.kind} set to {change.amount:g}"
    if event.edit is not None:
        return f"{event.edit.consumer.name}: consumer {event.edit.operation.name.lower()}"
    return ""


def changed_drone(flight: Flight, event: Event) -> str | None:
    """The drone whose supply changed to what the event sets, about its time; None: it does not show."""
    change = event.set_supply
    if change is None or change.kind not in flight.demand.kinds:
        return None
    kind = flight.demand.kinds.index(change.kind)
    for drone in flight.drones.values():
        since_s = drone.resources.time_s - event.at_s
        near = (since_s >= -1.0) & (since_s <= EVENT_SEEN_S)
        amounts = drone.resources.supply[near, kind] if len(drone.resources) else np.zeros(0)
        jumps = amounts[1:][np.abs(np.diff(amounts)) > CHANGE]
        if (np.abs(jumps - change.amount) < CHANGE).any():
            return drone.name
    return None
