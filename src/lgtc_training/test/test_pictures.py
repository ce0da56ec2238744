"""The pictures of a training run show what was logged and flown, and stay small."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from training_cases import EXPERIMENT, WORLDS

from lgtc_core.errors import ConfigError
from lgtc_training import checkpoint, pictures
from lgtc_training.evaluate import standard_worlds

ROW = {
    "update": 1, "steps": 1000, "seconds": 60.0, "agreement": 0.5, "hand_over": 0.7, "satisfaction_N10_M4": 0.9,
    "ratio_N10_M4": 0.8, "ratio_N10_M8": 0.7, "ratio_N30_M8": 0.7,
}  # fmt: skip


def test_the_learning_curve_is_drawn_from_the_log_and_a_run_without_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"log\.jsonl"):
        pictures.learning_curve(tmp_path, tmp_path / "curve.png")
    drawn = []
    for last in (0.8, 0.2):
        rows = [ROW, {**ROW, "steps": 2000, "ratio_N10_M4": last}]
        (tmp_path / checkpoint.LOG).write_text("".join(json.dumps(row) + "\n" for row in rows))
        pictures.learning_curve(tmp_path, tmp_path / "curve.png")
        drawn.append(np.asarray(Image.open(tmp_path / "curve.png")))
    assert drawn[0].shape == drawn[1].shape
    assert (drawn[0] != drawn[1]).any()


def test_the_map_has_a_figure_for_every_pair_that_can_be_flown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAP_AGENTS", (3, 5))
    monkeypatch.setattr(pictures, "MAP_CONSUMERS", (2, 4))
    policy, _ = checkpoint.networks(EXPERIMENT)
    figures = pictures.generalisation(policy, WORLDS, EXPERIMENT.rewards, 1)
    assert set(figures) == {(3, 2), (5, 2), (5, 4)}
    assert all(np.isfinite(pair).all() for pair in figures.values())
    pictures.generalisation_map(figures, "N 3 to 6 with M 2 to 4", tmp_path / "map.png")
    assert Image.open(tmp_path / "map.png").size == (800, 320)


def test_the_episode_is_a_small_animation_in_which_agents_move_and_the_lost_vanish(tmp_path: Path) -> None:
    policy, _ = checkpoint.networks(EXPERIMENT)
    config = dataclasses.replace(standard_worlds(WORLDS, 4, 2, 1), ticks=12)
    count = pictures.episode(policy, config, EXPERIMENT.rewards, 5, tmp_path / "episode.gif")
    image = Image.open(tmp_path / "episode.gif")
    assert count == image.n_frames == 6
    first = np.asarray(image.convert("RGB"))
    image.seek(5)
    assert (first != np.asarray(image.convert("RGB"))).any()
    assert (tmp_path / "episode.gif").stat().st_size < 100_000
    world = pictures.World(config, EXPERIMENT.rewards, 5, ())
    choice = [0] * 4
    full = np.asarray(pictures._frame(world, choice, 160))
    world.lose(torch.tensor([[True, True, True, True]]))
    assert (np.asarray(pictures._frame(world, choice, 160)) != full).any()
