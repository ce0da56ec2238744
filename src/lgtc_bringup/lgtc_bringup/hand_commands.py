"""`lgtc supply set` and `lgtc status`: the operator's hand on one drone, and a look at the team."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict
from typing import Any

from rich.console import Console

from lgtc_bringup.live import picture
from lgtc_bringup.snapshot import Snapshot
from lgtc_core import topics
from lgtc_core.errors import ConfigError, InputError

LOOK_S, PATIENCE_S = 1.0, 5.0
"""Looked for at least so long; and, while something has not been heard of every drone, at most so long."""


def register(commands: Any) -> None:
    """Add the commands to `lgtc`."""
    supply = commands.add_parser("supply", help="set by hand what a drone carries, in flight")
    change = supply.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "set", help='"reduce the level of one drone by hand" (Section V): lgtc supply set cf3 battery 0.05'
    )
    change.add_argument("drone")
    change.add_argument("kind")
    change.add_argument("amount", type=float, help="in the fleet's unit; of the battery's kind 0 to 1")
    change.add_argument("--json", action="store_true", help="tell the result as JSON")
    change.set_defaults(run=_set)
    status = commands.add_parser("status", help="what the team does now")
    status.add_argument("--json", action="store_true", help="as JSON")
    status.set_defaults(run=_status)


def _set(arguments: argparse.Namespace, console: Console) -> int:
    if not math.isfinite(arguments.amount):
        raise ConfigError("command line", "amount", f"{arguments.amount}", "a finite number")
    from lgtc_bringup.asking import Asking  # loads ROS, which no other command needs
    from lgtc_interfaces.srv import SetSupply

    with Asking() as asking:
        request = SetSupply.Request(kind=arguments.kind, amount=arguments.amount)
        answer = asking.ask(SetSupply, topics.of_drone(arguments.drone, topics.SET_SUPPLY), request)
    if arguments.json:
        result = {"drone": arguments.drone, "kind": arguments.kind, "carried": float(answer.amount)}
        result["message"] = answer.message
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        words = f"; {answer.message}" if answer.message else ""
        sentence = f"{arguments.drone} carries {answer.amount:g} {arguments.kind} now{words}"
        console.print(sentence, markup=False, soft_wrap=True)
    return 0


def _status(arguments: argparse.Namespace, console: Console) -> int:
    from lgtc_bringup.asking import Asking
    from lgtc_bringup.monitor import Monitor

    with Asking() as asking:
        drones = asking.drones()
        bundled = asking.speakers(topics.bundled(topics.VEHICLE)) > 0
    if not drones:
        raise InputError("status", "no drone heard", "a flight in this ROS domain")
    with Monitor(drones, bundled=bundled) as monitor:
        begun_s, snapshot = time.monotonic(), monitor.look()
        while (looked_s := time.monotonic() - begun_s) < PATIENCE_S:
            time.sleep(0.1)
            snapshot = monitor.look()
            if looked_s >= LOOK_S and snapshot.up and all(drone.tier for drone in snapshot.drones):
                break
    if arguments.json:
        sys.stdout.write(json.dumps(status_data(snapshot), indent=2) + "\n")
    else:
        console.print(picture(snapshot, console.width))
    return 0


def status_data(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as plain data; what is unknown is null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    data: dict[str, Any] = plain(asdict(snapshot))
    return data
