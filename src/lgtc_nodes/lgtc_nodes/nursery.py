"""Starts hosts in a fraction of the time: a process that has loaded what all of them load, and forks.

    lgtc --- stdin:  {"arguments": [...], "log": FILE} ---> nursery --- fork --- fork ---> host
         <-- stdout: {"pid": PID} ------------------------

A host loads for half a second to a whole one of processor time, which a drone whose mind was killed waits for, and all
others give. Here that is done once. The process between nursery and host ends at once, so that the host's parent is
whoever has asked (who must be a subreaper): the end of a nursery ends nothing but itself. It ends when its stdin does.

Forked is only what has one thread. rclpy has more as soon as it is imported, so that every host loads it for itself.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from setproctitle import setproctitle, setthreadtitle

from lgtc_core.flight import guard_memory
from lgtc_nodes import decoding

LOADED = (
    "lgtc_analysis.recording",
    "lgtc_core.demand.ledger",
    "lgtc_core.fleet.team",
    "lgtc_core.flight.mission",
    "lgtc_core.loop.carrier",
    "lgtc_core.loop.flyer",
    "lgtc_core.loop.neighbourhood",
    "lgtc_core.loop.stand_in",
    "lgtc_core.mind.observation",
    "lgtc_sim.world",
)
"""What the nodes import, and what that imports; nothing that starts a thread."""
ADOPTED_WITHIN_S = 5.0
"""The process between ends within microseconds."""


def main() -> int:
    """Serve until stdin ends; returns the exit code, in a forked host that of the host."""
    for name in LOADED:
        import_module(name)
    guard_memory.prepare()
    decoding.prepare()
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        print(f"{threads} threads after loading, so nothing is forked: hosts start one by one", file=sys.stderr)
        return 1
    gc.collect()
    gc.freeze()  # a collection in a host would copy every page that is shared so far
    for line in sys.stdin:
        request = json.loads(line)
        pid = _fork()
        if pid == 0:
            _become_host(request["arguments"], Path(request["log"]))
        os.write(sys.stdout.fileno(), (json.dumps({"pid": pid}) + "\n").encode())
    return 0


def _fork() -> int:
    """As `os.fork`, but the child belongs to the next subreaper above, not to this process."""
    told, telling = os.pipe()
    between = os.fork()
    if between == 0:
        child = os.fork()
        if child:
            os.write(telling, child.to_bytes(8, "big"))
            os._exit(0)
        for end in (told, telling):
            os.close(end)
        return 0
    os.close(telling)
    os.waitpid(between, 0)
    with open(told, "rb") as pipe:
        return int.from_bytes(pipe.read(), "big")


def _become_host(arguments: Sequence[str], log: Path) -> NoReturn:
    """What a host that is started as a program finds: session, streams, name, parent."""
    os.setsid()
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, str(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT)):
        opened = os.open(path, flags, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    os.dup2(1, 2)
    setproctitle(" ".join(("host", *arguments)))
    setthreadtitle("host")
    parent_pid, end_s = int(os.environ["LGTC_PARENT_PID"]), time.monotonic() + ADOPTED_WITHIN_S
    while os.getppid() != parent_pid and time.monotonic() < end_s:
        time.sleep(0.001)
    from lgtc_nodes import host  # loads rclpy

    host.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
