"""What this process does before it holds a secret, for itself and for all children that it starts."""

from __future__ import annotations

import os
import signal
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
