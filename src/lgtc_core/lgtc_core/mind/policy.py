"""The mind of one drone: hears its neighbours, steps the exported network, says where to fly (eqs. 4-6, 20 Hz).

    observation(t) = own p_i, supply | consumers | messages heard, as sent at earlier ticks | state x_i(t - 1)
    action, message, x_i(t), Xi_i = policy(observation(t))
    velocity = action * maximum speed

What is deployed is what was trained: a message counts only as `observation.usable` says (from within the communication
radius C, not too old), and among several of one sender the newest.

A `Mind` decides for one drone. `Minds` are those of several drones of one process: one run of the network for all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from lgtc_core.demand.view import DemandView
from lgtc_core.errors import ContractError, InputError
from lgtc_core.mind import observation as layout
from lgtc_core.mind.card import POLICY_FILE, ModelCard, load_card
from lgtc_core.mind.observation import Observation
from lgtc_core.rows import Rows
from lgtc_core.slots import Slots
from lgtc_core.world.arena import Arena

Array = npt.NDArray[np.float64]
Array32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

AHEAD_S = 0.5
"""A message stamped farther in the future is forgotten: otherwise it would silence all later ones of its sender [s]."""
FORGET_S = 60.0
"""The place in the inbox of a stranger who has been silent for so long may go to another [s]."""


class PolicyOutput(NamedTuple):
    """What the network answers to a batch of B observations."""

    action: Array32  # (B, 2) fraction of the maximum speed, norm at most 1
    message: Array32  # (B, D) to the neighbours
    state: Array32  # (B, H) recurrent state for the next tick
    assignment: Array32  # (B, M) Xi, rows sum to 1


class Network(Protocol):
    """An exported network, ready to run."""

    inputs: list[str]
    outputs: list[str]

    def run(self, feed: Mapping[str, Array32]) -> list[Array32]:
        """Outputs, in the order of `outputs`, of the inputs by name."""


class Session:
    """A network run by onnxruntime on one thread.

    Args:
        path: the ONNX file.
    """

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = [put.name for put in self._session.get_inputs()]
        self.outputs = [put.name for put in self._session.get_outputs()]

    def run(self, feed: Mapping[str, Array32]) -> list[Array32]:
        """Outputs, in the order of `outputs`, of the inputs by name."""
        outputs: list[Array32] = self._session.run(self.outputs, feed)
        return outputs


class PolicyModel:
    """An exported policy network with its card.

    Args:
        directory: folder with ``policy.onnx`` and ``card.json``.
        network: what runs it.

    Raises:
        ConfigError: card or network missing or malformed.
        ContractError: the network is not the one that the card describes.
    """

    def __init__(self, directory: Path | str, network: Callable[[Path], Network] = Session) -> None:
        self.directory = Path(directory)
        self.card: ModelCard = load_card(self.directory)
        path = self.directory / POLICY_FILE
        try:
            self._network = network(path)
        except Exception as error:  # neither onnxruntime nor onnx has a public exception type for an unreadable graph
            raise ContractError(
                str(path), f"a file that cannot be read ({error})", "an exported policy network; export the model again"
            ) from error
        inputs, outputs = self._network.inputs, self._network.outputs
        if not set(inputs) <= set(layout.INPUTS) or outputs != list(layout.OUTPUTS_POLICY):
            raise ContractError(
                str(path),
                f"inputs {', '.join(inputs)} and outputs {', '.join(outputs)}",
                f"inputs among {', '.join(layout.INPUTS)} and outputs {', '.join(layout.OUTPUTS_POLICY)}",
            )

    def initial_state(self, batch: int = 1) -> Array32:
        """Recurrent state before the first tick, shape (batch, H): zeros, inside the invariant set |x| <= 1."""
        return np.zeros((batch, self.card.state_width), np.float32)

    def step(self, observation: Observation) -> PolicyOutput:
        """One tick of the network for a batch of agents; array shapes as in `Observation`."""
        feed = {name: getattr(observation, name) for name in self._network.inputs}
        return PolicyOutput(*self._network.run(feed))


class Features(NamedTuple):
    """One neighbour's message, as it travels (lgtc_interfaces/AgentFeatures)."""

    drone: str
    sequence: int
    stamp_s: float
    position_m: Array  # (2,) sender's position at the stamp, world frame
    contract: str  # contract hash of the sender's model
    data: Array32  # (D,)


class Heard(Enum):
    """What became of a message."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    OLD = "older than one already heard"
    TOO_FAR = "from beyond the communication radius"


class Decision(NamedTuple):
    """What the mind decided at one tick, and what it looked at."""

    velocity_mps: Array  # (2,) nominal velocity, world frame
    action: Array32  # (2,) fraction of the maximum speed
    features: Features  # to the neighbours
    consumers: tuple[str, ...]  # names, order of `assignment`
    assignment: Array32  # (len(consumers),) Xi of this agent
    chosen: int  # index into `consumers`, -1 without any
    state: Array32  # (H,) recurrent state after the tick
    neighbours_heard: int
    oldest_message_age_s: float  # NaN when nobody was heard
    step_time_s: float  # of the network alone, for the record only


@dataclass(frozen=True, eq=False)
class Said(Rows[Features]):
    """Messages of k drones at one moment, as `Minds` make them: finite, and as wide as the contract says."""

    drones: tuple[str, ...]
    sequence: Ints  # (k,)
    stamp_s: Array  # (k,)
    position_m: Array  # (k, 2)
    contract: str  # of all
    data: Array32  # (k, D)

    @classmethod
    def of(cls, features: Sequence[Features]) -> Said:
        """Messages of the same contract; at least one."""
        drones, sequence, stamp_s, position_m, contracts, data = zip(*features, strict=True)
        return cls(drones, np.array(sequence), np.array(stamp_s), np.array(position_m), contracts[0], np.array(data))

    def __len__(self) -> int:
        return len(self.drones)

    def row(self, i: int) -> Features:
        """The message of one of them."""
        stamp_s = float(self.stamp_s[i])
        number, at_m, data = int(self.sequence[i]), self.position_m[i], self.data[i]
        return Features(self.drones[i], number, stamp_s, at_m, self.contract, data)


@dataclass(frozen=True, eq=False)
class Decisions(Rows[Decision]):
    """What k minds decided at one tick. Arrays as in `Decision`, with a leading dimension of k."""

    velocity_mps: Array
    action: Array32
    features: Said
    consumers: tuple[str, ...]
    assignment: Array32
    state: Array32
    neighbours_heard: Ints
    oldest_message_age_s: Array
    step_time_s: float

    def __len__(self) -> int:
        return len(self.velocity_mps)

    def row(self, i: int) -> Decision:
        """The decision of one of them."""
        return Decision(
            velocity_mps=self.velocity_mps[i],
            action=self.action[i],
            features=self.features[i],
            consumers=self.consumers,
            assignment=self.assignment[i],
            chosen=int(self.assignment[i].argmax()) if self.consumers else -1,
            state=self.state[i],
            neighbours_heard=int(self.neighbours_heard[i]),
            oldest_message_age_s=float(self.oldest_message_age_s[i]),
            step_time_s=self.step_time_s,
        )


class Minds:
    """Recurrent policies of several drones that share one network and one memory: one run of it decides for all.

    Args:
        model: the exported network.
        arena: maps metres to the network's coordinates; its communication radius bounds who is heard.
        speeds_mps: by drone, the speed that a full action asks for [m/s].
        senders: names of those who may be heard, the order of the columns of `hear`; others are heard as well.
    """

    def __init__(
        self, model: PolicyModel, arena: Arena, speeds_mps: Mapping[str, float], senders: Sequence[str] = ()
    ) -> None:
        self.model, self.arena, self.drones = model, arena, tuple(speeds_mps)
        self._speeds_mps = np.array(list(speeds_mps.values()))
        n, k, width = len(self.drones), max(1, len(senders)), model.card.message_width
        self._state = model.initial_state(n)
        self._position_m = np.full((n, 2), np.nan)  # at the last decision
        self._sequence = np.zeros(n, np.int64)
        self._slots = Slots(senders)
        self._inbox = _Inbox(
            np.full((n, k), -np.inf), np.zeros((n, k), np.int64), np.zeros((n, k, 2)),
            np.zeros((n, k, width), np.float32),
        )  # fmt: skip
        self._demanded: _Demanded | None = None
        self._checked: Features | None = None
        """The message that was found good last."""

    def reset(self, i: int) -> None:
        """Mind i forgets everything."""
        self._state[i] = 0.0
        self._inbox.stamp_s[i] = -np.inf

    def check(self, features: Sequence[Features]) -> None:
        """Refuse messages that this network cannot take.

        Raises:
            ContractError: from another model or of the wrong width.
            InputError: position or data not finite.
        """
        card = self.model.card
        if len(features) == 1 and features[0] is self._checked:
            return  # the minds of a process hear the same message one after the other
        for sent in features:
            if sent.contract != card.contract or len(sent.data) != card.message_width:
                raise ContractError(
                    f"features of {sent.drone}",
                    f"{len(sent.data)} numbers of model {sent.contract[:12] or 'unknown'}",
                    f"{card.message_width} numbers of model {card.contract[:12]}; fly one model on all drones",
                )
            if not (_all_finite(sent.position_m) and _all_finite(sent.data)):
                raise InputError(f"features of {sent.drone}", "numbers that are not finite", "finite numbers")
            self._checked = sent

    def hear(self, heard: Bools, said: Sequence[Features]) -> None:
        """Each mind i takes in the messages of which it hears, as `Mind.hear` would.

        Args:
            heard: (N, k) whether mind i hears message j of `said`.
            said: k messages of different senders.

        Raises:
            ContractError, InputError: see `check`. Nothing changed.
        """
        if not len(said):
            return
        if not isinstance(said, Said) or said.contract != self.model.card.contract:
            self.check(said)
            said = Said.of(said)
        columns = np.array([self._slot(*sender) for sender in zip(said.drones, said.stamp_s.tolist(), strict=True)])
        inbox, near = self._inbox, self._near(said.position_m, self._position_m[:, None])
        rows, which = np.nonzero(heard & (said.stamp_s > inbox.stamp_s[:, columns]) & near)
        at = rows, columns[which]
        inbox.stamp_s[at], inbox.position_m[at] = said.stamp_s[which], said.position_m[which]
        inbox.sequence[at], inbox.data[at] = said.sequence[which], said.data[which]

    def hear_one(self, i: int, features: Features) -> Heard:
        """Mind i takes in one message that was checked, or drops it for a named reason."""
        at = i, self._slot(features.drone, features.stamp_s)
        if features.stamp_s <= self._inbox.stamp_s[at]:
            return Heard.DUPLICATE if features.sequence == self._inbox.sequence[at] else Heard.OLD
        x_m, y_m = (features.position_m - self._position_m[i]).tolist()
        if math.hypot(x_m, y_m) > self.arena.radius_m:  # never where a place is not known, as in `_near`
            return Heard.TOO_FAR
        inbox = self._inbox
        inbox.stamp_s[at], inbox.sequence[at] = features.stamp_s, features.sequence
        inbox.position_m[at], inbox.data[at] = features.position_m, features.data
        return Heard.ACCEPTED

    def decide(
        self, minds: Sequence[int], now_s: float, position_m: Array, supply: Array, demand: DemandView
    ) -> Decisions:
        """One policy tick of several minds, each the same to rounding as alone.

        Args:
            minds: indices of n minds.
            now_s: time of the tick [s].
            position_m: their positions (n, 2), world frame [m].
            supply: carried amounts per resource kind (n, r).
            demand: what is asked for now.

        Raises:
            InputError: a position or supply not finite; nothing was changed.
            ContractError: more consumers or kinds than the model was exported for, or an answer that is not finite.
        """
        rows = np.asarray(minds)
        if not (_all_finite(position_m) and _all_finite(supply)):
            for j, i in enumerate(minds):
                check_finite(self.drones[i], position_m[j], supply[j])
        demanded = self._wanted(demand, len(rows))
        p = self.arena.to_normalised(position_m)
        counts, oldest_s, neighbours = self._heard(rows, now_s, p)
        padded = np.zeros((len(rows), self.model.card.resource_kinds))
        padded[:, : supply.shape[1]] = supply
        data, seen, mask = neighbours
        observation = Observation(
            own=layout.own(p, padded).astype(np.float32),
            consumers=demanded.consumers,
            consumer_mask=demanded.mask,
            neighbours=data,
            neighbours_seen=seen,
            neighbour_mask=mask,
            state=self._state[rows],
        )
        started = time.perf_counter()
        output = self.model.step(observation)
        step_time_s = (time.perf_counter() - started) / len(rows)
        if not (_all_finite(output.action) and _all_finite(output.message) and _all_finite(output.state)):
            name = self.model.card.name
            raise ContractError(f"model {name}", "an answer that is not finite", "finite numbers; export it again")
        self._state[rows], self._position_m[rows] = output.state, position_m
        self._sequence[rows] += 1
        velocity_mps = layout.action_to_velocity(output.action.astype(float), self._speeds_mps[rows, None])
        return Decisions(
            velocity_mps,
            output.action,
            Said(
                tuple(self.drones[i] for i in minds),
                self._sequence[rows],
                np.full(len(rows), now_s),
                np.array(position_m, float),
                self.model.card.contract,
                output.message,
            ),
            demanded.names,
            output.assignment[:, demanded.slots],
            output.state,
            counts,
            oldest_s,
            step_time_s,
        )

    def _wanted(self, demand: DemandView, count: int) -> _Demanded:
        """The demand for so many minds; kept as long as it is the same."""
        known = self._demanded
        if known is not None and known.view is demand and len(known.mask) == count:
            return known
        card = self.model.card
        slots = [consumer.slot for consumer in demand.consumers]
        highest = max(slots, default=-1) + 1
        if highest > card.max_consumers or len(demand.kinds) > card.resource_kinds:
            raise ContractError(
                f"demand for model {card.name}",
                f"{highest} consumer slots and {len(demand.kinds)} resource kinds",
                f"at most {card.max_consumers} and {card.resource_kinds}; remove some or export a larger model",
            )
        arrays = demand.arrays(self.arena, card.resource_kinds)
        rows = layout.consumers(arrays.d, arrays.demanded, arrays.remaining, arrays.kind)
        names = tuple(consumer.name for consumer in demand.consumers)
        self._demanded = _Demanded(demand, slots, names, _batch(rows, count), _batch(arrays.mask, count))
        return self._demanded

    def _near(self, a_m: Array, b_m: Array) -> Bools:
        """Whether places (..., 2) are within the communication radius C [m]; all are near to one that is not known."""
        offset_m = a_m - b_m
        return np.asarray(~(np.hypot(offset_m[..., 0], offset_m[..., 1]) > self.arena.radius_m), np.bool_)

    def _heard(self, rows: Ints, now_s: float, p: Array) -> tuple[Ints, Array, tuple[Array32, Array32, Array32]]:
        """Of each mind: how many messages are usable, the age of the oldest [s], and the network's three inputs."""
        inbox = self._inbox
        stamp_s = inbox.stamp_s[rows]
        ahead = stamp_s > now_s + AHEAD_S
        if ahead.any():
            stamp_s[ahead] = -np.inf
            inbox.stamp_s[rows] = stamp_s
        age_s = now_s - stamp_s
        # Nodes tick at different moments: a message may be younger than one tick here, which training never shows.
        age_ticks = np.maximum(1.0, age_s / self.model.card.tick_s)
        p_heard = self.arena.to_normalised(inbox.position_m[rows])
        usable = layout.usable(p, p_heard, age_ticks, self.arena.communication_radius)
        counts = usable.sum(1)
        k = int(counts.max())
        if k == 0:
            n = len(rows)
            nothing = np.zeros((n, 1, inbox.data.shape[2]), np.float32)
            inputs = nothing, np.zeros((n, 1, 3), np.float32), np.zeros((n, 1), np.float32)
            return counts, np.full(n, np.nan), inputs
        first = np.argsort(~usable, axis=1, kind="stable")[:, :k]  # the usable ones, in the order of the slots
        every = np.arange(len(rows))[:, None]
        mask = usable[every, first]
        seen = layout.seen(p, p_heard[every, first], age_ticks[every, first])
        seen[~mask] = 0.0
        data = inbox.data[rows[:, None], first]
        data[~mask] = 0.0
        oldest_s = np.where(counts > 0, np.max(age_s, axis=1, where=usable, initial=0.0), np.nan)
        inputs = data, seen.astype(np.float32), mask.astype(np.float32)
        return counts, oldest_s, inputs

    def _slot(self, drone: str, stamp_s: float) -> int:
        """Column of a sender, who spoke at `stamp_s`."""
        slot = self._slots.find(drone)
        if slot is None:
            idle = np.all(self._inbox.stamp_s < stamp_s - FORGET_S, axis=0)
            slot = self._slots.give(drone, idle)
            if slot == len(idle):
                self._inbox = _Inbox(*(np.concatenate([field, np.zeros_like(field)], 1) for field in self._inbox))
                self._inbox.stamp_s[:, slot:] = -np.inf
        return slot


class Mind:
    """Recurrent policy of one drone with its inbox.

    Args:
        model: the exported network; may be shared between minds of one process.
        arena: maps metres to the network's coordinates; its communication radius bounds who is heard.
        drone: own name.
        max_speed_mps: speed that a full action asks for [m/s].
        minds: the minds that this one shares its memory with; without, it has its own.
    """

    def __init__(
        self, model: PolicyModel, arena: Arena, drone: str, max_speed_mps: float, minds: Minds | None = None
    ) -> None:
        self.model, self.arena, self.drone = model, arena, drone
        self.minds = minds or Minds(model, arena, {drone: max_speed_mps})
        self.index = self.minds.drones.index(drone)
        """Which of `minds` it is."""

    def reset(self) -> None:
        """Forget everything: before a flight, and when the policy is switched off."""
        self.minds.reset(self.index)

    def hear(self, features: Features) -> Heard:
        """Take in a neighbour's message, or drop it for a named reason.

        Raises:
            ContractError: from another model or of the wrong width; the inbox keeps what it has.
            InputError: position or data not finite; likewise.
        """
        self.minds.check([features])
        return self.minds.hear_one(self.index, features)

    def decide(self, now_s: float, position_m: Array, supply: Array, demand: DemandView) -> Decision:
        """One policy tick.

        Args:
            now_s: time of the tick [s].
            position_m: own position (2,), world frame [m].
            supply: carried amount per resource kind (r,).
            demand: what is asked for now.

        Raises:
            InputError: own position or supply not finite; nothing was changed.
            ContractError: more consumers or kinds than the model was exported for, or an answer that is not finite.
        """
        return self.minds.decide([self.index], now_s, np.asarray(position_m)[None], np.asarray(supply)[None], demand)[0]


class _Inbox(NamedTuple):
    """The newest message of every sender, for N minds and K senders."""

    stamp_s: Array  # (N, K), -inf: none
    sequence: Ints  # (N, K)
    position_m: Array  # (N, K, 2)
    data: Array32  # (N, K, D)


class _Demanded(NamedTuple):
    """A demand as the network takes it."""

    view: DemandView
    slots: list[int]  # of the consumers
    names: tuple[str, ...]
    consumers: Array32  # (n, M, 2 + 3 r)
    mask: Array32  # (n, M)


def _all_finite(values: npt.ArrayLike) -> bool:
    """Whether no value is infinite or NaN; the squares of what is finite here do not overflow."""
    flat = np.asarray(values).ravel()
    return math.isfinite(flat @ flat)


def check_finite(drone: str, position_m: Array, supply: Array) -> None:
    """Refuse what a mind cannot decide on.

    Raises:
        InputError: position or supply not finite.
    """
    if not (np.isfinite(position_m).all() and np.isfinite(supply).all()):
        raise InputError(f"pose or supply of {drone}", f"{position_m}, {supply}", "finite numbers")


def _batch(row: Any, count: int) -> Array32:
    """One agent's array as a float32 batch of `count` equal ones."""
    return np.repeat(np.asarray(row, np.float32)[None], count, 0)
