"""Colours of the report, named once: for the page (both themes), for its figures and for still pictures.

Drone colours follow Okabe and Ito's palette for all kinds of colour vision, lightened for the dark theme.
Beyond eight drones the colours repeat with another line style. Figures on the page are drawn in placeholder
colours that become CSS variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

LIGHT: Mapping[str, str] = {
    "paper": "#ffffff",
    "panel": "#f6f7f9",
    "ink": "#1b1f24",
    "muted": "#5c6670",
    "rule": "#d9dee3",
    "good": "#00795a",
    "bad": "#b3261e",
    "place": "#475569",
    "drone0": "#0072b2",
    "drone1": "#d55e00",
    "drone2": "#009e73",
    "drone3": "#b8578f",
    "drone4": "#b98900",
    "drone5": "#3b9fd8",
    "drone6": "#6a51a3",
    "drone7": "#7c7a12",
    "phase0": "#e4e8ec",
    "phase1": "#a9cfe8",
    "phase2": "#cfe3c4",
    "phase3": "#7fb5da",
    "phase4": "#f0b27a",
    "phase5": "#cdd3d9",
    "phase6": "#e0766e",
}
DARK: Mapping[str, str] = {
    "paper": "#14171a",
    "panel": "#1d2125",
    "ink": "#e8eaed",
    "muted": "#9aa4ae",
    "rule": "#363c43",
    "good": "#3ecfa3",
    "bad": "#ff8a80",
    "place": "#a8b3bf",
    "drone0": "#4fa8e0",
    "drone1": "#f28e4b",
    "drone2": "#2fc79b",
    "drone3": "#dd8fbf",
    "drone4": "#f0b82e",
    "drone5": "#9bd6fa",
    "drone6": "#a99be0",
    "drone7": "#c9c84a",
    "phase0": "#2a2f35",
    "phase1": "#2f5f80",
    "phase2": "#3f5f3f",
    "phase3": "#2a6fa0",
    "phase4": "#9a5a22",
    "phase5": "#3a4149",
    "phase6": "#8f3630",
}
DRONE_COLOURS = sum(name.startswith("drone") for name in LIGHT)
DASHES = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
"""Line styles, one per round of the drone colours."""


@dataclass(frozen=True)
class Palette:
    """Colours to draw with."""

    colours: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.colours[name]

    def drone(self, index: int) -> str:
        """Colour of the drone of that index in the team."""
        return self.colours[f"drone{index % DRONE_COLOURS}"]

    def phase(self, phase: int) -> str:
        """Colour of a `VehiclePhase`."""
        return self.colours[f"phase{phase}"]


def dash(index: int) -> str | tuple[int, tuple[float, ...]]:
    """Line style of the drone of that index in the team."""
    return DASHES[index // DRONE_COLOURS % len(DASHES)]


def hatch(index: int) -> str | None:
    """Hatching of bars of the drone of that index in the team."""
    return (None, "//////", "......", "xxxxxx")[index // DRONE_COLOURS % len(DASHES)]


STILL = Palette(LIGHT)
"""For pictures that stand alone."""
PAGE = Palette({name: f"#0d0e{i:02x}" for i, name in enumerate(LIGHT)})
"""For figures on the page: placeholders that `to_css` replaces."""


def to_css(svg: str) -> str:
    """SVG text with the placeholder colours of `PAGE` turned into CSS variables."""
    names = {colour: name for name, colour in PAGE.colours.items()}
    return re.sub("#0d0e[0-9a-f]{2}", lambda match: f"var(--{names[match[0]]})", svg)


def css_variables(colours: Mapping[str, str]) -> str:
    """Declarations of one theme's CSS variables."""
    return " ".join(f"--{name}: {value};" for name, value in colours.items())
