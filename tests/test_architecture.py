"""Who may import whom, and whether each package.xml declares what its package imports.

The rule: everything may import lgtc_core, which knows neither ROS nor PyTorch. Training, analysis and the simulator's
loop know no ROS. Nobody imports the nodes. The messages are known to the nodes and to bringup alone.
"""

from __future__ import annotations

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("src/*/setup.py"))

# Beside lgtc_core, which everybody may import.
MAY_IMPORT = {
    "lgtc_core": set(),
    "lgtc_sim": set(),
    "lgtc_training": {"lgtc_sim", "lgtc_analysis"},
    "lgtc_analysis": {"lgtc_sim"},
    "lgtc_nodes": {"lgtc_sim", "lgtc_analysis", "lgtc_interfaces"},
    "lgtc_bringup": {"lgtc_sim", "lgtc_analysis", "lgtc_interfaces"},
}
MAY_USE_ROS = {"lgtc_nodes", "lgtc_bringup"}
MAY_USE_TORCH = {"lgtc_training"}
TORCH = {"torch", "torchvision", "tensordict"}
ROS = {
    "rclpy", "launch", "launch_ros", "ament_index_python", "rosidl_runtime_py", "builtin_interfaces", "rcl_interfaces",
    "std_msgs", "std_srvs", "geometry_msgs", "nav_msgs", "sensor_msgs", "diagnostic_msgs", "rosgraph_msgs",
    "visualization_msgs", "lifecycle_msgs", "unique_identifier_msgs",
}  # fmt: skip

# rosdep keys of what is imported under another name. A value of None: rosdep has no key, setup/requirements pins it and
# docs/install.md says how to get it.
ROSDEP_KEY = {
    "numpy": "python3-numpy",
    "scipy": "python3-scipy",
    "yaml": "python3-yaml",
    "numba": "python3-numba",
    "onnxruntime": "python3-onnxruntime-pip",
    "gurobipy": "python3-gurobipy-pip",
    "rosbags": "python3-rosbags-pip",
    "jinja2": "python3-jinja2",
    "markupsafe": "python3-jinja2",  # comes with it, and has no key
    "matplotlib": "python3-matplotlib",
    "PIL": "python3-pil",
    "rich": "python3-rich",
    "psutil": "python3-psutil",
    "setproctitle": "python3-setproctitle",
    "torch": "python3-torch",
    "tqdm": "python3-tqdm",
    "tensorboard": "python3-tensorboard-pip",
    "setuptools": "python3-setuptools",
    "osqp": None,
    "daqp": None,
    "onnx": None,
    "onnxscript": None,
}


def imports_of(source: str) -> Iterator[str]:
    """Yield the top-level name of every absolute import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]
        elif (  # importlib.import_module("name") and __import__("name")
            isinstance(node, ast.Call)
            and ast.unparse(node.func).rpartition(".")[2] in {"import_module", "__import__"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value).split(".")[0]


def imports_of_package(package: str) -> dict[str, list[str]]:
    """Map each top-level name that the package's own code imports (its tests do not count) to the files that do."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "src" / package / package).rglob("*.py")):
        for name in imports_of(path.read_text()):
            found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    found.pop(package, None)
    return found


def violations(package: str, imported: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return those of ``imported`` that the rule forbids to ``package``."""
    forbidden = {name for name in imported if name.startswith("lgtc_")} - MAY_IMPORT[package] - {"lgtc_core"}
    forbidden |= set() if package in MAY_USE_ROS else ROS & set(imported)
    forbidden |= set() if package in MAY_USE_TORCH else TORCH & set(imported)
    return {name: imported[name] for name in sorted(forbidden)}


def declared(package: str) -> set[str]:
    """Return what the package's package.xml declares that it needs to run."""
    tree = ElementTree.parse(ROOT / "src" / package / "package.xml").getroot()
    return {str(node.text).strip() for tag in ("depend", "exec_depend") for node in tree.iter(tag)}


def test_the_rule_covers_every_python_package() -> None:
    assert set(PACKAGES) == set(MAY_IMPORT)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_the_import_rule_allows(package: str) -> None:
    imported = imports_of_package(package)
    assert list((ROOT / "src" / package / package).rglob("*.py")), f"{package} has no code"
    assert violations(package, imported) == {}


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("lgtc_core", "import rclpy.node"),
        ("lgtc_core", "def f():\n    from torch import nn"),
        ("lgtc_core", "import importlib\nimportlib.import_module('lgtc_training.train')"),
        ("lgtc_training", "from std_msgs.msg import String"),
        ("lgtc_analysis", "import rclpy"),
        ("lgtc_bringup", "from lgtc_nodes import host"),
        ("lgtc_sim", "import lgtc_interfaces.msg as msg"),
    ],
)
def test_a_forbidden_import_is_found_wherever_it_stands(package: str, line: str) -> None:
    assert violations(package, {name: ["x.py"] for name in imports_of(line)})


@pytest.mark.parametrize("package", PACKAGES)
def test_package_xml_declares_every_import(package: str) -> None:
    standard = set(sys.stdlib_module_names) | {"__future__"}
    missing = {}
    for name, files in imports_of_package(package).items():
        if name in standard:
            continue
        key = ROSDEP_KEY.get(name, name)
        if key is not None and key not in declared(package):
            missing[key] = files
    assert missing == {}


@pytest.mark.parametrize("name", sorted(name for name, key in ROSDEP_KEY.items() if key is None))
def test_what_rosdep_does_not_know_is_pinned_and_documented(name: str) -> None:
    pins = "".join(path.read_text() for path in (ROOT / "setup/requirements").glob("*.in"))
    assert re.search(rf"^{name}==", pins, re.MULTILINE)
    assert name in (ROOT / "docs/install.md").read_text()


@pytest.mark.parametrize("package", [path.parent.name for path in sorted(ROOT.glob("src/*/package.xml"))])
def test_package_xml_is_format_3_and_declares_nothing_twice(package: str) -> None:
    root = ElementTree.parse(ROOT / "src" / package / "package.xml").getroot()
    assert root.get("format") == "3"
    assert root.findtext("name") == package
    assert root.findtext("license") == "Apache-2.0"
    names = [str(node.text) for node in root if node.tag in {"depend", "exec_depend"}]
    assert len(names) == len(set(names))


def test_every_message_and_service_is_built() -> None:
    folder = ROOT / "src/lgtc_interfaces"
    listed = re.findall(r'"((?:msg|srv)/\w+\.(?:msg|srv))"', (folder / "CMakeLists.txt").read_text())
    there = [str(path.relative_to(folder)) for path in folder.glob("*/*") if path.suffix in {".msg", ".srv"}]
    assert sorted(listed) == sorted(there)


def test_nothing_in_src_knows_where_ros_comes_from() -> None:
    wheels = re.compile(r"\.venv|AMENT_PREFIX_PATH|_ROS_WHEELS_BOOTSTRAP_COMPLETE|/opt/ros|setup/env\.sh")
    kinds = {".py", ".cfg", ".xml", ".txt"}
    code = [path for path in (ROOT / "src").rglob("*") if path.suffix in kinds and path.is_file()]
    assert code
    assert [str(path) for path in code if wheels.search(path.read_text())] == []
