"""docs/safety.md cannot lie about its tests and figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lgtc_core.flight import guarantee
from lgtc_core.flight.guard import GuardParams

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
FOLDERS = tuple(
    ROOT / "src" / folder
    for folder in (
        "lgtc_core/test/flight",
        "lgtc_core/test/loop",
        "lgtc_sim/test",
        "lgtc_nodes/test",
        "lgtc_bringup/test",
    )
)


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"(test_\w+)::(test_\w+)", PAGE)
    assert len(named) >= 20
    for file, test in named:
        text = "".join(path.read_text(encoding="utf-8") for folder in FOLDERS for path in folder.glob(f"{file}.py"))
        assert re.search(rf"def {test}", text), f"{file}::{test}"


@pytest.mark.parametrize("row", re.findall(r"^\| (\d\.\d) m/s \| (.+) \|$", PAGE, re.MULTILINE))
def test_the_radii_on_the_page_are_those_of_the_default_parameters(row: tuple[str, str]) -> None:
    speed_mps = float(row[0])
    hypotheses = GuardParams().hypotheses
    told_m = [float(number) for number in re.findall(r"(\d\.\d\d) m", row[1])]
    radii_m = [
        float(guarantee.barrier_radius_m(0.25, hypotheses, speed_mps, own_s, speed_mps, other_s, guarantee.SHARED))
        for own_s, other_s in ((0.0, 0.0), (0.02, 0.04), (0.1, 0.1), (0.15, 0.3))
    ]
    needed_m = guarantee.required_range_m(0.25, hypotheses, speed_mps, 0.15, speed_mps, 0.3)
    assert told_m == pytest.approx([*radii_m, needed_m], abs=0.0051)
