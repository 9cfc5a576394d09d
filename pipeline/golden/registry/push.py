"""Publishing an artifact in a registry: its files first, its manifest last, so nobody finds half of it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...cache.store import digest
from ...errors import RefusedError
from ...machine.progress import Reporter
from . import artifact
from .artifact import Layer
from .reference import Reference
from .registry import Registry


@dataclass(frozen=True, slots=True)
class Part:
    """A file of an artifact that is to be, with its media type and the name that it has there.

    `sha256` is its hash, None where nobody has hashed it yet.
    """

    file: Path
    type: str
    title: str
    sha256: str | None = None


def push(
    kind: str,
    parts: Sequence[Part],
    annotations: Mapping[str, str],
    reference: Reference,
    registry: Registry,
    reporter: Reporter,
    *,
    instead_of: str = "",
) -> Reference:
    """Publish files under the tag of a reference, and give it with the digest of what is there now.

    Raises SourceError where the registry does not take them, and RefusedError, with nothing pushed, where the
    tag names something else: `instead_of` is the digest of what it names, "" where that does not matter.
    """
    layers = []
    for part in parts:
        size = part.file.stat().st_size
        with reporter.step(f"hashing {part.title}", size) as advance:
            sha256 = part.sha256 or digest(part.file, advance)
        layers.append(Layer(f"sha256:{sha256}", size, part.type, part.title))
    content = artifact.written(kind, layers, annotations)
    found = artifact.digest_of(content)
    if instead_of not in {"", found}:
        raise RefusedError(
            f"{reference.unpinned()} names another golden already",
            "name a new tag, or say --replace if that is meant",
        )
    for part, layer in zip(parts, layers, strict=True):
        with reporter.step(f"pushing {part.title}", layer.size) as advance:
            registry.push_blob(reference.repository, layer.digest, part.file, advance)
    with tempfile.NamedTemporaryFile() as empty:
        empty.write(artifact.EMPTY)
        empty.flush()
        nothing = artifact.digest_of(artifact.EMPTY)
        registry.push_blob(reference.repository, nothing, Path(empty.name), lambda _: None)
    registry.push_manifest(reference.repository, reference.tag, content, found)
    return reference.pinned(found)
