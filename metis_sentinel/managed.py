"""What Metis put on the card: its records, and how the files that they name are now.

`/etc/metis/node.json` has a hash of each file that is no secret's; others are looked at from outside only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from stat import S_IMODE, S_ISREG

from .host import Host
from .texts import text

NODE = "/etc/metis/node.json"
_BURN = "/etc/metis/burn.json"
_RECORD = 2 << 20
"""Bytes of a record: of 10,000 files there are as many, and of a node that is cared for by people, 50 KiB."""
_MOST = 10000
_PATH = 4096
_ACCOUNTS = 1 << 20
_LARGEST = 1 << 30
"""Bytes that are hashed for one snapshot, of all files together."""
_PIECE = 1 << 18
_HASH = re.compile(r"[0-9a-f]{64}")


def card(host: Host) -> dict[str, str]:
    """The node and the class that the card was made for, and what tells this record from others."""
    data = host.files.read(NODE, _RECORD)
    record = _record(NODE, data)
    node, klass = record.get("node"), record.get("class")
    if not isinstance(node, str) or not isinstance(klass, str):
        raise ValueError(f"{NODE}: names no node or no class")
    return {"node": text(node, 255), "class": text(klass, 255), "sha256": hashlib.sha256(data).hexdigest()}


def burn(host: Host) -> dict[str, str] | None:
    """What the burn of the card left; None where the card was written by other means."""
    data = host.files.read(_BURN, 1 << 16)
    if not data.strip(b" \n\0"):
        return None
    record = _record(_BURN, data)
    found = {}
    for name, most in (("node", 255), ("image", 255), ("at", 64)):
        value = record.get(name)
        if not isinstance(value, str):
            raise ValueError(f"{_BURN}: does not say {name}")
        found[name] = text(value, most)
    return found


def files(host: Host) -> dict[str, dict[str, str]]:
    """How each of the card's files is now."""
    named = _record(NODE, host.files.read(NODE, _RECORD)).get("files")
    if not isinstance(named, dict):
        raise ValueError(f"{NODE}: names no files")
    if len(named) > _MOST:
        host.gap("files", f"{NODE} names more than {_MOST}")
    look, found = _Look(host), {}
    for path, about in list(named.items())[:_MOST]:
        if path.startswith("/") and len(path) <= _PATH and "\0" not in path and text(path, _PATH) == path:
            burned = about.get("sha256") if isinstance(about, dict) else None
            is_hash = isinstance(burned, str) and _HASH.fullmatch(burned)
            found[path] = look.at(path, str(burned) if is_hash else "")
        else:
            host.gap("files", f"{NODE}: {path[:100]!r} is no path")
    return found


def _record(path: str, data: bytes) -> dict[str, object]:
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: is no JSON") from None
    if not isinstance(record, dict) or record.get("format") != 1:
        raise ValueError(f"{path}: is no record of format 1")
    return record


class _Look:
    """Looks at files of a host, one after the other."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._left = _LARGEST
        self._users = _names(host, "/etc/passwd")
        self._groups = _names(host, "/etc/group")

    def at(self, path: str, burned: str) -> dict[str, str]:
        """How a file is now; `burned` is the hash that it had, empty for what is a secret's."""
        try:
            about, is_private = self._host.files.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return {"state": "missing"}
        except OSError:
            return {"state": "unread"}
        if not S_ISREG(about.st_mode):
            return {"state": "other"}
        found = {
            "mode": f"{S_IMODE(about.st_mode):04o}",
            "owner": self._users.get(about.st_uid, str(about.st_uid)),
            "group": self._groups.get(about.st_gid, str(about.st_gid)),
        }
        if is_private:
            return {"state": "unread", **found}
        return {**found, **self._content(path, burned)}

    def _content(self, path: str, burned: str) -> dict[str, str]:
        if not burned:
            return {"state": "file"}
        try:
            sha256 = self._hash(path)
        except (OSError, ValueError) as error:
            self._host.gap("files", error)
            return {"state": "unread"}
        return {"state": "file", "sha256": sha256, **({} if sha256 == burned else {"burned": burned})}

    def _hash(self, path: str) -> str:
        digest = hashlib.sha256()
        with self._host.files.opened(path, strict=True) as descriptor:
            if os.fstat(descriptor).st_size > self._left:
                raise ValueError(
                    f"{path}: is not hashed, as the files together have more than {_LARGEST >> 30} GiB"
                )
            while piece := os.read(descriptor, min(_PIECE, self._left)):
                digest.update(piece)
                self._left -= len(piece)
        return digest.hexdigest()


def _names(host: Host, path: str) -> dict[int, str]:
    """Names by number, as passwd(5) and group(5) have them; of two for one number, the first."""
    try:
        data = host.files.read(path, _ACCOUNTS)
    except OSError as error:
        host.gap("files", error)
        return {}
    found: dict[int, str] = {}
    for line in data.split(b"\n"):
        fields = line.split(b":", 3)
        if len(fields) > 2 and fields[0] and fields[2].isdigit() and len(fields[2]) < 11:  # noqa: PLR2004
            found.setdefault(int(fields[2]), text(fields[0], 64))
    return found
