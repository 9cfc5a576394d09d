"""What holds through a crash: files, either old or new (written beside, synced, renamed), and locks.

Both are one file, as what is being written is told from what a kill has left by its lock.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import FileIO
from pathlib import Path

from ..errors import MetisError, reason_of
from .system import system

PART = ".part"
"""The ending of whatever is not finished; nothing that ends so is ever a target."""
_LOCK = ".lock"
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # on Windows only who may administer it makes links
_PID_WIDTH = 20
"""Digits of the process that holds a lock, with zeros before it."""


def make_private(folder: Path) -> Path:
    """Make a folder, and the parents that are missing, so that only we can enter; give it back."""
    # mkdir(parents=True) would give the parents the mode of the umask.
    for part in reversed((folder, *folder.parents)):
        if not part.exists():
            part.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextmanager
def own_folder(place: Path, purpose: str, note: Callable[[str], None] = lambda _line: None) -> Iterator[Path]:
    """Yield a new folder of mode 0700 in `place`, which is gone afterwards.

    Whoever works in one holds a lock on it, which goes with them when they die (`System.lock`): so what a
    kill has left is known, and `remove_left` takes it. `note` is told where it cannot be removed.
    """
    folder, lock = _made(place, purpose)
    try:
        yield folder
    finally:
        os.close(lock)
        _remove(folder, note)


def remove_left(place: Path, note: Callable[[str], None] = lambda _line: None) -> None:
    """Remove the parts in a place at which nobody works any more; without locks of the file system, none."""
    for name in _parts(place):
        if name.startswith("."):
            remove_if_left(place / name, note)


def _remove_left_of(target: Path, *, makes_parent: bool = True) -> None:
    """The same for those of one file, in a folder that is made where it is missing, if that is wanted."""
    for name in _parts_at_first(make_private(target.parent) if makes_parent else target.parent):
        if name.startswith(f".{target.name}-"):
            remove_if_left(target.parent / name)


def _parts(place: Path) -> list[str]:
    with os.scandir(place) as entries:
        return [each.name for each in entries if each.name.endswith(PART)]


_parts_at_first = lru_cache(maxsize=100)(_parts)
"""As this process first saw them: each of ten thousand files that are written there would list all others."""


def remove_if_left(part: Path, note: Callable[[str], None] = lambda _line: None) -> None:
    """The same for one of them, a folder or a file; a link stays."""
    with suppress(OSError):
        is_folder = stat.S_ISDIR(part.lstat().st_mode)
        # Without a lock a folder is half removed, or a kill came first; or it is just being made: whoever
        # does that finds this lock, and makes another one.
        lock = _opened(part / _LOCK, os.O_CREAT) if is_folder else _opened(part, 0)
        is_left = False
        try:
            is_left = lock_now(lock)
            if is_left and is_folder:
                shutil.rmtree(part, ignore_errors=True)
            elif is_left and system().CAN_RENAME_OPEN:
                part.unlink()
        finally:
            os.close(lock)
        if is_left and is_folder:  # Windows removes no file that is open, so not the lock until now
            _remove(part, note)
        elif is_left:
            part.unlink(missing_ok=True)


def _made(place: Path, purpose: str) -> tuple[Path, int]:
    """A new folder and its lock; whoever takes it for one that was left comes first, and another is made."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{purpose}-", suffix=PART, dir=place))
        with suppress(FileNotFoundError):
            lock = _opened(folder / _LOCK, os.O_CREAT)
            if _is_free(lock) and (folder / _LOCK).exists():
                return folder, lock
            os.close(lock)


def _made_file(target: Path) -> tuple[Path, int]:
    """The same for a new file of mode 0600, which is its own lock: less work than a folder."""
    while True:
        lock, name = tempfile.mkstemp(prefix=f".{target.name}-", suffix=PART, dir=target.parent)
        if _is_free(lock) and Path(name).exists():
            return Path(name), lock
        os.close(lock)


def _is_free(lock: int) -> bool:
    try:
        return lock_now(lock)
    except OSError:  # the file system has no locks: nobody takes the folder for one that was left
        return True


def _opened(lock: Path, flags: int) -> int:
    """A file, and not a folder: over NFS only what is open for writing can be locked."""
    return os.open(lock, os.O_RDWR | _NO_LINK | flags, 0o600)


def _remove(folder: Path, note: Callable[[str], None]) -> None:
    """Remove as much as can be; mostly nothing is in it any more, which is quickly done."""
    with suppress(OSError):
        (folder / _LOCK).unlink()
        folder.rmdir()
        return
    for _ in range(3):  # others may still make something in it: what they are at fails, and then they stop
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        note(f"{folder} could not be removed, and may hold secrets: remove it")


@contextmanager
def beside(target: Path, *, makes_parent: bool = True) -> Iterator[Path]:
    """Yield a path for what is not finished, where a rename makes it `target`; afterwards it is gone.

    Each who writes has a path of their own, in a folder beside `target`. What a kill has left there is
    removed by the next process that writes the same. An error of the file system becomes one line.
    """
    try:
        _remove_left_of(target, makes_parent=makes_parent)
        with own_folder(target.parent, target.name) as folder:
            yield folder / target.name
    except OSError as error:
        raise out_of_room(target, error) from error


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` to write to; it becomes `target` when the block ends well.

    After an exception, or a kill, `target` is what it was.
    """
    with beside(target) as part:
        yield part
        settle(part, target)


def settle(part: Path, target: Path) -> None:
    """Give a finished file its name, once what it holds is on the medium (rename(2), fsync(2))."""
    _sync(part)
    part.replace(target)
    system().sync_folder(target.parent)


def _sync(file: Path) -> None:
    with file.open("r+b") as written:  # Windows flushes only what is open for writing
        os.fsync(written.fileno())


@contextmanager
def locked(file: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock that goes with us when we die (`System.lock`); it holds between threads too.

    `on_wait` is called once, with words for who holds it, when there is somebody to wait for. The file stays:
    removing it would let two in.
    """
    make_private(file.parent)
    with open(file, "r+b", buffering=0, opener=_private_or_made) as opened:
        if not lock_now(opened.fileno()):
            on_wait(_holder(opened))
            system().lock(opened.fileno(), waits=True)
        # As wide each time: it is written over the last holder's, so that nobody finds the file empty.
        opened.seek(0)
        opened.write(f"{os.getpid():0{_PID_WIDTH}}".encode())
        yield


def lock_now(descriptor: int) -> bool:
    """Whether nobody else had a lock on an open file: then we have it, until it is closed."""
    return system().lock(descriptor)


def holder_of(file: Path) -> int | None:
    """The process that holds a lock made by `locked`, None where nobody does.

    Who asks takes the lock for a moment: ask only where its next holder would try again.
    """
    try:
        with file.open("r+b", buffering=0) as opened:
            return None if lock_now(opened.fileno()) else int(_content(opened) or 0)
    except FileNotFoundError:
        return None


def last_holder_of(file: Path) -> int:
    """The process that holds a lock made by `locked`, or held it last; 0 where none ever did."""
    try:
        return int(file.read_bytes()[:_PID_WIDTH] or 0)
    except FileNotFoundError:
        return 0


def _content(opened: FileIO) -> bytes:
    opened.seek(0)
    return opened.read(_PID_WIDTH)


def _holder(opened: FileIO) -> str:
    holder = _content(opened)
    if not holder.isdigit():
        return "another process"
    return "another task of this run" if int(holder) == os.getpid() else f"process {int(holder)}"


def out_of_room(target: Path, error: OSError) -> MetisError:
    """Say an error of the file system in one line, with what to do about a full one."""
    folder = target.parent
    shown = folder.with_name(target.name) if folder.name.endswith(PART) else target
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return MetisError(
        f"cannot write {shown}: {reason_of(error)}",
        "free some space there and run again" if full else "",
    )


def write(target: Path, data: bytes) -> None:
    """Write a whole file of mode 0600."""
    with _written(target, data) as part:
        settle(part, target)


def write_once(target: Path, data: bytes) -> bool:
    """Write a whole file of mode 0600 where there is none: who comes second leaves the file of the first.

    Say whether it was written. Both find a whole file afterwards, as it has its name once it is on disk.
    """
    if target.exists():  # nothing is needed for it, not even room
        return False
    with _written(target, data) as part:
        _sync(part)
        try:
            system().name_once(part, target)
        except FileExistsError:
            return False
        system().sync_folder(target.parent)
    return True


@contextmanager
def _written(target: Path, data: bytes) -> Iterator[Path]:
    """Yield a file beside `target` that has these bytes, for a block that gives it its name."""
    try:
        _remove_left_of(target)
        part, lock = _made_file(target)
        with os.fdopen(lock, "wb") as file:
            try:
                file.write(data)
                file.flush()
                if not system().CAN_RENAME_OPEN:
                    file.close()
                yield part
            finally:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
    except OSError as error:
        raise out_of_room(target, error) from error


def private(name: str, flags: int) -> int:
    """For the `opener` of open(), whose flags it takes: a file that is made is for us alone."""
    return os.open(name, flags, 0o600)


def _private_or_made(name: str, flags: int) -> int:
    return private(name, flags | os.O_CREAT)


def write_if_changed(target: Path, data: bytes) -> bool:
    """Write a file unless it holds these bytes already; say whether it was written."""
    try:
        if target.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    write(target, data)
    return True


def as_json(value: object) -> bytes:
    """JSON for people and for diffs: sorted keys, two spaces, a newline at the end."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
