"""How soon a process that is started (again) is heard, with the flights' profile of the middleware and without.

    setup/run python bench/discovery.py --starts 40

Four processes with a dozen topics each and a client stand around. Then, again and again, one more process with a
service is started and killed with SIGKILL. Counted is the time from the moment its service exists to its first answer
to the client, which asks it twenty times a second. Both ways in one run: `config/loopback.xml`, and ROS's own range
LOCALHOST.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.node import Node
from std_msgs.msg import String
from std_srvs.srv import Trigger

PROFILE = Path(__file__).parents[1] / "config" / "loopback.xml"
WAYS = {
    "config/loopback.xml": {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "SYSTEM_DEFAULT",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(PROFILE),
    },
    "LOCALHOST": {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"},
}
OTHERS, TOPICS, ASK_S, LIMIT_S = 4, 6, 0.05, 10.0


def serve() -> None:
    """Answer with the own process id until killed; says on stdout when it began."""
    rclpy.init()
    node = Node(f"server_{os.getpid()}")
    _talk(node)

    def answer(_: Any, response: Any) -> Any:
        response.message = str(os.getpid())
        return response

    node.create_service(Trigger, "who", answer)
    print(time.monotonic(), flush=True)
    rclpy.spin(node)


def stand() -> None:
    """Be one of those that are there all the time."""
    rclpy.init()
    node = Node(f"other_{os.getpid()}")
    _talk(node)
    rclpy.spin(node)


def ask(starts: int) -> None:
    """Start and kill servers; prints the seconds until each was heard."""
    rclpy.init()
    node = Node("client")
    client = node.create_client(Trigger, "who")
    others = [_started("stand") for _ in range(OTHERS)]
    try:
        _spin_for(node, 5.0)
        for _ in range(starts):
            print(_heard_after_s(node, client), flush=True)
            _spin_for(node, random.uniform(0.2, 1.2))
    finally:
        for other in others:
            other.kill()
    os._exit(0)  # nothing is left to be closed, and the middleware may wait for the dead


def _heard_after_s(node: Node, client: Any) -> float:
    server = _started("serve")
    assert server.stdout is not None
    begun_s = float(server.stdout.readline())
    asked, asked_s = [], -1.0
    try:
        while time.monotonic() - begun_s < LIMIT_S:
            if time.monotonic() - asked_s >= ASK_S:
                asked_s = time.monotonic()
                asked.append(client.call_async(Trigger.Request()))
            rclpy.spin_once(node, timeout_sec=0.005)
            if any(one.done() and one.result().message == str(server.pid) for one in asked):
                return time.monotonic() - begun_s
        return LIMIT_S
    finally:
        server.kill()
        server.wait()


def _started(role: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__, "--role", role], stdout=subprocess.PIPE, text=True)


def _spin_for(node: Node, duration_s: float) -> None:
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=0.01)


def _talk(node: Node) -> None:
    for number in range(TOPICS):
        node.create_subscription(String, f"topic_{number}", lambda _: None, 1)
        node.create_publisher(String, f"topic_{number}", 1)


def main() -> int:
    """Both ways, by turns, each in processes of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--starts", type=int, default=40, help="of each way")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--domain", type=int, default=77)
    parser.add_argument("--role", choices=["serve", "stand", "ask"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    each = max(1, arguments.starts // arguments.turns)
    if arguments.role:
        {"serve": serve, "stand": stand, "ask": lambda: ask(each)}[arguments.role]()
        return 0
    chosen = {name for variables in WAYS.values() for name in variables}
    own = {name: value for name, value in os.environ.items() if name not in chosen}
    heard: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(arguments.turns):
        for way, variables in WAYS.items():
            command = [sys.executable, __file__, "--role", "ask"]
            command += ["--starts", str(arguments.starts), "--turns", str(arguments.turns)]
            environment = own | variables | {"ROS_DOMAIN_ID": str(arguments.domain)}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            heard[way] += [float(line) for line in done.stdout.split()]
        print(f"{turn + 1} of {arguments.turns} turns", file=sys.stderr)
    print(f"{'heard after [s]':<24} starts  median     p90   worst")
    for way, seconds in heard.items():
        median, late, worst = np.quantile(seconds, (0.5, 0.9, 1.0))
        print(f"{way:<24} {len(seconds):>6} {median:>7.2f} {late:>7.2f} {worst:>7.2f}")
    ratio = np.median(heard["LOCALHOST"]) / np.median(heard["config/loopback.xml"])
    print(f"LOCALHOST / config/loopback.xml, medians: {ratio:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
