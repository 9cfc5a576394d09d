"""What there is of nodes' secrets, for people and for machines: names, places, versions and ages.

Pure, and without a value: what is kept where was found out by `status`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..amounts import duration
from ..errors import MetisError
from ..secret import SecretState
from ..tables import columns


@dataclass(frozen=True, slots=True)
class Kept:
    """One document of secrets: where it is and of which version, empty where there is none yet.

    `changed` is when that version was written (ISO 8601, UTC), and `age` the seconds since then; both are
    None where the source does not tell.
    """

    place: str
    version: str
    changed: str | None = None
    age: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A secret that the node needs: its state, and whose document it comes from, if any has it."""

    state: SecretState
    owner: Literal["node", "cluster"] | None
    hides_shared: bool = False


@dataclass(frozen=True, slots=True)
class NodeReport:
    """The secrets of one node. `unused` are names in its own document that its card would not carry.

    `error` says why nothing could be read; there are no versions then.
    """

    node: str
    source: str
    own: Kept
    shared: Kept
    rows: tuple[Row, ...]
    unused: tuple[str, ...] = ()
    error: MetisError | None = None

    @property
    def faults(self) -> tuple[MetisError, ...]:
        """What a build would fail with."""
        found = tuple(row.state.fault for row in self.rows if row.state.fault)
        return (self.error,) if self.error else found


def to_data(report: NodeReport) -> dict[str, Any]:
    """A report as plain data."""
    documents = {"node": report.own, "cluster": report.shared}
    return {
        "node": report.node,
        "source": report.source,
        **asdict(report.own),
        "cluster": asdict(report.shared),
        "secrets": [_row_data(row, documents[row.owner] if row.owner else None) for row in report.rows],
        "unused": list(report.unused),
        "error": str(report.error) if report.error else None,
    }


def _row_data(row: Row, document: Kept | None) -> dict[str, Any]:
    return {
        "name": row.state.name,
        "state": row.state.state,
        "detail": row.state.detail,
        "from": row.owner,
        "hides_shared": row.hides_shared,
        "version": document.version if document else None,
        "changed": document.changed if document else None,
        "age": document.age if document else None,
    }


def to_text(report: NodeReport) -> str:
    """A report for people."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: NodeReport) -> Iterator[str]:
    yield f"{report.node}: {_about(report.own, is_known=report.error is None)}"
    if report.shared.version:
        yield f"  shared by all nodes: {_about(report.shared)}"
    yield from (f"  {line}" for line in columns([_cells(row) for row in report.rows]))
    if report.unused:
        yield f"  kept but not used: {', '.join(report.unused)}"


def _about(document: Kept, *, is_known: bool = True) -> str:
    if not is_known:
        return f"{document.place}, which could not be read"
    if not document.version:
        return f"{document.place}, nothing there yet"
    age = f", {duration(document.age)} old" if document.age is not None else ""
    return f"{document.place}, version {document.version}{age}"


def _cells(row: Row) -> tuple[str, ...]:
    state, owner = row.state, row.owner
    details = ["instead of the shared one"] * row.hides_shared + [state.detail] * bool(state.detail)
    return state.name, state.state, f"of the {owner}" if owner else "", "; ".join(details)
