"""Train one experiment: python -m lgtc_training.train CONFIG [--run-dir DIR] [--threads N] [--fresh]

A run that was interrupted continues when it is started again with the same configuration and folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from tqdm import tqdm

from lgtc_core import schema
from lgtc_core.errors import ContractError
from lgtc_training import checkpoint
from lgtc_training.configuration import ExperimentConfig
from lgtc_training.env import World
from lgtc_training.evaluate import HELD_OUT, Deterministic, battery_worlds, expert, hand_over, score, standard_worlds
from lgtc_training.ippo import Coefficients, Learner, Losses, advantages, collect
from lgtc_training.networks import LgtcNetwork

logger = logging.getLogger(__name__)


class Trainer:
    """One run: worlds, learner, checkpoints.

    Args:
        config: the experiment. folder: run folder; a checkpoint in it is continued.
    """

    def __init__(self, config: ExperimentConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        torch.manual_seed(config.seed)
        policy, value = checkpoint.networks(config)
        self.learner = Learner(policy, value, config.algorithm)
        widths = (policy.message_width, value.message_width)
        self.worlds = [
            World(group, config.rewards, config.seed + 7919 * (i + 1), widths) for i, group in enumerate(config.worlds)
        ]
        self.generator = torch.Generator().manual_seed(config.seed)
        self.update, self.steps, self.best, self.since_best, self.seconds = 0, 0, float("-inf"), 0, 0.0
        self.evaluation = Evaluation(config)
        self._prepare_folder()

    @property
    def rollout(self) -> int:
        """Team snapshots per update."""
        return sum(group.worlds * group.ticks for group in self.config.worlds)

    def finished(self) -> bool:
        """Steps, time or patience are used up."""
        config = self.config
        late = config.minutes > 0 and self.seconds >= 60 * config.minutes
        return self.steps >= config.steps or late or (0 < config.patience <= self.since_best)

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
        for world in self.worlds:
            rollout, last = collect(world, learner.policy, learner.value, learner.scale, self.generator, coefficients)
            advantages(rollout, last, world.alive, config)
            rollouts.append(rollout)
        losses = learner.update(rollouts, coefficients, self.generator, self.update, self.shares())
        self.update += 1
        self.steps += self.rollout
        first = rollouts[0]
        return losses, float(first.reward.sum() / first.alive[0].sum())

    def shares(self) -> list[float]:
        """Share of every group's agents that one epoch looks at."""
        groups = self.config.worlds
        return [min(1.0, (group.agents_per_update or group.agents[1]) / group.agents[1]) for group in groups]

    def state(self) -> dict[str, Any]:
        """Everything that a continued run needs, as tensors and plain data."""
        scale = self.learner.scale
        return {
            "policy": self.learner.policy.state_dict(),
            "value": self.learner.value.state_dict(),
            "optimiser": self.learner.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "worlds": [{"generator": world.generator.get_state(), "seed": world.label_seed} for world in self.worlds],
            "value_moments": list(scale.moments()),
            "scale": [scale.mean, scale.square, scale.weight],
            "counters": [self.update, self.steps, self.best, self.since_best, self.seconds],
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Continue from `state()`."""
        where = str(self.folder / checkpoint.CHECKPOINT)
        checkpoint.restore(self.learner.policy, content["policy"], where)
        checkpoint.restore(self.learner.value, content["value"], where)
        self.learner.optimiser.load_state_dict(content["optimiser"])
        self.generator.set_state(content["generator"])
        for world, saved in zip(self.worlds, content["worlds"], strict=True):
            world.generator.set_state(saved["generator"])
            world.label_seed = saved["seed"]
        scale = self.learner.scale
        scale.mean, scale.square, scale.weight = content["scale"]
        self.update, self.steps, self.best, self.since_best, self.seconds = content["counters"]

    def save(self) -> None:
        """Write the checkpoint."""
        checkpoint.save(self.folder / checkpoint.CHECKPOINT, self.state())

    def evaluate(self, losses: Losses) -> dict[str, float]:
        """Held-out scores, logged; the best weights are kept."""
        policy = self.learner.policy
        scores = self.evaluation(policy)
        objective = scores["objective"]
        if objective > self.best:
            self.best, self.since_best = objective, 0
            content = {
                "policy": policy.state_dict(), "value": self.learner.value.state_dict(), "scores": scores,
                "value_moments": list(self.learner.scale.moments()),
            }  # fmt: skip
            checkpoint.save(self.folder / checkpoint.BEST, content)
        else:
            self.since_best += 1
        line = {"update": self.update, "steps": self.steps, "seconds": round(self.seconds, 1), **scores, **vars(losses)}
        line["contraction_rate"] = policy.contraction_rate().item()
        with (self.folder / checkpoint.LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        return scores

    def _prepare_folder(self) -> None:
        """Write configuration and origin, or continue what is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / checkpoint.CONFIG
        if path.exists():
            there = schema.load(ExperimentConfig, path)
            if there.network != self.config.network:
                raise ContractError(str(path), "another network", "the same one, another --run-dir, or --fresh")
        path.write_text(yaml.safe_dump(schema.dump(self.config), sort_keys=False), encoding="utf-8")
        (self.folder / checkpoint.ORIGIN).write_text(
            json.dumps(origin(self.config.seed), indent=2) + "\n", encoding="utf-8"
        )
        if (self.folder / checkpoint.CHECKPOINT).exists():
            self.restore(checkpoint.load(self.folder / checkpoint.CHECKPOINT))
            logger.info("continuing at update %d", self.update)


class Evaluation:
    """Quick held-out scores during training; the experts' part is computed once."""

    def __init__(self, config: ExperimentConfig) -> None:
        self.rewards = config.rewards
        base, worlds = config.worlds[0], config.evaluation_worlds
        self.cases = {
            "N10_M4": standard_worlds(base, 10, 4, worlds),
            "N30_M8": standard_worlds(base, 30, 8, max(8, worlds // 8)),
            "N10_M8": standard_worlds(base, 10, 8, max(16, worlds // 4)),
        }
        self.battery = battery_worlds(base, worlds)
        self.best: dict[str, tuple[float, float]] = {}

    def __call__(self, policy: LgtcNetwork) -> dict[str, float]:
        """Ratios to the expert per case, hand-over, and the objective by which runs are compared."""
        widths = (policy.message_width,)
        result = {}
        for name, case in self.cases.items():
            seed = HELD_OUT + 17
            if name not in self.best:
                best = score(expert, case, self.rewards, seed, widths)
                self.best[name] = best.team_return, best.satisfaction
            ours = score(Deterministic(policy), case, self.rewards, seed, widths)
            result[f"ratio_{name}"] = ours.team_return / self.best[name][0]
            result[f"satisfaction_{name}"] = ours.satisfaction / self.best[name][1]
            result[f"speed_{name}"] = ours.speed
        trial = hand_over(policy, self.battery, self.rewards, HELD_OUT + 17, hold_ticks=60)
        result["hand_over"], result["hand_over_kept"] = trial.covered, trial.kept
        parts = [result["ratio_N10_M4"], result["satisfaction_N10_M4"], result["ratio_N30_M8"], result["ratio_N10_M8"]]
        result["objective"] = float(np.mean([*parts, trial.covered, trial.kept]))
        return result


def origin(seed: int) -> dict[str, Any]:
    """Where a run comes from: seed, code version, libraries, machine."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
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
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


def train(config: ExperimentConfig, folder: Path, quiet: bool = False) -> Trainer:
    """Run (or continue) an experiment to its end; Ctrl-C leaves a checkpoint to continue from."""
    trainer = Trainer(config, folder)
    board = _board(folder)
    bar = tqdm(total=config.steps, initial=trainer.steps, unit=" steps", unit_scale=True, disable=quiet, smoothing=0.1)
    ratio = ""
    try:
        while not trainer.finished():
            begun = time.perf_counter()
            losses, team_return = trainer.iterate()
            trainer.seconds += time.perf_counter() - begun
            if trainer.update % config.evaluate_every == 0 or trainer.finished():
                scores = trainer.evaluate(losses)
                trainer.save()
                ratio = f" ratio {scores['ratio_N10_M4']:.3f} hand-over {scores['hand_over']:.2f}"
                for name, number in scores.items():
                    if board is not None:
                        board.add_scalar(f"scores/{name}", number, trainer.steps)
            if board is not None:
                board.add_scalar("train/return", team_return, trainer.steps)
                for name, number in vars(losses).items():
                    board.add_scalar(f"loss/{name}", number, trainer.steps)
            bar.set_description(f"return {team_return:.2f} agree {losses.agreement:.2f}{ratio}")
            bar.update(trainer.rollout)
    except KeyboardInterrupt:
        trainer.save()
        logger.warning("interrupted; start again with the same folder to continue: %s", folder)
    finally:
        bar.close()
        if board is not None:
            board.close()
    return trainer


def _board(folder: Path) -> Any:
    """TensorBoard writer, or None where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path, help="config/training/*.yaml")
    parser.add_argument("--run-dir", type=Path, help="default: runs/<name>")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, help="instead of the file's")
    parser.add_argument("--fresh", action="store_true", help="start anew even if the folder holds a checkpoint")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    torch.set_num_threads(arguments.threads)
    config = schema.load(ExperimentConfig, arguments.config)
    if arguments.seed is not None:
        config = dataclasses.replace(config, seed=arguments.seed)
    folder = arguments.run_dir or Path("runs") / config.name
    if arguments.fresh:
        for name in (checkpoint.CONFIG, checkpoint.CHECKPOINT, checkpoint.BEST, checkpoint.LOG):
            (folder / name).unlink(missing_ok=True)
    train(config, folder)


if __name__ == "__main__":
    main()
