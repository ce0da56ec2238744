r"""The policy and value network: eqs. (4)-(6) as printed, and our additions, each switchable by `NetworkConfig`.

    Phi_m = phi_2( sum_k phi_1(d_m, rd_mk, tau_mk) )                                             eq. (4)
    Psi_i = psi(p_i, rp_i, tau)
    u     = sum_{k=0,1} S^k Psi B_k + sum_m Phi_m + b_u                                          eq. (5)
    Xi    = softmax( tanh( u + sum_{k=0,1} S^k x A_k + b_x ) Phi^T )                             eq. (6)
    f     = relu( W Phi_{argmax_m Xi_m} + b )
    dx/dt = -(tau + f) o x - S x A + f o B_f,      A = A_h^T A_h, |B_f| <= 1, tau >= 0
    y     = [ x, Xi Phi, u, p ]  -> MLP -> mean, std (policy) or value

Seen from one agent: S x is the mean of the x_j last heard, S Psi that of the Psi_j. A message is [x, Psi, rp, (loads,)
choice + 1].

The argmax is straight-through: its forward value is one-hot, its gradient that of the softmax, so that every
consumer's
features learn. The liquid state takes one fused, semi-implicit step per tick,

    x' = clip( (x + h (f o B_f - S x A)) / (1 + h (tau + f)), -1, 1 ).

Contraction (Theorem 1, eq. 9): c = min_q( tau_q - sum_q' |A_qq'| ) holds for every graph with row sums of S at
most 1 and
every f >= 0. Two states under the fused step draw together by at least the factor
max_q (1 + h sum_q' |A_qq'|) / (1 + h tau_q) per tick, which is below 1 exactly where c > 0.

Additions (all false: the network as printed)
- hysteresis: the score of the consumer chosen at the tick before is raised by a constant, so that choices hold still.
- urgency: so is that of a consumer which nobody serves: two agents that do not hear each other must not both wait.
- impatience: and the more so the longer nobody was known to serve it or to come: somebody goes in the end. The ticks
  waited are part of the recurrent state.
- kind_one_hot, relative_position, distance_bias, repulsion, selected_features, input_drives_liquid: see
  NetworkConfig.
- edge_scorer: for agent i and consumer m the change of eq. (2) if i served m,
      join_im = | o_m - L_m - rp_i |^2 - | o_m - L_m |^2 + |p_i - d_m| sum_k rp_ik + sum_k rp_ik / rd_mk ,
  with o the outstanding demand and L the load that neighbours have announced, and simpler products, enter an MLP whose
  output is added to the logit of m.
- relayed_load: a message also says, per consumer, the load that its sender knows of at first hand: the supplies of
  itself and of the neighbours that it hears, by announced choice. The hearer takes L_m as the largest of these and of
  its own sum. So agents two hops away count, and nobody counts twice. Beside it, how far the farthest of them still is.
- competition: with L_m of everybody known, the own choice included, what a move to m changes in eq. (2), and what a
  swap with a neighbour j that has chosen m does,
      move_im = join_im + leave_i,    swap_ij = 2 |q|^2 - 2 q (gap_m - gap_a) + l_im - l_ia + l_ja - l_jm,
  (q = rp_i - rp_j, gap = o - L, a the own consumer, l the linear terms) enter the scorer, beside every neighbour's own
  best move; a layer over each neighbour is summed, and the distances to the lowest change of the others enter as they
  are and enlarged: among agents that hear each other exactly one is the first to go. So does what joining m costs once
  every neighbour has made its own best move.
- spread: the own place in a crowded disc, as in lgtc_core.world.expert.spread_action, enters y.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lgtc_core.mind.observation import MESSAGE_LIFETIME_TICKS, Observation
from lgtc_core.world.assignment import DEMAND_FLOOR
from lgtc_core.world.expert import SPREAD_DISTANCE, crowd_radius
from lgtc_training.configuration import NetworkConfig

_FAR = -1e4
"""Logit of a consumer that is not there."""
_EDGE_FEATURES = 20
_PAIR_FEATURES = 5
_COMPARED = 16
"""Numbers per consumer that compare the own change of eq. (2) with that of the neighbours."""
RELAY_SLOTS = 16
"""Consumers whose load is relayed; it is not for those in later slots."""
SPREAD_GAIN = 5.0
"""How sharply the place in the disc is told from what lies outside of it."""
_DEAR = 4.0
"""Bound of changes of eq. (2) where they enter an MLP: 1/rd grows to 1 / DEMAND_FLOOR where nothing is asked for."""
_PATIENCE = 60.0
"""Ticks after which impatience grows no more."""
_SHARPNESS = (8.0, 40.0)
"""Two spare agents side by side differ by some hundredths in eq. (2): enough to tell who goes, once it is enlarged."""
_REPULSION_RANGES = (SPREAD_DISTANCE, 2 * SPREAD_DISTANCE)
"""Normalised distances at which the repulsion features fade out."""
_LOG_STD = (-3.0, 0.0)


class Output(NamedTuple):
    """What one network says for one tick; "..." are the batch dimensions."""

    head: Tensor
    """(..., 4) mean and log std of the action before it is bounded, or (..., 1) value."""
    message: Tensor
    """(..., D)."""
    state: Tensor
    """(..., H)."""
    logits: Tensor
    """(..., M) scores before hysteresis."""
    xi: Tensor
    """(..., M) Xi."""
    choice: Tensor
    """(..., M) one-hot at the largest Xi, straight-through."""

    def chosen(self) -> Tensor:
        """(...) index of the chosen consumer."""
        return self.xi.argmax(-1)


class LgtcNetwork(nn.Module):
    """One network of Fig. 2. `outputs`: 4 for the policy, 1 for the value."""

    one_hot: Tensor

    def __init__(self, config: NetworkConfig, outputs: int) -> None:
        super().__init__()
        self.config = config
        r, g, f = config.kinds, config.features, config.liquid_width
        self.outputs = outputs
        self.message_width = f + g + r + 1 + (RELAY_SLOTS * (r + 1) if config.relayed_load else 0)
        self.state_width = f + 1 + (RELAY_SLOTS if config.impatience > 0 else 0)
        per_kind = 4 + (r if config.kind_one_hot else 0)
        self.phi_1 = self._mlp(per_kind, (g,), g)
        self.phi_2 = self._mlp(g, (g,), g)
        self.psi = self._mlp(2 + 2 * r, (g,), g)
        self.b_0 = nn.Linear(g, g, bias=True)
        self.b_1 = nn.Linear(g, g, bias=False)
        self.a_0 = nn.Linear(f, g, bias=True)
        self.a_1 = nn.Linear(f, g, bias=False)
        self.w = nn.Linear(g * (2 if config.input_drives_liquid else 1), f)
        self.tau_raw = nn.Parameter(torch.full((f,), math.log(math.expm1(1.0))))
        self.b_f_raw = nn.Parameter(0.5 * torch.randn(f))
        self.a_half = nn.Parameter(0.3 / math.sqrt(f) * torch.randn(f, f))
        width = f + 2 * g + 2
        if config.relative_position:
            width += 5
        if config.spread:
            width += 4
        if config.repulsion:
            width += 2 * len(_REPULSION_RANGES) + 1
        if config.distance_bias:
            self.distance_weight = nn.Parameter(torch.ones(()))
        if config.edge_scorer:
            edge = _EDGE_FEATURES
            if config.competition:
                # One hidden layer over (neighbour, consumer), summed over neighbours; its parts are projected apart.
                self.pair = nn.Linear(_PAIR_FEATURES, config.competition_width)
                self.pair_consumer = nn.Linear(3, config.competition_width, bias=False)
                self.pair_neighbour = nn.Linear(4, config.competition_width, bias=False)
                edge += config.competition_width + _COMPARED
            self.scorer = self._mlp(edge, (48,), 1)
            width += _EDGE_FEATURES
        self.head = self._mlp(width, config.head, outputs)
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.zero_()
            if outputs == 4:
                last.bias[2:] = -1.2
        self.register_buffer("one_hot", torch.eye(r), persistent=False)

    def _mlp(self, inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.Tanh() if self.config.activation == "tanh" else nn.ReLU()]
            inputs = width
        return nn.Sequential(*layers, nn.Linear(inputs, outputs))

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return self.tau_raw.device

    def a_matrix(self) -> Tensor:
        """A = A_h^T A_h of Remark 1, (F, F)."""
        return self.a_half.T @ self.a_half

    def tau(self) -> Tensor:
        """(F,), >= 0 by construction."""
        return functional.softplus(self.tau_raw)

    def contraction_rate(self) -> Tensor:
        """Certified rate c per tick (scalar); positive: any two states under the same inputs draw together."""
        return (self.tau() - self.a_matrix().abs().sum(1)).min()

    def step_factor(self) -> Tensor:
        """Largest factor by which the distance of two states changes in one fused step (scalar)."""
        h = self.config.liquid_step
        return ((1 + h * self.a_matrix().abs().sum(0)) / (1 + h * self.tau())).max()

    def regulariser(self) -> Tensor:
        """Eq. (15) with the sign that favours contraction: softplus(-c) + mean softplus(-tau)."""
        return functional.softplus(-self.contraction_rate()) + functional.softplus(-self.tau()).mean()

    def initial_state(self, *batch: int) -> Tensor:
        """(..., H) zeros: x = 0, no choice."""
        return torch.zeros(*batch, self.state_width, device=self.device)

    def liquid_step(self, x: Tensor, x_mean: Tensor, f: Tensor) -> Tensor:
        """One fused step of eq. (6): x, S x and f (..., F) -> x' (..., F) in [-1, 1]."""
        h = self.config.liquid_step
        drive = f * torch.tanh(self.b_f_raw) - x_mean @ self.a_matrix()
        return torch.clamp((x + h * drive) / (1 + h * (self.tau() + f)), -1.0, 1.0)

    def forward(self, observation: Observation) -> Output:
        """One tick. Fields as in Observation with any batch dimensions; `consumers` and its mask may broadcast."""
        config = self.config
        r, g, f_width = config.kinds, config.features, config.liquid_width
        own, consumers, exists, neighbours, seen, heard, state = observation
        p, supply = own[..., :2], own[..., 2:]
        d = consumers[..., :2]
        outstanding, remaining, kind = (consumers[..., 2 + r * i : 2 + r * (i + 1)] for i in range(3))
        amount = torch.log1p if config.kind_one_hot else _same

        per_kind = torch.stack((amount(remaining), kind), -1)
        wide = (*per_kind.shape[:-1], 2)
        inputs = [d.unsqueeze(-2).expand(wide), per_kind]
        if config.kind_one_hot:
            inputs.append(self.one_hot.expand(*per_kind.shape[:-1], r))
        phi = self.phi_2(self.phi_1(torch.cat(inputs, -1)).sum(-2)) * exists.unsqueeze(-1)

        count = exists.sum(-1, keepdim=True).clamp(min=1.0)
        mean_kind = (kind * exists.unsqueeze(-1)).sum(-2) / count
        psi = self.psi(torch.cat((p, supply, mean_kind.expand(*supply.shape)), -1))
        x, previous = state[..., :f_width], state[..., -1]
        degree = heard.sum(-1, keepdim=True).clamp(min=1.0)
        mean = (neighbours[..., : f_width + g] * heard.unsqueeze(-1)).sum(-2) / degree
        x_mean, psi_mean = mean[..., :f_width], mean[..., f_width:]

        u = self.b_0(psi) + self.b_1(psi_mean) + phi.sum(-2)
        inner = u + self.a_0(x) + self.a_1(x_mean) if config.liquid else u
        logits = (phi @ torch.tanh(inner).unsqueeze(-1)).squeeze(-1)
        offset = d - p.unsqueeze(-2)
        distance = _length(offset).squeeze(-1)
        if config.distance_bias:
            logits = logits * (2.0 / math.sqrt(g)) - self.distance_weight * distance
        number = torch.arange(1, d.shape[-2] + 1, device=d.device, dtype=d.dtype)
        told = self._told(neighbours, heard, number, p, d, seen)
        edge = None
        if config.edge_scorer:
            edge, comparison = self._edges(
                p, supply, d, distance, outstanding, remaining, kind, exists, previous, told, number, seen, heard
            )
            scored = torch.cat((edge, comparison), -1) if comparison is not None else edge
            logits = logits + self.scorer(scored).squeeze(-1)
        logits = torch.where(exists > 0, logits, _FAR)

        kept = (previous.unsqueeze(-1) == number).to(d.dtype)
        unserved = torch.relu(2.0 * remaining.sum(-1) / outstanding.sum(-1).clamp(min=DEMAND_FLOOR) - 1.0)
        bonus = config.hysteresis * kept + config.urgency * unserved * exists
        waited: list[Tensor] = []
        if config.impatience > 0:
            slots = self._slots(number)
            alone = (unserved > 0) * (told.relayed.sum(-1) <= 0) * exists  # (..., M) nobody known to serve or to come
            ticks = (state[..., f_width:-1] + 1.0).clamp(max=_PATIENCE) * (alone.unsqueeze(-2) @ slots).squeeze(-2)
            bonus = bonus + config.impatience * (slots @ ticks.unsqueeze(-1)).squeeze(-1)
            waited = [ticks]
        xi = torch.softmax(logits + bonus, -1)
        hard = torch.zeros_like(xi).scatter(-1, xi.argmax(-1, keepdim=True), 1.0)
        choice = hard + (xi - xi.detach())
        phi_chosen = (choice.unsqueeze(-2) @ phi).squeeze(-2)
        if config.liquid:
            drive = torch.cat((phi_chosen, u), -1) if config.input_drives_liquid else phi_chosen
            x = self.liquid_step(x, x_mean, functional.relu(self.w(drive)))
        else:
            x = torch.zeros_like(x)
        attended = phi_chosen if config.selected_features else (xi.unsqueeze(-2) @ phi).squeeze(-2)

        y = [x, attended, u, p]
        relative = (choice.unsqueeze(-2) @ offset).squeeze(-2)
        length = _length(relative)
        if config.relative_position:
            y += [relative, torch.clamp(5.0 * relative, -1.0, 1.0), length]
        if config.spread:
            sharers = 1.0 + (told.choice @ choice.detach().unsqueeze(-1)).sum((-2, -1)).unsqueeze(-1)
            near = relative / length
            outside = torch.relu(length - crowd_radius(sharers, config.crowd_limit))
            y += [near * torch.tanh(SPREAD_GAIN * outside), outside, sharers / 8.0]
        if config.repulsion:
            y.append(_repulsion(seen, heard))
        if edge is not None:
            y.append((choice.unsqueeze(-2) @ edge).squeeze(-2))
        head = self.head(torch.cat(y, -1))
        any_there = (exists.sum(-1) > 0).to(xi.dtype).expand(xi.shape[:-1])
        chosen = ((xi.argmax(-1) + 1.0) * any_there).unsqueeze(-1)
        said = [x, psi, supply]
        if config.relayed_load:
            known = told.load + choice.detach().unsqueeze(-1) * supply.unsqueeze(-2)
            gone = choice.detach() * distance
            farthest = torch.maximum(gone, (told.choice * told.distance).amax(-2)).unsqueeze(-1)
            said.append((self._slots(number).transpose(-1, -2) @ torch.cat((known, farthest), -1)).flatten(-2))
        message = torch.cat((*said, chosen), -1)
        return Output(head, message, torch.cat((x, *waited, chosen), -1), logits, xi, choice)

    def as_onnx(self, value_mean: float = 0.0, value_deviation: float = 1.0) -> nn.Module:
        """The network as it is deployed: inputs are the fields of Observation, outputs OUTPUTS_POLICY or OUTPUTS_VALUE.

        Args:
            value_mean: mean of the value targets, kept inside the graph (value network only).
            value_deviation: their standard deviation.
        """
        return _DeployedPolicy(self) if self.outputs == 4 else _DeployedValue(self, value_mean, value_deviation)

    def _slots(self, number: Tensor) -> Tensor:
        """(M, RELAY_SLOTS) one-hot: consumer m is told of in slot m."""
        slots = torch.arange(1, RELAY_SLOTS + 1, device=number.device, dtype=number.dtype)
        return (number.unsqueeze(-1) == slots).to(number.dtype)

    def _told(
        self, neighbours: Tensor, heard: Tensor, number: Tensor, p: Tensor, d: Tensor, seen: Tensor
    ) -> _Told:  # fmt: skip
        """What the neighbours have said of themselves and, relayed, of others."""
        config = self.config
        r, base = config.kinds, config.features + config.liquid_width
        supply = neighbours[..., base : base + r] * heard.unsqueeze(-1)
        choice = (neighbours[..., -1:] == number).to(number.dtype) * heard.unsqueeze(-1)
        if not config.announced_choice:
            choice = torch.zeros_like(choice)
        p_j = p.unsqueeze(-2) + seen[..., :2]
        distance = _length(d.unsqueeze(-3) - p_j.unsqueeze(-2)).squeeze(-1)
        load = choice.transpose(-1, -2) @ supply
        farthest = (choice * distance).amax(-2)
        relayed = load
        if config.relayed_load:
            table = (neighbours[..., base + r : -1] * heard.unsqueeze(-1)).amax(-2).unflatten(-1, (RELAY_SLOTS, r + 1))
            table = self._slots(number) @ table
            relayed = torch.maximum(load, table[..., :r])
            farthest = torch.maximum(farthest, table[..., r])
        return _Told(supply, choice, distance, load, relayed, farthest)

    def _edges(
        self,
        p: Tensor, supply: Tensor, d: Tensor, distance: Tensor, outstanding: Tensor, remaining: Tensor, kind: Tensor,
        exists: Tensor, previous: Tensor, told: _Told, number: Tensor, seen: Tensor, heard: Tensor,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Edge features (..., M, _EDGE_FEATURES) and the comparison with the neighbours (..., M, width + _COMPARED)."""
        config = self.config
        stays = (previous.unsqueeze(-1) == number).to(d.dtype)  # (..., M)
        supply_j, choice_j = told.supply, told.choice  # (..., K, r), (..., K, M)
        s = supply.unsqueeze(-2)
        own = stays.unsqueeze(-1) * s
        load = torch.maximum(told.load + own, told.relayed)  # (..., M, r), of everybody known, the own choice included
        gap = outstanding - load
        residual = gap + own
        zero = torch.zeros_like(distance)
        total = supply.sum(-1, keepdim=True)
        square = supply.square().sum(-1, keepdim=True)
        inverse = 1.0 / outstanding.clamp(min=DEMAND_FLOOR)
        unasked = (s * inverse).sum(-1)
        linear = distance * total + unasked
        wanted, asked, left = (s * residual).sum(-1), outstanding.sum(-1), remaining.sum(-1)
        share = left / asked.clamp(min=DEMAND_FLOOR)
        there = exists.unsqueeze(-1)
        lacking = (residual * there).sum(-2, keepdim=True) / there.sum(-2, keepdim=True).clamp(min=1.0)
        edge = torch.stack(
            (
                distance,
                torch.relu(1.0 - distance / config.disc_radius),
                stays + zero,
                (s * remaining).sum(-1),
                wanted,
                square + zero,
                torch.minimum(s, remaining).sum(-1),
                torch.minimum(s, torch.relu(residual)).sum(-1),
                torch.log1p(asked) + zero,
                torch.log1p(left) + zero,
                residual.sum(-1),
                (s * kind).sum(-1) + zero,
                (square - 2.0 * wanted + linear).clamp(-_DEAR, _DEAR),
                (square - 2.0 * (s * outstanding).sum(-1) + linear).clamp(-_DEAR, _DEAR),
                unasked.clamp(max=_DEAR),
                choice_j.sum(-2),
                share + zero,
                (s * lacking).sum(-1) + zero,
                (s * (load - told.load - own)).sum(-1),
                heard.sum(-1, keepdim=True) / 8.0 + zero,
            ),
            -1,
        )
        if not config.competition:
            return edge, None

        distance_j = told.distance
        total_j = supply_j.sum(-1, keepdim=True)
        square_j = supply_j.square().sum(-1, keepdim=True)
        weight_j = supply_j @ gap.transpose(-1, -2)  # (..., K, M) s_j . gap_m
        linear_j = distance_j * total_j + supply_j @ inverse.transpose(-1, -2)
        leave_j = (choice_j * (square_j + 2.0 * weight_j - linear_j)).sum(-1, keepdim=True)
        change_j = (1.0 - choice_j) * (square_j - 2.0 * weight_j + linear_j + leave_j)
        weight = (s * gap).sum(-1)
        leave = (stays * (square + 2.0 * weight - linear)).sum(-1, keepdim=True)
        change = (1.0 - stays) * (square - 2.0 * weight + linear + leave)

        here = stays.unsqueeze(-1)
        q = s - supply_j  # (..., K, r)
        gap_here = stays.unsqueeze(-2) @ gap  # (..., 1, r)
        swap_j = (
            2.0 * q.square().sum(-1) - 2.0 * (q * (choice_j @ gap - gap_here)).sum(-1)
            + (choice_j @ linear.unsqueeze(-1) + linear_j @ here).squeeze(-1)
            - (stays * linear).sum(-1, keepdim=True) - (choice_j * linear_j).sum(-1)
        )  # fmt: skip
        swap = torch.where(choice_j > 0, swap_j.unsqueeze(-1), _DEAR).amin(-2)

        fresh = (1.0 - (seen[..., 2:3] - 1.0) / MESSAGE_LIFETIME_TICKS) * heard.unsqueeze(-1)
        behind = torch.tanh(_SHARPNESS[0] * (change_j - change.unsqueeze(-2)))
        near_j = torch.relu(1.0 - distance_j / config.disc_radius)
        pair = torch.stack((distance_j, near_j, choice_j, change_j.clamp(-_DEAR, _DEAR), behind), -1)
        consumer = torch.stack((distance, change.clamp(-_DEAR, _DEAR), stays + zero), -1)
        neighbour = torch.cat((choice_j.sum(-1, keepdim=True), total_j, supply_j @ supply.unsqueeze(-1), fresh), -1)
        hidden = functional.relu(
            self.pair(pair) + self.pair_consumer(consumer).unsqueeze(-3) + self.pair_neighbour(neighbour).unsqueeze(-2)
        )
        compared = (heard.unsqueeze(-2) @ hidden.flatten(-2)).unflatten(-1, hidden.shape[-2:]).squeeze(-3)
        rival = torch.where(heard.unsqueeze(-1) * exists.unsqueeze(-2) > 0, change_j.clamp(max=_DEAR), _DEAR)
        lowest = rival.amin(-2)
        best = torch.minimum(change, swap)

        # Where the neighbours will be after their own best moves, and what joining costs then.
        moves_j = torch.softmax(torch.where(exists.unsqueeze(-2) > 0, -_SHARPNESS[0] * change_j, _FAR), -1)
        expected = moves_j.transpose(-1, -2) @ supply_j + (load - told.load - own)
        then = square - 2.0 * (s * (outstanding - expected)).sum(-1) + linear
        then = then - torch.where(exists > 0, then, 1.0e3).amin(-1, keepdim=True)

        gains = torch.stack((change - lowest, best, best - lowest.amin(-1, keepdim=True), then), -1)
        sharp = [torch.tanh(sharpness * gains) for sharpness in _SHARPNESS]
        nearer = torch.relu(told.farthest - distance)
        plain = torch.cat((torch.stack((change, swap, told.farthest + zero, nearer), -1), gains), -1).clamp(
            -_DEAR, _DEAR
        )
        return edge, torch.cat((compared, plain, *sharp), -1)


class _Told(NamedTuple):
    """What an agent has heard; K neighbours, those not heard are zeros."""

    supply: Tensor  # (..., K, r)
    choice: Tensor  # (..., K, M) one-hot
    distance: Tensor  # (..., K, M) from where they sent to the consumers
    load: Tensor  # (..., M, r) of the neighbours heard, by choice
    relayed: Tensor  # (..., M, r) largest that anybody, the agent left out, knows of at first hand; `load` at least
    farthest: Tensor  # (..., M) how far from m the farthest agent is that has chosen it, relayed likewise; 0: nobody


class _DeployedPolicy(nn.Module):
    """Observation fields -> action, message, state_out, assignment."""

    def __init__(self, network: LgtcNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, own: Tensor, consumers: Tensor, consumer_mask: Tensor, neighbours: Tensor, neighbours_seen: Tensor,
        neighbour_mask: Tensor, state: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        out = self.network(
            Observation(own, consumers, consumer_mask, neighbours, neighbours_seen, neighbour_mask, state)
        )
        return mean_action(out), out.message, out.state, out.xi * consumer_mask


class _DeployedValue(nn.Module):
    """Observation fields -> value, message, state_out."""

    def __init__(self, network: LgtcNetwork, mean: float, deviation: float) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("deviation", torch.tensor(deviation))

    def forward(
        self, own: Tensor, consumers: Tensor, consumer_mask: Tensor, neighbours: Tensor, neighbours_seen: Tensor,
        neighbour_mask: Tensor, state: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        out = self.network(
            Observation(own, consumers, consumer_mask, neighbours, neighbours_seen, neighbour_mask, state)
        )
        return out.head[..., 0] * self.deviation + self.mean, out.message, out.state


def _same(x: Tensor) -> Tensor:
    return x


def _repulsion(seen: Tensor, heard: Tensor) -> Tensor:
    """Sum of unit vectors away from near neighbours, fading out at each range, and how crowded it is (..., 5)."""
    offset = seen[..., :2]
    distance = _length(offset)
    parts = []
    weight = heard.unsqueeze(-1)
    for reach in _REPULSION_RANGES:
        weight = torch.relu(1.0 - distance / reach) * heard.unsqueeze(-1)
        parts.append(-(offset / distance * weight).sum(-2))
    parts.append(weight.sum(-2))
    return torch.cat(parts, -1)


def _length(vector: Tensor) -> Tensor:
    """Length of vectors (..., 2) as (..., 1), never 0, so that one may divide by it.

    Bounded below, not shifted: the graph optimiser of the export drops the addition of a constant this small.
    """
    return torch.sqrt(vector.square().sum(-1, keepdim=True).clamp_min(1e-12))


def bounded(vector: Tensor) -> Tensor:
    """Map R^2 into the unit disc, smoothly and monotonically in length: v tanh(|v|) / |v|."""
    length = _length(vector)
    return vector * (torch.tanh(length) / length)


def mean_action(output: Output) -> Tensor:
    """Action without exploration (..., 2), norm at most 1."""
    return bounded(output.head[..., :2])


def log_std(output: Output) -> Tensor:
    """(..., 2) of the exploration noise, which is added after the mean was bounded."""
    return output.head[..., 2:4].clamp(*_LOG_STD)
