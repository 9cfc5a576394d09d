"""Edits by name: pure functions from the old bytes of a file to the new ones.

A manifest names an edit instead of holding the result, because only the golden knows the rest of the
file. Each function leaves alone what it was not asked to change, and applied twice changes nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .errors import MetisError

Arguments = Mapping[str, str]

VERSION = 1
"""Of what all edits do: counts up when one of them would give other bytes, as manifests only name them."""

NO_LOGIN_BY_PASSWORD = "*"  # noqa: S105 - shadow(5): no password matches it, keys still work
LAST_CHANGE = "19700"
"""Days since 1970 in shadow(5); 0 or nothing would ask for a new password at the first login."""


def apply(name: str, old: bytes, arguments: Arguments, path: str) -> bytes:
    """Apply the edit called `name` to the bytes of the file at `path` (empty where there is none)."""
    try:
        text = old.decode()
    except UnicodeDecodeError:
        raise MetisError(f"cannot edit {path} of the golden", "it is not UTF-8 text") from None
    if name not in EDITS:
        raise MetisError(f"no edit called {name!r} is known", "run again, so that the manifest is made anew")
    return EDITS[name](text, arguments, path).encode()


def hosts(text: str, arguments: Arguments, _path: str) -> str:
    """Make 127.0.1.1 stand for the node's name (hosts(5)); other addresses stay as they are."""
    names = f"127.0.1.1\t{arguments['names']}"
    lines = [line for line in _lines(text) if line.split()[:1] != ["127.0.1.1"]]
    after = next((i + 1 for i, line in enumerate(lines) if line.split()[:1] == ["127.0.0.1"]), 0)
    if after == 0:
        lines.insert(0, "127.0.0.1\tlocalhost")
        after = 1
    return _joined([*lines[:after], names, *lines[after:]])


def passwd(text: str, arguments: Arguments, path: str) -> str:
    """Add a user with a group of the same number, unless the user is there (passwd(5))."""
    user, uid = arguments["user"], arguments["uid"]
    return _with_account(text, path, user, uid, f"{user}:x:{uid}:{uid}::{arguments['home']}:/bin/bash")


def group(text: str, arguments: Arguments, path: str) -> str:
    """Add the user's own group, unless it is there (group(5))."""
    user, uid = arguments["user"], arguments["uid"]
    return _with_account(text, path, user, uid, f"{user}:x:{uid}:")


def shadow(text: str, arguments: Arguments, _path: str) -> str:
    """Add the user without a password, unless there is a line for it (shadow(5))."""
    user = arguments["user"]
    if any(line.split(":")[0] == user for line in _lines(text)):
        return text
    return _joined([*_lines(text), f"{user}:{NO_LOGIN_BY_PASSWORD}:{LAST_CHANGE}:0:99999:7:::"])


def _with_account(text: str, path: str, name: str, number: str, line: str) -> str:
    rows = [old.split(":") for old in _lines(text)]
    if any(fields[0] == name for fields in rows):
        return text
    owner = next((fields[0] for fields in rows if fields[2:3] == [number]), None)
    if owner is not None:
        raise MetisError(
            f"{path} of the golden gives {number} to {owner!r} already",
            f"give {name!r} another number with ssh.uid",
        )
    return _joined([*_lines(text), line])


def _lines(text: str) -> list[str]:
    """Lines as the C library reads them: ended by a newline and nothing else, unlike str.splitlines."""
    return text.removesuffix("\n").split("\n") if text else []


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


EDITS: Mapping[str, Callable[[str, Arguments, str], str]] = {
    "hosts": hosts,
    "passwd": passwd,
    "group": group,
    "shadow": shadow,
}
