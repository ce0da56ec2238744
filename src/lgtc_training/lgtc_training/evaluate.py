"""How good is a policy? Held-out worlds, the same for it, the expert and the greedy floor.

    python -m lgtc_training.evaluate RUN_DIR_OR_MODEL_DIR [--seeds 4] [--worlds 64] [--json FILE]

Ratio = return / the expert's return on the same worlds (return: sum over ticks of eq. (3), mean over agents
that lived). rw_d of eq. (3) pays for nearing the consumer a_i of eq. (2). Two readings, both reported:

again  eq. (2) is solved at every tick on the present state, for the learner and for the expert; among answers of
       nearly the same cost, a_i is the one nearest to what the team has chosen.
once   eq. (2) is solved at reset and after events. It has many answers of nearly the same cost; only who was told
       which one was drawn can collect all of rw_d.

Return without rw_d, satisfaction and the cost of eq. (2) that was reached do not depend on the reading.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import torch
from torch import Tensor

from lgtc_core.errors import ConfigError, LgtcError
from lgtc_core.world import rules
from lgtc_core.world.expert import greedy_target
from lgtc_core.world.rules import RewardTerms, RewardWeights
from lgtc_training.configuration import WorldConfig
from lgtc_training.env import World
from lgtc_training.networks import LgtcNetwork, mean_action

HELD_OUT = 1_000_000
"""Seeds from here on are for evaluation; training draws from below."""
EVALUATION_TICKS = 96
"""Length of an evaluation episode; the expert needs 19 ticks for 95 % of what it reaches."""

LABEL_GAIN, LABEL_MARGIN, LABEL_STARTS = 0.05, 0.02, 16
"""With which eq. (2) is solved again in evaluation, see `assign_batch`."""

Controller = Callable[[World], tuple[Tensor, list[Tensor], Tensor | None]]
"""World -> (action (W, N, 2), messages per stream, chosen consumers (W, N); None: the labels of eq. (2))."""


class Deterministic:
    """A policy network flown without exploration noise, state and messages included.

    Args:
        policy: the network. zero_liquid: set x to 0 at every tick (what does the liquid state earn?).
    """

    def __init__(self, policy: LgtcNetwork, zero_liquid: bool = False) -> None:
        self.policy, self.zero_liquid = policy, zero_liquid
        self.state: Tensor | None = None
        self.choice: Tensor | None = None
        """(W, N) chosen consumer at the last tick."""

    @torch.no_grad()
    def __call__(self, world: World) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """Act for every agent of `world`, once per tick."""
        if self.state is None:
            self.state = self.policy.initial_state(*world.p.shape[:2])
        output = self.policy(world.observe(self.state, 0))
        self.state = output.state
        message = output.message
        if self.zero_liquid:
            width = self.policy.config.liquid_width
            self.state = torch.cat((torch.zeros_like(self.state[..., :width]), self.state[..., width:]), -1)
            message = torch.cat((torch.zeros_like(message[..., :width]), message[..., width:]), -1)
        self.choice = output.chosen()
        return mean_action(output), [message], self.choice


def expert(world: World) -> tuple[Tensor, list[Tensor], Tensor | None]:
    """The central expert as a controller."""
    return world.expert(), _silence(world), None


def greedy(world: World) -> tuple[Tensor, list[Tensor], Tensor | None]:
    """The greedy floor as a controller."""
    target = greedy_target(world.p, world.supply, world.d, world.outstanding(), world.exists)
    return world.expert(target), _silence(world), target


def _silence(world: World) -> list[Tensor]:
    return [torch.zeros_like(message[:, :, 0]) for message in world.links.messages]


@dataclass(frozen=True)
class Score:
    """What one controller reached on one set of worlds."""

    team_return: float
    """Sum over ticks of eq. (3), mean over agents."""
    work_return: float
    """The same without rw_d."""
    satisfaction: float
    """Share of the demand met at the end."""
    collisions: float
    """Pairs closer than half the collision distance, per agent and tick."""
    switches: float
    """Changes of the chosen consumer per agent and 100 ticks in the second half of the episode; 0 for yardsticks."""
    speed: float
    """Mean speed in the second half, share of v_max: how calm it is once the work is done."""
    cost: float
    """Cost of eq. (2) of the last choices / least cost found in that state, median over worlds."""
    terms: RewardTerms
    """The return by term of eq. (3), floats."""


def score(
    controller: Controller,
    config: WorldConfig,
    rewards: RewardWeights,
    seed: int,
    widths: tuple[int, ...],
    device: torch.device | str = "cpu",
) -> Score:
    """Fly one episode in the worlds that `seed` gives."""
    world = World(config, rewards, seed, widths, device)
    sums = RewardTerms(*[0.0] * len(RewardTerms._fields))
    lived = world.alive.clone()
    close, switched, speed, counted = 0.0, 0.0, 0.0, 0.0
    before: Tensor | None = None
    choice: Tensor | None = None
    for tick in range(config.ticks):
        action, messages, choice = controller(world)
        if tick == config.ticks - 1:
            cost = world.cost_ratio(world.target if choice is None else choice)
        terms = world.step(action, messages, choice)
        sums = RewardTerms(*(total + float(term.sum()) for total, term in zip(sums, terms, strict=True)))
        gap = torch.cdist(world.p, world.p) + 10.0 * torch.eye(world.p.shape[1], device=world.device)
        gap = torch.where(world.alive[:, None] & world.alive[:, :, None], gap, 10.0)
        close += float((gap < 0.5 * rewards.collision_distance).sum()) / float(lived.sum()) / config.ticks
        if tick >= config.ticks // 2:
            if choice is not None and before is not None:
                switched += float(((choice != before) & world.alive).sum())
            before = choice
            speed += float((world.velocity.norm(dim=-1) / world.speed[..., 0] * world.alive).sum())
            counted += float(world.alive.sum())
    mean_terms = RewardTerms(*(total / float(lived.sum()) for total in sums))
    return Score(
        mean_terms.total(),
        mean_terms.total() - mean_terms.d,
        float(world.satisfaction().mean()),
        close,
        100 * switched / counted,
        speed / counted,
        float(cost.median()),
        mean_terms,
    )


@dataclass(frozen=True)
class Comparison:
    """A policy beside the yardsticks, mean over seeds and standard deviation between them."""

    ratio: float
    ratio_std: float
    work_ratio: float
    work_ratio_std: float
    satisfaction_ratio: float
    satisfaction_ratio_std: float
    greedy_ratio: float
    expert_return: float
    collisions: float
    switches: float
    speed: float
    cost: float
    expert_cost: float
    lost: dict[str, float]
    """Share of the expert's return that is missing, by term of eq. (3); negative: the learner has more of it."""


def compare(
    policy: LgtcNetwork, config: WorldConfig, rewards: RewardWeights, seeds: list[int], zero_liquid: bool = False
) -> Comparison:
    """Policy, expert and greedy on the same worlds."""
    widths = (policy.message_width,)
    rows = [
        (
            score(Deterministic(policy, zero_liquid), config, rewards, seed, widths, policy.device),
            score(expert, config, rewards, seed, widths, policy.device),
            score(greedy, config, rewards, seed, widths, policy.device),
        )
        for seed in seeds
    ]
    ratios = [ours.team_return / best.team_return for ours, best, _ in rows]
    works = [ours.work_return / best.work_return for ours, best, _ in rows]
    met = [ours.satisfaction / max(best.satisfaction, 1e-9) for ours, best, _ in rows]
    return Comparison(
        mean(ratios), pstdev(ratios), mean(works), pstdev(works), mean(met), pstdev(met),
        mean(floor.team_return / best.team_return for _, best, floor in rows),
        mean(best.team_return for _, best, _ in rows),
        mean(ours.collisions for ours, _, _ in rows),
        mean(ours.switches for ours, _, _ in rows),
        mean(ours.speed for ours, _, _ in rows), mean(ours.cost for ours, _, _ in rows),
        mean(best.cost for _, best, _ in rows),
        {
            name: mean((getattr(b.terms, name) - getattr(o.terms, name)) / b.team_return for o, b, _ in rows)
            for name in RewardTerms._fields
        },
    )  # fmt: skip


@dataclass(frozen=True)
class HandOver:
    """What followed the loss of a place's only server."""

    trials: int
    covered: float
    """Share of trials in which the place had a server again within the deadline."""
    kept: float
    """Share in which, from there on, every place that can be served stays served to the end."""
    median_ticks: float
    expert_median_ticks: float


def hand_over(
    policy: LgtcNetwork,
    config: WorldConfig,
    rewards: RewardWeights,
    seed: int,
    settle_ticks: int = 100,
    deadline_ticks: int = 20,
    hold_ticks: int = 100,
) -> HandOver:
    """Let the team settle, take a sole server away, and watch its place.

    The deadline counts from when the expert, in the same state, would have the place served again: how far the
    nearest
    spare drone happens to be is not the policy's doing.
    """

    def settled(controller: Controller) -> tuple[World, Tensor]:
        world = World(config, rewards, seed, (policy.message_width,), policy.device)
        for _ in range(settle_ticks):
            world.step(*controller(world))
        sole = world.sole_servers()
        return world, torch.nn.functional.one_hot(sole.float().argmax(-1), sole.shape[-1]).bool() & sole

    def watch(world: World, controller: Controller, victim: Tensor, ticks: int) -> tuple[Tensor, Tensor]:
        """(first tick at which the place is served, share of later ticks with all places served), each (W,)."""
        place = (world.inside() & victim[..., None]).any(1)
        world.lose(victim)
        first = torch.full((len(place),), float("inf"), device=world.device)
        good = torch.zeros(len(place), device=world.device)
        for tick in range(1, ticks + 1):
            world.step(*controller(world))
            served = rules.serving(world.inside(), world.supply, world.demanded, world.kind).any(-1).any(1)
            first = torch.where(torch.isinf(first) & (served | ~place).all(-1), float(tick), first)
            good += (served | ~world.exists).all(-1) & (tick > ticks - 20)
        return first, good / 20

    ours = Deterministic(policy)
    world, victim = settled(ours)
    yardstick, _ = settled(Deterministic(policy))
    trial = victim.any(-1)
    ticks = deadline_ticks + hold_ticks
    best, _ = watch(yardstick, expert, victim, ticks)
    first, good = watch(world, ours, victim, ticks)
    first, best, good = first[trial], best[trial], good[trial]
    return HandOver(
        int(trial.sum()), float((first <= best + deadline_ticks).float().mean()), float((good > 0.99).float().mean()),
        float(first.median()), float(best.median()),
    )  # fmt: skip


def battery_worlds(base: WorldConfig, worlds: int = 64) -> WorldConfig:
    """Section V: 5 drones, 3 places, one discharging 0-depletion kind, vehicles as slow as Crazyflies."""
    return dataclasses.replace(
        base, worlds=worlds, ticks=2000, agents=(5, 5), consumers=(3, 3), carried=1.0, supply=(1.0, 1.0),
        single_kind=1.0,
        zero_depletion=1.0, demand_each=(0.5, 0.9), discharge_per_s=(0.003, 0.006), speed_factor=(0.3, 0.5),
        lag_s=(0.1, 0.3),
        start_spread=(0.4, 1.0), message_loss=(0.0, 0.0), losses=0.0, changes=0.0, mixed_kinds=False, relabel_ticks=0,
    )  # fmt: skip


def standard_worlds(
    base: WorldConfig,
    agents: int,
    consumers: int,
    worlds: int = 64,
    loss: float = 0.0,
    once: bool = False,
    delay: int = 0,
) -> WorldConfig:
    """The paper's training case with other N and M: r kinds, no events, full speed; eq. (2) solved again or `once`."""
    plain = WorldConfig(
        kinds=base.kinds, tick_s=base.tick_s, communication_radius=base.communication_radius,
        disc_radius=base.disc_radius,
        speed_per_s=base.speed_per_s,
    )  # fmt: skip
    return dataclasses.replace(
        plain, worlds=worlds, ticks=EVALUATION_TICKS, agents=(agents, agents), consumers=(consumers, consumers),
        message_loss=(loss, loss), message_delay=(delay, delay),
        label_starts=max(2, LABEL_STARTS * 10 // max(10, agents)),
        relabel_ticks=0 if once else 1, label_gain=LABEL_GAIN, label_margin=LABEL_MARGIN,
    )  # fmt: skip


def stability(
    policy: LgtcNetwork, base: WorldConfig, rewards: RewardWeights, seed: int, worlds: int = 16
) -> dict[str, float]:
    """2000 ticks of the battery scenario without an event: does the team stay where it is needed?"""
    config = battery_worlds(base, worlds)
    result = score(Deterministic(policy), config, rewards, seed, (policy.message_width,), policy.device)
    best = score(expert, config, rewards, seed, (policy.message_width,), policy.device)
    return {
        "satisfaction": result.satisfaction,
        "satisfaction_expert": best.satisfaction,
        "switches_per_100_ticks": result.switches,
        "speed_share": result.speed,
        "collisions": result.collisions,
    }


def _count(worlds: int, agents: int) -> int:
    """Worlds of `agents` that cost no more than `worlds` of ten; a few at least."""
    return max(2 if agents >= 100 else 8, worlds // max(1, agents // 10))


def full_table(
    policy: LgtcNetwork, base: WorldConfig, rewards: RewardWeights, seeds: int, worlds: int
) -> dict[str, Any]:
    """Every figure of docs/training.md for one policy."""
    chosen = [HELD_OUT + 1000 * i for i in range(seeds)]
    table: dict[str, Any] = {"seeds": chosen, "worlds_per_seed": worlds}
    for name, agents, consumers, loss, delay in (
        ("N10_M4", 10, 4, 0.0, 0), ("N10_M8", 10, 8, 0.0, 0), ("N20_M4", 20, 4, 0.0, 0), ("N30_M4", 30, 4, 0.0, 0),
        ("N30_M10", 30, 10, 0.0, 0), ("N50_M4", 50, 4, 0.0, 0), ("N50_M10", 50, 10, 0.0, 0), ("N5_M3", 5, 3, 0.0, 0),
        ("N10_M4_loss20", 10, 4, 0.2, 0), ("N10_M4_loss50", 10, 4, 0.5, 0), ("N10_M4_loss20_late1", 10, 4, 0.2, 1),
        ("N10_M4_loss50_late3", 10, 4, 0.5, 3), ("N100_M10", 100, 10, 0.0, 0),
    ):  # fmt: skip
        case = standard_worlds(base, agents, consumers, _count(worlds, agents), loss, delay=delay)
        table[name] = dataclasses.asdict(compare(policy, case, rewards, chosen))
    for name, agents, consumers in (("N10_M4_once", 10, 4), ("N10_M8_once", 10, 8), ("N50_M4_once", 50, 4)):
        case = standard_worlds(base, agents, consumers, _count(worlds, agents), once=True)
        table[name] = dataclasses.asdict(compare(policy, case, rewards, chosen))
    case = standard_worlds(base, 10, 4, worlds)
    table["N10_M4_x_zeroed"] = dataclasses.asdict(compare(policy, case, rewards, chosen, zero_liquid=True))
    trials = [hand_over(policy, battery_worlds(base, worlds), rewards, seed, settle_ticks=200) for seed in chosen]
    fast = dataclasses.replace(battery_worlds(base, worlds), speed_factor=(1.0, 1.0), lag_s=(0.0, 0.0))
    quick = [hand_over(policy, fast, rewards, seed) for seed in chosen]
    table["hand_over_slow_vehicles"] = [dataclasses.asdict(trial) for trial in trials]
    table["hand_over_full_speed"] = [dataclasses.asdict(trial) for trial in quick]
    table["stability_2000_ticks"] = stability(policy, base, rewards, HELD_OUT)
    return table


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder with checkpoint.pt")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--worlds", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the table here as well")
    parser.add_argument(
        "--case", nargs=4, type=float, metavar=("N", "M", "LOSS", "DELAY"),
        help="one case only: agents, consumers, share of messages lost, further ticks until a message comes",
    )  # fmt: skip
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    from lgtc_training.checkpoint import load_run

    try:
        if not arguments.run.is_dir():
            raise ConfigError(str(arguments.run), "", "no such folder", "the folder of a training run")
        run = load_run(arguments.run)
    except LgtcError as error:
        raise SystemExit(f"evaluate: {error}") from None
    base, rewards = run.config.worlds[0], run.config.rewards
    if arguments.case is None:
        table = full_table(run.policy, base, rewards, arguments.seeds, arguments.worlds)
    else:
        n, m, loss, delay = arguments.case
        case = standard_worlds(base, int(n), int(m), arguments.worlds, loss, delay=int(delay))
        seeds = [HELD_OUT + 1000 * i for i in range(arguments.seeds)]
        table = dataclasses.asdict(compare(run.policy, case, rewards, seeds))
    text = json.dumps(table, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
