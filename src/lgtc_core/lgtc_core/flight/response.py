"""How a vehicle follows velocities. One statement that three must share: the pilot smooths what it streams by the lag,
the guard reckons with lag, latency and error (guarantee.py), and the pre-flight gate says for which vehicle they hold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from lgtc_core.schema import Bounds

if TYPE_CHECKING:
    from lgtc_core.flight.guard import GuardParams
    from lgtc_core.loop.flyer import FlyerParams


COMMAND_PERIOD = Bounds(0.01, 0.05, "s")
"""Of a command period: between 100 Hz, the rate of motion capture, and 20 Hz, the policy's."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """Hypotheses about a vehicle that is given smooth setpoints."""

    latency_s: Annotated[float, Bounds(0.0, 1.0, "s"), "Longest time from a safe command to its effect"] = 0.02
    velocity_lag_s: Annotated[
        float, Bounds(0.0, 2.0, "s"), "Time constant with which a velocity is followed; setpoints are smoothed by it"
    ] = 0.0
    velocity_error_mps: Annotated[
        float, Bounds(0.0, 1.0, "m/s"), "How much the velocity may otherwise differ from the command"
    ] = 0.02


def with_response(params: GuardParams, command_period_s: float, *responses: Response) -> GuardParams:
    """The guard's parameters for these vehicles, which are commanded so often: of each hypothesis the worst."""
    return replace(
        params,
        rate_hz=min(params.rate_hz, 1.0 / command_period_s),
        latency_s=max(params.latency_s, *(response.latency_s for response in responses)),
        velocity_lag_s=max(params.velocity_lag_s, *(response.velocity_lag_s for response in responses)),
        velocity_error_mps=max(params.velocity_error_mps, *(response.velocity_error_mps for response in responses)),
    )


def with_smoothing(params: FlyerParams, command_period_s: float, response: Response) -> FlyerParams:
    """The vehicle adapter's parameters for a vehicle: its pilot smooths by the vehicle's lag at least."""
    lag_s = max(params.pilot.velocity_lag_s, response.velocity_lag_s)
    rate_hz = min(params.pilot.rate_hz, 1.0 / command_period_s)
    return replace(params, pilot=replace(params.pilot, velocity_lag_s=lag_s, rate_hz=rate_hz))
