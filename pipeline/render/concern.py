"""What a concern is: what it makes of a node, what it finds wrong, and what only it decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ..model import Fault, Renderer, ResolvedNode

Check = Callable[[ResolvedNode], Iterator[Fault]]
"""Finds what would fail only on the node, in merged values that each fit their schema."""


def nothing(_node: ResolvedNode) -> Iterator[Fault]:
    """The check of what has no faults but those that its schema finds."""
    yield from ()


@dataclass(frozen=True, slots=True)
class Owned:
    """What nobody but one concern decides on a node.

    `strays` are paths where a file that no entry explains changes what the node is, and how; `boot_strays`
    those of the boot partition. `paths` are further ones of the root that cloud-init may not write to. A path
    stands for what is beneath it too; `*` is within a name, and `**` in `paths` is any number of names.
    `keys` are those of cloud-init's user-data that would undo what the inventory says, and where it is said.
    """

    strays: Mapping[str, str] = field(default_factory=dict)
    boot_strays: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Concern:
    """One part of what a node is: what it puts into the image, finds wrong beforehand, and owns."""

    render: Renderer
    check: Check = nothing
    owned: Owned = Owned()
