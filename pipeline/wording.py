"""How places and values are named in messages, so that no message is long, hostile or leaks a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from .errors import cut

MAX_SHOWN = 60
"""Characters of a found value that a message repeats."""

NAMED = 5
"""So many of a list are named one by one."""

_PRIVATE = re.compile(r"PRIVATE KEY|AGE-SECRET-KEY-")


def dotted(path: Iterable[str | int]) -> str:
    """Name a place in a document: `network.nameservers[1]`."""
    parts = (f"[{step}]" if isinstance(step, int) else f".{_plain(step)}" for step in path)
    return "".join(parts).removeprefix(".")


def shown(value: object) -> str:
    """Name a value that was found: quoted and shortened; a map or list by its kind.

    What looks like a private key, or a password or token within an address, is not repeated.
    """
    if isinstance(value, str):
        if is_private(value):
            return "a private key"
        return f'"{_plain(_mask(value))}"'
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, list | tuple):
        return "a list"
    return "nothing" if value is None else json.dumps(value)


def is_private(text: str) -> bool:
    """Whether a text looks as if it held a private key."""
    return _PRIVATE.search(text) is not None


def few(words: Sequence[str]) -> str:
    """The first of some words, and how many more there are."""
    more = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f" and {more} more" if more > 0 else "")


def masked(source: str) -> str:
    """Name a source: an address without credentials and without its query, which may carry a token."""
    parts = urlsplit(source)
    if parts.netloc:
        query = "?…" if parts.query else ""
        host = parts.netloc.rpartition("@")[2]
        source = SplitResult(parts.scheme, host, parts.path, "", "").geturl() + query
    return "".join(character if character.isprintable() else "?" for character in source)


def _mask(text: str) -> str:
    """Hide what stands before the last @ of a word with a colon or a slash in it, as in https://me:secret@host.

    Of a web address, what follows the ? is hidden too.
    """
    return " ".join(_mask_word(word) for word in text.split(" ")) if "@" in text or "?" in text else text


def _mask_word(word: str) -> str:
    before, at, after = word.rpartition("@")
    if {":", "/"} & set(before):
        word = f"***{at}{after}"
    address, mark, _ = word.partition("?")
    return f"{address}?…" if mark and ("://" in address or "***@" in address) else word


def _plain(text: str) -> str:
    """Escape what a terminal would obey, and cut what is too long."""
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in cut(text, MAX_SHOWN))
