"""The demand book and its ledger for hours of simulated time: does memory stay flat, what does the file grow by?

    setup/run python bench/ledger_hours.py --hours 12

Consumers come, move and go every minute; ten drones fly among them, stay half a minute, deliver, are charged and loaded
again; the server is closed and opened once an hour. No flight is simulated: positions jump. Printed per hour: rows and
size of the ledger after compaction, resident memory of the process, and what the check finds.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

from lgtc_core.demand.book import DemandBook, Request
from lgtc_core.demand.consumer import ConsumerSpec
from lgtc_core.demand.ledger import Ledger, LedgerReader
from lgtc_core.world import rules

KINDS = ("battery", "parcel")
DRONES = tuple(f"cf{n + 1}" for n in range(10))
PLACES_M = [(2.0 * x, 2.0 * y) for x in range(5) for y in range(4)]
STEP_S, STAY_S = 0.5, 30.0


class Days:
    """The book, its clock and what happens to it."""

    def __init__(self, path: Path, keep_rows_s: float) -> None:
        self.path, self.keep_rows_s = path, keep_rows_s
        self.now_s, self._number, self._chance = 0.0, 0, random.Random(1)
        self._begun_s = time.time()
        self._at: dict[str, tuple[float, float]] = dict.fromkeys(DRONES, PLACES_M[0])
        self.open()

    def open(self) -> None:
        """Open the ledger, as a server does when it starts."""
        self.ledger = Ledger(self.path, KINDS, lambda: self.now_s, lambda: self._begun_s + self.now_s, self.keep_rows_s)
        opened = self.ledger.opened << 20
        self.book = DemandBook(
            KINDS, DRONES, None, ("battery",), None, self.ledger, self.ledger.accounts, revision=opened
        )

    def hour(self) -> None:
        """One hour of changes, visits and deliveries."""
        for step in range(round(3600.0 / STEP_S)):
            self.now_s += STEP_S
            if step % round(60.0 / STEP_S) == 0:
                self._edit()
            for n, drone in enumerate(DRONES):
                if (step + 7 * n) % round(STAY_S / STEP_S) == 0:
                    self._fly(drone)
                self.book.presence(drone, self.now_s, self._at[drone], (0.8, 1.0), True)
            self.book.view(self.now_s)

    def _id(self) -> str:
        self._number += 1
        return f"{self.ledger.opened}-{self._number}"

    def _edit(self) -> None:
        entries = self.book.accounts.entries
        free = [place for place in PLACES_M if all(place != entry.spec.position_m for entry in entries.values())]
        if len(entries) > 8:
            self.book.remove(self._chance.choice(list(entries)), self._id())
        place_m = self._chance.choice(free)
        name = f"c{self.ledger.opened}x{self._number}"
        spec = ConsumerSpec(
            name=name,
            position_m=place_m,
            radius_m=0.5,
            demanded=(0.5, 20.0),
            depletion=(rules.ZERO_DEPLETION, rules.INSTANTANEOUS),
        )
        assert self.book.add(spec, self._id()).accepted

    def _fly(self, drone: str) -> None:
        """To another consumer; a new battery and a new load on the way; a delivery there."""
        entries = self.book.accounts.entries
        name = self._chance.choice(list(entries))
        self._at[drone] = entries[name].spec.position_m
        carried = self.book.accounts.carried(drone, 1)
        if not carried >= 1.0:
            self.book.put_in(self._id(), drone, "parcel", 1.0)
        offered = self._chance.uniform(0.1, 1.0)
        answer = self.book.deliver_together([Request(self._id(), drone, name, "parcel", offered)])[0]
        assert answer.accepted, answer.message


def memory_mb() -> float:
    """Resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS in /proc/self/status")


def main() -> None:
    """Run the hours and print the figures, one line of JSON an hour."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hours", type=int, default=12)
    parser.add_argument("--keep", type=float, default=3600.0, help="changes kept row by row [s]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        days = Days(Path(folder) / "ledger.sqlite", arguments.keep)
        for hour in range(1, arguments.hours + 1):
            days.hour()
            days.ledger.compact(days.book.accounts)
            days.ledger.close()
            with LedgerReader(days.path) as reader:
                problems = reader.check()
                folded, first = reader.folded, reader.audit(at_s=1800.0).moment
                rows, new = sum(1 for _ in reader.rows()), sum(1 for _ in reader.rows(folded))
            begun_s = time.perf_counter()
            days.open()
            figures = {
                "hour": hour,
                "changes": folded + new,
                "rows kept": rows,
                "newest state kept of the first half hour [s]": None if first is None else first.stamp_s,
                "ledger [kB]": round(days.path.stat().st_size / 1024),
                "opened again in [ms]": round(1e3 * (time.perf_counter() - begun_s), 1),
                "memory [MB]": round(memory_mb(), 1),
                "problems": problems,
            }
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
