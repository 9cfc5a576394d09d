"""Open trees against the manifests that were applied to them: what is otherwise, path by path.

Paths are followed through the links of the image as it is, like those of `apply`; nothing is changed.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..edits import table as edits
from ..errors import MetisError
from ..manifest import secret_refs
from ..manifest_json import kind
from ..model import (
    SIDES,
    Blob,
    Directory,
    Edit,
    Entry,
    File,
    Manifest,
    Needs,
    Remove,
    Reserved,
    Side,
    Symlink,
)
from .owners import Owners
from .paths import Paths
from .sources import Sources
from .strays import Owned, Strays
from .stream import content
from .tree import NotExactError, Status, Tree, Trees

NOT_COMPARED = "not compared"
"""Of what a finding speaks that is no difference: nobody could tell."""

LACKING = "lacking"
"""The same of what is optional and not there."""

What = tuple[str, str, str]
"""Of what a finding speaks, what was expected and what was found."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """What there is to say of one path. Never a secret, nor the hash of a file that holds one.

    `what` is missing, extra, unreadable, kind, mode, owner, group, content, target, immutable, edit,
    LACKING or NOT_COMPARED; `found` is the reason of that one.
    """

    side: Side
    path: str
    what: str
    expected: str
    found: str


def compare(
    in_base: Manifest, in_image: Manifest, trees: Trees, sources: Sources, owned: Owned
) -> list[Finding]:
    """What the trees have otherwise than the manifests say; where both speak, the image's own counts.

    A difference is also what lies at what is `owned`, where only Metis decides, and no entry explains it.
    Raises NotExactError where an injector cannot tell and another one can.
    """
    found: set[Finding] = set()
    for side in SIDES:
        base, own = (
            [item.entry for item in manifest.entries if item.entry.side == side]
            for manifest in (in_base, in_image)
        )
        tree = trees.side(side)
        if tree is not None:
            found.update(_findings(base, own, side, tree, sources, owned))
        else:
            found.update(_missing(entry) for entry in (*base, *own) if not isinstance(entry, Remove))
    return sorted(found)


def _findings(
    base: Sequence[Entry], own: Sequence[Entry], side: Side, tree: Tree, sources: Sources, owned: Owned
) -> Iterator[Finding]:
    paths = Paths(tree)
    wanted, removed = _merged(_placed(base, paths), _placed(own, paths))
    reader = _Reader(tree, paths, sources)
    for path, entry in wanted.items():
        yield from reader.findings(path, entry)
    strays = Strays(side, tree, paths, wanted, owned)
    left = (stray for path in removed for stray in strays.beneath(path, "it is to be removed"))
    for entry in own:
        if isinstance(entry, Needs) and paths.status(paths.file(entry.path)) is None:
            what = LACKING if entry.optional else "missing"
            yield Finding(side, entry.path, what, f"what the package {entry.package} brings", "nothing")
    for path, found, reason in (*left, *strays.owned()):
        yield Finding(side, path, "extra", f"nothing: {reason}", found)


# ------------------------------------------------------------------------------------ what is wanted where


def _placed(entries: Iterable[Entry], paths: Paths) -> list[tuple[str, Entry]]:
    return [(_place(entry, paths), entry) for entry in entries]


def _place(entry: Entry, paths: Paths) -> str:
    """An entry's path without links; where it leads nowhere, as it is named."""
    try:
        if isinstance(entry, Directory):
            return paths.directory(entry.path)
        if isinstance(entry, Edit) and entry.preferred:
            preferred = paths.of(entry.preferred)
            if paths.status(preferred) is not None:
                return preferred
        return paths.of(entry.path)
    except NotExactError:
        raise
    except MetisError:
        return entry.path


def _merged(
    base: Sequence[tuple[str, Entry]], own: Sequence[tuple[str, Entry]]
) -> tuple[Mapping[str, Entry], Sequence[str]]:
    """What is wanted by its path, and the paths of what is not, after both manifests were applied."""
    gone = [path for path, entry in own if isinstance(entry, Remove)]
    kept = [item for item in base if not any(_is_in(item[0], top) for top in gone)]
    wanted = {path: entry for path, entry in (*kept, *own) if not isinstance(entry, Remove | Needs)}
    removed = [path for path, entry in (*kept, *own) if isinstance(entry, Remove)]
    return wanted, removed


def _is_in(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}/")


# ----------------------------------------------------------------------------------------- what is there


class _Reader:
    """Reads what is at the places of entries."""

    def __init__(self, tree: Tree, paths: Paths, sources: Sources) -> None:
        self._tree = tree
        self._paths = paths
        self._sources = sources
        self._owners = Owners(self._read)

    def findings(self, path: str, entry: Entry) -> Iterator[Finding]:
        """What is otherwise at the place of an entry that is no removal."""
        try:
            status = self._paths.status(path)
            if status is not None:
                yield from (Finding(entry.side, path, *what) for what in self._whats(path, entry, status))
            elif not (isinstance(entry, Edit) and entry.optional):
                yield _missing(entry)
        except NotExactError:
            raise
        except MetisError as error:
            yield Finding(entry.side, path, "unreadable", _expected_kind(entry), str(error))

    def _whats(self, path: str, entry: Entry, status: Status) -> Iterator[What]:
        if status.kind != _expected_kind(entry):
            yield "kind", _expected_kind(entry), status.kind
            return
        # FAT has neither modes nor owners nor attributes.
        if isinstance(entry, File | Directory) and entry.side == "root":
            yield from self._of_status(entry, status)
        match entry:
            case File():
                yield from self._of_content(path, entry)
            case Directory(side="root"):
                is_immutable = self._tree.is_immutable(path)
                if is_immutable != entry.immutable:
                    yield "immutable", _yes(entry.immutable), _yes(is_immutable)
            case Symlink():
                target = self._tree.read_link(path)
                if target != entry.target:
                    yield "target", entry.target, target
            case Edit():
                yield from self._of_edit(path, entry)

    def _of_status(self, entry: File | Directory, status: Status) -> Iterator[What]:
        if status.mode != entry.mode:
            yield "mode", f"{entry.mode:04o}", f"{status.mode:04o}"
        for what, name, number, found in (
            ("owner", entry.owner, self._owners.uid, status.uid),
            ("group", entry.group, self._owners.gid, status.gid),
        ):
            try:
                expected = number(name)
            except MetisError:
                yield what, f"{name}, whom the image does not know", str(found)
            else:
                if expected != found:
                    yield what, f"{name} ({expected})", str(found)

    def _of_content(self, path: str, entry: File) -> Iterator[What]:
        match entry.content:
            case (Reserved(size),):  # it may be written by now
                found_size = len(self._tree.read(path))
                if found_size != size:
                    yield "content", f"{size} bytes", f"{found_size} bytes"
                return
        try:
            expected = self._expected_sha256(entry)
        except MetisError as why:
            yield NOT_COMPARED, "its content", str(why)
            return
        found = self._tree.sha256(path)
        if found != expected and secret_refs(entry):
            yield "content", "what is made of the node's secrets", "something else"
        elif found != expected:
            yield "content", f"sha256 {expected}", f"sha256 {found}"

    def _expected_sha256(self, entry: File) -> str:
        match entry.content:
            case (Blob(sha256),):
                return sha256  # nobody needs the bytes, which may have left the cache
        with content(entry, self._sources) as source:
            digest = hashlib.sha256()
            while chunk := source.read(io.DEFAULT_BUFFER_SIZE):
                digest.update(chunk)
            return digest.hexdigest()

    def _of_edit(self, path: str, entry: Edit) -> Iterator[What]:
        """An edit that was applied changes nothing more."""
        try:
            arguments = {name: self._sources.text(value) for name, value in entry.arguments}
        except MetisError as why:
            yield NOT_COMPARED, f"the edit `{entry.edit}`", str(why)
            return
        old = self._tree.read(path)
        try:
            new = edits.apply(entry.edit, old, arguments, path)
        except MetisError as error:
            yield "edit", entry.edit, str(error)
        else:
            if new != old:
                yield "edit", entry.edit, "not applied"

    def _read(self, path: str) -> bytes:
        place = self._paths.file(path)
        return self._tree.read(place) if self._paths.status(place) is not None else b""


def _missing(entry: Entry) -> Finding:
    return Finding(entry.side, entry.path, "missing", _expected_kind(entry), "nothing")


def _expected_kind(entry: Entry) -> str:
    return "file" if isinstance(entry, Edit) else kind(entry)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
