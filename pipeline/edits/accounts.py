"""passwd(5), group(5), shadow(5) and gshadow(5): an account of the node's own beside those of the golden."""

from __future__ import annotations

from ..errors import MetisError
from .lines import Arguments, joined, lines

NO_PASSWORD = "*"  # noqa: S105 - shadow(5): no password matches it, keys still work
LAST_CHANGE = "19700"
"""Days since 1970 in shadow(5); 0 or nothing would ask for a new password at the first login."""
_CHANGE_NOW = "0"
_NO_LOGIN = ("/nologin", "/false")


def passwd(text: str, arguments: Arguments, path: str) -> str:
    """Add a user with a group of the same number, unless the user is there.

    One that is there must have this `home` and a shell: a service's account is no operator's.
    """
    user, uid, home = arguments["user"], arguments["uid"], arguments["home"]
    _refuse_service(text, path, user, home)
    return _with_account(text, path, user, uid, f"{user}:x:{uid}:{uid}::{home}:/bin/bash")


def group(text: str, arguments: Arguments, path: str) -> str:
    """Add the user's own group, unless it is there."""
    user, uid = arguments["user"], arguments["uid"]
    return _with_account(text, path, user, uid, f"{user}:x:{uid}:")


def gshadow(text: str, arguments: Arguments, _path: str) -> str:
    """Add the user's own group without a password, unless it is there."""
    return _with_line(text, arguments["user"], f"{arguments['user']}:!::")


def shadow(text: str, arguments: Arguments, _path: str) -> str:
    """Give the user the password's `hash`, in a new line or its own; lock root's, who is not the user.

    Goldens come with passwords that all the world knows, for users of theirs and for root.
    """
    user, password = arguments["user"], arguments["hash"]
    passwords = {"root": NO_PASSWORD, user: password}
    rows = [_with_password(line, passwords) for line in lines(text)]
    return _with_line(joined(rows), user, f"{user}:{password}:{LAST_CHANGE}:0:99999:7:::")


def _with_password(line: str, passwords: Arguments) -> str:
    name, *fields = line.split(":")
    if name not in passwords or not fields:
        return line
    fields[0] = passwords[name]
    if fields[1:2] == [_CHANGE_NOW]:
        fields[1] = LAST_CHANGE
    return ":".join([name, *fields])


def _refuse_service(text: str, path: str, user: str, home: str) -> None:
    for fields in (line.split(":") for line in lines(text)):
        if fields[0] == user and (fields[5:6] != [home] or fields[-1].endswith(_NO_LOGIN)):
            raise MetisError(
                f"{path} of the golden has a {user!r} already, with another home than {home} or no login",
                "give ssh.user another name",
            )


def _with_account(text: str, path: str, name: str, number: str, line: str) -> str:
    rows = [old.split(":") for old in lines(text)]
    owner = next((fields[0] for fields in rows if fields[2:3] == [number]), None)
    if owner is not None and not any(fields[0] == name for fields in rows):
        raise MetisError(
            f"{path} of the golden gives {number} to {owner!r} already",
            f"give {name!r} another number with ssh.uid",
        )
    return _with_line(text, name, line)


def _with_line(text: str, name: str, line: str) -> str:
    if any(old.split(":")[0] == name for old in lines(text)):
        return text
    return joined([*lines(text), line])
