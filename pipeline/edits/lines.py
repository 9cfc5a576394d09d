"""Text as lines, and what every edit is called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Arguments = Mapping[str, str]

EditFunction = Callable[[str, Arguments, str], str]
"""From the old text, the arguments and the file's path (for errors) to the new text.

It leaves alone what it was not asked to change, and applied twice it changes nothing more.
"""


def lines(text: str) -> list[str]:
    """Lines as the C library reads them: ended by a newline and nothing else, unlike str.splitlines."""
    return text.removesuffix("\n").split("\n") if text else []


def joined(found: list[str]) -> str:
    """The lines as a text, each with its end."""
    return "".join(f"{line}\n" for line in found)
