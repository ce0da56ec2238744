"""The `lgtc` command: fly a scenario, show the plan, write a report, look at a model, check files.

Exit codes: 0 all well (of a flight: the verdict passed), 1 the flight failed its verdict or did not end well, 2
something given was wrong (one sentence with file, key, got, expected), 130 a person stopped it before it flew.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import webbrowser
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TextColumn

from lgtc_bringup import (
    chaos_command,
    crazyswarm,
    demand_command,
    hand_commands,
    inputs,
    ledger_command,
    preflight,
    show,
)
from lgtc_bringup.domain import claimed, refusal
from lgtc_bringup.flight import Flight, Interrupts
from lgtc_bringup.inputs import Choice
from lgtc_bringup.live import LiveView
from lgtc_bringup.plan import LEDGER_FILE, Plan
from lgtc_bringup.runner import ProcessError, Runner, environment_of
from lgtc_core import schema, topics
from lgtc_core.demand.view import DemandView
from lgtc_core.errors import ConfigError, LgtcError
from lgtc_core.fleet.fleet import load_fleet
from lgtc_core.fleet.team import Team
from lgtc_core.flight import gate
from lgtc_core.flight.phases import MissionPhase
from lgtc_core.mind.card import load_card

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    arguments = _parser().parse_args(argv)
    console = Console(highlight=False)
    try:
        return int(arguments.run(arguments, console))
    except LgtcError as error:
        print(f"lgtc: {error}", file=sys.stderr)
        return FAILED if isinstance(error, ProcessError) else USAGE
    except KeyboardInterrupt:
        print("lgtc: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `lgtc plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lgtc", description="Fly a swarm that decides with LGTC policies.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    sim = commands.add_parser(
        "sim", help="fly a scenario in the simulator, with a live picture and a report at the end"
    )
    _flight_arguments(sim)
    sim.add_argument("--no-live", "--headless", action="store_true", help="lines instead of the live picture")
    sim.add_argument(
        "--offline", action="store_true", help="the same closed loop in one process, without ROS, as fast as it goes"
    )
    sim.add_argument("--no-record", action="store_true", help="no bag, hence no report")
    sim.add_argument("--open", action="store_true", help="open the report in the browser")
    sim.set_defaults(run=_sim)

    plan = commands.add_parser("plan", help="show which node runs in which process, and why")
    _flight_arguments(plan)
    form = plan.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the whole plan, parameters included, as JSON")
    form.add_argument("--tree", action="store_true", help="processes, nodes, topics and services as a tree")
    plan.set_defaults(run=_plan)

    report = commands.add_parser("report", help="write the HTML report of a recorded flight")
    report.add_argument("bag", type=Path, help="a bag, or the run folder that holds it")
    report.add_argument("-o", "--output", type=Path, help="default: report.html beside the bag")
    report.add_argument(
        "--beside",
        type=Path,
        metavar="BAG",
        help="another flight of the scenario, the expert's, to compare",
    )
    report.add_argument("--open", action="store_true", help="open it in the browser")
    report.set_defaults(run=_report)

    model = commands.add_parser("model", help="look at a model").add_subparsers(required=True, metavar="COMMAND")
    model_show = model.add_parser("show", help="what a model's card says")
    model_show.add_argument(
        "model", nargs="?", default=inputs.MODEL, help="folder, or name of a shipped model (%(default)s)"
    )
    model_show.add_argument("--json", action="store_true", help="as JSON")
    model_show.set_defaults(run=_model_show)

    check = commands.add_parser("check", help="check that fleet, scenario and model are right and fit each other")
    _flight_arguments(check)
    check.set_defaults(run=_check)

    files = commands.add_parser("crazyswarm2", help="write the files that crazyswarm2 reads, made from the fleet")
    files.add_argument("folder", type=Path, help="where to")
    files.add_argument("--fleet", default=inputs.FLEET, help=f"{inputs.ABOUT['fleet']} (%(default)s)")
    files.add_argument("--count", type=int, metavar="N", help="the first N drones; default: those in the file")
    files.set_defaults(run=_crazyswarm)

    world = commands.add_parser("gazebo", help="write the world and the bridge file that Gazebo needs for a scenario")
    world.add_argument("folder", type=Path, help="where to")
    _flight_arguments(world)
    world.set_defaults(run=_gazebo)

    before = commands.add_parser("preflight", help="check all that must hold before drones leave the ground")
    _flight_arguments(before)
    before.add_argument("--dry-run", action="store_true", help="files only, no drones")
    before.add_argument(
        "--listen", type=float, default=3.0, metavar="S", help="listen so long to the drones (%(default)s)"
    )
    before.set_defaults(run=_preflight)

    for module in (demand_command, hand_commands, ledger_command, chaos_command):
        module.register(commands)

    version = commands.add_parser("version", help="versions of our packages")
    version.set_defaults(run=_version)
    return parser


def _flight_arguments(parser: argparse.ArgumentParser) -> None:
    """What names a flight; the same for every command that is about one."""
    about = inputs.ABOUT
    parser.add_argument("name", nargs="?", metavar="SCENARIO", help=f"{about['scenario']} ({inputs.SCENARIO})")
    parser.add_argument("--scenario", help="the same as an option")
    parser.add_argument("--fleet", default=inputs.FLEET, help=f"{about['fleet']} (%(default)s)")
    parser.add_argument("--model", default=inputs.MODEL, help=f"{about['model']} (%(default)s)")
    parser.add_argument(
        "--policy", choices=("model", "expert", "greedy"), default="model", help=f"{about['policy']} (%(default)s)"
    )
    parser.add_argument("--backend", default="embedded", help=f"{about['backend']} (%(default)s)")
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help=f"{about['speed']} (%(default)s)")
    parser.add_argument("--patience", type=float, default=1.0, metavar="S", help=f"{about['patience']} (%(default)s)")
    parser.add_argument("--duration", type=float, metavar="S", help=about["duration_s"])
    parser.add_argument("--vehicle", metavar="MODEL", help=about["vehicle"])
    parser.add_argument("--run-dir", metavar="DIR", help=about["run_dir"])


def _choice(arguments: argparse.Namespace) -> Choice:
    return Choice(
        fleet=arguments.fleet,
        scenario=arguments.name or arguments.scenario or inputs.SCENARIO,
        model=arguments.model,
        policy=arguments.policy,
        backend=arguments.backend,
        run_dir=arguments.run_dir,
        speed=arguments.speed,
        patience=arguments.patience,
        record=not getattr(arguments, "no_record", False),
        duration_s=arguments.duration,
        vehicle=arguments.vehicle,
        command=shlex.join(["lgtc", *sys.argv[1:]]),
    )


def _sim(arguments: argparse.Namespace, console: Console) -> int:
    if arguments.offline and arguments.no_record:
        raise ConfigError(
            "command line", "--no-record", "given with --offline", "one of them, as a bag is all that is left"
        )
    plan, team, _ = inputs.prepare(_choice(arguments))
    preflight.refuse(plan, team)
    plan.write()
    if arguments.offline:
        completed = _fly_offline(plan, team, console)
    else:
        completed = _fly(plan, console, live=not arguments.no_live)
    passed = _judged(plan, console, arguments.open) if plan.bag_dir.exists() else not plan.records
    return OK if completed and passed else FAILED


def _fly(plan: Plan, console: Console, *, live: bool) -> bool:
    """Fly through ROS; True if the flight ended as it should."""
    os.environ.update(environment_of(plan, os.environ))
    from lgtc_bringup.monitor import Monitor  # loads ROS, which no other command needs
    from lgtc_core.flight import guard_memory

    # Here, once, with a word to whoever waits: in the drones' own processes it would count as not coming up.
    with console.status("compiling the safety filter, if it has changed"):
        guard_memory.prepare()
    with (
        claimed(),
        Interrupts().counting() as interrupts,
        Monitor(plan.drones, bundled=plan.bundled) as monitor,
        Runner(plan) as runner,
    ):
        if monitor.others_flying():
            raise refusal()
        inputs.link_latest(plan.inputs.run_dir)
        with LiveView(console, live=live) as view:
            outcome = Flight(plan, runner, monitor, view, interrupts).fly()
    usage_file = plan.inputs.run_dir / "processes.json"
    usage_file.write_text(json.dumps(show.usage_data(outcome.usage, plan), indent=2) + "\n", encoding="utf-8")
    console.print(show.usage_table(outcome.usage))
    for note in outcome.notes:
        console.print(note, style="bold red", markup=False, soft_wrap=True)
    return outcome.completed


def _fly_offline(plan: Plan, team: Team, console: Console) -> bool:
    """Fly without ROS into the same kind of bag; True when the mission came to its end."""
    from lgtc_analysis.recording import flight_info, open_bag
    from lgtc_core.flight import guard_memory
    from lgtc_core.mind import team_minds
    from lgtc_sim.offline import fly

    policy = plan.parameters["/recorder"]["policy"]
    with console.status("compiling what filters and decides, if it has changed"):
        guard_memory.prepare()
        if policy == "model":
            team_minds.prepare()

    info = flight_info(
        team,
        plan.inputs.model_dir,
        "offline",
        receive_clock="simulated",
        command=plan.parameters["/recorder"]["command"],
        policy=policy,
    )
    with (
        open_bag(plan.bag_dir, inputs.definitions_dir(), info, 0) as bag,
        Progress(*Progress.get_default_columns(), TextColumn("{task.fields[phase]}"), console=console) as bar,
    ):
        inputs.link_latest(plan.inputs.run_dir)
        task = bar.add_task("flying", total=team.duration_s, phase="")

        def show_progress(time_s: float, phase: MissionPhase, demand: DemandView) -> None:
            bar.update(task, completed=time_s, phase=f"{phase.name} demand {demand.share_met:.0%}")

        result = fly(
            team,
            plan.inputs.model_dir,
            recorder=bag,
            progress=show_progress,
            policy=policy,
            ledger=plan.inputs.run_dir / LEDGER_FILE,
        )
        bar.update(task, completed=team.duration_s)
    return result.mission[-1][1] is MissionPhase.DONE


def _judged(plan: Plan, console: Console, open_it: bool) -> bool:
    """Write the report and tell its verdict; True if it passed."""
    return _write_report(plan.bag_dir, plan.inputs.run_dir / "report.html", console, open_it)


def _write_report(bag: Path, output: Path, console: Console, open_it: bool, beside: Path | None = None) -> bool:
    from lgtc_analysis.report import write_report  # loads matplotlib

    with console.status("writing the report ..."):
        verdict = write_report(bag, output, beside)
    console.print(show.verdict_table(verdict))
    console.print(f"report: {output}", markup=False, soft_wrap=True)
    if open_it:
        webbrowser.open(output.resolve().as_uri())
    return verdict.passed


def _plan(arguments: argparse.Namespace, console: Console) -> int:
    plan, _, _ = inputs.prepare(_choice(arguments))
    if arguments.json:
        sys.stdout.write(json.dumps(plan.as_dict(), indent=2) + "\n")
    else:
        console.print(show.plan_tree(plan) if arguments.tree else show.plan_table(plan))
    return OK


def _report(arguments: argparse.Namespace, console: Console) -> int:
    bag = _bag(arguments.bag)
    output = arguments.output or bag.parent / "report.html"
    beside = None if arguments.beside is None else _bag(arguments.beside)
    return OK if _write_report(bag, output, console, arguments.open, beside) else FAILED


def _bag(path: Path) -> Path:
    """A bag, given as itself or as the run folder that holds it."""
    return path / "bag" if (path / "bag").is_dir() else path


def _model_show(arguments: argparse.Namespace, console: Console) -> int:
    directory = inputs.model_path(arguments.model)
    card = load_card(directory)
    if arguments.json:
        sys.stdout.write(json.dumps(schema.dump(card), indent=2) + "\n")
    else:
        console.print(show.card_table(card, directory))
    return OK


def _check(arguments: argparse.Namespace, console: Console) -> int:
    plan, team, card = inputs.prepare(_choice(arguments))
    console.print(
        f"{plan.scenario}: {len(team.drones)} drones, {len(team.consumers)} consumers, model {card.name}: all fits; "
        f"{len(plan.processes)} processes, {len(plan.nodes)} nodes",
        markup=False,
        soft_wrap=True,
    )
    return OK


def _preflight(arguments: argparse.Namespace, console: Console) -> int:
    plan, team, _ = inputs.prepare(_choice(arguments))
    checks = preflight.of_files(plan, team)
    if not arguments.dry_run:
        os.environ.update(environment_of(plan, os.environ))
        from lgtc_bringup.asking import Asking  # loads ROS

        with Asking() as asking:
            seen = asking.seen(team.names, arguments.listen, real_time=plan.backend == "crazyflie")
            speakers = asking.speakers(topics.CLOCK)
        checks += (gate.clock_source(plan.backend != "crazyflie", speakers),)
        checks += gate.observed(team, seen, arguments.listen)
    console.print(show.checks_table(checks))
    refused = [check for check in checks if not check.passed]
    console.print(
        f"{len(checks) - len(refused)} of {len(checks)} checks passed; fleet, scenario and model fit each other",
        markup=False,
    )
    return FAILED if refused else OK


def _crazyswarm(arguments: argparse.Namespace, console: Console) -> int:
    fleet = load_fleet(inputs.fleet_path(arguments.fleet))
    names = tuple(fleet.first(arguments.count) if arguments.count else fleet.drones)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for path, text in crazyswarm.files(fleet, names, arguments.folder).items():
        path.write_text(text, encoding="utf-8")
        console.print(str(path), markup=False, soft_wrap=True)
    return OK


def _gazebo(arguments: argparse.Namespace, console: Console) -> int:
    plan, _, _ = inputs.prepare(replace(_choice(arguments), backend="gazebo"))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for path in (path for path in plan.files if path != plan.inputs.scenario_file):
        (arguments.folder / path.name).write_text(plan.files[path], encoding="utf-8")
        console.print(str(arguments.folder / path.name), markup=False, soft_wrap=True)
    return OK


def _version(arguments: argparse.Namespace, console: Console) -> int:
    for name in ("lgtc_core", "lgtc_nodes", "lgtc_sim", "lgtc_bringup", "lgtc_analysis"):
        console.print(f"{name} {metadata.version(name)}")
    return OK


if __name__ == "__main__":
    sys.exit(main())
