"""Run folders: what a training run leaves, and how it is read back, without executing anything in it.

RUN_DIR/config.yaml      the experiment, in full
RUN_DIR/origin.json      seed, code version, library versions, machine
RUN_DIR/checkpoint.pt    weights, optimiser, random generators: an interrupted run continues from here
RUN_DIR/best.pt          weights of the best evaluation so far
RUN_DIR/log.jsonl        one line per evaluation
"""

from __future__ import annotations

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
    except (OSError, RuntimeError) as error:
        scratch.unlink(missing_ok=True)
        raise ConfigError(
            str(path), "", f"cannot be written: {error}", "room on the disk; the last checkpoint is kept"
        ) from None


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain data are accepted.

    Raises:
        ConfigError: missing, cut short, or not a checkpoint of ours.
    """
    try:
        content = torch.load(path, weights_only=True)
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
