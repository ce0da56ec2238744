"""Minds of a whole team, in a file of their own: only who decides for many shall load compiled code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numba.extending import overload, register_jitable

from lgtc_core.compiled import compiled, compiling
from lgtc_core.mind import observation as layout
from lgtc_core.mind import tick
from lgtc_core.mind.policy import Minds, PolicyModel
from lgtc_core.world import arena as places
from lgtc_core.world.arena import Arena
from lgtc_core.world.namespace import namespace


@overload(namespace, inline="always", strict=False)
def _numpy(array: Any) -> Any:
    """What is compiled is NumPy's."""
    return lambda array: np


for _called in (layout.usable, layout.seen, layout.own, layout.action_to_velocity, places.normalised, tick.take):
    register_jitable(_called)


class TeamMinds(Minds):
    """`Minds` whose work besides the network is compiled: some microseconds instead of some hundred."""

    _finite = staticmethod(compiled(tick.finite))
    _hear = staticmethod(compiled(tick.hear))
    _look = staticmethod(compiled(tick.look))
    _act = staticmethod(compiled(tick.act))

    def __init__(
        self, model: PolicyModel, arena: Arena, speeds_mps: Mapping[str, float], senders: Sequence[str] = ()
    ) -> None:
        super().__init__(model, arena, speeds_mps, senders)
        self._prepare()

    def _prepare(self) -> None:
        """Compile now, or load what is compiled, for nobody: the first tick must not wait for it."""
        inbox, figures, memory, card = self._inbox, self._figures, self._memory, self.model.card
        nobody, when_s, where_m = np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 2))
        heard = np.zeros((len(self.drones), 0), np.bool_)
        widths = 2, card.message_width, card.state_width
        action, message, state = (np.zeros((0, width), np.float32) for width in widths)
        with compiling():
            self._finite(where_m, where_m)
            self._hear(inbox, figures, memory.position_m, heard, nobody, when_s, nobody, where_m, message)
            self._look(memory.state, inbox, figures, nobody, 0.0, where_m, np.zeros((0, 0)))
            self._act(memory, nobody, where_m, action, message, state)
