"""What a manifest only names, and what is needed to put it in: blobs, secrets, facts of the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import MetisError
from ..model import Blob, ImageFact, Reveal, SecretRef, Value

OpenBlob = Callable[[Blob], BinaryIO]
"""Gives the bytes of a blob; raises MismatchError where they are not those that its hash names."""


def no_secrets(ref: SecretRef) -> bytes:
    """Reveal nothing: what is shared by nodes has no secrets."""
    raise MetisError(f"{ref.name} is a secret of one node", "it cannot be in what several nodes share")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the values come from that a manifest names; `facts` are of the image that is open."""

    open_blob: OpenBlob
    reveal: Reveal
    facts: Mapping[str, str]

    def text(self, value: Value) -> str:
        """An edit's argument."""
        match value:
            case SecretRef():
                return self.reveal(value).decode()
            case ImageFact(name):
                if name not in self.facts:
                    raise MetisError(f"the image has no {name}", "it lacks the partition for it")
                return self.facts[name]
            case str():
                return value
