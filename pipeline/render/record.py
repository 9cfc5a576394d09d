"""What the card says of itself, for whoever reads it later on the node.

`/etc/metis/node.json` is rendered last, from all other entries, so it is no concern of its own in `concerns`.
`/etc/metis/burn.json` is room for what only a burn knows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from ..model import Blob, Directory, Entry, File, Reserved, ResolvedNode, Text
from ..raw.record import NODE, PATH, SIZE

FORMAT = 1
_ALL_READ = 0o004


def render(node: ResolvedNode, entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The node, its class, and the files that Metis manages with their hashes; room for a burn's record."""
    burned = File(PATH, (Reserved(SIZE),))
    files = {
        entry.path: _file(entry)
        for entry in (*entries, burned)
        if isinstance(entry, File) and entry.side == "root"
    }
    record = {
        "format": FORMAT,
        "node": node.name,
        "hostname": node.hostname,
        "class": node.klass.name,
        "os": node.klass.os,
        "arch": node.klass.arch,
        "files": files,
    }
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    return (Directory("/etc/metis"), File(NODE, (Text(text),)), burned)


def _file(entry: File) -> dict[str, Any]:
    about: dict[str, Any] = {"mode": f"{entry.mode:04o}", "owner": entry.owner, "group": entry.group}
    match entry.content:
        case (Blob(sha256=sha256),) if entry.mode & _ALL_READ:  # what is private is a secret, or holds some
            about["sha256"] = sha256
        case pieces if all(isinstance(piece, Text) for piece in pieces):
            text = "".join(piece.text for piece in pieces if isinstance(piece, Text))
            about["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return about
