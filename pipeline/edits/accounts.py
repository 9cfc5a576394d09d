"""passwd(5), group(5) and shadow(5): an account of the node's own beside those of the golden."""

from __future__ import annotations

from ..errors import MetisError
from .lines import Arguments, joined, lines

NO_LOGIN_BY_PASSWORD = "*"  # noqa: S105 - shadow(5): no password matches it, keys still work
LAST_CHANGE = "19700"
"""Days since 1970 in shadow(5); 0 or nothing would ask for a new password at the first login."""


def passwd(text: str, arguments: Arguments, path: str) -> str:
    """Add a user with a group of the same number, unless the user is there."""
    user, uid = arguments["user"], arguments["uid"]
    return _with_account(text, path, user, uid, f"{user}:x:{uid}:{uid}::{arguments['home']}:/bin/bash")


def group(text: str, arguments: Arguments, path: str) -> str:
    """Add the user's own group, unless it is there."""
    user, uid = arguments["user"], arguments["uid"]
    return _with_account(text, path, user, uid, f"{user}:x:{uid}:")


def shadow(text: str, arguments: Arguments, _path: str) -> str:
    """Add the user without a password, unless there is a line for it."""
    user = arguments["user"]
    if any(line.split(":")[0] == user for line in lines(text)):
        return text
    return joined([*lines(text), f"{user}:{NO_LOGIN_BY_PASSWORD}:{LAST_CHANGE}:0:99999:7:::"])


def _with_account(text: str, path: str, name: str, number: str, line: str) -> str:
    rows = [old.split(":") for old in lines(text)]
    if any(fields[0] == name for fields in rows):
        return text
    owner = next((fields[0] for fields in rows if fields[2:3] == [number]), None)
    if owner is not None:
        raise MetisError(
            f"{path} of the golden gives {number} to {owner!r} already",
            f"give {name!r} another number with ssh.uid",
        )
    return joined([*lines(text), line])
