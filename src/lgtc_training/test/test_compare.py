"""Comparisons of variants: equal size, resumable, and the table says only what was run."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import pytest
from training_cases import EXPERIMENT, WORLDS

from lgtc_core import schema
from lgtc_core.errors import ConfigError
from lgtc_training import compare
from lgtc_training.compare import ComparisonConfig, Variant, experiment, of_size, run_cell, table, trained_parameters
from lgtc_training.ippo import Losses
from lgtc_training.train import Trainer

TINY = dataclasses.replace(
    EXPERIMENT,
    worlds=(dataclasses.replace(WORLDS, worlds=1, ticks=2, agents=(3, 3), consumers=(2, 2)),),
    steps=1,
    evaluate_every=0,
)
WITHOUT = Variant("without x", network={"liquid": False})
CONFIG = ComparisonConfig(TINY, (Variant("with x"), WITHOUT), evaluation_worlds=1, evaluation_seeds=1)
SHIPPED = sorted((Path(__file__).parents[3] / "config" / "ablation").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_comparison_is_valid_and_its_variants_have_equal_size_within_one_percent(path: Path) -> None:
    config = schema.load(ComparisonConfig, path)
    wanted = trained_parameters(config.base.network)
    sizes = {}
    for variant in config.variants:
        network = experiment(config, variant, 0).network
        sizes[variant.name] = sizes.get(network) or trained_parameters(network)
    assert all(abs(size - wanted) <= 0.01 * wanted for size in sizes.values()), sizes


def test_a_network_without_x_trains_fewer_weights_until_its_head_is_widened() -> None:
    whole = trained_parameters(TINY.network)
    bare = dataclasses.replace(TINY.network, liquid=False)
    assert trained_parameters(bare) < whole
    widened = of_size(bare, whole)
    assert abs(trained_parameters(widened) - whole) < 0.05 * whole
    assert widened.head[0] > bare.head[0]
    assert of_size(TINY.network, whole) == TINY.network


def test_a_finished_cell_is_not_run_again_and_the_table_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert table(CONFIG, tmp_path).count("not run") == 2
    result = run_cell(CONFIG, WITHOUT, 3, tmp_path / "without x" / "3")
    assert result["x_zeroed"] is None
    assert result["steps"] == TINY.worlds[0].ticks
    monkeypatch.setattr(compare, "train", None)  # to train again would fail
    assert run_cell(CONFIG, WITHOUT, 3, tmp_path / "without x" / "3") == result
    rows = table(CONFIG, tmp_path).splitlines()
    assert "| with x | 0 | | not run" in rows[2]
    assert f"| without x | 1 | {result['parameters']} | {result['scores']['ratio']:.3f} |" in rows[3]
    other = json.loads(json.dumps(result))
    other["scores"]["ratio"] += 0.2
    (tmp_path / "without x" / "4").mkdir()
    (tmp_path / "without x" / "4" / compare.RESULT).write_text(json.dumps(other))
    assert f"{result['scores']['ratio'] + 0.1:.3f} +- 0.100" in table(CONFIG, tmp_path)


def test_a_cell_that_is_stopped_is_not_scored_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterate = Trainer.iterate

    def interrupted(trainer: Trainer) -> tuple[Losses, float]:
        os.kill(os.getpid(), signal.SIGINT)
        return iterate(trainer)

    longer = dataclasses.replace(CONFIG, base=dataclasses.replace(TINY, steps=3))
    monkeypatch.setattr(Trainer, "iterate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_cell(longer, WITHOUT, 0, tmp_path)
    assert not (tmp_path / compare.RESULT).exists()
    monkeypatch.undo()
    assert run_cell(longer, WITHOUT, 0, tmp_path)["steps"] == 4


def test_a_variant_that_contradicts_itself_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"variant bad.*features_"):
        experiment(CONFIG, Variant("bad", network={"features_": 3}), 0)
    with pytest.raises(ConfigError, match="a name of its own"):
        ComparisonConfig(TINY, (WITHOUT, WITHOUT))
    with pytest.raises(ConfigError, match="a name that can be a folder's"):
        ComparisonConfig(TINY, (Variant("../x"),))
