"""The checksum files that publishers put beside their images, as sha256sum(1) and its kin write them. Pure.

A list is a stranger's: a line of another form says nothing, and where two lines disagree there is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...errors import MismatchError

LONGEST = 1 << 20
"""Bytes of a list; a line takes some hundred."""

_HASH = "(?P<hash>[0-9A-Fa-f]{64})"
# A backslash before the line says that the name's own backslashes and line ends are escaped.
_FORMS = (
    re.compile(rf"(?P<escaped>\\?){_HASH}[ \t][ *]?(?P<name>.+)"),
    re.compile(rf"(?P<escaped>\\?)SHA256 ?\((?P<name>.+)\) ?= ?{_HASH}"),
)
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPES = {"\\": "\\", "n": "\n", "r": "\r"}


def listed(text: bytes, name: str) -> str:
    """The SHA-256, in lower case, that a list names for the file of this base name.

    Folders before a name do not count. A list that is one hash and nothing else is taken for this file's.
    Raises MismatchError where the file is not listed, is listed with two hashes, or there is no list.
    """
    if len(text) > LONGEST:
        raise MismatchError(f"the checksums for {name} are larger than {LONGEST} bytes", _HINT)
    lines = text.decode("utf-8", "surrogateescape").split("\n")
    alone = re.fullmatch(rf"\s*{_HASH}\s*", "\n".join(lines))
    if alone:
        return alone["hash"].lower()
    entries = list(_entries(lines))
    if not entries:
        raise MismatchError(f"the checksums for {name} are no list of SHA-256 hashes", _HINT)
    found = {sha256 for base, sha256 in entries if base == name}
    if not found:
        raise MismatchError(f"the checksums do not list {name}", _HINT)
    if len(found) > 1:
        raise MismatchError(f"the checksums list {name} with {len(found)} different hashes", _HINT)
    return found.pop()


_HINT = "check which file the publisher has beside the image"


def _entries(lines: list[str]) -> Iterator[tuple[str, str]]:
    """The base name and the hash of each line that has both."""
    for line in lines:
        match = next(filter(None, (form.fullmatch(line.removesuffix("\r")) for form in _FORMS)), None)
        name = match and (_unescaped(match["name"]) if match["escaped"] else match["name"])
        if match and name:
            yield name.rpartition("/")[2], match["hash"].lower()


def _unescaped(name: str) -> str:
    """A name without its escapes; empty where one of them means nothing."""
    if any(escape not in _ESCAPES for escape in _ESCAPE.findall(name)):
        return ""
    return _ESCAPE.sub(lambda escape: _ESCAPES[escape[1]], name)
