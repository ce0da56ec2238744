"""A service whose requests are answered together, a moment later than they came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node

from lgtc_core import wire
from lgtc_nodes.conversions import to_ros


class DeferredService:
    """Collects requests; `answer` answers all of them at once.

    rclpy answers a request when its callback returns. Here the callback's answer is held back where rclpy would send
    it, with the header that says whom it is for. So requests of one moment can be decided together, whatever order
    they came in, and with one write to the disk.

    Args:
        node: the node that offers it.
        kind: class of the service.
        name: its name.
        decide: answers to a sequence of requests, in their order: the fields of each response; None: not yet, ask
            again with those that come until then.
        patience_s: a request without an answer is left unanswered after this [s]; its sender repeats it.
    """

    def __init__(
        self,
        node: Node,
        kind: Any,
        name: str,
        decide: Callable[[Sequence[Any]], Sequence[wire.Wire | None]],
        patience_s: float = 3.0,
    ) -> None:
        self._node, self._kind, self._decide, self._patience_s = node, kind, decide, patience_s
        self._request: Any = None
        self._waiting: list[tuple[Any, Any, float]] = []
        """Request, whom the answer is for, ROS time at which it came [s]."""
        service = node.create_service(kind, name, self._take)
        self._send = service.send_response
        service.send_response = self._hold

    def answer(self) -> int:
        """Answer what came since the last time; returns how many were answered.

        Of a request that came several times, the last is answered: to send to a client that is not discovered yet takes
        a tenth of a second each time, and after a start all of them have been waiting.
        """
        waiting, self._waiting = _newest(self._waiting), []
        answered = 0
        if waiting:
            answers, now_s = self._decide([request for request, _, _ in waiting]), self._now_s()
            for one, values in zip(waiting, answers, strict=True):
                if values is not None:
                    answered += 1
                    self._send(to_ros(self._kind.Response, values), one[1])
                elif 0.0 <= now_s - one[2] <= self._patience_s:
                    self._waiting.append(one)
        return answered

    def drop(self) -> None:
        """Leave what came since the last time unanswered: somebody else answers it."""
        self._waiting.clear()

    def _take(self, request: Any, response: Any) -> Any:
        self._request = request
        return response

    def _hold(self, _: Any, header: Any) -> None:
        """Called by the executor right after `_take`, to send its answer."""
        self._waiting.append((self._request, header, self._now_s()))

    def _now_s(self) -> float:
        return float(self._node.get_clock().now().nanoseconds) / wire.NS_PER_S


def _newest(waiting: list[tuple[Any, Any, float]]) -> list[tuple[Any, Any, float]]:
    """Without requests that came again, by their id."""
    last = {getattr(one[0], "request_id", "") or n: one for n, one in enumerate(waiting)}
    return list(last.values())
