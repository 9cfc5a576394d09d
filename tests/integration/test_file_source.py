"""A golden from the file system is copied with its holes, and every form of its name is understood."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest

from pipeline.errors import SourceError, UsageError
from pipeline.golden.file import FileSource
from pipeline.machine.progress import QuietReporter
from pipeline.raw import sparse

CONTENT = b"a golden"
QUIET = QuietReporter(io.StringIO())
LIMIT = 1 << 30


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """An inventory folder with a golden whose name has a space and a percent sign."""
    (tmp_path / "lab" / "images").mkdir(parents=True)
    (tmp_path / "lab" / "images" / "a b%20.img").write_bytes(CONTENT)
    return tmp_path / "lab"


@pytest.mark.parametrize(
    "source",
    [
        "file:images/a b%20.img",
        "file:../lab/images/a b%20.img",
        "file:{lab}/images/a b%20.img",
        "file://{lab}/images/a%20b%2520.img",
        "file://localhost{lab}/images/a%20b%2520.img",
        "FILE:images/a b%20.img",
    ],
)
def test_a_file_is_found_by_every_form_of_its_name(lab: Path, tmp_path: Path, source: str) -> None:
    found = FileSource(source.format(lab=lab), lab).fetch(tmp_path / "into", QUIET, LIMIT)
    assert found == hashlib.sha256(CONTENT).hexdigest()
    assert (tmp_path / "into").read_bytes() == CONTENT


def test_holes_stay_holes(tmp_path: Path) -> None:
    with (tmp_path / "raw").open("wb") as file:
        file.truncate(64 << 20)
    FileSource("file:raw", tmp_path).fetch(tmp_path / "into", QUIET, LIMIT)
    assert sparse.mapped_bytes(tmp_path / "into") == 0


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _: None, "does not exist: check the source in the inventory"),
        (Path.mkdir, "is not a regular file"),
        (make_pipe, "is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
        (lambda path: path.symlink_to(path), "cannot read|does not exist"),
    ],
)
def test_what_cannot_be_a_golden_is_one_line(tmp_path: Path, make, words: str) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "x.img")
    with pytest.raises(SourceError, match=words):
        FileSource("file:x.img", tmp_path).fetch(tmp_path / "into", QUIET, LIMIT)
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize("source", ["file:", "file://", "file://server/share/x.img", "file:a\0b"])
def test_a_source_that_names_no_file_here_is_a_usage_error(tmp_path: Path, source: str) -> None:
    with pytest.raises(UsageError):
        FileSource(source, tmp_path)


def test_a_copy_that_fails_keeps_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    (tmp_path / "x.img").write_bytes(CONTENT)
    monkeypatch.setattr(sparse, "_copy_range", interrupted)
    monkeypatch.setattr(sparse, "_FICLONE", 0)
    with pytest.raises(KeyboardInterrupt):
        FileSource("file:x.img", tmp_path).fetch(tmp_path / "into", QUIET, LIMIT)
    assert not (tmp_path / "into").exists()
