"""What a form of a secret is called with, and what it says of one that cannot have the form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import SecretError
from ..secret import Secret


@dataclass(frozen=True, slots=True)
class Given:
    """What a form is called with: the node, the secret's name, and all secrets of the node by name."""

    node: str
    name: str
    values: Mapping[str, Secret]

    @property
    def is_there(self) -> bool:
        """Whether the secret has a value."""
        return self.name in self.values

    @property
    def text(self) -> str:
        """The value; raises MetisError where there is none."""
        return self.other(self.name)

    def other(self, name: str) -> str:
        """The value of another secret of the node."""
        if name not in self.values:
            raise SecretError(f"{name} of {self.node} is missing", "put it with the node's secrets")
        return self.values[name].reveal()

    def unfit(self, expected: str, hint: str = "") -> SecretError:
        """The error that says what was expected, and not what was found."""
        return SecretError(f"{self.name} of {self.node} is not {expected}", hint)
