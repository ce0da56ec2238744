"""Networks for those who run many thousand ticks, such as the loop without ROS: from a tape, where there can be one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lgtc_core.mind.policy import Array32, Session
from lgtc_core.mind.tape import NotOnTapeError, Tape

logger = logging.getLogger(__name__)

_NEIGHBOURS = ("neighbours", "neighbours_seen", "neighbour_mask")
_TOGETHER = 4
"""The number of neighbours is rounded up to multiples of this, by some that are not heard: fewer tapes are made."""


class Taped:
    """A network run from a tape; by onnxruntime where there is no package `onnx`, or what has no place on a tape.

    Args:
        path: the ONNX file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._network: Tape | Session
        try:
            self._network = Tape(path)
        except (ImportError, NotOnTapeError) as error:
            self._network = self._otherwise(error)
        self.inputs, self.outputs = self._network.inputs, self._network.outputs

    def run(self, feed: Mapping[str, Array32]) -> list[Array32]:
        """Outputs, in the order of `outputs`, of the inputs by name."""
        try:
            return self._network.run(_rounded(feed))
        except NotOnTapeError as error:
            self._network = self._otherwise(error)
            return self._network.run(feed)

    def _otherwise(self, why: Exception) -> Session:
        logger.warning("%s: onnxruntime runs it, some times slower, as a tape cannot: %s", self._path, why)
        return Session(self._path)


def _rounded(feed: Mapping[str, Array32]) -> Mapping[str, Array32]:
    """The same, with more neighbours, of whom nothing is heard."""
    theirs = [name for name in _NEIGHBOURS if name in feed]  # a network takes no input that it does not use
    more = -feed[theirs[0]].shape[1] % _TOGETHER if theirs else 0
    return {**feed, **{name: _longer(feed[name], more) for name in theirs}} if more else feed


def _longer(rows: Array32, more: int) -> Array32:
    """(B, K + more, ...) from (B, K, ...): zeros behind."""
    longer = np.zeros((rows.shape[0], rows.shape[1] + more, *rows.shape[2:]), np.float32)
    longer[:, : rows.shape[1]] = rows
    return longer
