"""An ext file system of an image as a tree, without mounting it: a child has it open (see `ext_child`)."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import MetisError
from ..machine import process
from .tree import READ_LIMIT, NotExactError, Status, no_room, status_of, too_long

_CHILD = f"{__package__}.ext_child"
_ROOT = Path(__file__).parents[_CHILD.count(".")]
_LIMIT = 32 << 20
"""Bytes of an answer: a file of READ_LIMIT in base64, or the names in a directory."""
_QUICK, _LONG = 60.0, 1800.0
"""Seconds for an answer; files of gigabytes go in or come out in the long ones."""
_SLOW = frozenset({"extract", "finish", "remove", "sha256"})


class ExtTree:
    """The port `tree.Tree` on a file system that a child has open; `name` is what messages call it."""

    def __init__(self, child: process.Conversation, name: str, *, read_only: bool) -> None:
        self._child = child
        self._name = name
        self._read_only = read_only

    def status(self, path: str) -> Status | None:
        """See `tree.Tree`."""
        found = self._ask("status", path)
        return None if found is None else status_of(*map(int, found))

    def read(self, path: str) -> bytes:
        """See `tree.Tree`."""
        return base64.b64decode(self._ask("read", path, READ_LIMIT))

    def sha256(self, path: str) -> str:
        """See `tree.Tree`."""
        return str(self._ask("sha256", path))

    def read_link(self, path: str) -> str:
        """See `tree.Tree`."""
        return str(self._ask("link", path))

    def list_names(self, path: str) -> Sequence[str]:
        """See `tree.Tree`."""
        return [str(name) for name in self._ask("names", path)]

    def remove(self, path: str) -> None:
        """See `tree.Tree`."""
        self._change("remove", path)

    def extract(self, archive: Path) -> None:
        """See `tree.Tree`."""
        with archive.open("rb") as opened:  # the child finds the nameless file among ours
            self._change("extract", f"/proc/{os.getpid()}/fd/{opened.fileno()}")

    def is_immutable(self, path: str) -> bool:
        """See `tree.Tree`."""
        return bool(self._ask("is_immutable", path))

    def set_immutable(self, path: str) -> None:
        """See `tree.Tree`."""
        self._change("set_immutable", path)

    def flush(self) -> None:
        """Bring everything into the image's file and read it back; raises where it is otherwise there."""
        self._ask("finish")

    def _change(self, what: str, path: str) -> None:
        if self._read_only:
            raise MetisError(f"{path} of {self._name}: Read-only file system")
        self._ask(what, path)

    def _ask(self, what: str, *arguments: str | int) -> Any:  # noqa: ANN401 - as the question is
        timeout = _LONG if what in _SLOW else _QUICK
        line = json.dumps([what, *arguments]).encode()
        try:
            answer = json.loads(self._child.ask(line, timeout=timeout, limit=_LIMIT))
        except process.ToolError as error:
            raise NotExactError(self._name, str(error)) from None
        if len(answer) == 1:
            return answer[0]
        raise self._refusal(*answer)

    def _refusal(self, kind: str, path: str, words: str | int) -> MetisError:
        match kind:
            case "full":
                return no_room(self._name)
            case "long":
                return too_long(path, int(words))
            case "unsuited":
                return NotExactError(self._name, f"{path}: {words}")
        return MetisError(f"{path} of {self._name}: {words}")


@contextmanager
def opened(image: str, name: str, offset: int, *, read_only: bool, extents: bool = True) -> Iterator[ExtTree]:
    """The tree of the file system at a byte offset of an open image, for as long as the block runs."""
    # No packages but our own are needed, and looking for them takes longer than all else.
    start = (
        f"import sys; sys.path.append({str(_ROOT)!r}); import {_CHILD} as child; child.main(*sys.argv[1:])"
    )
    words = [sys.executable, "-I", "-S", "-c", start]
    about = [image, str(offset), "ro" if read_only else "rw", "yes" if extents else "no"]
    with process.conversing(f"what reads {name}", [*words, *about]) as child:
        yield ExtTree(child, name, read_only=read_only)
