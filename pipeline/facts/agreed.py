"""What most nodes of a class run: of each version and each package the one that more than half of them have.

Pure. Only healthy nodes have a voice, as what a broken one runs may be what broke it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .snapshot import Snapshot

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

    A name is in it only where more than half of the nodes say the same of it: what a few say, of which the
    others say nothing, is no word of the class. `voters` is how many nodes there were.
    """

    versions: Mapping[str, Share] = field(default_factory=dict)
    packages: Mapping[str, Share] = field(default_factory=dict)
    voters: int = 0


def agreed(snapshots: Iterable[Snapshot]) -> Agreed:
    """What the healthy nodes of one class agree on."""
    voters = tuple(snapshots)
    return Agreed(
        _majorities((each.versions for each in voters), len(voters)),
        _majorities((each.packages or {} for each in voters), len(voters)),
        len(voters),
    )


def _majorities(said: Iterable[Mapping[str, str]], of: int) -> dict[str, Share]:
    counts: dict[str, Counter[str]] = {}
    for versions in said:
        for name, version in versions.items():
            if name not in counts:
                counts[name] = Counter()
            counts[name][version] += 1
    most = ((name, *count.most_common(1)[0]) for name, count in counts.items())
    return {name: Share(version, nodes, of) for name, version, nodes in most if 2 * nodes > of}
