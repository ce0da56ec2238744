"""One training experiment as one validated file (config/training/*.yaml)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from lgtc_core.errors import ConfigError
from lgtc_core.schema import Bounds
from lgtc_core.world.expert import CROWD_LIMIT
from lgtc_core.world.rules import RewardWeights

Fraction = Bounds(0.0, 1.0)


@dataclass(frozen=True)
class NetworkConfig:
    """Eqs. (4)-(6) and our additions, each switchable alone. All additions false: the network as printed."""

    kinds: Annotated[int, Bounds(1, 16), "r: resource kinds the network is built for"] = 2
    features: Annotated[int, Bounds(4, 512), "G: width of Phi, Psi and u"] = 64
    liquid_width: Annotated[int, Bounds(4, 512), "F: width of the liquid state x"] = 64
    head: Annotated[tuple[int, ...], Bounds(4, 1024), "widths of the final MLP"] = (256, 256)
    activation: Annotated[Literal["tanh", "relu"], "of every MLP (printed: not said)"] = "relu"
    liquid: Annotated[bool, "the cluster dynamics of x; false: IPPO of Section IV, x is not used"] = True
    liquid_step: Annotated[float, Bounds(0.01, 10.0), "h of the fused step, in units of the learned time scale"] = 1.0
    selected_features: Annotated[bool, "hard selection (straight-through) also for Xi Phi in y"] = False
    kind_one_hot: Annotated[bool, "phi_1 is told which resource it looks at; amounts enter as log(1 + x)"] = False
    relative_position: Annotated[bool, "chosen consumer's relative position enters y"] = False
    distance_bias: Annotated[bool, "logits scaled by 2 / sqrt(G) and lowered by k times the distance"] = False
    spread: Annotated[bool, "the own place in the crowd of the chosen consumer's disc enters y"] = False
    crowd_limit: Annotated[float, Bounds(0.01, 1.0), "largest radius of a crowd in `spread`, normalised"] = CROWD_LIMIT
    repulsion: Annotated[bool, "offsets of the nearest neighbours enter y"] = False
    edge_scorer: Annotated[bool, "pairwise score of own supply against a consumer's demand on the logits"] = False
    announced_choice: Annotated[bool, "the edge scorer hears what neighbours have chosen"] = False
    competition: Annotated[bool, "the edge scorer compares the own gain in eq. (2) with every neighbour's"] = False
    relayed_load: Annotated[bool, "messages also say what load of every consumer their sender knows of"] = False
    input_drives_liquid: Annotated[bool, "f also sees u"] = False
    hysteresis: Annotated[float, Bounds(0.0, 10.0), "raise of the last chosen consumer's logit; printed: 0"] = 0.0
    urgency: Annotated[
        float,
        Bounds(0.0, 10.0),
        "raise of the logit of a consumer that nobody serves, 0 from half served on; printed: 0",
    ] = 0.0
    impatience: Annotated[
        float, Bounds(0.0, 1.0), "and further by this for every tick in which nobody was known to come; printed: 0"
    ] = 0.0
    competition_width: Annotated[int, Bounds(4, 256), "width of the comparison with one neighbour"] = 24
    disc_radius: Annotated[float, Bounds(0.01, 1.0), "R_m that the edge features use, normalised"] = 0.22

    def __post_init__(self) -> None:
        if self.announced_choice and not self.edge_scorer:
            raise ConfigError("", "announced_choice", "true without edge_scorer", "edge_scorer: true as well")
        if self.relayed_load and not self.announced_choice:
            raise ConfigError("", "relayed_load", "true without announced_choice", "announced_choice: true as well")
        if self.competition and not self.announced_choice:
            raise ConfigError("", "competition", "true without announced_choice", "announced_choice: true as well")


@dataclass(frozen=True)
class WorldConfig:
    """Distribution of one group of worlds; what is drawn is drawn per world at every reset. [lo, hi] are uniform."""

    worlds: Annotated[int, Bounds(1, 65536), "worlds stepped at once"] = 48
    ticks: Annotated[int, Bounds(2, 100000), "length of an episode"] = 64
    agents: Annotated[tuple[int, int], Bounds(1, 1000), "N"] = (10, 10)
    consumers: Annotated[tuple[int, int], Bounds(1, 100), "M; never more than N"] = (4, 4)
    kinds: Annotated[int, Bounds(1, 16), "r"] = 2
    tick_s: Annotated[float, Bounds(0.001, 1.0, "s"), "length of a tick"] = 0.05
    communication_radius: Annotated[float, Bounds(0.01, 10.0), "C, normalised"] = 1.0
    disc_radius: Annotated[float, Bounds(0.01, 1.0), "R_m, normalised"] = 0.22
    consumer_reach: Annotated[float, Bounds(0.1, 1.0), "consumers lie within +- this"] = 0.85
    consumer_separation: Annotated[float, Bounds(0.0, 2.0), "least distance of two consumers, where there is room"] = (
        0.54
    )
    carried: Annotated[float, Fraction, "probability that an agent carries a kind (at least one)"] = 0.75
    supply: Annotated[tuple[float, float], Bounds(0.0, 100.0), "amount carried of a kind"] = (0.3, 1.0)
    demand_ratio: Annotated[tuple[float, float], Bounds(0.01, 100.0), "total demand / total supply of a kind"] = (
        1.0,
        1.2,
    )
    demand_share: Annotated[tuple[float, float], Bounds(0.0, 100.0), "consumers' shares, before they are scaled"] = (
        0.5,
        1.5,
    )
    demand_each: Annotated[
        tuple[float, float] | None, Bounds(0.0, 100.0), "demand of every consumer instead of ratio and share"
    ] = None
    zero_depletion: Annotated[float, Fraction, "probability that a kind is 0-depletion, per world"] = 0.5
    mixed_kinds: Annotated[bool, "the depletion kind is drawn per consumer and kind instead of per kind"] = False
    single_kind: Annotated[float, Fraction, "probability that a world uses only one kind (the others are all zero)"] = (
        0.0
    )
    discharge_per_s: Annotated[
        tuple[float, float], Bounds(0.0, 1.0), "0-depletion supplies fall by this much per second"
    ] = (
        0.0,
        0.0,
    )
    speed_per_s: Annotated[float, Bounds(0.001, 100.0), "v_max, normalised per second"] = 1.0
    speed_factor: Annotated[tuple[float, float], Fraction, "share of v_max that the vehicles reach"] = (1.0, 1.0)
    lag_s: Annotated[tuple[float, float], Bounds(0.0, 2.0, "s"), "time constant of the vehicles' velocity"] = (0.0, 0.0)
    message_loss: Annotated[tuple[float, float], Fraction, "probability that a message is lost"] = (0.0, 0.0)
    loss_per_link: Annotated[bool, "that probability is drawn for every link and direction, not once per world"] = False
    message_delay: Annotated[
        tuple[int, int], Bounds(0, 100, "ticks"), "how much later than after one tick a message comes, drawn per link"
    ] = (0, 0)
    start_spread: Annotated[
        tuple[float, float], Bounds(0.01, 1.0), "agents start within +- this around a random point"
    ] = (1.0, 1.0)
    losses: Annotated[float, Bounds(0.0, 100.0), "expected number of agents lost per episode"] = 0.0
    sole_server_losses: Annotated[float, Fraction, "probability that a loss takes the only server of a place"] = 0.7
    changes: Annotated[
        float, Bounds(0.0, 100.0), "expected number of consumers moved, removed or added per episode"
    ] = 0.0
    relabel_ticks: Annotated[
        int, Bounds(0, 100000), "eq. (2) is solved again every so many ticks; 0: after events only"
    ] = 0
    label_gain: Annotated[
        float,
        Bounds(0.0, 10.0),
        "solved again, a move or swap away from what the team has chosen must lower eq. (2) by more than this",
    ] = 0.0
    label_margin: Annotated[
        float, Fraction, "what the team has chosen is left only for an answer of eq. (2) better by this share"
    ] = 0.0
    uncovered_weight: Annotated[
        float, Bounds(0.0, 100.0), "a label counts 1 + this * how far its consumer is from being half served"
    ] = 0.0
    agents_per_update: Annotated[int, Bounds(0, 10000), "agents drawn per snapshot for an update; 0: all"] = 0
    surrogate: Annotated[bool, "whether IPPO learns from these worlds; false: they are for imitation alone"] = True
    label_starts: Annotated[int, Bounds(1, 256), "starts of moves and swaps per label"] = 8
    calm_crowds: Annotated[bool, "the controller that teaches motion comes to rest in a full disc"] = False
    safety_radius: Annotated[
        float, Bounds(0.0, 1.0), "the safety filter keeps agents this far apart, normalised; 0: no filter"
    ] = 0.0
    safety_gain_per_s: Annotated[float, Bounds(0.1, 50.0), "barrier gain alpha of that filter [1/s]"] = 4.0

    def __post_init__(self) -> None:
        for name in ("agents", "consumers", "supply", "demand_ratio", "demand_share", "demand_each", "discharge_per_s",
                     "speed_factor", "lag_s", "message_loss", "message_delay", "start_spread"):  # fmt: skip
            pair = getattr(self, name)
            if pair is not None and pair[0] > pair[1]:
                raise ConfigError("", name, f"{list(pair)}", "[lo, hi] with lo at most hi")
        if self.consumers[0] > self.agents[1]:
            raise ConfigError("", "consumers", f"at least {self.consumers[0]}", f"at most agents[1] = {self.agents[1]}")


@dataclass(frozen=True)
class AlgorithmConfig:
    """IPPO (Section III-C). Defaults: Table I, the paper preset; what Table I does not name is marked *."""

    gamma: Annotated[float, Fraction, "discount"] = 0.99
    gae_lambda: Annotated[float, Fraction, "lambda of GAE"] = 0.95
    clip: Annotated[float, Bounds(0.01, 1.0), "epsilon of eq. (12)"] = 0.2
    batch: Annotated[int, Bounds(1, 100000), "team snapshots per optimiser step"] = 64
    epochs: Annotated[int, Bounds(1, 100), "passes over a rollout"] = 4
    gradient_norm: Annotated[float, Bounds(0.001, 100.0), "largest gradient norm"] = 0.5
    learning_rate: Annotated[float, Bounds(1e-7, 1.0), "of Adam"] = 2e-4
    learning_rate_end: Annotated[float, Fraction, "share of it at the end, linear in the steps*"] = 1.0
    contraction: Annotated[float, Bounds(0.0, 10.0), "alpha on eq. (15)"] = 1e-3
    entropy: Annotated[float, Bounds(0.0, 1.0), "entropy bonus*"] = 0.0
    backpropagation_ticks: Annotated[
        int, Bounds(1, 1000), "ticks over which gradients flow through x; 1: x enters as it was flown*"
    ] = 1
    assignment_loss: Annotated[float, Bounds(0.0, 100.0), "cross-entropy of Xi to eq. (2)*"] = 0.0
    assignment_loss_end: Annotated[
        float, Bounds(0.0, 100.0), "the same at the end of the run, linear in the steps*"
    ] = 0.0
    motion_loss: Annotated[
        float, Bounds(0.0, 100.0), "distance of the mean action to the expert's, given the choice*"
    ] = 0.0
    motion_loss_end: Annotated[float, Bounds(0.0, 100.0), "the same at the end of the run*"] = 0.0
    imitation_steps: Annotated[int, Bounds(0, 10**9), "snapshots at the start without the clipped surrogate (12)*"] = 0
    value_steps: Annotated[int, Bounds(0, 10**9), "of them, how many at the end already train the value*"] = 0
    value_normalisation: Annotated[bool, "returns are scaled to unit variance for the value network*"] = False


@dataclass(frozen=True)
class ExperimentConfig:
    """One file of config/training."""

    name: Annotated[str, "name of the run and of the exported model"]
    network: NetworkConfig
    worlds: Annotated[
        tuple[WorldConfig, ...], "groups of worlds trained on side by side; a rollout is one episode of each"
    ]
    value_network: Annotated[NetworkConfig | None, "network of the value; null: as `network`"] = None
    algorithm: AlgorithmConfig = AlgorithmConfig()
    rewards: RewardWeights = field(default_factory=RewardWeights)
    steps: Annotated[int, Bounds(1, 10**10), "team snapshots in total"] = 1_000_000
    seed: Annotated[int, Bounds(0, 2**31 - 1), "of everything random"] = 0
    evaluate_every: Annotated[
        int, Bounds(0, 10**6), "updates between two evaluations; 0: none, not at the end either"
    ] = 20
    evaluation_worlds: Annotated[int, Bounds(1, 4096), "held-out worlds per evaluation during training"] = 64
    patience: Annotated[
        int, Bounds(0, 10**6), "the run ends after so many evaluations on a plateau (see `plateau`); 0: never"
    ] = 0
    plateau: Annotated[
        float, Bounds(0.0, 1.0), "an evaluation leaves the plateau when its objective is higher by more than this"
    ] = 0.002
    minutes: Annotated[float, Bounds(0.0, 10**6, "min"), "wall time after which the run ends; 0: no limit"] = 0.0

    def __post_init__(self) -> None:
        if not self.worlds:
            raise ConfigError("", "worlds", "an empty list", "at least one group of worlds")
        for i, group in enumerate(self.worlds):
            if group.kinds != self.network.kinds:
                raise ConfigError("", f"worlds[{i}].kinds", str(group.kinds), f"network.kinds = {self.network.kinds}")
            if group.ticks % self.algorithm.backpropagation_ticks:
                expected = f"a multiple of algorithm.backpropagation_ticks = {self.algorithm.backpropagation_ticks}"
                raise ConfigError("", f"worlds[{i}].ticks", str(group.ticks), expected)
        first = self.worlds[0]
        for i, group in enumerate(self.worlds):
            for name in ("tick_s", "communication_radius", "disc_radius", "speed_per_s"):
                if getattr(group, name) != getattr(first, name):
                    raise ConfigError(
                        "",
                        f"worlds[{i}].{name}",
                        str(getattr(group, name)),
                        f"that of worlds[0]: {getattr(first, name)}",
                    )
        if self.network.disc_radius != first.disc_radius:
            raise ConfigError(
                "", "network.disc_radius", str(self.network.disc_radius), f"that of the worlds: {first.disc_radius}"
            )
