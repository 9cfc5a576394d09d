"""What a build will do, said before it is done.

Pure: the facts (what is cached, what receipts say) are gathered by `lab.plan`; here they become a plan, as
data and as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .errors import MetisError
from .manifest_json import kind
from .model import Directory, File, Manifest, Needs, Placed, RemoteFile, ResolvedNode, Symlink
from .render import k3s_state
from .secret import SecretState
from .tables import columns
from .wording import masked


@dataclass(frozen=True, slots=True)
class Found:
    """What is there now: the golden's hash if it is cached, and whether base and image are what they must be.

    `golden_sha256` is None for a golden that is made by a recipe and was not made yet; `cached_files` are
    the hashes of those of the class's files that are in the cache.
    """

    golden_sha256: str | None
    golden_is_cached: bool
    base_is_current: bool
    image_is_current: bool
    cached_files: frozenset[str] = frozenset()
    secrets: tuple[SecretState, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the build does, or leaves as it is."""

    subject: str
    does: str
    detail: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a build of one node will do; `folders` are a card's boot and root, where those are filled."""

    node: ResolvedNode
    steps: tuple[Step, ...]
    in_base: Manifest
    in_image: Manifest
    target: str
    secrets: tuple[SecretState, ...]
    folders: tuple[str, str] | None = None

    @property
    def faults(self) -> tuple[MetisError, ...]:
        """What a build would fail with."""
        return tuple(secret.fault for secret in self.secrets if secret.fault)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What only the golden can bring, and what a build does not fail without."""
        entries = [item.entry for item in (*self.in_base.entries, *self.in_image.entries)]
        brought = {(each.side, each.path) for each in entries if isinstance(each, File | Symlink)}
        return tuple(
            f"nothing that is declared brings {each.path}: the golden must have it, or the class's files"
            for each in entries
            if isinstance(each, Needs) and each.optional and (each.side, each.path) not in brought
        )


def make(
    node: ResolvedNode, source: str, in_base: Manifest, in_image: Manifest, found: Found, target: str
) -> Plan:
    """The plan for a node; `source` says where its golden comes from, without a secret."""
    klass = node.klass.name
    base_is_kept = found.base_is_current and found.golden_sha256 is not None
    image_is_kept = base_is_kept and found.image_is_current
    steps = (
        Step(f"golden of {klass}", _fetched(found.golden_is_cached, needed=not base_is_kept), source),
        *(_file(item, found, needed=not base_is_kept) for item in node.klass.files),
        Step(f"base of {klass}", "keep" if base_is_kept else "build", f"{len(in_base.entries)} entries"),
        *(_file(item, found, needed=not image_is_kept) for item in k3s_state.fetched(node)),
        Step(
            f"image of {node.name}",
            "keep" if image_is_kept else "build",
            f"{len(in_image.entries)} entries, manifest {in_image.id[:12]}",
        ),
    )
    return Plan(node, steps, in_base, in_image, target, found.secrets)


def into_folders(plan: Plan, folders: tuple[str, str], found: Found) -> Plan:
    """The plan of a node whose files go where a card is mounted: no image is built for that."""
    steps = (
        *(_file(item, found, needed=True) for item in plan.node.klass.files),
        *(_file(item, found, needed=True) for item in k3s_state.fetched(plan.node)),
        Step(f"files of {plan.node.klass.name}", "put", f"{len(plan.in_base.entries)} entries"),
        Step(f"files of {plan.node.name}", "put", f"{len(plan.in_image.entries)} entries"),
    )
    return replace(plan, steps=steps, folders=folders)


def _file(item: RemoteFile, found: Found, *, needed: bool) -> Step:
    is_cached = item.sha256 in found.cached_files
    return Step(f"file {item.path}", _fetched(is_cached, needed=needed), masked(item.source))


def _fetched(is_cached: bool, *, needed: bool) -> str:
    if is_cached:
        return "keep"
    return "fetch" if needed else "not needed"


def to_data(plan: Plan) -> dict[str, Any]:
    """The plan as plain data."""
    return {
        "node": plan.node.name,
        "class": plan.node.klass.name,
        "steps": [{"subject": step.subject, "does": step.does, "detail": step.detail} for step in plan.steps],
        "secrets": [
            {"name": secret.name, "state": secret.state, "detail": secret.detail} for secret in plan.secrets
        ],
        "warnings": list(plan.warnings),
        "manifest": plan.in_image.id,
        "base": [_row(item) for item in plan.in_base.entries],
        "image": [_row(item) for item in plan.in_image.entries],
        "writes": list(_written(plan)),
    }


def _written(plan: Plan) -> tuple[str, ...]:
    if plan.folders:
        return plan.folders
    return plan.target, f"{plan.target}.bmap", f"{plan.target.removesuffix('.img')}.receipt.json"


def to_text(plan: Plan) -> str:
    """The plan for people."""
    return "\n".join(_lines(plan)) + "\n"


def table(in_base: Manifest, in_image: Manifest) -> list[str]:
    """What is in a base and in an image, under a title each.

    A line for each entry: kind, mode, owner, side, path, and the layer that it comes from.
    """
    lines = []
    for title, manifest in (("in the base", in_base), ("in the image", in_image)):
        lines += [f"{title}:", *(f"  {line}" for line in _entries(manifest))]
    return lines


def _entries(manifest: Manifest) -> list[str]:
    cells = []
    for row in map(_row, manifest.entries):
        owner = row["owner"] and f"{row['owner']}:{row['group']}"
        cells.append((row["kind"], row["mode"], owner, row["on"], row["path"], row["layer"]))
    return list(columns(cells)) or ["nothing"]


def _lines(plan: Plan) -> Iterator[str]:
    yield f"{plan.node.name} ({plan.node.klass.name})"
    steps = columns([(step.does, step.subject, step.detail) for step in plan.steps])
    yield from (f"  {line}" for line in steps)
    if plan.secrets:
        yield "  secrets:"
        states = columns([(secret.name, secret.state, secret.detail) for secret in plan.secrets])
        yield from (f"    {line}" for line in states)
    yield from (f"  warning: {line}" for line in plan.warnings)
    yield from (f"  {line}" for line in table(plan.in_base, plan.in_image))
    if plan.folders:
        yield f"  writes files below {' and '.join(plan.folders)}, and no device"
    else:
        yield f"  writes {plan.target}, its block map and its receipt"


def _row(item: Placed) -> dict[str, str]:
    entry = item.entry
    owned = entry if isinstance(entry, File | Directory) else None
    return {
        "kind": kind(entry),
        "on": entry.side,
        "path": entry.path,
        "mode": f"{owned.mode:04o}" if owned else "",
        "owner": owned.owner if owned else "",
        "group": owned.group if owned else "",
        "layer": item.layer,
    }
