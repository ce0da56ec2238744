"""The picture of a flight in the terminal: a table of drones, bars of demand, time and distance. Drawing only, no ROS.

On a terminal the picture is redrawn in place; elsewhere (a pipe, CI, TERM=dumb) the same facts come as one line every
`LINE_EVERY_S` and whenever a phase changes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import TracebackType

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lgtc_bringup.snapshot import ConsumerSnapshot, DroneSnapshot, Snapshot

LINE_EVERY_S = 5.0
_BAR_WIDTH = 24
_WIDE = 100
"""Columns from which on everything is shown."""
_STYLES = {
    "FLYING": "green",
    "HOLDING": "cyan",
    "TAKING_OFF": "cyan",
    "LANDING": "yellow",
    "FAILED": "bold red",
    "OK": "green",
    "WARN": "yellow",
    "LAND": "bold red",
    "CRITICAL": "bold red",
    "PASSED": "green",
    "FILTERED": "cyan",
    "NOMINAL_LOST": "yellow",
    "RELAXED": "bold red",
    "POSE_LOST": "bold red",
}


class LiveView:
    """Shows snapshots of a flight; a context manager.

    Args:
        console: where to draw.
        live: False for lines instead of a picture, as also where the console is no terminal.
        clock: wall clock [s], for the pace of the lines.
    """

    def __init__(self, console: Console, *, live: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        pictures = live and console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, auto_refresh=False, transient=False) if pictures else None
        self._line_s = -math.inf
        self._phases: tuple[str, ...] = ()

    def __enter__(self) -> LiveView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Show the team as of now."""
        if self._live is not None:
            self._live.update(picture(snapshot, self._console.width), refresh=True)
            return
        phases = (snapshot.mission, *(drone.phase for drone in snapshot.drones), *snapshot.notes)
        now_s = self._clock()
        if phases != self._phases or now_s - self._line_s >= LINE_EVERY_S:
            self._phases, self._line_s = phases, now_s
            self._console.print(line(snapshot), soft_wrap=True, highlight=False, markup=False)

    def say(self, sentence: str) -> None:
        """Print a sentence above the picture."""
        self._console.print(sentence, soft_wrap=True, highlight=False, markup=False)


def picture(snapshot: Snapshot, width: int) -> RenderableType:
    """The whole picture for a terminal of `width` columns: headline, drones, consumers, notes."""
    parts: list[RenderableType] = [_headline(snapshot), _drone_table(snapshot, width)]
    if snapshot.consumers:
        parts.append(_consumer_table(snapshot, width))
    parts += [Text(note, style="bold red") for note in snapshot.notes]
    return Group(*parts)


def line(snapshot: Snapshot) -> str:
    """The same in one line, for logs."""
    drones = " ".join(
        f"{drone.name}:{drone.phase or '-'}{_brief_battery(drone)}{'>' + drone.chosen if drone.chosen else ''}"
        for drone in snapshot.drones
    )
    demand = " ".join(f"{consumer.name}:{min(_shares(consumer), default=1.0):.0%}" for consumer in snapshot.consumers)
    parts = [
        f"{snapshot.mission or 'waiting'} {snapshot.elapsed_s:.0f} s",
        drones,
        f"demand {demand}" if demand else "",
        f"min distance {_number(snapshot.distance_min_m, 'm')}",
        f"speed {_number(snapshot.real_time_factor, 'x')}",
        *snapshot.notes[-1:],
    ]
    return " | ".join(part for part in parts if part)


def _headline(snapshot: Snapshot) -> RenderableType:
    text = Text()
    text.append(f" {snapshot.mission or 'waiting for the nodes'} ", style="bold reverse")
    text.append(f"  {snapshot.elapsed_s:6.1f} s", style="bold")
    text.append(f"   smallest distance {_number(snapshot.distance_min_m, 'm')}")
    text.append(f"   speed {_number(snapshot.real_time_factor, 'x')}")
    if snapshot.reason:
        text.append(f"   {snapshot.reason}", style="dim")
    return text


def _drone_table(snapshot: Snapshot, width: int) -> Table:
    """One row per drone; where the terminal is narrow, the rightmost columns are left out."""
    columns: dict[str, Callable[[DroneSnapshot], RenderableType]] = {
        "drone": lambda drone: drone.name,
        "phase": lambda drone: _styled(drone.phase or "not heard"),
        "battery": _battery,
        "serves": lambda drone: drone.chosen or "-",
        "filter": lambda drone: _styled(drone.safety or "-"),
        "nearest": lambda drone: _number(drone.distance_min_m, "m"),
        "carries": lambda drone: _supply(drone, snapshot.kinds),
        "why": lambda drone: Text(drone.reason, style="dim", overflow="ellipsis"),
    }
    shown = list(columns)[: 8 if width >= _WIDE else 5]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in shown:
        table.add_column(name, no_wrap=True)
    for drone in snapshot.drones:
        table.add_row(*(columns[name](drone) for name in shown))
    return table


def _consumer_table(snapshot: Snapshot, width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    bar_width = _BAR_WIDTH if width >= _WIDE else _BAR_WIDTH // 3
    for column in ("consumer", "kind", "met", "", "served by"):
        table.add_column(column, no_wrap=True)
    for consumer in snapshot.consumers:
        for index, kind in enumerate(snapshot.kinds):
            if consumer.demanded[index] <= 0.0:
                continue
            met = consumer.met(index)
            table.add_row(
                consumer.name,
                kind,
                Bar(1.0, 0.0, met, width=bar_width, color="green" if met >= 1.0 else "yellow"),
                f"{consumer.demanded[index] - consumer.remaining[index]:.2f} / {consumer.demanded[index]:.2f}",
                " ".join(consumer.servers) or "-",
            )
    return table


def _shares(consumer: ConsumerSnapshot) -> list[float]:
    return [consumer.met(kind) for kind in range(len(consumer.demanded))]


def _battery(drone: DroneSnapshot) -> Text:
    if math.isnan(drone.state_of_charge):
        return Text("-")
    voltage = "" if math.isnan(drone.battery_voltage_v) else f" {drone.battery_voltage_v:.2f} V"
    return Text(f"{drone.state_of_charge:4.0%}{voltage}", style=_STYLES.get(drone.tier, ""))


def _brief_battery(drone: DroneSnapshot) -> str:
    return "" if math.isnan(drone.state_of_charge) else f"({drone.state_of_charge:.0%})"


def _supply(drone: DroneSnapshot, kinds: tuple[str, ...]) -> str:
    if len(kinds) != len(drone.supply):
        return ""
    return " ".join(f"{kind} {amount:.2f}" for kind, amount in zip(kinds, drone.supply, strict=True))


def _styled(word: str) -> Text:
    return Text(word, style=_STYLES.get(word, "dim"))


def _number(value: float, unit: str) -> str:
    return "-" if math.isnan(value) else f"{value:.2f} {unit}"
