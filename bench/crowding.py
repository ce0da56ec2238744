"""How crowded it gets with and without the safety filter in the environment, and how often it intervenes.

    ./setup/run python bench/crowding.py RUN                 # a training run; without one, the yardsticks alone

For every case, on held-out worlds (rows: filter off, filter on):

    closer than D   share of living agents that have another closer than the safety distance, mean over ticks
    closest         smallest distance of two agents, as a multiple of the safety distance
    intervened      share of actions that the filter changes by more than 1 % of full speed
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lgtc_core.world.rules import RewardWeights
from lgtc_training.configuration import WorldConfig
from lgtc_training.env import World
from lgtc_training.evaluate import HELD_OUT, Deterministic, expert, greedy, standard_worlds

SAFETY_DISTANCE = 0.1
"""Normalised: 0.25 m in the fleet file's arena of 5 m."""
CASES = ((10, 4), (30, 4), (50, 4), (50, 10))


class Crowd(NamedTuple):
    """What one controller came to in one case."""

    satisfaction: float
    closer: float
    closest: float
    intervened: float


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="run folder with checkpoint.pt")
    parser.add_argument("--worlds", type=int, default=8)
    parser.add_argument("--seed", type=int, default=HELD_OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    base, rewards, widths = WorldConfig(), RewardWeights(), ()
    controllers: dict[str, Callable[[], Any]] = {"greedy": lambda: greedy, "expert": lambda: expert}
    if arguments.run is not None:
        from lgtc_training.checkpoint import load_run

        run = load_run(arguments.run)
        base, rewards, widths = run.config.worlds[0], run.config.rewards, (run.policy.message_width,)
        controllers["policy"] = lambda: Deterministic(run.policy)
    print("| N, M | controller | filter | demand met | closer than D | closest / D | intervened |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for agents, consumers in CASES:
        case = standard_worlds(base, agents, consumers, arguments.worlds, once=True)
        for name, controller in controllers.items():
            for radius in (0.0, SAFETY_DISTANCE):
                config = dataclasses.replace(case, safety_radius=radius)
                world = World(config, rewards, arguments.seed, widths if name == "policy" else ())
                crowd = fly(world, controller())
                told = "on" if radius else "off"
                print(
                    f"| {agents}, {consumers} | {name} | {told} | {crowd.satisfaction:.3f} | {crowd.closer:.1%} |"
                    f" {crowd.closest:.2f} | {crowd.intervened:.1%} |",
                    flush=True,
                )


@torch.no_grad()
def fly(world: World, controller: Any) -> Crowd:
    """One episode; the first quarter, in which random starts come apart, does not count."""
    n = world.p.shape[1]
    closer, intervened, closest, ticks = 0.0, 0.0, float("inf"), 0
    for tick in range(world.config.ticks):
        action, messages, choice = controller(world)
        world.step(action, messages, choice)
        if tick < world.config.ticks // 4:
            continue
        gap = (torch.cdist(world.p, world.p) + 10.0 * torch.eye(n)).amin(-1)
        closer += float((gap < SAFETY_DISTANCE - 1e-4).float().mean())
        closest = min(closest, float(gap.min()))
        intervened += float((world.correction > 0.01).float().mean())
        ticks += 1
    return Crowd(float(world.satisfaction().mean()), closer / ticks, closest / SAFETY_DISTANCE, intervened / ticks)


if __name__ == "__main__":
    main()
