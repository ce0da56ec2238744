"""Plans of stand-in processes, real ones, for the tests of runner and flight."""

import time
from pathlib import Path

from lgtc_bringup.plan import Inputs, OnFailure, Plan, ProcessSpec
from lgtc_bringup.runner import Runner

PROGRAM = Path(__file__).with_name("stand_in_program.py")


def program(_: ProcessSpec) -> Path:
    return PROGRAM


def plan_of(run_dir: Path, **behaviours: str | tuple[str, OnFailure]) -> Plan:
    """A plan of processes by name, each with a behaviour of stand_in_program.py and what its failure means."""
    processes = []
    for name, entry in behaviours.items():
        behaviour, on_failure = entry if isinstance(entry, tuple) else (entry, OnFailure.LAND)
        arguments = ("--node", f"{behaviour}:{name}")
        processes.append(ProcessSpec(name, "none", "none", (f"/{name}",), arguments, on_failure, "a test"))
    inputs = Inputs(Path("/fleet"), Path("/scenario"), Path("/model"), run_dir)
    return Plan("test", "embedded", ("cf1",), inputs, tuple(processes), {}, {"PYTHONUNBUFFERED": "1"}, {})


def said(runner: Runner, name: str) -> str:
    """The log of a process."""
    log = runner.logs_dir / f"{name}.log"
    return log.read_text() if log.exists() else ""


def group_members(pid: int) -> list[int]:
    """Living processes (no zombies) of the session that the process `pid` leads or led."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == pid and fields[0] != "Z":  # field 6: session
                members.append(int(entry.name))
    return members


def wait_until(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.02)
