"""All nodes at a glance: by class who was heard of, what they run, and how they drift. Pure.

How it is shown is in `show`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from .agreed import Agreed, agreed
from .drift import Burned, is_healthy, own_drift, twins, version_drift
from .expected import Expected
from .finding import SEVERITIES, Finding
from .snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Declared:
    """What is known of the nodes beside their snapshots: by class the nodes, and by node the rest.

    A node of which the inventory makes no sense is in no map but `classes`.
    """

    classes: Mapping[str, Sequence[str]]
    expected: Mapping[str, Expected]
    burned: Mapping[str, Burned]


@dataclass(frozen=True, slots=True)
class ClassView:
    """One class: its snapshots by node, when the others were heard of last, and what came of comparing.

    `not_compared` are nodes that were heard of, and of which the inventory makes no sense. Nothing is agreed
    where the healthy nodes are not more than half of those that were heard of.
    """

    name: str
    nodes: tuple[str, ...]
    seen: Mapping[str, Snapshot]
    silent: Mapping[str, datetime | None]
    not_compared: tuple[str, ...]
    agreed: Agreed
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """All classes, and the nodes of which snapshots speak but the inventory does not."""

    classes: tuple[ClassView, ...]
    strangers: tuple[str, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them, by class."""
        return tuple(finding for klass in self.classes for finding in klass.findings)

    def of_node(self, name: str) -> tuple[Finding, ...] | None:
        """Those of one node; None where it was not compared."""
        is_compared = any(name in view.seen and name not in view.not_compared for view in self.classes)
        return tuple(each for each in self.findings if each.node == name) if is_compared else None


def overview(declared: Declared, snapshots: Mapping[str, Snapshot], since: datetime | None) -> Overview:
    """Compare all nodes; what is older than `since` does not count, and its node is silent."""
    fresh = {name: each for name, each in snapshots.items() if since is None or each.at >= since}
    shared = twins(each for name, each in fresh.items() if name in declared.expected)
    views = tuple(
        _class_view(klass, tuple(nodes), declared, snapshots, fresh, shared)
        for klass, nodes in sorted(declared.classes.items())
    )
    known = {name for nodes in declared.classes.values() for name in nodes}
    return Overview(views, tuple(sorted(snapshots.keys() - known)))


def _class_view(
    klass: str,
    nodes: tuple[str, ...],
    declared: Declared,
    snapshots: Mapping[str, Snapshot],
    fresh: Mapping[str, Snapshot],
    shared: Sequence[Finding],
) -> ClassView:
    seen = {name: fresh[name] for name in nodes if name in fresh}
    silent = {name: snapshots[name].at if name in snapshots else None for name in nodes if name not in fresh}
    own = {
        name: own_drift(each, declared.expected[name], declared.burned.get(name))
        for name, each in seen.items()
        if name in declared.expected
    }
    for finding in shared:
        if finding.node in own:
            own[finding.node] = (finding, *own[finding.node])
    agree = agreed(seen[name] for name, findings in own.items() if is_healthy(seen[name], findings))
    if 2 * agree.voters <= len(seen):
        agree = Agreed(voters=agree.voters)
    findings = [
        finding
        for name, mine in own.items()
        for finding in (*mine, *version_drift(seen[name], declared.expected[name], agree))
    ]
    not_compared = tuple(name for name in seen if name not in own)
    return ClassView(klass, nodes, seen, silent, not_compared, agree, in_order(findings))


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings with the gravest first, each severity by node."""
    return tuple(sorted(findings, key=lambda each: (SEVERITIES.index(each.severity), each.key)))


def runs(snapshots: Mapping[str, Snapshot], name: str) -> dict[str, tuple[str, ...]]:
    """Which nodes run which version of what VERSIONS names, those that most run first."""
    return _grouped((node, each.versions.get(name)) for node, each in snapshots.items())


def has_package(snapshots: Mapping[str, Snapshot], name: str) -> dict[str, tuple[str, ...]]:
    """Which nodes have which version of a package, those that most have first; empty for none."""
    told = ((node, each) for node, each in snapshots.items() if each.packages is not None)
    return _grouped((node, each.package(name) or "") for node, each in told)


def majority(groups: Mapping[str, Sequence[str]]) -> str | None:
    """The version that more than half of the nodes run, of all that were heard of, healthy or not."""
    total = sum(map(len, groups.values()))
    return next((version for version, nodes in groups.items() if 2 * len(nodes) > total), None)


def _grouped(pairs: Iterable[tuple[str, str | None]]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = {}
    for node, version in pairs:
        if version is not None:
            groups.setdefault(version, []).append(node)
    largest = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return {version: tuple(nodes) for version, nodes in largest}
