"""Files of a class and a node, to be put onto cards that are mounted."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from pipeline.inject.directory import DirectoryInjector
from pipeline.inject.loop import LoopInjector
from pipeline.inject.tree import Injector
from pipeline.machine.progress import QuietReporter
from pipeline.manifest import Contribution, collect
from pipeline.model import (
    Blob,
    Directory,
    Edit,
    Entry,
    File,
    ImageFact,
    Manifest,
    Remove,
    Reveal,
    SecretRef,
    Side,
    Text,
)
from pipeline.raw import disk
from pipeline.steps.build import Tools
from pipeline.steps.ids import BaseManifest
from pipeline.steps.mounted import apply_to
from pipeline.steps.verify import Verdict

SECRET = "canary-of-the-token"
TOKEN = SecretRef("k3s_token")
BLOB = b"blob" * 1000


def manifest(*entries: Entry) -> Manifest:
    return collect("titan-13", [Contribution("test", entries)])


def file(path: str, text: str = "", *, owner: str = "root", side: Side = "root") -> File:
    return File(path, (Text(text),), 0o644, owner, owner, side)


CLASS = (
    file("/etc/issue", "of the class\n"),
    file("/etc/motd", "of the class\n"),
    file("/etc/group", "root:x:0:\nlonghorn:x:1234:\n"),
    Directory("/srv/shared", 0o750),
)
NODE = (
    file("/etc/hostname", "titan-13\n"),
    file("/lib/systemd/system/metis.service", "[Unit]\n"),  # /lib is a link
    File("/etc/rancher/token", (TOKEN,), 0o600),
    File(
        "/srv/shared/data", (Blob(sha256(BLOB).hexdigest(), "blob"),), 0o640, "root", "longhorn"
    ),  # whom the class brings
    Edit("/etc/hosts", "hosts", (("names", "titan-13"),)),
    Remove("/etc/motd"),
    Remove("/etc/netplan"),
    Directory("/mnt/longhorn", 0, immutable=True),
)
BY_ID = Edit("/etc/fstab", "fstab", (("root", ImageFact("root_partuuid")),))
UART = (("name", "enable_uart"), ("value", "1"))
BOOT = (file("/ssh", side="boot"), Edit("/config.txt", "config_txt", UART, side="boot"))


def reveal(ref: SecretRef) -> bytes:
    assert ref == TOKEN
    return SECRET.encode()


def open_blob(_blob: Blob) -> BinaryIO:
    return io.BytesIO(BLOB)


@dataclass
class Work:
    """What is put onto a card, and how."""

    scratch: Path
    entries: tuple[Entry, ...] = NODE
    of_class: tuple[Entry, ...] = CLASS
    labels: dict[Side, str] = field(default_factory=dict)
    reveal: Reveal = reveal
    open_blob: Callable[[Blob], BinaryIO] = open_blob

    def onto(self, card: Path) -> Verdict:
        """A device or an image, whose partitions are mounted for the purpose."""
        return self._apply(card, disk.read(card), LoopInjector())

    def into(self, root: Path, boot: Path | None = None) -> Verdict:
        """Folders."""
        injector = DirectoryInjector(root, boot)
        return self._apply(root, injector.disk(), injector)

    def _apply(self, card: Path, layout: disk.Disk, injector: Injector) -> Verdict:
        base = BaseManifest(manifest(*self.of_class), 0, self.labels)
        tools = Tools(injector, self.open_blob, QuietReporter())
        return apply_to(card, layout, base, manifest(*self.entries), self.reveal, tools, self.scratch)


Seen = dict[str, tuple[int, int, int, bytes | str | None]]


def seen(top: Path) -> Seen:
    """What is beneath a folder, each with mode, owner, group and content."""
    found: Seen = {}
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = Path(folder, name)
            about = path.lstat()
            content = (
                str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            )
            found[str(path.relative_to(top))] = (about.st_mode & 0o7777, about.st_uid, about.st_gid, content)
    return found


def check_is_applied(found: Seen) -> None:
    assert found["etc/issue"] == (0o644, 0, 0, b"of the class\n")
    assert found["etc/hostname"] == (0o644, 0, 0, b"titan-13\n")
    assert found["usr/lib/systemd/system/metis.service"][3] == b"[Unit]\n"
    assert found["etc/rancher/token"] == (0o600, 0, 0, SECRET.encode())
    assert found["srv/shared/data"] == (0o640, 0, 1234, BLOB)
    assert b"titan-13" in bytes(str(found["etc/hosts"][3]), "ascii")
    assert found["mnt/longhorn"][0] == 0
    assert "etc/motd" not in found
