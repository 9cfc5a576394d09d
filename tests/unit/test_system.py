"""What Linux and Windows are asked for, the side of Windows with stand-ins for what its Python has."""

from __future__ import annotations

import errno
import inspect
import os
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeline.errors import MetisError
from pipeline.machine import desktop, durable, posix, process, windows
from pipeline.machine.system import System, system
from tests.support import windows_os

SYSTEMS = pytest.mark.parametrize("which", [posix, windows], ids=["posix", "windows"])
FUNCTIONS = sorted(
    name for name, found in vars(System).items() if inspect.isfunction(found) and name[0] != "_"
)
PAGE = '<!doctype html><meta http-equiv="refresh" content="0; url=http://127.0.0.1:1/?token=a&amp;b">'


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metis as on Windows, as far as its own modules ask."""
    monkeypatch.setitem(sys.modules, "msvcrt", windows_os.msvcrt)
    for module in (durable, process):
        monkeypatch.setattr(module, "system", lambda: windows)


@SYSTEMS
def test_each_system_has_all_that_is_asked_for(which: ModuleType) -> None:
    assert set(System.__annotations__) <= set(vars(which))
    for name in FUNCTIONS:
        wanted = list(inspect.signature(getattr(System, name)).parameters.values())[1:]
        found = list(inspect.signature(getattr(which, name)).parameters.values())
        assert [(each.name, each.kind, each.default) for each in wanted] == [
            (each.name.removeprefix("_"), each.kind, each.default) for each in found
        ]


def test_this_is_linux() -> None:
    assert (system().NAME, system().BUILDS) == ("Linux", True)


# ---------------------------------------------------------------------------------------------- locks


@SYSTEMS
def test_a_lock_keeps_others_out_until_its_file_is_closed(
    which: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "msvcrt", windows_os.msvcrt)
    file = tmp_path / "lock"
    file.write_bytes(b"4711")
    with file.open("r+b") as one, file.open("r+b") as other:
        assert which.lock(one.fileno())
        assert not which.lock(other.fileno())
        assert file.read_bytes() == b"4711"
        one.close()
        assert which.lock(other.fileno(), waits=True)


@pytest.mark.parametrize(
    ("waits", "code"),
    [(False, errno.EBADF), (True, errno.EBADF), (True, errno.EACCES), (False, errno.EDEADLK)],
)
def test_an_error_that_is_not_somebody_elses_lock_is_not_waited_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: bool, code: int
) -> None:
    def failing(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setitem(sys.modules, "msvcrt", windows_os.msvcrt)
    monkeypatch.setattr(windows_os.msvcrt, "locking", failing)
    with (tmp_path / "lock").open("wb") as file, pytest.raises(OSError, match=os.strerror(code)):
        windows.lock(file.fileno(), waits=waits)


@pytest.mark.usefixtures("on_windows")
def test_a_lock_of_windows_is_waited_for_as_long_as_it_takes(tmp_path: Path) -> None:
    """Longer than the C library tries, which the stand-in does ten times."""
    lock, told = tmp_path / "lock", threading.Event()
    tries: list[int] = []
    taken = threading.Event()

    def hold() -> None:
        with durable.locked(lock, lambda _: None):
            taken.set()
            told.wait(60)

    def locking(*words: int) -> None:
        try:
            windows_os.locking(*words)
        except OSError as error:
            tries.append(error.errno or 0)
            if tries.count(errno.EDEADLK) == 2:
                told.set()
            raise

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(60)
    heard: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows_os.msvcrt, "locking", locking)
        with durable.locked(lock, heard.append):
            assert durable.last_holder_of(lock) == os.getpid()
            assert durable.holder_of(lock) == os.getpid()
    holder.join()
    assert heard == ["another task of this run"]
    assert tries[:3] == [errno.EACCES, errno.EDEADLK, errno.EDEADLK]
    assert durable.holder_of(lock) is None


# ---------------------------------------------------------------------------------------------- files


@SYSTEMS
def test_a_name_is_given_once(which: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if which is windows:
        monkeypatch.setattr(os, "rename", windows_os.not_over)
    first, second, target = (tmp_path / name for name in ("first", "second", "target"))
    first.write_text("first")
    second.write_text("second")
    which.name_once(first, target)
    with pytest.raises(FileExistsError):
        which.name_once(second, target)
    assert target.read_text() == "first"


@pytest.mark.usefixtures("on_windows")
def test_files_are_written_where_a_flush_wants_a_file_that_may_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, own in (("open", windows_os.no_folder), ("fsync", windows_os.of_what_is_written)):
        monkeypatch.setattr(os, name, own)
    monkeypatch.setattr(os, "rename", windows_os.not_over)
    monkeypatch.setattr(shutil, "_use_fd_functions", False)
    durable.write(tmp_path / "file", b"a\nb")
    durable.write_once(tmp_path / "once", b"first")
    durable.write_once(tmp_path / "once", b"second")
    assert [(tmp_path / name).read_bytes() for name in ("file", "once")] == [b"a\nb", b"first"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "once"]


def test_modes_say_who_may_read_on_linux_alone(tmp_path: Path) -> None:
    for mode in (0o600, 0o640, 0o604):
        tmp_path.chmod(mode)
        assert posix.is_open_to_others(tmp_path.stat()) == bool(mode & 0o077)
        assert not windows.is_open_to_others(tmp_path.stat())


def test_a_port_of_windows_is_shared_with_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_KEEPALIVE, raising=False)
    with socket.socket() as listening:
        windows.keep_port(listening)
        assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not listening.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


# ------------------------------------------------------------------------------------------ processes


@pytest.mark.parametrize(
    ("at_once", "expected"), [(False, []), (True, [(4711, signal.SIGTERM)])], ids=["asked", "at once"]
)
@pytest.mark.usefixtures("on_windows")
def test_a_process_of_windows_is_terminated_and_not_asked(
    monkeypatch: pytest.MonkeyPatch, at_once: bool, expected: list[tuple[int, int]]
) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *words: killed.append(words))
    process.end_session(4711, at_once=at_once)
    process.end_orphans(4711)
    assert killed == expected


def test_a_process_of_windows_that_has_just_ended_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: int) -> None:
        raise PermissionError(errno.EACCES, "Access is denied")

    monkeypatch.setattr(os, "kill", gone)
    windows.end(4711, at_once=True)


@pytest.mark.usefixtures("on_windows")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_says_more_than_it_may_is_refused_where_pipes_cannot_be_watched(stream: str) -> None:
    words = (sys.executable, "-c", f"import sys; sys.{stream}.write('x' * 101)")
    assert process.run(words, limit=101).code == 0
    with pytest.raises(process.ToolError, match="said more than 100 bytes"):
        process.run(words, limit=100)


def test_children_that_are_waited_for_are_killed_by_a_word_of_theirs() -> None:
    word = "import sys; sys.stdin.read(); print(7)"
    ended: list[process.Finished] = []

    def wait() -> None:
        with process.piped((sys.executable, "-c", word), iter(pieces, b"")) as out:
            started.set()
            ended.append(process.Finished(0, out.read(), b""))

    started, over = threading.Event(), threading.Event()

    def pieces() -> bytes:
        over.wait(60)
        return b""

    def wait_and_fail() -> None:
        with pytest.raises(MetisError):
            wait()

    waiter = threading.Thread(target=wait_and_fail)
    waiter.start()
    started.wait(60)
    process.kill_started_with("another word")
    process.kill_started_with(word)
    over.set()
    waiter.join()
    assert [each.out for each in ended] == [b""]


# ------------------------------------------------------------------------------------------- browsers


def test_windows_opens_the_private_page_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, opened = tmp_path / "gui.html", list[tuple[Path, str]]()
    monkeypatch.setattr(os, "startfile", lambda path: opened.append((path, path.read_text())), raising=False)
    assert desktop.open_in_browser("http://127.0.0.1:1/?token=a&b", page, tmp_path / "log")
    assert opened == [(page, PAGE)]


def test_without_a_program_for_pages_nothing_is_left_of_the_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_path: Path) -> None:
        raise OSError("No application is associated with the specified file")

    monkeypatch.setattr(os, "startfile", none, raising=False)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not desktop.open_in_browser("http://127.0.0.1:1/?token=a", tmp_path / "gui.html", tmp_path / "log")
    assert not list(tmp_path.iterdir())
