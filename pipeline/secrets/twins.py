"""What must be one node's alone and is two nodes': mostly a file of secrets that was copied for a new node.

With one machine id two nodes get one address (DHCP), with one iSCSI name one's volumes are the other's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from ..errors import SecretError
from ..secret import Secret
from .identity import MAKERS
from .password import SALT
from .source import SecretSource

UNIQUE = MAKERS.keys() - {SALT}


def refuse_shared(place: str, values: Mapping[str, Secret]) -> None:
    """Raise SecretError where what all nodes share at `place` has what is one node's alone."""
    misplaced = sorted(values.keys() & UNIQUE)
    if misplaced:
        raise SecretError(
            f"{place} has {', '.join(misplaced)}, which no two nodes may share",
            "move it to the node whose it is",
        )


class Twins:
    """Knows the identities of all `nodes` that are at hand here, as they were when somebody first asked."""

    def __init__(self, source: SecretSource, nodes: Iterable[str]) -> None:
        self._source = source
        self._nodes = tuple(nodes)

    def fault(self, node: str, name: str, value: Secret) -> SecretError | None:
        """What is wrong where another node has the same value under the name of one of its secrets."""
        others = [other for other in self._owners.get((name, _plain(value)), ()) if other != node]
        if not others:
            return None
        return SecretError(
            f"{name} of {node} is that of {', '.join(others)} too",
            f"take it out of {self._source.place(node)} if it is not this node's own: a new one is made",
        )

    @cached_property
    def _owners(self) -> Mapping[tuple[str, Secret], list[str]]:
        owners: dict[tuple[str, Secret], list[str]] = {}
        for node in self._nodes:
            for name, value in self._source.known(node).items():
                if name in UNIQUE:
                    owners.setdefault((name, _plain(value)), []).append(node)
        return owners


def _plain(value: Secret) -> Secret:
    return Secret(value.reveal().strip())
