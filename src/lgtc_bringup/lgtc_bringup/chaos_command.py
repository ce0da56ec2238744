"""`lgtc chaos list|add|clear`: make things go wrong in a flight of the simulator."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rich.console import Console

from lgtc_core import schema, topics, wire
from lgtc_core.fleet.fault import AMOUNTS, Fault, FaultKind


def register(commands: Any) -> None:
    """Add the command to `lgtc`."""
    chaos = commands.add_parser("chaos", help="make things go wrong in flight (simulator only)")
    actions = chaos.add_subparsers(required=True, metavar="COMMAND")
    listing = actions.add_parser("list", help="what goes wrong now")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(run=_list)
    add = actions.add_parser("add", help="make something go wrong from now on: lgtc chaos add loss 0.3 --duration 20")
    add.add_argument("kind", metavar="KIND", help=", ".join(kind.value for kind in FaultKind))
    units = ", ".join(f"{kind.value} {bounds}" for kind, bounds in AMOUNTS.items())
    add.add_argument("amount", type=float, nargs="?", metavar="AMOUNT", help=f"for the kinds that have one: {units}")
    add.add_argument("--drones", default="", metavar="A,B", help="drones concerned; default: all")
    add.add_argument("--after", type=float, default=0.0, metavar="S", help="begin so much later [s] (%(default)s)")
    add.add_argument("--duration", type=float, metavar="S", help="how long [s]; default: to the end, or `clear`")
    add.set_defaults(run=_add)
    clear = actions.add_parser("clear", help="end everything that goes wrong, the scenario's faults to come included")
    clear.set_defaults(run=_clear)


def fault_of(arguments: argparse.Namespace) -> Fault:
    """The fault that the command line asks for.

    Raises:
        ConfigError: it is none.
    """
    data = {
        "kind": arguments.kind,
        "amount": arguments.amount,
        "drones": [name for name in arguments.drones.split(",") if name],
        "start_s": arguments.after,
        "duration_s": arguments.duration,
    }
    return schema.build(Fault, data, "command line")


def _list(arguments: argparse.Namespace, console: Console) -> int:
    from lgtc_bringup.asking import Asking  # loads ROS, which no other command needs
    from lgtc_interfaces.msg import Faults

    with Asking() as asking:
        faults = wire.faults_from_wire(asking.latched(Faults, topics.FAULTS)).faults
    if arguments.json:
        sys.stdout.write(json.dumps([schema.dump(fault) for fault in faults], indent=2) + "\n")
    else:
        console.print("\n".join(map(str, faults)) or "nothing goes wrong on purpose", markup=False)
    return 0


def _add(arguments: argparse.Namespace, console: Console) -> int:
    fault = fault_of(arguments)
    from lgtc_interfaces.msg import Fault as RosFault
    from lgtc_interfaces.srv import EditFaults

    values = wire.fault_to_wire(fault)
    message = RosFault(**{**values, "drones": list(values["drones"])})
    return _edit(EditFaults.Request(operation=EditFaults.Request.ADD, fault=message), console)


def _clear(arguments: argparse.Namespace, console: Console) -> int:
    from lgtc_interfaces.srv import EditFaults

    return _edit(EditFaults.Request(operation=EditFaults.Request.CLEAR), console)


def _edit(request: Any, console: Console) -> int:
    from lgtc_bringup.asking import Asking
    from lgtc_interfaces.srv import EditFaults

    with Asking() as asking:
        answer = asking.ask(EditFaults, topics.EDIT_FAULTS, request)
    console.print(answer.message, markup=False)
    return 0
