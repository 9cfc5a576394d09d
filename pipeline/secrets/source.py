"""The port to where nodes' secrets are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ..errors import MetisError
from .secret import Secret


@dataclass(frozen=True, slots=True)
class NodeSecrets:
    """The secrets of one node, by name (`k3s_token`, `extra.machine_id`), and the version of them all.

    A version says nothing of the values, and changes whenever one of them does; it is empty where there is
    nothing yet.
    """

    values: Mapping[str, Secret]
    version: str


class ConflictError(MetisError):
    """Somebody else wrote the same node's secrets meanwhile: read them again."""


class SecretSource(Protocol):
    """Keeps the secrets of nodes. All methods raise SourceError where it cannot be reached."""

    @property
    def name(self) -> str:
        """What kind of source it is: versions of one kind mean nothing to another."""

    def place(self, node: str) -> str:
        """Where an operator puts a node's secrets, in words for a message."""

    def version(self, node: str) -> str:
        """The version of a node's secrets as they are now, without reading them where that can be avoided."""

    def read(self, node: str) -> NodeSecrets:
        """A node's secrets; none of them where the source does not know the node."""

    def add(self, node: str, missing: Mapping[str, Secret], version: str) -> None:
        """Put in what is missing; nothing that is there is changed.

        Raises ConflictError, with nothing written, where the node's secrets are not of this version any more.
        """
