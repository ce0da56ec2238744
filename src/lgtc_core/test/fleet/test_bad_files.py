"""Bad fleet and scenario files: each one is refused with the file, the key, what stands there and what may
stand there."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from lgtc_core.errors import ConfigError
from lgtc_core.fleet.team import load_team

FLEET, SCENARIO = "fleet.yaml", "scenario.yaml"

GOOD: dict[str, dict[str, Any]] = {
    FLEET: {
        "kinds": ["battery", "parcel"],
        "arena": {"half_extent_m": [2.5, 2.5], "flight_height_m": 1.0},
        "all": {"max_speed_mps": 0.5},
        "types": {"crazyflie": {"safety_distance_m": 0.25, "battery": {"capacity_mah": 250}}, "big": {}},
        "default_type": "crazyflie",
        "drones": {
            "cf1": {"start_m": [-1, 0]},
            "cf2": {"start_m": [0, 0], "type": "big"},
            "cf3": {"start_m": [1, 0], "climb_speed_mps": 0.4},
        },
    },
    SCENARIO: {
        "title": "test",
        "consumers": {
            "north": {"position_m": [0, 1.5], "demand": {"battery": {"amount": 0.5, "depletion": "zero_depletion"}}},
            "south": {"position_m": [0, -1.5], "demand": {"parcel": {"amount": 0.5, "depletion": "instantaneous"}}},
        },
        "supplies": {"all": {"battery": 1.0}, "cf1": {"parcel": 0.5}},
        "events": [
            {"at_s": 5.0, "set_supply": {"drone": "cf1", "kind": "battery", "amount": 0.5}},
            {"at_s": 10.0, "remove_consumer": "south"},
        ],
        "duration_s": 30.0,
        "settle_s": 3.0,
    },
}
EAST = {"name": "east", "position_m": [1.5, 0], "demand": {"parcel": {"amount": 1, "depletion": "instantaneous"}}}


class Bad(NamedTuple):
    """One mutation of the good files and what must be said about it."""

    file: str
    change: Callable[[dict[str, Any]], Any]
    key: str
    expected: str


def put(file: str, path: str, value: Any, key: str | None = None, expected: str = "") -> Bad:
    """`value` at `path` of `file`."""

    def change(data: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for name in parents:
            data = data[int(name)] if isinstance(data, list) else data[name]
        data[last] = value

    return Bad(file, change, path if key is None else key, expected)


def drop(file: str, path: str, expected: str = "") -> Bad:
    """`path` of `file` missing."""

    def change(data: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for name in parents:
            data = data[name]
        del data[last]

    return Bad(file, change, path, expected)


def event(content: dict[str, Any], key: str, expected: str = "") -> Bad:
    """One more event, as the third, at 12 s unless it says when."""
    return Bad(SCENARIO, lambda data: data["events"].append({"at_s": 12.0, **content}), f"events[2]{key}", expected)


NAN, INF = float("nan"), float("inf")

BAD = [
    # unknown, missing and misspelt keys
    put(FLEET, "dornes", {}, expected="one of kinds, arena"),
    put(FLEET, "arena.radius", 1, expected="communication_radius"),
    put(FLEET, "all.max_speed", 1, expected="max_speed_mps"),
    put(FLEET, "types.crazyflie.start_m", [0, 0], expected="one of max_speed_mps"),
    put(FLEET, "types.crazyflie.battery.mah", 250, expected="capacity_mah"),
    put(FLEET, "drones.cf2.colour", "red", expected="start_m"),
    put(SCENARIO, "places", {}, expected="consumers"),
    put(SCENARIO, "consumers.north.demands", {}, expected="demand"),
    put(SCENARIO, "consumers.north.demand.battery.kind", 1, expected="amount, depletion"),
    drop(FLEET, "kinds", "a list"),
    drop(FLEET, "arena", "a mapping"),
    drop(FLEET, "arena.half_extent_m", "a list of 2"),
    drop(FLEET, "types", "a mapping"),
    drop(FLEET, "drones.cf3.start_m", "a list of 2"),
    drop(SCENARIO, "title", "text"),
    drop(SCENARIO, "consumers", "a mapping"),
    drop(SCENARIO, "duration_s", "at least 1 s".replace("at least 1", "between 1 and 1e+06")),
    drop(SCENARIO, "consumers.north.demand", "a mapping"),
    # wrong types
    put(FLEET, "kinds", "battery", expected="a list"),
    put(FLEET, "arena", [2.5, 2.5], expected="a mapping"),
    put(FLEET, "arena.half_extent_m", 2.5, expected="a list of 2"),
    put(FLEET, "all.max_speed_mps", "fast", expected="a number"),
    put(FLEET, "drones", ["cf1"], expected="a mapping"),
    put(FLEET, "drones.cf1", None, expected="a mapping"),
    put(FLEET, "drones.cf1.type", 7, expected="one of crazyflie, big"),
    put(FLEET, "count", "many", expected="a whole number"),
    put(SCENARIO, "title", 3, expected="text"),
    put(SCENARIO, "consumers", [], expected="a mapping"),
    put(SCENARIO, "consumers.north.position_m", {"x": 0, "y": 1}, expected="a list of 2"),
    put(SCENARIO, "consumers.north.demand.battery.depletion", "sometimes", expected="instantaneous, zero_depletion"),
    put(SCENARIO, "supplies.cf1", 0.5, expected="a mapping"),
    put(SCENARIO, "duration_s", True, expected="a number"),
    put(SCENARIO, "seed", 1.5, expected="a whole number"),
    # out of range, in a wrong unit, not finite
    put(FLEET, "arena.half_extent_m", [2500, 0], "arena.half_extent_m[1]", "between 0.1 and 10000 m"),
    put(FLEET, "arena.flight_height_m", 100, expected="between height_min_m (0.3 m) and height_max_m (2 m)"),
    put(FLEET, "arena.height_max_m", 0.2, expected="more than height_min_m"),
    put(FLEET, "arena.communication_radius", 0, expected="normalised"),
    put(FLEET, "all.max_speed_mps", 100, expected="between 0.05 and 20 m/s"),
    put(FLEET, "all.max_speed_mps", NAN, expected="m/s"),
    put(FLEET, "types.crazyflie.safety_distance_m", 100.0, expected="between 0.05 and 50 m"),
    put(FLEET, "drones.cf3.climb_speed_mps", -0.4, expected="m/s"),
    put(FLEET, "drones.cf1.start_m", [0, INF], "drones.cf1.start_m[1]", "m"),
    put(FLEET, "count", 0, expected="between 1 and 1000"),
    put(FLEET, "all.battery", {"land_charge": 0.9}, "all.battery.land_charge", "between critical_charge"),
    put(SCENARIO, "duration_s", 0, expected="s"),
    put(SCENARIO, "settle_s", -1, expected="s"),
    put(SCENARIO, "consumers.north.radius_m", 0, expected="between 0.01 and 1000 m"),
    put(SCENARIO, "consumers.north.demand.battery.amount", -0.5, expected="between 0"),
    put(SCENARIO, "consumers.north.demand.battery.amount", NAN, expected="between 0"),
    put(SCENARIO, "supplies.cf1.parcel", -1, expected="between 0"),
    put(SCENARIO, "supplies.cf1.battery", 80, expected="between 0 and 1, as this kind is a battery"),
    put(SCENARIO, "supplies.all.battery", 1.2, expected="between 0 and 1, as this kind is a battery"),
    # names
    put(FLEET, "kinds", [], expected="at least one name"),
    put(FLEET, "kinds", ["battery", "battery"], "kinds[1]", "every kind once"),
    put(FLEET, "kinds", ["battery", "my parcel"], "kinds[1]", "a letter first"),
    put(FLEET, "kinds", ["parcel"], "all.battery_kind", "one of the kinds parcel, or null"),
    put(FLEET, "drones.1st", {"start_m": [2, 2]}, expected="a letter first"),
    put(FLEET, "drones.cf 4", {"start_m": [2, 2]}, expected="a letter first"),
    put(FLEET, "drones.demand", {"start_m": [2, 2]}, expected="any other name"),
    put(FLEET, "drones.all", {"start_m": [2, 2]}, expected="any other name"),
    put(FLEET, "drones", {1: {"start_m": [2, 2]}}, expected="keys that are text"),
    put(FLEET, "types.a/b", {}, expected="a letter first"),
    put(FLEET, "name_prefix", "/", expected="a letter first"),
    put(SCENARIO, "consumers.the north", EAST, "consumers.the north.name", "one of position_m"),
    put(SCENARIO, "consumers.least_served", GOOD[SCENARIO]["consumers"]["south"], expected="another name"),
    # references
    put(FLEET, "types", {}, expected="at least one"),
    put(FLEET, "default_type", "huge", expected="one of crazyflie, big"),
    put(FLEET, "default_type", None, "drones.cf1.type", "one of crazyflie, big"),
    put(FLEET, "drones.cf2.type", "huge", expected="one of crazyflie, big"),
    put(FLEET, "drones.cf2.battery_kind", "petrol", expected="one of the kinds battery, parcel, or null"),
    put(SCENARIO, "drones", ["cf1", "cf9"], "drones[1]", "one of cf1, cf2, cf3 of"),
    put(SCENARIO, "drones", ["cf1", "cf2", "cf1"], "drones[2]", "every drone once"),
    put(SCENARIO, "drones", [], expected="at least one drone"),
    put(SCENARIO, "supplies.cf9", {"parcel": 1}, expected="all, or one of cf1, cf2, cf3"),
    put(SCENARIO, "supplies.cf1.coffee", 1, expected="one of battery, parcel"),
    put(
        SCENARIO,
        "consumers.north.demand.coffee",
        {"amount": 1, "depletion": "instantaneous"},
        expected="battery, parcel",
    ),
    put(SCENARIO, "consumers.north.demand", {}, expected="at least one of the kinds"),
    put(
        SCENARIO,
        "consumers.north.demand.battery.depletion",
        "instantaneous",
        expected="a drone's own battery cannot be handed over",
    ),
    # places
    put(FLEET, "drones.cf1.start_m", [-3, 0], expected="a place in the arena"),
    put(FLEET, "drones.cf2.start_m", [-0.9, 0], expected="at least the safety distance of 0.25 m"),
    put(FLEET, "drones.cf2.start_m", [1, 0], "drones.cf3.start_m", "at least the safety distance"),
    put(SCENARIO, "consumers.north.position_m", [0, 3], expected="a place in the arena"),
    put(SCENARIO, "consumers.south.position_m", [0, 0.5], expected="discs apart"),
    # counts
    put(FLEET, "drones", {}, expected="at least one drone, or a `count`"),
    put(FLEET, "count", 500, expected="fewer drones, a smaller spacing_m or a larger arena"),
    Bad(SCENARIO, lambda data: data.update(drones=["cf1"], count=2), "count", "one of them"),
    Bad(SCENARIO, lambda data: data.update(consumers={}, events=[]), "consumers", "at least one place"),
    # events
    put(SCENARIO, "events", {"at_s": 5}, expected="a list"),
    event({}, "", "exactly one of set_supply"),
    event({"remove_consumer": "north", "add_consumer": EAST}, "", "exactly one of set_supply"),
    event({"at_s": -1, "remove_consumer": "north"}, ".at_s", "s"),
    event({"at_s": 31, "remove_consumer": "north"}, ".at_s", "at most duration_s (30 s)"),
    event({"explode": True}, ".explode", "set_supply"),
    event({"remove_consumer": "west"}, ".remove_consumer", "one that exists at that time: north"),
    event({"remove_consumer": "south"}, ".remove_consumer", "one that exists at that time: north"),
    event({"add_consumer": {**EAST, "name": "north"}}, ".add_consumer.name", "a new name"),
    event({"change_consumer": EAST}, ".change_consumer.name", "one that exists at that time"),
    event({"add_consumer": {**EAST, "position_m": [0, 1]}}, ".add_consumer.position_m", "discs apart"),
    event({"at_s": 6, "add_consumer": {**EAST, "position_m": [0, -1]}}, ".add_consumer.position_m", "discs apart"),
    event({"add_consumer": {**EAST, "position_m": [9, 0]}}, ".add_consumer.position_m", "a place in the arena"),
    event({"add_consumer": {**EAST, "name": "far east"}}, ".add_consumer.name", "a letter first"),
    event({"set_supply": {"kind": "battery", "amount": 0}}, ".set_supply.drone", "one of them"),
    event(
        {"set_supply": {"drone": "cf1", "server_of": "north", "kind": "battery", "amount": 0}},
        ".set_supply.drone",
        "one of them",
    ),
    event({"set_supply": {"drone": "cf9", "kind": "battery", "amount": 0}}, ".set_supply.drone", "one that flies"),
    event(
        {"set_supply": {"drone": "cf1", "kind": "coffee", "amount": 0}}, ".set_supply.kind", "one of battery, parcel"
    ),
    event({"set_supply": {"drone": "cf1", "kind": "battery", "amount": 2}}, ".set_supply.amount", "between 0 and 1"),
    event({"set_supply": {"drone": "cf1", "kind": "battery"}}, ".set_supply.amount", "a number"),
    event(
        {"set_supply": {"server_of": "south", "kind": "battery", "amount": 0}},
        ".set_supply.server_of",
        "one that exists at that time: north",
    ),
]


def _write(folder: Path, files: dict[str, dict[str, Any]]) -> tuple[Path, Path]:
    for name, data in files.items():
        (folder / name).write_text(yaml.safe_dump(data, sort_keys=False))
    return folder / FLEET, folder / SCENARIO


def test_the_good_files_are_good_and_the_bad_ones_enough(tmp_path: Path) -> None:
    team = load_team(*_write(tmp_path, GOOD))
    assert team.names == ("cf1", "cf2", "cf3")
    assert len(BAD) >= 50


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: f"{bad.file}-{bad.key}")
def test_a_bad_file_is_refused_with_file_key_got_and_expected(tmp_path: Path, bad: Bad) -> None:
    files = copy.deepcopy(GOOD)
    bad.change(files[bad.file])
    with pytest.raises(ConfigError) as caught:
        load_team(*_write(tmp_path, files))
    error = caught.value
    assert error.file == str(tmp_path / bad.file)
    assert error.key == bad.key
    assert error.got
    assert bad.expected in error.expected
    assert str(error) == f"{error.file}: {error.key}: got {error.got}; expected {error.expected}"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (FLEET, "drones:\n  cf1: {start_m: [0, 0]}\n  cf1: {start_m: [1, 0]}\n", "'cf1' stands twice"),
        (SCENARIO, "title: a\ntitle: b\n", "'title' stands twice"),
        (SCENARIO, "consumers:\n  north: {}\n  north: {}\n", "'north' stands twice"),
        (FLEET, "kinds: [battery\n", "well-formed YAML"),
        (FLEET, "", "a mapping"),
        (SCENARIO, "- title: a\n", "a mapping"),
        (SCENARIO, "title: !!python/object/apply:os.getcwd []\n", "well-formed YAML"),
    ],
)
def test_a_file_that_is_not_a_plain_mapping_with_each_key_once_is_refused(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    paths = _write(tmp_path, GOOD)
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_team(*paths)
    assert caught.value.file == str(tmp_path / name)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", [FLEET, SCENARIO])
def test_a_file_that_is_missing_or_not_text_is_refused(tmp_path: Path, name: str) -> None:
    paths = _write(tmp_path, GOOD)
    (tmp_path / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_team(*paths)
    (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match="No such file"):
        load_team(*paths)
