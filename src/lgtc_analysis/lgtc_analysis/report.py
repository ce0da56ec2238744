"""The report of a flight: one HTML file that needs nothing else, made from the bag alone.

python -m lgtc_analysis.report BAG [REPORT.html] [--picture PICTURE.png]
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from lgtc_analysis import figures, metrics, story
from lgtc_analysis.bag import read_flight
from lgtc_analysis.flight import Flight
from lgtc_analysis.palette import DARK, DRONE_COLOURS, LIGHT, css_variables
from lgtc_analysis.replay import replay
from lgtc_analysis.verdict import Verdict, percent, verdict
from lgtc_core.errors import ContractError, LgtcError
from lgtc_core.flight.phases import SafetyMode

TEMPLATES = Path(__file__).parent / "templates"
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Section:
    """One figure of the page with its words."""

    name: str
    title: str
    caption: str
    draw: figures.Draw
    wide: bool = False


SECTIONS = (
    Section(
        "demand",
        "Demand met, and who serves",
        "Share of the amounts asked for that is met, for the team and per consumer. The coloured bars below"
        " a consumer are the"
        " drones whose supply counts there.",
        figures.demand,
    ),
    Section(
        "map",
        "Paths",
        "Squares: where a drone stood at the start; dots: where it came to rest. Discs: interaction areas of"
        " the consumers.",
        figures.flight_map,
    ),
    Section(
        "phases",
        "Mission and vehicles",
        "What the mission asked for and what every vehicle did. Dashed line: an event of the scenario.",
        figures.phases,
    ),
    Section(
        "rewards",
        "Reward and chosen consumer",
        "Reward of eq. (3) per tick, recomputed from the recorded world, above the consumer that each policy"
        " chose: rewards"
        " cluster as the drones do (Figure 3 of the paper).",
        figures.rewards,
    ),
    Section(
        "distance",
        "Nearest pair",
        "Distance of the nearest two airborne drones, between poses included; above one another, the"
        " downwash distance counts as"
        " the safety distance.",
        figures.distance,
    ),
    Section(
        "liquid",
        "Liquid state",
        "Liquid state x of the policy network, projected on the unit vector and divided by its greatest"
        " value: drones of one"
        " cluster meet (Figure 7 of the paper shows the value network's).",
        figures.liquid,
    ),
    Section("supply", "Battery and supply", "State of charge, and what is carried of other kinds.", figures.supply),
    Section(
        "interventions",
        "Safety filter",
        "Above: how much it changed the policy's command. Below: bars, commands it corrected; crosses, no"
        " fresh command of the"
        " policy; red diamonds, conditions that could not all hold; red squares, no valid pose.",
        figures.interventions,
    ),
    Section(
        "latency",
        "Latency",
        "Time from the receipt of a pose to the receipt of what answers it (equal header stamp), by the"
        " recorder's clock, while"
        " the mission was active. Dashed: 99th percentile.",
        figures.latencies,
    ),
)


def write_report(flight: Flight | Path | str, html: Path | str, beside: Flight | Path | str | None = None) -> Verdict:
    """Write the report of a flight (or of its bag) and return the verdict.

    Args:
        flight: the flight.
        html: file to write.
        beside: another flight of the same scenario, the expert's for instance: the report says how much of its demand
            curve this one reached.

    Raises:
        ContractError: a bag cannot be read, or the other flight is of another scenario.
        OSError: the file cannot be written.
    """
    one = flight if isinstance(flight, Flight) else read_flight(flight)
    other = beside if isinstance(beside, Flight) or beside is None else read_flight(beside)
    if other is not None and other.info.name != one.info.name:
        raise ContractError(
            f"{other.source}: scenario", other.info.name, f"{one.info.name}, as in the flight that it stands beside"
        )
    judged = verdict(one)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report.html").render(
        flight=one,
        verdict=judged,
        figures=[(section, _drawing(one, section)) for section in _sections(one)],
        cards=list(_cards(one, other)),
        handovers=metrics.handovers(one),
        events=[(event.at_s, story.event_words(one, event)) for event in one.team.events],
        origin=list(_origin(one)),
        drones=[(name, i % DRONE_COLOURS, i >= DRONE_COLOURS) for i, name in enumerate(one.names)],
        light=Markup(css_variables(LIGHT)),
        dark=Markup(css_variables(DARK)),
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup((TEMPLATES / "replay.js").read_text(encoding="utf-8")),
        replay=Markup(_embedded(replay(one))),
    )
    Path(html).write_text(page, encoding="utf-8")
    return judged


def write_picture(flight: Flight | Path | str, png: Path | str) -> None:
    """Write one still picture of a flight (or of its bag): map, demand met, choices, nearest pair.

    Raises:
        ContractError: the bag cannot be read.
        OSError: the file cannot be written.
    """
    figures.write_png(figures.picture, flight if isinstance(flight, Flight) else read_flight(flight), png)


def report_command(bag: Path | str, out: Path | str | None = None) -> tuple[Path, Verdict]:
    """Report of a bag beside the bag (or at `out`); where it is, and its verdict.

    Raises:
        ContractError: the bag cannot be read.
        OSError: the file cannot be written.
    """
    bag = Path(bag)
    html = Path(out) if out is not None else bag.with_name(f"{bag.stem}_report.html")
    return html, write_report(bag, html)


def _sections(flight: Flight) -> Iterator[Section]:
    """Figures that this flight has something to show for."""
    policies = any(len(drone.policy_state) for drone in flight.drones.values())
    for section in SECTIONS:
        if section.name == "latency" and flight.info.receive_clock == "simulated":
            continue
        liquid = policies and flight.info.policy == "model" and metrics.liquid_width(flight)
        if section.name == "liquid" and not liquid:
            continue
        if section.name == "interventions" and not any(len(drone.safety) for drone in flight.drones.values()):
            continue
        yield section


def _drawing(flight: Flight, section: Section) -> Mapping[str, Any]:
    drawn = figures.drawing(section.draw, flight, section.name)
    return {"svg": Markup(drawn.svg), "time": drawn.time}


def _embedded(data: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


@dataclass(frozen=True)
class Card:
    """One key figure."""

    value: str
    unit: str
    label: str

    @classmethod
    def of(cls, value: float, digits: int, unit: str, label: str) -> Card:
        """Card of a number; NaN is a time that never came."""
        return cls(f"{value:.{digits}f}", unit, label) if np.isfinite(value) else cls("never", "", label)


def _cards(flight: Flight, other: Flight | None) -> Iterator[Card]:
    begin, end = flight.active_s
    rows = np.flatnonzero(metrics.within(flight.demand, flight.active_s))
    yield Card(str(len(flight.names)), "", "drones")
    yield Card.of(end - begin, 1, "s", "under the policies")
    if len(rows):
        last, mean = float(metrics.share_met(flight)[rows[-1]]), metrics.mean_share_met(flight)
        yield Card(percent(last).rstrip(" %"), "%", f"demand met at the end ({percent(mean)} on average)")
        theirs = math.nan if other is None else metrics.mean_share_met(other)
        if other is not None and theirs > 0:
            who = "another flight" if other.info.policy == "model" else f"the {other.info.policy}"
            yield Card(percent(mean / theirs).rstrip(" %"), "%", f"of what {who} met on average in this scenario")
    took = [one.took_s for one in metrics.coverages(flight)]
    if took:
        yield Card.of(float(np.max(took)), 1, "s", "until every place was covered")
    gaps = [one.gap_s for one in metrics.handovers(flight)]
    if gaps:
        yield Card.of(float(np.max(gaps)), 1, "s", "until a place was served again after its server left")
    near = metrics.approach(flight)
    yield Card.of(near.smallest_m, 2, "m", f"nearest pair (needed {near.needed_m.max():.2f} m)")
    if flight.info.receive_clock == "wall":
        median, p99, _ = metrics.quantiles_ms(metrics.pose_to_command_s(flight))
        yield Card.of(median, 1, "ms", f"pose to command, median ({p99:.1f} ms 99th percentile)")
    modes = np.concatenate(
        [drone.safety.mode[metrics.in_flight(drone, drone.safety)] for drone in flight.drones.values()]
    )
    if len(modes):
        corrected = float((modes == SafetyMode.FILTERED).mean())
        fallback = int((modes >= SafetyMode.RELAXED).sum())
        yield Card(percent(corrected).rstrip(" %"), "%", f"of commands corrected by the filter ({fallback} fallbacks)")


def _origin(flight: Flight) -> Iterator[tuple[str, str]]:
    """How the flight was made, as rows of name and value."""
    info, card = flight.info, flight.info.model_card
    yield "scenario", f"{info.name}: {flight.team.title}"
    yield "backend", info.backend
    yield "recorded", f"{info.created_utc or _utc(flight)}, {flight.duration_s:.1f} s"
    yield "bag", Path(flight.source).name
    yield "command", info.command
    yield "seed", str(info.seed)
    if info.policy != "model":  # what its model's card says is not about who flew here
        yield "policy", f"the {info.policy}, at the tick of model {card.get('name', 'none')}"
        card = {}
    else:
        yield "model", str(card.get("name", "none"))
    for key in ("created_utc", "contract", "contraction_rate", "tick_s", "communication_radius", "disc_radius"):
        if key in card:
            yield f"model {key.replace('_', ' ')}", str(card[key])
    for key, value in sorted(card.get("scores", {}).items()):
        if isinstance(value, (int, float, str)):
            yield f"score {key}", f"{value:.3g}" if isinstance(value, float) else str(value)
    for name, version in sorted(info.versions.items()):
        yield f"version of {name}", version
    factors = metrics.real_time_factors(flight)
    if info.receive_clock == "wall" and len(factors):
        yield "real-time factor", f"{1 / np.mean(1 / factors):.2f}, in the slowest five seconds {factors.min():.2f}"
    ages = metrics.message_ages_s(flight)
    if len(ages):
        yield (
            "age of the oldest message used",
            f"median {np.median(ages) * 1e3:.0f} ms, at most {ages.max() * 1e3:.0f} ms",
        )
    gaps = metrics.command_gaps_s(flight)
    if len(gaps):
        yield "longest time between safe commands", f"{gaps.max() * 1e3:.0f} ms, as received by the recorder"
    setpoints = metrics.setpoint_ages_s(flight)
    if len(setpoints):
        yield "age of the setpoint in flight", f"99 % within {np.quantile(setpoints, 0.99) * 1e3:.0f} ms"


def _utc(flight: Flight) -> str:
    when = datetime.datetime.fromtimestamp(flight.recorded_from_ns / 1e9, datetime.UTC)
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: writes the report, logs the verdict. 0: all checks passed, 1: some failed, 2: no
    report.
    """
    parser = argparse.ArgumentParser(
        prog="lgtc_analysis.report", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("bag", type=Path, help="folder or .mcap file of a recorded flight")
    parser.add_argument("out", type=Path, nargs="?", help="HTML file to write; default: beside the bag")
    parser.add_argument("--beside", type=Path, help="bag of another flight of the scenario, to compare demand met")
    parser.add_argument("--picture", type=Path, help="also write a still picture (PNG) here")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        flight = read_flight(given.bag)
        html = given.out or given.bag.with_name(f"{given.bag.stem}_report.html")
        judged = write_report(flight, html, given.beside)
        if given.picture:
            write_picture(flight, given.picture)
    except (LgtcError, OSError) as error:
        LOG.error("%s", error)
        return 2
    for check in judged.checks:
        LOG.info("%-4s %s: %s (needed: %s)", check.outcome.value, check.name, check.got, check.needed)
    LOG.info("%s", judged.headline)
    LOG.info("%s", html)
    return 0 if judged.passed else 1


if __name__ == "__main__":
    sys.exit(main())
