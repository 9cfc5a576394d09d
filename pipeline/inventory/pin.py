"""One value of a YAML file replaced in its text: whatever else its author wrote stays, to the byte.

What is edited is the text, never data written out anew: comments, order and line ends are the author's.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from ..errors import InventoryError
from ..wording import dotted, shown
from .builder import Keys
from .composed import by_hand, composed, refuse_block, refuse_shared, values_of
from .document import parse
from .spelling import spellings

if TYPE_CHECKING:
    import yaml

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_ORDINARY = re.compile(r"[A-Za-z0-9._+/-]+")
_ODD = re.compile(r'[^ -~]|["\\]')


def repinned(text: str, path: Keys, old: str, new: str) -> str:
    """Give the text of a YAML file with the scalar at a path replaced by `new`, quoted as the old one was.

    Raises InventoryError for what is no YAML of an inventory, MetisError where the value is not `old`, or is
    one that more than one place or line shares: an anchor, an alias, a block.
    """
    parse(text, dotted(path))  # within its limits nothing below is too deep, too large or there twice
    node = _scalar(text, path)
    if node.value != old:
        raise by_hand(path, f"is {shown(node.value)}, and not {shown(old)}")
    before, after = text[: node.start_mark.index], text[node.end_mark.index :]
    for written in spellings(node.style, new):
        changed = f"{before}{written}{after}"
        if _reads(changed, path) == new:
            return changed
    raise by_hand(path, f"cannot become {shown(new)}")


def diff(file: str, before: str, after: str) -> str:
    r"""The change of a file as `diff -u` and git show it; `git apply` takes it where `file` is relative to.

    Only \n ends a line, as in git; what else Python splits at is a character like any other.
    """
    old, new = (_quoted(f"{side}/{file}") for side in "ab")
    lines = difflib.unified_diff(_LINE.findall(before), _LINE.findall(after), old, new, n=1)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _quoted(name: str) -> str:
    """A file's name in a patch; one that is more than letters, digits and ._-+/ as C would write it."""
    if _ORDINARY.fullmatch(name):
        return name
    written = name.encode("utf-8", "surrogateescape").decode("latin-1")
    return '"' + _ODD.sub(lambda found: f"\\{ord(found[0]):03o}", written) + '"'


def _scalar(text: str, path: Keys) -> yaml.ScalarNode:
    """The node of a value that stands once, where its keys lead."""
    node = composed(text, path)
    for step in path:
        found = values_of(node, path).get(str(step))
        if found is None:
            raise by_hand(path, "is not there")
        refuse_shared(found, text, path)
        node = found
    return refuse_block(node, path)


def _reads(text: str, path: Keys) -> object:
    try:
        value: object = parse(text, dotted(path)).data
    except InventoryError:
        return None
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value
