"""One LiPo cell: a model of it for simulation, and the monitor that turns its readings into tiers.

Model (state of charge c, open-circuit voltage U(c), resistance R of cell, connector and board, power P
drawn by the motors):

    P = V I,   V = U(c) - R I     =>     I = (U - sqrt(U^2 - 4 R P)) / (2 R),      dc/dt = -I / capacity

Constant power, not constant current: a hovering drone needs the same thrust from a lower voltage, so that
the current rises as the cell empties and the voltage collapses quickly at the end, which is what makes a
late landing order a crash.

Figures (defaults of BatteryParams):
- U(c): the table of cell voltage over charge that the Crazyflie's own firmware uses (crazyflie-firmware,
  src/hal/src/pm_stm32f4.c, 240 mAh cell 671723HS25C: 0 to 90 % in steps of ten), and 4.2 V when full.
- R and P: Bitcraze, "Measuring propeller RPM, part 3" (2015) and its table on the wiki page
  misc:investigations:thrust: 0.24 A at 4.01 V standing, 2.11 A at 3.67 V lifting 28.6 g, which is a
  Crazyflie 2.1 with markers. The slope is 0.18 ohm, the hovering power 7.7 W; with 250 mAh they give 6.7
  minutes of hovering, the data sheet says 7.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import Annotated

from lgtc_core.errors import ConfigError, InputError
from lgtc_core.flight.phases import Tier
from lgtc_core.schema import Bounds

CHARGE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
OPEN_CIRCUIT_V = (3.00, 3.78, 3.83, 3.87, 3.89, 3.92, 3.96, 4.00, 4.04, 4.10, 4.20)

_SHARE = Bounds(0.0, 1.0, "of a full cell")
_VOLT = Bounds(2.5, 4.4, "V")
_DWELL = Bounds(0.0, 60.0, "s")


@dataclass(frozen=True, kw_only=True)
class BatteryParams:
    """One cell and the levels at which something is done about it. Voltages are under load, as measured in flight."""

    capacity_mah: Annotated[float, Bounds(10.0, 100_000.0, "mAh"), "Charge of a full cell"] = 250.0
    resistance_ohm: Annotated[float, Bounds(0.0, 1.0, "ohm"), "Cell, connector and board"] = 0.18
    hover_power_w: Annotated[float, Bounds(0.0, 1000.0, "W"), "Drawn in the air"] = 7.7
    idle_power_w: Annotated[float, Bounds(0.0, 1000.0, "W"), "Drawn on the ground, motors off"] = 0.96
    warn_charge: Annotated[float, _SHARE, "State of charge below which the battery is shown as low"] = 0.20
    land_charge: Annotated[float, _SHARE, "State of charge below which the drone lands, after dwell_s"] = 0.12
    critical_charge: Annotated[float, _SHARE, "State of charge below which the drone lands, after critical_dwell_s"] = (
        0.06
    )
    warn_voltage_v: Annotated[float, _VOLT, "Voltage below which the battery is shown as low"] = 3.42
    land_voltage_v: Annotated[float, _VOLT, "Voltage below which the drone lands, after dwell_s"] = 3.35
    critical_voltage_v: Annotated[float, _VOLT, "Voltage below which the drone lands, after critical_dwell_s"] = 3.15
    dwell_s: Annotated[float, _DWELL, "How long a level must be undercut, or left again, before the tier follows"] = 3.0
    critical_dwell_s: Annotated[float, _DWELL, "The same for the critical level"] = 0.5
    hysteresis_charge: Annotated[float, _SHARE, "How far above a level the charge counts as recovered"] = 0.03
    hysteresis_v: Annotated[float, Bounds(0.0, 1.0, "V"), "How far above a level the voltage counts as recovered"] = (
        0.10
    )

    def __post_init__(self) -> None:
        """Refuse levels that are not in order."""
        for unit in ("charge", "voltage_v"):
            warn, land, critical = (getattr(self, f"{tier}_{unit}") for tier in ("warn", "land", "critical"))
            if not warn >= land >= critical:
                raise ConfigError(
                    "",
                    f"land_{unit}",
                    f"{land:g}",
                    f"between critical_{unit} ({critical:g}) and warn_{unit} ({warn:g})",
                )


def open_circuit_voltage_v(charge: float) -> float:
    """U(c): voltage of the unloaded cell [V] at state of charge 0..1 (held constant outside)."""
    i = min(max(bisect.bisect_right(CHARGE, charge) - 1, 0), len(CHARGE) - 2)  # np.interp costs ten times as much
    low, high = OPEN_CIRCUIT_V[i], OPEN_CIRCUIT_V[i + 1]
    share = (charge - CHARGE[i]) / (CHARGE[i + 1] - CHARGE[i])
    return low + min(max(share, 0.0), 1.0) * (high - low)


class CellModel:
    """The cell of one simulated drone."""

    def __init__(self, params: BatteryParams, charge: float = 1.0) -> None:
        self.params = params
        self._charge = 0.0
        self.set_charge(charge)

    @property
    def charge(self) -> float:
        """State of charge, 0 empty .. 1 full."""
        return self._charge

    def set_charge(self, charge: float) -> None:
        """Replace the cell's charge, as the paper's Section V does by hand.

        Raises:
            InputError: not a number between 0 and 1.
        """
        if not 0.0 <= charge <= 1.0:
            raise InputError("state of charge", f"{charge!r}", "a number between 0 (empty) and 1 (full)")
        self._charge = float(charge)

    def current_a(self, power_w: float) -> float:
        """Current I [A] at which the loaded cell gives `power_w`; at its maximum power point where it
        cannot.
        """
        u, r = open_circuit_voltage_v(self._charge), self.params.resistance_ohm
        if r == 0.0:
            return power_w / u
        return (u - math.sqrt(max(0.0, u * u - 4.0 * r * power_w))) / (2.0 * r)

    def voltage_v(self, power_w: float) -> float:
        """Voltage V under the load `power_w` [V]."""
        return open_circuit_voltage_v(self._charge) - self.params.resistance_ohm * self.current_a(power_w)

    def step(self, dt_s: float, power_w: float) -> None:
        """Draw `power_w` for `dt_s`. The charge ends at 0."""
        drawn_mah = self.current_a(power_w) * dt_s / 3.6
        self._charge = max(0.0, self._charge - drawn_mah / self.params.capacity_mah)


@dataclass(frozen=True)
class BatteryView:
    """What a battery asks of its drone at one moment."""

    tier: Tier
    voltage_v: float
    """Last reading [V]; NaN: unknown."""
    state_of_charge: float
    """0 empty .. 1 full; NaN: unknown."""
    time_left_s: float
    """Predicted time until the landing level at the present draw [s]; NaN: unknown."""
    reason: str
    """One sentence for a person; empty in OK."""


class BatteryMonitor:
    """Tiers with hysteresis and dwell from noisy readings of voltage and state of charge.

    A tier is entered when either reading has stayed below its level for the dwell time, and left when every
    known reading has stayed above level + hysteresis for the dwell time. A short sag in a manoeuvre
    therefore lands nobody, and an unloaded cell that recovers for a moment does not take a warning back. An
    unknown reading (NaN) decides nothing.
    """

    DRAW_TIME_CONSTANT_S = 10.0
    JUMP_PER_S = 0.05
    """Faster than any flight: the charge was set by hand, so it says nothing about the draw."""

    def __init__(self, params: BatteryParams) -> None:
        self.params = params
        self._tier = Tier.OK
        self._since: dict[Tier, float] = {}
        self._above_since: float | None = None
        self._draw_per_s: float | None = None
        self._last: tuple[float, float] | None = None

    def update(self, now_s: float, voltage_v: float, state_of_charge: float) -> BatteryView:
        """Take one reading (NaN where unknown) and say what it means.

        Raises:
            InputError: a reading that no cell can have. The monitor keeps its state.
        """
        if math.isinf(voltage_v) or voltage_v < 0.0:
            raise InputError("battery voltage", f"{voltage_v!r} V", "a voltage of at least 0 V, or NaN for unknown")
        if math.isinf(state_of_charge) or not (math.isnan(state_of_charge) or 0.0 <= state_of_charge <= 1.0):
            raise InputError("state of charge", f"{state_of_charge!r}", "a number between 0 and 1, or NaN for unknown")
        self._follow_tier(now_s, voltage_v, state_of_charge)
        self._follow_draw(now_s, state_of_charge)
        return BatteryView(
            self._tier,
            voltage_v,
            state_of_charge,
            self._time_left_s(state_of_charge),
            self._reason(voltage_v, state_of_charge),
        )

    def _follow_tier(self, now_s: float, voltage_v: float, charge: float) -> None:
        for tier in (Tier.WARN, Tier.LAND, Tier.CRITICAL):
            level_v, level = self._levels(tier)
            if voltage_v < level_v or charge < level:
                begun_s = self._since.setdefault(tier, now_s)
                if now_s - begun_s >= self._dwell_s(tier):
                    self._tier = max(self._tier, tier)
            else:
                self._since.pop(tier, None)
        if self._tier is Tier.OK:
            return
        level_v, level = self._levels(self._tier)
        low = voltage_v < level_v + self.params.hysteresis_v or charge < level + self.params.hysteresis_charge
        if low or (math.isnan(voltage_v) and math.isnan(charge)):
            self._above_since = None
        elif self._above_since is None:
            self._above_since = now_s
        elif now_s - self._above_since >= self.params.dwell_s:
            self._tier, self._above_since = Tier(self._tier - 1), None

    def _levels(self, tier: Tier) -> tuple[float, float]:
        p = self.params
        return {
            Tier.WARN: (p.warn_voltage_v, p.warn_charge),
            Tier.LAND: (p.land_voltage_v, p.land_charge),
            Tier.CRITICAL: (p.critical_voltage_v, p.critical_charge),
        }[tier]

    def _dwell_s(self, tier: Tier) -> float:
        return self.params.critical_dwell_s if tier is Tier.CRITICAL else self.params.dwell_s

    def _follow_draw(self, now_s: float, charge: float) -> None:
        if math.isnan(charge):
            return
        if self._last is not None:
            dt_s = now_s - self._last[0]
            if dt_s <= 0.0:
                return
            draw_per_s = (self._last[1] - charge) / dt_s
            if abs(draw_per_s) <= self.JUMP_PER_S:
                old = draw_per_s if self._draw_per_s is None else self._draw_per_s
                weight = -math.expm1(-dt_s / self.DRAW_TIME_CONSTANT_S)
                self._draw_per_s = old + weight * (draw_per_s - old)
        self._last = (now_s, charge)

    def _time_left_s(self, charge: float) -> float:
        if math.isnan(charge) or not self._draw_per_s or self._draw_per_s <= 0.0:
            return math.nan
        return max(0.0, charge - self.params.land_charge) / self._draw_per_s

    def _reason(self, voltage_v: float, charge: float) -> str:
        if self._tier is Tier.OK:
            return ""
        level_v, level = self._levels(self._tier)
        words = {
            Tier.WARN: "battery low",
            Tier.LAND: "battery at its landing level",
            Tier.CRITICAL: "battery critical",
        }
        found = [] if math.isnan(voltage_v) else [f"{voltage_v:.2f} V of {level_v:.2f} V"]
        found += [] if math.isnan(charge) else [f"{charge:.0%} of {level:.0%}"]
        return f"{words[self._tier]}: {', '.join(found) or 'no reading since'}"
