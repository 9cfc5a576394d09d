"""One node for a while: what it is now, and each change, whatever becomes of connections and servers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from time import monotonic, sleep

from . import objects
from .asking import got, read
from .faults import UnreachableError, strange
from .port import Node
from .transport import CONNECT, Transport

WATCH = 30.0
"""Seconds of one watch: so long a server that has vanished without a word is waited for."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
"""Seconds between two watches that brought nothing."""
_NODES = "/api/v1/nodes"
_KINDS = frozenset("ADDED MODIFIED DELETED BOOKMARK ERROR".split())


def watched(transport: Transport, name: str, seconds: float) -> Iterator[Node | None]:
    """What `Cluster.watch` promises; `name` may stand in a path."""
    until, pause = monotonic() + seconds, FIRST_PAUSE
    told: list[Node | None] = []
    while True:
        began = monotonic()
        failed: UnreachableError | None = None
        try:
            for node in _once(transport, name, until):
                if told != [node]:
                    told = [node]
                    yield node
        except UnreachableError as error:
            failed = error
        left = until - monotonic()
        if left <= 0:
            if failed and not told:
                raise failed
            return
        # Who ends each watch at once is not asked without a pause.
        pause = FIRST_PAUSE if monotonic() - began > pause else min(2 * pause, LONGEST_PAUSE)
        sleep(min(pause, left))


def _once(transport: Transport, name: str, until: float) -> Iterator[Node | None]:
    """A node as it is now, and what one watch from there brings."""
    item = got(transport, f"{_NODES}/{name}", max(until - monotonic(), 0.0))
    now = None if item is None else read(transport, objects.node, item, f"the node {name}")
    yield now
    left = until - monotonic()
    if left <= 0:
        return
    query = {
        "watch": "true",
        "fieldSelector": f"metadata.name={name}",
        "timeoutSeconds": str(math.ceil(min(left, WATCH))),
        # Without a version it begins with what is there by then: nothing is missed of what was not.
        **({"resourceVersion": now.handle.version} if now else {}),
    }
    for event in transport.lines(_NODES, query, min(left, WATCH + CONNECT)):
        item, kind = event.get("object"), event.get("type")
        if not isinstance(item, dict) or kind not in _KINDS:
            raise strange(transport.name, f"GET {_NODES}")
        if kind == "ERROR":  # as 410: what was since then is forgotten, so it is looked at anew
            return
        if kind != "BOOKMARK" and read(transport, objects.name, item, "a node") == name:
            yield None if kind == "DELETED" else read(transport, objects.node, item, f"the node {name}")
