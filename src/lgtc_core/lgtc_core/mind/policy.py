"""The mind of one drone: hears its neighbours, steps the exported network, says where to fly (eqs. 4-6, 20 Hz).

    observation(t) = own p_i, supply | consumers | messages heard, as sent at earlier ticks | state x_i(t - 1)
    action, message, x_i(t), Xi_i = policy(observation(t))
    velocity = action * maximum speed

What is deployed is what was trained: a message counts only as `observation.usable` says (from within the communication
radius C, not too old), and among several of one sender the newest.
"""

from __future__ import annotations

import time
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from lgtc_core.demand.view import DemandView
from lgtc_core.errors import ContractError, InputError
from lgtc_core.mind import observation as layout
from lgtc_core.mind.card import ModelCard, load_card
from lgtc_core.mind.observation import Observation
from lgtc_core.world.arena import Arena

Array = npt.NDArray[np.float64]
Array32 = npt.NDArray[np.float32]


AHEAD_S = 0.5
"""A message stamped farther in the future is forgotten: otherwise it would silence all later ones of its sender [s]."""


class PolicyOutput(NamedTuple):
    """What the network answers to a batch of B observations."""

    action: Array32  # (B, 2) fraction of the maximum speed, norm at most 1
    message: Array32  # (B, D) to the neighbours
    state: Array32  # (B, H) recurrent state for the next tick
    assignment: Array32  # (B, M) Xi, rows sum to 1


class PolicyModel:
    """An exported policy network with its card, run by onnxruntime on one thread.

    Args:
        directory: folder with ``policy.onnx`` and ``card.json``.

    Raises:
        ConfigError: card or network missing or malformed.
        ContractError: the network is not the one that the card describes.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self.card: ModelCard = load_card(self.directory)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(
                str(self.directory / "policy.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has no public exception type for an unreadable graph
            raise ContractError(
                str(self.directory / "policy.onnx"),
                f"a file that onnxruntime cannot read ({error})",
                "an exported policy network; export the model again",
            ) from error
        self._inputs = [put.name for put in self._session.get_inputs()]
        outputs = [put.name for put in self._session.get_outputs()]
        if not set(self._inputs) <= set(layout.INPUTS) or outputs != list(layout.OUTPUTS_POLICY):
            raise ContractError(
                str(self.directory / "policy.onnx"),
                f"inputs {', '.join(self._inputs)} and outputs {', '.join(outputs)}",
                f"inputs among {', '.join(layout.INPUTS)} and outputs {', '.join(layout.OUTPUTS_POLICY)}",
            )

    def initial_state(self, batch: int = 1) -> Array32:
        """Recurrent state before the first tick, shape (batch, H): zeros, inside the invariant set |x| <= 1."""
        return np.zeros((batch, self.card.state_width), np.float32)

    def step(self, observation: Observation) -> PolicyOutput:
        """One tick of the network for a batch of agents; array shapes as in `Observation`."""
        feed = {name: getattr(observation, name) for name in self._inputs}
        return PolicyOutput(*self._session.run(None, feed))


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


class Mind:
    """Recurrent policy of one drone with its inbox.

    Args:
        model: the exported network; may be shared between minds of one process.
        arena: maps metres to the network's coordinates; its communication radius bounds who is heard.
        drone: own name.
        max_speed_mps: speed that a full action asks for [m/s].
    """

    def __init__(self, model: PolicyModel, arena: Arena, drone: str, max_speed_mps: float) -> None:
        self.model, self.arena, self.drone, self.max_speed_mps = model, arena, drone, max_speed_mps
        self._state = model.initial_state()
        self._position_m: Array | None = None
        self._inbox: dict[str, Features] = {}
        self._sequence = 0

    def reset(self) -> None:
        """Forget everything: before a flight, and when the policy is switched off."""
        self._state = self.model.initial_state()
        self._inbox.clear()

    def hear(self, features: Features) -> Heard:
        """Take in a neighbour's message, or drop it for a named reason.

        Raises:
            ContractError: from another model or of the wrong width; the inbox keeps what it has.
            InputError: position or data not finite; likewise.
        """
        card = self.model.card
        if features.contract != card.contract or len(features.data) != card.message_width:
            raise ContractError(
                f"features of {features.drone}",
                f"{len(features.data)} numbers of model {features.contract[:12] or 'unknown'}",
                f"{card.message_width} numbers of model {card.contract[:12]}; fly one model on all drones",
            )
        if not (np.isfinite(features.position_m).all() and np.isfinite(features.data).all()):
            raise InputError(f"features of {features.drone}", "numbers that are not finite", "finite numbers")
        last = self._inbox.get(features.drone)
        if last is not None and features.stamp_s <= last.stamp_s:
            return Heard.DUPLICATE if features.sequence == last.sequence else Heard.OLD
        if self._position_m is not None and not self._near(features.position_m, self._position_m):
            return Heard.TOO_FAR
        self._inbox[features.drone] = features
        return Heard.ACCEPTED

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
        check_finite(self.drone, position_m, supply)
        card = self.model.card
        highest = max((consumer.slot + 1 for consumer in demand.consumers), default=0)
        if highest > card.max_consumers or len(demand.kinds) > card.resource_kinds:
            raise ContractError(
                f"demand for model {card.name}",
                f"{highest} consumer slots and {len(demand.kinds)} resource kinds",
                f"at most {card.max_consumers} and {card.resource_kinds}; remove some or export a larger model",
            )
        heard = self._heard(now_s, position_m)
        observation = self._observe(position_m, supply, demand, heard)
        started = time.perf_counter()
        output = self.model.step(observation)
        step_time_s = time.perf_counter() - started
        action, message, state = output.action[0], output.message[0], output.state[0]
        if not (np.isfinite(action).all() and np.isfinite(message).all() and np.isfinite(state).all()):
            raise ContractError(f"model {card.name}", "an answer that is not finite", "finite numbers; export it again")

        self._state = output.state
        self._position_m = np.array(position_m, float)
        self._sequence += 1
        assignment = output.assignment[0][[consumer.slot for consumer in demand.consumers]]
        return Decision(
            velocity_mps=np.asarray(layout.action_to_velocity(action.astype(float), self.max_speed_mps)),
            action=action,
            features=Features(self.drone, self._sequence, now_s, self._position_m, card.contract, message),
            consumers=tuple(consumer.name for consumer in demand.consumers),
            assignment=assignment,
            chosen=int(assignment.argmax()) if len(assignment) else -1,
            state=state,
            neighbours_heard=len(heard),
            oldest_message_age_s=max((now_s - message.features.stamp_s for message in heard), default=float("nan")),
            step_time_s=step_time_s,
        )

    def _near(self, a_m: Array, b_m: Array) -> bool:
        """True within the communication radius C."""
        return bool(np.hypot(a_m[0] - b_m[0], a_m[1] - b_m[1]) <= self.arena.radius_m)

    def _heard(self, now_s: float, position_m: Array) -> list[_Message]:
        """Usable messages, ready for the network."""
        self._inbox = {name: sent for name, sent in self._inbox.items() if sent.stamp_s <= now_s + AHEAD_S}
        if not self._inbox:
            return []
        p = self.arena.to_normalised(position_m)
        inbox = list(self._inbox.values())
        p_heard = self.arena.to_normalised(np.stack([features.position_m for features in inbox]))
        # Nodes tick at different moments: a message may be younger than one tick here, which training never shows.
        age_ticks = np.maximum(1.0, [(now_s - features.stamp_s) / self.model.card.tick_s for features in inbox])
        usable = layout.usable(p, p_heard, age_ticks, self.arena.communication_radius)
        seen = layout.seen(p, p_heard, age_ticks)
        return [_Message(features, row) for features, row, use in zip(inbox, seen, usable, strict=True) if use]

    def _observe(self, position_m: Array, supply: Array, demand: DemandView, heard: list[_Message]) -> Observation:
        card = self.model.card
        padded = np.zeros(card.resource_kinds)
        padded[: len(supply)] = supply
        consumers = demand.arrays(self.arena, card.resource_kinds)
        k = max(1, len(heard))
        neighbours = np.zeros((1, k, card.message_width), np.float32)
        neighbours_seen = np.zeros((1, k, 3), np.float32)
        neighbour_mask = np.zeros((1, k), np.float32)
        for i, message in enumerate(heard):
            neighbours[0, i], neighbours_seen[0, i], neighbour_mask[0, i] = message.features.data, message.seen, 1.0
        return Observation(
            own=_batch(layout.own(self.arena.to_normalised(position_m), padded)),
            consumers=_batch(layout.consumers(consumers.d, consumers.demanded, consumers.remaining, consumers.kind)),
            consumer_mask=_batch(consumers.mask),
            neighbours=neighbours,
            neighbours_seen=neighbours_seen,
            neighbour_mask=neighbour_mask,
            state=self._state,
        )


class _Message(NamedTuple):
    """A usable message: the features and their row of `Observation.neighbours_seen`."""

    features: Features
    seen: Array  # (3,)


def check_finite(drone: str, position_m: Array, supply: Array) -> None:
    """Refuse what a mind cannot decide on.

    Raises:
        InputError: position or supply not finite.
    """
    if not (np.isfinite(position_m).all() and np.isfinite(supply).all()):
        raise InputError(f"pose or supply of {drone}", f"{position_m}, {supply}", "finite numbers")


def _batch(row: Any) -> Array32:
    """One agent's array as a float32 batch of one."""
    return np.asarray(row, np.float32)[None]
