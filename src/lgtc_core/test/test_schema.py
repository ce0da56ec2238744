"""Schema: every refusal names file, key, got and expected; what is accepted survives a round trip."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from lgtc_core import schema
from lgtc_core.errors import ConfigError
from lgtc_core.schema import Bounds


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Motor:
    thrust_n: Annotated[float, Bounds(0.0, 1.0, "N"), "Largest thrust"]
    reversed: bool = False


@dataclass(frozen=True)
class Drone:
    start_m: Annotated[tuple[float, float], Bounds(-5.0, 5.0, "m"), "Where it stands"]
    motors: tuple[Motor, ...] = ()
    colour: Colour = Colour.RED
    mode: Literal["fast", "slow"] = "slow"
    supply: Mapping[str, Annotated[float, Bounds(0.0, math.inf)]] = schema.dataclasses.field(default_factory=dict)
    count: Annotated[int, Bounds(1, 9)] | None = None
    note: Any = None

    def __post_init__(self) -> None:
        if self.start_m == (0.0, 0.0):
            raise ConfigError("", "start_m", "the origin", "any other place")


GOOD = {
    "start_m": [1, 2.5],
    "motors": [{"thrust_n": 0.5}, {"thrust_n": 1, "reversed": True}],
    "colour": "blue",
    "mode": "fast",
    "supply": {"parcel": 2},
    "count": 3,
    "note": {"free": ["form"]},
}


def test_a_model_survives_dump_and_build() -> None:
    drone = schema.build(Drone, GOOD, "fleet.yaml")
    assert schema.build(Drone, schema.dump(drone), "again") == drone
    assert drone.motors[1].thrust_n == 1.0
    assert isinstance(drone.motors[1].thrust_n, float)


@pytest.mark.parametrize(
    ("change", "key", "expected"),
    [
        ({"strat_m": [0, 1]}, "strat_m", "one of start_m"),
        ({"start_m": [0, 9]}, "start_m[1]", "between -5 and 5 m"),
        ({"start_m": [0, math.nan]}, "start_m[1]", "between"),
        ({"start_m": [0]}, "start_m", "a list of 2"),
        ({"start_m": "here"}, "start_m", "a list of 2"),
        ({"start_m": [0, 0]}, "start_m", "any other place"),
        ({"motors": [{"thrust_n": 2}]}, "motors[0].thrust_n", "between 0 and 1 N"),
        ({"motors": [{}]}, "motors[0].thrust_n", "a number"),
        ({"motors": [{"thrust_n": True}]}, "motors[0].thrust_n", "a number"),
        ({"motors": [{"thrust_n": "1"}]}, "motors[0].thrust_n", "a number"),
        ({"motors": [{"thrust_n": 1, "reversed": 1}]}, "motors[0].reversed", "true or false"),
        ({"colour": "green"}, "colour", "one of red, blue"),
        ({"mode": "idle"}, "mode", "one of fast, slow"),
        ({"supply": {"parcel": -1}}, "supply.parcel", "at least 0"),
        ({"supply": [1]}, "supply", "a mapping"),
        ({"supply": {1: 1}}, "supply", "keys that are text"),
        ({"count": 0}, "count", "between 1 and 9"),
        ({"count": 1.5}, "count", "a whole number"),
    ],
)
def test_a_bad_value_is_refused_with_file_key_and_expectation(change: dict, key: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        schema.build(Drone, {**GOOD, **change}, "fleet.yaml", "drones.cf1")
    assert caught.value.file == "fleet.yaml"
    assert caught.value.key == f"drones.cf1.{key}"
    assert expected in caught.value.expected
    assert caught.value.got


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match=r"fleet.yaml: start_m: got no such key; expected a list of 2"):
        schema.build(Drone, {}, "fleet.yaml")


def test_a_duplicate_key_in_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text("a: 1\nb: 2\na: 3\n")
    with pytest.raises(ConfigError, match="'a' stands twice"):
        schema.load_yaml(path)


def test_exponents_without_a_point_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "numbers.yaml"
    path.write_text("a: 1e-3\nb: -2E5\nc: 1.5e2\n")
    assert schema.load_yaml(path) == {"a": 1e-3, "b": -2e5, "c": 150.0}


@pytest.mark.parametrize("text", ["a: [1", "a: !!python/object:os.system {}", "\tx: 1"])
def test_what_is_not_plain_yaml_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        schema.load_yaml(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        schema.load_yaml(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="No such file"):
        schema.load_json(tmp_path / "absent.json")


def test_fields_tell_bounds_and_sentence() -> None:
    start, *_ = schema.fields_of(Drone)
    assert (start.name, start.bounds, start.sentence) == ("start_m", Bounds(-5.0, 5.0, "m"), "Where it stands")
