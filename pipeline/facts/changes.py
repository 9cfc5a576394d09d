"""What is otherwise since the last look at all nodes. Pure; `history.watches` keeps what was seen then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import one_line
from .finding import Finding
from .overview import Overview, in_order
from .show import findings_text

Key = tuple[str, str, str]
Item = tuple[str, str]
"""A class, and what of it has a target: `kernel`, or `package openssl`."""


@dataclass(frozen=True, slots=True)
class State:
    """What one look at all nodes showed: findings by what they are about, targets, and who is silent."""

    findings: Mapping[Key, Finding] = field(default_factory=dict)
    targets: Mapping[Item, str] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Changed:
    """A finding as it was and as it is."""

    before: Finding
    after: Finding


@dataclass(frozen=True, slots=True)
class Retargeted:
    """What is recommended for a class, and what was; None for nothing."""

    klass: str
    item: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What came, what is otherwise, what is gone; and who fell silent or spoke again."""

    came: tuple[Finding, ...] = ()
    changed: tuple[Changed, ...] = ()
    gone: tuple[Finding, ...] = ()
    targets: tuple[Retargeted, ...] = ()
    fell_silent: tuple[str, ...] = ()
    spoke_again: tuple[str, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "came": [each.to_data() for each in self.came],
            "changed": [
                {"before": each.before.to_data(), "after": each.after.to_data()} for each in self.changed
            ],
            "gone": [each.to_data() for each in self.gone],
            "targets": [
                {"class": each.klass, "item": each.item, "before": each.before, "after": each.after}
                for each in self.targets
            ],
            "fell_silent": list(self.fell_silent),
            "spoke_again": list(self.spoke_again),
        }

    def to_text(self) -> str:
        """A line for each."""
        return "".join(f"{line}\n" for line in self._lines()) or "nothing changed\n"

    def _lines(self) -> Iterator[str]:
        yield from (f"+ {line}" for line in findings_text(self.came))
        yield from (f"~ {line}" for line in findings_text(each.after for each in self.changed))
        for each in self.gone:
            yield f"- {each.severity}  {each.node}  {one_line(f'{each.kind} {each.subject}')}"
        for item in self.targets:
            was, now = item.before or "nothing", item.after or "nothing"
            yield one_line(f"= class {item.klass}: {item.item}: {was} -> {now}")
        yield from (f"? {name} fell silent" for name in self.fell_silent)
        yield from (f"! {name} spoke again" for name in self.spoke_again)


def seen(compared: Overview, wanted: Mapping[str, Mapping[str, Any]], before: State) -> State:
    """The state after a look; `wanted` are targets by class.

    What was found on a node stays found until it is compared again, and what was recommended for a class
    stays until one of its nodes is.
    """
    silent = frozenset(name for view in compared.classes for name in view.silent)
    unknown = silent.union(*(view.not_compared for view in compared.classes))
    mute = {view.name for view in compared.classes if unknown.issuperset(view.nodes)}
    kept = {key: finding for key, finding in before.findings.items() if finding.node in unknown}
    targets = {item: version for item, version in before.targets.items() if item[0] in mute}
    findings = {finding.key: finding for finding in compared.findings}
    return State({**kept, **findings}, {**targets, **dict(_flat(wanted))}, silent)


def _flat(wanted: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Item, str]]:
    for klass, targets in wanted.items():
        for name, value in targets.items():
            if name == "packages":
                yield from (((klass, f"package {package}"), version) for package, version in value.items())
            else:
                yield (klass, name), value


def _said(finding: Finding) -> tuple[str, str, str]:
    """What of a finding is news; how many other nodes run what it is advised to run is none."""
    return finding.severity, finding.expected, finding.found


def changes(before: State, after: State) -> Changes:
    """What is otherwise."""
    both = before.findings.keys() & after.findings.keys()
    differing = in_order(
        after.findings[key] for key in both if _said(before.findings[key]) != _said(after.findings[key])
    )
    items = sorted(before.targets.keys() | after.targets.keys())
    return Changes(
        came=in_order(after.findings[key] for key in after.findings.keys() - both),
        changed=tuple(Changed(before.findings[each.key], each) for each in differing),
        gone=in_order(before.findings[key] for key in before.findings.keys() - both),
        targets=tuple(
            Retargeted(*item, before.targets.get(item), after.targets.get(item))
            for item in items
            if before.targets.get(item) != after.targets.get(item)
        ),
        fell_silent=tuple(sorted(after.silent - before.silent)),
        spoke_again=tuple(sorted(before.silent - after.silent)),
    )
