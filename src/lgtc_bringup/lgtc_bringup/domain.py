"""One flight per ROS domain: two simulators in one domain would be two clocks and two of every drone."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from lgtc_core.errors import ConfigError

VARIABLE = "ROS_DOMAIN_ID"


def refusal() -> ConfigError:
    """The error for a domain in which another flight is on."""
    domain = os.environ.get(VARIABLE, "0")
    return ConfigError(VARIABLE, "", f"{domain}, where another flight is on", "a domain of its own, 0 to 101")


@contextmanager
def claimed() -> Iterator[None]:
    """Hold this process's ROS domain among all `lgtc` of this machine, until the block or the process ends.

    A name in Linux's abstract socket namespace: no file is left behind, and it holds at once, where the discovery of
    another flight's nodes may take seconds on a busy machine.

    Raises:
        ConfigError: another `lgtc` holds it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
        try:
            claim.bind(f"\0lgtc/domain/{os.environ.get(VARIABLE, '0')}")
        except OSError:
            raise refusal() from None
        yield
