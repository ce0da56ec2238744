"""Many worlds at once, on lgtc_core.world.rules: what the flying loop does at a tick, batched in torch.

One tick of a world, in this order, the same for training and flight:

1. Every agent observes: itself, all consumers, and of its neighbours what they sent at earlier ticks (`Links`).
2. Every agent acts and sends.
3. Events: agents are lost, consumers appear, move, vanish. Eq. (2) is solved again for worlds that had one, and in
all worlds every `relabel_ticks`: on the present state, starting from what the team has chosen.
4. The safety filter, where the configuration has it, replaces actions by the closest safe ones. Agents
move; instantaneous resources are handed over inside the discs; 0-depletion supplies are counted;
supplies discharge.
5. Rewards of eq. (3).

W worlds, N agents, M consumers (maxima of the group; masks say which exist), r kinds, K = N - 1 possible neighbours.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lgtc_core.mind import observation as layout
from lgtc_core.mind.observation import MESSAGE_LIFETIME_TICKS, Observation
from lgtc_core.world import rules
from lgtc_core.world.assignment import assign_batch, cost_of, linear_cost
from lgtc_core.world.expert import expert_action, slot_goals, spread_action
from lgtc_core.world.rules import RewardTerms, RewardWeights, Tick
from lgtc_training.configuration import WorldConfig
from lgtc_training.safety import safe_action

_CANDIDATES = 24
"""Positions tried for every consumer until it lies apart from the others; the farthest is taken when none does."""
_NEVER = 10_000
"""Age in ticks of a link over which nothing was heard."""


class Heard(NamedTuple):
    """What every agent has of every other one: K = N - 1 links per agent."""

    p: Tensor
    """(W, N, K, 2) sender's position when it sent."""
    age: Tensor
    """(W, N, K) ticks since then."""


class _Sent(NamedTuple):
    """What was said at one tick."""

    p: Tensor  # (W, N, 2)
    alive: Tensor  # (W, N) bool
    messages: list[Tensor]  # per stream (W, N, D)


class Links:
    """The radio: one tick of delay and more, lost messages, ages. Any number of message streams travel together.

    Args:
        worlds, agents: W and N.
        radius: C, normalised.
        widths: width of each stream's message vector.
    """

    def __init__(self, worlds: int, agents: int, radius: float, widths: tuple[int, ...], device: torch.device) -> None:
        self.radius = radius
        number = torch.arange(agents, device=device)
        links = max(1, agents - 1)
        self.senders = (number[:, None] + 1 + torch.arange(links, device=device)) % agents
        """(N, K) index of the sender of every link."""
        self.p = torch.zeros(worlds, agents, links, 2, device=device)
        self.age = torch.full((worlds, agents, links), float(_NEVER), device=device)
        self.messages = [torch.zeros(worlds, agents, links, width, device=device) for width in widths]
        self.delay: Tensor | None = None
        """(W, N, K) further ticks after which a message comes; None: none anywhere."""
        self._sent: deque[_Sent] = deque(maxlen=1)

    def reset(self, delay: Tensor | None = None) -> None:
        """Forget what was heard, and take over the links' delays (W, N, K) of whole ticks."""
        self.age = torch.full_like(self.age, float(_NEVER))
        self.delay = delay
        self._sent = deque(maxlen=1 if delay is None else 1 + int(delay.max()))

    def send(self, p: Tensor, alive: Tensor, lost: Tensor | None, messages: list[Tensor]) -> None:
        """Transport one tick's messages.

        Args:
            p: (W, N, 2) positions of the senders.
            alive: (W, N) bool.
            lost: (W, N, K) bool, per link; None: none is lost.
            messages: per stream (W, N, D).
        """
        self._sent.appendleft(_Sent(p, alive, messages))
        self.age = self.age + 1.0
        for late, sent in enumerate(self._sent):
            sent_from = self._of_senders(sent.p)
            offset = sent_from - sent.p.unsqueeze(2)
            near = offset[..., 0] ** 2 + offset[..., 1] ** 2 <= self.radius**2
            arrived = near & self._of_senders(sent.alive) & alive.unsqueeze(-1)
            if self.delay is not None:
                arrived = arrived & (self.delay == late)
            if lost is not None:
                arrived = arrived & ~lost
            if p.shape[1] == 1:
                arrived = torch.zeros_like(arrived)
            keep = arrived.unsqueeze(-1)
            self.p = torch.where(keep, sent_from, self.p)
            self.age = torch.where(arrived, 1.0 + late, self.age)
            for stream, new in enumerate(sent.messages):
                self.messages[stream] = torch.where(keep, self._of_senders(new), self.messages[stream])

    def _of_senders(self, x: Tensor) -> Tensor:
        """(W, N, ...) of agents -> (W, N, K, ...) of the senders that each agent can hear."""
        return x.index_select(1, self.senders.flatten()).unflatten(1, self.senders.shape)

    def heard(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """(neighbours_seen (W, N, K, 3), neighbour_mask (W, N, K)) for hearers at p (W, N, 2)."""
        usable = layout.usable(p, self.p, self.age, self.radius)
        age = self.age.clamp(max=MESSAGE_LIFETIME_TICKS + 1.0)
        return layout.seen(p, self.p, age), usable.to(p.dtype)


class World:
    """A group of worlds of one `WorldConfig`.

    Args:
        config: the distribution.
        rewards: coefficients of eq. (3).
        seed: of everything random here.
        widths: message widths of the streams that `links` carries.
        device: where the tensors live.
    """

    def __init__(
        self,
        config: WorldConfig,
        rewards: RewardWeights,
        seed: int,
        widths: tuple[int, ...] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        self.config, self.weights = config, rewards
        self.device = torch.device(device)
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        w, n, m, r = config.worlds, config.agents[1], config.consumers[1], config.kinds
        self.shape = (w, n, m, r)

        def zeros(*size: int) -> Tensor:
            return torch.zeros(*size, device=self.device)

        self.p, self.velocity = zeros(w, n, 2), zeros(w, n, 2)
        self.alive = zeros(w, n).bool()
        self.supply, self.capacity, self.total_supply = zeros(w, n, r), zeros(w, n), zeros(w)
        self.discharge = zeros(w, n, r)
        self.d, self.exists = zeros(w, m, 2), zeros(w, m).bool()
        self.demanded, self.delivered, self.remaining = zeros(w, m, r), zeros(w, m, r), zeros(w, m, r)
        self.kind = zeros(w, m, r)
        self.speed, self.lag_s, self.loss = zeros(w, 1, 1), zeros(w, 1, 1), zeros(w, 1, 1)
        self.target = torch.full((w, n), -1, device=self.device)
        self.correction = zeros(w, n)
        """How much the safety filter changed the last actions, as a share of the speed; zeros without it."""
        self._carried = torch.ones_like(self.alive)
        self.loss_at = zeros(w, 2)
        self.change_at = zeros(w, 2)
        self.tick = 0
        self.links = Links(w, n, config.communication_radius, widths, self.device)
        self.label_seed = seed
        self.reset()

    # Drawing

    def _uniform(self, lo: float, hi: float, *size: int) -> Tensor:
        return lo + (hi - lo) * torch.rand(*size, generator=self.generator, device=self.device)

    def _chance(self, probability: float | Tensor, *size: int) -> Tensor:
        return torch.rand(*size, generator=self.generator, device=self.device) < probability

    def _number(self, lo: int, hi: int, *size: int) -> Tensor:
        return torch.randint(lo, hi + 1, size, generator=self.generator, device=self.device)

    def reset(self) -> None:
        """Draw every world anew."""
        config = self.config
        w, n, m, r = self.shape
        agents = self._number(*config.agents, w)
        consumers = torch.minimum(self._number(*config.consumers, w), agents)
        self.alive = torch.arange(n, device=self.device) < agents[:, None]
        self.exists = torch.arange(m, device=self.device) < consumers[:, None]
        spread = self._uniform(*config.start_spread, w, 1, 1)
        centre = self._uniform(-1.0, 1.0, w, 1, 2) * (1.0 - spread)
        self.p = centre + spread * self._uniform(-1.0, 1.0, w, n, 2)
        self.velocity = torch.zeros_like(self.p)

        used = torch.ones(w, 1, r, dtype=torch.bool, device=self.device)
        if r > 1 and config.single_kind > 0:
            only = torch.nn.functional.one_hot(self._number(0, r - 1, w), r).bool()[:, None]
            used = torch.where(self._chance(config.single_kind, w, 1, 1), only, used)
        carries = self._chance(config.carried, w, n, r) & used
        first = torch.nn.functional.one_hot(
            (torch.rand(w, n, r, generator=self.generator, device=self.device) * used).argmax(-1), r
        )
        carries = carries | (first.bool() & ~carries.any(-1, keepdim=True))
        self.supply = self._uniform(*config.supply, w, n, r) * carries * self.alive[..., None]
        self.capacity, self.total_supply = self.supply.sum(-1), self.supply.sum((1, 2))

        drawn = self._chance(config.zero_depletion, w, m if config.mixed_kinds else 1, r)
        self.kind = drawn.float().expand(w, m, r).clone()
        self.discharge = self._uniform(*config.discharge_per_s, w, n, 1).expand(w, n, r).clone()

        self.d = self._places(self.exists)
        self.demanded = self._demands() * used * self.exists[..., None]
        self.delivered = torch.zeros_like(self.demanded)

        self.speed = config.speed_per_s * self._uniform(*config.speed_factor, w, 1, 1)
        self.lag_s = self._uniform(*config.lag_s, w, 1, 1)
        links = self.links.senders.shape[1]
        self.loss = self._uniform(*config.message_loss, *((w, n, links) if config.loss_per_link else (w, 1, 1)))
        delay = self._number(*config.message_delay, w, n, links) if config.message_delay[1] > 0 else None
        self.loss_at = self._event_times(config.losses)
        self.change_at = self._event_times(config.changes)
        self._eventful = frozenset(torch.cat((self.loss_at, self.change_at)).flatten().tolist())
        self.tick = 0
        self.links.reset(delay)
        self._settle()
        self.target = torch.full((w, n), -2, device=self.device)
        self._carried = torch.ones_like(self.alive)
        self._label(torch.ones(w, dtype=torch.bool, device=self.device))

    def _places(self, wanted: Tensor) -> Tensor:
        """(W, M, 2) positions of the consumers `wanted` (W, M), apart from each other."""
        config = self.config
        w, _, m, _ = self.shape
        places = torch.full((w, m, 2), 100.0, device=self.device)
        for index in range(m):
            tried = self._uniform(-config.consumer_reach, config.consumer_reach, w, _CANDIDATES, 2)
            near = torch.cdist(tried, places).amin(-1)
            best = near.clamp(max=config.consumer_separation).argmax(-1)
            chosen = tried[torch.arange(w, device=self.device), best]
            places[:, index] = torch.where(wanted[:, index, None], chosen, places[:, index])
        return torch.where(wanted[..., None], places, 0.0)

    def _demands(self) -> Tensor:
        """(W, M, r) amounts asked for."""
        config = self.config
        w, _, m, r = self.shape
        if config.demand_each is not None:
            return self._uniform(*config.demand_each, w, m, r)
        share = self._uniform(*config.demand_share, w, m, r) * self.exists[..., None]
        total = self.supply.sum(1) * self._uniform(*config.demand_ratio, w, 1)
        return share / share.sum(1, keepdim=True).clamp(min=1e-6) * total[:, None]

    def _event_times(self, expected: float) -> Tensor:
        """(W, 2) ticks at which something happens; beyond the episode: nothing. Never in the first or last tenth."""
        w = self.shape[0]
        at = self._uniform(0.1 * self.config.ticks, 0.9 * self.config.ticks, w, 2).floor()
        happens = torch.rand(w, 2, generator=self.generator, device=self.device) < expected / 2
        return torch.where(happens, at, float(_NEVER * 1000))

    # The world

    def _settle(self, inside: Tensor | None = None) -> None:
        """Recompute what is remaining from where everything is; `inside` (W, N, M) if it is known already."""
        covered = rules.cover(self.inside() if inside is None else inside, self.supply, self.demanded, self.kind)
        self.remaining = rules.remaining(self.demanded, self.delivered, covered, self.kind)

    def inside(self) -> Tensor:
        """(W, N, M) who is in which disc."""
        return rules.inside(self.p, self.d, self.config.disc_radius, self.alive) & self.exists[:, None]

    def outstanding(self) -> Tensor:
        """(W, M, r) what has to be planned for."""
        return rules.outstanding(self.demanded, self.remaining, self.kind)

    def _label(self, worlds: Tensor, choice: Tensor | None = None) -> None:
        """Solve eq. (2) again in the worlds (W,) bool, from the choices (W, N) of the team or the labels so far.

        An agent that carries nothing any more takes no part: it keeps the consumer it had when it gave its last, the
        nearest one where that is gone.
        """
        index = worlds.nonzero()[:, 0]
        if len(index) == 0:
            return
        self.label_seed = (self.label_seed * 1103515245 + 12345) % 2**31
        carries = self.supply.sum(-1) > 0
        before = self.target if choice is None else torch.where(self._carried, choice, self.target)
        self._carried = torch.where(worlds[:, None], carries, self._carried)

        def host(x: Tensor) -> np.ndarray:
            return x[index].cpu().numpy()

        solved = assign_batch(
            host(self.p), host(self.supply), host(self.d), host(self.outstanding()),
            host(self.alive & carries), host(self.exists), host(before), self.config.label_starts, self.label_seed,
            self.config.label_gain, self.config.label_margin,
        )  # fmt: skip
        target = torch.from_numpy(solved).to(self.device)
        idle = (self.alive & ~carries)[index]
        if bool(idle.any()):
            kept, exists = before[index], self.exists[index]
            there = (kept >= 0) & exists.gather(1, kept.clamp(min=0))
            nearest = torch.cdist(self.p[index], torch.where(exists[..., None], self.d[index], 100.0)).argmin(-1)
            target = torch.where(idle, torch.where(there, kept, nearest), target)
        self.target = self.target.index_copy(0, index, target)

    def lose(self, lost: Tensor) -> None:
        """Take agents (W, N) bool out of the air, for good, and solve eq. (2) again there."""
        self.alive = self.alive & ~lost
        self._settle()
        self._label(lost.any(-1))

    def sole_servers(self) -> Tensor:
        """(W, N) agents without which a 0-depletion demand that they serve would have nobody."""
        serves = rules.serving(self.inside(), self.supply, self.demanded, self.kind).any(-1)
        return (serves & (serves.sum(1, keepdim=True) == 1)).any(-1)

    def _events(self) -> None:
        config = self.config
        w, n, _, _ = self.shape
        if self.tick in self._eventful:
            due = (self.loss_at == self.tick).any(-1)
            sole = self.sole_servers() & self._chance(config.sole_server_losses, w, 1)
            preferred = torch.where(sole, 2.0, torch.where(self.alive, 1.0, 0.0))
            victim = (preferred + torch.rand(w, n, generator=self.generator, device=self.device) * 0.5).argmax(-1)
            enough = self.alive.sum(-1) > torch.clamp(self.exists.sum(-1), min=1)
            lost = torch.nn.functional.one_hot(victim, n).bool() & (due & enough)[:, None] & self.alive
            self.lose(lost)
            self._change_consumers((self.change_at == self.tick).any(-1))

    def _change_consumers(self, due: Tensor) -> None:
        """In the worlds `due` (W,): one consumer vanishes, a new one appears, or one moves; with a new demand."""
        w, _, m, r = self.shape
        which = self._number(0, m - 1, w)
        picked = torch.nn.functional.one_hot(which, m).bool() & due[:, None]
        there = (picked & self.exists).any(-1)
        vanish = picked & self.exists & self._chance(0.3, w, 1) & (self.exists.sum(-1) > 1)[:, None]
        room = (self.exists.sum(-1) < self.alive.sum(-1)) | there
        place = picked & ~vanish & room[:, None]
        tried = self._uniform(-self.config.consumer_reach, self.config.consumer_reach, w, _CANDIDATES, 2)
        others = torch.where((self.exists & ~picked)[..., None], self.d, 100.0)
        apart = torch.cdist(tried, others).amin(-1).clamp(max=self.config.consumer_separation)
        chosen = tried[torch.arange(w, device=self.device), apart.argmax(-1)]
        self.exists = (self.exists & ~vanish) | place
        self.d = torch.where(place[..., None], chosen[:, None], self.d)
        left = torch.where(vanish[..., None], 0.0, self.demanded)
        mean = left.sum(1) / (left > 0).sum(1).clamp(min=1)
        fresh = (mean[:, None] * self._uniform(*self.config.demand_share, w, 1, r)).expand(w, m, r)
        self.demanded = torch.where(place[..., None], fresh, left)
        self.delivered = torch.where((place | vanish)[..., None], 0.0, self.delivered)
        self._settle()
        self._label(due)

    def observe(self, state: Tensor, stream: int) -> Observation:
        """What every agent knows now: batch dimensions (W, N), consumers with a 1 in place of N (they broadcast).

        Args:
            state: (W, N, H) recurrent state.
            stream: which network's messages.
        """
        seen, mask = self.links.heard(self.p)
        return Observation(
            own=layout.own(self.p, self.supply),
            consumers=layout.consumers(self.d, self.demanded, self.remaining, self.kind)[:, None],
            consumer_mask=self.exists.to(self.p.dtype)[:, None],
            neighbours=self.links.messages[stream],
            neighbours_seen=seen,
            neighbour_mask=mask * self.alive.to(self.p.dtype)[..., None],
            state=state,
        )

    def step(self, action: Tensor, messages: list[Tensor], choice: Tensor | None = None) -> RewardTerms:
        """Steps 2 to 5 of the module's docstring.

        Args:
            action: (W, N, 2), shortened to norm 1.
            messages: per stream (W, N, D); streams left out keep silent.
            choice: (W, N) consumers that the team has chosen; where eq. (2) is solved again every few ticks
                (`relabel_ticks`), it starts from them. None: from the labels so far.

        Returns:
            Rewards per agent, zeros for lost ones.
        """
        config = self.config
        w, n, _, _ = self.shape
        lost = None
        if config.message_loss[1] > 0:
            lost = self._chance(self.loss, w, n, self.links.senders.shape[1])
        self.links.send(self.p, self.alive, lost, messages)
        self.tick += 1
        self._events()
        if config.relabel_ticks and self.tick % config.relabel_ticks == 0:
            self._label(torch.ones(w, dtype=torch.bool, device=self.device), choice)

        if config.safety_radius > 0.0:
            action, self.correction = safe_action(
                self.p, action, self.speed, self.alive, config.safety_radius, config.safety_gain_per_s
            )
        before = self.p
        moved, velocity = rules.move(self.p, self.velocity, action, self.speed, self.lag_s, config.tick_s)
        flying = self.alive[..., None]
        self.p, self.velocity = torch.where(flying, moved, self.p), torch.where(flying, velocity, 0.0)
        inside = self.inside()
        missing = rules.remaining(self.demanded, self.delivered, self.demanded, self.kind)
        handed = rules.deliver(inside, self.supply, missing, self.kind)
        self.supply = (self.supply - handed.sum(2)).clamp(min=0.0)
        self.delivered = self.delivered + handed.sum(1)
        remaining_before = self.remaining
        self._settle(inside)
        terms = rules.rewards(
            self.weights,
            Tick(
                before, self.p, self.d, config.disc_radius, self.alive, self.exists, self.kind, self.demanded,
                remaining_before, self.remaining, inside, self.supply, handed, self.capacity,
                self.total_supply, self.target,
            ),
        )  # fmt: skip
        if config.discharge_per_s[1] > 0:
            zero_kind = (self.kind * (self.demanded > 0)).amax(1, keepdim=True)
            self.supply = rules.discharge(self.supply, self.discharge * zero_kind, config.tick_s)
        return terms

    def satisfaction(self) -> Tensor:
        """(W,) share of the demand met now."""
        return rules.satisfaction(self.demanded, self.remaining, self.exists)

    # The yardsticks

    def expert(self, target: Tensor | None = None) -> Tensor:
        """(W, N, 2) action of the expert's controller toward `target` (W, N); None: the answer of eq. (2)."""
        chosen = self.target if target is None else target
        goal = slot_goals(self.p.cpu().numpy(), self.d.cpu().numpy(), torch.where(self.alive, chosen, -1).cpu().numpy())
        return expert_action(self.p, torch.from_numpy(goal).to(self.p), self.alive)

    def spread(self, target: Tensor) -> Tensor:
        """(W, N, 2) action of the expert's controller without slots toward `target` (W, N)."""
        return spread_action(self.p, self.d, target, self.alive, self.config.calm_crowds)

    def cost_ratio(self, target: Tensor, starts: int = 32) -> Tensor:
        """(W,) cost of eq. (2) of `target` (W, N) in the present state / the least cost found from many starts."""
        p, supply, d, demand = (
            x.double().cpu().numpy() for x in (self.p, self.supply, self.d, self.outstanding())
        )  # fmt: skip
        alive, exists, chosen = (x.cpu().numpy() for x in (self.alive, self.exists, target))
        best = assign_batch(p, supply, d, demand, alive, exists, np.full_like(chosen, -2), starts, self.label_seed)
        ratio = np.ones(len(p))
        for w in range(len(p)):
            linear = linear_cost(p[w], supply[w], d[w], demand[w])
            ours, least = (cost_of(np.where(alive[w], a[w], -1), linear, supply[w], demand[w]) for a in (chosen, best))
            ratio[w] = ours / max(least, 1e-9) if least > 1e-9 else 1.0
        return torch.from_numpy(ratio)
