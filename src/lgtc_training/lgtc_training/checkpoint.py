"""Run folders: what a training run leaves, and how it is read back, without executing anything in it.

RUN_DIR/config.yaml      the experiment, in full
RUN_DIR/origin.json      per start of the run: seed, code version, every library's version, machine, what was changed
RUN_DIR/checkpoint.pt    weights, optimiser, random generators: an interrupted run continues from here
RUN_DIR/best.pt          weights of the best evaluation so far
RUN_DIR/log.jsonl        one line per evaluation
"""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lgtc_core import schema
from lgtc_core.errors import ConfigError, ContractError
from lgtc_training.configuration import ExperimentConfig
from lgtc_training.networks import LgtcNetwork

CONFIG, CHECKPOINT, BEST, LOG, ORIGIN = "config.yaml", "checkpoint.pt", "best.pt", "log.jsonl", "origin.json"


@dataclass(frozen=True)
class Run:
    """A training run read back."""

    config: ExperimentConfig
    policy: LgtcNetwork
    value: LgtcNetwork
    scores: dict[str, Any]
    value_moments: tuple[float, float]
    """(mean, deviation) that turn the value network's answer into rewards."""


def networks(config: ExperimentConfig) -> tuple[LgtcNetwork, LgtcNetwork]:
    """(policy, value) networks of an experiment, freshly initialised."""
    return LgtcNetwork(config.network, 4), LgtcNetwork(config.value_network or config.network, 1)


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint in one step: after a crash or on a full disk the old one is still whole.

    Raises:
        ConfigError: the disk took not all of it.
    """
    scratch = path.with_suffix(".new")
    try:
        torch.save(content, scratch)
        os.replace(scratch, path)
    except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError on a full disk
        scratch.unlink(missing_ok=True)
        raise ConfigError(
            str(path), "", f"cannot be written: {error}", "room on the disk; the last checkpoint is kept"
        ) from None


def write(path: Path, text: str, append: bool = False) -> None:
    """Write a text file of a run.

    Raises:
        ConfigError: the disk took not all of it.
    """
    try:
        with path.open("a" if append else "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be written: {error}", "room on the disk") from None


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, one mapping per evaluation; a last line that a crash cut short is left out.

    Raises:
        ConfigError: there is no log, or a line in the middle is not ours.
    """
    path = folder / LOG
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(str(path), "", error.strerror or str(error), "the log of a training run") from None
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            if number < len(lines):
                raise ConfigError(str(path), f"line {number}", repr(line[:40]), "one JSON mapping per line") from None
    return rows


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain data are accepted.

    Raises:
        ConfigError: missing, cut short, or not a checkpoint of ours.
    """
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise ConfigError(str(path), "", "no such file", "a checkpoint written by lgtc_training.train") from None
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise ConfigError(
            str(path),
            "",
            f"unreadable: {(str(error) or type(error).__name__).splitlines()[0]}",
            "a checkpoint of lgtc_training",
        ) from None
    if not isinstance(content, dict) or "policy" not in content:
        raise ConfigError(str(path), "", "other content", "a checkpoint written by lgtc_training.train")
    return content


def restore(network: LgtcNetwork, weights: dict[str, Any], where: str) -> None:
    """Load weights into a network.

    Raises:
        ContractError: they belong to another architecture.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ContractError(
            where, f"weights of another architecture ({' '.join(str(error).split())[:200]})", "those of its config.yaml"
        ) from None


def load_run(folder: Path, best: bool = True) -> Run:
    """Read a run's networks: the best evaluated ones, or with `best` false the last ones."""
    config = schema.load(ExperimentConfig, folder / CONFIG)
    path = folder / BEST if best and (folder / BEST).exists() else folder / CHECKPOINT
    content = load(path)
    policy, value = networks(config)
    restore(policy, content["policy"], str(path))
    restore(value, content["value"], str(path))
    return Run(config, policy.eval(), value.eval(), content.get("scores", {}), tuple(content["value_moments"]))
