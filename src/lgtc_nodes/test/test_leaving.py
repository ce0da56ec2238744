"""A process that hangs while it is taken down ends all the same, in time, with its own exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest

HANGS_WITH_THE_LOCK = "ctypes.PyDLL(None).usleep(60_000_000)"  # PyDLL keeps the interpreter's lock
HANGS_WITHOUT = "time.sleep(60.0)"


def ended(inside: str, code: int, limit_s: float = 0.6) -> subprocess.CompletedProcess[str]:
    program = f"""
import ctypes, os, time
from lgtc_nodes.leaving import ends_within
with ends_within({limit_s}, {code}):
    {inside}
time.sleep(1.0)
os._exit(7)
"""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30.0, check=False
    )  # fmt: skip


@pytest.mark.parametrize("code", [0, 2])
@pytest.mark.parametrize("hang", [HANGS_WITH_THE_LOCK, HANGS_WITHOUT])
def test_what_hangs_is_told_with_its_stack_and_left_with_the_code(hang: str, code: int) -> None:
    process = ended(hang, code)
    assert process.returncode == code, process.stderr
    assert "most recent call first" in process.stderr


def test_what_ends_in_time_goes_on_undisturbed() -> None:
    process = ended("pass", 0)
    assert (process.returncode, process.stderr) == (7, "")
