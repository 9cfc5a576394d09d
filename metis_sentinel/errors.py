"""What goes wrong, as one line for stderr: what, where, what to do."""

from __future__ import annotations

import os
from contextlib import suppress


class SentinelError(Exception):
    """What could not be done, and where; `hint` says what to do next."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(f"{what}: {hint}" if hint else what)


def reason_of(error: OSError) -> str:
    """What the operating system says of an error, as words within a line."""
    return (error.strerror or str(error)).lower()


def one_line(text: str) -> str:
    """A text that a terminal can be given: what it would obey, or break the line at, is a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def say(line: str) -> None:
    """Tell the operator in one line, where there is somebody to tell."""
    with suppress(OSError):
        os.write(2, f"metis-sentinel: {one_line(line)}\n".encode(errors="replace"))
