"""What is read alike wherever the environment says it: switches, and our parts of the user's folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import UsageError

_SWITCH = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)


def switch(environment: Mapping[str, str], name: str) -> bool:
    """Whether a variable is on; off where it is not set. Raises UsageError for any other word."""
    value = environment.get(name, "0")
    if value.lower() not in _SWITCH:
        raise UsageError(f"{name} is {value!r}", "use 1 or 0")
    return _SWITCH[value.lower()]


def user_folder(environment: Mapping[str, str], variable: str, usual: str) -> Path:
    """Our part of one of the user's folders (XDG Base Directory Specification, which takes no relative path).

    Raises UsageError where neither the environment nor passwd(5) knows it.
    """
    named = Path(environment.get(variable, ""))
    try:
        return (named if named.is_absolute() else Path(usual).expanduser()) / "metis"
    except RuntimeError:
        raise UsageError("this user has no home folder", f"set HOME or {variable}") from None


def user_folders(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """All of our parts of the user's folders."""
    usual = {"XDG_CACHE_HOME": "~/.cache", "XDG_STATE_HOME": "~/.local/state", "XDG_CONFIG_HOME": "~/.config"}
    return tuple(user_folder(environment, variable, place) for variable, place in usual.items())
