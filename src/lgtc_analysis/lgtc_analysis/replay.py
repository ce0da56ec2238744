"""The flight as data for the page's replay: a few frames per second, rounded to what a screen can show."""

from __future__ import annotations

from typing import Any

import numpy as np

from lgtc_analysis import metrics, story
from lgtc_analysis.flight import Flight, Floats
from lgtc_analysis.palette import DRONE_COLOURS
from lgtc_analysis.timeline import held, held_rows, ticks, timeline
from lgtc_core.flight.phases import MissionPhase, VehiclePhase

FRAME_S = 0.1
VALUES = 300_000
"""Most numbers that a replay holds; longer or larger flights get fewer frames."""


def replay(flight: Flight) -> dict[str, Any]:
    """Plain data of the replay: K frames of N drones and M consumers, every array frame by frame.

    Lengths in millimetres, shares in per cent, both as whole numbers; null: unknown.
    """
    begin, end = flight.span_s
    per_frame = 6 * len(flight.names) + 4 * len(flight.demand.names) + 2
    frame_s = max(FRAME_S, per_frame * (end - begin) / VALUES)
    times = ticks(begin, end, frame_s)
    team, demand = timeline(flight, times), flight.demand
    row = held(demand.time_s, times)
    share = metrics.share_met_per_consumer(flight)
    mission = held(flight.mission.time_s, times)
    drones = tuple(flight.drones.values())
    charge = np.stack([held_rows(d.resources.time_s, d.resources.state_of_charge, times) for d in drones], 1)
    chosen = np.stack([held_rows(d.policy_state.time_s, d.policy_state.chosen.astype(float), times) for d in drones], 1)
    chosen[(team.phase != VehiclePhase.FLYING) | (chosen < 0)] = np.nan
    arena = flight.team.arena
    return {
        "begin_s": round(begin, 3),
        "frame_s": frame_s,
        "arena": {"centre": list(arena.centre_m), "half": list(arena.half_extent_m), "radius": arena.radius_m},
        "height": arena.height_max_m,
        "drones": [
            {"name": name, "colour": i % DRONE_COLOURS, "round": i // DRONE_COLOURS}
            for i, name in enumerate(flight.names)
        ],
        "consumers": list(demand.names),
        "position": _whole(1000 * team.position_m),
        "airborne": team.airborne.astype(int).tolist(),
        "phase": team.phase.tolist(),
        "charge": _whole(100 * charge),
        "chosen": _whole(chosen),
        "place": _whole(1000 * _held(demand.position_m, row)),
        "radius": _whole(1000 * _held(demand.radius_m, row)),
        "met": _whole(np.floor(100 * _held(share, row) + 1e-3)),
        "mission": np.where(mission >= 0, flight.mission.phase[mission], MissionPhase.STANDBY).tolist(),
        "phase_words": [story.PHASE_WORDS[phase] for phase in VehiclePhase],
        "mission_words": [phase.name.lower().replace("_", "-") for phase in MissionPhase],
        "events": [{"at_s": event.at_s, "words": story.event_words(flight, event)} for event in story.happened(flight)],
        "story": [{"at_s": round(moment.time_s, 2), "words": moment.words} for moment in story.story(flight)],
    }


def _held(values: Floats, row: Any) -> Floats:
    """Rows of `values`; NaN where there is none yet."""
    result = np.array(values[np.clip(row, 0, None)], dtype=np.float64)
    result[row < 0] = np.nan
    return result


def _whole(values: Floats) -> Any:
    """Nested lists of whole numbers, None for NaN."""
    rounded = np.round(values).astype(object)
    rounded[~np.isfinite(values)] = None
    return _integers(rounded.tolist())


def _integers(values: Any) -> Any:
    if isinstance(values, list):
        return [_integers(value) for value in values]
    return None if values is None else int(values)
