"""The demand server and a mind are killed in flight: the ledger carries deliveries and supplies over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import yaml

from lgtc_core import topics, wire
from lgtc_core.demand.ledger import LedgerReader
from lgtc_core.flight.phases import MissionPhase

pytestmark = pytest.mark.ros

CARRIED = {"cf1": 0.75, "cf2": 0.5}
DEMAND = {"parcel": {"amount": 5.0, "depletion": "instantaneous"}}
SCENARIO = {
    "consumers": {
        "west": {"position_m": [-1.4, 0.0], "demand": DEMAND},
        "east": {"position_m": [1.4, 0.0], "demand": DEMAND},
    },
    "supplies": {name: {"parcel": amount} for name, amount in CARRIED.items()},
    "duration_s": 200.0,
}


def test_a_restarted_demand_server_and_a_restarted_mind_go_on_from_the_ledger(swarm: Callable[..., Any]) -> None:
    team = swarm(scenario=SCENARIO)
    ledger = team.folder / "ledger.sqlite"
    fleet = yaml.safe_load((team.folder / "fleet.yaml").read_text())
    (team.folder / "fleet.yaml").write_text(yaml.safe_dump({**fleet, "kinds": ["battery", "parcel"]}))
    params = yaml.safe_load((team.folder / "params.yaml").read_text())
    params["/demand_server"]["ros__parameters"]["ledger_file"] = str(ledger)
    (team.folder / "params.yaml").write_text(yaml.safe_dump(params))
    views: list[Any] = []
    supplies: dict[str, list[float]] = {}
    team.watch(topics.DEMAND, lambda message: views.append(wire.demand_from_wire(message)))
    for name in CARRIED:
        team.watch(
            topics.RESOURCES,
            lambda message, name=name: supplies.setdefault(name, []).append(float(message.supply[1])),
            name,
        )

    def delivered() -> float:
        return sum(float(np.sum(one.demanded - one.remaining)) for one in views[-1].consumers) if views else 0.0

    team.start("simulator", "demand_server", "wings", "minds", "supervisor")
    team.wait_mission(MissionPhase.ACTIVE, 60.0)
    assert all(max(supplies[name]) == pytest.approx(amount) for name, amount in CARRIED.items())
    team.wait("both have delivered", lambda: delivered() > sum(CARRIED.values()) - 1e-3, 60.0)

    server = team.processes["demand_server"]
    server.kill()
    server.wait()
    last = views[-1]
    views.clear()
    team.start("demand_server")
    team.wait("the server is back", lambda: bool(views), 30.0)
    for before, after in zip(last.consumers, views[-1].consumers, strict=True):
        assert after.remaining == pytest.approx(before.remaining)
    assert views[-1].revision > last.revision

    mind = team.processes["minds-cf1"]
    mind.kill()
    mind.wait()
    supplies["cf1"].clear()
    team.start("minds", drones=("cf1",))
    team.wait("the monitor is back", lambda: len(supplies["cf1"]) > 20, 30.0)
    assert max(supplies["cf1"]) == 0.0, "its parcels were handed over before"
    assert delivered() == pytest.approx(sum(CARRIED.values()), abs=1e-3)
    with LedgerReader(ledger) as reader:
        assert reader.check() == []
        accounts = reader.audit().accounts
    for name, amount in CARRIED.items():
        assert accounts.carried(name, 1) + accounts.given[name][1] == pytest.approx(amount)
