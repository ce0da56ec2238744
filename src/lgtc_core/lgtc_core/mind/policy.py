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
from lgtc_core.mind import tick
from lgtc_core.mind.card import POLICY_FILE, ModelCard, load_card
from lgtc_core.mind.observation import Observation
from lgtc_core.rows import Rows
from lgtc_core.slots import Slots
from lgtc_core.world.arena import Arena

Array = npt.NDArray[np.float64]
Array32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

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


_FATES = {
    tick.ACCEPTED: Heard.ACCEPTED,
    tick.DUPLICATE: Heard.DUPLICATE,
    tick.OLD: Heard.OLD,
    tick.TOO_FAR: Heard.TOO_FAR,
}


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
    """What k minds decided at one tick."""

    velocity_mps: Array  # (k, 2) nominal velocities, world frame
    features: Said  # to the neighbours
    looked: tick.Looked
    demanded: _Demanded
    output: PolicyOutput
    step_time_s: float  # of the network alone, per mind

    def __len__(self) -> int:
        return len(self.velocity_mps)

    def row(self, i: int) -> Decision:
        """The decision of one of them."""
        consumers, assignment = self.demanded.names, self.output.assignment[i, self.demanded.slots]
        return Decision(
            velocity_mps=self.velocity_mps[i],
            action=self.output.action[i],
            features=self.features[i],
            consumers=consumers,
            assignment=assignment,
            chosen=int(assignment.argmax()) if consumers else -1,
            state=self.output.state[i],
            neighbours_heard=int(self.looked.counts[i]),
            oldest_message_age_s=float(self.looked.oldest_s[i]),
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

    _finite, _hear = staticmethod(tick.finite), staticmethod(tick.hear)
    _look, _act = staticmethod(tick.look), staticmethod(tick.act)

    def __init__(
        self, model: PolicyModel, arena: Arena, speeds_mps: Mapping[str, float], senders: Sequence[str] = ()
    ) -> None:
        self.model, self.arena, self.drones = model, arena, tuple(speeds_mps)
        card, n, k = model.card, len(self.drones), max(1, len(senders))
        # floats, whatever the files say: whole numbers would be compiled apart
        self._figures = tick.Figures(
            centre_m=np.array(arena.centre_m, float),
            scale_m=float(arena.scale_m),
            radius=float(arena.communication_radius),
            radius_m=float(arena.radius_m),
            tick_s=float(card.tick_s),
            kinds=card.resource_kinds,
        )
        state, speed_mps = model.initial_state(n), np.array(list(speeds_mps.values()), float)
        self._memory = tick.Memory(state, np.full((n, 2), np.nan), np.zeros(n, np.int64), speed_mps)
        self._slots = Slots(senders)
        self._inbox = tick.Inbox(
            np.full((n, k), -np.inf), np.zeros((n, k), np.int64), np.zeros((n, k, 2)),
            np.zeros((n, k, card.message_width), np.float32),
        )  # fmt: skip
        self._demanded: _Demanded | None = None
        self._checked: Features | None = None
        """The message that was found good last."""

    def reset(self, i: int) -> None:
        """Mind i forgets everything."""
        self._memory.state[i] = 0.0
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
        slots = self._slots.find_all(said.drones)
        if None in slots:  # strangers get their slots in turn
            slots = [self._slot(*sender) for sender in zip(said.drones, said.stamp_s.tolist(), strict=True)]
        self._hear(
            self._inbox, self._figures, self._memory.position_m, np.ascontiguousarray(heard), np.array(slots),
            said.stamp_s, said.sequence, said.position_m, said.data,
        )  # fmt: skip

    def hear_one(self, i: int, features: Features) -> Heard:
        """Mind i takes in one message that was checked, or drops it for a named reason."""
        slot = self._slot(features.drone, features.stamp_s)  # first, as it may move the inbox
        own_m, (_, number, stamp_s, position_m, _, data) = self._memory.position_m[i], features
        p = self.arena.to_normalised(position_m)
        return _FATES[tick.take(self._inbox, self.arena.radius_m, own_m, i, slot, stamp_s, number, position_m, p, data)]

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
        rows = np.array(minds, np.int64)
        if not self._finite(position_m, supply):
            for j, i in enumerate(minds):
                check_finite(self.drones[i], position_m[j], supply[j])
        demanded = self._wanted(demand, len(rows))
        looked = self._look(self._memory.state, self._inbox, self._figures, rows, now_s, position_m, supply)
        observation = Observation(
            own=looked.own,
            consumers=demanded.consumers,
            consumer_mask=demanded.mask,
            neighbours=looked.neighbours,
            neighbours_seen=looked.seen,
            neighbour_mask=looked.mask,
            state=looked.state,
        )
        started = time.perf_counter()
        output = self.model.step(observation)
        step_time_s = (time.perf_counter() - started) / len(rows)
        good, velocity_mps, sequence = self._act(
            self._memory, rows, position_m, output.action, output.message, output.state
        )
        if not good:
            name = self.model.card.name
            raise ContractError(f"model {name}", "an answer that is not finite", "finite numbers; export it again")
        drones, stamp_s = tuple(self.drones[i] for i in minds), np.full(len(rows), now_s)
        said = Said(drones, sequence, stamp_s, position_m.astype(float), self.model.card.contract, output.message)
        return Decisions(velocity_mps, said, looked, demanded, output, step_time_s)

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

    def _slot(self, drone: str, stamp_s: float) -> int:
        """Column of a sender, who spoke at `stamp_s`."""
        slot = self._slots.find(drone)
        if slot is None:
            idle = np.all(self._inbox.stamp_s < stamp_s - FORGET_S, axis=0)
            slot = self._slots.give(drone, idle)
            if slot == len(idle):
                self._inbox = tick.Inbox(*(np.concatenate([field, np.zeros_like(field)], 1) for field in self._inbox))
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
    """One agent's array as a float32 batch of `count` equal ones, in the memory of one."""
    row32 = np.asarray(row, np.float32)
    return np.broadcast_to(row32, (count, *row32.shape))
