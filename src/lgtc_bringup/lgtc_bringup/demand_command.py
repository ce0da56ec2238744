"""`lgtc demand list|add|set|move|remove|export|import`: the operator's hand on what is asked for."""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from rich.console import Console
from rich.table import Table

from lgtc_core import schema, topics
from lgtc_core.demand.consumer import ConsumerSpec
from lgtc_core.demand.view import ConsumerView, DemandView
from lgtc_core.errors import ConfigError
from lgtc_core.fleet.scenario import ConsumerEntry, DemandEntry, Depletion
from lgtc_core.fleet.team import Edit
from lgtc_core.loop.server import parts

RADIUS_M = ConsumerEntry.radius_m
"""Disc of a new consumer, unless said otherwise: as in scenario files."""


@dataclass(frozen=True, kw_only=True)
class ConsumersFile:
    """A file of consumers, in the form of a scenario's."""

    consumers: Annotated[Mapping[str, ConsumerEntry], "Name: consumer"]


def register(commands: Any) -> None:
    """Add the command to `lgtc`."""
    demand = commands.add_parser("demand", help="see and change what is asked for, in flight")
    actions = demand.add_subparsers(required=True, metavar="COMMAND")
    listing = actions.add_parser("list", help="consumers, what they miss, who serves them")
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(run=_list)

    add = actions.add_parser("add", help="a new consumer")
    add.add_argument("consumer", help="its name")
    _place(add)
    add.add_argument("--radius", type=float, default=RADIUS_M, metavar="M", help="of its disc [m] (%(default)s)")
    _amounts(add)
    add.set_defaults(run=_add)

    change = actions.add_parser("set", help="change what a consumer asks for; kinds not named stay")
    change.add_argument("consumer", help="its name")
    _amounts(change)
    change.set_defaults(run=_set)

    move = actions.add_parser("move", help="move a consumer")
    move.add_argument("consumer", help="its name")
    _place(move)
    move.set_defaults(run=_move)

    remove = actions.add_parser("remove", help="strike a consumer out; what it was given stays given")
    remove.add_argument("consumer", help="its name")
    remove.set_defaults(run=_remove)

    export = actions.add_parser("export", help="write the consumers of now in the form of a scenario file")
    export.add_argument("file", type=Path, nargs="?", help="default: standard output")
    export.set_defaults(run=_export)
    load = actions.add_parser("import", help="add or change all consumers of a file, or none of them")
    load.add_argument("file", type=Path)
    load.set_defaults(run=_import)
    for action in (add, change, move, remove, load):
        action.add_argument("--json", action="store_true", help="tell the result as JSON")


def _place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("x", type=float, help="centre, world frame [m]")
    parser.add_argument("y", type=float, help="centre, world frame [m]")


def _amounts(parser: argparse.ArgumentParser) -> None:
    words = " or ".join(depletion.value for depletion in Depletion)
    parser.add_argument(
        "demand",
        nargs="+",
        metavar="KIND=AMOUNT[:DEPLETION]",
        help=f"what it asks for; DEPLETION is {words}; left out: as it is, for a new one instantaneous",
    )


def _list(arguments: argparse.Namespace, console: Console) -> int:
    with _asking() as asking:
        view = asking.demand()
    if arguments.json:
        sys.stdout.write(json.dumps(view_data(view), indent=2) + "\n")
    else:
        console.print(view_table(view))
    return 0


def _add(arguments: argparse.Namespace, console: Console) -> int:
    with _asking() as asking:
        kinds = asking.demand().kinds
        consumer = ConsumerSpec(
            name=arguments.consumer,
            position_m=(arguments.x, arguments.y),
            radius_m=arguments.radius,
            demanded=(0.0,) * len(kinds),
            depletion=(Depletion.ZERO.code,) * len(kinds),
        )
        consumer = with_amounts(consumer, kinds, arguments.demand, Depletion.INSTANTANEOUS)
        return _edit(asking, [(Edit.ADD, consumer)], arguments.json, console)


def _set(arguments: argparse.Namespace, console: Console) -> int:
    with _asking() as asking:
        view = asking.demand()
        consumer = with_amounts(_known(view, arguments.consumer), view.kinds, arguments.demand, None)
        return _edit(asking, [(Edit.CHANGE, consumer)], arguments.json, console)


def _move(arguments: argparse.Namespace, console: Console) -> int:
    with _asking() as asking:
        consumer = replace(_known(asking.demand(), arguments.consumer), position_m=(arguments.x, arguments.y))
        return _edit(asking, [(Edit.CHANGE, consumer)], arguments.json, console)


def _remove(arguments: argparse.Namespace, console: Console) -> int:
    with _asking() as asking:
        return _edit(asking, [(Edit.REMOVE, _known(asking.demand(), arguments.consumer))], arguments.json, console)


def _export(arguments: argparse.Namespace, console: Console) -> int:
    with _asking() as asking:
        text = yaml.safe_dump(export_data(asking.demand()), sort_keys=False)
    if arguments.file is None:
        sys.stdout.write(text)
    else:
        arguments.file.write_text(text, encoding="utf-8")
        console.print(f"written: {arguments.file}", markup=False)
    return 0


def _import(arguments: argparse.Namespace, console: Console) -> int:
    data = schema.load_yaml(arguments.file)
    if isinstance(data, Mapping):
        data = {key: value for key, value in data.items() if key == "consumers"}
    entries = schema.build(ConsumersFile, data, str(arguments.file)).consumers
    with _asking() as asking:
        view = asking.demand()
        consumers = [spec_of(name, entry, view.kinds, str(arguments.file)) for name, entry in entries.items()]
        edits = [(Edit.ADD if view.consumer(one.name) is None else Edit.CHANGE, one) for one in consumers]
        return _edit(asking, edits, arguments.json, console)


def spec_of(name: str, entry: ConsumerEntry, kinds: Sequence[str], source: str) -> ConsumerSpec:
    """A file's consumer for a team with these resource kinds.

    Raises:
        ConfigError: it asks for another kind.
    """
    for kind in entry.demand:
        if kind not in kinds:
            raise ConfigError(
                source, f"consumers.{name}.demand.{kind}", "an unknown kind", f"one of {', '.join(kinds)}"
            )
    asked = [entry.demand.get(kind) for kind in kinds]
    return ConsumerSpec(
        name=name,
        position_m=entry.position_m,
        radius_m=entry.radius_m,
        demanded=tuple(one.amount if one else 0.0 for one in asked),
        depletion=tuple((one.depletion if one else Depletion.ZERO).code for one in asked),
    )


def with_amounts(
    consumer: ConsumerSpec, kinds: Sequence[str], words: Sequence[str], default: Depletion | None
) -> ConsumerSpec:
    """`consumer` with the amounts of words like ``parcel=0.5:instantaneous``.

    Args:
        consumer: what stays where a word does not say otherwise.
        kinds: names of the resource kinds.
        words: what the operator typed.
        default: depletion where a word names none; None: as it is.

    Raises:
        ConfigError: unknown kind, no number, unknown depletion.
    """
    demanded, depletion = list(consumer.demanded), list(consumer.depletion)
    for word in words:
        kind, _, rest = word.partition("=")
        amount, _, how = rest.partition(":")
        if kind not in kinds:
            raise ConfigError("command line", word, f"the kind {kind!r}", f"one of {', '.join(kinds)}")
        k = list(kinds).index(kind)
        try:
            demanded[k] = float(amount)
        except ValueError:
            raise ConfigError("command line", word, f"the amount {amount!r}", "a number, as in parcel=0.5") from None
        if how:
            try:
                depletion[k] = Depletion(how).code
            except ValueError:
                expected = " or ".join(one.value for one in Depletion)
                raise ConfigError("command line", word, f"the depletion {how!r}", expected) from None
        elif default is not None:
            depletion[k] = default.code
    return replace(consumer, demanded=tuple(demanded), depletion=tuple(depletion))


def view_table(view: DemandView) -> Table:
    """Consumers as a table for a person."""
    columns = ("consumer", "place [m]", "kind", "depletion", "demanded", "missing", "served by")
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for consumer in view.consumers:
        place = "{:.2f} {:.2f}".format(*consumer.position_m)
        for kind, one in _demand(view, consumer).items():
            table.add_row(
                consumer.name,
                place,
                kind,
                str(one["depletion"]),
                f"{one['amount']:.3g}",
                f"{one['remaining']:.3g}",
                " ".join(consumer.servers),
            )
    return table


def view_data(view: DemandView) -> dict[str, Any]:
    """Consumers as plain data."""
    return {
        "revision": view.revision,
        "kinds": list(view.kinds),
        "consumers": {
            consumer.name: {
                "position_m": [float(x) for x in consumer.position_m],
                "radius_m": float(consumer.radius_m),
                "demand": _demand(view, consumer),
                "servers": list(consumer.servers),
            }
            for consumer in view.consumers
        },
    }


def export_data(view: DemandView) -> dict[str, Any]:
    """The `consumers` of a scenario file that asks for what is asked for now, nothing of it delivered yet."""
    entries = {
        consumer.name: ConsumerEntry(
            position_m=(float(consumer.position_m[0]), float(consumer.position_m[1])),
            radius_m=round(float(consumer.radius_m), 6),
            demand={
                kind: DemandEntry(amount=round(one["amount"], 6), depletion=Depletion(one["depletion"]))
                for kind, one in _demand(view, consumer).items()
            },
        )
        for consumer in view.consumers
    }
    data: dict[str, Any] = schema.dump(ConsumersFile(consumers=entries))
    return data


def _demand(view: DemandView, consumer: ConsumerView) -> dict[str, Any]:
    """What a consumer asks for, by kind."""
    words = {depletion.code: depletion.value for depletion in Depletion}
    return {
        kind: {
            "amount": float(consumer.demanded[k]),
            "remaining": float(consumer.remaining[k]),
            "depletion": words[int(consumer.depletion[k])],
        }
        for k, kind in enumerate(view.kinds)
        if consumer.demanded[k] > 0
    }


def _known(view: DemandView, name: str) -> ConsumerSpec:
    consumer = view.consumer(name)
    if consumer is None:
        known = ", ".join(one.name for one in view.consumers) or "none"
        raise ConfigError("command line", "consumer", repr(name), f"one of {known}")
    return ConsumerSpec(
        name=name,
        position_m=(float(consumer.position_m[0]), float(consumer.position_m[1])),
        radius_m=float(consumer.radius_m),
        demanded=tuple(map(float, consumer.demanded)),
        depletion=tuple(map(int, consumer.depletion)),
    )


def _edit(asking: Any, edits: Sequence[tuple[Edit, ConsumerSpec]], as_json: bool, console: Console) -> int:
    """Ask for edits, all or none, and tell what was done."""
    from geometry_msgs.msg import Point

    from lgtc_interfaces.msg import ConsumerDemand
    from lgtc_interfaces.srv import EditConsumer

    requests = []
    for (operation, consumer), request_id in zip(edits, parts(f"lgtc-{uuid.uuid4()}", len(edits)), strict=True):
        x_m, y_m = consumer.position_m
        message = ConsumerDemand(
            name=consumer.name,
            position=Point(x=x_m, y=y_m),
            radius_m=consumer.radius_m,
            demanded=consumer.demanded,
            depletion=consumer.depletion,
        )
        requests.append(EditConsumer.Request(request_id=request_id, operation=operation.value, consumer=message))
    if requests:
        asking.ask_all(EditConsumer, topics.EDIT_CONSUMER, requests)
    told = [{"done": operation.name.lower(), "consumer": schema.dump(one)} for operation, one in edits]
    if as_json:
        for line in told:
            sys.stdout.write(json.dumps(line) + "\n")
        return 0
    done = {Edit.ADD: "added", Edit.CHANGE: "changed", Edit.REMOVE: "removed"}
    for operation, consumer in edits:
        console.print(f"{consumer.name}: {done[operation]}", markup=False)
    return 0


def _asking() -> Any:
    from lgtc_bringup.asking import Asking  # loads ROS, which no other command needs

    return Asking()
