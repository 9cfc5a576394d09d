"""What only the service may read: tokens that files hold, and the key of its pages."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import RefusedError, SourceError, reason_of
from ..machine import durable
from ..secret import Secret
from .options import LONGEST_TOKEN

KEY = "service.key"
_KEY_BYTES = 32
_OTHERS = 0o077


def token(file: str) -> Secret:
    """The one line that a file has, of mode 0600 or less; a link to it is followed, as Kubernetes lays them.

    Raises SourceError where it cannot be read, RefusedError where others may read it.
    """
    return Secret(_read(Path(file)).decode("utf-8", "replace").strip())


def key(state: Path) -> bytes:
    """The key for the tokens of pages, made once, so that pages stay good when the service starts anew.

    `state` is the folder that the artifacts keep their state in. Raises RefusedError where others may read
    the key, or where it is none.
    """
    file = state / KEY
    durable.write_once(file, os.urandom(_KEY_BYTES))
    found = _read(file)
    if len(found) != _KEY_BYTES:
        raise RefusedError(
            f"{file} is no key of the service", "remove it, and start again: pages are loaded anew"
        )
    return found


def _read(file: Path) -> bytes:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would be waited for
        with os.fdopen(descriptor, "rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise RefusedError(f"{file} is no file", "put one there")
            if mode & _OTHERS:
                raise RefusedError(f"{file} is open to others than its owner", f"run `chmod 0600 {file}`")
            return opened.read(LONGEST_TOKEN + 2)
    except OSError as error:
        raise SourceError(
            f"{file} cannot be read: {reason_of(error)}", "see the flag that names it"
        ) from None
