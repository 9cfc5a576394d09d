"""Dask, which is installed where somebody wants it, as we use it: quiet, and with TLS on both sides."""

from __future__ import annotations

import logging
import warnings
from types import ModuleType
from typing import TYPE_CHECKING

from ..errors import UsageError
from .access import Certificates

if TYPE_CHECKING:
    from distributed import Security


def distributed() -> ModuleType:
    """The library; raises UsageError where it is not installed."""
    try:
        import distributed
    except ModuleNotFoundError:
        raise UsageError(
            "METIS_SCHEDULER needs Dask, which is not installed", "install metis[dask]"
        ) from None
    return distributed


def quiet(level: int = logging.CRITICAL) -> None:
    """Keep the library from saying what we say in our own words."""
    warnings.filterwarnings("ignore", module="distributed")
    for name in ["distributed", *logging.root.manager.loggerDict]:
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(level)


def security(files: Certificates | None) -> Security | None:
    """What the library has of TLS: who has no certificate of the authority is refused, on either side."""
    if files is None:
        return None
    own = {
        f"tls_{role}_{part}": str(file)
        for role in ("client", "worker", "scheduler")
        for part, file in (("cert", files.own), ("key", files.key))
    }
    made: Security = distributed().Security(require_encryption=True, tls_ca_file=str(files.authority), **own)
    return made
