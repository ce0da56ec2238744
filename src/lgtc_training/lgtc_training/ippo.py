r"""Independent PPO with shared parameters (Section III-C), every agent with its own reward and value.

    J_pi = min( rho A, clip(rho, 1 - eps, 1 + eps) A ),   rho = pi(a | z) / pi_k(a | z)        eq. (12)
    J_V  = ( V - (A + V_k) )^2                                                                  eq. (13)
    A by GAE;  Pi = softplus(-c) + softplus(-tau)                                               eq. (15), see
    networks.py

Beside the paper, each switched by a coefficient: cross-entropy of Xi to eq. (2) (`assignment_loss`), distance
of the mean
action to the expert's controller given the chosen consumer (`motion_loss`), value normalisation.

Episodes end by time only: the value of the last state is bootstrapped. A lost agent's last value stands for
its future: being
lost is nobody's doing. The recurrent state enters as it was during the rollout.
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


class DivergenceError(LgtcError):
    """A loss is not finite. Attributes: update, term."""

    def __init__(self, update: int, term: str) -> None:
        self.update, self.term = update, term
        super().__init__(
            f"update {update}: the {term} loss is not finite; the last good checkpoint is kept, lower the learning rate"
        )


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
    motion: Tensor  # (T, W, N, 2) the expert's action toward `choice`
    uncovered_weight: float = 0.0  # as in WorldConfig
    advantage: Tensor = field(default_factory=lambda: torch.empty(0))
    target: Tensor = field(default_factory=lambda: torch.empty(0))

    def flatten(self) -> Samples:
        """One row per agent and tick. Consumers, which a world's agents share, stay one row per world and tick."""
        agents = self.value.shape[-1]

        def join(x: Tensor) -> Tensor:
            return x.flatten(0, 1 if x.shape[2] == 1 else 2)

        return Samples(
            agents, Observation(*map(join, self.policy_input)),
            Observation(*map(join, self.value_input)) if self.value_input is not None else None,
            join(self.action), join(self.log_probability), join(self.choice), join(self.label), join(self.motion),
            join(self.advantage), join(self.target), join(self.alive).nonzero()[:, 0],
            self.uncovered_weight,
        )  # fmt: skip


class Samples(NamedTuple):
    """A rollout as rows, (T W N, ...)."""

    agents: int
    policy_input: Observation
    value_input: Observation | None
    action: Tensor
    log_probability: Tensor
    choice: Tensor
    label: Tensor
    motion: Tensor
    advantage: Tensor
    target: Tensor
    alive: Tensor
    """Indices of the rows of living agents."""
    uncovered_weight: float

    def observation(self, of: Observation, rows: Tensor) -> Observation:
        """The rows of one network's input."""
        shared = rows // self.agents

        def pick(x: Tensor) -> Tensor:
            return x[rows] if len(x) == len(self.choice) else x[shared].squeeze(1)

        return Observation(*map(pick, of))


class ReturnScale:
    """Running mean and deviation of the value targets, so that the value network predicts unit variance."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.mean, self.square, self.weight = 0.0, 0.0, 0.0

    def update(self, target: Tensor) -> None:
        """Take in the targets of one rollout."""
        keep = 0.95
        self.mean = keep * self.mean + (1 - keep) * float(target.mean())
        self.square = keep * self.square + (1 - keep) * float(target.square().mean())
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
    worth = torch.zeros(w, n)
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
        wanted = world.expert(choice) if coefficients.motion > 0 else torch.zeros_like(action)
        alive, label = world.alive, world.target
        terms = world.step(action, messages)
        log_probability = _log_probability(action, centre, spread)
        steps.append((action, log_probability, choice, worth, terms.total(), alive, label, wanted))
    last = value(world.observe(judge_state, 1)).head[..., 0] * deviation + mean if coefficients.judge else worth
    action, log_probability, choice, worth, reward, alive, label, wanted = (
        torch.stack(column) for column in zip(*steps, strict=True)
    )
    judged_on = _stack(value_inputs) if value_inputs else None
    rollout = Rollout(
        _stack(policy_inputs), judged_on, action, log_probability, choice, worth, reward, alive, label, wanted,
        world.config.uncovered_weight,
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
    """Networks, optimiser and the update."""

    def __init__(self, policy: LgtcNetwork, value: LgtcNetwork, config: AlgorithmConfig) -> None:
        self.policy, self.value, self.config = policy, value, config
        self.scale = ReturnScale(config.value_normalisation)
        self.optimiser = torch.optim.Adam(
            [*policy.parameters(), *value.parameters()], lr=config.learning_rate, eps=1e-5, fused=True
        )

    def update(
        self, rollouts: list[Rollout], coefficients: Coefficients, generator: torch.Generator, number: int,
        shares: list[float],
    ) -> Losses:  # fmt: skip
        """Several epochs over the rollouts of all groups; of each, in every epoch, a random share of the agents.

        Raises:
            DivergenceError: a term became NaN or infinite; weights are as before that step.
        """
        config = self.config
        alive = torch.cat([rollout.advantage[rollout.alive] for rollout in rollouts])
        centre, spread = alive.mean(), alive.std() + 1e-6
        if coefficients.judge:
            self.scale.update(torch.cat([rollout.target[rollout.alive] for rollout in rollouts]))
        flat = [rollout.flatten() for rollout in rollouts]
        snapshots = sum(rollout.value.shape[0] * rollout.value.shape[1] for rollout in rollouts)
        batches = max(1, snapshots // config.batch)
        sums, count = Losses(), 0
        for _ in range(config.epochs):
            orders = []
            for samples, share in zip(flat, shares, strict=True):
                order = torch.randperm(len(samples.alive), generator=generator)
                orders.append(samples.alive[order[: max(1, round(share * len(order)))]].chunk(batches))
            for batch in range(batches):
                parts = [
                    (samples, order[batch]) for samples, order in zip(flat, orders, strict=True) if batch < len(order)
                ]
                self._step(parts, centre, spread, coefficients, sums, number)
                count += 1
        return Losses(**{name: value / count for name, value in vars(sums).items()})

    def _step(
        self, parts: list[tuple[Samples, Tensor]], centre: Tensor, spread: Tensor, coefficients: Coefficients,
        sums: Losses, number: int,
    ) -> None:  # fmt: skip
        config = self.config
        agents = sum(len(rows) for _, rows in parts)
        mean, deviation = self.scale.moments()
        terms = {name: torch.zeros(()) for name in ("policy", "value", "assignment", "motion", "entropy")}
        for samples, rows in parts:
            observation = samples.observation(samples.policy_input, rows)
            out = self.policy(observation)
            std, centre_now = log_std(out), mean_action(out)
            log_probability = _log_probability(samples.action[rows], centre_now, std.exp())
            log_ratio = log_probability - samples.log_probability[rows]
            if coefficients.surrogate:
                ratio = log_ratio.exp()
                gain = (samples.advantage[rows] - centre) / spread
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
                judged = self.value(samples.observation(samples.value_input, rows)).head[..., 0]
                error = judged - (samples.target[rows] - mean) / deviation
                terms["value"] = terms["value"] + error.square().sum() / agents
            with torch.no_grad():
                sums.kl += float((log_ratio.exp() - 1 - log_ratio).sum() / agents)
                sums.agreement += float((choice == label).sum() / agents)
        for name, term in terms.items():
            if not bool(torch.isfinite(term)):
                raise DivergenceError(number, name)
        loss = (
            terms["policy"] + terms["value"] - config.entropy * terms["entropy"]
            + coefficients.assignment * terms["assignment"] + coefficients.motion * terms["motion"]
        )  # fmt: skip
        if self.policy.config.liquid:
            loss = loss + config.contraction * (self.policy.regulariser() + self.value.regulariser())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for network in (self.policy, self.value):
            nn.utils.clip_grad_norm_(network.parameters(), config.gradient_norm)
        self.optimiser.step()
        for name, term in terms.items():
            setattr(sums, name, getattr(sums, name) + float(term.detach()))
