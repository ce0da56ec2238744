"""From what the user names to a plan: finds fleet, scenario and model, reads them, and plans. For `lgtc` and launch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml

from lgtc_bringup.node_kinds import KINDS
from lgtc_bringup.plan import BACKENDS, BAG_DIR, Inputs, Plan, plan
from lgtc_core import schema
from lgtc_core.errors import ConfigError
from lgtc_core.fleet.fleet import load_fleet
from lgtc_core.fleet.scenario import VehicleModel, build_scenario, load_scenario
from lgtc_core.fleet.team import Team, check_model, resolve
from lgtc_core.mind.card import CARD_FILE, ModelCard, Policy, load_card

FLEET = "fleet"
SCENARIO = "battery_handover"
MODEL = "lgtc"


@dataclass(frozen=True)
class Choice:
    """What the user chose. A name stands for what is shipped, anything with a slash or an ending for a path."""

    fleet: Annotated[str, "fleet file, or name of a shipped one"] = FLEET
    scenario: Annotated[str, "scenario file, or name of a shipped one"] = SCENARIO
    model: Annotated[str, "folder of a model, or name of a shipped one"] = MODEL
    policy: Annotated[Policy, "who decides: the model, or a central yardstick at its tick: expert, greedy"] = "model"
    backend: Annotated[str, f"who carries the drones: {', '.join(BACKENDS)}"] = "embedded"
    speed: Annotated[float, "simulated seconds per second"] = 1.0
    patience: Annotated[
        float, "how long the simulated world waits for a late process; 0: for none, as real drones [s, real time]"
    ] = 1.0
    record: Annotated[bool, "whether to record a bag; without one there is no report"] = True
    run_dir: Annotated[str | None, "folder for bag, report and logs; default: runs/<date>-<scenario>"] = None
    duration_s: Annotated[float | None, "fly this long instead of as the scenario says [s]"] = None
    vehicle: Annotated[
        str | None,
        f"how simulated drones move, instead of as the files say: {', '.join(m.value for m in VehicleModel)}",
    ] = None
    command: Annotated[str, "what the user typed, for the record"] = ""


ABOUT = {field.name: field.sentence for field in schema.fields_of(Choice)}
"""What each part of the choice means, for help texts."""
LAUNCH_ARGUMENTS = {
    field.name: "" if field.default is None else str(field.default).lower()
    for field in schema.fields_of(Choice)
    if field.name not in ("duration_s", "command")
}
"""Arguments of the launch file with their defaults, as text."""
LAUNCH_ARGUMENTS_ELSEWHERE = {
    name: text for name, text in LAUNCH_ARGUMENTS.items() if name not in ("backend", "speed", "patience", "vehicle")
}
"""Those of the launch files of backends that bring their own vehicles and time."""


def choice_of_texts(texts: Mapping[str, str]) -> Choice:
    """The choice that launch arguments make.

    Raises:
        ConfigError: an unknown argument, or a value of the wrong type.
    """
    typed = {
        name: yaml.safe_load(text) if name in ("speed", "patience", "record") else text
        for name, text in texts.items()
        if text
    }
    return schema.build(Choice, {"command": "ros2 launch lgtc_bringup swarm.launch.py", **typed}, "launch arguments")


def home() -> Path:
    """The folder that holds config/, launch/ and models/: the package in a source checkout, else the installed share.

    Raises:
        ConfigError: neither is there.
    """
    return _resources("lgtc_bringup", "config")


def definitions_dir() -> Path:
    """The folder with the message definitions of lgtc_interfaces, which bags carry. Raises ConfigError like `home`."""
    return _resources("lgtc_interfaces", "msg") / "msg"


def shipped(folder: str, suffix: str) -> tuple[str, ...]:
    """Names of what is shipped in a folder below `home`, as in ``shipped("config/scenarios", ".yaml")``."""
    return tuple(sorted(path.stem for path in (home() / folder).glob(f"*{suffix}")))


def fleet_path(name: str) -> Path:
    """Absolute path of a fleet file. Raises ConfigError if there is none."""
    return _found(name, "config", ".yaml", "fleet")


def scenario_path(name: str) -> Path:
    """Absolute path of a scenario file. Raises ConfigError if there is none."""
    return _found(name, "config/scenarios", ".yaml", "scenario")


def model_path(name: str) -> Path:
    """Absolute path of a model's folder. Raises ConfigError if there is none."""
    path = Path(name).expanduser().resolve() if _is_path(name) else home() / "models" / name
    if (path / CARD_FILE).is_file():
        return path.resolve()
    known = sorted(card.parent.name for card in (home() / "models").glob(f"*/{CARD_FILE}"))
    raise ConfigError(
        "model", "", repr(name), f"a folder with a {CARD_FILE}, or one of {', '.join(known) or '(none is shipped)'}"
    )


def default_run_dir(scenario: str) -> Path:
    """runs/<date>-<scenario> below the current folder, a number added while it is taken."""
    stem = Path("runs").absolute() / f"{time.strftime('%Y-%m-%d-%H%M%S')}-{scenario}"
    path, number = stem, 1
    while path.exists():
        number += 1
        path = stem.with_name(f"{stem.name}-{number}")
    return path


def link_latest(run_dir: Path) -> None:
    """Let the link `latest` beside a run folder point at it; a real file or folder of that name stays."""
    link = run_dir.parent / "latest"
    if link.is_symlink() or not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(run_dir.name)


def node_parameters() -> Mapping[str, Mapping[str, Any]]:
    """Values of config/nodes/<kind>.yaml by kind of node; the nodes themselves check names, types and ranges.

    Raises:
        ConfigError: a file for a kind that does not exist, or without names.
    """
    result = {}
    for path in sorted((home() / "config" / "nodes").glob("*.yaml")):
        if path.stem not in KINDS:
            raise ConfigError(str(path), "", "parameters of an unknown kind of node", f"one of {', '.join(KINDS)}")
        data = schema.load_yaml(path) or {}
        if not isinstance(data, Mapping):
            raise ConfigError(str(path), "", "no mapping", "parameters by name, groups as nested mappings")
        result[path.stem] = dict(data)
    return result


def prepare(choice: Choice) -> tuple[Plan, Team, ModelCard]:
    """Read, cross-check and plan. Writes nothing.

    Raises:
        ConfigError: a file is missing or wrong, the backend is unknown, the run folder holds a flight already.
        ContractError: the model does not fit fleet and scenario.
    """
    fleet_file, scenario_file = fleet_path(choice.fleet), scenario_path(choice.scenario)
    run_dir = Path(choice.run_dir).expanduser().absolute() if choice.run_dir else default_run_dir(scenario_file.stem)
    if (run_dir / BAG_DIR).exists():
        raise ConfigError("run folder", "", f"{run_dir}, which holds a flight already", "a new or empty folder")
    scenario, files = load_scenario(scenario_file), {}
    vehicle = choice.vehicle
    if choice.backend != "embedded":
        if vehicle is not None:
            raise ConfigError(
                "vehicle", "", f"{vehicle}, with {choice.backend}", "none: it is a choice of the embedded simulator"
            )
        vehicle = VehicleModel.CRAZYFLIE.value  # what flies there responds like one
    if choice.duration_s is not None or vehicle is not None:
        data = schema.load_yaml(scenario_file)
        if choice.duration_s is not None:
            data = _with_duration(data, choice.duration_s)
        if vehicle is not None:
            data = {**data, "vehicle": vehicle}
        scenario = build_scenario(data, str(scenario_file))
        scenario_file = run_dir / scenario_file.name
        files = {scenario_file: yaml.safe_dump(data, sort_keys=False)}
    team = resolve(load_fleet(fleet_file), scenario)
    if choice.backend == "gazebo":
        from lgtc_sim import gazebo  # loads numba, which no other command needs

        files |= {run_dir / gazebo.WORLD_FILE: gazebo.world(team), run_dir / gazebo.BRIDGE_FILE: gazebo.bridge(team)}
    model_dir = model_path(choice.model)
    card = load_card(model_dir)
    check_model(team, card, card.tick_s)
    planned = plan(
        team,
        choice.backend,
        Inputs(fleet_file, scenario_file, model_dir, run_dir),
        speed=choice.speed,
        patience_s=choice.patience,
        record=choice.record,
        policy=choice.policy,
        command=choice.command,
        node_parameters=node_parameters(),
        files=files,
    )
    return planned, team, card


def _resources(package: str, folder: str) -> Path:
    """The package in a source checkout if it has `folder`, else its installed share."""
    checkout = Path(__file__).resolve().parents[2] / package
    if (checkout / folder).is_dir():
        return checkout
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        return Path(get_package_share_directory(package))
    except PackageNotFoundError:
        raise ConfigError(package, "", "no installed share", "a built workspace; source install/setup.bash") from None


def _is_path(name: str) -> bool:
    return "/" in name or name.startswith((".", "~"))


def _found(name: str, folder: str, suffix: str, what: str) -> Path:
    """Path that `name` means: a file as it stands, or a shipped one by its bare name."""
    bare = not _is_path(name) and not name.endswith(suffix)
    path = home() / folder / f"{name}{suffix}" if bare else Path(name).expanduser()
    if path.is_file():
        return path.resolve()
    known = ", ".join(shipped(folder, suffix)) or "(none is shipped)"
    raise ConfigError(what, "", repr(name), f"the path of a {suffix} file, or one of {known}")


def _with_duration(data: dict[str, Any], duration_s: float) -> dict[str, Any]:
    """Plain data of a valid scenario that lasts `duration_s`; events after its end are left out."""
    events = [event for event in data.get("events", []) if event["at_s"] <= duration_s]
    return {**data, "duration_s": duration_s, "events": events}
