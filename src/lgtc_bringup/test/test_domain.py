"""A ROS domain belongs to one flight at a time."""

import subprocess
import sys

import pytest

from lgtc_bringup.domain import claimed
from lgtc_core.errors import ConfigError

HOLD = "from lgtc_bringup.domain import claimed\nwith claimed():\n    print('held', flush=True)\n    input()\n"


def test_two_flights_in_one_domain_are_refused_and_in_two_are_not(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "test-a")
    with claimed():
        with pytest.raises(ConfigError, match="another flight"), claimed():
            pass
        monkeypatch.setenv("ROS_DOMAIN_ID", "test-b")
        with claimed():
            pass


def test_a_killed_flight_gives_its_domain_back(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "test-c")
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError), claimed():
            pass
        other.kill()
        other.wait()
        with claimed():
            pass
