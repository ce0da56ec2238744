"""The demand ledger: every change of the demand book on disk before it is answered.

One SQLite file (write-ahead log, synchronous FULL: what was answered survives a power cut). The state is the
fold of the changes in it:

    state at t = apply(change_n, ... apply(change_1, nothing)),   n = last change with stamp <= t

A checkpoint holds the state of every CHECKPOINT_ROWS-th change, so that a restart reads few rows. Deliveries,
edits and supplies are kept for ever: they are the audit, and there are as many as things happened. Visits to
0-depletion demands recur for ever; those that ended longer than `keep_visits_s` ago are folded into sums per
drone and consumer (visits, seconds), so the file grows with what was delivered, not with time.

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
from pathlib import Path
from typing import Any, NamedTuple

from lgtc_core import schema
from lgtc_core.demand.accounts import CHANGES, Accounts, Arrived, Change, Delivered, Departed, Supplied
from lgtc_core.demand.view import NEGLIGIBLE_AMOUNT
from lgtc_core.errors import LedgerError, LgtcError

APPLICATION_ID = 0x4C475443
"""Marks the file as ours ("LGTC")."""
SCHEMA_VERSION = 1
CHECKPOINT_ROWS = 1000
"""Changes between two checkpoints; a restart reads at most this many."""
BUSY_S = 0.25
"""Longest wait for another process that holds the file locked."""

_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE change (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, stamp_s REAL NOT NULL,"
    " utc_s REAL NOT NULL, kind TEXT NOT NULL, content TEXT NOT NULL, digest BLOB NOT NULL)",
    "CREATE TABLE checkpoint (seq INTEGER PRIMARY KEY, content TEXT NOT NULL, digest BLOB NOT NULL)",
    "CREATE TABLE served (drone TEXT NOT NULL, consumer TEXT NOT NULL, visits INTEGER NOT NULL, seconds REAL NOT NULL,"
    " until_s REAL NOT NULL, PRIMARY KEY (drone, consumer)) WITHOUT ROWID",
)
_NAMES = {cls: name for name, cls in CHANGES.items()}


class Row(NamedTuple):
    """One change as it was recorded."""

    seq: int
    stamp_s: float
    """ROS time [s]; starts anew with every simulation."""
    utc_s: float
    """Wall clock [s since 1970]."""
    change: Change


class Served(NamedTuple):
    """Visits to a 0-depletion demand that were folded."""

    drone: str
    consumer: str
    visits: int
    seconds: float
    until_s: float
    """End of the last of them, ROS time [s]."""


@dataclass(frozen=True)
class Audit:
    """What a ledger says about one time.

    Attributes:
        accounts: the state then.
        row: the last change that it holds; None: none yet.
        served: visits that ended so long ago that only their sums are kept.
    """

    accounts: Accounts
    row: Row | None
    served: tuple[Served, ...]


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

    def rows(self, after: int = 0) -> Iterator[Row]:
        """Every recorded change after number `after`, in order.

        Raises:
            LedgerError: a row is damaged.
        """
        query = "SELECT seq, id, stamp_s, utc_s, kind, content, digest FROM change WHERE seq > ? ORDER BY seq"
        with self._named():
            for seq, change_id, stamp_s, utc_s, kind, content, digest in self._db.execute(query, (after,)):
                if digest != _digest(change_id, stamp_s, utc_s, kind, content):
                    raise self._damaged(f"row {seq} is not what was written")
                yield Row(seq, stamp_s, utc_s, self._change(seq, change_id, kind, content))

    def audit(self, at_s: float | None = None, utc_s: float | None = None) -> Audit:
        """The state at a time: `at_s` of ROS time, or `utc_s` of the wall clock; now if both are None.

        Where ROS time started anew (another simulation on the same ledger), `at_s` means the last of them.

        Raises:
            LedgerError: a row is damaged, or cannot follow on those before it.
        """
        begun = 0
        if at_s is not None:
            query = (
                "SELECT max(seq) FROM (SELECT seq, stamp_s < lag(stamp_s) OVER (ORDER BY seq) AS anew FROM change)"
                " WHERE anew"
            )
            with self._named():
                begun = self._db.execute(query).fetchone()[0] or 0
        accounts, last = Accounts(self.kinds), None
        for row in self.rows():
            if at_s is not None and row.seq >= begun and row.stamp_s > at_s:
                break
            if utc_s is not None and row.utc_s > utc_s:
                break
            self._apply(accounts, row)
            last = row
        return Audit(accounts, last, self.served())

    def served(self) -> tuple[Served, ...]:
        """Sums of the visits that were folded."""
        with self._named():
            return tuple(
                Served(*row) for row in self._db.execute("SELECT drone, consumer, visits, seconds, until_s FROM served")
            )

    def check(self) -> list[str]:
        """Everything that is wrong with the ledger, as sentences; empty: nothing.

        Pages, digests of all rows, that every delivery was possible when it was answered, that supplies,
        deliveries and demands add up, and that the checkpoint equals the fold of the rows before it.
        """
        with self._named():
            found = [
                f"the file is damaged: {line}"
                for (line,) in self._db.execute("PRAGMA integrity_check(10)")
                if line != "ok"
            ]
            stored = self._db.execute("SELECT max(seq), content FROM checkpoint").fetchone()
        accounts, checkpoint_seq = Accounts(self.kinds), stored[0]
        compared = checkpoint_seq is None
        try:
            for row in self.rows():
                if not compared and row.seq > checkpoint_seq:
                    found += self._against_checkpoint(accounts, stored[1])
                    compared = True
                found += [f"row {row.seq}: {words}" for words in _impossible(accounts, row.change)]
                self._apply(accounts, row)
        except LedgerError as error:
            return [*found, error.problem]
        if not compared:
            found += self._against_checkpoint(accounts, stored[1])
        return found + [f"the sums do not add up: {imbalance}" for imbalance in accounts.imbalances()]

    # ---- inside ----------------------------------------

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
        with self._named():
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
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

    def _against_checkpoint(self, accounts: Accounts, content: str) -> list[str]:
        """Compare the fold of the rows with a checkpoint; the count of visits is not in rows that were folded."""
        stored = Accounts.load(json.loads(content), str(self.path))
        stored.visits = accounts.visits
        if stored.dump() == accounts.dump():
            return []
        return ["the checkpoint differs from what the rows before it say"]

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
        keep_visits_s: visits that ended longer ago than this are folded into sums [s].

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
        keep_visits_s: float = 3600.0,
    ) -> None:
        self.path = Path(path)
        self._clock, self._utc, self.keep_visits_s = clock, utc, keep_visits_s
        self.kinds = tuple(kinds)
        self._since_checkpoint = 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise LedgerError(
                str(self.path), f"cannot be written ({error.strerror})", "check folder, file and their permissions"
            ) from error
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
        """The change of that id, if there was one.

        Raises:
            LedgerError: it could not be looked up.
        """
        query = "SELECT seq, kind, content FROM change WHERE id = ?"
        with self._named():
            row = self._db.execute(query, (change_id,)).fetchone()
        return None if row is None else self._change(row[0], change_id, row[1], row[2])

    def applied(self, accounts: Accounts) -> None:
        """Everything written has taken effect: write a checkpoint now and then, and fold old visits."""
        if self._since_checkpoint >= CHECKPOINT_ROWS:
            self._since_checkpoint = 0
            # Nothing depends on it: where the disk is full, the next one will do.
            try:
                self.compact(accounts)
            except LedgerError:
                return

    def compact(self, accounts: Accounts) -> None:
        """Checkpoint `accounts`, which must be the state of all that was written, fold visits that ended more
        than `keep_visits_s` ago, and give free pages back.

        Raises:
            LedgerError: it could not be written; nothing changed.
        """
        content = _json(accounts.dump())
        now_s = self._clock()
        with self._transaction():
            seq = self._db.execute("SELECT coalesce(max(seq), 0) FROM change").fetchone()[0]
            self._db.execute("DELETE FROM checkpoint")
            self._db.execute("INSERT INTO checkpoint VALUES (?, ?, ?)", (seq, content, _digest(seq, content)))
            self._fold_visits(now_s)
        with self._named():
            # As many as there are, but in steps of one page each: the statement has to be run to its end.
            self._db.execute("PRAGMA incremental_vacuum").fetchall()

    # ---- inside ----------------------------------------

    def _fold_visits(self, now_s: float) -> None:
        """Replace arrivals and departures of visits that ended long ago (or before ROS time started anew)."""
        query = "SELECT seq, id, stamp_s, content FROM change WHERE kind = 'departed' AND NOT stamp_s BETWEEN ? AND ?"
        for seq, change_id, _, content in self._db.execute(query, (now_s - self.keep_visits_s, now_s)).fetchall():
            departed = self._change(seq, change_id, "departed", content)
            assert isinstance(departed, Departed)
            begin = self._db.execute(
                "SELECT seq, content FROM change WHERE id = ? AND kind = 'arrived'", (departed.visit,)
            ).fetchone()
            if begin is None:
                raise self._damaged(f"row {seq} ends a visit that never began")
            arrived = self._change(begin[0], departed.visit, "arrived", begin[1])
            assert isinstance(arrived, Arrived)
            self._db.execute("DELETE FROM change WHERE seq IN (?, ?)", (seq, begin[0]))
            self._db.execute(
                "INSERT INTO served VALUES (?, ?, 1, ?, ?) ON CONFLICT (drone, consumer) DO UPDATE SET"
                " visits = visits + 1, seconds = seconds + excluded.seconds, until_s = excluded.until_s",
                (arrived.drone, arrived.consumer, max(0.0, departed.stamp_s - arrived.stamp_s), departed.stamp_s),
            )

    def _take_lock(self) -> None:
        """One writer: the lock belongs to the open file, so it ends with the process even after SIGKILL."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip() or "unknown"
            raise LedgerInUse(
                str(self.path), f"another demand server (process {holder}) writes to it", "end that one first"
            ) from None
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
            meta = {"kinds": json.dumps(self.kinds), "opened": "0", "created_utc_s": repr(self._utc())}
            self._db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())

    def _restored(self) -> Accounts:
        """State of the newest checkpoint and the rows after it, checked."""
        with self._named():
            stored = self._db.execute("SELECT seq, content, digest FROM checkpoint ORDER BY seq DESC").fetchone()
        accounts, after = Accounts(self.kinds), 0
        if stored is not None:
            after, content, digest = stored
            if digest != _digest(after, content):
                raise self._damaged("the checkpoint is not what was written")
            try:
                accounts = Accounts.load(json.loads(content), str(self.path))
            except (LgtcError, ValueError) as error:
                raise self._damaged(f"the checkpoint cannot be read ({error})") from error
        for row in self.rows(after):
            for words in _impossible(accounts, row.change):
                raise self._damaged(f"row {row.seq} {words}")
            self._apply(accounts, row)
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

    def __init__(self, db: sqlite3.Connection, error: Callable[[sqlite3.Error], LedgerError]) -> None:
        super().__init__(error)
        self._db = db

    def __enter__(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
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


def _json(plain: Any) -> str:
    return json.dumps(plain, separators=(",", ":"), allow_nan=False)


def _digest(*parts: object) -> bytes:
    """Of what was written; floats by their exact text."""
    return hashlib.blake2b("\0".join(map(repr, parts)).encode(), digest_size=8).digest()
