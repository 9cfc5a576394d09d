"""From the entries of all layers to one manifest: checked, without collisions, with an id.

Pure. Where entries come from: `render` (concerns) and `inventory.overlay` (files of overlays). What is
done with a manifest: `inject`.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .errors import InventoryError, MetisError, Problem
from .model import (
    Blob,
    Directory,
    Edit,
    Entry,
    File,
    ImageFact,
    Manifest,
    Needs,
    Piece,
    Placed,
    Remove,
    Reserved,
    SecretRef,
    Side,
    Symlink,
    Text,
    Value,
)

FORMAT = 2
"""The version of the JSON form; another one is not read."""

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


def content_id(entries: Iterable[Entry]) -> str:
    """The hash of what the entries do; where their content lies and which layer brought them is left out."""
    content = [_entry_data(entry, with_source=False) for entry in entries]
    return digest({"format": FORMAT, "entries": content})


def digest(value: object) -> str:
    """SHA-256 over the canonical JSON of plain data, as hex."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


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
    for (side, path), (part, entry) in taken.items():
        if isinstance(entry, Needs):
            continue
        parent = posixpath.dirname(path)
        while parent != "/":
            above = taken.get((side, parent))
            wrong = _wrong_above(part, entry, *above) if above else ""
            if wrong:
                problems.append(Problem(part.file or subject, 0, entry.path, wrong))
            parent = posixpath.dirname(parent)
    return problems


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


# -------------------------------------------------------------------------------------- JSON form

_ANEW = "remove it from the folder for artifacts and run again"

_KINDS: dict[str, type[File | Directory | Symlink | Remove | Edit | Needs]] = {
    kind.__name__.lower(): kind for kind in (File, Directory, Symlink, Remove, Edit, Needs)
}


_USUAL = (("immutable", False), ("preferred", ""), ("optional", False), ("form", "text"))
"""What most entries have is not written down."""


def kind(entry: Entry) -> str:
    """The word for an entry's kind: file, directory, symlink, remove, edit or needs."""
    return type(entry).__name__.lower()


def to_data(manifest: Manifest) -> dict[str, Any]:
    """A manifest as plain data for JSON; secrets are not in it, only their names."""
    entries = [{**_entry_data(item.entry), "layer": item.layer} for item in manifest.entries]
    return {"format": FORMAT, "subject": manifest.subject, "id": manifest.id, "entries": entries}


def from_data(data: Mapping[str, Any]) -> Manifest:
    """A manifest from its plain data; refuses another format and content that its id does not fit."""
    try:
        if data["format"] != FORMAT:
            raise MetisError(f"a manifest of format {data['format']!r}, not {FORMAT}", _ANEW)
        placed = tuple(Placed(_entry(item), item["layer"]) for item in data["entries"])
        manifest = Manifest(data["subject"], placed, data["id"])
        expected = content_id(item.entry for item in placed)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise MetisError("what should be a manifest is none", _ANEW) from None
    if manifest.id != expected:
        raise MetisError(f"the manifest of {manifest.subject} was changed by hand", _ANEW)
    return manifest


def _entry_data(entry: Entry, *, with_source: bool = True) -> dict[str, Any]:
    data = {key: value for key, value in asdict(entry).items() if (key, value) not in _USUAL}
    data["kind"] = kind(entry)
    if isinstance(entry, File | Directory):
        data["mode"] = f"{entry.mode:04o}"
    if isinstance(entry, File):
        data["content"] = [_piece_data(piece, with_source=with_source) for piece in entry.content]
    if isinstance(entry, Edit):
        data["arguments"] = {name: _value_data(value) for name, value in entry.arguments}
    return data


def _piece_data(piece: Piece, *, with_source: bool) -> dict[str, Any]:
    match piece:
        case Text(text):
            return {"text": text}
        case SecretRef():
            return _secret_data(piece)
        case Blob(sha256, source):
            return {"sha256": sha256, **({"source": source} if with_source else {})}
        case Reserved(size):
            return {"reserved": size}


def _secret_data(ref: SecretRef) -> dict[str, Any]:
    data = {"secret": ref.name, "form": ref.form, "optional": ref.optional}
    return {key: value for key, value in data.items() if (key, value) not in _USUAL}


def _value_data(value: Value) -> Any:  # noqa: ANN401 - text, or a map that says what to look up
    match value:
        case SecretRef():
            return _secret_data(value)
        case ImageFact(name):
            return {"image": name}
        case str():
            return value


def _entry(data: Mapping[str, Any]) -> Entry:
    fields = {key: value for key, value in data.items() if key not in {"kind", "layer"}}
    if "mode" in fields:
        fields["mode"] = int(fields["mode"], 8)
    if "content" in fields:
        fields["content"] = tuple(map(_piece, fields["content"]))
    if "arguments" in fields:
        fields["arguments"] = tuple(
            (name, _value(item)) for name, item in sorted(fields["arguments"].items())
        )
    return _KINDS[data["kind"]](**fields)


def _piece(data: Mapping[str, Any]) -> Piece:
    if "text" in data:
        return Text(data["text"])
    if "reserved" in data:
        return Reserved(int(data["reserved"]))
    return _secret(data) if "secret" in data else Blob(data["sha256"], data["source"])


def _secret(data: Mapping[str, Any]) -> SecretRef:
    return SecretRef(data["secret"], data.get("form", "text"), data.get("optional", False))


def _value(data: str | Mapping[str, Any]) -> Value:
    if isinstance(data, str):
        return data
    return _secret(data) if "secret" in data else ImageFact(data["image"])
