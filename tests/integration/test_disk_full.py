"""A full disk is one line that says so, and nothing is left on it."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metis_sentinel import history
from metis_sentinel.durable import PART
from metis_sentinel.errors import SentinelError
from metis_sentinel.spool import Spool
from pipeline.errors import MetisError
from pipeline.golden.fetch import fetched
from pipeline.golden.source import Wanted
from pipeline.golden.unpack import unpack
from pipeline.machine import process
from pipeline.machine.progress import QuietReporter
from tests.integration.web import publish, serving
from tests.support.fetching import means
from tests.support.small_disk import small_disk

BODY = os.urandom(64 << 10) * 320
SHA256 = hashlib.sha256(BODY).hexdigest()
QUIET = QuietReporter(io.StringIO())
FULL = "no space left on device: free some space there and run again"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    with small_disk(tmp_path / "small", 16 << 20) as folder:
        yield folder


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "locks"]


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_a_golden_that_does_not_fit_into_the_cache(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    (tmp_path / "x.img").write_bytes(BODY)
    with serving() as web:
        web.script = lambda _, asked: publish(BODY, asked)
        source = web.url if scheme == "http" else "file:x.img"
        with pytest.raises(MetisError, match=f"cannot write {small}/cache: {FULL}"):
            fetched(Wanted(source, SHA256, "amd64"), means(tmp_path, small / "cache", QUIET))
    assert files_in(small) == []


def by(*argv: str) -> Callable[[bytes], bytes]:
    return lambda data: process.run(argv, stdin=data).out


PACKS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "gz": by("gzip", "-1c"),
    "xz in blocks": by("xz", "-0c", "-T2", "--block-size=4MiB"),
    "zst": by("zstd", "-c"),
}


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
def test_an_image_that_does_not_fit_where_it_is_unpacked(
    tmp_path: Path, small: Path, pack: Callable[[bytes], bytes]
) -> None:
    packed = tmp_path / "packed"
    packed.write_bytes(pack(BODY))
    sha256 = hashlib.sha256(packed.read_bytes()).hexdigest()
    with pytest.raises(MetisError, match=f"cannot write {small}/raw: {FULL}"):
        unpack(packed, small / "raw", sha256, QUIET, 1 << 30)
    assert files_in(small) == []


def test_a_snapshot_that_does_not_fit_costs_no_older_one(small: Path) -> None:
    """What is half written goes, also when what a kill left lies there."""
    spool = Spool(small / "spool", 1000, print)
    for number in range(20):
        history.write(small, "titan-13", b"{}", history.Limits(keep=5), 1.8e9 + number)
        spool.put({}, b"{}")
    before = files_in(small)
    (small / "titan-13" / PART).write_bytes(b"half")
    (small / "rest").write_bytes(b"0" * (15 << 20))
    with pytest.raises(SentinelError, match=f"cannot keep snapshots in {small}/titan-13: no space left"):
        history.write(small, "titan-13", BODY, history.Limits(keep=5), 1.9e9)
    with pytest.raises(SentinelError, match=f"cannot keep snapshots in {small}/spool: no space left"):
        spool.put({}, BODY)
    assert sorted(files_in(small)) == sorted([*before, small / "rest"])
