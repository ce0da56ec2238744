"""The services of simulated vehicles, as crazyswarm2 names them, whoever moves their bodies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from std_srvs.srv import Empty as RosEmpty
from std_srvs.srv import SetBool as RosSetBool
from std_srvs.srv import Trigger as RosTrigger

from lgtc_core import topics, wire
from lgtc_nodes.node import P, SwarmNode
from lgtc_sim.vehicle import Ack, Vehicles


def take_orders(node: SwarmNode[P], vehicles: Vehicles) -> None:
    """Offer the services of every drone of the node's team, and the emergency stop of all."""
    height_m = node.team.arena.flight_height_m

    def emergency(_: Any, response: Any) -> Any:
        node.get_logger().error("emergency: all motors off")
        vehicles.emergency()
        return response

    for name in node.team.names:
        _serve(node, name, topics.ARM, RosSetBool, lambda request, name: vehicles.arm(name, request.data))
        _serve(node, name, topics.TAKEOFF, RosTrigger, lambda _, name: vehicles.takeoff(name, height_m))
        _serve(node, name, topics.LAND, RosTrigger, lambda _, name: vehicles.land(name))
        stop = topics.NOTIFY_SETPOINTS_STOP
        _serve(node, name, stop, RosTrigger, lambda _, name: vehicles.notify_setpoints_stop(name))
    node.create_service(RosEmpty, topics.EMERGENCY, emergency)


def _serve(node: SwarmNode[P], name: str, service: str, kind: Any, command: Callable[[Any, str], Ack]) -> None:
    """Offer a command of the vehicle `name`."""

    def answer(request: Any) -> wire.Wire:
        ack = command(request, name)
        return {"success": ack.accepted, "message": ack.message}

    node.serve(topics.of_drone(name, service), kind, answer)
