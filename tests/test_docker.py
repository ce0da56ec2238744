"""What can be known of the container files without a container engine: they name stages, files and users that exist."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from lgtc_bringup import cli

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"


class Instruction(NamedTuple):
    """One instruction of a Dockerfile, its continuation lines joined."""

    name: str
    words: list[str]


class Stage(NamedTuple):
    """One build stage: what it starts from, and its instructions."""

    base: str
    instructions: list[Instruction]

    def last(self, name: str) -> list[str] | None:
        """Return the words of the last instruction of this name in the stage itself, None without one."""
        found = [instruction.words for instruction in self.instructions if instruction.name == name]
        return found[-1] if found else None


def stages() -> dict[str, Stage]:
    """Read docker/Dockerfile into its named stages."""
    text = re.sub(r"^\s*#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: dict[str, Stage] = {}
    current: Stage | None = None
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        name, _, rest = line.partition(" ")
        words = shlex.split(rest) if name in {"FROM", "COPY", "USER"} else [rest]
        if name == "FROM":
            current = Stage(words[0], [])
            found[words[2]] = current
        else:
            assert current is not None, f"{name} before the first FROM"
            current.instructions.append(Instruction(name, words))
    return found


STAGES = stages()


def sources(stage: str) -> list[str]:
    """List what ``stage`` copies from the repository."""
    copies = [i.words for i in STAGES[stage].instructions if i.name == "COPY"]
    return [word for words in copies if not words[0].startswith("--from=") for word in words[:-1]]


def compose(name: str) -> dict:
    """Parse a compose file."""
    return yaml.safe_load((DOCKER / name).read_text())


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps ``path`` out of the build context."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    parts = path.split("/")
    return any(
        fnmatch.fnmatch(part, pattern.removeprefix("**/"))
        for pattern in patterns
        for part in (parts if pattern.startswith("**/") else parts[:1])
    )


def test_there_is_an_image_for_every_place_where_the_workspace_runs() -> None:
    assert set(STAGES) == {"core", "train", "ros", "gazebo", "hardware", "drone"}


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_every_image_is_told_of_in_the_files_head_and_in_the_docs(stage: str) -> None:
    assert f"--target {stage} ." in (DOCKER / "Dockerfile").read_text()
    assert f"`{stage}`" in (ROOT / "docs/install.md").read_text()


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_an_image_starts_from_a_named_version_or_an_earlier_stage(stage: str) -> None:
    base = STAGES[stage].base
    image, _, tag = base.partition(":")
    assert image in STAGES or (tag and tag != "latest"), base


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_an_image_runs_as_a_user_without_rights(stage: str) -> None:
    user = STAGES[stage].last("USER")
    assert user is not None
    assert user != ["root"]


@pytest.mark.parametrize("stage", ["ros", "drone"])
def test_an_image_with_ros_has_a_health_check(stage: str) -> None:
    check = STAGES[stage].last("HEALTHCHECK")
    assert check is not None
    assert "healthcheck.py" in check[0]


@pytest.mark.parametrize(("stage", "source"), [(stage, source) for stage in STAGES for source in sources(stage)])
def test_what_an_image_copies_is_in_the_repository(stage: str, source: str) -> None:
    assert (ROOT / source).exists()
    assert not ignored(source)
    tracked = subprocess.run(
        ["git", "ls-files", "--", source], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert tracked, f"{source} is not under version control"


def test_a_stage_copies_only_from_stages_before_it() -> None:
    seen: list[str] = []
    for name, stage in STAGES.items():
        for instruction in stage.instructions:
            if instruction.name == "COPY" and instruction.words[0].startswith("--from="):
                assert instruction.words[0].removeprefix("--from=") in seen
        seen.append(name)


def test_the_files_of_an_environment_are_kept_out_of_the_build_context() -> None:
    assert all(ignored(path) for path in (".venv", ".git", "build", "install", "log", "runs"))


SERVICES = compose("compose.yaml")["services"]


def test_there_is_a_service_for_simulation_gazebo_hardware_and_training() -> None:
    assert set(SERVICES) == {"simulation", "gazebo", "hardware", "training"}


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_compose_service_builds_an_image_that_exists(service: str) -> None:
    build = SERVICES[service]["build"]
    context = (DOCKER / build["context"]).resolve()
    assert context == ROOT
    assert (context / build["dockerfile"]).is_file()
    assert build["target"] in STAGES
    assert SERVICES[service]["image"].startswith(f"lgtc/{build['target']}:")


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_compose_service_does_not_run_as_root(service: str) -> None:
    user = SERVICES[service]["user"]
    assert re.fullmatch(r"\$\{LGTC_UID:-(\d+)\}:\$\{LGTC_GID:-(\d+)\}", user)
    assert not re.search(r":-0\}", user)


def commands() -> list[list[str]]:
    """What images and services run, where it is one of our programs."""
    lines = [stage.last("CMD") for stage in STAGES.values()]
    images = [json.loads(" ".join(words)) for words in lines if words is not None]
    return images + [service["command"] for service in SERVICES.values() if "command" in service]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_what_is_run_exists(command: list[str]) -> None:
    if command[:2] == ["ros2", "launch"]:
        assert command[2] == "lgtc_bringup"
        assert (ROOT / "launch" / command[3]).is_file()
        words = [word.partition(":=")[2] for word in command[4:]]
    elif command[0] == "lgtc":
        arguments = cli._parser().parse_args(command[1:])
        words = [arguments.fleet] if "--fleet" in command else []
    elif command[:2] == ["python", "-m"]:
        assert (ROOT / "src" / command[2].split(".")[0] / (command[2].replace(".", "/") + ".py")).is_file()
        words = command[3:]
    else:
        assert command == ["python"]
        words = []
    assert all((ROOT / word).exists() for word in words if "/" in word)


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_what_a_service_mounts_from_the_repository_is_there_or_made_at_run_time(service: str) -> None:
    for volume in SERVICES[service].get("volumes", []):
        source, target = volume.split(":")[:2]
        if source.startswith(".."):
            name = source.removeprefix("../")
            assert name == "runs" or (ROOT / name).is_dir()
            assert target == f"/opt/lgtc/{name}"


def test_the_packages_of_drivers_and_gazebo_are_named_as_rosdep_would_name_them() -> None:
    """apt's name of a ROS package: its own with - for _, after ros-jazzy-."""
    wanted = {
        "gazebo": {"ros_gz_bridge", "ros_gz_sim"},
        "hardware": {"crazyflie", "crazyflie_sim", "motion_capture_tracking"},
    }
    for stage, packages in wanted.items():
        run = " ".join(i.words[0] for i in STAGES[stage].instructions if i.name == "RUN")
        named = {f"ros-jazzy-{name.replace('_', '-')}" for name in packages}
        assert set(re.findall(r"ros-jazzy-[a-z-]+", run)) == named
    launched = (ROOT / "launch/crazyflie.launch.py").read_text()
    assert all(f'"{package}"' in launched for package in wanted["hardware"])


def display_after(display: str | None, sockets: Path) -> str:
    """DISPLAY of a program that the entry point starts; "none" where it has none."""
    environment = {"PATH": "/usr/bin:/bin", "LGTC_X11_SOCKETS": str(sockets)}
    if display is not None:
        environment["DISPLAY"] = display
    script = f'set -e; . "{DOCKER / "display.sh"}"; bash -c \'echo "${{DISPLAY-none}}"\''
    return subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_entry_point_forgets_a_display_that_nobody_passed_in_and_keeps_one_that_answers() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as screen:
        screen.bind(f"{folder}/X7")
        assert display_after(":7", Path(folder)) == ":7"
        assert display_after(":7.0", Path(folder)) == ":7.0"
        assert display_after(":8", Path(folder)) == "none"
        assert display_after(None, Path(folder)) == "none"
        assert display_after("elsewhere:0", Path(folder)) == "elsewhere:0"


def test_the_gpu_file_only_adds_to_services_that_exist() -> None:
    assert set(compose("compose.gpu.yaml")["services"]) <= set(compose("compose.yaml")["services"])


def test_the_entry_point_can_run_and_hands_signals_on() -> None:
    script = DOCKER / "entrypoint.sh"
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert script.read_text().rstrip().endswith('exec "$@"')


def test_what_rosdep_is_told_to_skip_is_pinned_or_only_for_training() -> None:
    run = " ".join(i.words[0] for i in STAGES["ros"].instructions if i.name == "RUN")
    skipped = {key for keys in re.findall(r'--skip-keys "([^"]+)"', run) for key in keys.split()}
    names = {key.removeprefix("python3-").removesuffix("-pip") for key in skipped}
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "setup/requirements/apt.txt").read_text(), re.MULTILINE))
    assert names - pinned <= {"torch", "tqdm", "tensorboard"}
    assert skipped, "rosdep skips nothing: this test reads the wrong line"
