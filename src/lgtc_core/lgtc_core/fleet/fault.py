"""What may go wrong on purpose: the faults of scenario files and of `lgtc chaos`. loop/faults.py says how they act.

| kind | amount | what happens while it lasts |
| --- | --- | --- |
| loss | share, 0 to 1 | so many of the messages between drones are lost |
| delay | s | messages between drones come so much later |
| duplication | share, 0 to 1 | so many come twice |
| reordering | s | every message is held back for a random time up to this, so that they overtake each other |
| partition | | `drones` and the rest do not hear each other |
| silent_sensor | | no poses of these drones |
| frozen_sensor | | their poses say for ever where they were, with fresh stamps |
| position_jump | m | their poses are off by so much, in one direction |
| ignores_commands | | no setpoint and no order arrives at the vehicle; its firmware does what it does then |
| hanging_adapter | | their vehicle adapter does nothing, as a process that hangs |
| wind | m/s | blows them off course, in one direction |
| tracking_lag | s | they follow velocities with so much more lag (first order) |

Messages between drones are poses (to safety filters), features and presence (to policies). What has to do with a drone
means messages that it sends and that it gets.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from lgtc_core.errors import ConfigError
from lgtc_core.schema import Bounds


class FaultKind(Enum):
    """What goes wrong."""

    LOSS = "loss"
    DELAY = "delay"
    DUPLICATION = "duplication"
    REORDERING = "reordering"
    PARTITION = "partition"
    SILENT_SENSOR = "silent_sensor"
    FROZEN_SENSOR = "frozen_sensor"
    POSITION_JUMP = "position_jump"
    IGNORES_COMMANDS = "ignores_commands"
    HANGING_ADAPTER = "hanging_adapter"
    WIND = "wind"
    TRACKING_LAG = "tracking_lag"


AMOUNTS = {
    FaultKind.LOSS: Bounds(0.0, 1.0),
    FaultKind.DELAY: Bounds(0.0, 10.0, "s"),
    FaultKind.DUPLICATION: Bounds(0.0, 1.0),
    FaultKind.REORDERING: Bounds(0.0, 10.0, "s"),
    FaultKind.POSITION_JUMP: Bounds(0.0, 100.0, "m"),
    FaultKind.WIND: Bounds(0.0, 10.0, "m/s"),
    FaultKind.TRACKING_LAG: Bounds(0.0, 2.0, "s"),
}
"""Range of the amount of those kinds that have one."""

LINK_KINDS = frozenset(
    {FaultKind.LOSS, FaultKind.DELAY, FaultKind.DUPLICATION, FaultKind.REORDERING, FaultKind.PARTITION}
)
"""What happens to messages between drones."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong for a time."""

    kind: Annotated[FaultKind, "What goes wrong"]
    start_s: Annotated[float, Bounds(0.0, 1e6, "s"), "When, after the policies took over"] = 0.0
    duration_s: Annotated[float | None, Bounds(0.0, 1e6, "s"), "How long; null: to the end"] = None
    drones: Annotated[tuple[str, ...], "Drones concerned; none: all (of a partition: one side of it)"] = ()
    amount: Annotated[float | None, Bounds(), "How much, for the kinds that have an amount"] = None

    def __post_init__(self) -> None:
        """Refuse an amount out of range, where none belongs, or none where one does; a partition without sides."""
        bounds = AMOUNTS.get(self.kind)
        if bounds is None and self.amount is not None:
            raise ConfigError("", "amount", f"{self.amount:g}", f"none, as {self.kind.value} has no amount")
        if bounds is not None and (self.amount is None or self.amount not in bounds):
            got = "no such key" if self.amount is None else f"{self.amount:g}"
            raise ConfigError("", "amount", got, f"a number, {bounds} ({self.kind.value})")
        if self.kind is FaultKind.PARTITION and not self.drones:
            raise ConfigError("", "drones", "none", "the drones of one side of the partition")

    def concerns(self, drone: str) -> bool:
        """Whether it has to do with this drone."""
        return not self.drones or drone in self.drones

    def __str__(self) -> str:
        bounds = AMOUNTS.get(self.kind)
        unit = f" {bounds.unit}" if bounds is not None and bounds.unit else ""
        much = "" if self.amount is None else f" {self.amount:g}{unit}"
        return f"{self.kind.value}{much} of {', '.join(self.drones) or 'all'}"
