"""Put the scores of several trained seeds side by side: does it depend on the seed?

    python -m lgtc_training.seeds models/lgtc_1 models/lgtc_2 models/lgtc_3 models/lgtc_4

Reads the cards that `lgtc_training.export` wrote and prints a Markdown table: of every case the return over the
expert's by training seed, then mean and standard deviation over the training seeds of return and satisfaction; last,
the share of hand-overs in time, over all trials.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from lgtc_core.errors import ConfigError, LgtcError
from lgtc_core.mind.card import load_card

HAND_OVERS = {"hand_over_slow_vehicles": "hand-over, slow vehicles", "hand_over_full_speed": "hand-over, full speed"}


def table(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines of the table; `scores` of every card by its name."""
    first = next(iter(scores.values()))
    cases = [key for key, value in first.items() if isinstance(value, Mapping) and "ratio" in value]
    missing = [f"{name}: {key}" for name, one in scores.items() for key in (*cases, *HAND_OVERS) if key not in one]
    if missing:
        raise ConfigError("card.json", "scores", f"none of {', '.join(missing)}", "the same cases in every card")
    lines = [f"| case | {' | '.join(scores)} | return | satisfaction |", "| --- " * (len(scores) + 3) + "|"]
    for case in cases:
        returns = [one[case]["ratio"] for one in scores.values()]
        satisfied = [one[case]["satisfaction_ratio"] for one in scores.values()]
        lines.append(f"| {case} | {' | '.join(map(_text, returns))} | {_spread(returns)} | {_spread(satisfied)} |")
    for key, name in HAND_OVERS.items():
        shares = [_share(one[key]) for one in scores.values()]
        trials = sum(int(row["trials"]) for one in scores.values() for row in one[key])
        lines.append(f"| {name} | {' | '.join(map(_text, shares))} | {_spread(shares)} | of {trials} trials |")
    return lines


def _share(rows: Sequence[Mapping[str, float]]) -> float:
    """Share of trials in time."""
    return float(sum(row["covered"] * row["trials"] for row in rows) / sum(row["trials"] for row in rows))


def _spread(values: Sequence[float]) -> str:
    return _text(mean(values)) + (f" +- {_text(stdev(values))}" if len(values) > 1 else "")


def _text(value: float) -> str:
    return f"{value:.3f}".removeprefix("0") if value >= 0 else f"{value:.3f}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+", help="folders with a card.json each")
    arguments = parser.parse_args()
    try:
        scores = {folder.name: load_card(folder).scores for folder in arguments.models}
        print("\n".join(table(scores)))
    except LgtcError as error:
        raise SystemExit(f"seeds: {error}") from None


if __name__ == "__main__":
    main()
