"""Folders of files to lay over an image: listed with their hashes, and turned into entries.

An overlay is what an operator puts there: files get 0644, or 0755 by the x bit, and belong to root;
exceptions stand in `modes.yaml` beside the overlay's `boot` and `root`. A link is kept as a link and never
followed.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InventoryError, MetisError, Problem, reason_of
from ..model import Blob, Directory, Entry, File, Overlay, Symlink

KEEP = ".gitkeep"
"""Stands in for an empty folder, which git does not keep; it is not copied."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One thing in an overlay; `path` is as it will be in the image."""

    path: str
    kind: str
    executable: bool = False
    sha256: str = ""
    target: str = ""


def folder_of(root: Path, folder: str) -> Path:
    """The overlay's folder beneath the inventory's.

    Raises InventoryError where it is not there or points out of the inventory.
    """
    path = root / folder
    if not path.is_dir():
        message = "no such folder: make it, or take it out of the class or node that names it"
        raise InventoryError([Problem(folder, 0, "", message)])
    if not path.resolve().is_relative_to(root.resolve()):
        raise InventoryError(
            [Problem(folder, 0, "", "it points outside the inventory: overlays lie beneath it")]
        )
    return path


def signature(folder: Path) -> str:
    """A hash of names, sizes, times, modes: it changes when anything in the folder may have changed."""
    state = hashlib.sha256()
    for path, about in _walk(folder):
        fields = (about.st_mode, about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino)
        state.update(f"{path}\0{fields}\n".encode(errors="surrogateescape"))
    return state.hexdigest()


def listing(folder: Path, name: str) -> tuple[Listed, ...]:
    """Everything in an overlay, in the order of paths, with the hashes of files.

    Raises InventoryError with all that cannot be put on an image (links that point out of the folder, device
    nodes, sockets, names that are not UTF-8), MetisError for what cannot be read.
    """
    found, problems = [], []
    try:
        for path, about in _walk(folder):
            try:
                found.append(_look(folder, path, about))
            except ValueError as error:
                problems.append(Problem(name, 0, path, str(error)))
    except OSError as error:
        raise MetisError(f"cannot read {error.filename}: {reason_of(error)}") from None
    if problems:
        raise InventoryError(problems)
    return tuple(sorted(found, key=lambda item: item.path))


def entries(overlay: Overlay, found: tuple[Listed, ...], modes: Mapping[str, Any]) -> tuple[Entry, ...]:
    """The entries of an overlay; `modes` is the content of its modes.yaml, by path, for the root side."""
    exceptions = modes if overlay.side == "root" else {}
    kinds = {item.path: item.kind for item in found}
    file = posixpath.join(posixpath.dirname(overlay.folder), "modes.yaml")
    wrong = {None: f"not in {overlay.folder}", "symlink": "a link, which has neither mode nor owner"}
    problems = [
        Problem(file, 0, path, wrong[kinds.get(path)]) for path in exceptions if kinds.get(path) in wrong
    ]
    if problems:
        raise InventoryError(problems)
    wanted = _without_parents(found, exceptions)
    return tuple(_entry(overlay, item, exceptions.get(item.path)) for item in wanted)


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every path beneath a folder with its own state, links not followed, in a fixed order."""
    pending = [""]
    while pending:
        parent = pending.pop()
        with os.scandir(os.fspath(folder) + parent) as items:
            for item in sorted(items, key=lambda item: item.name):
                path = f"{parent}/{item.name}"
                about = item.stat(follow_symlinks=False)
                yield path, about
                if stat.S_ISDIR(about.st_mode):
                    pending.append(path)


def _look(folder: Path, path: str, about: os.stat_result) -> Listed:
    here = os.fspath(folder) + path
    _check_text("a name", path)
    if stat.S_ISLNK(about.st_mode):
        target = os.readlink(here)  # noqa: PTH115 - the text of the link, not a path of this machine
        _check_text("a link's target", target)
        _check_target(path, target)
        return Listed(path, "symlink", target=target)
    if stat.S_ISDIR(about.st_mode):
        return Listed(path, "directory")
    if stat.S_ISREG(about.st_mode):
        with Path(here).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return Listed(path, "file", executable=bool(about.st_mode & stat.S_IXUSR), sha256=sha256)
    raise ValueError("neither a file, a folder nor a link: it cannot be put on an image")


def _check_text(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} that is not UTF-8: {text!a}") from None


def _check_target(path: str, target: str) -> None:
    """A relative link must stay in the overlay; an absolute one counts from the image's root."""
    if target.startswith("/"):
        return
    depth = posixpath.dirname(path).count("/") if posixpath.dirname(path) != "/" else 0
    for name in target.split("/"):
        depth += -1 if name == ".." else name not in {"", "."}
        if depth < 0:
            raise ValueError(f"a link that points outside the overlay: {target}")


def _without_parents(found: Iterable[Listed], exceptions: Mapping[str, Any]) -> list[Listed]:
    """Folders are kept where they are empty or have a mode of their own.

    The others are made on the way, or are in the image already, with modes that are none of our business.
    """
    kept = [item for item in found if posixpath.basename(item.path) != KEEP]
    parents = {posixpath.dirname(item.path) for item in kept} - set(exceptions)
    return [item for item in kept if not (item.kind == "directory" and item.path in parents)]


def _entry(overlay: Overlay, item: Listed, exception: str | Mapping[str, str] | None) -> Entry:
    if item.kind == "symlink":
        return Symlink(item.path, item.target, overlay.side)
    about = {"mode": exception} if isinstance(exception, str) else dict(exception or {})
    mode = about.get("mode", "0755" if item.executable or item.kind == "directory" else "0644")
    owner, group = about.get("owner", "root"), about.get("group", "root")
    if item.kind == "directory":
        return Directory(item.path, int(mode, 8), owner, group, overlay.side)
    blob = Blob(item.sha256, f"{overlay.folder}{item.path}")
    return File(item.path, (blob,), int(mode, 8), owner, group, overlay.side)
