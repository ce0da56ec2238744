"""The launch file places the plan's processes and nothing else, in forty lines.

`launch` and `launch_ros` come with a ROS installation, not as wheels, so recording stand-ins take their place here; the
same file is run by the real `ros2 launch` where there is one.
"""

import importlib.util
import sys
import types
from typing import Any

import pytest
import yaml

from lgtc_bringup import inputs
from lgtc_bringup.plan import OnFailure
from lgtc_core.errors import ConfigError

LAUNCH = inputs.home() / "launch"
LAUNCH_FILE = LAUNCH / "swarm.launch.py"


class Recorded:
    """An action or substitution: remembers what it was made of."""

    def __init__(self, *words: Any, **named: Any) -> None:
        self.words, self.named = words, named

    def perform(self, context: dict[str, str]) -> str:
        """A LaunchConfiguration's value."""
        return context[self.words[0]]


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Loads a launch file by its name."""
    names = {
        "launch": ["LaunchDescription"],
        "launch.actions": ["DeclareLaunchArgument", "IncludeLaunchDescription", "OpaqueFunction", "Shutdown"],
        "launch.launch_description_sources": ["PythonLaunchDescriptionSource"],
        "launch.substitutions": ["LaunchConfiguration"],
        "launch_ros": [],
        "launch_ros.actions": ["Node"],
    }
    for module_name, classes in names.items():
        module = types.ModuleType(module_name)
        for class_name in classes:
            setattr(module, class_name, type(class_name, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, module_name, module)

    def loaded(path):
        spec = importlib.util.spec_from_file_location(path.stem.replace(".", "_"), path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if hasattr(module, "get_package_share_directory"):  # of packages that are not here
            monkeypatch.setattr(module, "get_package_share_directory", lambda _: str(tmp_path))
        return module

    return loaded


@pytest.fixture
def launch_file(load):
    return load(LAUNCH_FILE)


def test_it_places_nodes_and_is_no_program():
    assert len(LAUNCH_FILE.read_text().splitlines()) <= 48


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
    words = ["fleet", "scenario", "backend", "model", "policy", "vehicle", "speed", "patience", "record", "run_dir"]
    assert set(inputs.LAUNCH_ARGUMENTS) == set(words)


BACKENDS = {"gazebo.launch.py": {"gui": "false"}, "crazyflie.launch.py": {"server": "sim", "mocap": "true"}}


@pytest.mark.parametrize("name", BACKENDS)
def test_a_launch_file_of_a_backend_declares_every_argument_and_hands_the_flight_to_the_same_launch_file(
    load, tmp_path, model_dir, name
):
    module, own = load(LAUNCH / name), BACKENDS[name]
    *declared, action = module.generate_launch_description().words[0]
    assert {one.words[0] for one in declared} == set(module.ARGUMENTS) | set(own)
    given = module.ARGUMENTS | own | {"model": str(model_dir), "run_dir": str(tmp_path / "run")}
    *_, flight = action.named["function"](given)
    assert flight.words[0].words[0] == str(tmp_path / "launch" / "swarm.launch.py")
    texts = dict(flight.named["launch_arguments"])
    plan, _, _ = inputs.prepare(inputs.choice_of_texts(texts))
    assert plan.backend == {"gazebo.launch.py": "gazebo", "crazyflie.launch.py": "crazyswarm2-sim"}[name]
    assert texts["run_dir"] == str(tmp_path / "run")


@pytest.mark.parametrize(("gui", "words"), [("true", ["-r"]), ("false", ["-r", "-s"])])
def test_gazebo_and_its_bridge_get_the_files_of_the_run_folder(load, tmp_path, model_dir, gui, words):
    module, folder = load(LAUNCH / "gazebo.launch.py"), tmp_path / "run"
    given = module.ARGUMENTS | {"model": str(model_dir), "run_dir": str(folder), "gui": gui}
    gazebo, bridge, _ = module.started(given)
    assert dict(gazebo.named["launch_arguments"])["gz_args"].split() == [*words, str(folder / "world.sdf")]
    assert bridge.named["parameters"] == [{"config_file": str(folder / "bridge.yaml")}]
    assert (folder / "world.sdf").read_text().count("MulticopterVelocityControl") == 5
    assert yaml.safe_load((folder / "bridge.yaml").read_text())[0]["ros_topic_name"] == "/gazebo/clock"


@pytest.mark.parametrize(("display", "shown"), [(":0", "true"), ("", "false")])
def test_gazebo_opens_a_window_where_there_is_a_display(load, monkeypatch, display, shown):
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    *_, gui, _ = load(LAUNCH / "gazebo.launch.py").generate_launch_description().words[0]
    assert (gui.words[0], gui.named["default_value"]) == ("gui", shown)


def test_crazyswarm2_gets_its_parameters_in_its_own_namespace_and_a_simulator_no_motion_capture(
    load, tmp_path, model_dir
):
    module = load(LAUNCH / "crazyflie.launch.py")
    given = module.ARGUMENTS | {"model": str(model_dir), "run_dir": str(tmp_path / "run"), "mocap": "true"}
    server, _ = module.started(given | {"server": "sim"})
    assert (server.named["package"], server.named["namespace"]) == ("crazyflie_sim", "crazyswarm")
    (parameters,) = server.named["parameters"]
    assert list(parameters["robots"]) == [f"cf{i}" for i in range(1, 6)]
    assert parameters["sim"]["controller"] == "mellinger"
    assert "$NAME" in parameters["robot_description"]  # the server puts a drone's name there
    fleet = yaml.safe_load(inputs.fleet_path("fleet").read_text())
    for i, drone in enumerate(fleet["drones"].values(), start=1):
        drone["uri"] = f"radio://0/80/2M/E7E7E7E70{i}"
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    given |= {"fleet": str(tmp_path / "fleet.yaml")}
    capture, server, _ = module.started(given | {"server": "cflib"})
    assert capture.named["package"] == "motion_capture_tracking"
    assert list(capture.named["parameters"][0]["rigid_bodies"]) == list(parameters["robots"])
    assert server.named["package"] == "crazyflie_server_py"


@pytest.mark.parametrize("name", ["swarm.launch.py", "crazyflie.launch.py"])
def test_real_drones_without_addresses_are_refused_before_anything_starts(load, tmp_path, model_dir, name):
    module = load(LAUNCH / name)
    given = inputs.LAUNCH_ARGUMENTS | {
        "backend": "crazyflie",
        "model": str(model_dir),
        "run_dir": str(tmp_path / "run"),
    }
    start = module.processes if name == "swarm.launch.py" else module.started
    with pytest.raises(ConfigError, match="Radio addresses"):
        start(given | {"server": "cpp", "mocap": "true"})
    assert not (tmp_path / "run").exists()
