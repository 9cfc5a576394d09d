"""Small files that a crash leaves either old or new: written beside, synced, renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import MetisError

PART = ".part"
"""The ending of whatever is not finished; nothing that ends so is ever a target."""


def make_private(folder: Path) -> Path:
    """Make a folder (and its parents) that only we can enter; give it back."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` to write to; it becomes `target` when the block ends well.

    What was written is on the medium before the name changes (rename(2), fsync(2)). After an exception, or
    a kill, `target` is what it was; what a kill left beside is overwritten by the next try.
    """
    make_private(target.parent)
    part = target.with_name(f".{target.name}{PART}")
    try:
        part.unlink(missing_ok=True)
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise out_of_room(target, error) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def out_of_room(target: Path, error: OSError) -> MetisError:
    """Say an error of the file system in one line, with what to do about a full one."""
    reason = (error.strerror or str(error)).lower()
    full = error.errno in {28, 122}  # ENOSPC, EDQUOT
    return MetisError(
        f"cannot write {target}: {reason}",
        "free some space there and run again" if full else "",
    )


def write(target: Path, data: bytes) -> None:
    """Write a whole file of mode 0600."""
    with replacing(target) as part:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)


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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
