"""Whole flights in which things go wrong on purpose: what the guarantee covers stays apart, and everything ends on the
ground.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lgtc_core import topics, wire
from lgtc_core.fleet.fault import AMOUNTS, LINK_KINDS, FaultKind
from lgtc_core.fleet.team import Team
from lgtc_core.flight.phases import MissionPhase, VehiclePhase
from lgtc_core.loop.stand_in import SIGNATURE
from lgtc_sim.offline import FlightResult, fly

MakeTeam = Callable[..., Team]
AIRBORNE = [phase for phase in VehiclePhase if phase.airborne]
SOME = {FaultKind.LOSS: 0.3, FaultKind.DELAY: 0.2, FaultKind.DUPLICATION: 0.5, FaultKind.REORDERING: 0.2}
SOME |= {FaultKind.POSITION_JUMP: 0.3, FaultKind.WIND: 0.1, FaultKind.TRACKING_LAG: 0.2}
COVERED = (LINK_KINDS - {FaultKind.PARTITION}) | {FaultKind.SILENT_SENSOR, FaultKind.HANGING_ADAPTER}
"""Faults within the guarantee's hypotheses."""

RANDOM = (FaultKind.LOSS, FaultKind.REORDERING, FaultKind.POSITION_JUMP)


def fault(kind: FaultKind, drones: tuple[str, ...] = ("cf1",), **times: float) -> dict[str, Any]:
    return {"kind": kind.value, "drones": list(drones), **({"amount": SOME[kind]} if kind in AMOUNTS else {}), **times}


def closest_m(result: FlightResult) -> float:
    up = np.isin(result.phase, AIRBORNE)
    apart_m = np.linalg.norm(result.position_m[:, :, None] - result.position_m[:, None], axis=-1)
    both = up[:, :, None] & up[:, None] & ~np.eye(len(result.drones), dtype=bool)
    return float(np.where(both, apart_m, np.inf).min())


class Streams:
    """A recorder that keeps setpoints and faults."""

    def __init__(self) -> None:
        self.setpoints: dict[str, list[tuple[float, str]]] = {}
        self.faults: list[tuple[float, int]] = []

    def write_values(self, topic: str, received_ns: int, values: wire.Wire) -> None:
        if topic.endswith(f"/{topics.SETPOINT}"):
            self.setpoints.setdefault(topic, []).append((values["header"], values["child_frame_id"]))
        elif topic == topics.FAULTS:
            self.faults.append((values["header"], len(values["faults"])))


@pytest.mark.parametrize("kind", list(FaultKind))
def test_whatever_goes_wrong_the_flight_ends_on_the_ground_and_equal_seeds_go_wrong_alike(
    make_team: MakeTeam, greedy_model: Path, kind: FaultKind
) -> None:
    team = make_team(faults=[fault(kind, start_s=2.0, duration_s=3.0)])
    result = fly(team, greedy_model)
    assert result.mission[-1][1] is MissionPhase.DONE
    assert result.position_m[-1, :, 2].max() < 0.01
    words = [what for _, what in result.events if what.startswith("fault")]
    assert [word.split(":")[0] for word in words] == ["fault", "fault over"]
    if kind in COVERED:
        assert closest_m(result) >= 0.25
    if kind in RANDOM:
        assert np.array_equal(result.position_m, fly(team, greedy_model).position_m)


def test_loss_and_delay_together_keep_every_pair_apart(make_team: MakeTeam, greedy_model: Path) -> None:
    everybody = tuple(drone.name for drone in make_team().drones)
    faults = [fault(kind, everybody) for kind in (FaultKind.LOSS, FaultKind.DELAY)]
    assert closest_m(fly(make_team(faults=faults), greedy_model)) >= 0.25


def test_a_hanging_adapter_is_stood_in_for_without_a_gap_and_its_drone_comes_down(
    make_team: MakeTeam, greedy_model: Path
) -> None:
    tape = Streams()
    result = fly(make_team(faults=[fault(FaultKind.HANGING_ADAPTER, start_s=2.0)]), greedy_model, recorder=tape)
    streamed = tape.setpoints["/cf1/setpoint"]
    taken_s = min(time_s for time_s, author in streamed if author == SIGNATURE)
    last_s = max(time_s for time_s, author in streamed if not author)
    assert 0.2 <= taken_s - last_s <= 0.3
    assert np.diff([time_s for time_s, _ in streamed]).max() <= 0.3
    assert (result.phase[-1] == VehiclePhase.LANDED).all()
    active_s = next(time_s for time_s, phase, _ in result.mission if phase is MissionPhase.ACTIVE)
    assert tape.faults[0] == (0.0, 0)
    assert tape.faults[1] == (pytest.approx(active_s + 2.0, abs=0.03), 1)
