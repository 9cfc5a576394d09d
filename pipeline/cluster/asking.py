"""Single objects and whole lists of a cluster, and what is amiss with the answers to what was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import TypeVar

from ..errors import SourceError
from ..wording import shown
from .faults import strange
from .transport import PATIENCE, Reply, Transport, Value

PAGE = 100
MOST_PAGES = 100
"""With PAGE more than the 5,000 nodes of kubernetes.io/docs/setup/best-practices/cluster-large."""
LISTINGS = 3
"""So often a list is begun that changes too quickly for its pages to belong together."""
_Read = TypeVar("_Read")


class _ExpiredError(Exception):
    """The pages of a list are of a state that the server has forgotten (410)."""


def got(transport: Transport, path: str, patience: float = PATIENCE) -> Value | None:
    """One object; None where it is not there."""
    reply = transport.ask("GET", path, patience=patience)
    return None if reply.status == HTTPStatus.NOT_FOUND else whole(transport, reply, f"GET {path}")


def listed(transport: Transport, path: str, query: Mapping[str, str]) -> list[Value]:
    """All objects of a list, page by page."""
    for _ in range(LISTINGS):
        try:
            return list(_pages(transport, path, query))
        except _ExpiredError:
            continue
    raise SourceError(f"{transport.name} forgets GET {path} before it is read", "run again later")


def _pages(transport: Transport, path: str, query: Mapping[str, str]) -> Iterator[Value]:
    token = ""
    for _ in range(MOST_PAGES):
        more = {"continue": token} if token else {}
        reply = transport.ask("GET", path, {**query, "limit": str(PAGE), **more})
        if reply.status == HTTPStatus.GONE and token:
            raise _ExpiredError
        value = whole(transport, reply, f"GET {path}")
        items, token = _page(value)
        if items is None:
            raise strange(transport.name, f"GET {path}")
        yield from items
        if not token:
            return
    raise strange(transport.name, f"GET {path}")


def _page(value: Value) -> tuple[list[Value] | None, str]:
    """The objects of a page, and what leads to the next; no objects where it is no page."""
    items, metadata = value.get("items"), value.get("metadata")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return None, ""
    token = metadata.get("continue") if isinstance(metadata, dict) else None
    return items, token if isinstance(token, str) else ""


def whole(transport: Transport, reply: Reply, about: str) -> Value:
    """What was asked for; raises SourceError for a refusal."""
    if reply.status >= HTTPStatus.BAD_REQUEST:
        raise SourceError(f"{transport.name} refuses {about} ({reply.status}){reply.said}", "see its log")
    return reply.value


def read(transport: Transport, parse: Callable[[Value], _Read], item: Value, what: str) -> _Read:
    """An object as it is understood; raises SourceError where it makes no sense."""
    try:
        return parse(item)
    except ValueError as error:
        what = f"{transport.name} has {what} that makes no sense: see its {shown(str(error))}"
        raise SourceError(what, "look at it with `kubectl get -o yaml`") from None
