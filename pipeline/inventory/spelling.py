"""Texts as YAML that is read as just these texts: what looks like a number, a truth or a remark gets quotes.

What reads YAML is `document`, and by it every spelling is tried.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from ..errors import InventoryError
from .document import parse

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+~^-]*")


def spellings(style: str | None, value: str) -> Sequence[str]:
    """How a value can be written, in the style of its place first; plain text may read as something else."""
    single, double = "'" + value.replace("'", "''") + "'", json.dumps(value, ensure_ascii=False)
    return {None: (value, single, double), "'": (single, double)}.get(style, (double,))


def pair(key: str, value: object) -> str:
    """A key and its value within a line."""
    if isinstance(value, Mapping):
        inner = ", ".join(pair(*item) for item in value.items())
        return f"{key_spelt(key)}: {{{inner}}}"
    return f"{key_spelt(key)}: {spelt(str(value))}"


def spelt(value: str, style: str | None = None) -> str:
    """A text as YAML that reads as it anywhere, in maps of either kind."""
    return _first(spellings(_style(style, value), value), "{{k: {}}}", {"k": value})


def key_spelt(key: str) -> str:
    """A key of a map as YAML, likewise."""
    return _first(spellings(_style(None, key), key), "{{{}: ''}}", {key: ""})


def _style(style: str | None, value: str) -> str | None:
    """Whoever reads 1:30 may take it for a time: what is more than a word or a version gets quotes."""
    return style if style or _PLAIN.fullmatch(value) else "'"


def _first(written: Sequence[str], sample: str, wanted: object) -> str:
    """The first that a sample reads well with; the last, which the result will be refused for, if none."""
    return next((each for each in written if _reads(sample.format(each)) == wanted), written[-1])


def _reads(text: str) -> object:
    try:
        return parse(text, "").data
    except InventoryError:
        return None
