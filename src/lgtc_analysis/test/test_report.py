"""The report: one file, nothing from elsewhere, and what it says is what the verdict says."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rosbags.typesys.store import Typestore

from lgtc_analysis import figures, report, story
from lgtc_analysis.bag import BagWriter, read_flight
from lgtc_analysis.flight import Flight
from lgtc_analysis.messages import recorded_topics
from lgtc_analysis.palette import DARK, LIGHT, PAGE
from lgtc_analysis.replay import replay
from lgtc_analysis.timeline import timeline
from lgtc_analysis.verdict import verdict
from lgtc_core.errors import ContractError

Fly = Callable[..., Path]
Flown = Callable[..., Flight]
VOID = {"meta", "input", "link", "br", "hr", "img"}


class Page(HTMLParser):
    """Elements of a page, checked for nesting; text by element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.identifiers: Counter[str] = Counter()
        self.links: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.words += " "
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.identifiers[value or ""] += 1
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.links.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words += data


@pytest.fixture(scope="module")
def html(fly: Fly, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    report.write_report(fly(), path)
    return path


def test_the_page_needs_nothing_but_itself(html: Path) -> None:
    text = html.read_text()
    page = Page(text)
    assert not page.open
    assert page.links
    assert all(link.startswith("#") for link in page.links)
    assert not re.findall(r"@import|url\((?!#)", text)
    assert set(re.findall(r"https?://[^/\"' ]+", text)) <= {"http://www.w3.org"}


def test_identifiers_are_unique_and_every_reference_has_its_target(html: Path) -> None:
    page = Page(html.read_text())
    assert max(page.identifiers.values()) == 1
    assert {link[1:] for link in page.links} <= set(page.identifiers)


def test_colours_follow_the_theme(html: Path) -> None:
    text = html.read_text()
    assert not any(colour in text for colour in PAGE.colours.values())
    assert set(LIGHT) == set(DARK)
    used = set(re.findall(r"var\(--([a-z0-9]+)\)", text)) - {"chip"}
    assert used <= set(LIGHT)
    assert {"drone0", "drone4", "ink", "bad"} <= used


def test_the_page_says_what_the_verdict_says(html: Path, flight: Flight) -> None:
    words = " ".join(Page(html.read_text()).words.split())
    judged = verdict(flight)
    assert judged.headline in words
    for check in judged.checks:
        assert f"{check.name} ✓ pass {check.got} {check.needed}" in words
    assert "cf3 at 12.0 s it landed" in words
    assert "cf3: battery set to 0" in words


def test_beside_the_experts_flight_it_says_what_share_of_its_demand_curve_was_reached(
    flight: Flight, tmp_path: Path
) -> None:
    half = np.where(flight.demand.demanded > 0, 0.5 * flight.demand.remaining + 0.5 * flight.demand.demanded, 0.0)
    info = dataclasses.replace(flight.info, policy="expert")
    worse = dataclasses.replace(flight, demand=dataclasses.replace(flight.demand, remaining=half))
    expert = dataclasses.replace(flight, info=info)
    report.write_report(worse, tmp_path / "worse.html", expert)
    words = " ".join(Page((tmp_path / "worse.html").read_text(encoding="utf-8")).words.split())
    assert "50 % of what the expert met on average" in words
    report.write_report(expert, tmp_path / "expert.html")
    assert "the expert, at the tick of model" in Page((tmp_path / "expert.html").read_text(encoding="utf-8")).words
    other = dataclasses.replace(flight, info=dataclasses.replace(info, name="elsewhere"))
    with pytest.raises(ContractError, match="elsewhere"):
        report.write_report(flight, tmp_path / "no.html", other)
    assert not (tmp_path / "no.html").exists()


def test_a_failed_flight_is_called_failed(fly: Fly, tmp_path: Path) -> None:
    judged = report.write_report(fly("too close"), tmp_path / "report.html")
    words = Page((tmp_path / "report.html").read_text()).words
    assert not judged.passed
    assert "✗ failed" in words
    assert judged.headline in words


def test_a_place_that_is_never_served_again_is_said_to_be_never_served(flown: Flown, tmp_path: Path) -> None:
    report.write_report(flown("nobody comes"), tmp_path / "report.html")
    words = " ".join(Page((tmp_path / "report.html").read_text()).words.split())
    assert "never until a place was served again after its server left" in words
    assert "cf3 at 12.0 s it landed never nobody until the end never" in words


def test_a_place_that_is_removed_while_nobody_serves_it_is_not_said_to_be_unserved_until_the_end(
    flown: Flown, tmp_path: Path
) -> None:
    flight = flown("nobody comes")
    exists = flight.demand.exists.copy()
    exists[flight.demand.time_s >= 15.0, flight.demand.names.index("north")] = False
    removed = dataclasses.replace(flight, demand=dataclasses.replace(flight.demand, exists=exists))
    report.write_report(removed, tmp_path / "report.html")
    words = " ".join(Page((tmp_path / "report.html").read_text()).words.split())
    assert re.search(r"never nobody 3\.\d s, then no longer asked for never", words)


def test_text_from_the_bag_cannot_become_markup(flight: Flight, tmp_path: Path) -> None:
    title = flight.team.title
    object.__setattr__(flight.team, "title", "</script><script>alert(1)</script>")
    try:
        report.write_report(flight, tmp_path / "report.html")
    finally:
        object.__setattr__(flight.team, "title", title)
    assert "<script>alert" not in (tmp_path / "report.html").read_text()


def test_a_recording_cut_short_gives_a_report_that_says_so(fly: Fly, tmp_path: Path) -> None:
    whole = next(fly().glob("*.mcap")).read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[: int(0.6 * len(whole))])
    report.write_report(tmp_path / "cut.mcap", tmp_path / "report.html")
    assert "cut short" in Page((tmp_path / "report.html").read_text()).words


def test_a_recording_shorter_than_the_running_mean_of_the_rewards_still_draws_them(
    flight: Flight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "SMOOTH_S", 1000.0)
    drawn, _ = figures.rewards(flight, PAGE)
    assert all(np.isfinite(line.get_ydata()).any() for line in drawn.axes[0].lines)


def test_replay_frames_are_the_flight_to_the_millimetre(flight: Flight) -> None:
    data = json.loads(report._embedded(replay(flight)))
    times = data["begin_s"] + data["frame_s"] * np.arange(len(data["position"]))
    np.testing.assert_allclose(np.array(data["position"]) / 1000, timeline(flight, times).position_m, atol=5.1e-4)
    assert times[-1] == pytest.approx(flight.span_s[1], abs=data["frame_s"])
    assert {len(data[key]) for key in ("position", "phase", "charge", "chosen", "place", "met", "mission")} == {
        len(times)
    }
    at_20 = int(np.searchsorted(times, 20.0))
    assert [data["consumers"][j] if j is not None else None for j in data["chosen"][at_20]] == [
        "west",
        "east",
        None,
        "north",
        "east",
    ]


def test_the_story_is_told_in_order_and_names_the_drone_that_was_emptied(flight: Flight) -> None:
    told = story.story(flight)
    assert [moment.time_s for moment in told] == sorted(moment.time_s for moment in told)
    words = [moment.words for moment in told]
    order = [
        "mission: active",
        "cf3: battery set to 0",
        "cf3: lands, the others fly on",
        "north: served again, by cf4",
        "mission: land",
    ]
    assert [word for word in words if word in order] == order


def test_the_picture_is_a_png(flight: Flight, tmp_path: Path) -> None:
    report.write_picture(flight, tmp_path / "flight.png")
    assert (tmp_path / "flight.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "flight.png").stat().st_size > 20_000


def test_the_command_writes_beside_the_bag_and_exits_with_the_verdict(fly: Fly, tmp_path: Path) -> None:
    shutil.copytree(fly(), tmp_path / "good")
    assert report.main([str(tmp_path / "good")]) == 0
    assert report.main([str(fly("abort")), str(tmp_path / "bad.html")]) == 1
    assert report.main([str(tmp_path / "nothing"), str(tmp_path / "none.html")]) == 2
    assert (tmp_path / "good_report.html").exists()
    assert (tmp_path / "bad.html").exists()
    assert not (tmp_path / "none.html").exists()


def test_simulated_receive_times_give_no_latencies(flight: Flight, tmp_path: Path) -> None:
    object.__setattr__(flight.info, "receive_clock", "simulated")
    try:
        report.write_report(flight, tmp_path / "report.html")
    finally:
        object.__setattr__(flight.info, "receive_clock", "wall")
    words = Page((tmp_path / "report.html").read_text()).words
    assert "Latency" not in words
    assert "pose to command" not in words


def test_the_replay_runs_in_a_browser(html: Path, tmp_path: Path, flight: Flight) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}",
        "--enable-logging=stderr",
    ]
    done = subprocess.run(
        [*command, "--virtual-time-budget=1000", "--dump-dom", f"file://{html}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Uncaught" not in done.stderr
    assert 'id="clock" for="time">13.0 s<' in done.stdout
    assert "landing" in done.stdout.split('id="states"')[1].split("</table>")[0]


def test_a_flight_that_was_never_active_still_gives_a_report(fly: Fly, tmp_path: Path) -> None:
    flight = read_flight(fly())
    flight.mission.phase[:] = 0
    judged = report.write_report(flight, tmp_path / "report.html")
    assert "Mission flown to its end" in {check.name for check in judged.failed}


def test_a_recording_of_poses_alone_still_gives_a_report_that_does_not_pass(
    flight: Flight, types: Typestore, tmp_path: Path
) -> None:
    with BagWriter(tmp_path / "bag", types) as bag:
        for topic in recorded_topics(flight.names):
            bag.add_topic(topic)
        bag.write_info(0, flight.info)
        for k in range(30):
            bag.write_values("/mission", k * 10**8, {"header": k / 10, "phase": min(2, k // 10)})
            bag.write_values("/demand", k * 10**8, {"header": k / 10, "kinds": flight.team.kinds})
            for i, name in enumerate(flight.names):
                pose = {"position": (i - 2.0, 0.0, k / 20)}
                bag.write_values(f"/{name}/pose", k * 10**8, {"header": k / 10, "pose": pose})
    judged = report.write_report(tmp_path / "bag", tmp_path / "report.html")
    report.write_picture(tmp_path / "bag", tmp_path / "flight.png")
    failed = {check.name for check in judged.failed}
    assert failed >= {"Recording is whole", "Every drone came down again", "Setpoints never paused in flight"}
    assert not Page((tmp_path / "report.html").read_text()).open
