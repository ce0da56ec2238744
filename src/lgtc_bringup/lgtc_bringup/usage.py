"""Which processes belong to a run, and the CPU time and memory of a process, from /proc."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What one process took, over its life up to the last measurement."""

    pid: int
    cpu_s: float = 0.0
    """Processor time, own and the kernel's for it [s]."""
    wall_s: float = 0.0
    """Time since its first measurement [s]."""
    memory_mb: float = float("nan")
    """Largest proportional set size seen: own pages, plus its share of those shared with others [MB]."""
    resident_mb: float = float("nan")
    """Largest resident set, shared pages counted in full [MB]."""

    @property
    def cores(self) -> float:
        """Processor time per wall time; NaN without a wall time."""
        return self.cpu_s / self.wall_s if self.wall_s > 0.0 else float("nan")

    def since(self, earlier: Usage) -> Usage:
        """What was taken between an earlier measurement and this one; memory stays the largest seen."""
        return replace(self, cpu_s=self.cpu_s - earlier.cpu_s, wall_s=self.wall_s - earlier.wall_s)


class UsageMeter:
    """Measures one process as long as it lives; afterwards `usage` keeps the last measurement."""

    def __init__(self, pid: int) -> None:
        self._since_s = time.monotonic()
        self._proc = Path(f"/proc/{pid}")
        self.usage = Usage(pid)

    @classmethod
    def of_this_process(cls) -> UsageMeter:
        """A meter of the process that calls."""
        return cls(os.getpid())

    def measure(self) -> Usage:
        """Measure now; if the process is gone, nothing changes."""
        try:
            stat = (self._proc / "stat").read_text(encoding="ascii", errors="replace")
            pss_kb = _entry_kb(self._proc / "smaps_rollup", "Pss:")
            peak_kb = _entry_kb(self._proc / "status", "VmHWM:")
        except (OSError, KeyError):  # gone, or a zombie without memory
            return self.usage
        # proc_pid_stat(5): after the command in parentheses come field 3 and so on; utime is field 14, stime 15
        fields = stat.rpartition(")")[2].split()
        ticks = int(fields[14 - 3]) + int(fields[15 - 3])
        before = self.usage
        self.usage = Usage(
            pid=before.pid,
            cpu_s=ticks / _TICKS_PER_S,
            wall_s=time.monotonic() - self._since_s,
            memory_mb=_largest(before.memory_mb, pss_kb * 1024 / 1e6),
            resident_mb=_largest(before.resident_mb, peak_kb * 1024 / 1e6),
        )
        return self.usage


def processes_of(run_dir: Path) -> dict[int, list[str]]:
    """Words of the command lines, by process id, of all other living processes that name a run's folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it ended while we looked
                continue
            if str(run_dir) in line:
                found[int(entry.name)] = line.split()
    return found


def pid_of(run_dir: Path, node: str) -> int:
    """Process id of the process of a run that has a node, named as in `host --node`.

    Raises:
        LookupError: no living process has it.
    """
    for pid, words in processes_of(run_dir).items():
        if node in words:
            return pid
    raise LookupError(f"no process of {run_dir} runs {node}")


def _entry_kb(path: Path, name: str) -> float:
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(name):
            return float(line.split()[1])
    raise KeyError(name)


def _largest(old: float, new: float) -> float:
    return new if old != old or new > old else old
