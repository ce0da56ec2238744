"""Train variants of one experiment on several seeds and set their scores side by side: what does which part earn?

    python -m lgtc_training.compare config/training/ablation.yaml [--out runs/ablation] [--seeds 4] [--only NAME ...]

Every cell (variant and seed) is a training run in a folder of its own, OUT/VARIANT/SEED; one that was interrupted
continues, one that is finished is left alone, so the program may be started again, or several at once on different
variants. Seeds run in the outer loop: what is there early is complete. OUT/table.md holds mean and standard deviation
over the seeds that are there.

Variants are compared with equal inputs, equal snapshots and equal numbers of trained parameters: where a variant uses
fewer or more than the first one, the layers of its head are made as wide as it takes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, pstdev
from typing import Annotated, Any

import torch

from lgtc_core import schema
from lgtc_core.errors import ConfigError, LgtcError
from lgtc_core.schema import Bounds
from lgtc_core.world.rules import RewardWeights
from lgtc_training.checkpoint import load_run, write
from lgtc_training.configuration import ExperimentConfig, NetworkConfig, WorldConfig
from lgtc_training.env import World
from lgtc_training.evaluate import HELD_OUT, compare, standard_worlds
from lgtc_training.networks import LgtcNetwork
from lgtc_training.train import train

logger = logging.getLogger(__name__)

RESULT = "result.json"
"""Written last: a cell that has it is finished."""
TABLE = "table.md"


@dataclass(frozen=True)
class Variant:
    """What differs from the base experiment; nested mappings are merged, `worlds` into every group."""

    name: Annotated[str, "name of the row, and of its folder"]
    network: Annotated[Mapping[str, Any], "changes of `network`"] = field(default_factory=dict)
    worlds: Annotated[Mapping[str, Any], "changes of every group of worlds"] = field(default_factory=dict)
    algorithm: Annotated[Mapping[str, Any], "changes of `algorithm`"] = field(default_factory=dict)


@dataclass(frozen=True)
class ComparisonConfig:
    """One comparison."""

    base: Annotated[ExperimentConfig, "what all variants start from"]
    variants: Annotated[tuple[Variant, ...], "the first is what the others' number of parameters is held to"]
    evaluation_worlds: Annotated[int, Bounds(1, 4096), "held-out worlds per evaluation seed"] = 32
    evaluation_seeds: Annotated[int, Bounds(1, 100), "evaluation seeds per cell"] = 4

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.variants]
        if not names or len(set(names)) < len(names):
            raise ConfigError("", "variants", ", ".join(names) or "none", "at least one, each with a name of its own")
        for name in names:
            if Path(name).name != name:
                raise ConfigError("", "variants", name, "a name that can be a folder's")


def experiment(config: ComparisonConfig, variant: Variant, seed: int) -> ExperimentConfig:
    """One cell's experiment.

    Raises:
        ConfigError: the variant contradicts itself or the base.
    """
    where = f"variant {variant.name}"
    data = schema.dump(config.base)
    data["network"] |= variant.network
    if data["value_network"] is not None:
        data["value_network"] |= variant.network
    data["worlds"] = [{**group, **variant.worlds} for group in data["worlds"]]
    data["algorithm"] |= variant.algorithm
    data |= {"name": variant.name, "seed": seed}
    cell = schema.build(ExperimentConfig, data, where)
    wanted = trained_parameters(config.base.network)
    return dataclasses.replace(cell, network=of_size(cell.network, wanted))


def trained_parameters(config: NetworkConfig) -> int:
    """Number of the policy's weights that a loss on its action and its choice reaches over two ticks."""
    with torch.random.fork_rng(devices=[]):
        network = LgtcNetwork(config, 4)
    world = World(
        WorldConfig(worlds=1, agents=(3, 3), consumers=(2, 2), kinds=config.kinds), RewardWeights(), 0,
        (network.message_width,),
    )  # fmt: skip
    first = network(world.observe(network.initial_state(1, 3), 0))
    world.step(torch.zeros(1, 3, 2), [first.message])
    second = network(world.observe(first.state, 0))
    (second.head.sum() + second.logits.sum()).backward()
    reached = sum(weight.numel() for weight in network.parameters() if weight.grad is not None)
    return reached - (0 if config.liquid else config.liquid_width * config.head[0])  # zeros enter the head in x's place


def of_size(config: NetworkConfig, wanted: int) -> NetworkConfig:
    """`config` with the layers of its head so wide that `trained_parameters` is nearest to `wanted`."""

    def scaled(width: int) -> NetworkConfig:
        head = tuple(max(4, round(width * layer / config.head[0])) for layer in config.head)
        return dataclasses.replace(config, head=head)

    low, high = 4, 1024
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if trained_parameters(scaled(middle)) <= wanted else (low, middle)
    return min((scaled(low), scaled(high)), key=lambda tried: abs(trained_parameters(tried) - wanted))


def run_cell(config: ComparisonConfig, variant: Variant, seed: int, folder: Path) -> dict[str, Any]:
    """Train (or continue) and evaluate one cell; a finished one is read.

    Its policy is the last one, not the best of several. It is evaluated in worlds like its own, with x as it is and
    with x set to 0 at every tick.
    """
    file = folder / RESULT
    if file.exists():
        return dict(schema.load_json(file))
    cell = experiment(config, variant, seed)
    trainer = train(cell, folder, quiet=True)
    if not trainer.finished():  # a person stopped it: the checkpoint is there, a score of half a training must not be
        raise KeyboardInterrupt
    run = load_run(folder, best=False)
    loss = mean(cell.worlds[0].message_loss)
    worlds = standard_worlds(cell.worlds[0], *_largest(cell), config.evaluation_worlds, loss)
    seeds = [HELD_OUT + 1000 * i for i in range(config.evaluation_seeds)]
    scores = compare(run.policy, worlds, cell.rewards, seeds)
    zeroed = compare(run.policy, worlds, cell.rewards, seeds, zero_liquid=True) if cell.network.liquid else None
    result = {
        "variant": variant.name,
        "seed": seed,
        "steps": trainer.steps,
        "seconds": trainer.seconds,
        "parameters": trained_parameters(cell.network),
        "contraction_rate": run.policy.contraction_rate().item(),
        "scores": dataclasses.asdict(scores),
        "x_zeroed": None if zeroed is None else dataclasses.asdict(zeroed),
    }
    scratch = file.with_suffix(".new")
    write(scratch, json.dumps(result, indent=2) + "\n")
    os.replace(scratch, file)
    return result


def _largest(cell: ExperimentConfig) -> tuple[int, int]:
    """(N, M) of the evaluation: the largest of the first group."""
    return cell.worlds[0].agents[1], cell.worlds[0].consumers[1]


def table(config: ComparisonConfig, out: Path) -> str:
    """Markdown: one row per variant, mean and standard deviation over the seeds that are finished."""
    lines = [
        "| variant | seeds | parameters | return / expert's | satisfaction / expert's | return with x set to 0 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for variant in config.variants:
        results = [schema.load_json(file) for file in sorted((out / variant.name).glob(f"*/{RESULT}"))]
        if not results:
            lines.append(f"| {variant.name} | 0 | | not run | | |")
            continue
        zeroed = [result["x_zeroed"]["ratio"] for result in results if result["x_zeroed"]]
        columns = [
            variant.name,
            str(len(results)),
            str(results[0]["parameters"]),
            _spread([result["scores"]["ratio"] for result in results]),
            _spread([result["scores"]["satisfaction_ratio"] for result in results]),
            _spread(zeroed) if zeroed else "no x",
        ]
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    return f"{mean(values):.3f} +- {pstdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path, help="config/training/ablation.yaml")
    parser.add_argument("--out", type=Path, help="default: runs/<name of the file>")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="these variants only")
    parser.add_argument("--table", action="store_true", help="train nothing, write the table of what is there")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    try:
        config = schema.load(ComparisonConfig, arguments.config)
        out = arguments.out or Path("runs") / arguments.config.stem
        names = [variant.name for variant in config.variants]
        for name in arguments.only or []:
            if name not in names:
                raise ConfigError("command line", "--only", name, f"some of {', '.join(names)}")
        for seed in range(0 if arguments.table else arguments.seeds):
            for variant in config.variants:
                if arguments.only is None or variant.name in arguments.only:
                    result = run_cell(config, variant, seed, out / variant.name / str(seed))
                    logger.info("%s, seed %d: return %.3f", variant.name, seed, result["scores"]["ratio"])
                    write(out / TABLE, table(config, out))
        out.mkdir(parents=True, exist_ok=True)
        write(out / TABLE, table(config, out))
        logger.info("table: %s", out / TABLE)
    except LgtcError as error:
        raise SystemExit(f"compare: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("compare: stopped; start it again to go on") from None


if __name__ == "__main__":
    main()
