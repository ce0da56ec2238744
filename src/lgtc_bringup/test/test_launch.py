"""The launch file places the plan's processes and nothing else, in forty lines.

`launch` and `launch_ros` come with a ROS installation, not as wheels, so recording stand-ins take their place here; the
same file is run by the real `ros2 launch` where there is one.
"""

import importlib.util
import sys
import types
from typing import Any

import pytest

from lgtc_bringup import inputs
from lgtc_bringup.plan import OnFailure

LAUNCH_FILE = inputs.home() / "launch" / "swarm.launch.py"


class Recorded:
    """An action or substitution: remembers what it was made of."""

    def __init__(self, *words: Any, **named: Any) -> None:
        self.words, self.named = words, named

    def perform(self, context: dict[str, str]) -> str:
        """A LaunchConfiguration's value."""
        return context[self.words[0]]


@pytest.fixture
def launch_file(monkeypatch):
    names = {
        "launch": ["LaunchDescription"],
        "launch.actions": ["DeclareLaunchArgument", "OpaqueFunction", "Shutdown"],
        "launch.substitutions": ["LaunchConfiguration"],
        "launch_ros": [],
        "launch_ros.actions": ["Node"],
    }
    for module_name, classes in names.items():
        module = types.ModuleType(module_name)
        for class_name in classes:
            setattr(module, class_name, type(class_name, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, module_name, module)
    spec = importlib.util.spec_from_file_location("swarm_launch", LAUNCH_FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_places_nodes_and_is_no_program():
    assert len(LAUNCH_FILE.read_text().splitlines()) <= 45


def test_it_runs_exactly_the_processes_of_the_plan(launch_file, tmp_path, model_dir):
    given = {"scenario": "many", "model": str(model_dir), "speed": "2.0", "run_dir": str(tmp_path / "run")}
    nodes = launch_file.processes(inputs.LAUNCH_ARGUMENTS | given)
    plan, _, _ = inputs.prepare(inputs.choice_of_texts(inputs.LAUNCH_ARGUMENTS | given))
    assert plan.parameters["/simulator"]["speed"] == 2.0
    assert [
        (node.named["package"], node.named["executable"], node.named["exec_name"], tuple(node.named["arguments"]))
        for node in nodes
    ] == [(one.package, one.executable, one.name, one.arguments) for one in plan.processes]
    assert {tuple(node.named["parameters"]) for node in nodes} == {(str(plan.params_file),)}
    assert plan.params_file.exists()
    assert all("name" not in node.named for node in nodes)  # it would rename every node of the process


def test_the_end_of_a_process_ends_the_launch_unless_the_plan_says_otherwise(launch_file, tmp_path, model_dir):
    given = inputs.LAUNCH_ARGUMENTS | {"model": str(model_dir), "run_dir": str(tmp_path / "run")}
    plan, _, _ = inputs.prepare(inputs.choice_of_texts(given))
    for node, process in zip(launch_file.processes(given), plan.processes, strict=True):
        assert (node.named["on_exit"] is None) == (process.on_failure in (OnFailure.TELL, OnFailure.RESTART))
        assert node.named["respawn"] == (process.on_failure is OnFailure.RESTART)


def test_it_declares_every_argument_with_default_and_description(launch_file):
    *declared, action = launch_file.generate_launch_description().words[0]
    assert {one.words[0]: one.named["default_value"] for one in declared} == inputs.LAUNCH_ARGUMENTS
    assert all(len(one.named["description"]) > 10 for one in declared)
    assert action.named["function"] is launch_file.processes
    words = ["fleet", "scenario", "backend", "model", "policy", "vehicle", "speed", "record", "run_dir"]
    assert set(inputs.LAUNCH_ARGUMENTS) == set(words)
