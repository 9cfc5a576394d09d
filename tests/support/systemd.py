"""systemd's own programs as judges of what we render, over a folder that stands for a node's root."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from pipeline.machine import process
from pipeline.model import Directory, Entry, File, Symlink
from tests.support.rendering import files, program

VENDOR = Path("/usr/lib/systemd/system")
GENERATOR = "/usr/lib/systemd/system-generators/systemd-fstab-generator"


def plant(root: Path, entries: Iterable[Entry]) -> None:
    """Put files, links and directories of the root beneath a folder, beside the units that systemd brings."""
    shutil.copytree(VENDOR, root / "usr/lib/systemd/system", symlinks=True)
    for name in ("mkdir", "touch"):
        put(root / "usr/bin" / name, "", 0o755)
    for entry in entries:
        place = root / entry.path.lstrip("/")
        if isinstance(entry, File) and entry.side == "root":
            put(place, files((entry,))[entry.path], entry.mode)
        elif isinstance(entry, Symlink):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(entry.target)
        elif isinstance(entry, Directory):
            place.mkdir(parents=True, exist_ok=True)


def put(place: Path, text: str, mode: int = 0o644) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(mode)


def mount(root: Path, fstab: str) -> dict[str, str]:
    """Have units made of an fstab, as at a start, among the root's own; gives their texts by their names."""
    put(root / "etc/fstab", fstab)
    folders = [root / "etc/systemd/system", root / "early", root / "late"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    program("systemd-analyze", "systemd")
    said = process.run(
        [GENERATOR, *folders],
        extra_environment={"SYSTEMD_FSTAB": str(root / "etc/fstab"), "SYSTEMD_PROC_CMDLINE": "root=/dev/x"},
    )
    assert said.err == b""
    return {
        str(file.relative_to(folders[0])): file.read_text()
        for file in folders[0].rglob("*.*")
        if file.is_file() and not file.is_symlink() and "Automatically generated" in file.read_text()
    }


def complaints(root: Path, *units: str) -> str:
    """What `systemd-analyze verify` says of units and all that they need: nothing where all is well."""
    said = process.run(
        [program("systemd-analyze", "systemd"), "verify", "--man=no", f"--root={root}", "--", *units],
        check=False,
    )
    return said.err.decode()
