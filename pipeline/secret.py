"""A secret value that nobody prints by accident, and what may be said of one."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any, NoReturn

from .errors import MetisError

MASK = "***"


class Secret:
    """A text that shows itself as `***` and cannot be pickled; `reveal` gives it to those who mean it.

    What writes an object down (pickle, copyreg, yaml, json) asks it for its state, and finds none to have.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self._text), _bytes(other._text))

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _memo: object) -> Secret:
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret is never written down")

    def __reduce__(self) -> NoReturn:
        self.__getstate__()

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:  # noqa: ANN401 - pickle's
        self.__getstate__()


def _bytes(text: str) -> bytes:
    """Any text as bytes: half a character, as hostile JSON may have it, is no reason to show the rest."""
    return text.encode(errors="surrogatepass")


@dataclass(frozen=True, slots=True)
class SecretState:
    """One of the node's secrets by its name, and what there is of it; never its value.

    `state` is there, will be made, missing, malformed, shared (with another node), none (the node does
    without) or not checked. With a `fault` no image can be built.
    """

    name: str
    state: str
    detail: str = ""
    fault: MetisError | None = None
