"""Which scheduler gives work to workers, and by which certificates the two know each other.

Whoever reaches a scheduler can have its workers run any code. So it is spoken to over TLS with certificates
on both sides, or on this machine alone, unless somebody insists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import RefusedError, UsageError
from ..machine.environment import switch
from ..machine.loopback import is_loopback

VARIABLES = ("METIS_SCHEDULER_CA", "METIS_SCHEDULER_CERT", "METIS_SCHEDULER_KEY")
PATIENCE = 30
"""Seconds for a scheduler to answer, and then for a worker that fits to be there."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the authority that all have a certificate of, and our own certificate with its key."""

    authority: Path
    own: Path
    key: Path


@dataclass(frozen=True, slots=True)
class SchedulerAccess:
    """Where a scheduler is, as in `tls://dask.example:8786`; without `certificates` it is asked in the clear.

    `patience` is in seconds; see PATIENCE.
    """

    address: str
    certificates: Certificates | None = None
    patience: float = PATIENCE

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, so that nobody else need reach its workers."""
        return is_loopback(urlsplit(self.address).hostname or "")


def scheduler_access(environment: Mapping[str, str], folder: Path) -> SchedulerAccess | None:
    """Read what the environment says of a scheduler, if it names one; relative paths count from `folder`.

    Raises UsageError for what is no address or lacks certificates, and RefusedError for one in the clear on
    another machine, unless METIS_SCHEDULER_INSECURE lets that pass.
    """
    address = environment.get("METIS_SCHEDULER")
    if not address:
        return None
    scheme, host = _parsed(address)
    patience = _seconds(environment.get("METIS_SCHEDULER_WAIT", str(PATIENCE)))
    if scheme == "tls":
        return SchedulerAccess(address, _certificates(environment, folder), patience)
    if not (is_loopback(host) or switch(environment, "METIS_SCHEDULER_INSECURE")):
        raise RefusedError(
            f"METIS_SCHEDULER is {address}, where anybody on the way could run code on its workers",
            f"use tls:// with {', '.join(VARIABLES)}, or METIS_SCHEDULER_INSECURE=1 where all may do that",
        )
    return SchedulerAccess(address, None, patience)


def _parsed(address: str) -> tuple[str, str]:
    """The scheme and the host of a scheduler's address."""
    try:
        parts = urlsplit(address)
        is_one = parts.scheme in {"tcp", "tls"} and parts.hostname and parts.port
    except ValueError:
        is_one = False
    if not is_one or address != f"{parts.scheme}://{parts.netloc}" or "@" in parts.netloc:
        raise UsageError(
            f"METIS_SCHEDULER is {address!r}", "write it as tls://HOST:PORT, or tcp://127.0.0.1:PORT"
        )
    return parts.scheme, parts.hostname or ""


def _certificates(environment: Mapping[str, str], folder: Path) -> Certificates:
    missing = [name for name in VARIABLES if not environment.get(name)]
    if missing:
        raise UsageError(
            f"METIS_SCHEDULER is spoken to over TLS, and {', '.join(missing)} is not set",
            "name files in PEM: the authority, and a certificate of it with its key",
        )
    files = Certificates(*(folder / environment[name] for name in VARIABLES))
    for name, file in zip(VARIABLES, (files.authority, files.own, files.key), strict=True):
        if not file.is_file():
            raise UsageError(f"{name} is {file}, which is no file", "name a file in PEM")
    return files


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise UsageError(f"METIS_SCHEDULER_WAIT is {text!r}", "give it in seconds")
    return float(text)
