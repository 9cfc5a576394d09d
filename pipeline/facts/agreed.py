"""What most nodes of a class run: of each version and each package the one that more than half of them have.

Pure. Only healthy nodes have a voice, as what a broken one runs may be what broke it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .snapshot import VERSIONS, Snapshot

WATCHED = (
    "ca-certificates",
    "cryptsetup-bin",
    "curl",
    "dbus",
    "dmsetup",
    "iptables",
    "libc6",
    "nfs-common",
    "open-iscsi",
    "openssh-server",
    "openssl",
    "sudo",
    "systemd",
)
"""The packages that a summary shows and a recommendation names: what k3s, Longhorn and logging in rest on."""


@dataclass(frozen=True, slots=True)
class Share:
    """A version, and how many of how many nodes run it."""

    version: str
    nodes: int
    of: int


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a class's healthy nodes agree on, by the names of versions and of packages.

    A name is in it only where more than half of the nodes that say something of it say the same. `voters` is
    how many nodes there were.
    """

    versions: Mapping[str, Share] = field(default_factory=dict)
    packages: Mapping[str, Share] = field(default_factory=dict)
    voters: int = 0


def agreed(snapshots: Iterable[Snapshot]) -> Agreed:
    """What the healthy nodes of one class agree on."""
    voters = tuple(snapshots)
    versions = {name: _share(each.versions.get(name) for each in voters) for name in VERSIONS}
    told = [each.packages for each in voters if each.packages is not None]
    counts: dict[str, Counter[str]] = {}
    for packages in told:
        for name, version in packages.items():
            if name not in counts:
                counts[name] = Counter()
            counts[name][version] += 1
    shares = {name: _majority(count, len(told)) for name, count in counts.items()}
    return Agreed(
        {name: share for name, share in versions.items() if share},
        {name: share for name, share in shares.items() if share},
        len(voters),
    )


def _share(versions: Iterable[str | None]) -> Share | None:
    count = Counter(version for version in versions if version is not None)
    return _majority(count, count.total())


def _majority(count: Counter[str], of: int) -> Share | None:
    if not count:
        return None
    version, nodes = count.most_common(1)[0]
    return Share(version, nodes, of) if 2 * nodes > of else None
