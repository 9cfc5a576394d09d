"""What starts k3s: one unit for the node's role, and a guard that keeps a server from founding a cluster."""

from __future__ import annotations

from ..model import Entry, File, Remove, Symlink, Text
from .assets import asset

UNITS = {"agent": "k3s-agent.service", "server": "k3s.service"}
"""The unit of each role, as k3s's install.sh names them."""

GUARD = "/usr/local/lib/metis/k3s-guard"

_FOLDER = "/etc/systemd/system"
_ENABLED = f"{_FOLDER}/multi-user.target.wants"


def render(role: str, datastore: str) -> tuple[Entry, ...]:
    """The unit of the role, enabled, and no other; what a golden added to it goes.

    `role` is a key of UNITS, or `none`: then no unit is left that could start k3s.
    """
    return (*_without_others(role), *_unit(role), *_guard(role, datastore))


def _without_others(role: str) -> tuple[Entry, ...]:
    others = [unit for other, unit in UNITS.items() if other != role]
    return (
        *(Remove(f"{_FOLDER}/{unit}") for unit in others),
        *(Remove(f"{_ENABLED}/{unit}") for unit in others),
        *(Remove(f"{_FOLDER}/{unit}.env") for unit in UNITS.values()),
        *(Remove(f"{_FOLDER}/{unit}.d/override.conf") for unit in UNITS.values()),
    )


def _unit(role: str) -> tuple[Entry, ...]:
    if role not in UNITS:
        return ()
    unit = UNITS[role]
    start = Text(f"ExecStart=/usr/local/bin/k3s {role}\n")
    return (
        File(f"{_FOLDER}/{unit}", (asset("k3s.service"), start)),
        Symlink(f"{_ENABLED}/{unit}", f"{_FOLDER}/{unit}"),
    )


def _guard(role: str, datastore: str) -> tuple[Entry, ...]:
    if role != "server":
        return ()
    # Without a "-" before the path: where the guard fails, k3s must not start.
    drop_in = Text(f"[Service]\nExecStartPre={GUARD} {datastore}\n")
    return (
        File(GUARD, (asset("k3s-guard"),), mode=0o755),
        File(f"{_FOLDER}/{UNITS[role]}.d/10-metis-guard.conf", (drop_in,)),
    )
