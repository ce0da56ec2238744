"""The training run: interrupted, shared, on a stated device, at its end, and on a full disk."""

import dataclasses
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml
from training_cases import EXPERIMENT, WORLDS

from lgtc_core import schema
from lgtc_core.errors import ConfigError
from lgtc_training import checkpoint
from lgtc_training.configuration import ExperimentConfig
from lgtc_training.ippo import DivergenceError, Losses
from lgtc_training.processes import Processes
from lgtc_training.train import Trainer, chosen_device, differences, origin, progress, train

SMALL = dataclasses.replace(
    EXPERIMENT,
    worlds=tuple(dataclasses.replace(group, worlds=2, ticks=6) for group in EXPERIMENT.worlds),
    steps=4 * 24,
    evaluate_every=2,
    evaluation_worlds=2,
)
"""Four updates of 24 snapshots, an evaluation after every second."""


def start(config: ExperimentConfig, folder: Path, *launcher: str) -> subprocess.Popen[bytes]:
    """The training program as a user starts it."""
    file = folder.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(schema.dump(config)), encoding="utf-8")
    command = [sys.executable, *launcher, "-m", "lgtc_training.train", str(file), "--run-dir", str(folder)]
    paths = [
        str(Path(module.__file__).parents[1]) for module in (sys.modules["lgtc_core"], sys.modules["lgtc_training"])
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([*paths, *sys.path])}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def curve(folder: Path) -> list[dict[str, float]]:
    """The log without the wall clock."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in checkpoint.read_log(folder)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Both networks' last weights."""
    content = checkpoint.load(folder / checkpoint.CHECKPOINT)
    return {f"{name}.{key}": value for name in ("policy", "value") for key, value in content[name].items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    train(SMALL, folder, quiet=True)
    return folder


def test_a_run_killed_at_any_moment_continues_to_the_same_log_and_weights(whole: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    process = start(SMALL, parts)
    while process.poll() is None and not (parts / checkpoint.LOG).exists():
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    with (parts / checkpoint.LOG).open("a", encoding="utf-8") as log:  # as if killed while writing the next line
        log.write('{"update": 4, "st')
    trainer = train(SMALL, parts, quiet=True)
    assert trainer.update == 4
    assert curve(parts) == curve(whole)
    assert len(curve(whole)) == 2
    mine, theirs = weights(parts), weights(whole)
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)
    starts = json.loads((parts / checkpoint.ORIGIN).read_text())["starts"]
    assert starts[0]["seed"] == SMALL.seed
    assert starts[-1]["packages"]["torch"] == torch.__version__
    assert {"code", "python", "system", "device", "processes", "started_utc"} <= starts[-1].keys()


def test_two_processes_reach_the_weights_that_one_process_with_all_the_worlds_reaches(tmp_path: Path) -> None:
    shared = dataclasses.replace(SMALL, steps=3 * 24, evaluate_every=0)
    halves = tuple(dataclasses.replace(group, worlds=1) for group in shared.worlds for _ in range(2))
    train(dataclasses.replace(shared, worlds=halves), tmp_path / "one", quiet=True)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert start(shared, tmp_path / "two", *launcher).wait(timeout=280) == 0
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    initial = checkpoint.networks(shared)[0].state_dict()
    for key, value in one.items():
        assert torch.allclose(value, two[key], atol=2e-5), key
    moved = max(float((one[f"policy.{key}"] - value).abs().max()) for key, value in initial.items())
    assert moved > 1e-2
    content = checkpoint.load(tmp_path / "two" / checkpoint.CHECKPOINT)
    assert len(content["chance"]) == 2
    with pytest.raises(ConfigError, match="as many processes"):
        Trainer(shared, tmp_path / "two")


def test_worlds_that_processes_cannot_share_evenly_are_refused(tmp_path: Path) -> None:
    from lgtc_training.processes import Processes

    with pytest.raises(ConfigError, match=r"worlds\[0\]\.worlds: got 2; expected a multiple .* 3"):
        Trainer(SMALL, tmp_path, processes=Processes(0, 3))


def test_no_tensor_is_made_elsewhere_than_on_the_stated_device(tmp_path: Path) -> None:
    """What names no device would be made on `meta` here, and could not meet what is on the stated one."""
    trainer = Trainer(SMALL, tmp_path, device="cpu")
    with torch.device("meta"):
        for world in trainer.worlds:
            world.reset()
        losses, _ = trainer.iterate()
        scores = trainer.evaluate(losses)
        trainer.save()
        trainer.restore(checkpoint.load(tmp_path / checkpoint.CHECKPOINT))
        trainer.iterate()
    assert scores["objective"] > 0
    assert all(value.device.type == "cpu" for value in weights(tmp_path).values())


def test_an_unknown_device_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="--device: got abacus"):
        chosen_device("abacus")
    assert chosen_device("cpu") == torch.device("cpu")


def test_the_run_ends_on_a_plateau_as_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = dataclasses.replace(SMALL, patience=2, plateau=0.01)
    trainer = Trainer(config, tmp_path)
    ends = []
    for objective in (0.5, 0.505, 0.52, 0.525, 0.529):  # rises by .02 once; what is left stays within .01
        monkeypatch.setattr(trainer, "evaluation", lambda _, objective=objective: {"objective": objective})
        trainer.evaluate(Losses())
        ends.append(trainer.finished())
    assert ends == [False, False, False, False, True]
    assert trainer.best == 0.529


def test_a_person_who_interrupts_gets_a_checkpoint_between_two_updates(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterate = Trainer.iterate

    def interrupted(trainer: Trainer) -> tuple[Losses, float]:
        if trainer.update == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return iterate(trainer)

    monkeypatch.setattr(Trainer, "iterate", interrupted)
    assert train(SMALL, tmp_path / "parts", quiet=True).update == 1
    monkeypatch.undo()
    train(SMALL, tmp_path / "parts", quiet=True)
    assert curve(tmp_path / "parts") == curve(whole)


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file may grow beyond `room` bytes."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def test_a_full_disk_is_told_by_name_and_the_last_checkpoint_stays(tmp_path: Path) -> None:
    trainer = Trainer(SMALL, tmp_path)
    losses, _ = trainer.iterate()
    trainer.save()
    good = (tmp_path / checkpoint.CHECKPOINT).read_bytes()
    with full_disk(2000), pytest.raises(ConfigError, match=r"checkpoint\.pt: got cannot be written"):
        trainer.save()
    assert (tmp_path / checkpoint.CHECKPOINT).read_bytes() == good
    assert not (tmp_path / "checkpoint.new").exists()
    trainer.best = 10.0  # best.pt is not due
    with full_disk(100), pytest.raises(ConfigError, match=r"log\.jsonl: got cannot be written"):
        trainer.evaluate(losses)
    assert Trainer(SMALL, tmp_path).update == 1


@pytest.mark.parametrize("network", ["policy", "value"])
def test_a_gradient_that_is_not_finite_stops_before_it_reaches_the_weights(tmp_path: Path, network: str) -> None:
    trainer = Trainer(SMALL, tmp_path)
    module = getattr(trainer.learner, network)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.head[-1].bias.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(DivergenceError, match=f"update 0: the gradient of the {network} is not finite"):
        trainer.iterate()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_changed_configuration_is_told_and_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Trainer(SMALL, tmp_path).save()
    other = dataclasses.replace(SMALL, algorithm=dataclasses.replace(SMALL.algorithm, clip=0.1))
    trainer = Trainer(other, tmp_path)
    trainer.iterate()
    trainer.save()
    with caplog.at_level(logging.WARNING):
        Trainer(SMALL, tmp_path)
    assert "algorithm.clip: 0.1 -> 0.2" in caplog.text
    assert json.loads((tmp_path / checkpoint.ORIGIN).read_text())["starts"][-1]["changed"] == [
        "algorithm.clip: 0.1 -> 0.2"
    ]


def test_the_origin_names_the_package_that_is_imported_also_where_a_leftover_of_the_same_name_has_no_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, lines in (("kept", "Name: swarmlike\nVersion: 2.0\n"), ("leftover", "Name: swarmlike\n")):
        place = tmp_path / folder / f"swarmlike-{folder}.dist-info"
        place.mkdir(parents=True)
        (place / "METADATA").write_text(f"Metadata-Version: 2.1\n{lines}", encoding="utf-8")
    versions = []
    for order in (("kept", "leftover"), ("leftover", "kept")):
        monkeypatch.setattr(sys, "path", [*(str(tmp_path / folder) for folder in order), *sys.path])
        versions.append(origin(0, torch.device("cpu"), Processes())["packages"]["swarmlike"])
    assert versions == ["2.0", "unknown"]


def test_differences_name_the_place() -> None:
    assert differences({"a": [1, {"b": 2}], "c": 1}, {"a": [1, {"b": 3}], "d": 4}) == [
        "a[1].b: 2 -> 3",
        "c: 1 -> None",
        "d: None -> 4",
    ]


def test_a_checkpoint_of_other_worlds_or_of_another_version_is_refused(tmp_path: Path) -> None:
    Trainer(SMALL, tmp_path).save()
    with pytest.raises(ConfigError, match="groups of worlds"):
        Trainer(dataclasses.replace(SMALL, worlds=(WORLDS,)), tmp_path)
    content = checkpoint.load(tmp_path / checkpoint.CHECKPOINT)
    checkpoint.save(tmp_path / checkpoint.CHECKPOINT, {"policy": content["policy"]})
    with pytest.raises(ConfigError, match="start again with --fresh"):
        Trainer(SMALL, tmp_path)


def test_the_bar_tells_return_agreement_ratio_and_time_left(tmp_path: Path) -> None:
    trainer = Trainer(dataclasses.replace(SMALL, minutes=1.0), tmp_path)
    assert progress(4.0, 0.5, "", trainer.seconds_left()) == "return 4.00 agree 0.50 left 1:00"
    trainer.steps, trainer.seconds = 24, 5.0
    assert trainer.seconds_left() == pytest.approx(3 * 5.0)
    trainer.seconds = 50.0
    assert trainer.seconds_left() == pytest.approx(10.0)
    assert progress(4.0, 0.5, " ratio 0.900", 61.0) == "return 4.00 agree 0.50 ratio 0.900 left 1:01"
