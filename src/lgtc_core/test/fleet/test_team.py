"""Fleet and scenario files: what is shipped resolves, layers win as said, generated drones fit, and a team
survives storage."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgtc_core import schema
from lgtc_core.demand.book import DemandBook
from lgtc_core.demand.view import ConsumerView, DemandView
from lgtc_core.errors import ConfigError, ContractError, InputError
from lgtc_core.fleet.fleet import build_fleet, load_fleet
from lgtc_core.fleet.scenario import LEAST_SERVED, VehicleModel, build_scenario
from lgtc_core.fleet.team import Edit, SupplyChange, Team, check_model, load_team, resolve
from lgtc_core.flight.response import Response
from lgtc_core.mind.card import write_card
from lgtc_core.world import rules

CONFIG = Path(__file__).resolve().parents[4] / "config"
FLEET = CONFIG / "fleet.yaml"
SCENARIOS = sorted((CONFIG / "scenarios").glob("*.yaml"))
FLEETS = sorted(CONFIG.glob("fleet*.yaml"))


def _team(scenario: str, count: int | None = None) -> Team:
    return load_team(FLEET, CONFIG / "scenarios" / f"{scenario}.yaml", count)


def _view(servers: dict[str, tuple[str, ...]]) -> DemandView:
    nothing = np.zeros(1)
    consumers = (
        ConsumerView(name, slot, np.zeros(2), 0.5, nothing, nothing, nothing.astype(int), drones)
        for slot, (name, drones) in enumerate(servers.items())
    )
    return DemandView(1, ("battery",), tuple(consumers))


# ---- what is shipped


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
@pytest.mark.parametrize("fleet", FLEETS, ids=lambda path: path.stem)
def test_every_shipped_scenario_resolves_with_every_shipped_fleet_and_can_be_met(fleet: Path, scenario: Path) -> None:
    team = load_team(fleet, scenario)
    supply = np.sum([drone.supply for drone in team.drones], axis=0)
    for consumers in team.consumers_over_time():
        demanded = np.sum([consumer.demanded for consumer in consumers], axis=0)
        assert (demanded <= supply).all(), f"asks for {demanded} of {supply}"
    DemandBook.for_team(team)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
def test_a_team_survives_storage_as_json(scenario: Path) -> None:
    team = load_team(FLEET, scenario)
    assert Team.from_dict(json.loads(json.dumps(team.to_dict(), allow_nan=False)), "bag") == team


def test_a_stored_team_that_is_damaged_is_refused_with_its_key() -> None:
    data = _team("battery_handover").to_dict()
    data["drones"][2]["max_speed_mps"] = "fast"
    with pytest.raises(ConfigError) as caught:
        Team.from_dict(data, "flight.mcap")
    assert (caught.value.file, caught.value.key) == ("flight.mcap", "drones[2].max_speed_mps")


def test_the_default_scenario_is_the_papers() -> None:
    team = _team("battery_handover")
    assert len(team.drones) == 5
    assert len(team.consumers) == 3
    battery = team.kinds.index("battery")
    assert all(drone.supply[battery] == 1.0 for drone in team.drones)
    assert all(consumer.depletion[battery] == rules.ZERO_DEPLETION for consumer in team.consumers)
    (event,) = team.events
    assert event.at_s == 55.0
    assert event.set_supply == SupplyChange(server_of=LEAST_SERVED, kind="battery", amount=0.0)
    assert team.settle_s is None


def test_a_sole_server_lasts_until_the_default_scenario_ends() -> None:
    """One drone per place must be able to cover it alone until the end, or the flight could not show a
    hand-over."""
    from lgtc_core.flight.battery import CellModel

    team = _team("battery_handover")
    cell = CellModel(team.drones[0].battery)
    take_off_and_margin_s = 20
    for _ in range(int(team.duration_s) + take_off_and_margin_s):
        cell.step(1.0, team.drones[0].battery.hover_power_w)
    assert all(consumer.demanded[0] <= cell.charge for consumer in team.consumers)


def test_first_delivery_mixes_both_depletions_and_ends_when_all_is_met() -> None:
    team = _team("first_delivery")
    asked = {
        depletion
        for consumer in team.consumers
        for amount, depletion in zip(consumer.demanded, consumer.depletion, strict=True)
        if amount > 0
    }
    assert asked == {rules.INSTANTANEOUS, rules.ZERO_DEPLETION}
    assert team.settle_s is not None
    assert team.duration_s <= 60.0


def test_no_drone_starts_inside_a_disc_of_a_shipped_scenario() -> None:
    for path in SCENARIOS:
        team = load_team(FLEET, path)
        for drone in team.drones:
            for consumer in team.consumers:
                assert math.dist(drone.start_m, consumer.position_m) > consumer.radius_m, (path.stem, drone.name)


# ---- layers


GOOD_FLEET: dict[str, Any] = {
    "kinds": ["battery", "parcel"],
    "arena": {"half_extent_m": [2.5, 2.5]},
    "all": {"max_speed_mps": 0.5, "battery": {"warn_charge": 0.5, "capacity_mah": 300}},
    "types": {"small": {"max_speed_mps": 0.6, "battery": {"capacity_mah": 350}}, "plain": {}},
    "default_type": "plain",
    "drones": {
        "a1": {"start_m": [0, 0]},
        "a2": {"start_m": [1, 0], "type": "small"},
        "a3": {"start_m": [2, 0], "type": "small", "max_speed_mps": 0.7, "battery": {"land_charge": 0.3}},
    },
}
GOOD_SCENARIO: dict[str, Any] = {
    "title": "test",
    "consumers": {
        "depot": {
            "position_m": [1.5, 1.5],
            "demand": {"parcel": {"amount": 1, "depletion": "instantaneous"}},
        }
    },
    "duration_s": 30,
}


def _resolve(fleet: dict[str, Any] | None = None, **scenario: Any) -> Team:
    return resolve(
        build_fleet({**GOOD_FLEET, **(fleet or {})}, "fleet.yaml"),
        build_scenario({**GOOD_SCENARIO, **scenario}, "test.yaml"),
    )


def test_later_layers_win_key_by_key_also_inside_the_battery() -> None:
    one, two, three = _resolve().drones
    assert (one.type, two.type, three.type) == ("plain", "small", "small")
    assert (one.max_speed_mps, two.max_speed_mps, three.max_speed_mps) == (0.5, 0.6, 0.7)
    assert [drone.battery.capacity_mah for drone in (one, two, three)] == [300, 350, 350]
    assert [drone.battery.warn_charge for drone in (one, two, three)] == [0.5, 0.5, 0.5]
    assert three.battery.land_charge == 0.3
    assert one.battery.land_charge == two.battery.land_charge != 0.3


def test_a_layer_may_use_levels_that_a_layer_below_made_room_for() -> None:
    """`land_charge` 0.45 is above the default `warn_charge`, but below that of `all`."""
    team = _resolve({"types": {"plain": {"battery": {"land_charge": 0.45}}, "small": {}}})
    assert team.drones[0].battery.land_charge == 0.45


def test_supplies_start_full_then_all_then_the_drones_own() -> None:
    team = _resolve(supplies={"all": {"parcel": 0.5, "battery": 0.9}, "a2": {"parcel": 0.2}})
    assert [drone.supply for drone in team.drones] == [(0.9, 0.5), (0.9, 0.2), (0.9, 0.5)]
    assert [drone.supply for drone in _resolve().drones] == [(1.0, 0.0)] * 3


def test_a_drone_without_battery_kind_starts_empty() -> None:
    assert _resolve({"all": {**GOOD_FLEET["all"], "battery_kind": None}}).drones[0].supply == (0.0, 0.0)


def test_a_scenario_chooses_its_drones_by_name_and_in_its_order() -> None:
    assert _resolve(drones=["a3", "a1"]).names == ("a3", "a1")


def test_what_a_drone_that_stays_at_home_would_carry_may_be_said() -> None:
    assert _resolve(drones=["a1"], supplies={"a2": {"parcel": 1}}).names == ("a1",)


# ---- generated drones


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40))
def test_any_number_of_drones_has_places_apart_inside_and_the_same_every_time(count: int) -> None:
    fleet = load_fleet(FLEET)
    drones = fleet.first(count)
    assert len(drones) == count
    starts = np.array([drone.start_m for drone in drones.values()])
    assert fleet.arena.contains(starts).all()
    gaps = np.linalg.norm(starts[:, None] - starts[None], axis=-1) + 1e9 * np.eye(count)
    assert count == 1 or gaps.min() >= fleet.file.spacing_m - 1e-6
    assert fleet.first(count) == drones
    assert list(fleet.first(count + 1))[:count] == list(drones)


def test_generated_drones_take_free_numbers_and_the_default_type() -> None:
    team = _resolve({"name_prefix": "a"}, count=5)
    assert team.names == ("a1", "a2", "a3", "a4", "a5")
    assert [drone.type for drone in team.drones] == ["plain", "small", "small", "plain", "plain"]


def test_a_count_below_the_fleets_takes_its_first() -> None:
    assert _resolve(count=2).names == ("a1", "a2")


def test_a_fleet_may_be_nothing_but_a_number() -> None:
    assert len(_resolve({"drones": {}, "count": 7}).drones) == 7


def test_the_count_of_the_caller_overrides_the_scenarios() -> None:
    assert len(_team("ten_drones").drones) == 10
    assert len(_team("ten_drones", count=4).drones) == 4
    assert len(_team("battery_handover", count=12).drones) == 12


# ---- events


def test_events_are_in_the_order_of_time_and_checked_in_it() -> None:
    place = {"name": "west", "position_m": [-1, 1], "demand": {"parcel": {"amount": 1, "depletion": "instantaneous"}}}
    team = _resolve(
        events=[
            {"at_s": 20, "remove_consumer": "west"},
            {"at_s": 5, "add_consumer": place},
            {"at_s": 10, "change_consumer": {**place, "position_m": [-1, -1]}},
            {"at_s": 12, "set_supply": {"server_of": "west", "kind": "battery", "amount": 0.1}},
        ]
    )
    edits = [(event.at_s, event.edit.operation) for event in team.events if event.edit is not None]
    assert edits == [(5, Edit.ADD), (10, Edit.CHANGE), (20, Edit.REMOVE)]
    present = [{consumer.name: consumer.position_m for consumer in some} for some in team.consumers_over_time()]
    assert [len(some) for some in present] == [1, 2, 2, 1]
    assert present[2]["west"] == (-1, -1)
    removed = team.events[-1].edit
    assert removed is not None
    assert removed.consumer.position_m == (-1, -1)


def test_the_edits_of_a_scenario_are_all_accepted_by_the_book() -> None:
    team = _team("many")
    book = DemandBook.for_team(team)
    expected = iter(team.consumers_over_time())
    next(expected)
    operations = {Edit.ADD: book.add, Edit.CHANGE: book.change}
    for event in team.events:
        assert event.edit is not None
        if event.edit.operation is Edit.REMOVE:
            assert book.remove(event.edit.consumer.name).accepted
        else:
            assert operations[event.edit.operation](event.edit.consumer).accepted
        assert {consumer.name for consumer in book.view(0.0).consumers} == {spec.name for spec in next(expected)}


def test_a_supply_change_names_the_server_of_a_place_the_first_by_name() -> None:
    change = SupplyChange(server_of="b", kind="battery", amount=0.0)
    assert change.choose(_view({"a": ("cf1",), "b": ("cf4", "cf3")})) == "cf3"
    assert change.choose(_view({"a": ("cf1",), "b": ()})) is None
    assert change.choose(_view({"a": ("cf1",)})) is None


def test_the_least_served_place_is_one_that_somebody_serves() -> None:
    change = SupplyChange(server_of=LEAST_SERVED, kind="battery", amount=0.0)
    assert change.choose(_view({"a": ("cf1", "cf2"), "b": (), "c": ("cf5",), "d": ("cf4",)})) == "cf5"
    assert change.choose(_view({"a": (), "b": ()})) is None


def test_a_supply_change_by_name_needs_nobody_to_serve() -> None:
    assert SupplyChange(drone="cf2", kind="battery", amount=0.0).choose(_view({})) == "cf2"


def test_an_unknown_drone_of_a_team_is_refused_by_name() -> None:
    team = _team("battery_handover")
    assert team.drone("cf3").name == "cf3"
    with pytest.raises(InputError, match=r"'cf9'; expected one of cf1, cf2"):
        team.drone("cf9")


# ---- model


def test_a_model_is_checked_against_all_that_the_flight_will_ask(tmp_path: Path) -> None:
    (tmp_path / "policy.onnx").write_bytes(b"weights")
    fields: dict[str, Any] = {
        "name": "lgtc",
        "created_utc": "2025-01-01T00:00:00Z",
        "network": {},
        "resource_kinds": 2,
        "max_consumers": 4,
        "message_width": 8,
        "state_width": 8,
        "liquid_width": 8,
        "tick_s": 0.05,
        "communication_radius": 1.0,
        "disc_radius": 0.22,
        "speed_per_s": 1.0,
        "value_range": [0, 1],
        "contraction_rate": 0.1,
        "training": {},
        "scores": {},
    }
    card = write_card(tmp_path, **fields)
    for path in SCENARIOS:
        check_model(load_team(FLEET, path), card, 0.05)
    small = write_card(tmp_path, **{**fields, "max_consumers": 3})
    check_model(_team("battery_handover"), small, 0.05)
    with pytest.raises(ContractError, match="consumers: got 4"):
        check_model(_team("many"), small, 0.05)
    slow = write_card(tmp_path, **{**fields, "speed_per_s": 0.3})
    with pytest.raises(ContractError, match="max_speed_mps"):
        check_model(_team("battery_handover"), slow, 0.05)


# ---- whole files at random


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


def _paths(data: Any, path: tuple = ()) -> list[tuple]:
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(below for name, item in children for below in _paths(item, (*path, name)))]


FULL_FLEET = schema.load_yaml(FLEET)
FULL_SCENARIO = schema.load_yaml(CONFIG / "scenarios" / "many.yaml")


@settings(max_examples=300, deadline=None)
@given(st.data(), junk)
def test_whatever_stands_anywhere_in_a_file_it_resolves_or_is_refused_with_file_and_key(data: Any, value: Any) -> None:
    which = data.draw(st.sampled_from(["fleet.yaml", "scenario.yaml"]))
    files = {"fleet.yaml": copy.deepcopy(FULL_FLEET), "scenario.yaml": copy.deepcopy(FULL_SCENARIO)}
    path = data.draw(st.sampled_from(_paths(files[which])[1:]))
    place = files[which]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    outcome: Team | ConfigError
    try:
        outcome = resolve(
            build_fleet(files["fleet.yaml"], "fleet.yaml"), build_scenario(files["scenario.yaml"], "scenario.yaml")
        )
    except ConfigError as error:
        outcome = error
    if isinstance(outcome, Team):
        assert Team.from_dict(json.loads(json.dumps(outcome.to_dict(), allow_nan=False)), "bag") == outcome
    else:
        assert outcome.file in files
        assert outcome.got
        assert outcome.expected


def test_a_drone_responds_as_its_vehicle_does_unless_the_fleet_says_otherwise() -> None:
    scenario = {
        "title": "one place",
        "consumers": {"a": {"position_m": [0, 1], "demand": {"battery": {"amount": 1, "depletion": "zero_depletion"}}}},
        "duration_s": 10.0,
        "vehicle": "crazyflie",
    }
    fleet = {
        "kinds": ["battery"],
        "arena": {"half_extent_m": [2.5, 2.5]},
        "types": {"crazyflie": {}},
        "drones": {"cf1": {"start_m": [0, 0]}, "cf2": {"start_m": [1, 0], "response": {"velocity_lag_s": 0.3}}},
        "vehicle": "kinematic",
    }
    team = resolve(build_fleet(fleet, "fleet"), build_scenario(scenario, "scenario"))
    assert team.vehicle is VehicleModel.CRAZYFLIE
    assert team.drone("cf1").response == VehicleModel.CRAZYFLIE.response
    assert team.drone("cf2").response == Response(velocity_lag_s=0.3)
    assert Team.from_dict(team.to_dict(), "bag") == team
    plain = resolve(build_fleet(fleet, "fleet"), build_scenario({**scenario, "vehicle": None}, "scenario"))
    assert plain.vehicle is VehicleModel.KINEMATIC
    assert plain.drone("cf1").response == Response()
