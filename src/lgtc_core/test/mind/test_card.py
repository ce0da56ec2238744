"""Model card: it is sealed with the weights, notices every change, and says in words what does not fit."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from lgtc_core.errors import ConfigError, ContractError
from lgtc_core.mind.card import CARD_FILE, ModelCard, check_fits, load_card, write_card
from lgtc_core.world.arena import Arena

FIELDS: dict[str, Any] = {
    "name": "lgtc",
    "created_utc": "2025-01-01T00:00:00Z",
    "network": {"kind": "lgtc", "width": 64, "edge_scorer": True},
    "resource_kinds": 2,
    "max_consumers": 8,
    "message_width": 70,
    "state_width": 65,
    "liquid_width": 64,
    "tick_s": 0.05,
    "communication_radius": 1.0,
    "disc_radius": 0.22,
    "speed_per_s": 1.0,
    "value_range": [-1.5, 6.0],
    "contraction_rate": 0.1,
    "training": {"seed": 3},
    "scores": {"ratio": 0.97},
}
CHANGES: dict[str, Any] = {
    "network": {"kind": "lgtc", "width": 32, "edge_scorer": True},
    "resource_kinds": 3,
    "max_consumers": 9,
    "message_width": 71,
    "state_width": 66,
    "liquid_width": 63,
    "tick_s": 0.1,
    "communication_radius": 0.9,
    "disc_radius": 0.2,
    "speed_per_s": 0.8,
}
ARENA = Arena(half_extent_m=(2.5, 2.5))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "policy.onnx").write_bytes(b"policy weights")
    (tmp_path / "value.onnx").write_bytes(b"value weights")
    return tmp_path


def _card(model: Path, **changes: Any) -> ModelCard:
    return write_card(model, **{**FIELDS, **changes})


def test_a_sealed_card_loads_as_it_was_written(model: Path) -> None:
    card = _card(model)
    assert load_card(model) == card
    assert set(card.weights_sha256) == {"policy.onnx", "value.onnx"}
    assert sorted(path.name for path in model.iterdir()) == [CARD_FILE, "policy.onnx", "value.onnx"]


def test_a_model_without_value_network_is_sealed_too(model: Path) -> None:
    (model / "value.onnx").unlink()
    assert set(_card(model).weights_sha256) == {"policy.onnx"}
    load_card(model)


@pytest.mark.parametrize("field", CHANGES)
def test_every_field_that_users_must_agree_on_changes_the_contract(model: Path, field: str) -> None:
    assert _card(model).contract != _card(model, **{field: CHANGES[field]}).contract


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "other"),
        ("created_utc", "later"),
        ("scores", {}),
        ("training", {"seed": 4}),
        ("contraction_rate", -1.0),
    ],
)
def test_what_does_not_change_the_behaviour_leaves_the_contract(model: Path, field: str, value: Any) -> None:
    assert _card(model).contract == _card(model, **{field: value}).contract


def test_the_contract_does_not_depend_on_the_order_of_keys(model: Path) -> None:
    turned = dict(reversed(FIELDS["network"].items()))
    assert _card(model).contract == _card(model, network=turned).contract


@pytest.mark.parametrize("name", ["policy.onnx", "value.onnx"])
def test_changed_weights_are_noticed_and_change_the_contract(model: Path, name: str) -> None:
    before = _card(model)
    (model / name).write_bytes(b"other weights")
    with pytest.raises(ContractError, match=rf"{name}.*export the model again"):
        load_card(model)
    assert _card(model).contract != before.contract


def test_missing_weights_are_noticed(model: Path) -> None:
    _card(model)
    (model / "policy.onnx").unlink()
    with pytest.raises(ContractError, match=r"policy.onnx: got No such file"):
        load_card(model)


@pytest.mark.parametrize("field", CHANGES)
def test_a_card_edited_by_hand_is_noticed(model: Path, field: str) -> None:
    _card(model)
    data = json.loads((model / CARD_FILE).read_text())
    data[field] = CHANGES[field]
    (model / CARD_FILE).write_text(json.dumps(data))
    with pytest.raises(ContractError, match="not edited by hand"):
        load_card(model)


def test_no_card_and_no_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no card\.json"):
        load_card(tmp_path)
    with pytest.raises(ConfigError, match="no such folder"):
        load_card(tmp_path / "absent")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"colour": "red"}, "colour"),
        ({"resource_kinds": 0}, "resource_kinds"),
        ({"tick_s": 0}, "tick_s"),
        ({"tick_s": "fast"}, "tick_s"),
        ({"state_width": 10}, "liquid_width"),
        ({"format": 2}, "format"),
        ({"value_range": [0]}, "value_range"),
        ({"contraction_rate": math.nan}, "contraction_rate"),
        ({"weights_sha256": {"value.onnx": "0"}}, "weights_sha256"),
        ({"weights_sha256": {"policy.onnx": "0", "../policy.onnx": "0"}}, "weights_sha256.../policy.onnx"),
    ],
)
def test_a_malformed_card_is_refused_with_its_key(model: Path, change: dict[str, Any], key: str) -> None:
    _card(model)
    data = json.loads((model / CARD_FILE).read_text())
    (model / CARD_FILE).write_text(json.dumps({**data, **change}))
    with pytest.raises(ConfigError) as caught:
        load_card(model)
    assert (caught.value.file, caught.value.key) == (str(model / CARD_FILE), key)


@pytest.mark.parametrize("field", sorted(set(FIELDS)))
def test_a_card_without_a_field_is_refused(model: Path, field: str) -> None:
    _card(model)
    data = json.loads((model / CARD_FILE).read_text())
    del data[field]
    (model / CARD_FILE).write_text(json.dumps(data))
    with pytest.raises(ConfigError) as caught:
        load_card(model)
    assert caught.value.key == field


def test_a_card_that_is_not_json_is_refused(model: Path) -> None:
    (model / CARD_FILE).write_text("name: lgtc")
    with pytest.raises(ConfigError, match="well-formed JSON"):
        load_card(model)


@pytest.mark.parametrize(
    "bad", [{"scores": {"ratio": math.nan}}, {"training": {"seed": {1, 2}}}, {"network": {"a": math.inf}}]
)
def test_what_is_not_plain_json_is_refused_and_the_old_card_stays(model: Path, bad: dict[str, Any]) -> None:
    before = _card(model)
    with pytest.raises(ConfigError, match="finite numbers, text"):
        _card(model, **bad)
    assert load_card(model) == before


def test_there_is_nothing_to_seal_without_a_policy(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"policy\.onnx"):
        write_card(tmp_path, **FIELDS)


def test_a_model_flies_where_it_was_trained_to(model: Path) -> None:
    check_fits(_card(model), ARENA, 2, 8, 0.05, radii_m=(0.55, 0.551), max_speeds_mps=(0.3, 2.5))


@pytest.mark.parametrize(
    ("arena", "r", "m", "tick_s", "radii_m", "speeds_mps", "what", "advice"),
    [
        (ARENA, 3, 4, 0.05, (), (), "resource kinds", "train a model for more"),
        (ARENA, 2, 9, 0.05, (), (), "consumers", "fewer places"),
        (ARENA, 2, 4, 0.1, (), (), "tick", "run the policy at 20 Hz"),
        (
            Arena(half_extent_m=(2.5, 2.5), communication_radius=0.5),
            2,
            4,
            0.05,
            (),
            (),
            "communication radius",
            "choose another",
        ),
        (ARENA, 2, 4, 0.05, (0.55, 0.4), (), "radius of a disc", "0.55 m here"),
        (Arena(half_extent_m=(5.0, 2.5)), 2, 4, 0.05, (0.55,), (), "radius of a disc", "1.1 m here"),
        (ARENA, 2, 4, 0.05, (), (1.0, 2.6), "speed", "2.5 m/s here"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(
    model: Path, arena: Arena, r: int, m: int, tick_s: float, radii_m: tuple, speeds_mps: tuple, what: str, advice: str
) -> None:
    with pytest.raises(ContractError) as caught:
        check_fits(_card(model), arena, r, m, tick_s, radii_m=radii_m, max_speeds_mps=speeds_mps)
    assert what in caught.value.what
    assert advice in caught.value.expected
