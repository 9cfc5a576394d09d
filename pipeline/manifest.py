"""From the entries of all layers to one manifest: checked, without collisions, with an id.

Pure. Where entries come from: `render` (concerns) and `inventory.overlay` (files of overlays). What is
done with a manifest: `inject`. Its form as a file, and the id of what it does: `manifest_json`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from .errors import InventoryError, Problem
from .manifest_json import content_id, kind
from .model import (
    CACHED,
    Blob,
    Directory,
    Edit,
    Entry,
    File,
    ImageFact,
    Manifest,
    Needs,
    Placed,
    Remove,
    Reserved,
    SecretRef,
    Side,
    Symlink,
)

Key = tuple[Side, str]


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one layer brings: its entries, and the paths of earlier layers that it may replace.

    `file` is where an operator would say `replaces`. A contribution that is `in_base` takes part in the
    search for collisions, but its entries are in the base already and not in the manifest.
    """

    layer: str
    entries: Sequence[Entry]
    replaces: frozenset[str] = frozenset()
    file: str = ""
    in_base: bool = False


def collect(subject: str, contributions: Iterable[Contribution]) -> Manifest:
    """Put the layers together, the later over the earlier, into the manifest of `subject`.

    Raises InventoryError with every path that is unusable or that two layers bring without one of them
    saying that it replaces the other's.
    """
    problems: list[Problem] = []
    taken: dict[Key, tuple[Contribution, Entry]] = {}
    for contribution in contributions:
        for entry in contribution.entries:
            wrong = unusable(entry)
            key = _key(entry)
            if not wrong and key in taken:
                wrong = _collision(contribution, entry, *taken[key])
            if wrong:
                problems.append(Problem(contribution.file or subject, 0, entry.path, wrong))
            else:
                taken[key] = (contribution, entry)
    problems += _beneath_files(subject, taken)
    if problems:
        raise InventoryError(problems)
    placed = [Placed(entry, part.layer) for part, entry in taken.values() if not part.in_base]
    placed.sort(key=lambda item: (item.entry.side, item.entry.path))
    return Manifest(subject, tuple(placed), content_id(item.entry for item in placed))


# ------------------------------------------------------------------------------------------- checks

_FAT_FORBIDDEN = re.compile(r'[<>:"|?*\\]|[. ]$')
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_READABLE = 0o444
_NAME_MAX = 255  # bytes, in ext4 and (as characters) in FAT's long names


def unusable(entry: Entry) -> str:
    """Say why an entry cannot be put on its file system, or nothing where it can."""
    path = entry.path
    if not path.startswith("/") or path == "/" or posixpath.normpath(path) != path or path.startswith("//"):
        return "expected a plain absolute path without '..', '.' or a slash at its end"
    if _CONTROL.search(path):
        return "control characters in a path"
    names = path[1:].split("/")
    if any(len(name.encode()) > _NAME_MAX for name in names):
        return f"a name longer than {_NAME_MAX} bytes"
    if entry.side == "boot":
        return _unusable_on_fat(entry, names)
    return ""


def _unusable_on_fat(entry: Entry, names: Iterable[str]) -> str:
    if any(_FAT_FORBIDDEN.search(name) for name in names):
        return "a name that FAT cannot hold"
    if isinstance(entry, Symlink):
        return "a link on the boot partition, but FAT has no links"
    if isinstance(entry, File | Directory) and (entry.owner, entry.group) != ("root", "root"):
        return "an owner on the boot partition, but FAT has no owners"
    if secret_refs(entry):
        return "a secret on the boot partition, but FAT has no modes: everyone could read it"
    if isinstance(entry, File | Directory) and entry.mode & _READABLE != _READABLE:
        return f"a private {kind(entry)} on the boot partition, but FAT has no modes: everyone could read it"
    return ""


def _key(entry: Entry) -> Key:
    # FAT keeps the case of a name but finds it in any case. What is needed may be brought by anybody.
    path = f"needs {entry.path}" if isinstance(entry, Needs) else entry.path
    return entry.side, path.casefold() if entry.side == "boot" else path


def _collision(later: Contribution, entry: Entry, earlier: Contribution, old: Entry) -> str:
    if entry.path != old.path:
        return f"differs only in case from {old.path} of {earlier.layer}, and FAT cannot tell them apart"
    if isinstance(entry, Directory | Needs) and entry == old:
        return ""
    if later.layer == earlier.layer:
        return f"{later.layer} brings it twice"
    if entry.path in later.replaces:
        return ""
    return f"{earlier.layer} and {later.layer} both bring it: `replaces` says that the later one wins"


def _beneath_files(subject: str, taken: Mapping[Key, tuple[Contribution, Entry]]) -> list[Problem]:
    """Entries that lie beneath what another entry makes a file, a link or a mount point."""
    problems = []
    above: dict[Key, tuple[Key, ...]] = {}
    for (side, path), (part, entry) in taken.items():
        if isinstance(entry, Needs):
            continue
        for key in _taken_from(side, posixpath.dirname(path), taken, above):
            wrong = _wrong_above(part, entry, *taken[key])
            if wrong:
                problems.append(Problem(part.file or subject, 0, entry.path, wrong))
    return problems


def _taken_from(
    side: Side, path: str, taken: Container[Key], known: dict[Key, tuple[Key, ...]]
) -> tuple[Key, ...]:
    """Of a folder and those above it the ones that an entry is about; many entries have the same folders."""
    if path == "/":
        return ()
    key = (side, path)
    if key not in known:
        here = (key,) if key in taken else ()
        known[key] = (*here, *_taken_from(side, posixpath.dirname(path), taken, known))
    return known[key]


def _wrong_above(part: Contribution, entry: Entry, above: Contribution, higher: Entry) -> str:
    if isinstance(higher, File | Symlink | Edit):
        return f"lies beneath {higher.path}, which {above.layer} makes a {kind(higher)}"
    if isinstance(higher, Remove) and part.in_base and not above.in_base:
        return f"lies beneath {higher.path}, which {above.layer} removes: bring it from the node instead"
    if isinstance(higher, Directory) and higher.immutable and not isinstance(entry, Remove):
        return f"lies beneath {higher.path}, where {above.layer} mounts a disk that would hide it"
    return ""


# ---------------------------------------------------------------------------------- what it refers to


def secret_refs(entry: Entry) -> tuple[SecretRef, ...]:
    """The secrets that an entry needs when it is applied."""
    match entry:
        case File(content=pieces):
            return tuple(piece for piece in pieces if isinstance(piece, SecretRef))
        case Edit(arguments=arguments):
            return tuple(value for _, value in arguments if isinstance(value, SecretRef))
    return ()


def secrets_of(manifest: Manifest) -> tuple[SecretRef, ...]:
    """All secrets that a manifest needs, each once."""
    return tuple(dict.fromkeys(ref for item in manifest.entries for ref in secret_refs(item.entry)))


def has_cached(manifest: Manifest) -> bool:
    """Whether a manifest needs a file that was fetched into the cache."""
    return any(blob.source.startswith(CACHED) for blob in blobs_of(manifest))


def blobs_of(manifest: Manifest) -> tuple[Blob, ...]:
    """All that a manifest takes from files, each once."""
    files = (item.entry for item in manifest.entries if isinstance(item.entry, File))
    return tuple(dict.fromkeys(piece for file in files for piece in file.content if isinstance(piece, Blob)))


def reserved(manifest: Manifest) -> tuple[tuple[str, Reserved], ...]:
    """The files of the root whose content is written only on the card, by their paths."""
    return tuple(
        (item.entry.path, piece)
        for item in manifest.entries
        if isinstance(item.entry, File) and item.entry.side == "root"
        for piece in item.entry.content
        if isinstance(piece, Reserved)
    )


def has_image_facts(manifest: Manifest) -> bool:
    """Whether an edit needs what only the image has, such as the ids of its partitions."""
    edits = (item.entry for item in manifest.entries if isinstance(item.entry, Edit))
    return any(isinstance(value, ImageFact) for edit in edits for _, value in edit.arguments)


def without_image_facts(manifest: Manifest) -> Manifest:
    """The manifest with edits that leave alone what only an image tells; for folders of no partition."""
    return replace(manifest, entries=tuple(map(_without_image_facts, manifest.entries)))


def _without_image_facts(item: Placed) -> Placed:
    if not isinstance(item.entry, Edit):
        return item
    kept = tuple(each for each in item.entry.arguments if not isinstance(each[1], ImageFact))
    return replace(item, entry=replace(item.entry, arguments=kept))
