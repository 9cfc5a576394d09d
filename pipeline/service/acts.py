"""A request as a line of the audit: what was asked of what, without anything secret."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from ..history.audit import Act
from ..secret import MASK

_SECRET = frozenset({"token", "link"})
"""Parts of a path that let somebody in."""
_LINKS = "/imager/"


BEGUN = "begun"
"""The outcome of what goes on, and of what was cut off."""


def begun(scope: Mapping[str, Any], who: str, origin: str) -> Act:
    """The line for a request that is about to be answered; no route has taken it yet."""
    return Act(who, scope["method"], _masked(scope["path"]), BEGUN, origin)


def act(scope: Mapping[str, Any], who: str, status: int, origin: str) -> Act:
    """The line for a request that was answered; by the name of its route, where one took it."""
    route = getattr(scope.get("route"), "path", "")
    if route:
        what = f"{scope['method']} {route}"
        parts = {name: MASK if name in _SECRET else value for name, value in _parts(scope).items()}
        target = " ".join(f"{name}={value}" for name, value in parts.items())
    else:
        what, target = scope["method"], _masked(scope["path"])
    remark = scope.get("state", {}).get("remark", "")
    return Act(who, what, " ".join(filter(None, (target, remark))), _outcome(status), origin)


def _parts(scope: Mapping[str, Any]) -> Mapping[str, object]:
    found: Mapping[str, object] = scope.get("path_params") or {}
    return found


def _masked(path: str) -> str:
    """A path that no route took, without the link that may be in it."""
    if not path.lower().startswith(_LINKS):
        return path
    _, slash, rest = path[len(_LINKS) :].partition("/")
    return f"{_LINKS}{MASK}{slash}{rest}"


def _outcome(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
