"""One process, several nodes: ``host --node policy:cf1 --node resource_monitor:cf1 --ros-args --params-file FILE``.

With ``--no-parameter-services`` before ``--ros-args`` they do not answer `ros2 param`: seven services per node are more
than half of what a process of many nodes looks through for every message that comes in, and of what others discover.

Which nodes share a process is the plan's business; nodes do not know. The host spins them on one executor, ends when
the lifeline says so, and answers SIGINT and SIGTERM: the first asks for an orderly end (drones land), the second ends
at once. Exit codes: 0 an end that was asked for, 2 a configuration that is refused (one sentence on stderr), 1 a
fault.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from lgtc_core import topics, wire
from lgtc_core.errors import LgtcError
from lgtc_nodes.bundles import send_bundles
from lgtc_nodes.hearing import hand_over
from lgtc_nodes.kinds import DRONE_KINDS, TEAM_KINDS
from lgtc_nodes.leaving import ends_within
from lgtc_nodes.lifeline import Cause, Lifeline
from lgtc_nodes.node import SwarmNode
from lgtc_nodes.qos import EVERY_STEP, STREAMS

SOON_S = 0.002
"""When simulated time has moved, what is due is done after the next message, or after so long without one."""
SPIN_S = 0.1
"""Longest wait in the executor: the time within which a signal is noticed."""
TEARDOWN_S = 5.0
"""Longest time that leaving the network may take."""
LOOK_S = 0.05
"""The lifeline is looked at this often."""
PARENT_VARIABLE = "LGTC_PARENT_PID"
"""Environment variable by which a runner says whose end ends this process; without it, whoever started it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the nodes until they are done; returns the exit code."""
    arguments = list(sys.argv if argv is None else ["host", *argv])
    parent_pid = int(os.environ.get(PARENT_VARIABLE) or os.getppid())
    lifeline = Lifeline(time.monotonic(), parent_pid)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: lifeline.signal())
    placed, SwarmNode.answers_for_parameters = _asked_for(remove_ros_args(arguments)[1:])
    # rclpy's own handlers would end the executor under a flying drone.
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    nodes: list[SwarmNode[Any]] = []
    code = 1
    try:
        for kind, drone in placed:
            nodes.append(_factory(kind)(drone, lifeline))
        _spin(nodes, _SimulatedTime(nodes), lifeline)
        code = 0
    except LgtcError as error:
        print(error, file=sys.stderr)
        code = 2
    except ExternalShutdownException:
        code = 0
    finally:
        # From here it ends anyhow. Python would give the signals their default back while it ends, and one that a
        # launcher sends to all then kills a process that had finished.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        for node in nodes:
            node.close()
        # Nothing is left to do: a middleware that hangs while it is taken down, as it rarely does, shall not make a
        # fault of it.
        with ends_within(TEARDOWN_S, code):
            for node in nodes:
                node.destroy_node()  # with the last one the process leaves the network, and all others know
            if rclpy.ok():
                rclpy.shutdown()
    return code


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the nodes and leave the process, without the interpreter's own end: a middleware has been seen to hang there,
    and all that must be kept is closed.
    """
    try:
        code = main(argv)
    except SystemExit as error:  # arguments that make no sense, or a question for them
        code = error.code if isinstance(error.code, int) else 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _asked_for(arguments: Sequence[str]) -> tuple[list[tuple[str, str]], bool]:
    """(kind, drone) of every node asked for, the drone empty for nodes of the team, and whether they have parameter
    services. Exits with 2 on nonsense.
    """
    parser = argparse.ArgumentParser(prog="host", description="Runs nodes of the swarm in one process.")
    parser.add_argument(
        "--node",
        action="append",
        required=True,
        metavar="KIND[:DRONE]",
        help=f"one of {', '.join(TEAM_KINDS)}, or one of {', '.join(DRONE_KINDS)} with its drone",
    )
    parser.add_argument("--no-parameter-services", action="store_true", help="`ros2 param` does not reach the nodes")
    chosen, placed = parser.parse_args(arguments), []
    for word in chosen.node:
        kind, _, drone = word.partition(":")
        if kind not in (DRONE_KINDS if drone else TEAM_KINDS):
            expected = f"{', '.join(TEAM_KINDS)}, or {', '.join(f'{kind}:DRONE' for kind in DRONE_KINDS)}"
            parser.error(f"--node: got {word}; expected {expected}")
        placed.append((kind, drone))
    return placed, not chosen.no_parameter_services


def _factory(kind: str) -> Callable[[str, Lifeline], SwarmNode[Any]]:
    """Imported only when asked for: a demand server needs no onnxruntime."""
    create: Callable[[str, Lifeline], SwarmNode[Any]] = import_module(f"lgtc_nodes.{kind}").create
    return create


def _executor() -> Any:
    """Rclpy's events executor, 2 to 10 times cheaper than the one that waits on sets, where this rclpy has it."""
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor()
    return EventsExecutor()


class _SimulatedTime:
    """Simulated time of one process: all its nodes follow the first one's /clock, step by step.

    Each would subscribe to it for itself otherwise, and keep the newest /clock only: the time of a process that is
    behind would be ahead of what it has read, and it would call others silent who have spoken.
    """

    def __init__(self, nodes: Sequence[SwarmNode[Any]]) -> None:
        self.moved = False
        """Set with every step."""
        self._now_s = 0.0
        self._source = nodes[0]._time_source
        for node in nodes[1:]:
            if node._time_source.ros_time_is_active != self._source.ros_time_is_active:
                continue  # it follows another clock
            node._time_source.detach_node()
            node._clock = nodes[0].get_clock()  # one to be set at every step, not one per node
        if self._source.ros_time_is_active:
            for node in nodes:
                if node.simulated_time:
                    node.follow(self.now_s)
            nodes[0].destroy_subscription(self._source._clock_sub)
            kind, _ = STREAMS[topics.CLOCK]
            self._source._clock_sub = nodes[0].create_subscription(kind, topics.CLOCK, self._step, EVERY_STEP)

    def now_s(self) -> float:
        """The time of the last step [s]."""
        return self._now_s

    def _step(self, message: Any) -> None:
        self._source.clock_callback(message)
        self._now_s = wire.time_from_wire(message.clock)
        self.moved = True


def _spin(nodes: Sequence[SwarmNode[Any]], simulated: _SimulatedTime, lifeline: Lifeline) -> None:
    """Spin until the lifeline ends it."""
    executor = _executor()
    for node in nodes:
        executor.add_node(node)
    told: Cause | None = None
    look_s, due = 0.0, False
    gc.freeze()  # a collection that goes through all that was imported would stop a drone's setpoints for .1 s
    while True:
        # Always with a timeout: without one, the events executor of Jazzy does not return.
        executor.spin_once(timeout_sec=SOON_S if due else SPIN_S)
        if due:  # what came with the new time, poses above all, was read first
            now_s = simulated.now_s()
            for node in nodes:
                if node.simulated_time:
                    node.look(now_s)
        hand_over()
        send_bundles()
        due, simulated.moved = simulated.moved, False
        now_s = time.monotonic()
        if now_s < look_s:
            continue
        look_s = now_s + LOOK_S
        if not rclpy.ok():
            return
        cause = lifeline.update(now_s)
        if cause is not told:
            told = cause
            if cause is not None and cause is not Cause.DONE:
                nodes[0].get_logger().info(f"ending: {cause.value}")
                for node in nodes:
                    node.on_stop()
        if lifeline.over(now_s, any(node.has_duty() for node in nodes)):
            return


if __name__ == "__main__":
    run()
