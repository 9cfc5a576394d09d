"""The database of a lab's history: one SQLite file, opened so that readers never wait for a writer.

Which tables there are, is said where they are used; who uses one makes it where it is missing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, NullPool, Table, create_engine, event, text
from sqlalchemy.exc import DatabaseError, OperationalError

from ..errors import MetisError
from ..machine import durable

FORMAT = 1
"""Of the tables, kept as the file's user_version (sqlite.org/pragma.html).

It counts up when a table becomes another; a new one makes no difference to who knows only the others.
"""
PATIENCE = 30
"""Seconds to wait while another process writes."""
PREPARE = ("PRAGMA journal_mode = WAL", "PRAGMA foreign_keys = ON")
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
    with _in_one_line(file), _engine(_address(file), PREPARE, "BEGIN IMMEDIATE").begin() as connection:
        if _format(connection, file) < FORMAT:
            connection.execute(text(f"PRAGMA user_version = {FORMAT}"))
        TABLES.create_all(connection)
        yield connection


@contextmanager
def reading(file: Path) -> Iterator[Connection]:
    """One look at the tables, as they are at its beginning: nobody is waited for, and nothing is made.

    What is not there yet, a table or the whole file, has no rows. Raises MetisError where the file is no
    database of ours or is of a newer Metis.
    """
    address = _address(file) if file.exists() else "file::memory:"
    with _in_one_line(file), _engine(address, (), "BEGIN").begin() as connection:
        _format(connection, file)
        there = set(connection.execute(text("SELECT name FROM sqlite_schema")).scalars())
        for table in TABLES.tables.values():
            if table.name not in there:
                connection.execute(text(_without_rows(table)))
        connection.execute(text("PRAGMA query_only = ON"))
        try:
            yield connection
        except ValueError:  # JSON that is none
            raise MetisError(f"{file} cannot be used: a row of it makes no sense", ANEW) from None


def _address(file: Path) -> str:
    """Of a file that is there; none is made (sqlite.org/uri.html)."""
    return f"{file.absolute().as_uri()}?mode=rw"


@lru_cache(maxsize=16)
def _engine(address: str, prepare: tuple[str, ...], begin: str) -> Engine:
    def connect() -> sqlite3.Connection:
        # No isolation level: transactions begin below, and not with the first change.
        return sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None)

    # Without a pool nothing stays open; what an engine is kept for are the statements that it has compiled.
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
        for words in prepare:
            connection.execute(words)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.execute(text(begin))

    return engine


@contextmanager
def _in_one_line(file: Path) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:  # the disk, its rights, who else writes: what the file holds is well
        raise MetisError(f"{file} cannot be used now: {error.orig}") from None
    except DatabaseError as error:
        raise MetisError(f"{file} cannot be used: {error.orig}", ANEW) from None


def _format(connection: Connection, file: Path) -> int:
    found = int(connection.execute(text("PRAGMA user_version")).scalar_one())
    if found > FORMAT:
        raise MetisError(f"{file} was written by a newer Metis", "upgrade Metis")
    return found


def _without_rows(table: Table) -> str:
    """A statement for a table of this connection alone, where the file has none of that name."""
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    return f'CREATE TEMPORARY TABLE "{table.name}" ({columns})'
