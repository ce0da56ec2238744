"""`lgtc ledger show|check|compare`: what the demand ledger says, now or at a past time, whether it is in order, and
whether the flight's bag and report say the same.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lgtc_bringup.plan import BAG_DIR, LEDGER_FILE
from lgtc_core.demand.ledger import Audit, LedgerReader
from lgtc_core.errors import ConfigError
from lgtc_core.schema import dump
from lgtc_core.world.rules import ZERO_DEPLETION

DEFAULT = Path("runs/latest") / LEDGER_FILE


def register(commands: Any) -> None:
    """Add the command to `lgtc`."""
    ledger = commands.add_parser("ledger", help="look at the demand ledger of a flight")
    actions = ledger.add_subparsers(required=True, metavar="COMMAND")
    show = actions.add_parser("show", help="consumers, supplies and who served, now or at a past time")
    show.add_argument(
        "--at", metavar="TIME", help="seconds of ROS time, or a date and time of the wall clock (2030-01-31T12:00:00Z)"
    )
    show.add_argument("--rows", action="store_true", help="every recorded change as well")
    show.add_argument("--json", action="store_true", help="as JSON")
    show.set_defaults(run=_show)
    check = actions.add_parser("check", help="check every row and every sum; exit code 1 if anything is wrong")
    check.add_argument("--json", action="store_true", help="as JSON")
    check.set_defaults(run=_check)
    against = actions.add_parser("compare", help="compare ledger, bag and report of a flight; exit code 1 on drift")
    against.add_argument("folder", nargs="?", type=Path, default=DEFAULT.parent, help="folder of the run (%(default)s)")
    against.add_argument("--json", action="store_true", help="as JSON")
    against.set_defaults(run=_compare)
    for action in (show, check):
        action.add_argument("file", nargs="?", type=Path, default=DEFAULT, help="the ledger (%(default)s)")


def _check(arguments: argparse.Namespace, console: Console) -> int:
    with LedgerReader(arguments.file) as ledger:
        found = ledger.check()
        folded = ledger.folded
        rows = 0 if found else sum(1 for _ in ledger.rows())
    if arguments.json:
        sys.stdout.write(
            json.dumps({"file": str(arguments.file), "in order": not found, "problems": found}, indent=2) + "\n"
        )
    elif found:
        for sentence in found:
            console.print(sentence, style="bold red", markup=False, soft_wrap=True)
    else:
        words = f", {folded} changes folded" if folded else ""
        console.print(f"{arguments.file}: {rows} rows{words}, all in order", markup=False, soft_wrap=True)
    return 1 if found else 0


def _compare(arguments: argparse.Namespace, console: Console) -> int:
    from lgtc_analysis.bag import read_flight
    from lgtc_analysis.drift import compare

    found = compare(read_flight(arguments.folder / BAG_DIR), arguments.folder / LEDGER_FILE)
    drifted = [one for one in found if one.differs]
    if arguments.json:
        data = [one._asdict() | {"differs": one.differs} for one in found]
        sys.stdout.write(json.dumps({"run": str(arguments.folder), "compared": data}, indent=2) + "\n")
        return 1 if drifted else 0
    table = Table("what", "ledger", "bag or report", "may differ by", "", box=None, pad_edge=False)
    for one in found:
        figures = (f"{one.ledger:.6g}", f"{one.other:.6g}", f"{one.tolerance:.2g}")
        table.add_row(one.what, *figures, "differs" if one.differs else "")
    console.print(table)
    console.print(f"{len(found)} figures compared, {len(drifted)} differ", markup=False)
    return 1 if drifted else 0


def _show(arguments: argparse.Namespace, console: Console) -> int:
    with LedgerReader(arguments.file) as ledger:
        audit = ledger.audit(**_time(arguments.at))
        last = 0 if audit.moment is None else audit.moment.seq
        rows = list(ledger.rows(0, last)) if arguments.rows else []
        folded = ledger.folded
    if arguments.json:
        data = audit_data(audit)
        if arguments.rows:
            data["rows"] = [
                {"what": type(row.change).__name__, **row._asdict(), "change": dump(row.change)} for row in rows
            ]
        sys.stdout.write(json.dumps(data, indent=2) + "\n")
        return 0
    if audit.folded:
        words = f"of the changes up to number {folded} only some states are kept; this is the last before that time"
        console.print(words, markup=False, soft_wrap=True)
    if audit.moment is None:
        console.print("nothing is known of that time" if audit.folded else "nothing had happened yet")
        return 0
    seq, stamp_s, utc_s = audit.moment
    when = datetime.fromtimestamp(utc_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    console.print(f"after change {seq} at {stamp_s:.3f} s ({when})", markup=False)
    for table in audit_tables(audit):
        console.print(table)
    for one in rows:
        content = ", ".join(f"{key} {value}" for key, value in vars(one.change).items() if key != "consumer")
        words = f"{one.seq:6d} {one.stamp_s:10.3f} s  {type(one.change).__name__}: {content}"
        console.print(words, markup=False, soft_wrap=True)
    return 0


def audit_data(audit: Audit) -> dict[str, Any]:
    """An audit as plain data: amounts per kind by name."""
    accounts = audit.accounts
    kinds = accounts.kinds
    servers = _servers(audit)
    return {
        **({"seq": None, "stamp_s": None, "utc_s": None} if audit.moment is None else audit.moment._asdict()),
        "folded": audit.folded,
        "consumers": {
            name: {
                "demanded": dict(zip(kinds, entry.spec.demanded, strict=True)),
                "delivered": dict(zip(kinds, map(float, entry.delivered), strict=True)),
                "missing": {
                    kind: entry.missing(k) for k, kind in enumerate(kinds) if entry.spec.depletion[k] != ZERO_DEPLETION
                },
                "servers": servers.get(name, []),
            }
            for name, entry in accounts.entries.items()
        },
        "drones": {
            drone: {
                "given": {
                    kind: float(accounts.given[drone][k]) if drone in accounts.given else 0.0
                    for k, kind in enumerate(kinds)
                },
                "carried": {kind: _known(accounts.carried(drone, k)) for k, kind in enumerate(kinds)},
            }
            for drone in sorted({*accounts.given, *accounts.put_in})
        },
        "given to consumers that went": dict(zip(kinds, map(float, accounts.struck), strict=True)),
        "visits that ended": [dump(one) for one in accounts.served.values()],
    }


def audit_tables(audit: Audit) -> list[Table]:
    """An audit as tables: consumers, drones, and visits that ended."""
    data, kinds = audit_data(audit), audit.accounts.kinds
    consumers = Table("consumer", "kind", "demanded", "delivered", "missing", "served by", box=None, pad_edge=False)
    for name, one in data["consumers"].items():
        for kind in kinds:
            if one["demanded"][kind] > 0:
                stays = kind not in one["missing"]
                delivered = "by staying" if stays else f"{one['delivered'][kind]:g}"
                missing = "" if stays else f"{one['missing'][kind]:g}"
                served = " ".join(one["servers"]) if stays else ""
                consumers.add_row(name, kind, f"{one['demanded'][kind]:g}", delivered, missing, served)
    drones = Table("drone", "kind", "given", "carries", box=None, pad_edge=False)
    for name, drone in data["drones"].items():
        for kind in kinds:
            if drone["given"][kind] or drone["carried"][kind] is not None:
                carried = drone["carried"][kind]
                drones.add_row(
                    name, kind, f"{drone['given'][kind]:g}", "unknown" if carried is None else f"{carried:g}"
                )
    tables = [consumers, drones]
    if data["visits that ended"]:
        visits = Table("drone", "served", "visits", "seconds", box=None, pad_edge=False)
        for visit in data["visits that ended"]:
            place = visit["consumer"] or "(gone since)"
            visits.add_row(visit["drone"], place, str(visit["visits"]), f"{visit['seconds']:.1f}")
        tables.append(visits)
    return tables


def _servers(audit: Audit) -> dict[str, list[str]]:
    servers: dict[str, list[str]] = {}
    for drone, arrival in sorted(audit.accounts.serving.items()):
        servers.setdefault(arrival.consumer, []).append(drone)
    return servers


def _known(amount: float) -> float | None:
    return None if math.isnan(amount) else amount


def _time(text: str | None) -> dict[str, float]:
    """Arguments of `LedgerReader.audit`."""
    if text is None:
        return {}
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            raise ConfigError(
                "command line", "--at", repr(text), "seconds, or a date and time as in ISO 8601"
            ) from None
        return {"utc_s": (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()}
    if not math.isfinite(seconds):
        raise ConfigError("command line", "--at", text, "a finite number of seconds")
    return {"at_s": seconds}
