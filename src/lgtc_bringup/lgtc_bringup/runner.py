"""Runs the processes of a plan and answers for every one of them until the last has ended.

Each process gets a session of its own, so that Ctrl-C in the terminal reaches `lgtc` alone, which then decides who ends
when. Signals mean the same to every node (docs/processes.md): the first one "finish: land, then end"; the second "end
now". A process that ignores both is killed. Should `lgtc` itself die, the nodes notice that their parent
(LGTC_PARENT_PID) is gone and treat that as the first signal. Hosts are forked by a nursery where there is one.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lgtc_bringup.middleware import on_this_host
from lgtc_bringup.nursery import Forked, Nursery
from lgtc_bringup.plan import ROS_ARGUMENTS, Plan, ProcessSpec
from lgtc_bringup.usage import Usage, UsageMeter
from lgtc_core.errors import LgtcError

TERMINATE_AFTER_S = 5.0
"""A process that was told to end now has this long to close its files ..."""
KILL_AFTER_S = 2.0
"""... and is given up this long after the kill, which only a process stuck in the kernel survives."""
_POLL_S = 0.02
_HOST = "host"
"""The program that the nursery beside it can fork."""


class ProcessError(LgtcError):
    """A process could not be started, or ended when it should not have."""


@dataclass(frozen=True)
class Exit:
    """A process that has ended."""

    process: ProcessSpec
    code: int
    """Exit code; negative: ended by that signal."""
    log: Path

    def __str__(self) -> str:
        how = f"exit code {self.code}" if self.code >= 0 else signal.Signals(-self.code).name
        return f"{self.process.name} ended ({how}), see {self.log}"

    def last_words(self, lines: int = 8) -> str:
        """The end of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def installed_program(process: ProcessSpec) -> Path:
    """Path of a process's program in the sourced workspace.

    Raises:
        ProcessError: the package is not installed or has no such program; says what to do.
    """
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        program = Path(get_package_prefix(process.package)) / "lib" / process.package / process.executable
    except PackageNotFoundError:
        raise ProcessError(
            f"package {process.package} is not installed in this environment; build the workspace and source "
            "install/setup.bash"
        ) from None
    if not program.is_file():
        raise ProcessError(f"{process.package} has no program {program}; build the workspace again")
    return program


class Runner:
    """The processes of one flight. A context manager: whatever happens inside, none is left behind.

    Args:
        plan: what to run. Its files must have been written.
        program: finds a process's program.
    """

    def __init__(self, plan: Plan, program: Callable[[ProcessSpec], Path] = installed_program) -> None:
        self.plan = plan
        self.logs_dir = plan.inputs.run_dir / "logs"
        self._program = program
        self._nursery: Nursery | None = None
        self._running: dict[str, tuple[ProcessSpec, subprocess.Popen[bytes] | Forked]] = {}
        self._meters: dict[str, UsageMeter] = {}

    def __enter__(self) -> Runner:
        atexit.register(self.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        atexit.unregister(self.stop)

    def start(self) -> None:
        """Start every process of the plan. If one cannot be started, those before it are stopped again.

        Raises:
            ProcessError: a program is not there or cannot be run.
        """
        self.logs_dir.mkdir(parents=True, exist_ok=True)
        programs = [(process, self._program(process)) for process in self.plan.processes]
        nursery = next((program.with_name("nursery") for _, program in programs if program.name == _HOST), None)
        if nursery is not None and nursery.is_file():
            self._nursery = Nursery(nursery, self._environment(), self.logs_dir / "nursery.log")
        for process, program in programs:
            try:
                self._spawn(process, program)
            except ProcessError:
                self.stop()
                raise

    def restart(self, process: ProcessSpec) -> None:
        """Start a process that has ended again, as it was; its log goes on.

        Raises:
            ProcessError: its program cannot be run any more.
        """
        self._spawn(process, self._program(process))

    def _environment(self) -> dict[str, str]:
        return environment_of(self.plan, os.environ) | {"LGTC_PARENT_PID": str(os.getpid())}

    def _spawn(self, process: ProcessSpec, program: Path) -> None:
        ros = ["--ros-args", *ROS_ARGUMENTS, "--params-file", str(self.plan.params_file)]
        arguments, log_file = [*process.arguments, *ros], self.log_of(process)
        child: subprocess.Popen[bytes] | Forked | None = None
        if self._nursery is not None and program.name == _HOST:
            child = self._nursery.born(arguments, log_file)
        if child is None:
            try:
                with log_file.open("ab") as log:
                    child = subprocess.Popen(
                        [str(program), *arguments],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        env=self._environment(),
                        start_new_session=True,
                    )
            except OSError as error:
                raise ProcessError(f"{process.name}: cannot run {program}: {error.strerror}") from error
        self._running[process.name] = (process, child)
        self._meters[process.name] = UsageMeter(child.pid)

    def log_of(self, process: ProcessSpec) -> Path:
        """Where a process's output goes."""
        return self.logs_dir / f"{process.name}.log"

    @property
    def running(self) -> tuple[str, ...]:
        """Names of the processes that have not been seen to end."""
        return tuple(self._running)

    def pid(self, name: str) -> int:
        """Process id of a running process."""
        return self._running[name][1].pid

    def poll(self) -> tuple[Exit, ...]:
        """Processes that have ended since the last call."""
        ended = []
        for name, (process, child) in list(self._running.items()):
            code = child.poll()
            if code is not None:
                del self._running[name]
                ended.append(Exit(process, code, self.log_of(process)))
        return tuple(ended)

    def measure(self) -> Mapping[str, Usage]:
        """CPU time and memory of every process so far, of those that ended up to their last measurement."""
        for name in self._running:
            self._meters[name].measure()
        return {name: meter.usage for name, meter in self._meters.items()}

    def signal(self, number: signal.Signals, names: Iterable[str] | None = None) -> None:
        """Send a signal to the named running processes, or to all."""
        for name in list(self._running if names is None else names):
            if name in self._running:
                child = self._running[name][1]
                if child.poll() is None:
                    child.send_signal(number)

    def finish(self) -> None:
        """Ask every process to finish: drones land, then all end by themselves. Returns at once."""
        self.signal(signal.SIGINT)

    def wait(self, seconds: float) -> tuple[Exit, ...]:
        """Wait until all have ended, at most so long; returns those that did."""
        deadline = time.monotonic() + seconds
        ended = list(self.poll())
        while self._running and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            ended += self.poll()
        return tuple(ended)

    def stop(self) -> tuple[Exit, ...]:
        """End every process now: two signals, and after `TERMINATE_AFTER_S` SIGKILL to it and all that it started."""
        self.signal(signal.SIGINT)
        self.signal(signal.SIGTERM)
        ended = list(self.wait(TERMINATE_AFTER_S))
        for _, child in self._running.values():
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
        ended += self.wait(KILL_AFTER_S)
        if self._nursery is not None:
            self._nursery.close()
        return tuple(ended)


def environment_of(plan: Plan, own: Mapping[str, str]) -> dict[str, str]:
    """Environment of the plan's processes: the plan's, and on this host alone, unless the user's own says otherwise."""
    return {**plan.environment, **on_this_host(own), **own}
