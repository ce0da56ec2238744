"""A model whose card fits the shipped fleet and scenarios, for tests that look at cards and plans but do not fly."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lgtc_bringup import inputs
from lgtc_core.fleet.team import Team, load_team
from lgtc_core.mind.card import POLICY_FILE, write_card

sys.path.insert(0, str(Path(__file__).parent))  # for bringup_stand_ins, which pytest's importlib mode would not find


def write_model(directory: Path, **changes: object) -> Path:
    """A folder with a valid card and a policy file that only its hash is read of."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / POLICY_FILE).write_bytes(b"only hashed")
    fields = {
        "name": directory.name,
        "created_utc": "2026-01-01T00:00:00Z",
        "network": {},
        "resource_kinds": 2,
        "max_consumers": 16,
        "message_width": 8,
        "state_width": 8,
        "liquid_width": 4,
        "tick_s": 0.05,
        "communication_radius": 1.0,
        "disc_radius": 0.22,
        "speed_per_s": 0.4,
        "value_range": [0.0, 1.0],
        "contraction_rate": 0.1,
        "training": {},
        "scores": {"ratio": 0.9},
    }
    write_card(directory, **{**fields, **changes})
    return directory


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture(scope="session")
def team_of():
    """Teams of any size: the shipped one's first drone, again and again."""
    team = load_team(inputs.fleet_path("fleet"), inputs.scenario_path("battery_handover"))

    def resized(count: int) -> Team:
        drones = tuple(replace(team.drones[0], name=f"cf{i + 1}") for i in range(count))
        return replace(team, drones=drones)

    return resized
