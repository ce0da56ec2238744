"""The pilot of one drone: which phase it is in, and what to order its vehicle now.

    GROUNDED -> TAKING_OFF -> HOLDING <-> FLYING -> LANDING -> LANDED

with short cuts from every phase in the air to LANDING, and to FAILED where the vehicle does not do as told.

What lands a drone: the mission (LAND, ABORT, DONE), a silent supervisor, the battery's tier, an operator, a lost own
pose, a safety filter that stays silent. What only makes it hold: a safe command that is late, a mission that is not
ACTIVE. A drone that has landed takes off again only where the scenario lets drones rejoin, once its battery holds
enough, nobody is above it and the mission goes on; one that an operator landed never does. A pilot that was itself
silent for `stall_s` lands too, as its stand-in (loop/stand_in.py) is about to: it leaves the drone to it until it knows
again where everybody is, and then looks for a free place like any other. One that finds the drone sinking, or still
knows nothing `blind_s` after its last setpoint, descends where it is.

Facts of the Crazyflie's firmware that decide the order of things: streamed setpoints outrank the high-level commander
until `notify_setpoints_stop`, so landing is NOTIFY_STOP and then LAND; 0.5 s without a setpoint it levels out and
after 2.0 s cuts its motors, so from the end of the take-off until NOTIFY_STOP every call answers STREAM.

A drone that is to land first follows the safe command to a free place (the guard knows where the others are) and
descends once that command stands still and nobody stands or flies lower there. Where there is little time (battery
critical) it only steps aside from others, for `haste_s`: it would otherwise come down on whom it relieved. It descends
at once where there is nothing to follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.flight import flight_memory
from lgtc_core.flight.command import SafeCommand
from lgtc_core.flight.flight_memory import Memory
from lgtc_core.flight.phases import GROUNDED_HEIGHT_M, HASTE, MissionPhase, SafetyMode, Tier, VehiclePhase
from lgtc_core.flight.reference import Reference, Setpoint
from lgtc_core.schema import Bounds
from lgtc_core.world.arena import Arena

Array = npt.NDArray[np.float64]

_TIME = Bounds(0.0, 600.0, "s")


class Action(Enum):
    """What to order the vehicle."""

    NONE = "none"
    ARM = "arm"
    TAKE_OFF = "take_off"
    STREAM = "stream"
    """Send the setpoint."""
    NOTIFY_STOP = "notify_stop"
    LAND = "land"


@dataclass(frozen=True, kw_only=True)
class PilotParams:
    """Parameters of the vehicle adapter."""

    rate_hz: Annotated[float, Bounds(10.0, 500.0, "Hz"), "How often the pilot decides and streams a setpoint"] = 50.0
    leash_m: Annotated[
        float, Bounds(0.01, 5.0, "m"), "Largest distance of the position reference from the measured position"
    ] = 0.3
    velocity_lag_s: Annotated[
        float, Bounds(0.0, 2.0, "s"), "Time constant by which the streamed reference is smoothed: the vehicle's own"
    ] = 0.0
    height_tolerance_m: Annotated[
        float, Bounds(0.01, 1.0, "m"), "This close to the flight height the take-off is complete"
    ] = 0.1
    grounded_height_m: Annotated[float, Bounds(0.0, 1.0, "m"), "A drone below this height stands on the ground"] = (
        GROUNDED_HEIGHT_M
    )
    arm_settle_s: Annotated[float, _TIME, "Time between arming and take-off"] = 0.2
    retry_s: Annotated[float, _TIME, "An order without effect is given again after this"] = 1.0
    take_off_timeout_s: Annotated[float, _TIME, "A take-off that takes longer ends in landing"] = 15.0
    land_timeout_s: Annotated[float, _TIME, "A descent that takes longer has failed"] = 20.0
    place_timeout_s: Annotated[float, _TIME, "Longest search for a free place before the descent"] = 6.0
    place_limit_s: Annotated[float, _TIME, "The same while another drone stands or flies below"] = 10.0
    haste_s: Annotated[float, _TIME, "The same with a critical battery"] = 1.2
    place_settle_s: Annotated[float, _TIME, "The safe command must stand still for so long before the descent"] = 0.3
    place_speed_mps: Annotated[float, Bounds(0.0, 1.0, "m/s"), "Slower than this over ground it stands still"] = 0.05
    rejoin_settle_s: Annotated[
        float, _TIME, "A charged drone waits so long, with nobody above it all the time, before it rejoins"
    ] = 2.0
    touchdown_s: Annotated[float, _TIME, "Time on the ground after which a landing is complete"] = 0.3
    command_timeout_s: Annotated[float, _TIME, "Age of the safe command at which the drone holds"] = 0.25
    command_lost_s: Annotated[float, _TIME, "Time without a fresh safe command after which the drone lands"] = 2.0
    pose_lost_s: Annotated[float, _TIME, "Time without a fresh pose after which the drone lands"] = 1.0
    stall_s: Annotated[
        float, _TIME, "A pilot that was itself silent for so long lands: its stand-in is about to, or has begun"
    ] = 0.9
    blind_s: Annotated[
        float,
        _TIME,
        "So long after its last setpoint it descends without knowing where others are: the motors stop after 2.0 s",
    ] = 1.5


class Order(NamedTuple):
    """What to do now."""

    action: Action
    setpoint: Setpoint | None
    """With STREAM."""
    phase: VehiclePhase
    reason: str
    """Why it is in this phase, one sentence; empty: by the mission's order."""


class Pilot:
    """Phases of one drone. Ask `update` at `params.rate_hz`; do what it answers.

    Args:
        arena: for the flight height.
        params: times and tolerances.
        rejoins: whether a drone that is charged takes off in mid-mission.
        memory: where it is kept what it knows; without, it has its own.
        i: row of `memory`.
    """

    def __init__(
        self, arena: Arena, params: PilotParams, rejoins: bool = False, memory: Memory | None = None, i: int = 0
    ) -> None:
        self.arena, self.params, self.rejoins = arena, params, rejoins
        self.phase = VehiclePhase.GROUNDED
        self.reason = ""
        self._memory, self._i = memory or flight_memory.empty_memory(1), i
        for limits in ("command_timeout_s", "stall_s", "grounded_height_m", "leash_m", "velocity_lag_s"):
            getattr(self._memory, limits)[i] = getattr(params, limits)
        self._level_m = arena.flight_height_m - params.height_tolerance_m
        rows = self._memory.reference_m[i], self._memory.reference_mps[i]
        self._reference = Reference(params.leash_m, params.velocity_lag_s, *rows)
        self._requested: str | None = None
        self._at_once = False
        self._entered_s = 0.0
        self._silent_since_s: float | None = None  # last setpoint of a pilot that was silent and does not look yet
        self._ordered: tuple[Action, float, float] | None = None  # action, when, height then
        self._down_since_s: float | None = None
        self._placing_since_s: float | None = None  # of the search for a free place; None: descending, or not landing
        self._still_since_s = 0.0
        self._charged_since_s: float | None = None  # of a drone that waits to rejoin; None: it may not

    def land(self, reason: str) -> None:
        """An operator's order to land; carried out by the next `update`. On the ground: never take off."""
        self._requested = reason
        self._memory.flies[self._i] = False

    def take_over(self, now_s: float, reference_m: Array | None, reason: str) -> None:
        """Go on where another pilot stopped.

        Args:
            now_s: time [s].
            reference_m: the position reference that it streamed last (3,), frame "world" [m]: held from now on. None:
                it streamed none, as the firmware was taking off or landing: land.
            reason: why, one sentence.
        """
        self._memory.pose_seen_s[self._i] = self._memory.command_seen_s[self._i] = now_s
        if reference_m is None:
            self._enter(now_s, VehiclePhase.TAKING_OFF, reason)
            self.land(reason)
        else:
            self._reference.reset(reference_m)
            self._enter(now_s, VehiclePhase.HOLDING, reason)

    def descend(self, reason: str) -> None:
        """Land where the drone is, at once; carried out by the next `update`. Nothing if it is down or sinking."""
        if self.phase is not VehiclePhase.LANDING or self._placing_since_s is not None:
            self.land(reason)
            self._at_once = True

    def update(
        self,
        now_s: float,
        mission: MissionPhase | None,
        tier: Tier,
        position_m: Array | None,
        command: SafeCommand | None,
        may_take_off: bool = True,
    ) -> Order:
        """What to order now.

        Args:
            now_s: time [s].
            mission: phase of the mission; None: the supervisor is silent.
            tier: what the battery asks.
            position_m: measured position (3,), frame "world" [m]; None: no fresh one.
            command: newest safe command; None: none yet.
            may_take_off: whether the battery holds enough for a take-off.
        """
        memory, i = self._memory, self._i
        last_s = float(memory.updated_s[i])
        dt_s = 0.0 if math.isnan(last_s) else max(0.0, now_s - last_s)
        memory.updated_s[i] = now_s
        order = self._update(now_s, dt_s, mission, tier, position_m, command, may_take_off)
        noticed = self._requested, self._silent_since_s, self._down_since_s
        memory.flies[i] = self.phase is VehiclePhase.FLYING and noticed == (None, None, None)
        return order

    def _update(
        self,
        now_s: float,
        dt_s: float,
        mission: MissionPhase | None,
        tier: Tier,
        position_m: Array | None,
        command: SafeCommand | None,
        may_take_off: bool,
    ) -> Order:
        """`update`, `dt_s` after the last one."""
        if dt_s >= self.params.stall_s and self.phase.airborne:
            self._silent_since_s = now_s - dt_s if self._silent_since_s is None else self._silent_since_s
        if position_m is not None:
            self._memory.pose_seen_s[self._i] = now_s
        fresh = command if self._is_fresh(now_s, command) else None
        if fresh is not None:
            self._memory.command_seen_s[self._i] = now_s
        if self._silent_since_s is not None and not self._awake(now_s, self._silent_since_s, position_m, fresh):
            return self._order(Action.NONE)
        if self.phase is VehiclePhase.GROUNDED and mission is MissionPhase.TAKE_OFF:
            return self._on_ground(now_s, tier, position_m, may_take_off)
        if self.phase in (VehiclePhase.GROUNDED, VehiclePhase.LANDED):
            ready = may_take_off and tier < Tier.LAND and fresh is not None and fresh.clear_above
            return self._rejoining(now_s, mission, ready, position_m)
        if self.phase is VehiclePhase.FAILED:
            return self._order(Action.NONE)
        if self.phase is VehiclePhase.LANDING:
            if self._placing_since_s is not None:
                return self._placing(now_s, dt_s, tier, position_m, fresh)
            return self._landing(now_s, position_m)
        must_land = self._must_land(now_s, mission, tier, command)
        if must_land is not None:
            if self.phase is VehiclePhase.TAKING_OFF:
                return self._begin_landing(now_s, must_land)
            if self._at_once:
                return self._begin_landing(now_s, must_land)
            self._enter(now_s, VehiclePhase.LANDING, must_land)
            self._placing_since_s = self._still_since_s = now_s
            return self._placing(now_s, dt_s, tier, position_m, fresh)
        if self.phase is VehiclePhase.TAKING_OFF:
            return self._taking_off(now_s, position_m)
        return self._in_the_air(now_s, dt_s, mission, position_m, fresh)

    def _awake(self, now_s: float, since_s: float, position_m: Array | None, fresh: SafeCommand | None) -> bool:
        """Whether a pilot that was silent knows how to land; until then its stand-in, if any, has the drone."""
        silent_s = now_s - since_s
        if self.phase is VehiclePhase.TAKING_OFF or (position_m is not None and position_m[2] < self._level_m):
            self.descend(f"its own pilot was silent for {silent_s:.1f} s")
        elif position_m is not None and fresh is not None:
            self.land(f"its own pilot was silent for {silent_s:.1f} s")
        elif silent_s >= self.params.blind_s:
            self.descend(f"its own pilot was silent, and knows nothing for {silent_s:.1f} s")
        else:
            return False
        self._silent_since_s = None
        return True

    def _is_fresh(self, now_s: float, command: SafeCommand | None) -> bool:
        return command is not None and now_s - command.stamp_s <= self.params.command_timeout_s

    def _must_land(
        self, now_s: float, mission: MissionPhase | None, tier: Tier, command: SafeCommand | None
    ) -> str | None:
        """Why a drone in the air must land now: a sentence, '' where the mission says so, None where it need not."""
        p = self.params
        unseen_s = now_s - float(self._memory.pose_seen_s[self._i])
        unheard_s = now_s - float(self._memory.command_seen_s[self._i])
        if self._requested is not None:
            return self._requested
        if tier >= Tier.LAND:
            return HASTE if tier is Tier.CRITICAL else f"battery: {tier.name.lower()}"
        if mission is None:
            return "the supervisor is silent"
        if mission in (MissionPhase.LAND, MissionPhase.ABORT, MissionPhase.DONE):
            return ""
        if unseen_s > p.pose_lost_s:
            return f"no pose for {unseen_s:.2f} s"
        if self.phase is VehiclePhase.TAKING_OFF:
            return None
        if command is not None and command.mode is SafetyMode.POSE_LOST:
            return f"pose lost: {command.reason}"
        if mission is MissionPhase.ACTIVE and unheard_s > p.command_lost_s:
            return f"no safe command for {unheard_s:.1f} s"
        return None

    def _on_ground(self, now_s: float, tier: Tier, position_m: Array | None, may_take_off: bool) -> Order:
        if position_m is None:
            return self._order(Action.NONE)
        if self._requested is not None or tier >= Tier.LAND or not may_take_off:
            low = tier.name.lower() if tier >= Tier.LAND else "below its arming level"
            self.reason = self._requested or f"not taking off, battery: {low}"
            return self._order(Action.NONE)
        self._enter(now_s, VehiclePhase.TAKING_OFF, "")
        return self._give(now_s, Action.ARM, float(position_m[2]))

    def _rejoining(self, now_s: float, mission: MissionPhase | None, ready: bool, position_m: Array | None) -> Order:
        """On the ground in mid-mission: take off (again) once `ready` has held for `rejoin_settle_s`."""
        allowed = self.rejoins and self._requested is None and mission is MissionPhase.ACTIVE
        if not (allowed and ready) or position_m is None:
            self._charged_since_s = None
            return self._order(Action.NONE)
        if self._charged_since_s is None:
            self._charged_since_s = now_s
        if now_s - self._charged_since_s < self.params.rejoin_settle_s:
            return self._order(Action.NONE)
        self._charged_since_s = None
        self._enter(now_s, VehiclePhase.TAKING_OFF, "")
        return self._give(now_s, Action.ARM, float(position_m[2]))

    def _taking_off(self, now_s: float, position_m: Array | None) -> Order:
        if position_m is None or self._ordered is None:
            return self._order(Action.NONE)
        height_m = float(position_m[2])
        if height_m >= self._level_m:
            self._reference.reset(np.array([position_m[0], position_m[1], self.arena.flight_height_m]))
            self._enter(now_s, VehiclePhase.HOLDING, "")
            self._memory.command_seen_s[self._i] = now_s
            return self._order(Action.STREAM, self._reference.advance(np.zeros(3), 0.0, position_m))
        if now_s - self._entered_s > self.params.take_off_timeout_s:
            return self._begin_landing(now_s, f"at {height_m:.2f} m when the take-off should have been complete")
        action, when_s, then_m = self._ordered
        if action is Action.ARM and now_s - when_s >= self.params.arm_settle_s:
            return self._give(now_s, Action.TAKE_OFF, height_m)
        if action is Action.TAKE_OFF and now_s - when_s >= self.params.retry_s:
            if height_m - then_m < 0.5 * self.params.height_tolerance_m:
                return self._give(now_s, Action.ARM, height_m)  # it did not rise: armed and told again
            self._ordered = (action, now_s, height_m)
        return self._order(Action.NONE)

    def _in_the_air(
        self,
        now_s: float,
        dt_s: float,
        mission: MissionPhase | None,
        position_m: Array | None,
        fresh: SafeCommand | None,
    ) -> Order:
        if self._is_down(now_s, position_m):
            self._enter(now_s, VehiclePhase.FAILED, "on the ground without an order to land")
            return self._order(Action.NONE)
        follows = mission is MissionPhase.ACTIVE and fresh is not None
        if follows and self.phase is VehiclePhase.HOLDING:
            self._enter(now_s, VehiclePhase.FLYING, "")
        elif not follows and self.phase is VehiclePhase.FLYING:
            late = "the safe command is late" if mission is MissionPhase.ACTIVE else "the mission is not active"
            self._enter(now_s, VehiclePhase.HOLDING, late)
        velocity_mps = fresh.velocity_mps if follows and fresh is not None else np.zeros(3)
        return self._order(Action.STREAM, self._reference.advance(velocity_mps, dt_s, position_m))

    def _placing(
        self, now_s: float, dt_s: float, tier: Tier, position_m: Array | None, fresh: SafeCommand | None
    ) -> Order:
        """Follow the safe command until it stands still over a free place, then descend."""
        since_s = now_s if self._placing_since_s is None else self._placing_since_s
        if tier is Tier.CRITICAL and not self.reason.startswith(HASTE):
            self.reason, self._placing_since_s, since_s = HASTE, now_s, now_s
        free = fresh is None or fresh.clear_below
        patient_s = self.params.place_timeout_s if free else self.params.place_limit_s
        limit_s = self.params.haste_s if tier is Tier.CRITICAL else patient_s
        at_once = self._at_once or position_m is None or fresh is None
        if fresh is not None and np.hypot(fresh.velocity_mps[0], fresh.velocity_mps[1]) > self.params.place_speed_mps:
            self._still_since_s = now_s
        settled = now_s - self._still_since_s >= self.params.place_settle_s
        if at_once or (settled and free) or now_s - since_s >= limit_s:
            self._placing_since_s = None
            return self._begin_landing(now_s, self.reason)
        velocity_mps = np.zeros(3) if fresh is None else fresh.velocity_mps
        return self._order(Action.STREAM, self._reference.advance(velocity_mps, dt_s, position_m))

    def _begin_landing(self, now_s: float, reason: str) -> Order:
        streamed = self.phase is not VehiclePhase.TAKING_OFF
        self._enter(now_s, VehiclePhase.LANDING, reason)
        self._ordered = None
        return self._order(Action.NOTIFY_STOP) if streamed else self._landing(now_s, None)

    def _landing(self, now_s: float, position_m: Array | None) -> Order:
        height_m = np.inf if position_m is None else float(position_m[2])
        if self._ordered is None:
            return self._give(now_s, Action.LAND, height_m)
        if self._is_down(now_s, position_m):
            self._enter(now_s, VehiclePhase.LANDED, self.reason)
            return self._order(Action.NONE)
        if now_s - self._entered_s > self.params.land_timeout_s:
            if position_m is None:  # the firmware has landed by its own estimate, as far as anybody can know
                self._enter(now_s, VehiclePhase.LANDED, "landed without pose")
            else:
                self._enter(now_s, VehiclePhase.FAILED, f"still at {height_m:.2f} m when it should have landed")
            return self._order(Action.NONE)
        _, when_s, then_m = self._ordered
        if now_s - when_s >= self.params.retry_s:
            if position_m is not None and then_m - height_m < 0.5 * self.params.height_tolerance_m:
                self._ordered = None  # it did not sink: both orders again, as either may have been lost
                return self._order(Action.NOTIFY_STOP)
            self._ordered = (Action.LAND, now_s, height_m)
        return self._order(Action.NONE)

    def _is_down(self, now_s: float, position_m: Array | None) -> bool:
        """Whether the drone has been on the ground for `touchdown_s`."""
        if position_m is None or position_m[2] >= self.params.grounded_height_m:
            self._down_since_s = None
            return False
        if self._down_since_s is None:
            self._down_since_s = now_s
        return now_s - self._down_since_s >= self.params.touchdown_s

    def _enter(self, now_s: float, phase: VehiclePhase, reason: str) -> None:
        self.phase, self.reason, self._entered_s, self._down_since_s = phase, reason, now_s, None
        self._memory.phase[self._i] = phase

    def _give(self, now_s: float, action: Action, height_m: float) -> Order:
        """An order that is remembered, so that it can be given again if it has no effect."""
        self._ordered = (action, now_s, height_m)
        return self._order(action)

    def _order(self, action: Action, setpoint: Setpoint | None = None) -> Order:
        return Order(action, setpoint, self.phase, self.reason)
