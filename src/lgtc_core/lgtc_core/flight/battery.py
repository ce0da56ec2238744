"""One LiPo cell: a model of it for simulation, and the monitor that turns its readings into tiers.

Model (state of charge c, open-circuit voltage U(c), resistance R of cell, connector and board, power P
drawn by the motors):

    P = V I,   V = U(c) - R I     =>     I = (U - sqrt(U^2 - 4 R P)) / (2 R),      dc/dt = -I / capacity
    on a charger, motors off:            V = U(c) + R I_c,                         dc/dt = I_c / capacity

Constant power, not constant current: a hovering drone needs the same thrust from a lower voltage, so that
the current rises as the cell empties and the voltage collapses quickly at the end, which is what makes a
late landing order a crash.

Figures (defaults of BatteryParams):
- U(c): the table of cell voltage over charge that the Crazyflie's own firmware uses (crazyflie-firmware,
  src/hal/src/pm_stm32f4.c, 240 mAh cell 671723HS25C: 0 to 90 % in steps of ten), and 4.2 V when full.
- I_c: the data sheet of the Crazyflie 2.1 charges the 250 mAh cell with 0.1, 0.5 or 0.98 A (40 minutes from empty;
  here without the taper of the last tenth). 0 by default: there is no charger.
- R and P: Bitcraze, "Measuring propeller RPM, part 3" (2015) and its table on the wiki page
  misc:investigations:thrust: 0.24 A at 4.01 V standing, 2.11 A at 3.67 V lifting 28.6 g, which is a
  Crazyflie 2.1 with markers. The slope is 0.18 ohm, the hovering power 7.7 W; with 250 mAh they give 6.7
  minutes of hovering, the data sheet says 7.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from lgtc_core.errors import ConfigError, InputError
from lgtc_core.flight.phases import Tier
from lgtc_core.schema import Bounds

CHARGE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
OPEN_CIRCUIT_V = (3.00, 3.78, 3.83, 3.87, 3.89, 3.92, 3.96, 4.00, 4.04, 4.10, 4.20)

ARM_ABOVE_WARN, ARM_ABOVE_WARN_V = 0.15, 0.33
"""What a drone that takes off has, at least, above its warning levels: charge for a minute, and the voltage that the
load takes away [V].
"""

_OK, _WARN = Tier.OK, Tier.WARN
_TIERS = (Tier.WARN, Tier.HAND_OVER, Tier.LAND, Tier.CRITICAL)

_SHARE = Bounds(0.0, 1.0, "of a full cell")
_VOLT = Bounds(2.5, 4.4, "V")
_DWELL = Bounds(0.0, 60.0, "s")


@dataclass(frozen=True, kw_only=True)
class BatteryParams:
    """One cell and the levels at which something is done about it. Voltages are under load, as measured in flight;
    `arm_voltage_v` on the ground.
    """

    capacity_mah: Annotated[float, Bounds(10.0, 100_000.0, "mAh"), "Charge of a full cell"] = 250.0
    resistance_ohm: Annotated[float, Bounds(0.0, 1.0, "ohm"), "Cell, connector and board"] = 0.18
    hover_power_w: Annotated[float, Bounds(0.0, 1000.0, "W"), "Drawn in the air"] = 7.7
    idle_power_w: Annotated[float, Bounds(0.0, 1000.0, "W"), "Drawn on the ground, motors off"] = 0.96
    charge_current_a: Annotated[
        float, Bounds(0.0, 100.0, "A"), "In simulation: charged with this on the ground, motors off; 0: no charger"
    ] = 0.0
    arm_charge: Annotated[
        float | None, _SHARE, "State of charge below which the drone does not take off; null: warn_charge + 0.15"
    ] = None
    warn_charge: Annotated[float, _SHARE, "State of charge below which the battery is shown as low"] = 0.20
    hand_over_charge: Annotated[
        float | None,
        _SHARE,
        "State of charge below which it announces that it leaves, after hand_over_dwell_s; null: halfway between"
        " land_charge and warn_charge",
    ] = None
    land_charge: Annotated[float, _SHARE, "State of charge below which the drone lands, after dwell_s"] = 0.12
    critical_charge: Annotated[float, _SHARE, "State of charge below which the drone lands, after critical_dwell_s"] = (
        0.06
    )
    arm_voltage_v: Annotated[
        float | None, _VOLT, "Voltage on the ground below which it does not take off; null: warn_voltage_v + 0.33 V"
    ] = None
    warn_voltage_v: Annotated[float, _VOLT, "Voltage below which the battery is shown as low"] = 3.42
    hand_over_voltage_v: Annotated[
        float | None,
        _VOLT,
        "Voltage below which it announces that it leaves, after hand_over_dwell_s; null: halfway between land_voltage_v"
        " and warn_voltage_v",
    ] = None
    land_voltage_v: Annotated[float, _VOLT, "Voltage below which the drone lands, after dwell_s"] = 3.35
    critical_voltage_v: Annotated[float, _VOLT, "Voltage below which the drone lands, after critical_dwell_s"] = 3.15
    dwell_s: Annotated[float, _DWELL, "How long a level must be undercut, or left again, before the tier follows"] = 3.0
    hand_over_dwell_s: Annotated[float, _DWELL, "The same for the hand-over level, undercut by the charge"] = 0.5
    critical_dwell_s: Annotated[float, _DWELL, "The same for the critical level"] = 0.5
    voltage_window_s: Annotated[
        float, _DWELL, "The voltage that counts is the median of the readings of this time; 0: the last one"
    ] = 1.0
    hysteresis_charge: Annotated[float, _SHARE, "How far above a level the charge counts as recovered"] = 0.03
    hysteresis_v: Annotated[float, Bounds(0.0, 1.0, "V"), "How far above a level the voltage counts as recovered"] = (
        0.10
    )

    def __post_init__(self) -> None:
        """Refuse levels that are not in order."""
        levels = self.levels
        between = ((Tier.LAND, Tier.CRITICAL, Tier.WARN), (Tier.HAND_OVER, Tier.LAND, Tier.WARN))
        for place, unit in enumerate(("voltage_v", "charge")):
            for middle, low, high in between:
                got, least, most = (levels[tier][place] for tier in (middle, low, high))
                if not least <= got <= most:
                    named = (f"{tier.name.lower()}_{unit} ({value:g})" for tier, value in ((low, least), (high, most)))
                    key = f"{middle.name.lower()}_{unit}"
                    raise ConfigError("", key, f"{got:g}", f"between {' and '.join(named)}")
            arm, land = self.arm_levels[place], levels[Tier.LAND][place]
            if not arm > land:
                raise ConfigError("", f"arm_{unit}", f"{arm:g}", f"above land_{unit} ({land:g})")

    @property
    def arm_levels(self) -> tuple[float, float]:
        """Voltage [V] and state of charge below which the drone does not take off."""
        voltage_v = self.warn_voltage_v + ARM_ABOVE_WARN_V if self.arm_voltage_v is None else self.arm_voltage_v
        charge = min(1.0, self.warn_charge + ARM_ABOVE_WARN) if self.arm_charge is None else self.arm_charge
        return voltage_v, charge

    @property
    def levels(self) -> dict[Tier, tuple[float, float]]:
        """Voltage [V] and state of charge below which each tier begins."""
        levels = {
            Tier.WARN: (self.warn_voltage_v, self.warn_charge),
            Tier.LAND: (self.land_voltage_v, self.land_charge),
            Tier.CRITICAL: (self.critical_voltage_v, self.critical_charge),
        }
        halfway_v, halfway = (
            0.5 * (first + second) for first, second in zip(levels[Tier.WARN], levels[Tier.LAND], strict=True)
        )
        voltage_v = halfway_v if self.hand_over_voltage_v is None else self.hand_over_voltage_v
        charge = halfway if self.hand_over_charge is None else self.hand_over_charge
        return levels | {Tier.HAND_OVER: (voltage_v, charge)}


def open_circuit_voltage_v(charge: float) -> float:
    """U(c): voltage of the unloaded cell [V] at state of charge 0..1 (held constant outside).

    Like the next two plain arithmetic on numbers: lgtc_sim.cells compiles it.
    """
    i = 0
    while i < len(CHARGE) - 2 and charge >= CHARGE[i + 1]:
        i += 1
    low, high = OPEN_CIRCUIT_V[i], OPEN_CIRCUIT_V[i + 1]
    share = (charge - CHARGE[i]) / (CHARGE[i + 1] - CHARGE[i])
    return low + min(max(share, 0.0), 1.0) * (high - low)


def loaded_current_a(u: float, r: float, p: float) -> float:
    """I [A] at which a cell with the open-circuit voltage U gives P; at its maximum power point where it cannot."""
    if r == 0.0:
        return p / u
    return (u - math.sqrt(max(0.0, u * u - 4.0 * r * p))) / (2.0 * r)


def charge_after(charge: float, capacity_mah: float, current_a: float, dt_s: float) -> float:
    """State of charge after `dt_s` with a current out of the cell (negative: into it). It stays within 0..1."""
    return min(1.0, max(0.0, charge - current_a * dt_s / 3.6 / capacity_mah))


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
        check_charge(charge)
        self._charge = float(charge)

    def current_a(self, power_w: float) -> float:
        """Current I [A] at which the loaded cell gives `power_w`; at its maximum power point where it cannot."""
        return loaded_current_a(open_circuit_voltage_v(self._charge), self.params.resistance_ohm, power_w)

    def voltage_v(self, power_w: float) -> float:
        """Voltage V under the load `power_w` [V]."""
        return open_circuit_voltage_v(self._charge) - self.params.resistance_ohm * self.current_a(power_w)

    def charging_voltage_v(self, current_a: float) -> float:
        """Voltage V on a charger that drives `current_a` into the cell [V]."""
        return open_circuit_voltage_v(self._charge) + self.params.resistance_ohm * current_a

    def fill(self, dt_s: float, current_a: float) -> None:
        """Charge with `current_a` for `dt_s`. The charge ends at 1."""
        self._charge = charge_after(self._charge, self.params.capacity_mah, -current_a, dt_s)

    def step(self, dt_s: float, power_w: float) -> None:
        """Draw `power_w` for `dt_s`. The charge ends at 0."""
        self._charge = charge_after(self._charge, self.params.capacity_mah, self.current_a(power_w), dt_s)


def check_charge(charge: float) -> None:
    """Refuse what is no state of charge.

    Raises:
        InputError: not a number between 0 and 1.
    """
    if not 0.0 <= charge <= 1.0:
        raise InputError("state of charge", f"{charge!r}", "a number between 0 (empty) and 1 (full)")


class BatteryView(NamedTuple):
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
    may_take_off: bool
    """Whether there is enough for a take-off; what is not known decides nothing."""


class BatteryMonitor:
    """Tiers with hysteresis and dwell from noisy readings of voltage and state of charge.

    A tier is entered when either reading has stayed below its level for the dwell time, and left when every
    known reading has stayed above level + hysteresis for the dwell time. A short sag in a manoeuvre
    therefore lands nobody, and an unloaded cell that recovers for a moment does not take a warning back. The
    voltage is the median of `voltage_window_s`: one reading that is off does not begin the dwell anew, and the
    delay is at most the window. An unknown reading (NaN) decides nothing.
    """

    DRAW_TIME_CONSTANT_S = 10.0
    JUMP_PER_S = 0.05
    """Faster than any flight: the charge was set by hand, so it says nothing about the draw."""

    def __init__(self, params: BatteryParams) -> None:
        self.params = params
        self._levels, self._arm_levels = params.levels, params.arm_levels
        self._tier = Tier.OK
        self._since: dict[tuple[Tier, int], float] = {}
        """Per tier and reading (0 voltage, 1 charge): since when it has been below."""
        self._above_since: float | None = None
        self._draw_per_s: float | None = None
        self._last: tuple[float, float] | None = None
        self._voltages_v: deque[tuple[float, float]] = deque()
        """Time and reading, of the last `voltage_window_s`."""
        self._ranked_v: list[float] = []
        """The same readings by size."""
        self._may_take_off = False

    def update(self, now_s: float, voltage_v: float, state_of_charge: float) -> BatteryView:
        """Take one reading (NaN where unknown) and say what it means.

        The view's voltage is the filtered one.

        Raises:
            InputError: a reading that no cell can have. The monitor keeps its state.
        """
        if math.isinf(voltage_v) or voltage_v < 0.0:
            raise InputError("battery voltage", f"{voltage_v!r} V", "a voltage of at least 0 V, or NaN for unknown")
        if math.isinf(state_of_charge) or not (math.isnan(state_of_charge) or 0.0 <= state_of_charge <= 1.0):
            raise InputError("state of charge", f"{state_of_charge!r}", "a number between 0 and 1, or NaN for unknown")
        voltage_v = self._filtered_v(now_s, voltage_v)
        self._follow_tier(now_s, voltage_v, state_of_charge)
        self._follow_arming(voltage_v, state_of_charge)
        self._follow_draw(now_s, state_of_charge)
        return BatteryView(
            self._tier,
            voltage_v,
            state_of_charge,
            self._time_left_s(state_of_charge),
            self._reason(voltage_v, state_of_charge),
            self._may_take_off,
        )

    def _filtered_v(self, now_s: float, voltage_v: float) -> float:
        """Median of the known readings of the last `voltage_window_s`; the lower one of two."""
        readings, ranked_v = self._voltages_v, self._ranked_v
        known = not math.isnan(voltage_v)
        if known:
            readings.append((now_s, voltage_v))
            insort(ranked_v, voltage_v)
        while len(readings) > 1 and now_s - readings[0][0] >= self.params.voltage_window_s:
            del ranked_v[bisect_left(ranked_v, readings.popleft()[1])]
        return ranked_v[(len(ranked_v) - 1) // 2] if known else math.nan

    def _follow_arming(self, voltage_v: float, charge: float) -> None:
        """Enough for a take-off, until it is short of it by the hysteresis: a load may make the voltage dip."""
        p = self.params
        level_v, level = self._arm_levels
        slack_v, slack = (p.hysteresis_v, p.hysteresis_charge) if self._may_take_off else (0.0, 0.0)
        short = voltage_v < level_v - slack_v or charge < level - slack
        self._may_take_off = self._tier is _OK and not short

    def _follow_tier(self, now_s: float, voltage_v: float, charge: float) -> None:
        warn_v, warn = self._levels[_WARN]  # the highest ones
        below = voltage_v < warn_v or charge < warn
        for tier in _TIERS if below or self._since else ():
            for place, (reading, level) in enumerate(zip((voltage_v, charge), self._levels[tier], strict=True)):
                if not reading < level:
                    self._since.pop((tier, place), None)
                elif now_s - self._since.setdefault((tier, place), now_s) >= self._dwells_s(tier)[place]:
                    self._tier = max(self._tier, tier)
        if self._tier is _OK:
            return
        level_v, level = self._levels[self._tier]
        low = voltage_v < level_v + self.params.hysteresis_v or charge < level + self.params.hysteresis_charge
        if low or (math.isnan(voltage_v) and math.isnan(charge)):
            self._above_since = None
        elif self._above_since is None:
            self._above_since = now_s
        elif now_s - self._above_since >= self.params.dwell_s:
            self._tier, self._above_since = Tier(self._tier - 1), None

    def _dwells_s(self, tier: Tier) -> tuple[float, float]:
        """For the voltage, which sags, and for the charge, which does not [s]."""
        p = self.params
        if tier is Tier.CRITICAL:
            return p.critical_dwell_s, p.critical_dwell_s
        return p.dwell_s, p.hand_over_dwell_s if tier is Tier.HAND_OVER else p.dwell_s

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
        if self._tier is _OK:
            return ""
        level_v, level = self._levels[self._tier]
        words = {
            Tier.WARN: "battery low",
            Tier.HAND_OVER: "battery at its hand-over level",
            Tier.LAND: "battery at its landing level",
            Tier.CRITICAL: "battery critical",
        }
        found = [] if math.isnan(voltage_v) else [f"{voltage_v:.2f} V of {level_v:.2f} V"]
        found += [] if math.isnan(charge) else [f"{charge:.0%} of {level:.0%}"]
        return f"{words[self._tier]}: {', '.join(found) or 'no reading since'}"
