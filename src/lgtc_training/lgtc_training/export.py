"""Write a trained run as models/<name>/{policy.onnx, value.onnx, card.json}, measured and checked.

    python -m lgtc_training.export RUN_DIR_OR_CONFIG [--name NAME] [--models DIR] [--seeds 4] [--worlds 64] [--last]

The exported graphs take any number of agents, consumers and neighbours. Before the card is written,
onnxruntime flies 100
recurrent ticks beside torch; a difference above 1e-5 refuses the export.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from lgtc_core import schema
from lgtc_core.errors import ConfigError, ContractError, LgtcError
from lgtc_core.mind.card import POLICY_FILE, VALUE_FILE, ModelCard, write_card
from lgtc_core.mind.observation import INPUTS, OUTPUTS_POLICY, OUTPUTS_VALUE, Observation, consumer_width, own_width
from lgtc_training import checkpoint
from lgtc_training.checkpoint import Run, load_run
from lgtc_training.configuration import ExperimentConfig
from lgtc_training.env import World
from lgtc_training.evaluate import HELD_OUT, full_table, standard_worlds
from lgtc_training.networks import LgtcNetwork

logger = logging.getLogger(__name__)

TOLERANCE = 1e-5
"""Largest difference between onnxruntime and torch over the check's roll-out."""
CHECK_TICKS = 100
MAX_CONSUMERS = 16
"""Consumers beyond twice the largest number trained on (8) are refused by the card, not by the graph."""


def example(network: LgtcNetwork, agents: int = 2, consumers: int = 3, neighbours: int = 4) -> Observation:
    """An observation of the right shapes, for tracing."""
    r = network.config.kinds
    generator = torch.Generator().manual_seed(0)

    def draw(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator)

    return Observation(
        own=draw(agents, own_width(r)),
        consumers=draw(agents, consumers, consumer_width(r)),
        consumer_mask=torch.ones(agents, consumers),
        neighbours=draw(agents, neighbours, network.message_width),
        neighbours_seen=draw(agents, neighbours, 3),
        neighbour_mask=torch.ones(agents, neighbours),
        state=network.initial_state(agents),
    )


def write_onnx(module: nn.Module, network: LgtcNetwork, outputs: tuple[str, ...], path: Path) -> None:
    """Export one deployed network with dynamic numbers of agents, consumers and neighbours."""
    batch, consumers, neighbours = (
        torch.export.Dim(name, min=1, max=4096) for name in ("agents", "consumers", "neighbours")
    )
    axes = Observation(
        own={0: batch}, consumers={0: batch, 1: consumers}, consumer_mask={0: batch, 1: consumers},
        neighbours={0: batch, 1: neighbours}, neighbours_seen={0: batch, 1: neighbours},
        neighbour_mask={0: batch, 1: neighbours}, state={0: batch},
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            module.eval(), tuple(example(network)), input_names=list(INPUTS), output_names=list(outputs),
            dynamic_shapes=axes._asdict(), dynamo=True, verbose=False,
        )  # fmt: skip
    if program is None:
        raise ContractError(str(path), "no program from the exporter", "a network that torch.onnx can export")
    model = program.model_proto
    for node in model.graph.node:  # where each node came from in our sources: twice the size of the weights
        node.ClearField("metadata_props")
        node.doc_string = ""
    model.graph.ClearField("value_info")
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def session(path: Path) -> onnxruntime.InferenceSession:
    """An onnxruntime session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@torch.no_grad()
def largest_difference(
    run: Run, policy_path: Path, value_path: Path, ticks: int = CHECK_TICKS
) -> tuple[float, tuple[float, float]]:
    """Fly `ticks` recurrent ticks with torch; onnxruntime keeps its own recurrent state beside it.

    Returns:
        (largest difference of any output at any tick, (smallest, largest) value met).
    """
    base = run.config.worlds[0]
    world = World(
        standard_worlds(base, 10, 4, 4, loss=0.1), run.config.rewards, HELD_OUT + 5,
        (run.policy.message_width, run.value.message_width),
    )  # fmt: skip
    sessions = [session(policy_path), session(value_path)]
    modules = [run.policy.as_onnx(), run.value.as_onnx(*run.value_moments)]
    states = [network.initial_state(*world.p.shape[:2]) for network in (run.policy, run.value)]
    twins = [state.flatten(0, 1).numpy() for state in states]
    worst, values = 0.0, []
    agents, consumers = world.p.shape[1], world.d.shape[1]
    for _ in range(ticks):
        messages = []
        for index, (module, twin) in enumerate(zip(modules, sessions, strict=True)):
            seen = world.observe(states[index], index)
            seen = seen._replace(
                consumers=seen.consumers.expand(-1, agents, -1, -1),
                consumer_mask=seen.consumer_mask.expand(-1, agents, consumers),
            )
            flat = Observation(*(x.flatten(0, 1).contiguous() for x in seen))
            ours = module(*flat)
            names = {put.name for put in twin.get_inputs()}
            feed = {
                name: x.numpy()
                for name, x in flat._replace(state=torch.from_numpy(twins[index]))._asdict().items()
                if name in names
            }
            theirs = twin.run(None, feed)
            worst = max(worst, *(float(np.abs(a.numpy() - b).max()) for a, b in zip(ours, theirs, strict=True)))
            twins[index] = theirs[2]
            states[index] = ours[2].unflatten(0, world.p.shape[:2])
            messages.append(ours[1].unflatten(0, world.p.shape[:2]))
            if index == 0:
                action = ours[0].unflatten(0, world.p.shape[:2])
            else:
                values += [float(ours[0].min()), float(ours[0].max())]
        world.step(action, messages)
    return worst, (min(values), max(values))


def export(run_folder: Path, directory: Path, name: str, seeds: int, worlds: int, best: bool = True) -> ModelCard:
    """Export a run and seal it with its card.

    Raises:
        ContractError: onnxruntime and torch differ by more than TOLERANCE.
    """
    run = load_run(run_folder, best)
    directory.mkdir(parents=True, exist_ok=True)
    policy_path, value_path = directory / POLICY_FILE, directory / VALUE_FILE
    write_onnx(run.policy.as_onnx(), run.policy, OUTPUTS_POLICY, policy_path)
    write_onnx(run.value.as_onnx(*run.value_moments), run.value, OUTPUTS_VALUE, value_path)
    worst, value_range = largest_difference(run, policy_path, value_path)
    logger.info("largest difference between onnxruntime and torch over %d ticks: %.1e", CHECK_TICKS, worst)
    if worst > TOLERANCE:
        raise ContractError(str(policy_path), f"answers {worst:.1e} from torch's", f"at most {TOLERANCE:.0e}")
    base = run.config.worlds[0]
    scores = full_table(run.policy, base, run.config.rewards, seeds, worlds)
    scores["command"] = f"python -m lgtc_training.export RUN_DIR --name {name} --seeds {seeds} --worlds {worlds}"
    scores["onnx_difference"] = worst
    return write_card(
        directory,
        name=name,
        created_utc=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        network=schema.dump(run.config.network),
        resource_kinds=run.config.network.kinds,
        max_consumers=MAX_CONSUMERS,
        message_width=run.policy.message_width,
        state_width=run.policy.state_width,
        liquid_width=run.config.network.liquid_width,
        tick_s=base.tick_s,
        communication_radius=base.communication_radius,
        disc_radius=base.disc_radius,
        speed_per_s=base.speed_per_s,
        value_range=list(value_range),
        contraction_rate=run.policy.contraction_rate().item(),
        training=schema.dump(run.config),
        scores=scores,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder, or the configuration file of a run in runs/")
    parser.add_argument("--name", help="name of the model; default: the experiment's")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder that holds the models")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--worlds", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--last", action="store_true", help="the last weights instead of the best evaluated ones")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    for exporter in ("onnxscript", "onnx_ir", "torch.onnx"):  # hundreds of lines on what they optimised away
        logging.getLogger(exporter).setLevel(logging.ERROR)
    torch.set_num_threads(arguments.threads)
    try:
        folder = arguments.run
        if folder.is_file():
            folder = Path("runs") / schema.load(ExperimentConfig, folder).name
        if not (folder / checkpoint.CONFIG).is_file():
            raise ConfigError(
                str(folder), "", "no training run", "the folder of a run; train first (make train CONFIG=...)"
            )
        name = arguments.name or schema.load(ExperimentConfig, folder / checkpoint.CONFIG).name
        directory = arguments.models / name
        card = export(folder, directory, name, arguments.seeds, arguments.worlds, not arguments.last)
        logger.info("wrote %s, contract %s", directory, card.contract[:12])
    except LgtcError as error:
        raise SystemExit(f"export: {error}") from None


if __name__ == "__main__":
    main()
