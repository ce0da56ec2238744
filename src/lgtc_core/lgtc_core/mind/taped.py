"""Networks for those who run many thousand ticks, such as the loop without ROS: from a tape, where there can be one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from lgtc_core.mind.policy import Array32, PolicyModel, Session
from lgtc_core.mind.tape import NotOnTapeError, Tape

logger = logging.getLogger(__name__)

_TOGETHER = {"neighbours": 4}
"""As neighbours come and go, tapes are made for multiples of so many; zeros are not heard."""


def load_taped(directory: Path | str) -> PolicyModel:
    """The model in a folder, its network on a tape; see `PolicyModel`. Tapes are kept as long as the model is."""
    return PolicyModel(directory, Taped)


class Taped:
    """A network run from a tape; by onnxruntime where there is no package `onnx`, or what has no place on a tape.

    Args:
        path: the ONNX file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._network: Tape | Session
        try:
            self._network = Tape(path, _TOGETHER)
        except (ImportError, NotOnTapeError) as error:
            self._network = self._otherwise(error)
        self.inputs, self.outputs = self._network.inputs, self._network.outputs

    def run(self, feed: Mapping[str, Array32]) -> list[Array32]:
        """Outputs, in the order of `outputs`, of the inputs by name."""
        try:
            return self._network.run(feed)
        except NotOnTapeError as error:
            self._network = self._otherwise(error)
            return self._network.run(feed)

    def _otherwise(self, why: Exception) -> Session:
        logger.warning("%s: onnxruntime runs it, which takes longer, as there is no tape: %s", self._path, why)
        return Session(self._path)
