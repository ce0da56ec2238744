"""Requests that are answered together: of copies of one the last is, and one that cannot be answered yet waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import rclpy
from rclpy.node import Node

from lgtc_interfaces.srv import Deliver
from lgtc_nodes.deferred import DeferredService

pytestmark = pytest.mark.ros


@pytest.fixture
def node(ros_domain: int) -> Iterator[Node]:
    rclpy.init(domain_id=ros_domain)
    node = Node("deferring")
    yield node
    node.destroy_node()
    rclpy.shutdown()


def test_of_a_request_that_came_again_the_last_is_answered_and_without_an_answer_it_waits(node: Node) -> None:
    asked: list[list[str]] = []
    sent: list[int] = []
    ready: set[str] = set()

    def decide(requests: list[Deliver.Request]) -> list[dict[str, object] | None]:
        asked.append([request.request_id for request in requests])
        answer = {"accepted": True, "final": True, "amount": 1.0, "remaining": 0.0, "message": ""}
        return [answer if request.request_id in ready else None for request in requests]

    service = DeferredService(node, Deliver, "deliver", decide)
    service._send = lambda _, header: sent.append(header)
    for header, name in enumerate(("a", "b", "a", "", "")):
        service._take(Deliver.Request(request_id=name), None)
        service._hold(None, header)
    ready.update({"b", ""})
    assert service.answer() == 3
    assert asked == [["a", "b", "", ""]]
    assert sent == [1, 3, 4]
    ready.add("a")
    assert service.answer() == 1
    assert sent == [1, 3, 4, 2]
    assert service.answer() == 0
