"""The cell model obeys its physics; the monitor lands a drone in time and no drone without need."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgtc_core.errors import ConfigError, InputError
from lgtc_core.flight.battery import BatteryMonitor, BatteryParams, CellModel, open_circuit_voltage_v
from lgtc_core.flight.phases import Tier
from lgtc_core.schema import build

PARAMS = BatteryParams()
charges = st.floats(0.0, 1.0)


@given(charges, st.floats(0.0, 9.0))
def test_the_loaded_cell_delivers_the_power_asked_for(charge: float, power_w: float) -> None:
    cell = CellModel(PARAMS, charge)
    assert cell.voltage_v(power_w) * cell.current_a(power_w) == pytest.approx(power_w, abs=1e-9)


@given(charges)
def test_a_cell_that_cannot_give_the_power_stays_at_its_maximum_power_point(charge: float) -> None:
    cell = CellModel(PARAMS, charge)
    assert cell.voltage_v(1e4) == pytest.approx(open_circuit_voltage_v(charge) / 2.0)


def test_a_full_cell_hovers_for_the_seven_minutes_of_the_data_sheet() -> None:
    cell, flown_s = CellModel(PARAMS), 0.0
    while cell.charge > 0.0:
        cell.step(0.1, PARAMS.hover_power_w)
        flown_s += 0.1
    assert 6.0 * 60.0 <= flown_s <= 7.5 * 60.0


def test_charge_and_loaded_voltage_never_rise_in_flight() -> None:
    cell = CellModel(PARAMS)
    charge, voltage_v = cell.charge, cell.voltage_v(PARAMS.hover_power_w)
    for _ in range(4_500):
        cell.step(0.1, PARAMS.hover_power_w)
        assert cell.charge <= charge
        assert cell.voltage_v(PARAMS.hover_power_w) <= voltage_v + 1e-12
        charge, voltage_v = cell.charge, cell.voltage_v(PARAMS.hover_power_w)
    assert charge == 0.0


@given(st.floats(0.05, 0.2), st.floats(6.0, 7.7))
def test_a_drone_that_lands_when_told_touches_down_with_3_1_volts(dt_s: float, power_w: float) -> None:
    cell, monitor, now_s = CellModel(PARAMS, 0.2), BatteryMonitor(PARAMS), 0.0
    while monitor.update(now_s, cell.voltage_v(power_w), cell.charge).tier < Tier.LAND:
        cell.step(dt_s, power_w)
        now_s += dt_s
    for _ in range(math.ceil(1.0 / 0.3 / dt_s)):  # one metre at 0.3 m/s
        cell.step(dt_s, power_w)
    assert cell.voltage_v(power_w) >= 3.1


@given(st.floats(0.0, 1.0).filter(lambda c: c < PARAMS.land_charge))
def test_landing_is_ordered_within_a_second_after_the_dwell(charge: float) -> None:
    monitor = BatteryMonitor(PARAMS)
    ordered_s = next(t / 10 for t in range(100) if monitor.update(t / 10, math.nan, charge).tier >= Tier.LAND)
    assert ordered_s <= PARAMS.dwell_s + 0.1


def test_an_emptied_battery_is_critical_within_a_second() -> None:
    monitor = BatteryMonitor(PARAMS)
    monitor.update(0.0, 3.7, 0.8)
    tiers = [monitor.update(0.1 * k, 3.7, 0.0).tier for k in range(1, 11)]
    assert tiers[-1] is Tier.CRITICAL


def test_a_sag_shorter_than_the_dwell_lands_nobody() -> None:
    monitor = BatteryMonitor(PARAMS)
    for k in range(600):
        sagging = k % 50 < 25  # 2.5 s of every 5 s
        view = monitor.update(0.1 * k, 3.3 if sagging else 3.6, 0.5)
        assert view.tier is Tier.OK


@given(st.lists(st.floats(-0.029, 0.029), min_size=50, max_size=100))
def test_noise_within_the_hysteresis_changes_the_tier_at_most_once(noise: list[float]) -> None:
    monitor = BatteryMonitor(PARAMS)
    tiers = [monitor.update(0.5 * k, math.nan, PARAMS.land_charge + n).tier for k, n in enumerate(noise)]
    assert tiers == sorted(tiers)


def test_a_recovered_battery_steps_back_one_tier_per_dwell() -> None:
    monitor = BatteryMonitor(PARAMS)
    for k in range(10):
        monitor.update(k, math.nan, 0.0)
    tiers = [monitor.update(10.0 + 0.5 * k, math.nan, 1.0).tier for k in range(40)]
    assert sorted(tiers, reverse=True) == tiers
    assert set(tiers) == set(Tier)


def test_unknown_readings_decide_nothing() -> None:
    monitor = BatteryMonitor(PARAMS)
    for k in range(100):
        view = monitor.update(k, math.nan, math.nan)
    assert view.tier is Tier.OK
    assert math.isnan(view.time_left_s)


@given(st.floats(0.0005, 0.01))
def test_time_left_is_the_charge_above_the_landing_level_over_the_draw(draw_per_s: float) -> None:
    monitor = BatteryMonitor(PARAMS)
    charge = 0.9
    for k in range(40):
        view = monitor.update(0.5 * k, math.nan, charge)
        charge -= draw_per_s * 0.5
    assert view.time_left_s == pytest.approx((view.state_of_charge - PARAMS.land_charge) / draw_per_s, rel=1e-6)


def test_a_charge_set_by_hand_does_not_count_as_draw() -> None:
    monitor = BatteryMonitor(PARAMS)
    charge = 0.9
    for k in range(40):
        charge = charge - 0.001 if k != 20 else 0.5
        view = monitor.update(0.5 * k, math.nan, charge)
    assert view.time_left_s == pytest.approx((charge - PARAMS.land_charge) / 0.002, rel=1e-6)


@pytest.mark.parametrize(
    ("voltage_v", "charge"), [(-0.1, 0.5), (math.inf, 0.5), (3.7, -0.01), (3.7, 1.01), (3.7, math.inf)]
)
def test_impossible_readings_are_refused_and_change_nothing(voltage_v: float, charge: float) -> None:
    monitor = BatteryMonitor(PARAMS)
    before = monitor.update(0.0, 3.7, 0.5)
    with pytest.raises(InputError):
        monitor.update(0.1, voltage_v, charge)
    assert monitor.update(0.0, 3.7, 0.5) == before


@pytest.mark.parametrize("charge", [-0.1, 1.1, math.nan])
def test_a_cell_refuses_an_impossible_charge(charge: float) -> None:
    with pytest.raises(InputError):
        CellModel(PARAMS).set_charge(charge)


def test_levels_out_of_order_are_refused_with_key_and_numbers() -> None:
    with pytest.raises(ConfigError, match=r"battery\.land_charge: got 0\.5; expected between .* warn_charge"):
        build(BatteryParams, {"land_charge": 0.5}, "fleet.yaml", "battery")


@given(st.lists(st.floats(-0.02, 0.02), min_size=50, max_size=50), st.integers(0, 4))
def test_noise_and_single_readings_that_are_off_do_not_put_the_landing_off(noise: list[float], place: int) -> None:
    monitor = BatteryMonitor(PARAMS)
    below_v = PARAMS.land_voltage_v - 0.021
    for k, n in enumerate(noise):
        reading_v = 3.9 if k % 5 == place else below_v + n  # every fifth reading is far too high
        if monitor.update(0.1 * k, reading_v, math.nan).tier >= Tier.LAND:
            break
    assert 0.1 * k <= PARAMS.dwell_s + 1.0


def test_on_the_way_down_every_tier_comes_in_its_turn_and_the_hand_over_long_before_the_landing() -> None:
    cell, monitor, began_s, now_s = CellModel(PARAMS, 0.4), BatteryMonitor(PARAMS), {}, 0.0
    while monitor.update(now_s, cell.voltage_v(PARAMS.hover_power_w), cell.charge).tier < Tier.CRITICAL:
        began_s.setdefault(monitor.update(now_s, cell.voltage_v(PARAMS.hover_power_w), cell.charge).tier, now_s)
        cell.step(0.1, PARAMS.hover_power_w)
        now_s += 0.1
    assert list(began_s) == [Tier.OK, Tier.WARN, Tier.HAND_OVER, Tier.LAND]
    assert began_s[Tier.LAND] - began_s[Tier.HAND_OVER] >= 15.0


@pytest.mark.parametrize(
    ("voltage_v", "charge", "may"),
    [(3.9, 0.34, False), (3.9, 0.36, True), (3.74, 0.9, False), (3.76, 0.9, True), (math.nan, 0.36, True)],
)
def test_nothing_takes_off_below_the_arming_level(voltage_v: float, charge: float, may: bool) -> None:
    monitor = BatteryMonitor(PARAMS)
    assert monitor.update(0.0, voltage_v, charge).may_take_off is may


def test_a_charged_cell_may_take_off_again_and_not_before() -> None:
    cell, monitor = CellModel(PARAMS, 0.05), BatteryMonitor(PARAMS)
    allowed_at = []
    for k in range(2000):
        cell.fill(1.0, 0.5)
        if monitor.update(float(k), cell.charging_voltage_v(0.5), cell.charge).may_take_off:
            allowed_at.append(cell.charge)
    assert PARAMS.arm_levels[1] <= allowed_at[0] <= PARAMS.arm_levels[1] + 0.01
    assert cell.charge == 1.0


@given(charges, st.floats(0.0, 1.0), st.floats(0.1, 100.0))
def test_what_a_charger_puts_in_is_current_by_time_until_the_cell_is_full(c: float, a: float, dt_s: float) -> None:
    cell = CellModel(PARAMS, c)
    cell.fill(dt_s, a)
    assert cell.charge == pytest.approx(min(1.0, c + a * dt_s / 3.6 / PARAMS.capacity_mah))


def test_arming_below_the_landing_level_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"battery\.arm_charge: got 0\.1; expected above land_charge \(0\.12\)"):
        build(BatteryParams, {"arm_charge": 0.1}, "fleet.yaml", "battery")
