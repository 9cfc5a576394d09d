"""What this process does before it holds a secret, for itself and for all children that it starts."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable

CREDENTIALS = (
    "VAULT_TOKEN",
    "VAULT_SECRET_ID",
    # all or none: who reads them again must not find an account that is said in part
    "METIS_REGISTRY",
    "METIS_REGISTRY_USER",
    "METIS_REGISTRY_PASSWORD",
)
"""Variables that log in somewhere, of those that the settings read themselves."""

NO_CORE = 1
"""Bytes, too few for any core file. At just this limit the kernel starts no program that would take the core
from a pipe either (fs/coredump.c), as systemd-coredump and apport do; at 0 it starts them, see core(5)."""


def leave_no_cores() -> None:
    """Let neither us nor our children leave what is in memory in a core file; nobody can undo it.

    QEMU holds what goes into an image in its memory just as we do.
    """
    if sys.platform == "win32":  # it makes none
        return
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_CORE, (NO_CORE, NO_CORE))
    except (OSError, ValueError):  # the limit is 0, and only root may raise it
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_as_by_ctrl_c() -> None:
    """Make SIGTERM as good as Ctrl-C: an exception, after which what is on its way is removed."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def forget_credentials(others: Iterable[str]) -> None:
    """Take what logs in somewhere out of our environment, before a library starts a child with all of it.

    `others` are the variables that do so beside CREDENTIALS. The settings have read them all by then;
    what `/proc` shows of our own environment stays as we were given it.
    """
    for name in (*CREDENTIALS, *others):
        os.environ.pop(name, None)
