"""What starts k3s: one unit for the node's role, and a guard that keeps a server from founding a cluster."""

from __future__ import annotations

from ..model import Entry, File, Needs, Remove, Text
from . import units
from .assets import asset

ROLES = {"agent": "k3s-agent.service", "server": "k3s.service"}
"""The unit of each role, as k3s's install.sh names them."""

PROGRAM = "/usr/local/bin/k3s"
"""What the units start. No entry brings it: a class does, with `files:`, or a golden."""

_TARGET = "multi-user.target"


def render(role: str, datastore: str) -> tuple[Entry, ...]:
    """The unit of the role, enabled, and no other; what a golden's operators added to it goes.

    `role` is a key of ROLES, or `none`: then no unit is left that could start k3s.
    """
    guard = _guard(ROLES[role], datastore) if role == "server" else ()
    return (*_without_others(role), *_unit(role), *guard)


_PROTECTED = (
    "/etc/rancher/k3s/config.yaml",
    *(f"{folder}/systemd/system/k3s.service" for folder in ("/etc", "/lib", "/usr/lib")),
    f"{units.SCRIPTS}/k3s-guard",
)


def is_protected(role: str, path: str) -> bool:
    """Whether a path decides how a server's k3s starts, so that nothing beside this concern may bring it.

    Drop-ins and folders of further configuration, which begin alike, do too.
    """
    return role == "server" and path.startswith(_PROTECTED)


def _without_others(role: str) -> tuple[Entry, ...]:
    others = [unit for other, unit in ROLES.items() if other != role]
    return (
        *(Remove(f"{units.UNITS}/{unit}") for unit in others),
        *(Remove(units.want(unit, _TARGET)) for unit in others),
        *(Remove(f"{units.UNITS}/{unit}.env") for unit in ROLES.values()),
        # Of whatever name: one that sets ExecStart or empties ExecStartPre would lead past the guard.
        *(Remove(f"{units.UNITS}/{unit}.d") for unit in ROLES.values()),
    )


def _unit(role: str) -> tuple[Entry, ...]:
    if role not in ROLES:
        return ()
    unit = ROLES[role]
    start = Text(f"ExecStart={PROGRAM} {role}\n")
    return (
        File(f"{units.UNITS}/{unit}", (asset("k3s.service"), start)),
        units.enabled(unit, _TARGET),
        Needs(PROGRAM, "k3s", optional=True),
    )


def _guard(unit: str, datastore: str) -> tuple[Entry, ...]:
    guard = units.script("k3s-guard")
    # Without a "-" before the path: where the guard fails, k3s must not start.
    drop_in = Text(f"[Service]\nExecStartPre={guard.path} {datastore}\n")
    return (guard, units.unit(f"{unit}.d/10-metis-guard.conf", drop_in))
