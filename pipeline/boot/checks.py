"""What a node must be when it has booted, and what it said that it is."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..model import File, Manifest, ResolvedNode, Reveal, SecretRef, Text
from ..render.k3s import role_of, unit_of
from ..render.storage import DISKS_UNIT, disks_of
from .guest import KINDS, fingerprint

HOST_KEY = "host key"
"""How the names of the checks of host keys begin."""

FAILED_UNITS = "failed units"
"""It is shown, and says nothing of who the node is: an emulated machine may be too slow for some unit."""

MACHINE_ID = "/etc/machine-id"
SHOWN = 8
"""How many digits of a machine-id are shown."""

NO_UNIT = "k3s.service"
"""What is asked about on a node that must have no k3s."""

_ADDRESS = 3
"""The column of the address in what `ip -oneline` says: number, name, family, address."""

_PART = re.compile(r"^== (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `expected` is empty where it is only shown."""

    name: str
    expected: str
    found: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Mount:
    """A disk that the node declares, and whether the machine has it."""

    path: str
    uuid: str
    is_there: bool


@dataclass(frozen=True, slots=True)
class Expected:
    """What the inventory and the manifest say.

    `machine_id` is None where the manifest has none; `host_keys` are lines of public keys by kind. `k3s` are
    the states that are right. `root_size` is in bytes, of the root's partition in the image.
    """

    hostname: str
    address: ipaddress.IPv4Interface | None
    machine_id: str | None
    host_keys: Mapping[str, str]
    mounts: tuple[Mount, ...]
    k3s_unit: str | None
    k3s: tuple[str, ...]
    root_size: int
    may_fail: frozenset[str] = frozenset()
    """Units that rightly fail, since a disk that the node declares is not there."""


# --------------------------------------------------------------------------------------- expected


def expected(
    node: ResolvedNode,
    manifest: Manifest,
    reveal: Reveal,
    *,
    address: ipaddress.IPv4Interface | None,
    uuids: frozenset[str],
    has_peer: bool,
    root_size: int,
) -> Expected:
    """What a node must be; `uuids` are of the file systems on the disks that it gets beside its card."""
    mounts = tuple(Mount(disk.path, disk.uuid, disk.uuid.lower() in uuids) for disk in disks_of(node))
    keys = {kind: _content(manifest, f"/etc/ssh/ssh_host_{kind}_key.pub", reveal) for kind in KINDS}
    role = role_of(node)
    is_sure = all(mount.is_there for mount in mounts) and (role == "agent" or has_peer)
    return Expected(
        hostname=node.hostname,
        address=address,
        machine_id=_content(manifest, MACHINE_ID, reveal),
        host_keys={kind: " ".join(key.split()[:2]) for kind, key in keys.items() if key},
        mounts=mounts,
        k3s_unit=unit_of(node),
        may_fail=frozenset() if all(mount.is_there for mount in mounts) else frozenset({DISKS_UNIT}),
        k3s=("absent",) if role == "none" else ("active",) if is_sure else ("active", "guarded"),
        root_size=root_size,
    )


def _content(manifest: Manifest, path: str, reveal: Reveal) -> str | None:
    for item in manifest.entries:
        entry = item.entry
        if isinstance(entry, File) and (entry.side, entry.path) == ("root", path):
            pieces = (
                piece.text.encode() if isinstance(piece, Text) else reveal(piece)
                for piece in entry.content
                if isinstance(piece, Text | SecretRef)
            )
            return b"".join(pieces).decode().strip()
    return None


# ------------------------------------------------------------------------------------------ found


def parts(said: str) -> Mapping[str, str]:
    """What the probe said, by the names of its parts; nothing where it did not come to its end."""
    pieces = _PART.split(said)
    found = {name: text.strip() for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}
    return found if "end" in found else {}


def check_keys(wanted: Expected, found: Mapping[str, str]) -> list[Check]:
    """The host keys that a node shows against those that it must have."""
    return [
        Check(
            f"{HOST_KEY} {kind}",
            fingerprint(wanted.host_keys.get(kind, "")),
            fingerprint(found.get(kind, "")),
            wanted.host_keys.get(kind) == found.get(kind),
        )
        for kind in KINDS
    ]


def check_node(
    wanted: Expected, found: Mapping[str, str], earlier_boots: Sequence[str], now: float
) -> list[Check]:
    """All else; `earlier_boots` are the boot ids that were seen before, `now` is in seconds since 1970."""
    boot = found.get("boot-id", "")
    clock, card = (int(found.get(part) or 0) for part in ("clock", "card-time"))
    state = k3s_state(found.get("k3s", ""))
    return [
        _same("hostname", wanted.hostname, found.get("hostname", "")),
        _same("/etc/hostname", wanted.hostname, found.get("hostname-file", "")),
        _check_machine_id(wanted, found.get("machine-id", "")),
        _check_addresses(wanted, found.get("addresses", "")),
        *(_check_mount(mount, found.get("mounts", "")) for mount in wanted.mounts),
        Check("k3s", " or ".join(wanted.k3s), state, state in wanted.k3s),
        _check_failed(wanted, found.get("failed", "")),
        Check(
            "boot id", "another one" if earlier_boots else "", boot, bool(boot) and boot not in earlier_boots
        ),
        _check_root(wanted, int(found.get("root-size") or 0)),
        Check("clock", "not before the card", f"{clock - int(now):+d} s from this host's", clock >= card > 0),
    ]


def k3s_state(said: str) -> str:
    """`active`, `absent`, or `guarded` for a unit that is there and was not let start."""
    facts = dict(line.partition("=")[::2] for line in said.splitlines())
    if facts.get("LoadState") != "loaded":
        return "absent"
    return "active" if facts.get("ActiveState") == "active" else "guarded"


def stand_in(said: str) -> dict[str, list[str]]:
    """What the stand-in for k3s noted: its arguments, the keys of its configuration, the files of k3s."""
    noted: dict[str, list[str]] = {"argument": [], "key": [], "file": []}
    for line in said.splitlines():
        kind, _, value = line.partition(" ")
        noted.setdefault(kind, []).append(value)
    return noted


def _same(name: str, wanted: str, found: str) -> Check:
    return Check(name, wanted, found, wanted == found)


def _check_machine_id(wanted: Expected, found: str) -> Check:
    if wanted.machine_id is None:
        return Check("machine-id", "", _prefix(found), ok=True)
    return Check("machine-id", _prefix(wanted.machine_id), _prefix(found), wanted.machine_id == found)


def _prefix(machine_id: str) -> str:
    return f"{machine_id[:SHOWN]}…" if machine_id else "none"


def _check_addresses(wanted: Expected, said: str) -> Check:
    """All addresses of the interface that has the node's own, so that a second one by DHCP is seen."""
    rows = [line.split() for line in said.splitlines()]
    pairs = [(row[1], row[_ADDRESS]) for row in rows if len(row) > _ADDRESS]
    if wanted.address is None:
        return Check("addresses", "by DHCP", _listed(pairs), bool(pairs))
    own = str(wanted.address)
    holders = {name for name, address in pairs if address == own}
    there = [pair for pair in pairs if pair[0] in holders] or pairs
    return Check("addresses", own, _listed(there), [address for _, address in there] == [own])


def _check_root(wanted: Expected, size: int) -> Check:
    """Whether the root grew: the machine's disk is larger than the image, as cards are."""
    return Check("root", f"over {wanted.root_size >> 20} MiB", f"{size >> 20} MiB", size > wanted.root_size)


def _listed(pairs: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{address} on {name}" for name, address in pairs) or "none"


def _check_mount(mount: Mount, said: str) -> Check:
    held = dict(line.partition(" ")[::2] for line in said.splitlines())
    found = held.get(mount.path.replace(" ", "\\x20"), "nothing") or "something without a UUID"
    wanted = mount.uuid if mount.is_there else "nothing"
    return Check(f"mount {mount.path}", wanted, found, wanted.lower() == found.lower())


def _check_failed(wanted: Expected, said: str) -> Check:
    failed = sorted(_first_words(said))
    allowed = " or ".join(["none", *sorted(wanted.may_fail)])
    return Check(FAILED_UNITS, allowed, " ".join(failed) or "none", set(failed) <= wanted.may_fail)


def _first_words(said: str) -> Iterator[str]:
    return (line.split()[0] for line in said.splitlines() if line.split())
