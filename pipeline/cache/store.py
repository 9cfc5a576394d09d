"""The content-addressed store: files named by the SHA-256 of their bytes, and never changed.

    <root>/sha256/<hash>        a file; <hash>.json is its stamp: what it looked like when it was verified
                                and where it came from, last changed when the file was last used
    <root>/names/<key>          the hash of something that is made by a recipe, and so has none beforehand
    <root>/evidence/<hash>/     signatures of that file, or of lists with it; judged whenever they are read
    <root>/partial/<key>/       what is unfinished: it has a hash only when it is whole
    <root>/locks/<key>          who works on a key
    <root>/bases/, images/      what a worker makes images of, and where: `steps.delivery`, `lab.worker`

Where files come from is the concern of `golden`, and what leaves the store that of `contents`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG

from ..errors import MetisError, UsageError
from ..machine import durable
from ..machine.progress import Advance, Reporter
from ..raw.sparse import CHUNK
from .policy import Held

_KEY = re.compile(r"[0-9a-f]{64}")
_FOLLOWED = ("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino")


def stamp(path: Path) -> dict[str, int]:
    """What changes when a file does: size in bytes, the times of change in nanoseconds, and inode."""
    return stamp_of(path.stat())


def stamp_of(status: os.stat_result) -> dict[str, int]:
    """The same of what stat(2) has given already."""
    return {name.removeprefix("st_"): getattr(status, name) for name in _FOLLOWED}


def digest(path: Path, advance: Advance = lambda _: None) -> str:
    """The SHA-256 of a file's bytes, holes read as zeros, in hexadecimal."""
    result = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            result.update(chunk)
            advance(len(chunk))
    return result.hexdigest()


def is_key(name: str) -> bool:
    """Whether a name is that of something in the store."""
    return _KEY.fullmatch(name) is not None


class BusyError(MetisError):
    """Somebody else works on a key."""


class Store:
    """Files by their hash below one folder; everything in it is private to us.

    Keys and hashes are 64 lower-case hexadecimal digits, and nothing else ever becomes part of a path.
    """

    def __init__(self, root: Path, reporter: Reporter) -> None:
        self.root = root
        self._reporter = reporter

    def path(self, sha256: str) -> Path:
        """Where the file with this hash is, if it is there; this says nothing about whether it is."""
        return self.root / "sha256" / _checked(sha256)

    def find(self, sha256: str) -> Path | None:
        """The file with this hash, or None.

        A file that looks different from when it was verified is hashed again; one that rotted is removed,
        and said to be.
        """
        path = self.path(sha256)
        if not path.is_file():
            return None
        now = stamp(path)
        verified, origin = _read_stamp(path)
        if verified == now:
            with suppress(OSError):  # of a cache that we may only read, nobody knows when it was used
                os.utime(_stamp_of(path), follow_symlinks=False)
            return path
        with self._reporter.step(f"checking {sha256[:12]} in the cache", now["size"]) as advance:
            found = digest(path, advance)
        if found == sha256:
            _write_stamp(path, now, origin)
            return path
        with suppress(FileNotFoundError):
            if stamp(path) != now:  # another thread has found the same, and has fetched it again
                return self.find(sha256)
        self._reporter.note(f"{path} rotted in the cache and is removed: its SHA-256 is {found} now")
        self.remove(sha256)
        return None

    def about(self, sha256: str) -> Held | None:
        """What is known of the file with this hash, its bytes unread; None where there is none."""
        path = self.path(sha256)
        file, side = _regular(path), _regular(_stamp_of(path))
        if file is None:
            return None
        origin = _read_stamp(path)[1] if side else ""
        return Held(sha256, file.st_size, (side or file).st_mtime, origin)

    def admit(self, part: Path, sha256: str, origin: str = "") -> Path:
        """Move a finished file of `partial` in; `sha256` is what its bytes hashed to on their way into it.

        `origin` is the name of its source, without a secret in it.
        """
        path = self.path(sha256)
        durable.make_private(path.parent)
        part.chmod(0o600)
        durable.settle(part, path)
        _write_stamp(path, stamp(path), origin)
        return path

    def remove(self, sha256: str) -> None:
        """Forget the file with this hash."""
        path = self.path(sha256)
        path.unlink(missing_ok=True)
        _stamp_of(path).unlink(missing_ok=True)

    def partial(self, key: str) -> Path:
        """A private folder for what is unfinished; it is still there after a crash."""
        return durable.make_private(self.root / "partial" / _checked(key))

    def drop_partial(self, key: str) -> None:
        """Remove what is unfinished."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.root / "partial" / _checked(key))

    def evidence(self, sha256: str) -> Path:
        """The folder for what speaks for the file with this hash; nothing of it is trusted."""
        return self.root / "evidence" / _checked(sha256)

    @contextmanager
    def lock(self, key: str, purpose: str) -> Iterator[None]:
        """Let one at a time, of all threads and processes, work on a key; whoever waits is told who does.

        `purpose` says what for, as in "fetching x.img".
        """

        def on_wait(holder: str) -> None:
            self._reporter.note(f"waiting for {holder}, which is {purpose}")

        with durable.locked(self.root / "locks" / _checked(key), on_wait):
            yield

    @contextmanager
    def lock_if_free(self, key: str) -> Iterator[None]:
        """The same for who would rather leave a key alone than wait for it: raises BusyError then."""

        def refuse(holder: str) -> None:
            raise BusyError(f"{holder} is at work on {key[:12]}")

        with durable.locked(self.root / "locks" / _checked(key), refuse):
            yield

    def remember(self, key: str, sha256: str) -> None:
        """Note which file a recipe led to."""
        durable.write(self.root / "names" / _checked(key), _checked(sha256).encode())

    def recall(self, key: str) -> str | None:
        """The hash that was remembered for a recipe, or None."""
        try:
            found = (self.root / "names" / _checked(key)).read_text(errors="replace")
        except FileNotFoundError:
            return None
        return found if is_key(found) else None


def _checked(key: str) -> str:
    if not is_key(key):
        raise UsageError(f"{key[:80]!r} is not a SHA-256", "it has 64 hexadecimal digits")
    return key


def _stamp_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _regular(path: Path) -> os.stat_result | None:
    """How a file looks; None where there is none, or something else, such as a link."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found if S_ISREG(found.st_mode) else None


def _read_stamp(path: Path) -> tuple[object, str]:
    """What a file looked like when it was verified, and the name of its source, empty where nobody knows."""
    try:
        found = json.loads(_stamp_of(path).read_bytes())
    except (FileNotFoundError, ValueError):
        return None, ""
    origin = found.pop("origin", "") if isinstance(found, dict) else ""
    return found, origin if isinstance(origin, str) else ""


def _write_stamp(path: Path, value: dict[str, int], origin: str) -> None:
    about = {**value, "origin": origin} if origin else value
    durable.write(_stamp_of(path), durable.as_json(about))
