"""Plans, models, verdicts and usage as tables for people. Drawing only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from lgtc_analysis.verdict import Outcome, Verdict
from lgtc_bringup.node_kinds import resolved
from lgtc_bringup.plan import Plan
from lgtc_bringup.preflight import Check
from lgtc_bringup.usage import Usage
from lgtc_core.mind.card import ModelCard
from lgtc_core.schema import dump


def plan_table(plan: Plan) -> Table:
    """Processes, their nodes, what their failure means, and why they are processes of their own."""
    title = f"{plan.scenario} on {plan.backend}: {len(plan.processes)} processes, {len(plan.nodes)} nodes"
    table = _table("process", "nodes", "if it fails", "why", title=title)
    for process in plan.processes:
        table.add_row(process.name, "\n".join(process.nodes), process.on_failure.value, process.why)
    return table


def plan_tree(plan: Plan) -> Tree:
    """Processes, nodes, and each node's topics and services."""
    tree = Tree(f"{plan.scenario} on {plan.backend}")
    for process in plan.processes:
        branch = tree.add(Text(process.name, style="bold"))
        for node in process.nodes:
            kind = plan.kind(node)
            drone = node.split("/")[1] if kind.per_drone else None
            leaf = branch.add(node)
            for verb, names in (
                ("publishes", kind.publishes),
                ("subscribes", kind.subscribes),
                ("serves", kind.serves),
                ("asks", kind.asks),
            ):
                if names:
                    listed = " ".join(sorted(resolved(names, drone, plan.drones)))
                    leaf.add(Text(f"{verb} {listed}", style="dim"))
    return tree


def card_table(card: ModelCard, directory: Path) -> Table:
    """Every entry of a model card; nested ones with dots."""
    table = _table("entry", "value", title=str(directory))
    for name, value in _flat(dump(card)):
        table.add_row(name, value if isinstance(value, str) else json.dumps(value))
    return table


def verdict_table(verdict: Verdict) -> Table:
    """The checks of a flight, got and needed."""
    table = _table("", "check", "got", "needed", title=verdict.headline)
    styles = {Outcome.PASS: "green", Outcome.FAIL: "bold red", Outcome.NONE: "dim"}
    for check in verdict.checks:
        table.add_row(Text(check.outcome.value, style=styles[check.outcome]), check.name, check.got, check.needed)
    return table


def checks_table(checks: Iterable[Check]) -> Table:
    """The pre-flight gate's checks, got and needed."""
    table = _table("", "check", "got", "needed", title="pre-flight")
    for check in checks:
        mark = Text("PASS", style="green") if check.passed else Text("FAIL", style="bold red")
        table.add_row(mark, check.name, check.got, check.needed)
    return table


def usage_table(usage: Mapping[str, Usage]) -> Table:
    """CPU and memory per process, and in all."""
    table = _table("process", "CPU [cores]", "memory, PSS [MB]", "memory, RSS [MB]")
    for name, one in usage.items():
        table.add_row(name, f"{one.cores:.3f}", f"{one.memory_mb:.0f}", f"{one.resident_mb:.0f}")
    if usage:
        cores, memory_mb = sum(one.cores for one in usage.values()), sum(one.memory_mb for one in usage.values())
        table.add_row("all", f"{cores:.3f}", f"{memory_mb:.0f}", "", style="bold")
    return table


def usage_data(usage: Mapping[str, Usage], plan: Plan) -> dict[str, Any]:
    """The same as plain data, with the nodes of every process."""
    nodes = {process.name: list(process.nodes) for process in plan.processes}
    return {
        "phase": "ACTIVE",
        "speed": next((values["speed"] for values in plan.parameters.values() if "speed" in values), 1.0),
        "processes": {
            name: {**dump(one), "cores": one.cores, "nodes": nodes.get(name, [])} for name, one in usage.items()
        },
    }


def _table(*columns: str, title: str = "") -> Table:
    table = Table(*columns, title=title or None, title_justify="left", box=None, header_style="bold", pad_edge=False)
    return table


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
