"""The demand ledger: every change of the demand book on disk before it is answered.

One SQLite file (write-ahead log, synchronous FULL: what was answered survives a power cut). The state is the
fold of the changes in it:

    state at t = apply(change_n, ... apply(change_1, nothing)),   n = last change with stamp <= t

A checkpoint holds the state after every CHECKPOINT_ROWS-th change, so that a restart reads few rows. Rows are
kept for `keep_rows_s`: for so long every state can be told, and a repeated request is known again. Older ones
are folded: up to a checkpoint of that age they are deleted, all but those that their senders repeat at every
start, and the states of some checkpoints remain,

    as far apart as  max(keep_rows_s, age) / SHARE,   the oldest and the newest always,

so that the file does not grow with what was delivered, and the checkpoints with the logarithm of its age.

One process writes (a lock that ends with it, however it ends); any number may read meanwhile. Nothing is
guessed: a file of another version or of other resource kinds is refused, and a damaged one is set aside under
another name, never written to.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from lgtc_core import schema
from lgtc_core.demand.accounts import CHANGES, START, Accounts, Change, Delivered, Supplied
from lgtc_core.demand.view import NEGLIGIBLE_AMOUNT
from lgtc_core.errors import LedgerError, LgtcError

APPLICATION_ID = 0x4C475443
"""Marks the file as ours ("LGTC")."""
SCHEMA_VERSION = 2
CHECKPOINT_ROWS = 1000
"""Changes between two checkpoints; a restart reads at most this many."""
KEEP_ROWS_S = 86400.0
SHARE = 24
"""Checkpoints that are kept of the time of single rows; about so many more are kept of every further e-fold of time."""
BUSY_S = 0.25
"""Longest wait for another process that holds the file locked."""

_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE change (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, stamp_s REAL NOT NULL,"
    " utc_s REAL NOT NULL, kind TEXT NOT NULL, content TEXT NOT NULL, digest BLOB NOT NULL)",
    "CREATE TABLE checkpoint (seq INTEGER PRIMARY KEY, stamp_s REAL NOT NULL, utc_s REAL NOT NULL,"
    " content TEXT NOT NULL, digest BLOB NOT NULL)",
)
_MOMENTS = (
    "(SELECT seq, stamp_s, utc_s FROM change WHERE seq > :folded UNION SELECT seq, stamp_s, utc_s FROM checkpoint)"
)
"""Every change after which the state is known."""
_NAMES = {cls: name for name, cls in CHANGES.items()}


class Row(NamedTuple):
    """One change as it was recorded."""

    seq: int
    stamp_s: float
    """ROS time [s]; starts anew with every simulation."""
    utc_s: float
    """Wall clock [s since 1970]."""
    change: Change


class Moment(NamedTuple):
    """A change, by number and times."""

    seq: int
    stamp_s: float
    utc_s: float


@dataclass(frozen=True)
class Audit:
    """What a ledger says about one time.

    Attributes:
        accounts: the state then, or, where the changes up to it were folded, the last one before that was kept.
        moment: the last change that it holds; None: none yet.
        folded: what happened between `moment` and the time asked for is not known any more.
    """

    accounts: Accounts
    moment: Moment | None
    folded: bool = False


class LedgerReader:
    """A ledger, to read; also while its server is running.

    Raises:
        LedgerError: there is none, it is damaged, or of another version.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise LedgerError(str(self.path), "there is no such file", "name a ledger, e.g. runs/latest/ledger.sqlite")
        self._db = self._connect(f"{self.path.resolve().as_uri()}?mode=ro")
        try:
            self._check_version()
            self.kinds: tuple[str, ...] = tuple(json.loads(self._meta("kinds")))
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> LedgerReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self, after: int = 0, until: int = 2**62) -> Iterator[Row]:
        """Every change with a number above `after`, up to `until`, whose row is there, in order.

        Raises:
            LedgerError: a row is damaged.
        """
        columns = "seq, id, stamp_s, utc_s, kind, content, digest"
        query = f"SELECT {columns} FROM change WHERE seq > ? AND seq <= ? ORDER BY seq"
        with self._named():
            for seq, change_id, stamp_s, utc_s, kind, content, digest in self._db.execute(query, (after, until)):
                if digest != _digest(change_id, stamp_s, utc_s, kind, content):
                    raise self._damaged(f"row {seq} is not what was written")
                yield Row(seq, stamp_s, utc_s, self._change(seq, change_id, kind, content))

    @property
    def folded(self) -> int:
        """Number of the last change whose row was folded; 0: none was."""
        return int(self._meta("folded"))

    def audit(self, at_s: float | None = None, utc_s: float | None = None) -> Audit:
        """The state at a time: `at_s` of ROS time, or `utc_s` of the wall clock; now if both are None.

        Where ROS time started anew (another simulation on the same ledger), `at_s` means the last of them.

        Raises:
            LedgerError: a row is damaged, or cannot follow on those before it.
        """
        with self._snapshot():
            return self._audit(at_s, utc_s)

    def check(self) -> list[str]:
        """Everything that is wrong with the ledger, as sentences; empty: nothing.

        Pages, digests of all rows and checkpoints, that no row is missing, that every delivery was possible when it
        was answered, that supplies, deliveries and demands add up, and that each checkpoint since the last folded row
        equals the fold of the rows before it.
        """
        with self._snapshot():
            return self._check()

    # ---- inside ----------------------------------------

    def _audit(self, at_s: float | None, utc_s: float | None) -> Audit:
        values: dict[str, float] = {"folded": self.folded, "at_s": at_s or 0.0, "utc_s": utc_s or 0.0, "begun": 0}
        late = "0"
        if at_s is not None:
            anew = f"SELECT seq, stamp_s < lag(stamp_s) OVER (ORDER BY seq) AS anew FROM {_MOMENTS}"
            values["begun"] = self._one(f"SELECT coalesce(max(seq), 0) FROM ({anew}) WHERE anew", values)[0]
            late = "seq >= :begun AND stamp_s > :at_s"
        elif utc_s is not None:
            late = "utc_s > :utc_s"
        before = f"coalesce((SELECT min(seq) FROM {_MOMENTS} WHERE {late}), 1e18)"
        last = self._one(f"SELECT max(seq), stamp_s, utc_s FROM {_MOMENTS} WHERE seq < {before}", values)
        if last is None or last[0] is None:
            return Audit(Accounts(self.kinds), None, self.folded > 0)
        moment = Moment(*last)
        accounts, after = self._checkpoint(moment.seq)
        for row in self.rows(after):
            if row.seq > moment.seq:
                break
            self._apply(accounts, row)
        return Audit(accounts, moment, moment.seq < self.folded)

    def _check(self) -> list[str]:
        with self._named():
            found = [
                f"the file is damaged: {line}"
                for (line,) in self._db.execute("PRAGMA integrity_check(10)")
                if line != "ok"
            ]
            stored = [seq for (seq,) in self._db.execute("SELECT seq FROM checkpoint ORDER BY seq")]
        try:
            folded = self.folded
            states = {seq: self._checkpoint(seq)[0] for seq in stored}
            for seq, state in states.items():
                found += [f"the sums after row {seq} do not add up: {one}" for one in state.imbalances()]
            for _ in self.rows(0, folded):
                pass  # reads each against its digest
            if folded and folded not in states:
                return [*found, f"the checkpoint after row {folded} is missing"]
            accounts, seq = states.get(folded) or Accounts(self.kinds), folded
            for row in self.rows(folded):
                found += self._not_the_next(seq, row)
                found += [f"row {row.seq}: {words}" for words in _impossible(accounts, row.change)]
                self._apply(accounts, row)
                seq = row.seq
                if seq in states and states[seq].dump() != accounts.dump():
                    found.append(f"the checkpoint after row {seq} differs from what the rows before it say")
        except LedgerError as error:
            return [*found, error.problem]
        if stored and stored[-1] > seq:
            found.append(f"rows {seq + 1} to {stored[-1]} are missing")
        return found + [f"the sums do not add up: {imbalance}" for imbalance in accounts.imbalances()]

    def _snapshot(self) -> _Transaction:
        """What is read within is of one moment, even while a server writes."""
        return _Transaction(self._db, self._error, "DEFERRED")

    def _connect(self, uri: str) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S)
            db.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.Error as error:
            raise self._error(error) from error
        return db

    def _check_version(self) -> None:
        with self._named():
            application, version = (
                self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
        if application != APPLICATION_ID:
            raise LedgerError(str(self.path), "is no demand ledger, but another SQLite file", "name another file")
        if version != SCHEMA_VERSION:
            raise LedgerError(
                str(self.path),
                f"is of schema version {version}; this program reads and writes {SCHEMA_VERSION}",
                "open it with the program that wrote it, or name a new file",
            )

    def _meta(self, key: str) -> str:
        row = self._one("SELECT value FROM meta WHERE key = ?", (key,))
        if row is None:
            raise self._damaged(f"the entry {key!r} is missing")
        return str(row[0])

    def _change(self, seq: int, change_id: str, kind: str, content: str) -> Change:
        cls = CHANGES.get(kind)
        if cls is None:
            raise self._damaged(f"row {seq} is a {kind!r}, which is unknown")
        try:
            return schema.build(cls, {"id": change_id, **json.loads(content)}, f"{self.path} row {seq}")
        except (LgtcError, ValueError, TypeError) as error:
            raise self._damaged(f"row {seq} cannot be read ({error})") from error

    def _apply(self, accounts: Accounts, row: Row) -> None:
        try:
            accounts.apply(row.change)
        except (ValueError, IndexError) as error:
            raise self._damaged(f"row {row.seq} cannot follow on those before it ({error})") from error

    def _checkpoint(self, seq: int) -> tuple[Accounts, int]:
        """State of the newest checkpoint that is not after change `seq`, and its number; nothing, 0 if there is none.

        Raises:
            LedgerError: it is damaged.
        """
        query = "SELECT seq, stamp_s, utc_s, content, digest FROM checkpoint WHERE seq <= ? ORDER BY seq DESC LIMIT 1"
        stored = self._one(query, (seq,))
        if stored is None:
            return Accounts(self.kinds), 0
        if stored[4] != _digest(*stored[:4]):
            raise self._damaged(f"the checkpoint after row {stored[0]} is not what was written")
        try:
            return Accounts.load(json.loads(stored[3]), str(self.path)), stored[0]
        except (LgtcError, ValueError) as error:
            raise self._damaged(f"the checkpoint after row {stored[0]} cannot be read ({error})") from error

    def _one(self, query: str, values: Any = ()) -> Any:
        """First row of a query."""
        with self._named():
            return self._db.execute(query, values).fetchone()

    @staticmethod
    def _not_the_next(seq: int, row: Row) -> list[str]:
        """What is wrong where `row` comes after number `seq`: numbers are given without a gap."""
        return [] if row.seq == seq + 1 else [f"rows {seq + 1} to {row.seq - 1} are missing"]

    def _damaged(self, what: str) -> LedgerError:
        return _Damaged(str(self.path), what, "restore a copy, or start a new ledger under another name")

    def _named(self) -> _Named:
        return _Named(self._error)

    def _error(self, error: sqlite3.Error) -> LedgerError:
        """The error in words of this project, by SQLite's own code."""
        name = getattr(error, "sqlite_errorname", "") or ""
        path = str(self.path)
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return LedgerError(path, "is locked by another process", "end that process; the request may be repeated")
        if name.startswith("SQLITE_FULL"):
            return LedgerError(path, "the disk is full", "make room; the request may be repeated")
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            return LedgerError(path, "cannot be written", "check folder, file and their permissions")
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return self._damaged(f"is damaged ({error})")
        return LedgerError(path, f"{error} ({name or type(error).__name__})", "the request may be repeated")


class Ledger(LedgerReader):
    """A ledger, to write: the journal of a `DemandBook`.

    Args:
        path: the file; made, with its folder, if there is none.
        kinds: names of the resource kinds; a ledger of others is refused.
        clock: gives ROS time [s], for the stamps of the changes.
        utc: gives the wall clock [s since 1970].
        keep_rows_s: rows are kept one by one for so long, by the wall clock [s].

    Attributes:
        accounts: the state restored from the file.
        opened: how often this ledger was opened to write, this time included.

    Raises:
        LedgerInUse: another process writes to it; nothing was changed.
        LedgerError: of another version or other kinds, not writable, or damaged; a
            damaged one has been renamed when this is raised, so that the next start makes a new one.
    """

    def __init__(
        self,
        path: Path | str,
        kinds: Iterable[str],
        clock: Callable[[], float],
        utc: Callable[[], float],
        keep_rows_s: float = KEEP_ROWS_S,
    ) -> None:
        self.path = Path(path)
        self._clock, self._utc, self.keep_rows_s = clock, utc, keep_rows_s
        self.kinds = tuple(kinds)
        self._since_checkpoint = 0
        self._lock = _lock_file(Path(f"{self.path}.lock"))
        try:
            self._take_lock()
            self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Close the file and give the lock back."""
        super().close()
        os.close(self._lock)

    def write(self, changes: Iterable[Change]) -> None:
        """Record all or none; on disk when this returns.

        Raises:
            LedgerError: locked, full, not writable or damaged; nothing was recorded.
        """
        stamp_s, utc_s = self._clock(), self._utc()
        rows = []
        for change in changes:
            plain = schema.dump(change)
            change_id, kind, content = plain.pop("id"), _NAMES[type(change)], _json(plain)
            digest = _digest(change_id, stamp_s, utc_s, kind, content)
            rows.append((change_id, stamp_s, utc_s, kind, content, digest))
        insert = "INSERT INTO change (id, stamp_s, utc_s, kind, content, digest) VALUES (?, ?, ?, ?, ?, ?)"
        with self._transaction():
            self._db.executemany(insert, rows)
        self._since_checkpoint += len(rows)

    def find(self, change_id: str) -> Change | None:
        """The change of that id, if there was one in the last `keep_rows_s`, or, of a start, ever.

        Raises:
            LedgerError: it could not be looked up.
        """
        query = "SELECT seq, kind, content FROM change WHERE id = ?"
        row = self._one(query, (change_id,))
        return None if row is None else self._change(row[0], change_id, row[1], row[2])

    def applied(self, accounts: Accounts) -> None:
        """Everything written has taken effect: write a checkpoint now and then, and fold old rows."""
        if self._since_checkpoint >= CHECKPOINT_ROWS:
            self._since_checkpoint = 0
            # Nothing depends on it: where the disk is full, the next one will do.
            try:
                self.compact(accounts)
            except LedgerError:
                return

    def compact(self, accounts: Accounts) -> None:
        """Checkpoint `accounts`, which must be the state of all that was written, fold rows older than
        `keep_rows_s`, and give free pages back.

        Raises:
            LedgerError: it could not be written; nothing changed.
        """
        content, now_s = _json(accounts.dump()), self._utc()
        with self._transaction():
            newest = "coalesce((SELECT max(seq) FROM checkpoint), 0)"
            last = self._one(f"SELECT max(seq), stamp_s, utc_s FROM change WHERE seq > {newest}")
            if last[0] is not None:
                row = (*last, content, _digest(*last, content))
                self._db.execute("INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?)", row)
            self._fold(now_s - self.keep_rows_s)
            self._thin(now_s)
        with self._named():
            # As many as there are, but in steps of one page each: the statement has to be run to its end.
            self._db.execute("PRAGMA incremental_vacuum").fetchall()

    # ---- inside ----------------------------------------

    def _fold(self, until_s: float) -> None:
        """Delete the rows up to the newest checkpoint before `until_s` of the wall clock."""
        folded = self._one("SELECT max(seq) FROM checkpoint WHERE utc_s < ?", (until_s,))[0]
        if folded is not None and folded > self.folded:
            self._db.execute("DELETE FROM change WHERE seq <= ? AND NOT instr(id, ?)", (folded, START))
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'folded'", (str(folded),))

    def _thin(self, now_s: float) -> None:
        """Delete checkpoints that are close together for their age."""
        query = "SELECT seq, utc_s FROM checkpoint ORDER BY seq DESC"
        moments, folded = self._db.execute(query).fetchall(), self.folded
        newer_s = moments[0][1] if moments else math.nan
        for (seq, utc_s), (_, older_s) in pairwise(moments[1:]):
            if seq != folded and newer_s - older_s <= max(self.keep_rows_s, now_s - utc_s) / SHARE:
                self._db.execute("DELETE FROM checkpoint WHERE seq = ?", (seq,))
            else:
                newer_s = utc_s

    def _take_lock(self) -> None:
        """One writer."""
        if not _locked(self._lock):
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            raise LedgerInUse(
                str(self.path), f"another demand server (process {holder}) writes to it", "end that one first"
            )
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def _open(self) -> None:
        """Read first, without a byte written; a file that is in order, or none, is then opened to write."""
        try:
            empty = not self.path.exists() or self.path.stat().st_size == 0
            self.accounts = Accounts(self.kinds) if empty else self._inspected()
            self._db = self._connect(f"{self.path.resolve().as_uri()}?mode=rwc")
            try:
                self._begin(empty)
            except BaseException:
                self._db.close()
                raise
        except _Damaged as error:
            aside = self._set_aside()
            raise LedgerError(
                str(self.path), f"{error.problem}; it was set aside as {aside}", "start again for a new ledger"
            ) from error

    def _inspected(self) -> Accounts:
        """The state in the file, after everything about it was checked, read-only."""
        self._db = self._connect(f"{self.path.resolve().as_uri()}?mode=ro")
        try:
            with self._named():
                if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                    return Accounts(self.kinds)  # its maker ended before it was made
            self._check_version()
            with self._named():
                damage = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if damage != "ok":
                raise self._damaged(f"is damaged ({damage})")
            kinds = tuple(json.loads(self._meta("kinds")))
            if kinds != self.kinds:
                raise LedgerError(
                    str(self.path),
                    f"is about the resource kinds {', '.join(kinds)}; the fleet has {', '.join(self.kinds)}",
                    "fly the fleet that it belongs to, or name a new file",
                )
            return self._restored()
        finally:
            self._db.close()

    def _begin(self, empty: bool) -> None:
        """Set up the connection, make the tables where there are none, and count this opening."""
        with self._named():
            if empty:
                self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # must come before the first table
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            made = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] > 0
        if not made:
            self._create()
        self.opened = int(self._meta("opened")) + 1
        with self._transaction():
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'opened'", (str(self.opened),))

    def _create(self) -> None:
        with self._transaction():
            for statement in _TABLES:
                self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            meta = {"kinds": json.dumps(self.kinds), "opened": "0", "folded": "0", "created_utc_s": repr(self._utc())}
            self._db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())

    def _restored(self) -> Accounts:
        """State of the newest checkpoint and the rows after it, checked."""
        accounts, seq = self._checkpoint(2**62)
        if seq < self.folded:
            raise self._damaged(f"the checkpoint after row {self.folded} is missing")
        for row in self.rows(seq):
            for words in self._not_the_next(seq, row):
                raise self._damaged(words)
            for words in _impossible(accounts, row.change):
                raise self._damaged(f"row {row.seq} {words}")
            self._apply(accounts, row)
            seq = row.seq
            self._since_checkpoint += 1
        imbalances = accounts.imbalances()
        if imbalances:
            raise self._damaged(f"the sums do not add up: {imbalances[0]}")
        return accounts

    def _set_aside(self) -> Path:
        """Rename the damaged file and what belongs to it; returns its new name."""
        when = datetime.fromtimestamp(self._utc(), UTC).strftime("%Y%m%dT%H%M%SZ")
        name, number = f"{self.path.name}.damaged-{when}", 0
        while (aside := self.path.with_name(name + (f"-{number}" if number else ""))).exists():
            number += 1
        for suffix in ("-wal", "-shm", ""):
            old = self.path.with_name(self.path.name + suffix)
            if old.exists():
                old.rename(aside.with_name(aside.name + suffix))
        return aside

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db, self._error)


class Turn:
    """Who is the next to write to a ledger: of those that wait, the one that has waited longest.

    Args:
        path: the ledger.

    Raises:
        LedgerError: the folder cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self._lock: int | None = _lock_file(Path(f"{path}.next"))
        self._mine = False

    def mine(self) -> bool:
        """Whether it is this process's turn."""
        self._mine = self._mine or (self._lock is not None and _locked(self._lock))
        return self._mine

    def pass_on(self) -> None:
        """Let the next one wait."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock, self._mine = None, False


class LedgerInUse(LedgerError):
    """Another process writes to the ledger."""


class _Damaged(LedgerError):
    """The file does not hold what was written to it."""


class _Named:
    """SQLite's errors, in words of this project."""

    def __init__(self, error: Callable[[sqlite3.Error], LedgerError]) -> None:
        self._error = error

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            raise self._error(error) from error


class _Transaction(_Named):
    """All or nothing."""

    def __init__(
        self, db: sqlite3.Connection, error: Callable[[sqlite3.Error], LedgerError], how: str = "IMMEDIATE"
    ) -> None:
        super().__init__(error)
        self._db, self._begin = db, f"BEGIN {how}"

    def __enter__(self) -> None:
        try:
            self._db.execute(self._begin)
        except sqlite3.Error as error:
            raise self._error(error) from error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            try:
                self._db.execute("COMMIT")
                return
            except sqlite3.Error as failed:
                error = failed
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise self._error(error) from error


def _impossible(accounts: Accounts, change: Change) -> Iterator[str]:
    """Why a change cannot have been decided on this state."""
    if isinstance(change, Delivered) and change.accepted:
        if change.consumer not in accounts.entries or change.kind not in accounts.kinds:
            yield f"delivered {change.kind} to {change.consumer}, which did not exist"
            return
        k = accounts.kinds.index(change.kind)
        missing, carried = accounts.entries[change.consumer].missing(k), accounts.carried(change.drone, k)
        small = NEGLIGIBLE_AMOUNT * max(1.0, missing)
        if change.amount > min(change.offered, missing) + small:
            yield f"took {change.amount:g} of {change.offered:g} offered, where {missing:g} was missing"
        if change.amount > carried + small:
            yield f"took {change.amount:g} {change.kind} from {change.drone}, which carried {carried:g}"
        if abs(missing - change.amount - change.remaining) > small:
            yield f"left {change.remaining:g} of {missing:g} after {change.amount:g}"
    if isinstance(change, Supplied):
        if change.kind not in accounts.kinds:
            yield f"supplied {change.kind}, which is unknown"
            return
        before = accounts.carried(change.drone, accounts.kinds.index(change.kind))
        carried = change.put_in + (0.0 if math.isnan(before) else before)
        if abs(carried - change.carried) > NEGLIGIBLE_AMOUNT * max(1.0, abs(carried)):
            yield f"left {change.carried:g} {change.kind} on {change.drone}, where {carried:g} is what adds up"


def _lock_file(path: Path) -> int:
    """Descriptor of a lock file, which is made, with its folder, if there is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise LedgerError(
            str(path.with_suffix("")),
            f"cannot be written ({error.strerror})",
            "check folder, file and their permissions",
        ) from error


def _locked(descriptor: int) -> bool:
    """Lock an open file, if nobody else has; the lock belongs to it, and ends with the process even after SIGKILL."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _json(plain: Any) -> str:
    return json.dumps(plain, separators=(",", ":"), allow_nan=False)


def _digest(*parts: object) -> bytes:
    """Of what was written; floats by their exact text."""
    return hashlib.blake2b("\0".join(map(repr, parts)).encode(), digest_size=8).digest()
