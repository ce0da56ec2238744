"""The model card: what an exported model needs from the world to mean what it says, checked wherever it is
loaded.

    contract = sha256( canonical JSON of the fields that two drones, or a drone and its arena, must agree on,
                       hashes of the exported networks included )

``models/<name>/card.json`` lies beside ``policy.onnx`` and ``value.onnx``. A card whose weights or contract
differ does not fly; nor does one that does not fit arena, resource kinds, tick or discs. Messages between
drones carry the contract, so that two models never listen to each other.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from lgtc_core import schema
from lgtc_core.errors import ConfigError, ContractError
from lgtc_core.schema import Bounds
from lgtc_core.world.arena import Arena

CARD_FILE = "card.json"
POLICY_FILE = "policy.onnx"
VALUE_FILE = "value.onnx"

RELATIVE_TOLERANCE = 0.01
"""Arena and model must agree to this: a percent of C, tick or disc is below what flight noise moves."""

Policy = Literal["model", "expert", "greedy"]
"""Who decides in a flight: the exported network, or a yardstick of Section IV at its tick."""

_UNIT = Bounds(1e-3, 10.0, "normalised")
_WIDTH = Bounds(0, 65536)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Contract, origin and scores of one exported model. Lengths are normalised (see `Arena`), times in
    seconds.
    """

    format: Annotated[Literal[1], "Version of this card's layout"] = 1
    name: Annotated[str, "Name of the model, as its folder"]
    created_utc: Annotated[str, "When it was exported, ISO 8601, UTC"]
    network: Annotated[Mapping[str, Any], "The network's switches and widths, as trained (eqs. 4-6 and our additions)"]
    resource_kinds: Annotated[int, Bounds(1, 64), "Largest number r of resource kinds; fewer are padded with zeros"]
    max_consumers: Annotated[int, Bounds(1, 4096), "Largest number M of consumers that the exported graph accepts"]
    message_width: Annotated[int, _WIDTH, "Length D of the message vector between neighbours"]
    state_width: Annotated[int, _WIDTH, "Length H of the recurrent state"]
    liquid_width: Annotated[int, _WIDTH, "Length F of the liquid state x: the first F entries of the recurrent state"]
    tick_s: Annotated[float, Bounds(1e-3, 10.0, "s"), "Time between two decisions (20 Hz in the paper)"]
    communication_radius: Annotated[float, _UNIT, "C of Section II that it was trained with"]
    disc_radius: Annotated[float, _UNIT, "Radius of the interaction area R_m that it was trained with"]
    speed_per_s: Annotated[
        float, Bounds(1e-3, 100.0, "normalised/s"), "Speed of a full action in training; faster was never met"
    ]
    value_range: Annotated[tuple[float, float], "Smallest and largest value that the value network gave in evaluation"]
    contraction_rate: Annotated[
        float, "Certified rate c of eq. (9) [1/tick] for every graph; not positive: no certificate"
    ]
    weights_sha256: Annotated[Mapping[str, str], "SHA-256 of every exported network file beside the card"]
    contract: Annotated[str, "Hash over all that two users of the model must agree on; made by `write_card`"]
    training: Annotated[Mapping[str, Any], "Training configuration, in full"]
    scores: Annotated[Mapping[str, Any], "Measured results, with the seeds and the command that gave them"]

    def __post_init__(self) -> None:
        """Refuse a state shorter than its liquid part, and weights that do not lie beside the card."""
        if self.liquid_width > self.state_width:
            raise ConfigError("", "liquid_width", str(self.liquid_width), f"at most state_width ({self.state_width})")
        if POLICY_FILE not in self.weights_sha256:
            raise ConfigError("", "weights_sha256", f"no entry {POLICY_FILE}", f"the SHA-256 of {POLICY_FILE}")
        for name in self.weights_sha256:
            if Path(name).name != name:
                raise ConfigError("", f"weights_sha256.{name}", "a path", "the name of a file beside the card")


_CONTRACT_FIELDS = (
    "format",
    "network",
    "resource_kinds",
    "max_consumers",
    "message_width",
    "state_width",
    "liquid_width",
    "tick_s",
    "communication_radius",
    "disc_radius",
    "speed_per_s",
    "weights_sha256",
)


def write_card(directory: Path | str, **fields: Any) -> ModelCard:
    """Seal the networks in `directory`: hash them, compute the contract, write ``card.json`` in one step.

    Args:
        directory: folder that holds ``policy.onnx`` and, if exported, ``value.onnx``.
        fields: the fields of `ModelCard` except `weights_sha256` and `contract`.

    Raises:
        ConfigError: a field is missing, wrong, or not plain JSON data; nothing was written.
        ContractError: there is no ``policy.onnx`` to seal.
    """
    directory = Path(directory)
    names = [POLICY_FILE] + [VALUE_FILE] * (directory / VALUE_FILE).exists()
    weights = {name: _sha256(directory / name) for name in names}
    path = directory / CARD_FILE
    draft = schema.build(ModelCard, {**fields, "weights_sha256": weights, "contract": ""}, str(path))
    data = {**schema.dump(draft), "contract": _contract(draft)}
    try:
        text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ConfigError(str(path), "", str(error), "finite numbers, text, lists and mappings only") from None
    card = schema.build(ModelCard, json.loads(text), str(path))
    scratch = path.with_suffix(".json.new")
    scratch.write_text(text, encoding="utf-8")
    os.replace(scratch, path)
    return card


def load_card(directory: Path | str) -> ModelCard:
    """The card of the model in `directory`, after checking that it still describes the files beside it.

    Raises:
        ConfigError: no card, not JSON, or a field is missing, unknown or wrong. ContractError: a network
        file is missing or not the one that was sealed, or the card was changed by hand.
    """
    directory = Path(directory)
    path = directory / CARD_FILE
    if not path.is_file():
        found = f"no {CARD_FILE}" if directory.is_dir() else "no such folder"
        raise ConfigError(str(directory), "", found, "the folder of an exported model; name another or export one")
    card = schema.build(ModelCard, schema.load_json(path), str(path))
    for name, expected in card.weights_sha256.items():
        got = _sha256(directory / name)
        if got != expected:
            raise ContractError(
                str(directory / name),
                f"SHA-256 {got[:12]}...",
                f"{expected[:12]}... as its card says; restore the file or export the model again",
            )
    contract = _contract(card)
    if card.contract != contract:
        raise ContractError(
            f"{path}: contract",
            f"{card.contract[:12] or 'none'}...",
            f"{contract[:12]}..., the hash of what the card says; a card is not edited by hand, export the model again",
        )
    return card


def check_fits(
    card: ModelCard,
    arena: Arena,
    n_kinds: int,
    n_consumers: int,
    tick_s: float,
    *,
    radii_m: Iterable[float] = (),
    max_speeds_mps: Iterable[float] = (),
) -> None:
    """Refuse to fly `card` where it was not trained to fly.

    Args:
        card: the model's card.
        arena: where the team flies; its scale turns metres into the card's units.
        n_kinds: number of resource kinds of the fleet.
        n_consumers: largest number of consumers at one time.
        tick_s: time between two decisions [s].
        radii_m: radii of the interaction discs [m].
        max_speeds_mps: speeds that the drones give to a full action [m/s].

    Raises:
        ContractError: the first disagreement, in words, with what to do about it.
    """
    who = f"model {card.name}"
    if n_kinds > card.resource_kinds:
        raise ContractError(
            f"{who}: resource kinds",
            f"{n_kinds} in the fleet",
            f"at most {card.resource_kinds}; drop kinds from the fleet file or train a model for more",
        )
    if n_consumers > card.max_consumers:
        raise ContractError(
            f"{who}: consumers",
            f"{n_consumers} at one time",
            f"at most {card.max_consumers}; ask for fewer places in the scenario or export a larger model",
        )
    if not _close(tick_s, card.tick_s):
        raise ContractError(
            f"{who}: tick", f"{tick_s:g} s", f"{card.tick_s:g} s as trained; run the policy at {1 / card.tick_s:g} Hz"
        )
    if not _close(arena.communication_radius, card.communication_radius):
        raise ContractError(
            f"{who}: communication radius",
            f"{arena.communication_radius:g} in the fleet's arena",
            f"{card.communication_radius:g} as trained; set arena.communication_radius or choose another model",
        )
    for radius_m in radii_m:
        radius = radius_m / arena.scale_m
        if not _close(radius, card.disc_radius):
            raise ContractError(
                f"{who}: radius of a disc",
                f"{radius_m:g} m, which is {radius:.3g} normalised",
                f"{card.disc_radius:g} normalised as trained, which is {card.disc_radius * arena.scale_m:.4g} m here;"
                " set radius_m in the scenario",
            )
    for speed_mps in max_speeds_mps:
        speed_per_s = speed_mps / arena.scale_m
        if speed_per_s > card.speed_per_s * (1 + RELATIVE_TOLERANCE):
            raise ContractError(
                f"{who}: speed",
                f"max_speed_mps {speed_mps:g} m/s, which is {speed_per_s:.3g} normalised/s",
                f"at most {card.speed_per_s:g} normalised/s as trained, which is"
                f" {card.speed_per_s * arena.scale_m:.4g} m/s here; lower max_speed_mps in the fleet file",
            )


def _close(got: float, expected: float) -> bool:
    return math.isclose(got, expected, rel_tol=RELATIVE_TOLERANCE)


def _contract(card: ModelCard) -> str:
    """Hash over the contract's fields, the same on every machine and for every order of keys."""
    data = schema.dump(card)
    agreed = {name: data[name] for name in _CONTRACT_FIELDS}
    try:
        text = json.dumps(agreed, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(CARD_FILE, "network", str(error), "finite numbers, text, lists and mappings only") from None
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ContractError(
            str(path), error.strerror or str(error), "the network that belongs to the card; export the model again"
        ) from None
