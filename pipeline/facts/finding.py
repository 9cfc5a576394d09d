"""What drift is said in. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")
"""Data or the node's identity is at stake; the node is not what the inventory says; good to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One way in which a node is not what it should be.

    `kind` is file, mount, longhorn, kernel, k3s, containerd, runc, package, card, hostname or address, and
    `subject` which of these: a path, a package. Both with the node tell one finding from another, now and at
    the next look. `advice` is what to do. `expected` and `found` may be a stranger's words.
    """

    node: str
    kind: str
    subject: str
    severity: Severity
    expected: str
    found: str
    advice: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is about."""
        return self.node, self.kind, self.subject

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)
