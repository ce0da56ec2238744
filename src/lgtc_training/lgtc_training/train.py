"""Train one experiment.

    python -m lgtc_training.train CONFIG [--run-dir DIR] [--threads N] [--device cpu|cuda] [--fresh]
    torchrun --nproc-per-node 2 -m lgtc_training.train CONFIG      the same experiment, shared by processes or hosts

A run that was interrupted, however hard, continues to the same curve when it is started again with the same
configuration and folder: weights, optimiser, counters and every random generator are in the checkpoint; a line of the
log that is younger than the checkpoint is written anew. (With a limit in `minutes` the schedule follows the clock, and
no two runs are equal.)

The run ends when its steps or minutes are used up, or on a plateau: `patience` evaluations in a row whose objective is
not higher by more than `plateau` than the one that last was.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import math
import os
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor
from tqdm import tqdm

from lgtc_core import schema
from lgtc_core.errors import ConfigError, ContractError, LgtcError
from lgtc_training import checkpoint
from lgtc_training.configuration import ExperimentConfig, WorldConfig
from lgtc_training.env import World
from lgtc_training.evaluate import HELD_OUT, Deterministic, battery_worlds, expert, hand_over, score, standard_worlds
from lgtc_training.ippo import Coefficients, Learner, Losses, advantages, collect
from lgtc_training.networks import LgtcNetwork
from lgtc_training.processes import Processes

logger = logging.getLogger(__name__)


class Trainer:
    """One run: worlds, learner, checkpoints.

    Args:
        config: the experiment.
        folder: run folder; a checkpoint in it is continued. Of several hosts all need to see it.
        device: where worlds and networks live.
        processes: those that share the worlds; group i of process k draws what group i * size + k of one process would.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        folder: Path,
        device: torch.device | str = "cpu",
        processes: Processes | None = None,
    ) -> None:
        self.config, self.folder, self.device = config, folder, torch.device(device)
        self.processes = processes or Processes()
        torch.manual_seed(config.seed)
        policy, value = (network.to(self.device) for network in checkpoint.networks(config))
        self.learner = Learner(policy, value, config.algorithm, self.processes)
        widths = (policy.message_width, value.message_width)
        self.worlds, self.generators = [], []
        for i, group in enumerate(config.worlds):
            number = i * self.processes.size + self.processes.rank + 1
            share = _share(group, i, self.processes.size)
            self.worlds.append(World(share, config.rewards, config.seed + 7919 * number, widths, self.device))
            self.generators.append(torch.Generator(self.device).manual_seed(config.seed + 104_729 * number))
        self.update, self.steps, self.seconds = 0, 0, 0.0
        self.best, self.plateau, self.on_plateau = -math.inf, -math.inf, 0
        self.evaluation = Evaluation(config, self.device)
        self._prepare_folder()
        self.first_steps, self.first_seconds = self.steps, self.seconds

    @property
    def rollout(self) -> int:
        """Team snapshots per update, of all processes."""
        return sum(group.worlds * group.ticks for group in self.config.worlds)

    def finished(self) -> bool:
        """Steps, time or patience are used up."""
        config = self.config
        late = config.minutes > 0 and self.seconds >= 60 * config.minutes
        return self.steps >= config.steps or late or (0 < config.patience <= self.on_plateau)

    def seconds_left(self) -> float:
        """Time to the end of the steps or minutes at this start's pace; infinite before the first update [s]."""
        done, spent = self.steps - self.first_steps, self.seconds - self.first_seconds
        left = max(0, self.config.steps - self.steps) * spent / done if done else math.inf
        return min(left, 60 * self.config.minutes - self.seconds) if self.config.minutes > 0 else left

    def agree(self, stop: bool) -> bool:
        """Take over the first process's clock and scores; whether a person asked any process to stop."""
        if self.processes.size == 1:
            return stop
        numbers = [self.seconds, self.best, self.plateau, float(self.on_plateau)]
        shared = self.processes.agree(torch.tensor(numbers, dtype=torch.float64, device=self.device)).tolist()
        self.seconds, self.best, self.plateau, self.on_plateau = *shared[:3], int(shared[3])
        return bool(self.processes.sum(torch.tensor([float(stop)], device=self.device)))

    def iterate(self) -> tuple[Losses, float]:
        """One rollout of every group and one update; (losses, mean return per agent and episode of the first group)."""
        config, learner = self.config.algorithm, self.learner
        done = min(1.0, self.steps / self.config.steps)
        if self.config.minutes > 0:
            done = max(done, min(1.0, self.seconds / (60 * self.config.minutes)))

        def between(first: float, last: float) -> float:
            return first + (last - first) * done

        coefficients = Coefficients(
            between(config.assignment_loss, config.assignment_loss_end),
            between(config.motion_loss, config.motion_loss_end),
            self.steps >= config.imitation_steps,
            self.steps >= config.imitation_steps - config.value_steps,
        )
        for group in learner.optimiser.param_groups:
            group["lr"] = config.learning_rate * between(1.0, config.learning_rate_end)
        rollouts = []
        for world, generator in zip(self.worlds, self.generators, strict=True):
            rollout, last = collect(world, learner.policy, learner.value, learner.scale, generator, coefficients)
            advantages(rollout, last, world.alive, config)
            rollouts.append(rollout)
        losses = learner.update(rollouts, coefficients, self.generators, self.update, self.shares())
        self.update += 1
        self.steps += self.rollout
        first = rollouts[0]
        return losses, float(first.reward.sum() / first.alive[0].sum())

    def shares(self) -> list[float]:
        """Share of every group's agents that one epoch looks at."""
        groups = self.config.worlds
        return [min(1.0, (group.agents_per_update or group.agents[1]) / group.agents[1]) for group in groups]

    def state(self) -> dict[str, Any]:
        """Everything that a continued run needs, as tensors and plain data; all processes have to ask for it."""
        scale = self.learner.scale
        return {
            "policy": self.learner.policy.state_dict(),
            "value": self.learner.value.state_dict(),
            "optimiser": self.learner.optimiser.state_dict(),
            "chance": [part.cpu() for part in self.processes.gather(torch.cat(self._chance()).to(self.device))],
            "value_moments": list(scale.moments()),
            "scale": [scale.mean, scale.square, scale.weight],
            "counters": [self.update, self.steps, self.best, self.plateau, self.on_plateau, self.seconds],
        }

    def _chance(self) -> list[Tensor]:
        """Everything random here, as bytes: per group the state of its generator, its world's, and its labels' seed."""
        parts = []
        for world, generator in zip(self.worlds, self.generators, strict=True):
            seed = torch.tensor([world.label_seed], dtype=torch.int64, device="cpu").view(torch.uint8)
            parts += [generator.get_state(), world.generator.get_state(), seed]
        return parts

    def restore(self, content: dict[str, Any]) -> None:
        """Continue from `state()`.

        Raises:
            ContractError: weights of another architecture. ConfigError: of other groups of worlds or another number of
            processes, or written by another version.
        """
        where = str(self.folder / checkpoint.CHECKPOINT)
        missing = {"policy", "value", "optimiser", "chance", "scale", "counters"} - content.keys()
        if missing:
            raise ConfigError(
                where, ", ".join(sorted(missing)), "nothing", "a checkpoint of this version; start again with --fresh"
            )
        checkpoint.restore(self.learner.policy, content["policy"], where)
        checkpoint.restore(self.learner.value, content["value"], where)
        sizes = [len(part) for part in self._chance()]
        if len(content["chance"]) != self.processes.size or len(content["chance"][self.processes.rank]) != sum(sizes):
            raise ConfigError(
                where, "chance", f"{len(content['chance'])} processes with {len(content['chance'][0])} bytes each",
                f"{self.processes.size} processes with {sum(sizes)} bytes: as many processes and groups of worlds",
            )  # fmt: skip
        self.learner.optimiser.load_state_dict(content["optimiser"])
        parts = iter(content["chance"][self.processes.rank].split(sizes))
        for world, generator in zip(self.worlds, self.generators, strict=True):
            generator.set_state(next(parts).clone())
            world.generator.set_state(next(parts).clone())
            world.label_seed = int(next(parts).clone().view(torch.int64))
        scale = self.learner.scale
        scale.mean, scale.square, scale.weight = content["scale"]
        self.update, self.steps, self.best, self.plateau, self.on_plateau, self.seconds = content["counters"]

    def save(self) -> None:
        """Write the checkpoint; all processes have to take part."""
        state = self.state()
        if self.processes.first:
            checkpoint.save(self.folder / checkpoint.CHECKPOINT, state)

    def evaluate(self, losses: Losses) -> dict[str, float]:
        """Held-out scores, logged; the best weights are kept. For the first process."""
        policy = self.learner.policy
        scores = self.evaluation(policy)
        objective = scores["objective"]
        if objective > self.best:
            self.best = objective
            content = {
                "policy": policy.state_dict(), "value": self.learner.value.state_dict(), "scores": scores,
                "value_moments": list(self.learner.scale.moments()),
            }  # fmt: skip
            checkpoint.save(self.folder / checkpoint.BEST, content)
        if objective > self.plateau + self.config.plateau:
            self.plateau, self.on_plateau = objective, 0
        else:
            self.on_plateau += 1
        line = {"update": self.update, "steps": self.steps, "seconds": round(self.seconds, 1), **scores, **vars(losses)}
        line["contraction_rate"] = policy.contraction_rate().item()
        checkpoint.write(self.folder / checkpoint.LOG, json.dumps(line) + "\n", append=True)
        return scores

    def _prepare_folder(self) -> None:
        """Write configuration and origin, or continue what is there."""
        path, log = self.folder / checkpoint.CONFIG, self.folder / checkpoint.LOG
        changed: list[str] = []
        if path.exists():
            there = schema.load(ExperimentConfig, path)
            if there.network != self.config.network:
                raise ContractError(str(path), "another network", "the same one, another --run-dir, or --fresh")
            changed = differences(schema.dump(there), schema.dump(self.config))
        if (self.folder / checkpoint.CHECKPOINT).exists():
            self.restore(checkpoint.load(self.folder / checkpoint.CHECKPOINT))
            logger.info("continuing at update %d", self.update)
            if changed:
                logger.warning("the configuration was changed since: %s", ", ".join(changed))
        if not self.processes.first:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.write(path, yaml.safe_dump(schema.dump(self.config), sort_keys=False))
        start = {**origin(self.config.seed, self.device, self.processes), "update": self.update, "changed": changed}
        former = self.folder / checkpoint.ORIGIN
        starts = schema.load_json(former)["starts"] if former.exists() and self.update else []
        checkpoint.write(former, json.dumps({"starts": [*starts, start]}, indent=2) + "\n")
        if log.exists():  # lines that were written after the checkpoint will be written again
            kept = [row for row in checkpoint.read_log(self.folder) if row["update"] <= self.update]
            checkpoint.write(log, "".join(json.dumps(row) + "\n" for row in kept))


def _share(group: WorldConfig, index: int, processes: int) -> WorldConfig:
    """One process's part of a group.

    Raises:
        ConfigError: the worlds cannot be shared evenly.
    """
    if group.worlds % processes:
        raise ConfigError(
            "", f"worlds[{index}].worlds", str(group.worlds), f"a multiple of the number of processes, {processes}"
        )
    return dataclasses.replace(group, worlds=group.worlds // processes)


def differences(old: Any, new: Any, key: str = "") -> list[str]:
    """Keys of two nested plain values that differ, as in "algorithm.clip: 0.2 -> 0.1"."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(name for name in new if name not in old)]
        return [
            line
            for name in keys
            for line in differences(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [line for i, pair in enumerate(zip(old, new, strict=True)) for line in differences(*pair, f"{key}[{i}]")]
    return [] if old == new else [f"{key}: {old} -> {new}"]


class Evaluation:
    """Quick held-out scores during training; the experts' part is computed once."""

    def __init__(self, config: ExperimentConfig, device: torch.device) -> None:
        self.rewards, self.device = config.rewards, device
        base, worlds = config.worlds[0], config.evaluation_worlds
        self.cases = {
            "N10_M4": standard_worlds(base, 10, 4, worlds),
            "N30_M8": standard_worlds(base, 30, 8, min(worlds, max(8, worlds // 8))),
            "N10_M8": standard_worlds(base, 10, 8, min(worlds, max(16, worlds // 4))),
        }
        self.battery = battery_worlds(base, worlds)
        self.best: dict[str, tuple[float, float, float]] = {}

    def __call__(self, policy: LgtcNetwork) -> dict[str, float]:
        """Ratios to the expert per case, hand-over, and the objective by which runs are compared."""
        widths = (policy.message_width,)
        result = {}
        for name, case in self.cases.items():
            seed = HELD_OUT + 17
            if name not in self.best:
                best = score(expert, case, self.rewards, seed, widths, self.device)
                self.best[name] = best.team_return, best.satisfaction, best.work_return
            ours = score(Deterministic(policy), case, self.rewards, seed, widths, self.device)
            result[f"ratio_{name}"] = ours.team_return / self.best[name][0]
            result[f"satisfaction_{name}"] = ours.satisfaction / self.best[name][1]
            result[f"work_{name}"] = ours.work_return / self.best[name][2]
            result[f"speed_{name}"] = ours.speed
        trial = hand_over(policy, self.battery, self.rewards, HELD_OUT + 17, hold_ticks=60)
        result["hand_over"], result["hand_over_kept"] = trial.covered, trial.kept
        parts = [result["ratio_N10_M4"], result["satisfaction_N10_M4"], result["ratio_N30_M8"], result["ratio_N10_M8"]]
        result["objective"] = float(np.mean([*parts, trial.covered, trial.kept]))
        return result


def origin(seed: int, device: torch.device, processes: Processes) -> dict[str, Any]:
    """Where a start of a run comes from: seed, code version, libraries, machine."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).resolve().parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return {
        "seed": seed,
        "code": commit,
        "started_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": processes.size,
        "packages": dict(sorted(_packages().items())),
    }


def _packages() -> dict[str, str]:
    """Version of every package; of two of one name the one that is imported, which is found first."""
    found: dict[str, str] = {}
    for package in metadata.distributions():
        name = package.metadata["Name"]
        if name:
            found.setdefault(name, package.metadata["Version"] or "unknown")
    return found


def train(
    config: ExperimentConfig,
    folder: Path,
    quiet: bool = False,
    device: torch.device | str = "cpu",
    processes: Processes | None = None,
) -> Trainer:
    """Run (or continue) an experiment to its end; Ctrl-C ends it after the current update, to be continued.

    Raises:
        DivergenceError: see `Learner.update`; the checkpoint stays. ConfigError: the disk is full; likewise.
    """
    trainer = Trainer(config, folder, device, processes)
    first = trainer.processes.first
    board = _board(folder, trainer.steps) if first else None
    bar = tqdm(
        total=config.steps, initial=trainer.steps, unit=" steps", unit_scale=True, disable=quiet or not first,
        smoothing=0.1, bar_format="{percentage:3.0f}%|{bar:12}| {n_fmt}/{total_fmt} {rate_fmt} {desc}",
    )  # fmt: skip
    ratio = ""
    try:
        with _asked_to_stop() as stop:
            while not trainer.finished():
                begun = time.perf_counter()
                losses, team_return = trainer.iterate()
                trainer.seconds += time.perf_counter() - begun
                due = config.evaluate_every > 0 and trainer.update % config.evaluate_every == 0
                if first and (due or (config.evaluate_every > 0 and trainer.finished())):
                    scores = trainer.evaluate(losses)
                    ratio = f" ratio {scores['ratio_N10_M4']:.3f} hand-over {scores['hand_over']:.2f}"
                    _plot(board, "scores", scores, trainer.steps)
                stopping = trainer.agree(stop.is_set())
                if due or stopping or trainer.finished():
                    trainer.save()
                _plot(board, "train", {"return": team_return, **vars(losses)}, trainer.steps)
                bar.set_description_str(progress(team_return, losses.agreement, ratio, trainer.seconds_left()), False)
                bar.total = max(config.steps, trainer.steps)  # the last update may go beyond the steps asked for
                bar.update(trainer.rollout)
                if stopping:
                    logger.warning("stopped at update %d; start again to continue: %s", trainer.update, folder)
                    break
    finally:
        bar.close()
        if board is not None:
            board.close()
    return trainer


def progress(team_return: float, agreement: float, ratio: str, left_s: float) -> str:
    """What the bar says beside steps and steps per second."""
    left = "" if math.isinf(left_s) else f" left {int(left_s) // 60}:{int(left_s) % 60:02d}"
    return f"return {team_return:.2f} agree {agreement:.2f}{ratio}{left}"


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM set; a second signal acts as it always does. For the main thread."""
    asked = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    former = {number: signal.getsignal(number) for number in numbers}

    def note(number: int, _: object) -> None:
        asked.set()
        signal.signal(number, former[signal.Signals(number)])

    for number in numbers:
        signal.signal(number, note)
    try:
        yield asked
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _board(folder: Path, steps: int) -> Any:
    """TensorBoard writer, or None where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=steps)


def _plot(board: Any, group: str, numbers: dict[str, float], steps: int) -> None:
    if board is not None:
        for name, number in numbers.items():
            board.add_scalar(f"{group}/{name}", number, steps)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path, help="config/training/*.yaml")
    parser.add_argument("--run-dir", type=Path, help="default: runs/<name>")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N; default: cpu")
    parser.add_argument("--seed", type=int, help="instead of the file's")
    parser.add_argument("--fresh", action="store_true", help="start anew even if the folder holds a checkpoint")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    torch.set_num_threads(arguments.threads)
    processes = Processes()
    try:
        device = chosen_device(arguments.device)
        config = schema.load(ExperimentConfig, arguments.config)
        if arguments.seed is not None:
            config = dataclasses.replace(config, seed=arguments.seed)
        folder = arguments.run_dir or Path("runs") / config.name
        processes = Processes.join(device)
        if arguments.fresh and processes.first:
            for name in (checkpoint.CONFIG, checkpoint.CHECKPOINT, checkpoint.BEST, checkpoint.LOG, checkpoint.ORIGIN):
                (folder / name).unlink(missing_ok=True)
        processes.sum(torch.zeros(1, device=device))  # nobody looks into the folder before it was emptied
        train(config, folder, device=device, processes=processes)
    except LgtcError as error:
        raise SystemExit(f"train: {error}") from None
    finally:
        processes.leave()


def chosen_device(name: str) -> torch.device:
    """The device of that name; under torchrun "cuda" is the GPU of the process's local rank.

    Raises:
        ConfigError: this machine has no such device.
    """
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if device.type == "cuda":
            torch.cuda.set_device(device)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        found = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError("command line", "--device", f"{name} ({found})", "a device of this machine: cpu") from None
    return device


if __name__ == "__main__":
    main()
