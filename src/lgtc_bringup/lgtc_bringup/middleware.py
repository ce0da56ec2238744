"""How the processes of a flight find each other: on this host alone, and by nothing that a killed one leaves locked.

Fast DDS's shared memory is guarded by locks that a process killed by SIGKILL may hold for ever; whoever writes to the
same reader then waits for up to a second (docs/processes.md). ROS's own range LOCALHOST always includes it. So the
flight uses UDP on the loopback interface, by a profile of the middleware; processes with LOCALHOST or with ROS's
defaults hear them and are heard.
"""

from __future__ import annotations

from collections.abc import Mapping

from lgtc_bringup.inputs import home

RANGE, PROFILES, IMPLEMENTATION = (
    "ROS_AUTOMATIC_DISCOVERY_RANGE",
    "FASTRTPS_DEFAULT_PROFILES_FILE",
    "RMW_IMPLEMENTATION",
)
PROFILE = "config/loopback.xml"
_FAST_DDS = ("", "rmw_fastrtps_cpp", "rmw_fastrtps_dynamic_cpp")
_CHOICES = (RANGE, PROFILES, "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER")
"""A user who sets one of these has decided how to be found."""


def on_this_host(own: Mapping[str, str]) -> dict[str, str]:
    """Variables by which a flight stays on this host; `own`: the user's environment."""
    if own.get(IMPLEMENTATION, "") in _FAST_DDS and not any(name in own for name in _CHOICES):
        return {RANGE: "SYSTEM_DEFAULT", PROFILES: str(home() / PROFILE)}
    return {RANGE: "LOCALHOST"}
