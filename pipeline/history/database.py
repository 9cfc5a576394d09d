"""The database of a lab's history: one SQLite file, opened so that readers never wait for a writer.

Which tables there are, is said where they are used; who uses one makes it where it is missing.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Connection, Engine, MetaData, NullPool, Table, create_engine, event, text
from sqlalchemy.exc import DatabaseError, OperationalError

from ..errors import MetisError
from ..machine import durable
from ..machine.system import system

FORMAT = 1
"""Of the tables, kept as the file's user_version (sqlite.org/pragma.html).

It counts up when a table becomes another; a new one makes no difference to who knows only the others.
"""
PATIENCE = 30
"""Seconds to wait while another process writes."""
_PAUSE = 0.01
"""Seconds."""
LARGEST_LOG = 1 << 22
"""Bytes that a log which was written back may keep (sqlite.org/wal.html, 6)."""
PREPARE = (
    "PRAGMA journal_mode = WAL",
    f"PRAGMA journal_size_limit = {LARGEST_LOG}",
    "PRAGMA foreign_keys = ON",
)
PREPARE_NEW = ("PRAGMA auto_vacuum = FULL", *PREPARE)
"""That a file gets smaller when rows go is said before it has a table (sqlite.org/pragma.html)."""
IN_MEMORY = ("PRAGMA temp_store = MEMORY",)
ALONE = (*IN_MEMORY, "PRAGMA locking_mode = EXCLUSIVE")
NOTHING_BESIDE = ("SQLITE_IOERR_SHM", "SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_READONLY")
"""What SQLite calls it where it can make no file beside another (sqlite.org/rescode.html)."""
LITTLE = 1 << 16
"""Bytes; a file system that has no more room than that is full."""
ANEW = "move it away to begin anew"

TABLES = MetaData()


@contextmanager
def writing(file: Path) -> Iterator[Connection]:
    """A transaction that nobody else writes beside, kept when the block ends well; makes what is missing.

    Raises MetisError where the file is no database of ours, is of a newer Metis, or cannot be written.
    """
    durable.make_private(file.parent)
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    prepare = PREPARE if file.stat().st_size else PREPARE_NEW
    with _in_one_line(file), _engine(_address(file), prepare, "BEGIN IMMEDIATE").begin() as connection:
        if _format(connection, file) < FORMAT:
            connection.execute(text(f"PRAGMA user_version = {FORMAT}"))
        TABLES.create_all(connection)
        yield connection


@contextmanager
def reading(file: Path) -> Iterator[Connection]:
    """One look at the tables, as they are at its beginning: nobody is waited for, and nothing is made.

    What is not there yet, a table or the whole file, has no rows. A file on a disk that is full or read-only
    is read all the same. Raises MetisError where it is no database of ours or is of a newer Metis.
    """
    with _in_one_line(file), ExitStack() as stack:
        connection = _opened(file, stack)
        there = set(connection.execute(text("SELECT name FROM sqlite_schema")).scalars())
        for table in TABLES.tables.values():
            if table.name not in there:
                connection.execute(text(_without_rows(table)))
        connection.execute(text("PRAGMA query_only = ON"))
        try:
            yield connection
        except ValueError:  # JSON that is none
            raise MetisError(f"{file} cannot be used: a row of it makes no sense", ANEW) from None


def _opened(file: Path, stack: ExitStack) -> Connection:
    if not file.exists():
        return stack.enter_context(_looking(file, "file::memory:", IN_MEMORY))
    try:
        return stack.enter_context(_looking(file, _address(file), IN_MEMORY))
    except OperationalError as error:
        # Who reads keeps an index of the log beside it, for which there may be no room or no right.
        if not _name_of(error).startswith(NOTHING_BESIDE):
            raise
        if not _has_log(file):
            stack.enter_context(_unchanged(file))
            return stack.enter_context(_looking(file, f"{_address(file)}&immutable=1", IN_MEMORY))
        stack.enter_context(_alone(file))
        return stack.enter_context(_looking(file, _address(file), ALONE))


@contextmanager
def _looking(file: Path, address: str, prepare: tuple[str, ...]) -> Iterator[Connection]:
    with _engine(address, prepare, "BEGIN").begin() as connection:
        _format(connection, file)
        yield connection


def _has_log(file: Path) -> bool:
    """Whether somebody was killed who had changed the file: what the log has is not in the file itself."""
    log = file.with_name(f"{file.name}-wal")
    return log.exists() and log.stat().st_size > 0


@contextmanager
def _unchanged(file: Path) -> Iterator[None]:
    """Raise MetisError where a file changed that was read without a lock, as nobody could write it before."""
    before = file.stat()
    yield
    after = file.stat()
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise MetisError(f"{file} changed while it was read", "run again")


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Keep others from a log that is read with its index in memory (sqlite.org/wal.html, 8).

    SQLite's own lock is not enough: two who both read already would both wait to be alone.
    """
    folder = os.open(file.parent, os.O_RDONLY)  # which Windows refuses, as it has no locks for folders
    try:
        system().lock(folder, waits=True)
        yield
    finally:
        os.close(folder)


def _name_of(error: DatabaseError) -> str:
    """What SQLite calls an error (sqlite.org/rescode.html)."""
    return str(getattr(error.orig, "sqlite_errorname", ""))


def _address(file: Path) -> str:
    """Of a file that is there; none is made (sqlite.org/uri.html)."""
    return f"{file.absolute().as_uri()}?mode=rw"


@lru_cache(maxsize=16)
def _engine(address: str, prepare: tuple[str, ...], begin: str) -> Engine:
    def connect() -> sqlite3.Connection:
        # Of two who begin a file, SQLite lets one fail instead of wait for the log: that one tries again.
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return _connected(address, prepare)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(_PAUSE)

    # Without a pool nothing stays open; what an engine is kept for are the statements that it has compiled.
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.execute(text(begin))

    return engine


def _connected(address: str, prepare: tuple[str, ...]) -> sqlite3.Connection:
    # No isolation level: transactions begin by words of ours, and not with the first change.
    connection = sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None)
    try:
        for words in prepare:
            connection.execute(words)
    except sqlite3.Error:
        connection.close()  # or its locks would stay, also for who reads in this process
        raise
    return connection


@contextmanager
def _in_one_line(file: Path) -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        # The disk, its rights, who else writes: what the file holds is well. But not where SQL has an error.
        if isinstance(error, OperationalError) and _name_of(error) != "SQLITE_ERROR":
            raise MetisError(f"{file} cannot be used now: {error.orig}", _advice(file, error)) from None
        raise MetisError(f"{file} cannot be used: {error.orig}", ANEW) from None


def _advice(file: Path, error: OperationalError) -> str:
    """What to do about an error that the file has no part in."""
    if _name_of(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return "another process writes to it all the time: run again"
    with suppress(OSError):
        if shutil.disk_usage(file.parent).free < LITTLE:
            return "free some space there and run again"
        if not os.access(file.parent, os.W_OK):
            return "it is to be written there, which is not allowed: mount it for writing, or see who owns it"
    return "see what the system's log says of its disk"


def _format(connection: Connection, file: Path) -> int:
    found = int(connection.execute(text("PRAGMA user_version")).scalar_one())
    if found > FORMAT:
        raise MetisError(f"{file} was written by a newer Metis", "upgrade Metis")
    return found


def _without_rows(table: Table) -> str:
    """A statement for a table of this connection alone, where the file has none of that name."""
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    return f'CREATE TEMPORARY TABLE "{table.name}" ({columns})'
