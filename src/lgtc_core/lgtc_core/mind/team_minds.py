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
        prepare()


def prepare() -> None:
    """Compile now, or load what is compiled, for nobody: the first tick must not wait for it."""
    number, nobody, nothing = np.zeros((0, 0)), np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
    where_m, when_s = np.zeros((0, 2)), np.zeros(0)
    figures = tick.Figures(np.zeros(2), 1.0, 1.0, 1.0, 1.0, 0)
    memory = tick.Memory(nothing, where_m, nobody, when_s)
    inbox = tick.Inbox(number, number.astype(np.int64), np.zeros((0, 0, 2)), np.zeros((0, 0, 0), np.float32))
    with compiling():
        TeamMinds._finite(where_m, number)
        TeamMinds._hear(inbox, figures, where_m, np.zeros((0, 0), np.bool_), nobody, when_s, nobody, where_m, nothing)
        TeamMinds._look(nothing, inbox, figures, nobody, 0.0, where_m, number)
        TeamMinds._act(memory, nobody, where_m, np.zeros((0, 2), np.float32), nothing, nothing)
