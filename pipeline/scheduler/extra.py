"""Dask, which is installed where somebody wants it, as we use it: quiet, and with TLS on both sides."""

from __future__ import annotations

import asyncio
import logging
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import RefusedError, SourceError, UsageError, reason_of
from .access import VARIABLES, Certificates, SchedulerAccess

if TYPE_CHECKING:
    from distributed import Security


def distributed() -> ModuleType:
    """The library; raises UsageError where it is not installed, or cannot read what it is told."""
    try:
        import distributed
    except ModuleNotFoundError:
        raise UsageError(
            "METIS_SCHEDULER needs Dask, which is not installed", "install metis[dask]"
        ) from None
    except ValueError as error:
        raise UsageError(f"Dask cannot be used: {error}", "mend that file") from None
    return distributed


def quiet(level: int = logging.CRITICAL) -> None:
    """Keep the library from saying what we say in our own words."""
    warnings.filterwarnings("ignore", module="distributed")
    for name in ["distributed", *logging.root.manager.loggerDict]:
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(level)


async def greet(access: SchedulerAccess) -> None:
    """See that a scheduler is there, as the library itself would wait for ever for one that says nothing.

    Raises SourceError where it does not answer in time.
    """
    library = distributed()
    known: Any = security(access.certificates)
    given = known.get_connection_args("client")

    async def ask() -> None:
        comm = await library.comm.connect(access.address, timeout=access.patience, **given)
        await comm.close()

    # Of what others say who listen there the library fails in many ways.
    (failure,) = await asyncio.gather(asyncio.wait_for(ask(), access.patience), return_exceptions=True)
    if failure is not None:
        raise unreachable(access)


def unreachable(access: SchedulerAccess) -> SourceError:
    """What is said of a scheduler that does not answer."""
    hint = "see that it is there"
    if access.certificates:
        hint += ", and that its certificate and ours are of the same authority and have not expired"
    return SourceError(f"the scheduler {access.address} cannot be reached", hint)


def security(files: Certificates | None) -> Security:
    """What the library has of TLS: who has no certificate of the authority is refused, on either side.

    Raises UsageError for files that are no certificates, and RefusedError where there are none and the
    library is told to do nothing in the clear.
    """
    given: dict[str, Any] = {}
    if files:
        given = {
            f"tls_{role}_{part}": str(file)
            for role in ("client", "worker", "scheduler")
            for part, file in (("cert", files.own), ("key", files.key))
        }
        given |= {"require_encryption": True, "tls_ca_file": str(files.authority)}
    made: Any = distributed().Security(**given)
    if made.require_encryption and not files:
        raise RefusedError("Dask is told to encrypt", f"use tls:// with {', '.join(VARIABLES)}")
    try:
        made.get_connection_args("client")
    except OSError as error:
        what = f"{', '.join(VARIABLES)} cannot be used: {reason_of(error)}"
        raise UsageError(what, "name files in PEM, a certificate with its own key") from None
    found: Security = made
    return found
