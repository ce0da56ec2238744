"""What one drone carries, offers and has left: battery and supplies in, resource state and delivery requests out.

Serves, so that its 0-depletion supply counts inside a disc and it releases instantaneous ones, while

    the mission is ACTIVE  and  the vehicle is HOLDING or FLYING  and  its own position is fresh
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from lgtc_core.demand.account import Load, Offer, SupplyAccount, SupplyAnswer
from lgtc_core.demand.view import DemandView
from lgtc_core.fleet.team import DroneSpec
from lgtc_core.flight.battery import BatteryMonitor
from lgtc_core.flight.phases import MissionPhase, VehiclePhase
from lgtc_core.schema import Bounds
from lgtc_core.wire import UNKNOWN_M, BatteryReading, MissionReport, Pose, Resources, VehicleReport


@dataclass(frozen=True, kw_only=True)
class CarrierParams:
    """How a resource monitor treats what it hears."""

    pose_lifetime_s: Annotated[float, Bounds(0.05, 10.0, "s"), "Age at which the own position counts as unknown"] = 0.5
    retry_s: Annotated[float, Bounds(0.05, 60.0, "s"), "A delivery without an answer is repeated after this"] = 0.5


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
        serving = (
            fresh
            and self._mission is MissionPhase.ACTIVE
            and self._vehicle in (VehiclePhase.HOLDING, VehiclePhase.FLYING)
        )
        battery = self._monitor.update(now_s, self._voltage_v, self.account.battery(math.nan))
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
        )
        return Carried(resources, offers)
