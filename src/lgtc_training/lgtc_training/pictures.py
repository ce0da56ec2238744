"""What a person wants to see of a training run, as small pictures.

    python -m lgtc_training.pictures RUN_DIR [--out DIR] [--only curve map episode] [--worlds 8]

learning_curve.png   from the run's log: return, satisfaction and hand-over beside the expert's, agreement with eq. (2)
generalisation.png   a heat map over N and M: return and satisfaction of the policy / the expert's, on held-out worlds
episode.gif          one held-out episode: consumers with what is met, agents in the colour of the chosen one
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from lgtc_core.errors import ConfigError, LgtcError
from lgtc_core.world.rules import RewardWeights
from lgtc_training.checkpoint import load_run, read_log
from lgtc_training.configuration import WorldConfig
from lgtc_training.env import World
from lgtc_training.evaluate import HELD_OUT, Deterministic, expert, score, standard_worlds
from lgtc_training.networks import LgtcNetwork

logger = logging.getLogger(__name__)

CURVE, MAP, EPISODE = "learning_curve.png", "generalisation.png", "episode.gif"
MAP_AGENTS = (5, 10, 20, 30, 50)
MAP_CONSUMERS = (2, 4, 6, 8, 10)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b8578f", "#b98900", "#3b9fd8", "#6a51a3", "#7c7a12")
"""Of consumers, after Okabe and Ito; repeated beyond eight."""
_INK, _MUTED, _PAPER = "#1b1f24", "#9aa4ae", "#ffffff"
_FRAME_MS = 60


def learning_curve(folder: Path, png: Path) -> None:
    """Draw the log of a run.

    Raises:
        ConfigError: there is no log, or no line in it.
    """
    rows = read_log(folder)
    if not rows:
        raise ConfigError(str(folder), "", "a log without a line", "a run with at least one evaluation")
    steps = np.array([row["steps"] for row in rows]) / 1000
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for key, label in (("ratio_N10_M4", "N=10 M=4"), ("ratio_N10_M8", "N=10 M=8"), ("ratio_N30_M8", "N=30 M=8")):
        left.plot(steps, [row[key] for row in rows], label=label)
    left.set(title="return / the expert's", xlabel="thousand team snapshots")
    for key, label in (
        ("satisfaction_N10_M4", "satisfaction / the expert's"),
        ("hand_over", "places taken over in time"),
        ("agreement", "agreement with eq. (2)"),
    ):
        right.plot(steps, [row[key] for row in rows], label=label)
    right.set(title=f"{rows[-1]['seconds'] / 60:.0f} minutes of training", xlabel="thousand team snapshots")
    for axes in (left, right):
        axes.axhline(1.0, color=_MUTED, linewidth=0.8)
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.savefig(png, dpi=100)


def generalisation(
    policy: LgtcNetwork, base: WorldConfig, rewards: RewardWeights, worlds: int
) -> dict[tuple[int, int], tuple[float, float]]:
    """(return, satisfaction) of the policy over the expert's for every (N, M) of the map with N >= M."""
    result = {}
    for n in MAP_AGENTS:
        for m in MAP_CONSUMERS:
            if m > n:
                continue
            case = standard_worlds(base, n, m, worlds)
            widths, seed = (policy.message_width,), HELD_OUT + 100 * n + m
            ours = score(Deterministic(policy), case, rewards, seed, widths, policy.device)
            best = score(expert, case, rewards, seed, widths, policy.device)
            result[n, m] = ours.team_return / best.team_return, ours.satisfaction / max(best.satisfaction, 1e-9)
            logger.info("N=%d M=%d: return %.3f, satisfaction %.3f of the expert's", n, m, *result[n, m])
    return result


def generalisation_map(figures: dict[tuple[int, int], tuple[float, float]], trained: str, png: Path) -> None:
    """Draw what `generalisation` measured.

    Args:
        figures: (return, satisfaction) by (N, M).
        trained: what the policy was trained on, for the title.
        png: file to write.
    """
    agents, consumers = (sorted({key[axis] for key in figures}) for axis in (0, 1))
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    colours = matplotlib.colormaps["viridis"].with_extremes(bad=_PAPER)
    for index, (axes, title) in enumerate(zip(figure.subplots(1, 2), ("return", "satisfaction"), strict=True)):
        grid = np.array([[figures.get((n, m), (np.nan, np.nan))[index] for n in agents] for m in consumers])
        axes.imshow(grid, cmap=colours, vmin=0.6, vmax=1.05, origin="lower", aspect="auto")
        for (row, column), value in np.ndenumerate(grid):
            if np.isfinite(value):
                ink = _INK if value > 0.85 else _PAPER
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=9)
        axes.set(title=f"{title} / the expert's", xlabel="agents N", ylabel="consumers M")
        axes.set_xticks(range(len(agents)), [str(n) for n in agents])
        axes.set_yticks(range(len(consumers)), [str(m) for m in consumers])
    figure.suptitle(f"trained on {trained}", fontsize=9, color=_INK)
    figure.savefig(png, dpi=100)


def episode(
    policy: LgtcNetwork, config: WorldConfig, rewards: RewardWeights, seed: int, gif: Path, size: int = 320
) -> int:
    """Fly the first world of `config` and draw every second tick.

    Returns:
        Frames drawn.
    """
    world = World(config, rewards, seed, (policy.message_width,), policy.device)
    pilot = Deterministic(policy)
    frames = []
    for tick in range(config.ticks):
        action, messages, choice = pilot(world)
        if tick % 2 == 0 and choice is not None:
            frames.append(_frame(world, choice[0].tolist(), size).quantize(32, dither=Image.Dither.NONE))
        world.step(action, messages, choice)
    frames[0].save(gif, save_all=True, append_images=frames[1:], duration=_FRAME_MS, loop=0, optimize=True)
    return len(frames)


def _frame(world: World, choice: list[int], size: int) -> Image.Image:
    """One tick of the first world: a consumer's ring is full where its demand is met."""
    image = Image.new("RGB", (size, size), _PAPER)
    draw = ImageDraw.Draw(image)

    def pixel(p: list[float]) -> tuple[float, float]:
        return (p[0] / 1.08 + 1) * size / 2, (1 - p[1] / 1.08) * size / 2

    def box(p: list[float], radius: float) -> tuple[float, float, float, float]:
        (x, y), reach = pixel(p), radius * size / 2 / 1.08
        return x - reach, y - reach, x + reach, y + reach

    draw.rectangle((*pixel([-1.0, 1.0]), *pixel([1.0, -1.0])), outline=_MUTED)
    asked, missing = world.demanded[0].sum(-1).tolist(), world.remaining[0].sum(-1).tolist()
    for m, d in enumerate(world.d[0].tolist()):
        if world.exists[0, m]:
            met = 1.0 - missing[m] / asked[m] if asked[m] > 0 else 1.0
            draw.ellipse(box(d, world.config.disc_radius), outline=_MUTED)
            draw.arc(box(d, world.config.disc_radius), -90, -90 + 360 * met, COLOURS[m % len(COLOURS)], 4)
    for i, p in enumerate(world.p[0].tolist()):
        if world.alive[0, i]:
            draw.ellipse(box(p, 0.03), fill=COLOURS[choice[i] % len(COLOURS)])
    met = float(world.satisfaction()[0])
    draw.text((6, 4), f"{world.tick * world.config.tick_s:.1f} s   demand met {met:.0%}", fill=_INK)
    return image


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a training run")
    parser.add_argument("--out", type=Path, help="where to write; default: the run folder")
    parser.add_argument("--only", nargs="+", choices=("curve", "map", "episode"), default=("curve", "map", "episode"))
    parser.add_argument("--worlds", type=int, default=8, help="held-out worlds per field of the map")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    out = arguments.out or arguments.run
    try:
        if not arguments.run.is_dir():
            raise ConfigError(str(arguments.run), "", "no such folder", "the folder of a training run")
        out.mkdir(parents=True, exist_ok=True)
        if "curve" in arguments.only:
            learning_curve(arguments.run, out / CURVE)
        run = load_run(arguments.run)
        base, rewards = run.config.worlds[0], run.config.rewards
        if "episode" in arguments.only:
            episode(run.policy, standard_worlds(base, 10, 4, 1), rewards, HELD_OUT + 3, out / EPISODE)
        if "map" in arguments.only:
            groups = run.config.worlds
            n = min(group.agents[0] for group in groups), max(group.agents[1] for group in groups)
            m = min(group.consumers[0] for group in groups), max(group.consumers[1] for group in groups)
            trained = f"N {n[0]} to {n[1]}, M {m[0]} to {m[1]}"
            generalisation_map(generalisation(run.policy, base, rewards, arguments.worlds), trained, out / MAP)
    except LgtcError as error:
        raise SystemExit(f"pictures: {error}") from None
    logger.info("pictures: %s", out)


if __name__ == "__main__":
    main()
