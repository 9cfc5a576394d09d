"""Names of users and groups as numbers, by the image's own passwd(5) and group(5) after our changes."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import MetisError

_LAST = 0xFFFF_FFFE
"""The highest number of a user; the one after it means "as it is" to chown(2)."""


class Owners:
    """Looks names up; `read` gives the content that a file of the image will have."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._tables: dict[str, dict[str, int]] = {}

    def uid(self, name: str) -> int:
        """The number of a user. Raises MetisError where the image does not know the name."""
        return self._number("/etc/passwd", name)

    def gid(self, name: str) -> int:
        """The number of a group. Raises MetisError where the image does not know the name."""
        return self._number("/etc/group", name)

    def _number(self, table: str, name: str) -> int:
        if name == "root":
            return 0
        number = _as_number(name)
        if number is not None:
            return number
        if table not in self._tables:
            self._tables[table] = _parsed(self._read(table))
        if name not in self._tables[table]:
            raise MetisError(f"{table} in the golden does not know {name!r}", "use a number, or add the name")
        return self._tables[table][name]


def _parsed(content: bytes) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in content.decode(errors="replace").splitlines():
        name, _, number = (*line.split(":")[:3], "", "", "")[:3]
        parsed = _as_number(number)
        if parsed is not None:
            found.setdefault(name, parsed)  # as getpwnam(3): the first line counts
    return found


def _as_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and int(text) <= _LAST else None
