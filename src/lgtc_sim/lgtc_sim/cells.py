"""The cells of N simulated vehicles: `CellModel` of lgtc_core for all of them, on arrays, compiled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lgtc_core.compiled import compiled
from lgtc_core.flight import battery
from lgtc_core.flight.battery import BatteryParams

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Cells:
    """N cells, full at first.

    Args:
        batteries: their parameters.
    """

    def __init__(self, batteries: Sequence[BatteryParams]) -> None:
        self.charge = np.ones(len(batteries))
        """States of charge (N,), 0 empty .. 1 full."""
        self._capacity_mah = np.array([one.capacity_mah for one in batteries])
        self._cells = (
            self.charge,
            np.array([one.resistance_ohm for one in batteries]),
            np.array([one.idle_power_w for one in batteries]),
            np.array([one.hover_power_w for one in batteries]),
            np.array([one.charge_current_a for one in batteries]),
        )

    def set_charge(self, i: int, charge: float) -> None:
        """Replace one cell's charge.

        Raises:
            InputError: not a number between 0 and 1.
        """
        battery.check_charge(charge)
        self.charge[i] = charge

    def voltage_v(self, load: Array, standing: Bools) -> Array:
        """Voltages as measured (N,) [V].

        Args:
            load: power drawn by the motors (N,), as a share of hovering.
            standing: who stands with its motors off (N,), on its charger if it has one.
        """
        return _voltage_v(*self._cells, load, standing)

    def step(self, dt_s: float, load: Array, standing: Bools) -> None:
        """Draw or charge for `dt_s`; other arguments as for `voltage_v`."""
        _step(*self._cells, load, standing, self._capacity_mah, dt_s)


_open_circuit_voltage_v = compiled(battery.open_circuit_voltage_v)
_loaded_current_a = compiled(battery.loaded_current_a)
_charge_after = compiled(battery.charge_after)


@compiled
def _current_a(
    charge: Array, resistance_ohm: Array, idle_w: Array, hover_w: Array, charger_a: Array, load: Array, standing: Bools
) -> Array:
    """Currents out of the cells (N,) [A], negative on a charger."""
    current_a = np.empty(len(charge))
    for i in range(len(charge)):
        if standing[i] and charger_a[i] != 0.0:
            current_a[i] = -charger_a[i]
        else:
            power_w = idle_w[i] + (hover_w[i] - idle_w[i]) * load[i]
            current_a[i] = _loaded_current_a(_open_circuit_voltage_v(charge[i]), resistance_ohm[i], power_w)
    return current_a


@compiled
def _voltage_v(
    charge: Array, resistance_ohm: Array, idle_w: Array, hover_w: Array, charger_a: Array, load: Array, standing: Bools
) -> Array:
    """Voltages as measured (N,) [V]."""
    voltage_v = _current_a(charge, resistance_ohm, idle_w, hover_w, charger_a, load, standing)
    for i in range(len(charge)):
        voltage_v[i] = _open_circuit_voltage_v(charge[i]) - resistance_ohm[i] * voltage_v[i]
    return voltage_v


@compiled
def _step(
    charge: Array, resistance_ohm: Array, idle_w: Array, hover_w: Array, charger_a: Array, load: Array, standing: Bools,
    capacity_mah: Array, dt_s: float,
) -> None:  # fmt: skip
    """Charges after `dt_s`."""
    current_a = _current_a(charge, resistance_ohm, idle_w, hover_w, charger_a, load, standing)
    for i in range(len(charge)):
        charge[i] = _charge_after(charge[i], capacity_mah[i], current_a[i], dt_s)
