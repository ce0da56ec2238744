"""Empty a battery at random, in many simulated flights: does the drone come down with margin, does another take over?

    setup/run python bench/battery_emptyings.py --how hand --count 100 --folder runs/emptied_by_hand
    setup/run python bench/battery_emptyings.py --how cell --count 100 --folder runs/empty_cells

Each flight is the hand-over scenario, offline, with its own seed: batteries of 70 to 100 % at the start, and one random
drone, a server or a spare,
    hand    is set to 0 to 11 % of charge, below its landing level, at a random time, as in the paper's Section V: its
            cell stays full, which tells how the others answer;
    cell    starts with a cell that reaches its hand-over level at a random time of the flight, which tells whether
            its place is covered before it goes, and whether it comes down while there is something left.
The same command goes on where it was stopped. From the bag of each:

    order      seconds from the tier LAND to the landing, as the report's check has it
    touchdown  the cell's voltage, under load, in the last moment before the drone is down [V]
    distance   smallest distance of a pair beyond what it must keep, in the air and over those on the ground [m]
    notice     seconds from its announcement that it leaves to its leaving
    gap        seconds without a server at a place whose server landed; none when it was covered before that
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lgtc_analysis import metrics
from lgtc_analysis.bag import read_flight
from lgtc_analysis.flight import Flight
from lgtc_analysis.recording import flight_info, open_bag
from lgtc_bringup import inputs
from lgtc_core import topics
from lgtc_core.fleet.team import Event, SupplyChange, Team, load_team
from lgtc_core.flight.battery import CellModel
from lgtc_core.flight.phases import Tier, VehiclePhase
from lgtc_sim.offline import fly

JUDGED = (topics.POSE, topics.RESOURCES, topics.VEHICLE, topics.DEMAND, topics.MISSION)
"""What tells all that is counted here."""
TAKE_OFF_S = 5.0
"""From the first step to the time when the policies take over, about."""
AFTER_S = 40.0
"""Flown on after the battery was emptied, or at its hand-over level."""


def emptied(team: Team, seed: int, by_hand: bool) -> tuple[Team, str]:
    """The team with its batteries and the emptying of this seed, and who is emptied."""
    chance = random.Random(seed)
    kind = team.kinds.index("battery")
    at_s, name = chance.uniform(8.0, 15.0), chance.choice(team.names)
    drones = []
    for drone in team.drones:
        charge = chance.uniform(0.7, 1.0)
        if drone.name == name and not by_hand:
            level = drone.battery.levels[Tier.HAND_OVER][1]
            cell = CellModel(drone.battery, level)
            per_s = cell.current_a(drone.battery.hover_power_w) / 3.6 / drone.battery.capacity_mah
            charge = level + per_s * (at_s + TAKE_OFF_S)
            # It would not take off with so little: here it may.
            low = replace(drone.battery, arm_charge=charge - 0.01, arm_voltage_v=3.5)
            drone = replace(drone, battery=replace(low, warn_charge=level, hand_over_charge=level))
        supply = list(drone.supply)
        supply[kind] = charge
        drones.append(replace(drone, supply=tuple(supply)))
    change = SupplyChange(drone=name, kind="battery", amount=chance.uniform(0.0, 0.11))
    events = (Event(at_s=at_s, set_supply=change),) if by_hand else ()
    return replace(team, drones=tuple(drones), events=events, duration_s=at_s + AFTER_S, seed=seed), name


def judged(flight: Flight, drone: str) -> dict[str, Any]:
    """Figures of one flight."""
    one = flight.drones[drone]
    asks = one.resources.time_s[one.resources.tier >= Tier.LAND]
    landing = one.vehicle.time_s[one.vehicle.phase == VehiclePhase.LANDING]
    down = one.vehicle.time_s[one.vehicle.phase == VehiclePhase.LANDED]
    touchdown_v = None
    if len(down):
        before = one.resources.time_s < down[0]
        touchdown_v = float(one.resources.battery_voltage_v[before][-1])
    near = [metrics.approach(flight), metrics.approach(flight, one_on_ground=True)]
    margins = [float(np.nanmin(a.pair_m - a.needed_m)) for a in near if np.isfinite(a.pair_m).any()]
    left = [one for one in metrics.handovers(flight) if drone in one.leavers and one.landing]
    return {
        "drone": drone,
        "down": bool(len(down)),
        "order_s": float(landing[0] - asks[0]) if len(asks) and len(landing) else None,
        "touchdown_v": touchdown_v,
        "margin_m": min(margins),
        "notice_s": [round(one.notice_s, 2) for one in left if np.isfinite(one.notice_s)],
        "gaps_s": [one.gap_s if np.isfinite(one.gap_s) else None for one in left],
    }


def main() -> None:
    """Fly, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--how", choices=("hand", "cell"), default="hand")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--folder", type=Path, default=Path("runs/battery_emptyings"))
    parser.add_argument("--model", default=inputs.MODEL)
    arguments = parser.parse_args()
    team = load_team(inputs.fleet_path(inputs.FLEET), inputs.scenario_path("battery_handover"))
    model_dir = inputs.model_path(arguments.model)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    file = arguments.folder / "flights.json"
    flights = json.loads(file.read_text()) if file.exists() else []
    flown = {flight["seed"] for flight in flights}
    for seed in sorted({*range(arguments.first, arguments.first + arguments.count)} - flown):
        changed, drone = emptied(team, seed, arguments.how == "hand")
        bag = arguments.folder / "bag"
        shutil.rmtree(bag, ignore_errors=True)
        info = flight_info(changed, model_dir, "offline", receive_clock="simulated", seed=seed)
        with open_bag(bag, inputs.definitions_dir(), info, 0) as recorder:
            fly(changed, model_dir, recorder=recorder, recorded=JUDGED, positions=False)
        flights.append({"seed": seed, **judged(read_flight(bag), drone)})
        file.write_text(json.dumps(flights, indent=1) + "\n")
        print(json.dumps(flights[-1]), flush=True)
    print(json.dumps(summary(flights), indent=2))


def summary(flights: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of all flights."""
    gaps = [gap for flight in flights for gap in flight["gaps_s"]]
    served = [gap for gap in gaps if gap is not None]
    notices = [notice for flight in flights for notice in flight["notice_s"]]
    volts = [flight["touchdown_v"] for flight in flights if flight["touchdown_v"] is not None]
    orders = [flight["order_s"] for flight in flights if flight["order_s"] is not None]
    return {
        "flights": len(flights),
        "emptied drone down": sum(flight["down"] for flight in flights),
        "landing after the tier, worst [s]": round(max(orders), 2),
        "voltage at touchdown, least [V]": round(min(volts), 3),
        "smallest margin of distance [m]": round(min(flight["margin_m"] for flight in flights), 3),
        "hand-overs": len(gaps),
        "announced before, median [s]": round(float(np.median(notices)), 1) if notices else None,
        "of these without a gap": sum(gap == 0.0 for gap in served),
        "of these with a gap that was closed": sum(gap > 0.0 for gap in served),
        "longest closed gap [s]": round(max(served, default=0.0), 1),
        "never served again": gaps.count(None),
    }


if __name__ == "__main__":
    main()
