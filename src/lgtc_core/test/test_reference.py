"""Documentation of configuration: its tables are the schema's, its examples resolve, and no shipped
scenario is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from lgtc_core import reference, schema
from lgtc_core.errors import ConfigError
from lgtc_core.fleet.fleet import DroneEntry, FleetFile, build_fleet
from lgtc_core.fleet.scenario import ScenarioFile, build_scenario
from lgtc_core.fleet.team import resolve

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "scenarios.md"
PAGES = [path for path in sorted(ROOT.glob("docs/*.md")) if "<!-- keys of " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_of_every_page_are_what_the_schema_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert reference.refresh(text, page.name) == text, f"run: python -m lgtc_core.reference docs/{page.name}"


@pytest.mark.parametrize("cls", [FleetFile, DroneEntry, ScenarioFile])
def test_a_table_has_a_row_and_a_sentence_for_every_key(cls: type) -> None:
    rows = reference.table(cls).splitlines()[2:]
    assert {row.split("`")[1] for row in rows} == {field.name for field in schema.fields_of(cls)}
    assert all(row.replace("\\|", "").split("|")[4].strip() for row in rows)


def test_a_mark_that_names_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"lgtc_core\.fleet\.fleet:Flotte"):
        reference.refresh("<!-- keys of lgtc_core.fleet.fleet:Flotte -->\n<!-- end of keys -->", "page.md")


def test_the_command_remakes_a_page_in_place(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- keys of lgtc_core.world.arena:Arena -->\nold\n<!-- end of keys -->\nafter\n")
    assert reference.main([str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "`half_extent_m` | list of 2, each number between 0.1 and 10000 m | required" in text


def test_the_examples_of_the_page_resolve_together() -> None:
    blocks = re.findall(r"```yaml\n# (\w+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    files = {name: yaml.safe_load(text) for name, text in blocks}
    team = resolve(build_fleet(files["fleet"], "fleet"), build_scenario(files["scenario"], "scenario"))
    assert team.names == ("cf1", "cf2", "cf3")
    assert team.drone("cf2").max_speed_mps == 0.5


def test_every_shipped_scenario_is_in_the_pages_table_and_nothing_else_is() -> None:
    listed = re.findall(r"^\| `(\w+)` \| [^|]* \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "config" / "scenarios").glob("*.yaml"))
