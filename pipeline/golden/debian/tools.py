"""The programs that make an image from Debian's packages, and what they say when they fail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ...errors import MetisError, MismatchError, SourceError
from ...machine import process

MIRROR = "METIS_DEBIAN_MIRROR"
Words = list[str | Path]

_REASONS: tuple[tuple[str, type[MetisError], str], ...] = (
    (r"No space left on device|Disk quota exceeded", MetisError, "free some space, or set TMPDIR"),
    (r"NO_PUBKEY|BADSIG|KEYEXPIRED|EXPKEYSIG|is not signed|Hash Sum mismatch", MismatchError, ""),
    (
        r"neither be executed natively nor via qemu|cannot find /usr/bin/qemu-\S+-static|install arch-test",
        MetisError,
        "install qemu-user-static, binfmt-support and arch-test",
    ),
    (
        r"failed to parse /etc/subuid",
        MetisError,
        "give this user further ids: usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST",
    ),
    (
        r"unshare syscall failed|new[ug]idmap: ",
        MetisError,
        "what started this forbids namespaces of users: see docs/systemd.md",
    ),
    (r"does not have a Release file", SourceError, f"check the name of the suite, or set {MIRROR}"),
    (r"Failed to fetch|Unable to fetch|Could not (?:resolve|connect)", SourceError, f"or set {MIRROR}"),
)
"""What the tools say, what it means and what to do; the first that is found counts."""


def run(
    argv: Words, problem: str, *, stdin: bytes = b"", extra_environment: Mapping[str, str] | None = None
) -> None:
    """Run a tool; what it says when it fails becomes one line that begins with `problem`."""
    finished = process.run(argv, stdin=stdin, check=False, extra_environment=extra_environment)
    if finished.code == 0:
        return
    said = finished.err.decode(errors="replace")
    for pattern, kind, hint in _REASONS:
        match = re.search(f"^.*(?:{pattern}).*$", said, re.MULTILINE)
        if match:
            raise kind(f"{problem}: {_plain(match[0])}", hint)
    first = re.search(r"^(?:E: |dpkg: error).*$", said, re.MULTILINE)
    raise MetisError(f"{problem}: {_plain(first[0] if first else finished.last_words)}")


def _plain(line: str) -> str:
    return line.removeprefix("E: ").strip()[: process.LAST_WORDS]
