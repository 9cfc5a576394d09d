"""Packages by rpm's database, whole and in pieces."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metis_sentinel import rpm
from tests.support.hosts import host, snapshot

DATABASE = "/var/lib/rpm/rpmdb.sqlite"
NO_DPKG: dict[str, str | bytes | None] = {"/var/lib/dpkg/status": None}


def header(name: str, version: str, release: str, arch: str = "aarch64", epoch: int | None = None) -> bytes:
    """A header as rpm keeps it: an index of tags, and a store of what they say."""
    texts = {1000: name, 1001: version, 1002: release, 1022: arch, 1005: "a summary"}
    store, index = b"", b""
    for tag, value in texts.items():
        index += struct.pack(">IIiI", tag, 6, len(store), 1)
        store += value.encode() + b"\0"
    if epoch is not None:
        store += bytes(-len(store) % 4)
        index += struct.pack(">IIiI", 1003, 4, len(store), 1)
        store += struct.pack(">I", epoch)
    return struct.pack(">II", len(index) // 16, len(store)) + index + store


def database(
    root: Path, *blobs: object, make: str = "CREATE TABLE Packages (hnum INTEGER, blob BLOB)"
) -> None:
    file = Path(f"{root}{DATABASE}")
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(make)
        if blobs:
            connection.executemany("INSERT INTO Packages VALUES (1, ?)", [(blob,) for blob in blobs])
        connection.commit()


def test_the_packages_of_rpm_are_told_with_their_epochs(tmp_path: Path) -> None:
    database(
        tmp_path,
        header("bash", "5.2", "1.fc40"),
        header("dbus", "1.14", "3.fc40", epoch=1),
        header("glibc", "2.39", "1", "i686"),
        header("glibc", "2.39", "1", "x86_64"),
        header("kernel-core", "6.8", "1"),
        header("kernel-core", "6.9", "1"),
    )
    assert snapshot(host(tmp_path, NO_DPKG))["packages"] == {
        "bash": "5.2-1.fc40",
        "dbus": "1:1.14-3.fc40",
        "glibc:i686": "2.39-1",
        "glibc:x86_64": "2.39-1",
        "kernel-core": "6.8-1, 6.9-1",
    }


@pytest.mark.parametrize(
    ("blobs", "why"),
    [
        ([b""], "no name or version"),
        ([b"\0" * 8], "no name or version"),
        ([b"\xff" * 8], "cut off"),
        ([header("a", "1", "1")[:40]], "cut off"),
    ],
    ids=["empty", "nothing in it", "vast", "cut off"],
)
def test_a_header_that_is_none_is_a_gap(tmp_path: Path, blobs: list[bytes], why: str) -> None:
    database(tmp_path, *blobs)
    found: Any = snapshot(host(tmp_path, NO_DPKG))
    assert any(why in gap for gap in found["gaps"])


def test_rows_that_are_no_headers_are_left_out(tmp_path: Path) -> None:
    database(tmp_path, None, "text", 7, b"x" * (17 << 20), header("a", "1", "1"))
    assert snapshot(host(tmp_path, NO_DPKG))["packages"] == {"a": "1-1"}


ENDLESS = (
    "CREATE VIEW Packages AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT CAST('x' AS BLOB) AS blob FROM n WHERE i < 0"
)


@pytest.mark.parametrize(
    ("make", "why"),
    [("CREATE TABLE other (x)", "no such table"), (ENDLESS, "interrupted")],
    ids=["another table", "an endless one"],
)
def test_a_database_of_another_kind_is_a_gap(tmp_path: Path, make: str, why: str) -> None:
    database(tmp_path, make=make)
    found: Any = snapshot(host(tmp_path, NO_DPKG))
    assert any(gap.startswith("packages: rpm's database: ") and why in gap for gap in found["gaps"])


def test_a_file_that_is_no_database_is_a_gap(tmp_path: Path) -> None:
    found: Any = snapshot(host(tmp_path, {**NO_DPKG, DATABASE: b"SQLite format 3\0" + b"\xff" * 5000}))
    assert any(gap.startswith("packages: rpm's database: ") for gap in found["gaps"])


def test_nothing_is_written_beside_a_database(tmp_path: Path) -> None:
    database(tmp_path, header("a", "1", "1"))
    file = Path(f"{tmp_path}{DATABASE}")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    before = file.read_bytes()
    assert snapshot(host(tmp_path, NO_DPKG))["packages"] == {"a": "1-1"}
    assert [each.name for each in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == before


def refused_or_read(blob: bytes) -> None:
    with suppress(ValueError):
        assert len(rpm.header(blob)) == 3


@given(st.binary(max_size=300))
def test_no_header_does_more_than_be_refused(blob: bytes) -> None:
    refused_or_read(blob)


@given(st.integers(0, 200), st.binary(min_size=1, max_size=8))
def test_a_header_that_was_overwritten_does_not_more(at: int, data: bytes) -> None:
    blob = header("name", "1", "2", epoch=3)
    at %= len(blob)
    refused_or_read(blob[:at] + data + blob[at + len(data) :])
