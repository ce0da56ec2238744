"""What runs where in one flight: a pure function from fleet, scenario and backend to processes and their parameters.

Who shares a process follows from what must survive what, and from the figures in docs/processes.md:

- per drone two processes: ``mind-<drone>`` decides (policy, resource monitor), ``wings-<drone>`` keeps it in the air
  (safety filter, vehicle adapter). A dead mind never takes the wings along;
- for the team one each: simulator, demand server, supervisor, recorder, and the stand-in, which is there already when
  wings end in mid-flight;
- a host carries at most 32 DDS participants per domain, beyond which peers silently miss each other. Where two
  processes per drone would exceed that, neighbouring minds share processes, and so do wings; a mind and wings never do.

The launch file and the `lgtc` command both execute exactly this plan. No ROS here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from lgtc_bringup.node_kinds import (
    CRAZYSWARM,
    DEMAND_SERVER,
    GAZEBO,
    KINDS,
    POLICY,
    RECORDER,
    RESOURCE_MONITOR,
    SAFETY_FILTER,
    SIMULATOR,
    STAND_IN,
    SUPERVISOR,
    VEHICLE,
    NodeKind,
    kind_of,
    with_bundles,
    with_poses_together,
)
from lgtc_core.errors import ConfigError
from lgtc_core.fleet.team import Team
from lgtc_core.mind.card import Policy

_CARRIERS = {"embedded": SIMULATOR, "crazyswarm2-sim": CRAZYSWARM, "gazebo": GAZEBO, "crazyflie": CRAZYSWARM}
_POSE_HEARERS = (POLICY, RECORDER, RESOURCE_MONITOR, SAFETY_FILTER, STAND_IN, VEHICLE)
BACKENDS = tuple(_CARRIERS)
"""embedded: our simulator. The others run already, or are started by a launch file of theirs (docs/hardware.md)."""
ROS_ARGUMENTS = ("--disable-external-lib-logs",)
"""Of every process: its output is kept beside the flight already, a second log in the user's home helps nobody."""
PLAN_FILE = "plan.json"
LEDGER_FILE = "ledger.sqlite"
BAG_DIR = "bag"

PARTICIPANTS_PER_HOST = 32
"""Most DDS participants (processes) per domain and host that all find each other on localhost discovery."""
PARTICIPANTS_KEPT_FREE = 3
"""Of them for people: the live view, and `ros2` commands of an operator."""
LARGE_TEAM_GROUPS = 2
"""Where one mind and one wings per drone do not fit, they share this many processes each, on as many processors."""
LARGE_TEAM_GROUP = (8, 16)
"""But no fewer and no more drones than these in one: a process hears every topic once, whatever the number of its
nodes, and decides for all its drones in one run of the network, so that few large ones cost less; and they fail
together."""

STANDBYS = 2
"""Demand servers that stand by where that is asked for: one that has been discovered, while another is started anew."""
RESTARTS = 3
"""A process that ends more often than this in one flight is not started again."""


class OnFailure(StrEnum):
    """What the end of a process in mid-flight means for the team."""

    LAND = "land"
    """The mission is aborted: all land."""
    STOP = "stop"
    """Nothing can land any more: all processes are stopped."""
    RESTART = "restart"
    """It is started again and goes on from where it was, `RESTARTS` times; after that, all land."""
    TELL = "tell"
    """The flight goes on; it is told."""


@dataclass(frozen=True)
class ProcessSpec:
    """One process to start."""

    name: str
    package: str
    executable: str
    nodes: tuple[str, ...]
    """Fully qualified names of the nodes inside."""
    arguments: tuple[str, ...]
    """Command line before ``--ros-args`` with `ROS_ARGUMENTS` and the parameter file."""
    on_failure: OnFailure
    why: str
    """Why these nodes share a process, one sentence."""


@dataclass(frozen=True)
class Inputs:
    """Absolute paths of what the flight is made from, and of where it leaves its traces."""

    fleet_file: Path
    scenario_file: Path
    model_dir: Path
    run_dir: Path


@dataclass(frozen=True)
class Plan:
    """A flight before it starts: every process, every node, every parameter."""

    scenario: str
    backend: str
    drones: tuple[str, ...]
    inputs: Inputs
    processes: tuple[ProcessSpec, ...]
    parameters: Mapping[str, Mapping[str, Any]]
    """ROS parameters per fully qualified node name."""
    environment: Mapping[str, str]
    """Environment of every process, where the user's own does not already say otherwise."""
    files: Mapping[Path, str]
    """Further files to write, path to text: inputs that were made for this flight."""

    @property
    def params_file(self) -> Path:
        """The one parameter file of all nodes."""
        return self.inputs.run_dir / "params.yaml"

    @property
    def plan_file(self) -> Path:
        """The plan as JSON, for people and for the recorder."""
        return self.inputs.run_dir / PLAN_FILE

    @property
    def bag_dir(self) -> Path:
        """Where the recorder writes."""
        return self.inputs.run_dir / BAG_DIR

    @property
    def records(self) -> bool:
        """Whether there will be a bag."""
        return RECORDER.node() in self.nodes

    @property
    def bundled(self) -> bool:
        """Whether what drones say travels in bundles."""
        return any(parameters["bundled"] for parameters in self.parameters.values())

    @property
    def nodes(self) -> tuple[str, ...]:
        """Fully qualified names of all nodes, in order of start."""
        return tuple(node for process in self.processes for node in process.nodes)

    def kind(self, node: str) -> NodeKind:
        """Kind of a node by its fully qualified name, with the topics that it has in this flight."""
        kind = kind_of(node)
        parameters = self.parameters[node]
        kind = with_poses_together(kind) if parameters.get("poses_together") else kind
        return with_bundles(kind) if parameters["bundled"] else kind

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "scenario": self.scenario,
            "backend": self.backend,
            "drones": list(self.drones),
            "inputs": {name: str(path) for name, path in vars(self.inputs).items()},
            "processes": [
                {
                    "name": process.name,
                    "package": process.package,
                    "executable": process.executable,
                    "nodes": list(process.nodes),
                    "arguments": list(process.arguments),
                    "on_failure": process.on_failure.value,
                    "why": process.why,
                }
                for process in self.processes
            ],
            "parameters": {node: dict(values) for node, values in self.parameters.items()},
            "environment": dict(self.environment),
        }

    def write(self) -> None:
        """Write params.yaml, plan.json and `files`; the run folder is made if need be."""
        self.inputs.run_dir.mkdir(parents=True, exist_ok=True)
        params = {node: {"ros__parameters": dict(values)} for node, values in self.parameters.items()}
        self.params_file.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        for path, text in self.files.items():
            path.write_text(text, encoding="utf-8")
        self.plan_file.write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")


def plan(
    team: Team,
    backend: str,
    inputs: Inputs,
    *,
    speed: float = 1.0,
    patience_s: float = 1.0,
    record: bool = True,
    policy: Policy = "model",
    command: str = "",
    node_parameters: Mapping[str, Mapping[str, Any]] | None = None,
    files: Mapping[Path, str] | None = None,
) -> Plan:
    """Place every node of a flight.

    Args:
        team: fleet and scenario, resolved.
        backend: who carries the drones; one of `BACKENDS`.
        inputs: files that the nodes read, folder that they write to; absolute paths.
        speed: simulated seconds per second, > 0.
        patience_s: how long the embedded simulator waits for a process that is late, >= 0 [s, real time].
        record: False leaves the recorder out, and with it bag and report.
        policy: who decides; a yardstick is central, so its minds share one process.
        command: what the user typed, for the record.
        node_parameters: values per kind of node that replace the nodes' own defaults (config/nodes/<kind>.yaml).
        files: further files of this flight, see `Plan.files`.

    Raises:
        ConfigError: unknown backend, speed not positive, patience negative, parameters for a kind that does not exist,
            bundles for some nodes only.
    """
    if backend not in BACKENDS:
        raise ConfigError("backend", "", repr(backend), f"one of {', '.join(BACKENDS)}")
    if not (math.isfinite(speed) and speed > 0.0):
        raise ConfigError("speed", "", repr(speed), "a number above 0 (simulated seconds per second)")
    if not (math.isfinite(patience_s) and patience_s >= 0.0):
        raise ConfigError("patience", "", repr(patience_s), "a number of seconds, 0 or more")
    chosen = node_parameters or {}
    for name in chosen:
        if name not in KINDS:
            raise ConfigError("node parameters", name, "an unknown kind of node", f"one of {', '.join(KINDS)}")
    drones = team.names
    team_kinds = (RECORDER, _CARRIERS[backend], DEMAND_SERVER, STAND_IN)
    before = [_team_process(kind) for kind in team_kinds if record or kind is not RECORDER]
    if chosen.get(DEMAND_SERVER.kind, {}).get("standby"):
        before += [_standby(number + 1) for number in range(STANDBYS)]
    after = [_team_process(SUPERVISOR)]  # last, as it is the one that starts the mission
    room = PARTICIPANTS_PER_HOST - PARTICIPANTS_KEPT_FREE - len(before) - len(after)
    size = 1
    if len(drones) > room // 2:
        least, most = LARGE_TEAM_GROUP
        size = min(max(least, math.ceil(len(drones) / LARGE_TEAM_GROUPS)), most)
        size = max(size, math.ceil(len(drones) / (room // 2)))
    groups = [drones[i : i + size] for i in range(0, len(drones), size)]
    wings = [_drone_process("wings", (SAFETY_FILTER, VEHICLE), group) for group in groups]
    minds = [
        _drone_process("mind", (POLICY, RESOURCE_MONITOR), group)
        for group in (groups if policy == "model" else [drones])
    ]
    processes = (*before, *wings, *minds, *after)
    parameters = {
        node: _parameters(kind_of(node), inputs, backend, speed, patience_s, policy, command, bundled=size > 1)
        | deepcopy(dict(chosen.get(kind_of(node).kind, {})))  # its own: rcl reads no YAML with aliases
        for process in processes
        for node in process.nodes
    }
    if len({values["bundled"] for values in parameters.values()}) > 1:
        raise ConfigError("node parameters", "bundled", "true for some nodes and false for others", "the same for all")
    return Plan(
        scenario=team.scenario,
        backend=backend,
        drones=drones,
        inputs=inputs,
        processes=processes,
        parameters=parameters,
        environment={
            # one drone's node needs no thread pool; fifteen pools on two cores only fight
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        },
        files=files or {},
    )


_HOST = ("lgtc_nodes", "host")
"""Package and program that composes any of our nodes in one process."""
_TEAM_PROCESSES: dict[str, tuple[OnFailure, str]] = {
    RECORDER.kind: (OnFailure.TELL, "a full disk or a slow one must not touch a drone"),
    SIMULATOR.kind: (OnFailure.STOP, "it stands for the drones themselves, and is the clock"),
    GAZEBO.kind: (OnFailure.STOP, "it is the drones' firmware, and the clock"),
    CRAZYSWARM.kind: (OnFailure.RESTART, "it is the only way to the drones, and keeps nothing in mind"),
    DEMAND_SERVER.kind: (OnFailure.RESTART, "its book must outlive any drone's software"),
    STAND_IN.kind: (OnFailure.RESTART, "it takes over from wings that end, so it must not end with them"),
    SUPERVISOR.kind: (
        OnFailure.LAND,
        "its silence must mean that it is dead, not that another node beside it is slow",
    ),
}
_DRONE_PROCESSES = {
    "wings": "what keeps a drone in the air, apart from what decides",
    "mind": "what decides may fail without the drone falling",
}


def _team_process(kind: NodeKind) -> ProcessSpec:
    on_failure, why = _TEAM_PROCESSES[kind.kind]
    return ProcessSpec(kind.kind, *_HOST, (kind.node(),), ("--node", kind.kind), on_failure, why)


def _standby(number: int) -> ProcessSpec:
    """One more demand server, which waits for the ledger."""
    server = _team_process(DEMAND_SERVER)
    return replace(server, name=f"{server.name}-standby-{number}", why="it goes on at once where the other one ends")


def _drone_process(role: str, kinds: tuple[NodeKind, ...], drones: tuple[str, ...]) -> ProcessSpec:
    name = f"{role}-{drones[0]}" if len(drones) == 1 else f"{role}-{drones[0]}-{drones[-1]}"
    placed = [(kind, drone) for drone in drones for kind in kinds]
    return ProcessSpec(
        name=name,
        package=_HOST[0],
        executable=_HOST[1],
        nodes=tuple(kind.node(drone) for kind, drone in placed),
        arguments=(
            *(word for kind, drone in placed for word in ("--node", f"{kind.kind}:{drone}")),
            *(("--no-parameter-services",) if len(drones) > 1 else ()),
        ),
        on_failure=OnFailure.TELL if role == "wings" else OnFailure.RESTART,  # the stand-in lands what wings carried
        why=_DRONE_PROCESSES[role],
    )


def _parameters(
    kind: NodeKind, inputs: Inputs, backend: str, speed: float, patience_s: float, policy: Policy, command: str,
    *, bundled: bool,
) -> dict[str, Any]:  # fmt: skip
    """Parameters that the plan decides; the rest has its default in the node."""
    values: dict[str, Any] = {
        # a simulator is the clock; real drones live in real time
        "use_sim_time": kind is not SIMULATOR and backend != "crazyflie",
        "fleet_file": str(inputs.fleet_file),
        "scenario_file": str(inputs.scenario_file),
        "bundled": bundled,
    }
    if kind in _POSE_HEARERS:
        values["poses_together"] = _CARRIERS[backend] is SIMULATOR
    if kind in (POLICY, RECORDER):
        values |= {"model_dir": str(inputs.model_dir), "policy": policy}
    if kind is RECORDER:
        values |= {"run_dir": str(inputs.run_dir), "plan_file": str(inputs.run_dir / PLAN_FILE)}
        values |= {"backend": backend, "command": command}
    if kind is DEMAND_SERVER:
        values["ledger_file"] = str(inputs.run_dir / LEDGER_FILE)
    if kind is CRAZYSWARM:
        values["simulated"] = backend == "crazyswarm2-sim"
    if kind is SIMULATOR:
        values |= {"speed": speed, "patience_s": patience_s}
    if kind is SUPERVISOR:
        values |= {"stand_in": True, "preflight": backend != "embedded"}
    return values
