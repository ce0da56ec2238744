"""The demand server as a process: killed at random under load, nothing is lost and nothing counts twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros

TRIAL = Path(__file__).parents[3] / "bench" / "ledger_kills.py"


@pytest.mark.parametrize("options", [[], ["--standbys", "1"]])
def test_nothing_is_lost_or_doubled_when_the_server_is_killed_under_load(
    options: list[str], ros_domain: int, tmp_path: Path
) -> None:
    command = [sys.executable, str(TRIAL), "--kills", "5", "--folder", str(tmp_path), "--domain", str(ros_domain)]
    command += options
    trial = subprocess.run(command, capture_output=True, text=True, timeout=200)
    logs = "".join(path.read_text()[-2000:] for path in tmp_path.glob("*/server-*.log"))
    assert trial.returncode == 0, trial.stdout + trial.stderr + logs
    figures = json.loads(trial.stdout)
    assert figures["kills"] == 5
    assert figures["requests answered"] >= 10
    assert figures["requests repeated after silence"] >= 5, "the kills were felt"
