"""A manifest as plain data for JSON, and back; and the hash over such data that says what is the same.

Pure. How layers become one manifest is in `manifest`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from .errors import MetisError
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
    Symlink,
    Text,
    Value,
)

FORMAT = 2
"""The version of the JSON form; another one is not read."""

_ANEW = "remove it from the folder for artifacts and run again"

_KINDS: dict[str, type[File | Directory | Symlink | Remove | Edit | Needs]] = {
    kind.__name__.lower(): kind for kind in (File, Directory, Symlink, Remove, Edit, Needs)
}
_FIELDS = {made: tuple(each.name for each in fields(made)) for made in _KINDS.values()}
_USUAL = (("immutable", False), ("preferred", ""), ("optional", False), ("form", "text"))
"""What most entries have is not written down."""


def kind(entry: Entry) -> str:
    """The word for an entry's kind: file, directory, symlink, remove, edit or needs."""
    return type(entry).__name__.lower()


def content_id(entries: Iterable[Entry]) -> str:
    """The hash of what the entries do; where their content lies and which layer brought them is left out."""
    content = [_entry_data(entry, with_source=False) for entry in entries]
    return digest({"format": FORMAT, "entries": content})


def digest(value: object) -> str:
    """SHA-256 over the canonical JSON of plain data, as hex."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


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
    # No asdict(): it copies all that is within, and thousands of entries are hashed for a lab.
    found = ((name, getattr(entry, name)) for name in _FIELDS[type(entry)])
    data: dict[str, Any] = {name: value for name, value in found if (name, value) not in _USUAL}
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
