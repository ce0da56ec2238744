"""The near end of `lgtc_nodes.nursery`: children of this process that need not load what they all load.

Children come to belong to this process as it makes itself a subreaper (prctl(2), Linux): whoever loses its parent
below is given to it. Where that or the nursery fails, `born` says None and its caller starts a program as ever.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_ANSWER_WITHIN_S = 60.0
"""It loads first, on a busy machine for some seconds, and compiles if nobody has yet."""
_END_WITHIN_S = 1.0


class Forked:
    """A child that another process has made for us, with what `subprocess.Popen` has of the same name."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Exit code, negative the signal that ended it; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, if it has not been seen to end."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Nursery:
    """A nursery process and its pipes.

    Args:
        program: of `lgtc_nodes.nursery`.
        environment: of it and of all its children.
        log: where its own words go.
    """

    def __init__(self, program: Path, environment: Mapping[str, str], log: Path) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            return
        with log.open("ab") as words:
            self._process = subprocess.Popen(
                [str(program)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                env=dict(environment),
                start_new_session=True,
                bufsize=0,  # else what a dead nursery did not take would be written again when the pipe is closed
            )

    def born(self, arguments: Sequence[str], log: Path) -> Forked | None:
        """A host with these arguments that writes to `log`; None if there is no nursery any more."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return None
        try:
            process.stdin.write((json.dumps({"arguments": list(arguments), "log": str(log)}) + "\n").encode())
            answered, _, _ = select.select([process.stdout], [], [], _ANSWER_WITHIN_S)
            answer = process.stdout.readline() if answered else b""
        except OSError:
            answer = b""
        if not answer:
            self.close()
            return None
        return Forked(json.loads(answer)["pid"])

    def close(self) -> None:
        """End it; its children go on."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with process:  # closes the pipes
            try:
                process.wait(_END_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
