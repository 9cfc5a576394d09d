"""The child that has an ext file system of an image open: it is asked in lines of JSON, and answers in them.

What a stranger made is read here and nowhere else, so that whatever it does to the library ends with this
process. It can make no file longer than the image is, is told no credentials, and has no other files to write
to. `ext_tree` starts it, and asks.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..machine.hardening import leave_no_cores
from .ext_answers import Changes, Looks, Refusal, said_of
from .ext_files import ExtFiles
from .ext_reading import ExtReader

_MEMORY = 4 << 30
"""Bytes that the bitmaps of no file system of a card need."""


def main(image: str, offset: str, mode: str, extents: str) -> None:
    """Answer until nobody asks any more: `["name", argument…]` with `[value]`, or with a Refusal's parts."""
    leave_no_cores()
    size = Path(image).stat().st_size
    if size:  # a device has none here, and ends by itself
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    open_for_reading = partial(ExtReader, image, int(offset), writable=False)
    session: Looks | None = None
    for line in sys.stdin.buffer:
        try:
            with said_of("/"):
                if session is None and mode == "rw":
                    files = ExtFiles(image, int(offset), extents=extents == "yes")
                    session = Changes(files, open_for_reading)
                elif session is None:
                    session = Looks(open_for_reading())
                answer: Sequence[object] = [_answered(session, json.loads(line))]
        except Refusal as refusal:
            answer = refusal.args
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _answered(session: Looks, request: Sequence[str | int]) -> object:
    name, *arguments = request
    if name not in session.requests:
        raise ValueError(name)
    with said_of(str(arguments[0]) if arguments else "/"):
        answer: object = getattr(session, str(name))(*arguments)
        return answer
