"""Drift: a snapshot held against what the inventory says of its node, and what its class agrees on. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ..amounts import counted
from ..wording import few
from .agreed import Agreed, Share
from .expected import Expected, ExpectedDisk
from .finding import Finding, Severity
from .snapshot import VERSIONS, ManagedFile, Mount, Snapshot

MANY = 20
"""So many packages of a node that differ are named; of more, how many there are."""
FEWEST = 3
"""From so many nodes on a package that one of them has otherwise is an outlier."""
REBURN = "rebuild its image and burn it again"
UNDO = f"{REBURN}, or put the change into the inventory"
NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Burned:
    """The last burn of a node that ended well: the image's id and the time, as the card's record has them.

    `failed` are the times of those after it that did not end well.
    """

    image: str
    at: str
    failed: frozenset[str] = frozenset()

    @property
    def when(self) -> datetime | None:
        """The time as one, in UTC unless it says; None where it is none."""
        try:
            at = datetime.fromisoformat(self.at)
        except ValueError:
            return None
        return at.replace(tzinfo=at.tzinfo or UTC)


def drift(
    snapshot: Snapshot, expected: Expected, agreed: Agreed, burned: Burned | None = None
) -> tuple[Finding, ...]:
    """Every way in which a node is not what it should be; what it did not say is no finding."""
    return (*own_drift(snapshot, expected, burned), *version_drift(snapshot, expected, agreed))


def own_drift(snapshot: Snapshot, expected: Expected, burned: Burned | None = None) -> tuple[Finding, ...]:
    """What a node's own declaration decides: its name, its card, its files and disks."""
    return tuple(
        Finding(snapshot.node, *fields)
        for fields in (
            *_names(snapshot, expected),
            *_card(snapshot, expected, burned),
            *_files(snapshot, expected),
            *_disks(snapshot, expected),
        )
    )


def version_drift(snapshot: Snapshot, expected: Expected, agreed: Agreed) -> tuple[Finding, ...]:
    """What the targets of the class or the node decide, and where there are none, most nodes of the class."""
    return tuple(
        Finding(snapshot.node, *fields)
        for fields in (
            *_versions(snapshot.versions, expected.targets, agreed.versions),
            *_packages(snapshot, expected, agreed),
        )
    )


def target_drift(node: str, versions: Mapping[str, str], targets: Mapping[str, str]) -> tuple[Finding, ...]:
    """What the targets alone say of a node's versions, whoever has told them."""
    return tuple(Finding(node, *fields) for fields in _versions(versions, targets, {}))


_Fields = tuple[str, str, Severity, str, str, str]
"""Of a finding: kind, subject, severity, expected, found, advice."""


def _names(snapshot: Snapshot, expected: Expected) -> Iterator[_Fields]:
    if snapshot.hostname and snapshot.hostname != expected.hostname:
        yield "hostname", "", "critical", expected.hostname, snapshot.hostname, REBURN
    if snapshot.addresses is not None:
        for address in expected.addresses:
            if address not in snapshot.addresses:
                found = few(_of_same_version(address, snapshot.addresses)) or NOTHING
                yield "address", address, "warning", address, found, "look at its network, or " + UNDO


def _of_same_version(address: str, found: Iterable[str]) -> list[str]:
    """What a node has in place of an address; those of links, which come and go with each pod, are none."""
    version = ipaddress.ip_interface(address).version
    return sorted(each for each in found if _is_routed(each, version))


def _is_routed(address: str, version: int) -> bool:
    try:
        read = ipaddress.ip_interface(address)
    except ValueError:
        return False
    return read.version == version and not read.is_link_local


# ----------------------------------------------------------------------------------------------- card


def _card(snapshot: Snapshot, expected: Expected, burned: Burned | None) -> Iterator[_Fields]:
    if burned and not _is_last(snapshot, burned):
        found = (
            f"burned {snapshot.burned_at}" if snapshot.burned_at else "a card without a record of its burn"
        )
        advice = "put the card in that was burned last, or burn again"
        yield "card", "burn", "warning", f"burned {burned.at}", found, advice
    if not snapshot.card_sha256 and snapshot.files is None:
        yield "card", "record", "info", "the record of a card of Metis", NOTHING, REBURN
    elif snapshot.card_sha256 != expected.card_sha256:
        is_of_class = snapshot.card_class in {"", expected.klass}
        found = "a card that was made before" if is_of_class else f"a card of the class {snapshot.card_class}"
        yield "card", "inventory", "info", "the inventory as it is", found, REBURN


def _is_last(snapshot: Snapshot, burned: Burned) -> bool:
    """Whether a card is the one of the last burn, or of a later one on a host whose receipts are not here."""
    if snapshot.burned_at == burned.at:
        return snapshot.burned_image == burned.image
    return snapshot.burned_at > burned.at and snapshot.burned_at not in burned.failed


# ---------------------------------------------------------------------------------------------- files


def _files(snapshot: Snapshot, expected: Expected) -> Iterator[_Fields]:
    """Files that were changed on the node.

    A card that was made of another inventory is held to its own record: that it is old is said once, of the
    card.
    """
    if snapshot.files is None:
        return
    is_of_today = snapshot.card_sha256 == expected.card_sha256
    for path, found in snapshot.files.items():
        about = expected.files.get(path) if is_of_today else {}
        if about is not None and (changes := tuple(_changes(found, about))):
            was, now = (", ".join(words) for words in zip(*changes, strict=True))
            yield "file", path, "warning", was, now, UNDO


def _changes(found: ManagedFile, about: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if found.state in {"missing", "other"}:
        yield "a file", "nothing" if found.state == "missing" else "something else"
        return
    if found.state != "file":
        return
    wanted = about.get("sha256") or found.burned
    if wanted and found.sha256 and wanted != found.sha256:
        yield f"sha256 {wanted[:12]}", found.sha256[:12]
    for name in ("mode", "owner", "group"):
        seen = getattr(found, name)
        if name in about and seen and about[name] != seen:
            yield f"{name} {about[name]}", seen


# ---------------------------------------------------------------------------------------------- disks


def _disks(snapshot: Snapshot, expected: Expected) -> Iterator[_Fields]:
    mounts = None if snapshot.mounts is None else {mount.path: mount for mount in snapshot.mounts}
    for disk in expected.disks:
        if mounts is not None:
            yield from _mounts(mounts, disk)
        found = snapshot.longhorn_disks.get(disk.paths[0])
        if disk.longhorn and found and found.lower() != disk.longhorn.lower():
            advice = "it is another disk of Longhorn: put the right one in, or its UUID into the inventory"
            yield "longhorn", disk.paths[0], "critical", disk.longhorn, found, advice


def _mounts(mounts: Mapping[str, Mount], disk: ExpectedDisk) -> Iterator[_Fields]:
    severity: Severity = "critical" if disk.is_strict else "warning"
    for path in disk.paths:
        mount = mounts.get(path)
        if mount is None:
            advice = "look whether the disk is there, and `journalctl -u metis-disks` on the node"
            yield "mount", path, severity, disk.uuid, "not mounted", advice
        elif mount.uuid and mount.uuid.lower() != disk.uuid.lower():
            yield "mount", path, severity, disk.uuid, mount.uuid, "put the right disk in, or " + UNDO


# ------------------------------------------------------------------------------------------- versions


def _versions(
    versions: Mapping[str, str], targets: Mapping[str, str], agreed: Mapping[str, Share]
) -> Iterator[_Fields]:
    for name in VERSIONS:
        found = versions.get(name)
        if found is None:
            continue
        target, share = targets.get(name), agreed.get(name)
        if target is not None and found != target:
            is_outrun = share is not None and share.version == found
            advice = _NEWER_TARGET if is_outrun else f"bring it to {target}, or {REBURN}"
            yield name, "", "warning", target, found, advice
        elif target is None and share is not None and found != share.version:
            advice = f"bring it to what {share.nodes} of {share.of} run, or {REBURN}"
            yield name, "", "warning", share.version, found, advice


_NEWER_TARGET = "the class runs this by now: `metis facts --recommend` updates its targets"


def _packages(snapshot: Snapshot, expected: Expected, agreed: Agreed) -> Iterator[_Fields]:
    packages = snapshot.packages
    if packages is None:
        return
    for name, version in expected.packages.items():
        found, share = snapshot.package(name), agreed.packages.get(name)
        if found != version:
            is_outrun = share is not None and share.version == found
            advice = _NEWER_TARGET if is_outrun else "bring it to that, or update the class's targets"
            yield "package", name, "warning", version, found or NOTHING, advice
    if agreed.voters >= FEWEST:
        yield from _outliers(packages, agreed, frozenset(expected.packages))


def _outliers(packages: Mapping[str, str], agreed: Agreed, named: frozenset[str]) -> Iterator[_Fields]:
    """Packages that most nodes of the class have in one version, and this node otherwise or not at all."""
    differing = [
        (name, share)
        for name, share in agreed.packages.items()
        if packages.get(name) != share.version and name not in named
    ]
    if len(differing) > MANY:
        found, advice = f"{counted(len(differing), 'package')} otherwise", f"upgrade it, or {REBURN}"
        yield "package", "", "info", "what its class has", found, advice
        return
    for name, share in sorted(differing, key=lambda item: item[0]):
        advice = f"bring it to what {share.nodes} of {share.of} have, or {REBURN}"
        yield "package", name, "info", share.version, packages.get(name, NOTHING), advice


# ---------------------------------------------------------------------------------------------- twins


def twins(snapshots: Iterable[Snapshot]) -> tuple[Finding, ...]:
    """Nodes that share a machine-id: systemd, DHCP and the cluster take them for one."""
    holders: dict[str, list[str]] = {}
    for each in snapshots:
        if each.machine_id_hash:
            holders.setdefault(each.machine_id_hash, []).append(each.node)
    return tuple(
        Finding(
            node, "machine-id", "", "critical", "one of its own", f"that of {_others(node, nodes)}", REBURN
        )
        for nodes in holders.values()
        if len(nodes) > 1
        for node in nodes
    )


def _others(node: str, nodes: Sequence[str]) -> str:
    return few([other for other in nodes if other != node])


def is_healthy(snapshot: Snapshot, findings: Iterable[Finding]) -> bool:
    """Whether what a node runs may count for its class: nothing of its own is amiss, no unit has failed."""
    return not snapshot.failed_units and all(finding.severity == "info" for finding in findings)
