r"""Independent PPO with shared parameters (Section III-C), every agent with its own reward and value.

    J_pi = min( rho A, clip(rho, 1 - eps, 1 + eps) A ),   rho = pi(a | z) / pi_k(a | z)        eq. (12)
    J_V  = ( V - (A + V_k) )^2                                                                  eq. (13)
    A by GAE;  Pi = softplus(-c) + softplus(-tau)                                               eq. (15), see
    networks.py

Beside the paper, each switched by a coefficient: cross-entropy of Xi to eq. (2) (`assignment_loss`), distance
of the mean
action to the expert's controller given the chosen consumer (`motion_loss`), value normalisation.

Episodes end by time only: the value of the last state is bootstrapped. A lost agent's last value stands for its
future: being lost is nobody's doing. The recurrent state enters as it was during the rollout; with
`backpropagation_ticks` only at the first of so many ticks, and gradients flow through x over the others. What
neighbours sent enters as it was in any case.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lgtc_core.errors import LgtcError
from lgtc_core.mind.observation import Observation
from lgtc_training.configuration import AlgorithmConfig
from lgtc_training.env import World
from lgtc_training.networks import LgtcNetwork, log_std, mean_action
from lgtc_training.processes import Processes


class DivergenceError(LgtcError):
    """A term of the loss, or a gradient, is not finite. Attributes: update, term."""

    def __init__(self, update: int, term: str) -> None:
        self.update, self.term = update, term
        super().__init__(update, term)

    def __str__(self) -> str:
        """The sentence for people."""
        what = f"update {self.update}: {self.term} is not finite"
        return f"{what}; the last good checkpoint is kept, lower the learning rate"


@dataclass
class Rollout:
    """One episode of a group of worlds. Leading dimensions (T, W), agents N."""

    policy_input: Observation
    value_input: Observation | None  # None: the value network took no part
    action: Tensor  # (T, W, N, 2) before it was shortened
    log_probability: Tensor  # (T, W, N)
    choice: Tensor  # (T, W, N) index of the chosen consumer
    value: Tensor  # (T, W, N), in the unit of rewards
    reward: Tensor  # (T, W, N)
    alive: Tensor  # (T, W, N) bool
    label: Tensor  # (T, W, N) consumer of eq. (2), negative: none
    motion: Tensor  # (T, W, N, 2) the action of `World.spread` toward `choice`
    uncovered_weight: float = 0.0  # as in WorldConfig
    surrogate: bool = True  # likewise
    advantage: Tensor = field(default_factory=lambda: torch.empty(0))
    target: Tensor = field(default_factory=lambda: torch.empty(0))

    def flatten(self, ticks: int = 1) -> Samples:
        """One row per agent and tick. Consumers, which a world's agents share, stay one row per world and tick.

        Args:
            ticks: length of the segments over which gradients flow; of a lost agent's last segment nothing is used.
        """
        _, worlds, agents = self.value.shape
        starts = torch.zeros_like(self.alive)
        starts[::ticks] = self.alive.unflatten(0, (-1, ticks)).all(1)

        def join(x: Tensor) -> Tensor:
            return x.flatten(0, 1 if x.shape[2] == 1 else 2)

        return Samples(
            agents, ticks, worlds * agents, Observation(*map(join, self.policy_input)),
            Observation(*map(join, self.value_input)) if self.value_input is not None else None,
            join(self.action), join(self.log_probability), join(self.choice), join(self.label), join(self.motion),
            join(self.advantage), join(self.target), join(starts).nonzero()[:, 0],
            self.uncovered_weight, self.surrogate,
        )  # fmt: skip


class Samples(NamedTuple):
    """A rollout as rows, (T W N, ...)."""

    agents: int
    ticks: int
    """Length of a segment: gradients flow through x from its first tick to its last."""
    stride: int
    """Rows from one tick of an agent to its next."""
    policy_input: Observation
    value_input: Observation | None
    action: Tensor
    log_probability: Tensor
    choice: Tensor
    label: Tensor
    motion: Tensor
    advantage: Tensor
    target: Tensor
    starts: Tensor
    """Indices of the rows of living agents at which a segment starts; with segments of one tick, all of them."""
    uncovered_weight: float
    surrogate: bool

    def observation(self, of: Observation, rows: Tensor, x: Tensor | None = None) -> Observation:
        """The rows of one network's input; with `x` (B, F), that liquid state instead of the one that was flown."""
        shared = rows // self.agents

        def pick(x: Tensor) -> Tensor:
            return x[rows] if len(x) == len(self.choice) else x[shared].squeeze(1)

        picked = Observation(*map(pick, of))
        return picked if x is None else picked._replace(state=torch.cat((x, picked.state[:, x.shape[1] :]), -1))


class ReturnScale:
    """Running mean and deviation of the value targets, so that the value network predicts unit variance."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.mean, self.square, self.weight = 0.0, 0.0, 0.0

    def update(self, mean: float, square: float) -> None:
        """Take in the targets of one rollout: their mean, and that of their squares."""
        keep = 0.95
        self.mean = keep * self.mean + (1 - keep) * mean
        self.square = keep * self.square + (1 - keep) * square
        self.weight = keep * self.weight + (1 - keep)

    def moments(self) -> tuple[float, float]:
        """(mean, standard deviation), (0, 1) before any target or when switched off."""
        if not self.enabled or self.weight == 0.0:
            return 0.0, 1.0
        mean = self.mean / self.weight
        return mean, max(1e-3, self.square / self.weight - mean * mean) ** 0.5


@torch.no_grad()
def collect(
    world: World,
    policy: LgtcNetwork,
    value: LgtcNetwork,
    scale: ReturnScale,
    generator: torch.Generator,
    coefficients: Coefficients,
) -> tuple[Rollout, Tensor]:
    """Fly one episode with exploration.

    Returns:
        (the rollout, values after the last tick (W, N) in the unit of rewards).
    """
    world.reset()
    w, n = world.p.shape[:2]
    state, judge_state = policy.initial_state(w, n), value.initial_state(w, n)
    steps: list[tuple[Tensor, ...]] = []
    policy_inputs: list[Observation] = []
    value_inputs: list[Observation] = []
    mean, deviation = scale.moments()
    worth = torch.zeros(w, n, device=world.device)
    for _ in range(world.config.ticks):
        policy_inputs.append(world.observe(state, 0))
        out = policy(policy_inputs[-1])
        state, messages = out.state, [out.message]
        if coefficients.judge:
            value_inputs.append(world.observe(judge_state, 1))
            judged = value(value_inputs[-1])
            judge_state, worth = judged.state, judged.head[..., 0] * deviation + mean
            messages.append(judged.message)
        centre, spread = mean_action(out), log_std(out).exp()
        noise = torch.randn(centre.shape, generator=generator, device=centre.device)
        action = centre + spread * noise
        choice = out.chosen()
        wanted = world.spread(choice) if coefficients.motion > 0 else torch.zeros_like(action)
        alive, label = world.alive, world.target
        terms = world.step(action, messages, choice)
        log_probability = _log_probability(action, centre, spread)
        steps.append((action, log_probability, choice, worth, terms.total(), alive, label, wanted))
    last = value(world.observe(judge_state, 1)).head[..., 0] * deviation + mean if coefficients.judge else worth
    action, log_probability, choice, worth, reward, alive, label, wanted = (
        torch.stack(column) for column in zip(*steps, strict=True)
    )
    judged_on = _stack(value_inputs) if value_inputs else None
    rollout = Rollout(
        _stack(policy_inputs), judged_on, action, log_probability, choice, worth, reward, alive, label, wanted,
        world.config.uncovered_weight, world.config.surrogate,
    )  # fmt: skip
    return rollout, last


def _stack(inputs: list[Observation]) -> Observation:
    """Observations of several ticks, with time as the first dimension."""
    return Observation(*(torch.stack(parts) for parts in zip(*inputs, strict=True)))


def _log_probability(action: Tensor, centre: Tensor, spread: Tensor) -> Tensor:
    """Log N(action; centre, spread), summed over the two axes, up to a constant."""
    return -(0.5 * ((action - centre) / spread).square() + spread.log()).sum(-1)


def _missing_share(observation: Observation, kinds: int) -> Tensor:
    """(B, M) how far every consumer is from being half served: 1 nobody serves, 0 half or more is met.

    Two agents that cannot hear each other may both hold that the other goes. To go in vain costs little, a place that
    nobody goes to costs much: so labels that point to uncovered places weigh more.
    """
    outstanding = observation.consumers[..., 2 : 2 + kinds].sum(-1)
    remaining = observation.consumers[..., 2 + kinds : 2 + 2 * kinds].sum(-1)
    return torch.relu(2.0 * remaining / outstanding.clamp(min=1e-3) - 1.0)


def advantages(rollout: Rollout, last: Tensor, last_alive: Tensor, config: AlgorithmConfig) -> None:
    """Fill `advantage` and `target` by GAE."""
    running = torch.zeros_like(last)
    rollout.advantage = torch.zeros_like(rollout.value)
    next_value, next_alive = last, last_alive
    for t in range(len(rollout.value) - 1, -1, -1):
        value = rollout.value[t]
        follow = torch.where(next_alive, next_value, value)
        delta = rollout.reward[t] + config.gamma * follow - value
        running = delta + config.gamma * config.gae_lambda * running * next_alive
        rollout.advantage[t] = running
        next_value, next_alive = value, rollout.alive[t]
    rollout.target = rollout.advantage + rollout.value


_TERMS = ("policy", "value", "assignment", "motion", "entropy")
"""Terms of the loss, in the order of `Losses`."""


@dataclass
class Losses:
    """Mean terms of one update."""

    policy: float = 0.0
    value: float = 0.0
    assignment: float = 0.0
    motion: float = 0.0
    entropy: float = 0.0
    kl: float = 0.0
    agreement: float = 0.0
    """Share of agents whose choice is the consumer of eq. (2)."""


@dataclass(frozen=True)
class Coefficients:
    """What changes from update to update."""

    assignment: float
    motion: float
    surrogate: bool
    judge: bool
    """The value network takes part; without it every value is 0 and the surrogate has to be off."""


class Learner:
    """Networks, optimiser and the update; `processes` share the samples and take every step together."""

    def __init__(
        self, policy: LgtcNetwork, value: LgtcNetwork, config: AlgorithmConfig, processes: Processes | None = None
    ) -> None:
        self.policy, self.value, self.config = policy, value, config
        self.processes = processes or Processes()
        self.scale = ReturnScale(config.value_normalisation)
        self.parameters = [*policy.parameters(), *value.parameters()]
        self.optimiser = torch.optim.Adam(self.parameters, lr=config.learning_rate, eps=1e-5, fused=True)

    def update(
        self, rollouts: list[Rollout], coefficients: Coefficients, generators: list[torch.Generator], number: int,
        shares: list[float],
    ) -> Losses:  # fmt: skip
        """Several epochs over the rollouts of all groups; of each, in every epoch, a random share of the agents.

        Args:
            rollouts: one per group, with advantages.
            coefficients: of the losses.
            generators: one per rollout, of the order in which its samples are looked at.
            number: of this update, for errors.
            shares: of every rollout's samples that one epoch looks at.

        Raises:
            DivergenceError: a term or a gradient became NaN or infinite; weights are as before that step.
        """
        config = self.config
        centre, spread, _ = self._moments([rollout.advantage[rollout.alive] for rollout in rollouts])
        if coefficients.judge:
            mean, _, square = self._moments([rollout.target[rollout.alive] for rollout in rollouts])
            self.scale.update(mean, square)
        flat = [rollout.flatten(config.backpropagation_ticks) for rollout in rollouts]
        snapshots = sum(rollout.value.shape[0] * rollout.value.shape[1] for rollout in rollouts)
        batches = max(1, self.processes.size * snapshots // config.batch)
        totals = torch.zeros(len(_TERMS) + 2, dtype=torch.float64, device="cpu")
        for _ in range(config.epochs):
            orders = []
            for samples, share, generator in zip(flat, shares, generators, strict=True):
                order = torch.randperm(len(samples.starts), generator=generator, device=generator.device)
                orders.append(samples.starts[order[: max(1, round(share * len(order)))]].chunk(batches))
            parts = [
                [(samples, order[batch]) for samples, order in zip(flat, orders, strict=True) if batch < len(order)]
                for batch in range(batches)
            ]
            rows = [float(sum(samples.ticks * len(starts) for samples, starts in part)) for part in parts]
            agents = self.processes.sum(torch.tensor(rows, device=self.policy.device))
            for part, count in zip(parts, agents.tolist(), strict=True):
                totals += self._step(part, count, centre, spread, coefficients, number)
        return Losses(*(totals / (config.epochs * batches)).tolist())

    def _moments(self, values: list[Tensor]) -> tuple[float, float, float]:
        """(mean, standard deviation, mean square) over the samples of all processes."""
        joined = torch.cat(values).double()
        sums = torch.stack((torch.ones_like(joined).sum(), joined.sum(), joined.square().sum()))
        count, total, square = self.processes.sum(sums).tolist()
        mean = total / count
        return mean, (max(0.0, square - count * mean * mean) / max(1.0, count - 1.0)) ** 0.5, square / count

    def _step(
        self, parts: list[tuple[Samples, Tensor]], agents: float, centre: float, spread: float,
        coefficients: Coefficients, number: int,
    ) -> Tensor:  # fmt: skip
        """One optimiser step on some rows of every group; `agents` rows in all processes. Returns the mean terms."""
        config = self.config
        mean, deviation = self.scale.moments()
        nothing = torch.zeros((), device=self.policy.device)
        terms = dict.fromkeys((*_TERMS, "kl", "agreement"), nothing)
        for samples, starts in parts:
            x = judge_x = None
            for tick in range(samples.ticks):
                rows = starts + tick * samples.stride
                observation = samples.observation(samples.policy_input, rows, x)
                out = self.policy(observation)
                x = out.state[:, : self.policy.config.liquid_width]
                std, centre_now = log_std(out), mean_action(out)
                log_probability = _log_probability(samples.action[rows], centre_now, std.exp())
                log_ratio = log_probability - samples.log_probability[rows]
                if coefficients.surrogate and samples.surrogate:
                    ratio = log_ratio.exp()
                    gain = (samples.advantage[rows] - centre) / (spread + 1e-6)
                    clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
                    terms["policy"] = terms["policy"] - torch.minimum(ratio * gain, clipped * gain).sum() / agents
                terms["entropy"] = terms["entropy"] + std.sum() / agents
                label, choice = samples.label[rows], out.chosen()
                negative = functional.cross_entropy(out.logits, label, reduction="none", ignore_index=-1)
                if samples.uncovered_weight > 0:
                    missing = _missing_share(observation, self.policy.config.kinds)
                    missing = missing.gather(1, label.clamp(min=0).unsqueeze(1)).squeeze(1)
                    negative = negative * (1.0 + samples.uncovered_weight * missing)
                terms["assignment"] = terms["assignment"] + negative.sum() / agents
                off = (centre_now - samples.motion[rows]).square().sum(-1)
                terms["motion"] = terms["motion"] + (off * (choice == samples.choice[rows])).sum() / agents
                if samples.value_input is not None:
                    judged = self.value(samples.observation(samples.value_input, rows, judge_x))
                    judge_x = judged.state[:, : self.value.config.liquid_width]
                    error = judged.head[..., 0] - (samples.target[rows] - mean) / deviation
                    terms["value"] = terms["value"] + error.square().sum() / agents
                with torch.no_grad():
                    terms["kl"] = terms["kl"] + (log_ratio.exp() - 1 - log_ratio).sum() / agents
                    terms["agreement"] = terms["agreement"] + (choice == label).sum() / agents
        loss = (
            terms["policy"] + terms["value"] - config.entropy * terms["entropy"]
            + coefficients.assignment * terms["assignment"] + coefficients.motion * terms["motion"]
        )  # fmt: skip
        if self.policy.config.liquid:
            regulariser = self.policy.regulariser() + self.value.regulariser()
            loss = loss + config.contraction / self.processes.size * regulariser
        self.optimiser.zero_grad(set_to_none=True)
        if loss.requires_grad:
            loss.backward()
        means = torch.stack([term.detach() for term in terms.values()])
        means = self.processes.sum_gradients(self.parameters, means)
        norms = [
            nn.utils.clip_grad_norm_(network.parameters(), config.gradient_norm)
            for network in (self.policy, self.value)
        ]
        figures = torch.cat((means, torch.stack(norms))).double().cpu()
        finite = torch.isfinite(figures).tolist()
        if not all(finite):
            names = [*(f"the {name} loss" for name in _TERMS), "the KL divergence", "the agreement"]
            names += ["the gradient of the policy", "the gradient of the value"]
            raise DivergenceError(number, names[finite.index(False)])
        self.optimiser.step()
        return figures[: len(means)]
