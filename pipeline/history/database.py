"""The database of a lab's history: one SQLite file, opened so that readers never wait for a writer.

Which tables there are, is said where they are used; who uses one makes it where it is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, text
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

TABLES = MetaData()


@contextmanager
def writing(file: Path) -> Iterator[Connection]:
    """A transaction that nobody else writes beside, kept when the block ends well; makes what is missing.

    Raises MetisError where the file is no database of ours, is of a newer Metis, or cannot be written.
    """
    durable.make_private(file.parent)
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    engine = _engine(file)
    try:
        with engine.begin() as connection:
            _check_format(connection, file)
            yield connection
    except OperationalError as error:  # the disk, its rights, who else writes: what the file holds is well
        raise MetisError(f"{file} cannot be used now: {error.orig}") from None
    except DatabaseError as error:
        raise MetisError(f"{file} cannot be used: {error.orig}", "move it away to begin anew") from None
    finally:
        engine.dispose()


def _engine(file: Path) -> Engine:
    engine = create_engine(f"sqlite:///{file}", connect_args={"timeout": PATIENCE})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
        connection.isolation_level = None  # transactions begin below, and not with the first change
        for words in PREPARE:
            connection.execute(words)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.execute(text("BEGIN IMMEDIATE"))

    return engine


def _check_format(connection: Connection, file: Path) -> None:
    found = connection.execute(text("PRAGMA user_version")).scalar_one()
    if found > FORMAT:
        raise MetisError(f"{file} was written by a newer Metis", "upgrade Metis")
    TABLES.create_all(connection)
    if found < FORMAT:
        connection.execute(text(f"PRAGMA user_version = {FORMAT}"))
