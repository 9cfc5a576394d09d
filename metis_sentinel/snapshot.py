"""A snapshot: each fact asked for by itself, so that one that cannot be had costs no other.

Its form is `snapshot.schema.json`. What is done with it is in `__main__`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping

from . import __version__, containers
from .addresses import addresses
from .disks import disks
from .host import FAILURES, Host
from .journal import journal_bytes
from .managed import burn, card, files
from .mounts import longhorn_disks, mounts
from .packages import packages
from .system import arch, board, boot, cmdline, hostname, kernel, machine_id_hash, memory, os_release
from .units import failed_units

FORMAT = 1
FACTS: Mapping[str, Callable[[Host], object]] = {
    "hostname": hostname,
    "machine_id_hash": machine_id_hash,
    "os": os_release,
    "kernel": kernel,
    "arch": arch,
    "board": board,
    "memory": memory,
    "boot": boot,
    "cmdline": cmdline,
    "card": card,
    "burn": burn,
    "files": files,
    "versions": containers.versions,
    "packages": packages,
    "mounts": mounts,
    "longhorn_disks": longhorn_disks,
    "disks": disks,
    "addresses": addresses,
    "journal_bytes": journal_bytes,
    "failed_units": failed_units,
}
_NODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_UNKNOWN = "unknown"


def take(root: str = "/", dropped: int = 0) -> dict[str, object]:
    """What is to be said of the host at `root` now, as plain data; `dropped` is passed on.

    Raises OSError only where the root itself is no folder.
    """
    host = Host(root)
    facts: dict[str, object] = {}
    try:
        for name, fact in FACTS.items():
            try:
                value = fact(host)
            except FAILURES as error:
                host.gap(name, error)
                continue
            if value is not None:
                facts[name] = value
    finally:
        host.close()
    known, installed = facts.get("versions"), facts.get("packages")
    if isinstance(known, dict) and isinstance(installed, dict):
        facts["versions"] = {**containers.of_packages(installed), **known}
    return {
        "format": FORMAT,
        "id": os.urandom(16).hex(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "sentinel": __version__,
        "node": node_of(facts.get("card"), facts.get("hostname")),
        **facts,
        "gaps": host.gaps,
        "dropped": dropped,
    }


def node_of(card: object, hostname: object) -> str:
    """The node by its card, else by its host name, with what no name of a node has left out."""
    name = card.get("node") if isinstance(card, dict) else None
    if isinstance(name, str) and _NODE.fullmatch(name):
        return name
    fit = re.sub(r"[^A-Za-z0-9._-]+", "-", hostname if isinstance(hostname, str) else "")
    return fit.strip("._-")[:63].strip("._-") or _UNKNOWN
