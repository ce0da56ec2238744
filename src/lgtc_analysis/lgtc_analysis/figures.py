"""The pictures of a flight. Each function draws one figure; what it shows is said in docs/report.md.

Figures are vector graphics without titles (the page captions them) and with mission time on their x axes, so
that the page can show the replay's present moment in all of them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from lgtc_analysis import metrics, story
from lgtc_analysis.flight import Bools, Flight, Floats, Ints
from lgtc_analysis.palette import PAGE, STILL, Palette, dash, hatch, to_css
from lgtc_analysis.timeline import timeline
from lgtc_core.flight.phases import MissionPhase, SafetyMode, VehiclePhase

WIDTH_IN = 6.0
POINTS = 700
"""Points of a drawn line; more would not be seen."""
ARROW_STEP_M = 0.1
"""Way between two points that an arrow's direction is taken from [m]."""
SMOOTH_S = 1.0
"""Window of the running mean of rewards [s]."""
MISSION_COLOURS = {
    MissionPhase.STANDBY: VehiclePhase.GROUNDED,
    MissionPhase.TAKE_OFF: VehiclePhase.TAKING_OFF,
    MissionPhase.ACTIVE: VehiclePhase.FLYING,
    MissionPhase.LAND: VehiclePhase.LANDING,
    MissionPhase.ABORT: VehiclePhase.FAILED,
    MissionPhase.DONE: VehiclePhase.LANDED,
}


@dataclass(frozen=True)
class Drawing:
    """One figure as text for the page."""

    svg: str
    time: tuple[float, float, float, float] | None
    """(left, right, begin, end): where the x axis lies, as fractions of the width, and its mission times [s];
    None: the x axis is not time."""


Draw = Callable[[Flight, Palette], tuple[Figure, Axes | None]]
"""Draws a figure; its second answer is an axis whose x is mission time, or None."""


def drawing(draw: Draw, flight: Flight, name: str) -> Drawing:
    """Figure as SVG in CSS colours; `name` keeps its identifiers apart from those of other figures on the
    page.
    """
    with _style(PAGE):
        figure, axes = draw(flight, PAGE)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        time = None
        if axes is not None:
            box, (begin, end) = axes.get_position(), axes.get_xlim()
            time = (float(box.x0), float(box.x1), float(begin), float(end))
    return Drawing(_tidy(text.getvalue(), name), time)


def write_png(draw: Draw, flight: Flight, path: Path | str, dpi: int = 160) -> None:
    """Figure as a still picture in the light theme."""
    with _style(STILL):
        figure, _ = draw(flight, STILL)
        figure.savefig(path, dpi=dpi, facecolor=STILL["paper"])


@contextmanager
def _style(palette: Palette) -> Iterator[None]:
    """Settings of matplotlib for one figure."""
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "flight",
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": palette["ink"],
        "axes.edgecolor": palette["rule"],
        "axes.labelcolor": palette["muted"],
        "axes.labelsize": 9,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "grid.color": palette["rule"],
        "grid.linewidth": 0.6,
        "xtick.color": palette["muted"],
        "ytick.color": palette["muted"],
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "lines.linewidth": 1.5,
        "lines.solid_capstyle": "round",
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "legend.labelcolor": palette["ink"],
        "figure.facecolor": "none",
    }
    with matplotlib.rc_context(settings):
        yield


def _tidy(svg: str, name: str) -> str:
    """Without prologue and fixed size, with unique identifiers, the page's fonts and colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    svg = re.sub(r"font: ([0-9.]+px)[^;\"]*", r"font-size: \1", svg)
    return to_css(svg)


def _figure(height_in: float, rows: int = 1, **layout: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.subplots(rows, 1, squeeze=False, **layout)[:, 0]


def _time_axis(axes: Sequence[Axes], flight: Flight, palette: Palette) -> None:
    """Mission time on the x axis, begin and events of the mission as lines."""
    begin, end = flight.span_s
    for axis in axes:
        axis.set_xlim(begin, end)
        axis.grid(False, axis="x")
        for at_s in (0.0, flight.active_s[1]):
            if np.isfinite(at_s):
                axis.axvline(at_s, color=palette["rule"], linewidth=1.0, zorder=0)
        for event in flight.team.events:
            if event.at_s < flight.active_s[1]:
                axis.axvline(event.at_s, color=palette["muted"], linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
    axes[-1].set_xlabel("mission time [s]")


def _grid(flight: Flight) -> Floats:
    begin, end = flight.span_s
    return np.linspace(begin, end, POINTS)


def _runs(values: Ints | Bools) -> Iterator[tuple[int, int, int]]:
    """(first, last + 1, value) of every run of equal values."""
    if not len(values):
        return
    starts = np.concatenate([[0], np.flatnonzero(np.diff(values.astype(np.int64))) + 1, [len(values)]])
    for first, after in pairwise(starts):
        yield int(first), int(after), int(values[first])


def flight_map(flight: Flight, palette: Palette) -> tuple[Figure, Axes | None]:
    """Paths on the map, with discs, starts and landing places."""
    arena = flight.team.arena
    half_x, half_y = arena.half_extent_m
    figure = Figure(figsize=(WIDTH_IN, WIDTH_IN * min(1.1, half_y / half_x) * 0.98), layout="constrained")
    axes = figure.add_subplot()
    _draw_map(axes, flight, palette)
    return figure, None


def _draw_map(axes: Axes, flight: Flight, palette: Palette) -> None:
    arena = flight.team.arena
    (x, y), (half_x, half_y) = arena.centre_m, arena.half_extent_m
    axes.add_patch(Rectangle((x - half_x, y - half_y), 2 * half_x, 2 * half_y, fill=False, edgecolor=palette["muted"]))
    for place in _places(flight):
        axes.add_patch(Circle(place.centre, place.radius, facecolor=palette["place"], alpha=0.13, edgecolor="none"))
        axes.add_patch(Circle(place.centre, place.radius, fill=False, edgecolor=palette["place"], linewidth=1.1))
        axes.plot(*place.centre, marker="+", color=palette["place"], markersize=7)
        axes.annotate(
            place.name,
            (place.centre[0], place.centre[1] + place.radius),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            color=palette["place"],
            fontweight="bold",
        )
    team = timeline(flight, np.linspace(*flight.span_s, 4 * POINTS))
    for i, name in enumerate(flight.names):
        path = np.where(team.airborne[:, i, None], team.position_m[:, i, :2], np.nan)
        known = np.flatnonzero(np.isfinite(team.position_m[:, i, 0]))
        flown = np.flatnonzero(np.isfinite(path[:, 0]))
        axes.plot(*path.T, color=palette.drone(i), linestyle=dash(i), linewidth=1.6, alpha=0.9)
        if len(known):
            start, end = (team.position_m[k, i, :2] for k in (known[0], known[-1]))
            axes.plot(*start, marker="s", markersize=5, color=palette.drone(i), markerfacecolor=palette["paper"])
            axes.plot(*end, marker="o", markersize=6, color=palette.drone(i))
            left = end[0] < x
            axes.annotate(
                name,
                _pair(end),
                xytext=(-7 if left else 7, -9),
                textcoords="offset points",
                ha="right" if left else "left",
                color=palette.drone(i),
                fontweight="bold",
                bbox={"facecolor": palette["paper"], "alpha": 0.65, "edgecolor": "none", "pad": 0.6},
            )
        if len(flown) > 8:
            _arrow(axes, path[flown], palette.drone(i))
    axes.set_aspect("equal")
    axes.set_xlim(x - half_x * 1.03, x + half_x * 1.03)
    axes.set_ylim(y - half_y * 1.03, y + half_y * 1.03)
    axes.set_xlabel("east [m]")
    axes.set_ylabel("north [m]")
    for side in axes.spines.values():
        side.set_visible(False)


def _arrow(axes: Axes, path: Floats, colour: str) -> None:
    """Direction of flight, half-way along the path; hovering does not count as way."""
    way = [path[0]]
    for point in path:
        if np.hypot(*(point - way[-1])) >= ARROW_STEP_M:
            way.append(point)
    if len(way) > 3:
        middle = len(way) // 2
        style = {"arrowstyle": "-|>", "color": colour, "linewidth": 0, "mutation_scale": 11}
        axes.annotate("", _pair(way[middle]), xytext=_pair(way[middle - 1]), arrowprops=style)


def _pair(point: Floats) -> tuple[float, float]:
    return (float(point[0]), float(point[1]))


@dataclass(frozen=True)
class _Place:
    name: str
    centre: tuple[float, float]
    radius: float


def _places(flight: Flight) -> Iterator[_Place]:
    """Every place where a consumer ever was, in order of appearance."""
    demand = flight.demand
    for j, name in enumerate(demand.names):
        rows = np.concatenate([demand.position_m[:, j], demand.radius_m[:, j, None]], 1)[demand.exists[:, j]]
        _, first = np.unique(rows, axis=0, return_index=True)
        for k in sorted(first):
            yield _Place(name, (float(rows[k, 0]), float(rows[k, 1])), float(rows[k, 2]))


def phases(flight: Flight, palette: Palette) -> tuple[Figure, Axes | None]:
    """What mission and vehicles were doing, one bar each."""
    n = len(flight.names)
    figure, (axes,) = _figure(0.7 + 0.23 * (n + 1))
    begin, end = flight.span_s
    times = np.append(flight.mission.time_s, end)
    for first, after, value in _runs(flight.mission.phase):
        phase = MissionPhase(value)
        colour = palette.phase(MISSION_COLOURS[phase])
        _bar(axes, n, times[first], times[after], colour, phase.name.lower().replace("_", "-"), palette, end - begin)
    for i, name in enumerate(flight.names):
        vehicle = flight.drones[name].vehicle
        times = np.append(vehicle.time_s, end)
        for first, after, value in _runs(vehicle.phase):
            word = story.PHASE_WORDS[VehiclePhase(value)]
            _bar(axes, n - 1 - i, times[first], times[after], palette.phase(value), word, palette, end - begin)
    axes.set_yticks(range(n + 1), [*reversed(flight.names), "mission"])
    for label, i in zip(axes.get_yticklabels()[:n], reversed(range(n)), strict=True):
        label.set_color(palette.drone(i))
        label.set_fontweight("bold")
    axes.set_ylim(-0.6, n + 0.6)
    axes.grid(False)
    axes.spines["left"].set_visible(False)
    _time_axis([axes], flight, palette)
    _event_words(axes, flight, palette)
    return figure, axes


def _event_words(axes: Axes, flight: Flight, palette: Palette) -> None:
    """The scenario's events above an axis, at their times."""
    begin, end = flight.span_s
    for event in flight.team.events:
        if event.at_s < flight.active_s[1]:
            right = event.at_s > (begin + end) / 2
            axes.annotate(
                story.event_words(flight, event),
                (event.at_s, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(-3 if right else 3, 3),
                textcoords="offset points",
                ha="right" if right else "left",
                va="bottom",
                fontsize=7.5,
                color=palette["muted"],
            )


def _bar(
    axes: Axes, row: float, begin: float, end: float, colour: str, word: str, palette: Palette, span: float
) -> None:
    axes.barh(row, end - begin, left=begin, height=0.72, color=colour, edgecolor="none", zorder=2)
    if (end - begin) / span > 0.014 * len(word) + 0.01:
        axes.text((begin + end) / 2, row, word, ha="center", va="center", fontsize=7.5, color=palette["ink"], zorder=3)


def demand(flight: Flight, palette: Palette) -> tuple[Figure, Axes | None]:
    """Share of the demand that is met, in total and per consumer, and who serves there."""
    series, names = flight.demand, flight.demand.names
    rows = 1 + len(names)
    figure, axes = _figure(0.7 + 0.62 * rows, rows, sharex=True)
    total, per_consumer = metrics.share_met(flight), metrics.share_met_per_consumer(flight)
    for row, axis in enumerate(axes):
        times, share = _steps(series.time_s, total if row == 0 else per_consumer[:, row - 1])
        axis.fill_between(times, share, step="post", color=palette["place"], alpha=0.22, linewidth=0)
        axis.step(times, share, where="post", color=palette["ink"] if row == 0 else palette["place"], linewidth=1.2)
        axis.set_yticks([0, 1], ["0", "100 %"])
        axis.set_ylabel(
            "team" if row == 0 else names[row - 1], rotation=0, ha="right", va="center", color=palette["ink"]
        )
        axis.set_ylim(-0.42 if row else -0.05, 1.08)
        if row:
            _servers(axis, flight, row - 1, palette)
    _time_axis(axes, flight, palette)
    return figure, axes[-1]


def _servers(axis: Axes, flight: Flight, consumer: int, palette: Palette) -> None:
    """Below the share: a bar for every drone while it serves, side by side in one strip."""
    serving, times = flight.demand.serving[:, consumer], flight.demand.time_s
    ever = np.flatnonzero(serving.any(0))
    for lane, i in enumerate(ever):
        height = 0.34 / len(ever)
        low = -0.40 + height * (len(ever) - 1 - lane)
        for first, after, on in _runs(serving[:, i]):
            if on:
                width = times[min(after, len(times) - 1)] - times[first]
                bar = Rectangle((times[first], low), width, height * 0.85, linewidth=0, hatch=hatch(int(i)))
                bar.set(facecolor=palette.drone(int(i)), edgecolor=palette["paper"])
                axis.add_patch(bar)


def rewards(flight: Flight, palette: Palette) -> tuple[Figure, Axes | None]:
    """Reward per drone (running mean) above the consumer that it chose: both cluster alike (Figure 3)."""
    names = flight.demand.names
    figure, (above, below) = _figure(3.9, 2, sharex=True, height_ratios=[1.5, 1])
    reward = metrics.rewards(flight)
    if reward is not None:
        window = max(1, min(len(reward.time_s), round(SMOOTH_S / metrics.tick_s(flight))))
        samples = np.convolve(np.ones(len(reward.time_s)), np.ones(window), mode="same")
        for i in range(len(flight.names)):
            mean = np.convolve(reward.total[:, i], np.ones(window), mode="same") / samples
            shown = _thin(np.where(reward.alive[:, i], mean, np.nan))
            above.plot(_thin(reward.time_s), shown, color=palette.drone(i), linestyle=dash(i))
    above.set_ylabel(f"reward per tick, mean of {SMOOTH_S:g} s")
    for i, drone in enumerate(flight.drones.values()):
        if len(drone.policy_state):
            offset = 0.5 * (i / max(1, len(flight.names) - 1) - 0.5)
            chosen = np.where(drone.policy_state.chosen >= 0, drone.policy_state.chosen + offset, np.nan)
            below.step(
                drone.policy_state.time_s, chosen, where="post", color=palette.drone(i), linestyle=dash(i), linewidth=2
            )
    below.set_yticks(range(len(names)), names)
    below.set_ylim(-0.5, max(1, len(names)) - 0.5)
    below.invert_yaxis()
    below.set_ylabel("chosen consumer")
    _time_axis([above, below], flight, palette)
    return figure, below


def _steps(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Without the repetitions of a value that is held: the same staircase from fewer points."""
    change = np.abs(np.diff(values)) > 0.002
    change |= np.isfinite(values[1:]) != np.isfinite(values[:-1])
    keep = np.concatenate([[True], change])
    keep[-1:] = True
    return times[keep], values[keep]


def _thin(values: Floats) -> Floats:
    """At most about `POINTS` rows of a long series."""
    return values[:: max(1, len(values) // POINTS)]


def distance(flight: Flight, palette: Palette) -> tuple[Figure, Axes | None]:
    """Distance of the nearest airborne pair, against the safety distance."""
    figure, (axes,) = _figure(2.3)
    near = metrics.approach(flight)
    bins = np.array_split(np.arange(len(near.time_s)), min(POINTS, len(near.time_s)))
    lowest = np.array(
        [np.min(near.distance_m[one], initial=np.inf, where=np.isfinite(near.distance_m[one])) for one in bins]
    )
    lowest = np.where(np.isfinite(lowest), lowest, np.nan)
    needed = float(near.needed_m.max())
    axes.plot([near.time_s[one[0]] for one in bins], lowest, color=palette["ink"], linewidth=1.3)
    axes.axhspan(0, needed, color=palette["bad"], alpha=0.12, linewidth=0)
    axes.axhline(needed, color=palette["bad"], linewidth=1.2)
    axes.annotate(
        f"safety distance {needed:g} m",
        (flight.span_s[1], needed),
        xytext=(-3, -3),
        textcoords="offset points",
        ha="right",
        va="top",
        color=palette["bad"],
    )
    axes.set_ylim(0, max(2.2 * needed, float(np.nanmax(lowest, initial=0.0)) * 1.05))
    axes.set_ylabel("nearest pair [m]")
    _time_axis([axes], flight, palette)
    return figure, axes


def supply(flight: Flight, palette: Palette) -> tuple[Figure, Axes | None]:
    """State of charge, and what is carried of every other kind that anybody ever carried."""
    kinds = flight.demand.kinds
    batteries = {drone.battery_kind for drone in flight.team.drones}
    carried = [
        k
        for k, kind in enumerate(kinds)
        if kind not in batteries
        and any((drone.resources.supply[:, k : k + 1] > 0).any() for drone in flight.drones.values())
    ]
    figure, axes = _figure(1.9 + 1.4 * len(carried), 1 + len(carried), sharex=True)
    for i, drone in enumerate(flight.drones.values()):
        style = {"color": palette.drone(i), "linestyle": dash(i)}
        times = _thin(drone.resources.time_s)
        axes[0].plot(times, 100 * _thin(drone.resources.state_of_charge), **style)
        for axis, k in zip(axes[1:], carried, strict=True):
            if len(times):
                axis.step(times, _thin(drone.resources.supply[:, k]), where="post", **style)
    axes[0].set_ylabel("state of charge [%]")
    axes[0].set_ylim(-3, 103)
    for axis, k in zip(axes[1:], carried, strict=True):
        axis.set_ylabel(f"{kinds[k]} carried")
    _time_axis(axes, flight, palette)
    return figure, axes[-1]


def liquid(flight: Flight, palette: Palette) -> tuple[Figure, Axes | None]:
    """Liquid state of every drone, projected on the unit vector (Figure 7)."""
    figure, (axes,) = _figure(2.6)
    width = metrics.liquid_width(flight)
    for i, drone in enumerate(flight.drones.values()):
        projection = metrics.liquid_projection(drone.policy_state.state, width)
        if len(projection):
            times = _thin(drone.policy_state.time_s)
            axes.plot(times, _thin(projection), color=palette.drone(i), linestyle=dash(i))
    axes.set_ylabel("x · 1 / F")
    _time_axis([axes], flight, palette)
    return figure, axes


def interventions(flight: Flight, palette: Palette) -> tuple[Figure, Axes | None]:
    """How much the safety filter changed the policy's command, and every command that was not simply passed
    or filtered.
    """
    figure, (above, below) = _figure(2.5 + 0.16 * len(flight.names), 2, sharex=True, height_ratios=[2, 1])
    times = _grid(flight)
    half = (times[1] - times[0]) / 2
    top = 0.1
    for i, drone in enumerate(flight.drones.values()):
        up = metrics.in_flight(drone, drone.safety)
        mode_in_flight = drone.safety.mode[up]
        bins = np.clip(np.searchsorted(times + half, drone.safety.time_s[up]), 0, POINTS - 1)
        largest = np.full(POINTS, np.nan)
        np.fmax.at(largest, bins, drone.safety.correction_mps[up])
        above.plot(times, largest, color=palette.drone(i), linestyle=dash(i), linewidth=1.2)
        top = max(top, float(np.nanmax(largest, initial=0.0)))
        for mode, marker, colour in (
            (SafetyMode.FILTERED, "|", palette.drone(i)),
            (SafetyMode.NOMINAL_LOST, "x", palette["muted"]),
            (SafetyMode.RELAXED, "D", palette["bad"]),
            (SafetyMode.POSE_LOST, "s", palette["bad"]),
        ):
            at = np.unique(bins[mode_in_flight == mode])
            below.plot(times[at], np.full(len(at), i), linestyle="", marker=marker, markersize=5, color=colour)
    above.set_ylabel("correction [m/s]")
    above.set_ylim(0, 1.05 * top)
    below.set_yticks(range(len(flight.names)), flight.names)
    below.set_ylim(len(flight.names) - 0.5, -0.5)
    for label, i in zip(below.get_yticklabels(), range(len(flight.names)), strict=True):
        label.set_color(palette.drone(i))
    _time_axis([above, below], flight, palette)
    return figure, below


def latencies(flight: Flight, palette: Palette) -> tuple[Figure, Axes | None]:
    """Histogram of the time from a pose to the decision and to the safe command that answer it."""
    figure, (axes,) = _figure(2.6)
    streams = (
        ("policy", metrics.pose_to_decision_s(flight), "muted"),
        ("safe command", metrics.pose_to_command_s(flight), "drone0"),
    )
    pooled = np.concatenate([values for _, values, _ in streams]) * 1e3
    if len(pooled):
        low, high = np.quantile(pooled, [0.0, 1.0])
        edges = np.geomspace(max(low, 0.05), max(high, 2 * max(low, 0.05)) * 1.01, 60)
        for name, values, colour in streams:
            if len(values):
                median, p99, _ = metrics.quantiles_ms(values)
                label = f"pose to {name}: median {median:.1f} ms, 99 % within {p99:.1f} ms"
                style = {"color": palette[colour], "linewidth": 1.5}
                axes.hist(np.maximum(values * 1e3, 0.05), edges.tolist(), histtype="step", label=label, **style)
                axes.axvline(p99, linestyle=(0, (2, 2)), color=palette[colour], linewidth=1.0)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0)
    axes.set_xlabel("latency [ms]")
    axes.set_ylabel("commands")
    return figure, None


def picture(flight: Flight, palette: Palette) -> tuple[Figure, Axes | None]:
    """One still picture of the flight: the map, and beside it what the places got, who chose them, and the
    nearest pair.
    """
    figure = Figure(figsize=(11.0, 5.2), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[1, 1.15])[0]
    _draw_map(left.add_subplot(), flight, palette)
    met, chosen, near = right.subplots(3, 1, sharex=True, height_ratios=[1, 1.2, 0.9])
    series, names = flight.demand, flight.demand.names
    times, share = _steps(series.time_s, metrics.share_met(flight))
    met.step(times, 100 * share, where="post", color=palette["ink"])
    met.fill_between(times, 100 * share, step="post", color=palette["place"], alpha=0.2, linewidth=0)
    met.set_ylabel("demand met [%]")
    met.set_ylim(0, 104)
    for i, drone in enumerate(flight.drones.values()):
        offset = 0.5 * (i / max(1, len(flight.names) - 1) - 0.5)
        line = np.where(drone.policy_state.chosen >= 0, drone.policy_state.chosen + offset, np.nan)
        chosen.step(
            drone.policy_state.time_s, line, where="post", color=palette.drone(i), linestyle=dash(i), linewidth=2
        )
    chosen.set_yticks(range(len(names)), names)
    chosen.set_ylabel("chosen")
    chosen.invert_yaxis()
    pairs = metrics.approach(flight)
    near.plot(_thin(pairs.time_s), _thin(pairs.distance_m), color=palette["ink"], linewidth=1.2)
    near.axhline(float(pairs.needed_m.max()), color=palette["bad"], linewidth=1.2)
    near.set_ylabel("nearest pair [m]")
    near.set_ylim(0)
    _time_axis([met, chosen, near], flight, palette)
    _event_words(met, flight, palette)
    return figure, near
