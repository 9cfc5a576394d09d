"""What only the service may read: tokens that files hold, and the key of its pages."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import RefusedError, SourceError, reason_of
from ..machine import durable
from ..machine.system import system
from ..secret import Secret
from .options import LONGEST_TOKEN

KEY = "service.key"
_KEY_BYTES = 32


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
        with open(file, "rb", opener=_at_once) as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise RefusedError(f"{file} is no file", "put one there")
            if system().is_open_to_others(status):
                raise RefusedError(f"{file} is open to others than its owner", f"run `chmod 0600 {file}`")
            return opened.read(LONGEST_TOKEN + 2)
    except OSError as error:
        raise SourceError(
            f"{file} cannot be read: {reason_of(error)}", "see the flag that names it"
        ) from None


def _at_once(name: str, flags: int) -> int:
    """Open a file; the other end of a pipe would be waited for, of which Windows has none in its folders."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
