"""A file is either old or new, and locks are given back."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock, call

import pytest

from pipeline.errors import MetisError
from pipeline.machine import durable, process

ROOT = Path(__file__).parents[2]


def test_a_new_file_and_the_folders_made_for_it_are_ours_alone(tmp_path: Path) -> None:
    durable.write(tmp_path / "a" / "b" / "file", b"x")
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b", "a/b/file")]
    assert modes == [0o700, 0o700, 0o600]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    durable.write(tmp_path / "file", b"old")

    def fail() -> None:
        with durable.replacing(tmp_path / "file") as part:
            part.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_two_who_write_the_same_do_not_disturb_each_other(tmp_path: Path) -> None:
    """The one who ends last is the one whose file stays."""
    file = tmp_path / "file"
    with durable.replacing(file) as first:
        first.write_bytes(b"first")
        with durable.replacing(file) as second:
            second.write_bytes(b"second")
        assert file.read_bytes() == b"second"
        with suppress(KeyboardInterrupt), durable.beside(file):
            raise KeyboardInterrupt
    assert file.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [file]


def test_for_what_is_written_once_nothing_is_needed_when_it_is_there(tmp_path: Path) -> None:
    """Such as room on a full disk: a key that was made is read there."""
    durable.write_once(tmp_path / "key", b"old")
    before = tmp_path.stat().st_mtime_ns
    durable.write_once(tmp_path / "key", b"new")
    assert ((tmp_path / "key").read_bytes(), tmp_path.stat().st_mtime_ns) == (b"old", before)


def write_often(file: Path, letter: bytes, times: int) -> None:
    for _ in range(times):
        durable.write(file, letter * 1000)
        assert len(set(file.read_bytes())) == 1


def test_many_processes_that_write_one_file_all_do(tmp_path: Path) -> None:
    """A part that another one has removed or renamed is an error of whoever wrote it."""
    spawn = multiprocessing.get_context("spawn")
    writers = [
        spawn.Process(target=write_often, args=(tmp_path / "file", letter, 50))
        for letter in (b"a", b"b", b"c")
    ]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert [each.exitcode for each in writers] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("write", [durable.write, durable.write_once])
def test_what_a_kill_has_left_is_removed_by_the_next_who_writes_the_same(
    tmp_path: Path, write: Callable[[Path, bytes], None]
) -> None:
    code = (
        "import os, pathlib, signal, sys; from pipeline.machine import durable\n"
        "with durable.beside(pathlib.Path(sys.argv[1])) as part:\n"
        "    part.write_bytes(b'secret'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = process.run([sys.executable, "-c", code, tmp_path / "file"], check=False, cwd=ROOT)
    (left,) = tmp_path.iterdir()
    assert (killed.code, [part.name for part in left.glob("f*")]) == (-signal.SIGKILL, ["file"])
    assert left.stat().st_mode & 0o777 == 0o700
    durable.write(tmp_path / "another", b"x")
    assert left.exists(), "in a folder that others use too only what is surely ours is removed"
    write(tmp_path / "file", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "file"]


def test_what_was_half_removed_is_removed_whole(tmp_path: Path) -> None:
    """Its lock goes first, and what others made in it meanwhile has none."""
    left = tmp_path / ".image-0x.part"
    (left / "inner").mkdir(parents=True)
    (left / "inner/secret").touch()
    durable.remove_left(tmp_path)
    assert not left.exists()


def test_what_others_make_in_a_folder_while_it_is_removed_goes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(folder: Path, **_: object) -> None:
        monkeypatch.undo()
        (folder / "late").touch()

    notes: list[str] = []
    with durable.own_folder(tmp_path, "x", notes.append) as folder:
        (folder / "early").touch()
        monkeypatch.setattr(shutil, "rmtree", late)
    assert (list(tmp_path.iterdir()), notes) == ([], [])


def test_a_folder_that_was_taken_away_is_not_made_again_where_nobody_wants_that(tmp_path: Path) -> None:
    target = tmp_path / "gone" / "image"
    with pytest.raises(MetisError), durable.beside(target, makes_parent=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_small_file_that_a_kill_has_left_is_removed_and_one_in_the_making_is_not(tmp_path: Path) -> None:
    (tmp_path / ".file-left.part").write_bytes(b"secret")
    with (tmp_path / ".file-made.part").open("wb") as made:
        fcntl.flock(made, fcntl.LOCK_EX)
        durable.write(tmp_path / "file", b"x")
        assert sorted(path.name for path in tmp_path.iterdir()) == [".file-made.part", "file"]
    durable.write(tmp_path / "file", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_looked_through_once_however_many_files_are_written_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else ten thousand images would cost a hundred times as much as a thousand."""
    look = Mock(wraps=os.scandir)
    monkeypatch.setattr(os, "scandir", look)
    for number in range(10):
        durable.write(tmp_path / str(number), b"x")
        with durable.replacing(tmp_path / f"large-{number}") as part:
            part.write_bytes(b"x")
    assert look.call_args_list.count(call(tmp_path)) == 1


def test_where_no_file_can_be_locked_files_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some file systems of other machines; then nothing that others left is removed."""
    left = tmp_path / ".file-x.part"
    left.mkdir()
    (left / ".lock").touch()

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    durable.write(tmp_path / "file", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [left.name, "file"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MetisError, match=r"cannot write .*/file/below/x: "):
        durable.write(tmp_path / "file" / "below" / "x", b"")


def test_the_same_bytes_are_not_written_again(tmp_path: Path) -> None:
    assert durable.write_if_changed(tmp_path / "file", b"x")
    before = (tmp_path / "file").stat()
    assert not durable.write_if_changed(tmp_path / "file", b"x")
    assert (tmp_path / "file").stat().st_ino == before.st_ino


def hold(lock: Path, held: threading.Event, done: threading.Event) -> None:
    with durable.locked(lock, lambda _: None):
        held.set()
        done.wait(60)


@pytest.mark.parametrize("where", ["process", "thread"])
def test_who_waits_for_a_lock_is_told_who_holds_it(tmp_path: Path, where: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    holder: threading.Thread | multiprocessing.process.BaseProcess
    if where == "process":
        held, done = spawn.Event(), spawn.Event()
        holder = spawn.Process(target=hold, args=(tmp_path / "lock", held, done))
    else:
        held, done = threading.Event(), threading.Event()  # type: ignore[assignment]
        holder = threading.Thread(target=hold, args=(tmp_path / "lock", held, done))
    holder.start()
    assert held.wait(60)
    told: list[str] = []

    def on_wait(who: str) -> None:
        told.append(who)
        done.set()

    with durable.locked(tmp_path / "lock", on_wait):
        expected = f"process {holder.pid}" if hasattr(holder, "pid") else "another task of this run"
        assert told == [expected]
    holder.join()


@pytest.mark.parametrize("before", [b"4711", b"1234567"])
def test_a_lock_file_is_never_empty_once_it_had_a_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    lock = tmp_path / "lock"
    lock.write_bytes(before)
    seen: list[bytes] = []
    own = os.getpid()

    def getpid() -> int:
        seen.append(lock.read_bytes())
        return own

    monkeypatch.setattr(os, "getpid", getpid)
    for _ in range(2):
        with durable.locked(lock, lambda _: None):
            assert int(lock.read_bytes()) == own
    assert seen == [before, lock.read_bytes()]


@pytest.mark.parametrize(
    ("written", "told"),
    [(b"4711", "process 4711"), (b"%020d" % 4711, "process 4711"), (b"", "another process")],
)
def test_a_holder_is_read_from_what_any_version_wrote(tmp_path: Path, written: bytes, told: str) -> None:
    lock = tmp_path / "lock"
    heard: list[str] = []
    with lock.open("wb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        holder.write(written)
        holder.flush()

        def on_wait(who: str) -> None:
            heard.append(who)
            fcntl.flock(holder, fcntl.LOCK_UN)

        with durable.locked(lock, on_wait):
            pass
    assert heard == [told]


def test_a_lock_that_is_free_is_taken_without_a_word(tmp_path: Path) -> None:
    told: list[str] = []
    for _ in range(2):
        with durable.locked(tmp_path / "lock", told.append):
            pass
    assert told == []
