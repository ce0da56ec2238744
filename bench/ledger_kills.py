"""Kill the demand server again and again while clients deliver, and count what was lost, doubled or late.

    setup/run python bench/ledger_kills.py --kills 1000 --standbys 4 --pause 2 --folder runs/ledger_kills
    setup/run python bench/ledger_kills.py --summary --folder runs/ledger_kills

The kills are made in portions of a hundred, each with a new ledger; the same command goes on where it was stopped. The
server is the real node in a process of its own, with a ledger on disk; it gets SIGKILL at random moments. It is
started again at once, as a runner does; with --standbys, others stand by and one takes over. Five clients deliver
without a pause: each has one request under way, repeats it with the same id until it is answered, and now and then
repeats an old one, whose answer must be the same. At the end the answers are compared with the ledger, row by row:

    lost      answered, but not in the ledger (or with another amount)
    doubled   counted more than once: in the sums of the consumers, beside the answers
    late      seconds from SIGKILL to the first answer of a request that was sent after it
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rclpy
import yaml
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from lgtc_core import topics, wire
from lgtc_core.demand.accounts import Delivered
from lgtc_core.demand.ledger import LedgerReader
from lgtc_core.flight.phases import MissionPhase
from lgtc_interfaces.srv import Deliver as RosDeliver
from lgtc_nodes.conversions import to_ros
from lgtc_nodes.qos import STREAMS

FIGURES, RECOVERY = "figures.json", "serving again [s]"
WRONG = (
    "lost",
    "recorded but never answered",
    "answers that changed when asked again",
    "consumers whose sum is not that of the answers",
    "problems found by the check",
)
"""Figures that must be 0."""
SUMMED = (
    "kills",
    "requests answered",
    "requests repeated after silence",
    "servers that ended for want of a heartbeat",
    "wall time [s]",
    *WRONG,
)
RETRY_S = 0.1
CONSUMERS, DEMANDED = 10, 400.0
HEARTBEAT_S = 0.1
PLACES_M = [(round(2.0 * math.cos(a), 3), round(2.0 * math.sin(a), 3)) for a in np.linspace(0, 2 * np.pi, 11)[:-1]]


class Asked(NamedTuple):
    """A request and its answer."""

    content: dict[str, Any]
    amount: float
    accepted: bool


class Client:
    """Delivers without a pause, for one drone."""

    def __init__(self, node: Node, drone: str, seed: int) -> None:
        self.drone, self.answered = drone, dict[str, Asked]()
        self.changed_answers, self.repeats = 0, 0
        self.asked_s = self.answered_s = -math.inf
        """When the last new request that was answered was sent, and when its answer came."""
        self._client = node.create_client(RosDeliver, topics.DELIVER)
        self._chance = random.Random(seed)
        self._number = 0
        self._under_way: dict[str, Any] | None = None
        self._old = False
        self._future: Any = None
        self._sent_s = -math.inf
        """When the request under way was sent last."""

    def idle(self) -> bool:
        """True when no request is without its answer."""
        return self._under_way is None

    def step(self, now_s: float, go_on: bool) -> None:
        """Take an answer, repeat a request, or begin a new one."""
        if self._future is not None and self._future.done():
            self._take(self._future.result())
        if self._under_way is None and go_on:
            self._under_way = self._next()
            self._sent_s = -math.inf
        if self._under_way is not None and now_s - self._sent_s >= RETRY_S:
            if self._future is not None:
                self._client.remove_pending_request(self._future)
                self.repeats += 1
            self._future = self._client.call_async(to_ros(RosDeliver.Request, self._under_way))
            self._sent_s = now_s

    def _next(self) -> dict[str, Any]:
        self._old = bool(self.answered) and self._chance.random() < 0.1
        if self._old:
            return self._chance.choice(list(self.answered.values())).content
        self._number += 1
        return {
            "request_id": f"{self.drone}-trial-{self._number}",
            "drone": self.drone,
            "consumer": f"c{self._chance.randrange(CONSUMERS)}",
            "kind": "parcel",
            "offered": self._chance.uniform(0.01, 1.0),
        }

    def _take(self, answer: Any) -> None:
        self._future = None
        if not answer.final:
            return
        content, self._under_way = self._under_way, None
        assert content is not None
        asked = Asked(content, answer.amount, answer.accepted)
        first = self.answered.setdefault(content["request_id"], asked)
        if self._old:
            self.changed_answers += first != asked
        else:
            self.asked_s, self.answered_s = self._sent_s, time.monotonic()


class Trial:
    """The server, its clients and the kills.

    Args:
        folder: for files and logs; the ledger in it must not exist yet.
        clients: number of clients.
        domain: DDS domain of the trial alone.
        seed: of everything random.
    """

    def __init__(self, folder: Path, clients: int, domain: int, seed: int, standbys: int, pause_s: float) -> None:
        self.folder, self._chance, self._standbys = folder, random.Random(seed), standbys
        self._pause_s = (0.5 * pause_s, 1.5 * pause_s)
        self.ledger = folder / "ledger.sqlite"
        if self.ledger.exists():
            raise SystemExit(f"{self.ledger}: got a ledger that exists; expected a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        drones = [f"cf{n + 1}" for n in range(clients)]
        self._write_files(drones)
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        rclpy.init()
        self._node = Node("trial")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        kind, qos = STREAMS[topics.MISSION]
        self._mission = self._node.create_publisher(kind, topics.MISSION, qos)
        self._heartbeat = to_ros(kind, wire.mission_to_wire(wire.MissionReport(0.0, MissionPhase.ACTIVE, 0.0, "")))
        self._heartbeat_s = -math.inf
        self.clients = [Client(self._node, drone, seed + n) for n, drone in enumerate(drones)]
        self._servers: dict[int, subprocess.Popen[bytes]] = {}
        """By process id, oldest first."""
        self._logs: dict[int, Path] = {}
        self._started = 0
        self.recovery_s: list[float] = []
        self.ended_alone = 0
        """Servers that ended because they had not heard this process for too long: it had no core."""

    def run(self, kills: int, progress: bool) -> dict[str, Any]:
        """Kill the server `kills` times; figures."""
        begun_s = time.monotonic()
        try:
            self._start()
            self._spin_until(lambda: all(client.answered for client in self.clients), 60.0, "the first answers")
            for number in range(kills):
                while len(self._servers) <= self._standbys:
                    self._start()
                self._spin_until(self._someone_stands_by, 60.0, "a server that stands by")
                self._spin_for(self._chance.uniform(*self._pause_s))
                killed_s = self._kill()
                if not self._standbys:
                    self._start()
                self._spin_until(lambda since=killed_s: self._answered_since(since), 60.0, "serving again")
                # Not an answer that the killed one had sent already.
                first_s = min(client.answered_s for client in self.clients if client.asked_s > killed_s)
                self.recovery_s.append(first_s - killed_s)
                if progress and (number + 1) % 50 == 0:
                    median, worst = np.median(self.recovery_s), max(self.recovery_s)
                    print(f"{number + 1} kills, serving again after {median:.2f} s, worst {worst:.2f} s", flush=True)
            self._spin_until(lambda: all(client.idle() for client in self.clients), 60.0, "the last answers", False)
        finally:
            for server in self._servers.values():
                server.kill()
                server.wait()
            self._executor.shutdown()
            self._node.destroy_node()
            rclpy.shutdown()
        return self._figures(kills, time.monotonic() - begun_s)

    def _figures(self, kills: int, wall_s: float) -> dict[str, Any]:
        """Compare what was answered with what the ledger says."""
        answered = {key: asked for client in self.clients for key, asked in client.answered.items()}
        with LedgerReader(self.ledger) as ledger:
            problems = ledger.check()
            accounts = ledger.audit().accounts
            recorded = {row.change.id: row.change for row in ledger.rows() if isinstance(row.change, Delivered)}
        lost = [
            key
            for key, asked in answered.items()
            if key not in recorded or (recorded[key].amount, recorded[key].accepted) != (asked.amount, asked.accepted)
        ]
        sums = Counter[str]()
        for asked in answered.values():
            sums[asked.content["consumer"]] += asked.amount
        doubled = {
            name: float(entry.delivered[0]) - sums[name]
            for name, entry in accounts.entries.items()
            if abs(float(entry.delivered[0]) - sums[name]) > 1e-9 * DEMANDED
        }
        return {
            "kills": kills,
            "servers that stand by": self._standbys,
            "clients": len(self.clients),
            "requests answered": len(answered),
            "requests repeated after silence": sum(client.repeats for client in self.clients),
            "servers that ended for want of a heartbeat": self.ended_alone,
            "answers that changed when asked again": sum(client.changed_answers for client in self.clients),
            "lost": len(lost),
            "recorded but never answered": len(recorded.keys() - answered.keys()),
            "consumers whose sum is not that of the answers": len(doubled),
            "problems found by the check": problems,
            "wall time [s]": round(wall_s, 1),
            "load average of the machine": round(os.getloadavg()[0], 1),
            "ledger with its log [kB]": round(sum(p.stat().st_size for p in self.folder.glob("ledger.sqlite*")) / 1024),
            RECOVERY: [round(one, 3) for one in self.recovery_s],
        }

    def _write_files(self, drones: list[str]) -> None:
        demand = {"parcel": {"amount": DEMANDED, "depletion": "instantaneous"}}
        consumers = {f"c{n}": {"position_m": list(PLACES_M[n]), "demand": demand} for n in range(CONSUMERS)}
        fleet = {
            "kinds": ["parcel"],
            "arena": {"half_extent_m": [2.5, 2.5], "flight_height_m": 0.5},
            "all": {"battery_kind": None},
            "types": {"crazyflie": {}},
            "drones": {drone: {"start_m": [0.5 * n, 0.0]} for n, drone in enumerate(drones)},
        }
        scenario = {"title": "Deliveries without end", "consumers": consumers, "duration_s": 1e5}
        files = {"fleet_file": self.folder / "fleet.yaml", "scenario_file": self.folder / "scenario.yaml"}
        files["fleet_file"].write_text(yaml.safe_dump(fleet))
        files["scenario_file"].write_text(yaml.safe_dump(scenario))
        values: dict[str, Any] = {key: str(path.resolve()) for key, path in files.items()}
        values |= {"ledger_file": str(self.ledger.resolve()), "standby": self._standbys > 0}
        (self.folder / "params.yaml").write_text(yaml.safe_dump({"/demand_server": {"ros__parameters": values}}))

    def _start(self) -> None:
        command = [sys.executable, "-m", "lgtc_nodes.host", "--node", "demand_server"]
        command += ["--ros-args", "--params-file", str(self.folder / "params.yaml")]
        self._started += 1
        path = self.folder / f"server-{self._started}.log"
        with path.open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self._servers[server.pid], self._logs[server.pid] = server, path

    def _kill(self) -> float:
        """Kill the one that serves; returns when."""
        pid = int(Path(f"{self.ledger}.lock").read_text())
        server = self._servers.pop(pid)
        server.send_signal(signal.SIGKILL)
        killed_s = time.monotonic()
        server.wait()
        self._logs.pop(pid).unlink()
        return killed_s

    def _someone_stands_by(self) -> bool:
        """True when a server beside the one that serves has come up; also where none is to."""
        words = [
            b"standing by" in path.read_bytes() and b"took over" not in path.read_bytes()
            for path in self._logs.values()
        ]
        return not self._standbys or any(words)

    def _answered_since(self, since_s: float) -> bool:
        return max(client.asked_s for client in self.clients) > since_s

    def _spin_until(self, true: Any, limit_s: float, what: str, go_on: bool = True) -> None:
        end_s = time.monotonic() + limit_s
        while not true():
            self._step(go_on)
            for pid, server in [(pid, server) for pid, server in self._servers.items() if server.poll() is not None]:
                if server.returncode != 0:
                    raise SystemExit(f"a server ended by itself, code {server.returncode}: {self.folder}/server-*.log")
                del self._servers[pid], self._logs[pid]
                self.ended_alone += 1
                if not self._servers:
                    self._start()
            if time.monotonic() > end_s:
                raise SystemExit(f"not within {limit_s:g} s: {what}")

    def _spin_for(self, duration_s: float) -> None:
        end_s = time.monotonic() + duration_s
        while time.monotonic() < end_s:
            self._step(True)

    def _step(self, go_on: bool) -> None:
        """Speak, deliver, listen."""
        now_s = time.monotonic()
        if now_s - self._heartbeat_s >= HEARTBEAT_S:
            self._heartbeat_s = now_s
            self._mission.publish(self._heartbeat)
        for client in self.clients:
            client.step(now_s, go_on)
        self._executor.spin_once(timeout_sec=0.01)


def summary(portions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures of all portions together."""
    late = np.array([one for portion in portions for one in portion[RECOVERY]])
    sums = {key: sum((one[key] for one in portions[1:]), portions[0][key]) for key in portions[0] if key in SUMMED}
    return {
        "servers that stand by": sorted({one["servers that stand by"] for one in portions}),
        **sums,
        "serving again, median [s]": round(float(np.median(late)), 3),
        "serving again, p99 [s]": round(float(np.quantile(late, 0.99)), 3),
        "serving again, worst [s]": round(float(late.max()), 3),
        "within 1 s": f"{int((late <= 1.0).sum())} of {len(late)}",
        "load average of the machine": sorted(one["load average of the machine"] for one in portions),
    }


def main() -> int:
    """Run the trial; exit code 1 when something was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--portion", type=int, default=100, help="kills with one ledger")
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("runs/ledger_kills"))
    parser.add_argument("--domain", type=int, default=78)
    parser.add_argument("--seed", type=int, default=1, help="of the first portion")
    parser.add_argument("--standbys", type=int, default=0, help="how many other servers stand by")
    parser.add_argument("--pause", type=float, default=0.2, help="mean time between a start and the next kill [s]")
    parser.add_argument("--summary", action="store_true", help="only sum what was flown before")
    arguments = parser.parse_args()
    sizes = [min(arguments.portion, arguments.kills - done) for done in range(0, arguments.kills, arguments.portion)]
    for number, kills in enumerate([] if arguments.summary else sizes):
        folder = arguments.folder / f"portion-{number:03d}"
        if not (folder / FIGURES).exists():
            shutil.rmtree(folder, ignore_errors=True)  # it was stopped half-way
            trial = Trial(
                folder,
                arguments.clients,
                arguments.domain,
                arguments.seed + number,
                arguments.standbys,
                arguments.pause,
            )
            figures = trial.run(kills, progress=sys.stderr.isatty() or arguments.kills > 50)
            (folder / FIGURES).write_text(json.dumps(figures) + "\n")
    files = sorted(arguments.folder.glob(f"portion-*/{FIGURES}"))
    if not files:
        raise SystemExit(f"{arguments.folder}: got no portion that ended; expected some")
    figures = summary([json.loads(file.read_text()) for file in files])
    print(json.dumps(figures, indent=2))
    return 1 if any(figures[key] for key in WRONG) else 0


if __name__ == "__main__":
    sys.exit(main())
