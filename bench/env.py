"""Environment steps per second at N = 10, M = 4, beside VMAS `navigation` where that is installed.

    python bench/env.py [--worlds 1 32 256 1024] [--seconds 3] [--rounds 5]

One environment step is one tick of one world: motion, deliveries, coverage, rewards of eq. (3), messages one tick late.
Both sides get random actions and no learning, one thread each, in turns; steps per second of processor time, median
of the rounds, so that what else runs on the machine disturbs neither. VMAS (GPL-3) is a yardstick only: nothing here
needs it; `pip install vmas` into the environment to see its column.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch

from lgtc_core.world.rules import RewardWeights
from lgtc_training.configuration import WorldConfig
from lgtc_training.env import World


def rate(step: Callable[[], None], worlds: int, seconds: float) -> float:
    """Steps of single worlds per second of processor time."""
    count, begun = 0, time.process_time()
    while (spent := time.process_time() - begun) < seconds:
        step()
        count += 1
    return count * worlds / spent


def ours(worlds: int) -> Callable[[], None]:
    """One tick of our worlds; an episode's end resets them, as in training."""
    config = WorldConfig(worlds=worlds, ticks=64)
    world = World(config, RewardWeights(), 0, (1,))
    message = torch.zeros(worlds, 10, 1)

    def step() -> None:
        if world.tick == config.ticks:
            world.reset()
        world.step(2 * torch.rand(worlds, 10, 2) - 1, [message])

    return step


def vmas(worlds: int) -> Callable[[], None] | None:
    """One tick of VMAS navigation with 10 agents; None where it is not installed."""
    try:
        from vmas import make_env
    except ImportError:
        return None
    env = make_env("navigation", num_envs=worlds, n_agents=10, max_steps=64, seed=0, device="cpu")
    ticks = 0

    def step() -> None:
        nonlocal ticks
        if ticks % 64 == 0:
            env.reset()
        ticks += 1
        env.step([env.get_random_action(agent) for agent in env.agents])

    return step


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--worlds", type=int, nargs="+", default=[1, 32, 256, 1024])
    parser.add_argument("--seconds", type=float, default=3.0, help="per number of worlds and side")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sys.stdout.write("| worlds | ours, steps/s | VMAS navigation | ratio |\n| --- | --- | --- | --- |\n")
    for worlds in arguments.worlds:
        sides = [side for side in (ours(worlds), vmas(worlds)) if side is not None]
        rates: list[list[float]] = [[] for _ in sides]
        for side in sides:
            side()
        for _ in range(arguments.rounds):
            for side, measured in zip(sides, rates, strict=True):
                measured.append(rate(side, worlds, arguments.seconds / arguments.rounds))
        middle = [statistics.median(measured) for measured in rates]
        columns = "not installed | -" if len(middle) == 1 else f"{middle[1]:.0f} | {middle[0] / middle[1]:.1f}"
        sys.stdout.write(f"| {worlds} | {middle[0]:.0f} | {columns} |\n")


if __name__ == "__main__":
    main()
