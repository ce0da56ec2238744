"""The table over training seeds adds up, and refuses cards of different evaluations."""

from typing import Any

import pytest

from lgtc_core.errors import ConfigError
from lgtc_training.seeds import table


def scores(ratio: float, covered: float, trials: int = 32) -> dict[str, Any]:
    rows = [{"covered": covered, "trials": trials}, {"covered": 1.0, "trials": trials}]
    return {
        "seeds": [1, 2],
        "N10_M4": {"ratio": ratio, "satisfaction_ratio": 0.5 + ratio / 2},
        "hand_over_slow_vehicles": rows,
        "hand_over_full_speed": rows,
    }


def test_mean_and_spread_are_over_the_training_seeds() -> None:
    lines = table({"a": scores(0.9, 0.5), "b": scores(1.0, 1.0)})
    assert lines[0] == "| case | a | b | return | satisfaction |"
    assert lines[2] == "| N10_M4 | .900 | 1.000 | .950 +- .071 | .975 +- .035 |"
    assert lines[3] == "| hand-over, slow vehicles | .750 | 1.000 | .875 +- .177 | of 128 trials |"
    assert lines[1].count("---") == lines[2].count("|") - 1


def test_cards_of_different_evaluations_are_refused_by_name() -> None:
    short = scores(1.0, 1.0)
    del short["N10_M4"]
    with pytest.raises(ConfigError, match="b: N10_M4"):
        table({"a": scores(0.9, 0.5), "b": short})
