"""What one drone carries, offers and has left: battery and supplies in, resource state and delivery requests out.

Serves, so that its 0-depletion supply counts inside a disc and it releases instantaneous ones, while

    the mission is ACTIVE  and  the vehicle is HOLDING or FLYING  and  its own position is fresh

At the battery's hand-over level it announces that it leaves: what it carries no longer counts for the others, while it
stays and serves. It asks to land once it is relieved, that is, once for `relieved_s`

    no disc in which it serves misses anything without it

and at the landing level in any case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

from lgtc_core.demand.account import Load, Offer, SupplyAccount, SupplyAnswer
from lgtc_core.demand.view import NEGLIGIBLE_AMOUNT, DemandView
from lgtc_core.fleet.team import DroneSpec
from lgtc_core.flight.battery import BatteryMonitor, BatteryView
from lgtc_core.flight.phases import MissionPhase, Tier, VehiclePhase
from lgtc_core.schema import Bounds
from lgtc_core.wire import UNKNOWN_M, BatteryReading, MissionReport, Pose, Resources, VehicleReport
from lgtc_core.world import rules

_ACTIVE, _HAND_OVER = MissionPhase.ACTIVE, Tier.HAND_OVER


@dataclass(frozen=True, kw_only=True)
class CarrierParams:
    """How a resource monitor treats what it hears."""

    pose_lifetime_s: Annotated[float, Bounds(0.05, 10.0, "s"), "Age at which the own position counts as unknown"] = 0.5
    retry_s: Annotated[float, Bounds(0.05, 60.0, "s"), "A delivery without an answer is repeated after this"] = 0.5
    relieved_s: Annotated[
        float, Bounds(0.0, 60.0, "s"), "A drone that hands over lands once nobody has needed it for this long"
    ] = 1.0


class Carried(NamedTuple):
    """Result of one tick."""

    resources: Resources
    offers: list[Offer]
    """Delivery requests to send now; new ones and repetitions."""


class Carrier:
    """Resource monitor of one drone, without ROS.

    Args:
        drone: the drone, its battery and what it sets out with.
        kinds: names of the r resource kinds.
        session: makes request ids unique between starts, e.g. the start time.
        reported: the demand server's ledger keeps count of what is put in.
    """

    def __init__(
        self,
        drone: DroneSpec,
        kinds: tuple[str, ...],
        session: str,
        params: CarrierParams | None = None,
        reported: bool = False,
    ) -> None:
        self.params = params or CarrierParams()
        self.kinds = kinds
        self.account = SupplyAccount(drone, kinds, session, self.params.retry_s, reported)
        self._monitor = BatteryMonitor(drone.battery)
        self._voltage_v = math.nan
        self._pose: Pose | None = None
        self._demand: DemandView | None = None
        self._mission: MissionPhase | None = None
        self._vehicle: VehiclePhase | None = None
        self._needed_s: float | None = None
        """When it was needed last since it announced to leave; None: it has not."""
        self._relieved = False

    def pose(self, pose: Pose) -> None:
        """Own pose."""
        self._pose = pose

    def battery(self, reading: BatteryReading) -> None:
        """Reading of the vehicle's battery."""
        self._voltage_v = reading.voltage_v
        self.account.battery(reading.state_of_charge)

    def demand(self, view: DemandView) -> None:
        """What is asked for."""
        self._demand = view

    def mission(self, report: MissionReport) -> None:
        """What the team is to do."""
        self._mission = report.phase

    def vehicle(self, report: VehicleReport) -> None:
        """Where the vehicle is between the ground and the ground."""
        self._vehicle = report.phase

    def set_supply(self, kind: str, amount: float) -> SupplyAnswer:
        """Set by hand what is carried of one kind."""
        return self.account.set_supply(kind, amount)

    def settle(self, request_id: str, amount: float) -> None:
        """The demand server's answer to an offer."""
        self.account.settle(request_id, amount)

    def loads(self, now_s: float) -> list[Load]:
        """What the ledger is to be told was put in; new ones and repetitions."""
        return self.account.loads(now_s)

    def loaded(self, request_id: str, accepted: bool, carried: float) -> None:
        """The demand server's answer to a load."""
        self.account.loaded(request_id, accepted, carried)

    def tick(self, now_s: float) -> Carried:
        """The resource state at `now_s`, and what to offer.

        Raises:
            InputError: a battery reading that no cell can have; nothing was offered.
        """
        pose = self._pose
        fresh = pose is not None and now_s - pose.stamp_s <= self.params.pose_lifetime_s
        vehicle = self._vehicle
        serving = fresh and self._mission is _ACTIVE and vehicle is not None and vehicle.on_mission
        battery = self._monitor.update(now_s, self._voltage_v, self.account.charge)
        battery = self._handed_over(now_s, battery, serving)
        offers: list[Offer] = []
        if self._demand is not None:
            here_m = pose.position_m[:2] if serving and pose is not None else None
            offers = self.account.offers(now_s, here_m, self._demand)
        resources = Resources(
            stamp_s=now_s,
            kinds=self.kinds,
            supply=self.account.supply,
            position_m=pose.position_m if fresh and pose is not None else UNKNOWN_M,
            serving=serving,
            voltage_v=battery.voltage_v,
            state_of_charge=battery.state_of_charge,
            time_left_s=battery.time_left_s,
            tier=battery.tier,
            reason=battery.reason,
            may_take_off=battery.may_take_off,
        )
        return Carried(resources, offers)

    def _handed_over(self, now_s: float, battery: BatteryView, serving: bool) -> BatteryView:
        """The battery's view; at its hand-over level that of a drone that lands, once it is relieved."""
        if battery.tier < _HAND_OVER:
            self._needed_s, self._relieved = None, False
            return battery
        if battery.tier is _HAND_OVER and not self._relieved:
            if self._needed_s is None or not serving or self._is_needed():
                self._needed_s = now_s
            self._relieved = now_s - self._needed_s >= self.params.relieved_s
        if battery.tier is _HAND_OVER and self._relieved:
            return battery._replace(tier=Tier.LAND, reason=f"relieved; {battery.reason}")
        return battery

    def _is_needed(self) -> bool:
        """Whether a disc in which this drone serves misses without it what it carries; also while nobody says."""
        if self._demand is None:
            return True
        carried = self.account.supply > NEGLIGIBLE_AMOUNT
        for consumer in self._demand.consumers:
            if self.account.drone in consumer.servers:
                missing = (consumer.remaining > NEGLIGIBLE_AMOUNT) & (consumer.depletion == rules.ZERO_DEPLETION)
                if self.account.drone not in consumer.leaving or np.any(missing & carried):
                    return True
        return False
