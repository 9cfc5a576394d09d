"""Files of `KEY=value` lines, as those in /etc/default, which shells and systemd (EnvironmentFile=) read."""

from __future__ import annotations

from .lines import Arguments, joined, lines


def assignments(text: str, arguments: Arguments, _path: str) -> str:
    """Give each key of the arguments its value: where it was first set, else at the end, and nowhere twice.

    Values are words that no reader would take apart, without quotes. Comments and other keys stay.
    """
    missing = dict(arguments)
    result = []
    for line in lines(text):
        key = _key(line)
        if key not in arguments:
            result.append(line)
        elif key in missing:
            result.append(f"{key}={missing.pop(key)}")
    return joined(result + [f"{key}={value}" for key, value in missing.items()])


def _key(line: str) -> str:
    """The name that a line sets, or nothing."""
    name, equals, _ = line.partition("=")
    return name.strip(" \t").removeprefix("export ").strip(" \t") if equals else ""
