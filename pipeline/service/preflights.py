"""Whether there is a cluster that could be asked about a node, and what it said. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .asking import Answer

_CLUSTER = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST")
"""The file by which kubectl reaches one, and what every pod of one is told."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question: `verdict` is ok, refused, or that nobody can tell; `advice` may be empty."""

    name: str
    verdict: str
    found: str
    advice: str


@dataclass(frozen=True, slots=True)
class Preflight:
    """What came of asking; None for `refused` where there is no answer, and `complaints` say why."""

    refused: bool | None
    checks: tuple[Check, ...]
    complaints: tuple[str, ...]


def can_ask(environment: Mapping[str, str]) -> bool:
    """Whether a cluster is named."""
    return any(environment.get(name) for name in _CLUSTER)


def preflight(answer: Answer) -> Preflight:
    """What `metis preflight --json` said; its error line repeats what the checks say where there are any."""
    data = answer.data
    if not isinstance(data, Mapping):
        return Preflight(None, (), answer.complaints)
    checks = tuple(map(_check, data.get("checks", ())))
    return Preflight(bool(data.get("refused")), checks, () if checks else answer.complaints)


def _check(data: Mapping[str, Any]) -> Check:
    return Check(*(str(data.get(name) or "") for name in ("check", "verdict", "found", "advice")))
