"""Everything that is wrong with an inventory, said at once and in plain words.

`check` holds one document against its schema (`schemas`). What only merged values can show, as a class may
give one half and a node the other, each concern of `render` checks for itself; what only all nodes together
can show is in `claims` and `duplicates`.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..errors import Problem
from .document import Document
from .formats import address_with_prefix, hostname_label, mac_address

if TYPE_CHECKING:
    from .schema_files import Kind

Claim = tuple[str, str]
"""What a node says that it alone has: a dotted path, and a value in one spelling; equal claims are equal."""

MAX_PROBLEMS = 100
NAMED = 3
"""Nodes that one conflict names; a mistake in a class would else name all of a thousand nodes, each time."""


def check(document: Document, kind: Kind) -> tuple[Problem, ...]:
    """Give all that is wrong with one document, in the order of lines, but no more lines than help."""
    from .schemas import faults

    found = {document.problem(*fault) for fault in islice(faults(document.data, kind), MAX_PROBLEMS + 1)}
    if len(found) > MAX_PROBLEMS:
        found.add(Problem(document.file, 0, "", f"more than {MAX_PROBLEMS} problems, these are some of them"))
    return tuple(sorted(found))


def claims(settings: Mapping[str, Any], name: str) -> dict[str, tuple[Claim, ...]]:
    """Give what a node claims, by the dotted path of where it says so.

    What another document says in the same place replaces it. `settings` may be invalid, and what makes no
    sense is not claimed.
    """
    hostname = _spelt(str.lower, hostname_label, settings.get("hostname", name))
    found = [("hostname", "hostname", [hostname])]
    for place, interface in _interfaces(settings.get("network")):
        address = _spelt(_bare_address, address_with_prefix, interface.get("address"))
        mac = _spelt(str.lower, mac_address, interface.get("mac"))
        found += [(f"{place}.address", "network.address", [address]), (f"{place}.mac", "network.mac", [mac])]
    found += [(place, "disk", uuids) for place, uuids in _disks(settings)]
    claimed = {place: tuple((path, each) for each in values if each) for place, path, values in found}
    return {place: made for place, made in claimed.items() if made}


def _interfaces(network: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The main interface's settings, then those of all others, each with its place."""
    if not isinstance(network, Mapping):
        return
    yield "network", network
    for key in ("interfaces", "vlans", "wifis"):
        further = network.get(key)
        for name, one in further.items() if isinstance(further, Mapping) else ():
            if isinstance(one, Mapping):
                yield f"network.{key}.{name}", one


def _disks(settings: Mapping[str, Any]) -> Iterator[tuple[str, list[str | None]]]:
    """The UUIDs of the node's disks, with their places: one disk is in one machine."""
    longhorn = settings.get("longhorn")
    disks = longhorn.get("disks") if isinstance(longhorn, Mapping) else ()
    yield "longhorn.disks", [_uuid(disk) for disk in (disks if isinstance(disks, list | tuple) else ())]
    yield "usb_scratch.uuid", [_uuid(settings.get("usb_scratch"))]


def _uuid(disk: object) -> str | None:
    uuid = disk.get("uuid") if isinstance(disk, Mapping) else None
    return uuid if isinstance(uuid, str) else None


def duplicates(claims_of: Mapping[str, Iterable[Claim]]) -> dict[str, tuple[str, ...]]:
    """Give, for each node whose claims others share, a line for each of them that names the others."""
    claimants: defaultdict[Claim, list[str]] = defaultdict(list)
    for node, made in claims_of.items():
        for claim in dict.fromkeys(made):
            claimants[claim].append(node)
    lines: defaultdict[str, list[str]] = defaultdict(list)
    for (path, value), nodes in claimants.items():
        for node in nodes if len(nodes) > 1 else ():
            lines[node].append(f"{path}: {value} is also that of {_others(node, nodes)}")
    return {node: tuple(sorted(found)) for node, found in lines.items()}


def _others(node: str, nodes: list[str]) -> str:
    named = [other for other in nodes[: NAMED + 1] if other != node][:NAMED]
    left = len(nodes) - 1 - len(named)
    return ", ".join(named) + (f" and {left} more" if left else "")


def _spelt(spelling: Callable[[str], str], check: Callable[[str], None], value: object) -> str | None:
    try:
        if isinstance(value, str):
            check(value)
            return spelling(value)
    except ValueError:
        pass
    return None


def _bare_address(value: str) -> str:
    return str(ipaddress.ip_interface(value).ip)
