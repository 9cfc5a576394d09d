"""Reads the files of an identity out of a source, whatever kind that is, and changes nothing there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..adopt.items import PATHS
from ..adopt.source import Folder, Image, Live, Source
from ..errors import MetisError, SecretError, SourceError, reason_of
from ..inject.beneath import Beneath
from ..inject.folder import FolderTree
from ..inject.partitions import ROOT_FILESYSTEMS
from ..inject.paths import Paths
from ..inject.tree import OS_RELEASE, Chooser, Contents, Injector, Places, Tree
from ..raw import disk
from ..raw.disk import Disk, Partition

_AS_ROOT = "run as root, if its files are root's"


@dataclass(frozen=True, slots=True)
class Tools:
    """What sources are opened with.

    `root_label` is asked for the label of the class's root where an image has two; `ssh_config` is a file
    for ssh -F.
    """

    injector: Callable[[], Injector]
    root_label: Callable[[], str | None]
    ssh_config: Path | None


def capture(source: Source, tools: Tools) -> Mapping[str, bytes]:
    """The content of each file of an identity that a source has, by its path.

    Raises SourceError where the source cannot be opened, read or reached, and SecretError where something
    else than a file lies there.
    """
    if isinstance(source, Live):
        from ..adopt import ssh

        return ssh.read(source, PATHS, tools.ssh_config)
    try:
        return _folder(source) if isinstance(source, Folder) else _image(source, tools)
    except MetisError as error:
        if error.exit_code != MetisError.exit_code:
            raise
        raise SourceError(error.message, error.hint) from None


def root_by_content(label: Callable[[], str | None]) -> Chooser:
    """Finds the root of a disk of which nothing else is known; of several, the one with the class's label."""

    def choose(found: Disk, contents: Contents) -> Places:
        fitting = [part for part in found.partitions if part.filesystem in ROOT_FILESYSTEMS]
        roots = [part for part in fitting if contents.has(part.number, OS_RELEASE)]
        if len(roots) > 1:
            wanted = label()
            roots = [part for part in roots if part.label == wanted] or roots
        if not roots:
            raise SourceError(
                "there is no root on it",
                "expected a file system with /etc/os-release; or mount it, and name the folder",
            )
        if len(roots) > 1:
            raise SourceError(
                f"there are {len(roots)} roots on it: {_listed(roots)}", "mount one, and name the folder"
            )
        return Places(roots[0].number, None)

    return choose


def _listed(parts: Sequence[Partition]) -> str:
    return " and ".join(f"{part.number} (label {part.label or 'none'})" for part in parts)


def _folder(source: Folder) -> Mapping[str, bytes]:
    try:
        beneath = Beneath.folder(source.path)
    except OSError as error:
        raise SourceError(f"{source}: {reason_of(error)}", _AS_ROOT) from None
    with beneath:
        return read_tree(FolderTree(beneath, str(source)), str(source))


def _image(source: Image, tools: Tools) -> Mapping[str, bytes]:
    layout = disk.read(source.path)
    chooser = root_by_content(tools.root_label)
    with tools.injector().open(source.path, layout, chooser, read_only=True) as trees:
        return read_tree(trees.root, str(source))


def read_tree(tree: Tree, name: str) -> dict[str, bytes]:
    """The files of an identity in a tree; links are followed within it, as the node itself follows them."""
    paths = Paths(tree)
    found: dict[str, bytes] = {}
    for path in PATHS:
        try:
            place = paths.file(path)
            status = paths.status(place)
            if status is not None and status.kind == "file":
                found[path] = tree.read(place)
        except MetisError as error:
            raise _of_source(error, name) from None
        if status is not None and status.kind != "file":
            raise SecretError(f"{path} of {name} is not a file", "see what lies there")
    return found


def _of_source(error: MetisError, name: str) -> SourceError:
    """An error in the words for goldens, which are made to be changed, said of what is only read."""
    message = error.message.replace("in the golden", f"of {name}")
    if message != error.message:
        return SourceError(message, "see what lies there")
    return SourceError(message, error.hint or _AS_ROOT)
