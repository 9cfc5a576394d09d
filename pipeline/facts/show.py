"""An overview of nodes in words for people, and as plain data for machines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ..amounts import counted, duration, sized
from ..errors import one_line
from ..tables import columns
from ..wording import few
from .agreed import WATCHED, Share
from .finding import SEVERITIES, Finding
from .overview import ClassView, Overview, has_package, majority, runs
from .snapshot import VERSIONS, Snapshot

TOLD = 20
"""So many findings of a class are told, the gravest."""
LONGEST = 80
"""Characters of a stranger's word in a table."""
INDENT = "  "
NOT_COMPARED = "not compared: this is older than --since, or the inventory makes no sense of the node"

Row = tuple[str, ...]


# --------------------------------------------------------------------------------------- all classes


def overview_text(overview: Overview, now: datetime) -> str:
    """A table for each class: what its nodes run, how many agree, who does not, and what is to be done."""
    parts = [_class_text(view, now) for view in overview.classes]
    if overview.strangers:
        parts.append(f"not in the inventory: {_names(overview.strangers)}\n")
    return "\n".join(parts)


def _class_text(view: ClassView, now: datetime) -> str:
    heard = f"{len(view.seen)} of {counted(len(view.nodes), 'node')} heard of"
    lines = [f"{view.name}: {heard}", *_indented(columns([*_version_rows(view), *_package_rows(view)]))]
    lines += _indented(_silent(view.silent, now))
    lines += _indented(_failed(view.seen))
    lines += _indented(_drift(view))
    return "".join(f"{line}\n" for line in lines)


def _version_rows(view: ClassView) -> Iterator[Row]:
    for name in VERSIONS:
        if groups := runs(view.seen, name):
            yield _row(name, groups)


def _package_rows(view: ClassView) -> Iterator[Row]:
    """The watched packages that a node has, and of the others those that are not the same everywhere."""
    for name in sampled(view):
        yield _row(name, has_package(view.seen, name))


def sampled(view: ClassView) -> tuple[str, ...]:
    """The packages that stand for all of a class's: those that are watched, as far as a node has them."""
    told = [each.packages for each in view.seen.values() if each.packages is not None]
    return tuple(name for name in WATCHED if any(name in packages for packages in told))


def _row(name: str, groups: Mapping[str, Sequence[str]]) -> Row:
    most = majority(groups)
    others = {version: nodes for version, nodes in groups.items() if version != most}
    said = "; ".join(f"{_cut(version) or 'none'}: {_names(nodes)}" for version, nodes in others.items())
    if most is None:
        return name, "no majority", "", said
    return name, _cut(most) or "none", f"{len(groups[most])} of {sum(map(len, groups.values()))}", said


def _silent(silent: Mapping[str, datetime | None], now: datetime) -> Iterator[str]:
    if silent:
        said = (f"{name} ({_ago(at, now)})" for name, at in sorted(silent.items()))
        yield f"silent: {few(list(said))}"


def _failed(seen: Mapping[str, Snapshot]) -> Iterator[str]:
    for name, each in sorted(seen.items()):
        if each.failed_units:
            yield f"failed units: {name}: {few([_cut(unit) for unit in each.failed_units])}"


def _drift(view: ClassView) -> Iterator[str]:
    if view.not_compared:
        yield f"not compared, as the inventory makes no sense of it: {_names(view.not_compared)}"
    if len(view.not_compared) < len(view.seen) and not view.findings:
        yield "no drift"
    yield from findings_text(view.findings[:TOLD])
    more = len(view.findings) - TOLD
    if more > 0:
        yield f"and {counted(more, 'finding')} more: --node shows those of one node, --json all"


def findings_text(findings: Iterable[Finding]) -> Iterator[str]:
    """Findings as lines: how grave, which node, what about it, and what to do."""
    for each in findings:
        about = f"{each.kind} {each.subject}".strip()
        what = f"{about}: expected {_cut(each.expected)}, found {_cut(each.found)}"
        yield f"{each.severity}  {each.node}  {one_line(what)}: {each.advice}"


def overview_data(overview: Overview, now: datetime, skipped: Sequence[str]) -> dict[str, Any]:
    """The same for machines."""
    return {
        "at": stamp(now),
        "classes": {view.name: _class_data(view) for view in overview.classes},
        "strangers": list(overview.strangers),
        "skipped": list(skipped),
    }


def _class_data(view: ClassView) -> dict[str, Any]:
    versions = {name: runs(view.seen, name) for name in VERSIONS}
    packages = {name: has_package(view.seen, name) for name in sampled(view)}
    return {
        "nodes": list(view.nodes),
        "seen": {name: stamp(each.at) for name, each in sorted(view.seen.items())},
        "silent": {name: at and stamp(at) for name, at in sorted(view.silent.items())},
        "not_compared": sorted(view.not_compared),
        "versions": _tallies(versions, view.agreed.versions),
        "packages": _tallies(packages, view.agreed.packages),
        "failed_units": {
            name: list(each.failed_units) for name, each in view.seen.items() if each.failed_units
        },
        "findings": [finding.to_data() for finding in view.findings],
        "drift": {level: sum(each.severity == level for each in view.findings) for level in SEVERITIES},
    }


def _tallies(
    groups: Mapping[str, Mapping[str, Sequence[str]]], shares: Mapping[str, Share]
) -> dict[str, dict[str, Any]]:
    """By name the version that most run, the one that the healthy agree on, and who runs which."""
    return {
        name: {
            "majority": majority(found),
            "agreed": shares[name].version if name in shares else None,
            "nodes": {version: list(nodes) for version, nodes in found.items()},
        }
        for name, found in groups.items()
        if found
    }


# ------------------------------------------------------------------------------------------- one node


def node_text(snapshot: Snapshot, findings: Sequence[Finding] | None, now: datetime) -> str:
    """One node in full, but for its packages, of which there are too many to read.

    No `findings` at all means that it was not compared.
    """
    rows = [(name, _cut(value)) for name, value in _facts(snapshot, now)]
    lines = [f"{snapshot.node}: {_ago(snapshot.at, now)}", *_indented(columns(rows))]
    if findings is None:
        lines += _indented([NOT_COMPARED])
    else:
        lines += _indented(findings_text(findings) if findings else ["no drift"])
    return "".join(f"{line}\n" for line in lines)


def _facts(snapshot: Snapshot, now: datetime) -> Iterator[tuple[str, str]]:
    raw = snapshot.raw
    yield "snapshot", f"{stamp(snapshot.at)} {snapshot.id}"
    yield from (
        (name, str(raw[name])) for name in ("hostname", "arch", "board", "machine_id_hash") if name in raw
    )
    if snapshot.os_name:
        yield "os", snapshot.os_name
    yield from snapshot.versions.items()
    if snapshot.memory:
        yield "memory", sized(snapshot.memory)
    if snapshot.uptime is not None:
        yield "up for", duration(snapshot.uptime)
    yield from (("address", f"{item['address']} {item['interface']}") for item in raw.get("addresses", ()))
    yield from (("mount", f"{item.path} {item.source} {item.uuid}") for item in snapshot.mounts or ())
    yield from (("longhorn disk", f"{path} {uuid}") for path, uuid in snapshot.longhorn_disks.items())
    yield from (("disk", _disk(item)) for item in raw.get("disks", ()))
    if "journal_bytes" in raw:
        yield "journal", sized(int(raw["journal_bytes"]))
    if "cmdline" in raw:
        yield "cmdline", raw["cmdline"]
    if snapshot.card_class:
        yield "card", f"of class {snapshot.card_class}, burned {snapshot.burned_at or 'nobody knows when'}"
    if snapshot.packages is not None:
        yield "packages", str(len(snapshot.packages))
    if snapshot.files is not None:
        yield "managed files", str(len(snapshot.files))
    yield from (("failed unit", unit) for unit in snapshot.failed_units)
    yield from (("not known", gap) for gap in snapshot.gaps)
    if raw.get("dropped"):
        yield "dropped", f"{counted(int(raw['dropped']), 'snapshot')} for which its spool had no room"


def _disk(item: Mapping[str, Any]) -> str:
    wear = item.get("wear", {})
    worn = [f"{wear['life_used']}% of its life used"] if "life_used" in wear else []
    worn += [f"reserve {wear['reserve']}"] if "reserve" in wear else []
    return ", ".join([f"{item['name']} {sized(int(item['size']))} {item.get('model', '')}".rstrip(), *worn])


def node_data(snapshot: Snapshot, findings: Sequence[Finding] | None) -> dict[str, Any]:
    """The same for machines: all that the node said, and the drift; null where it was not compared."""
    found = None if findings is None else [finding.to_data() for finding in findings]
    return {"snapshot": dict(snapshot.raw), "findings": found}


# ----------------------------------------------------------------------------------------- one package


def package_text(overview: Overview, name: str) -> str:
    """By class, which nodes have which version of a package."""
    rows = [
        (view.name, _cut(version) or "none", str(len(nodes)), _names(nodes))
        for view in overview.classes
        for version, nodes in has_package(view.seen, name).items()
    ]
    return "".join(f"{line}\n" for line in columns([("class", name, "nodes", ""), *rows]))


def package_data(overview: Overview, name: str) -> dict[str, Any]:
    """The same for machines; a node that has not the package is beneath the empty version."""
    return {
        view.name: {version: list(nodes) for version, nodes in has_package(view.seen, name).items()}
        for view in overview.classes
    }


# -------------------------------------------------------------------------------------------- in words


def stamp(at: datetime) -> str:
    """A time as ISO 8601 has it, to the second."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _ago(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "never heard of"
    seconds = (now - at).total_seconds()
    return f"{duration(seconds)} ago" if seconds >= 0 else "its clock is ahead"


def _names(names: Sequence[str]) -> str:
    return few(sorted(names))


def _cut(text: str) -> str:
    """A stranger's word as a terminal may show it."""
    return one_line(text, LONGEST)


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"{INDENT}{line}" for line in lines]
