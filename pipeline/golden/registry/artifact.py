"""What an artifact of a registry is made of: its manifest, read with suspicion, and written.

Pure: bytes come in and go out (OCI Image Format Specification 1.1, Image Manifest).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import MetisError, MismatchError

GOLDEN = "application/vnd.metis.golden.v1"
NODE_IMAGE = "application/vnd.metis.image.v1"
"""What an artifact is, where this one made it; a golden may have been pushed by others too."""

SIGNATURE_TYPES = {"pgp": "application/pgp-signature", "minisign": "application/vnd.metis.minisign"}
"""Media types of files that are detached signatures (RFC 3156; minisign has none of its own)."""
TITLE = "org.opencontainers.image.title"
SOURCE = "org.opencontainers.image.source"
OS, ARCH, RAW_SHA256 = "dev.metis.os", "dev.metis.arch", "dev.metis.raw.sha256"
"""Annotations of a golden; the last is the SHA-256 of the raw image that is packed in it."""

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_LAYERS = 64
_MAX_TITLE = 255
_LARGEST = 1 << 50
LARGEST_MANIFEST = 1 << 18
"""Bytes; what JSON makes in memory may be thirty times as much."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A file of an artifact: `size` is in bytes, `title` its name, "" where it has none."""

    digest: str
    size: int
    type: str
    title: str = ""

    @property
    def sha256(self) -> str:
        """The hash of its bytes."""
        return self.digest.removeprefix("sha256:")


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact; `digest` is that of its manifest, `type` what it says it is."""

    digest: str
    type: str
    layers: Sequence[Layer]
    annotations: Mapping[str, str] = field(default_factory=dict)


def digest_of(content: bytes) -> str:
    """The digest of some bytes, as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def parse(content: bytes, name: str, wanted: str, told: str) -> Artifact:
    """Read the manifest that a registry sent for `name`, which was asked for by `wanted`, a tag or digest.

    `told` is the digest that the registry says it has, "" where it says none. Raises MismatchError where the
    digest is another or a file's title leads elsewhere, and MetisError for what is no artifact of files.
    """
    found = digest_of(content)
    for expected in (wanted if ":" in wanted else "", told):
        if expected and expected != found:
            raise MismatchError(
                f"{name}: the registry sends another manifest ({found}) than {expected}",
                "see who changed it there",
            )
    if len(content) > LARGEST_MANIFEST:
        raise MetisError(
            f"{name}: its manifest has more than {LARGEST_MANIFEST >> 10} KiB", "see what was pushed"
        )
    try:
        data = json.loads(content)
        kind = data.get("mediaType", MANIFEST)
        if "manifests" in data or kind not in {MANIFEST, DOCKER_MANIFEST}:
            raise MetisError(f"{name} is a list of artifacts, or none", "name one by its own tag or digest")
        layers = [_layer(item, name) for item in data["layers"]]
        config = data.get("config", {}).get("mediaType", "")
        annotations = {str(key): str(value) for key, value in (data.get("annotations") or {}).items()}
        artifact = Artifact(found, str(data.get("artifactType", config)), layers, annotations)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise MetisError(f"{name}: the registry sends what is no manifest", "see what was pushed") from None
    if not 1 <= len(layers) <= _MAX_LAYERS:
        raise MetisError(f"{name} has {len(layers)} files", "push an image as `metis golden push` does")
    return artifact


def _layer(item: Mapping[str, Any], name: str) -> Layer:
    digest, size = item["digest"], item["size"]
    title = (item.get("annotations") or {}).get(TITLE, "")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise MetisError(f"{name} names a file by something else than its SHA-256", "push it again")
    if type(size) is not int or not 0 <= size <= _LARGEST:
        raise MetisError(f"{name} has a file of no possible size", "push it again")
    if title and not is_plain(title):
        raise MismatchError(
            f"{name} has a file whose title leads elsewhere", "do not trust who pushed it, and push it again"
        )
    return Layer(digest, size, str(item.get("mediaType", "")), title)


def is_plain(title: object) -> bool:
    """Whether a title names a file and neither a folder, a place elsewhere nor what terminals obey."""
    return (
        isinstance(title, str)
        and 1 <= len(title) <= _MAX_TITLE
        and title not in {".", ".."}
        and not set(title) & {"/", "\\"}
        and title.isprintable()
    )


def golden_of(artifact: Artifact, name: str) -> Layer:
    """The one file of an artifact that is no signature; raises MetisError where there are several."""
    found = [layer for layer in artifact.layers if layer.type not in SIGNATURE_TYPES.values()]
    if len(found) != 1:
        raise MetisError(
            f"{name} has {len(found)} files that could be the golden", "push it with `metis golden push`"
        )
    return found[0]


def signatures_of(artifact: Artifact) -> list[Layer]:
    """The files of an artifact that are signatures."""
    return [layer for layer in artifact.layers if layer.type in SIGNATURE_TYPES.values()]


def written(kind: str, layers: Sequence[Layer], annotations: Mapping[str, str]) -> bytes:
    """The manifest of an artifact of these files, with an empty configuration; equal ones are equal bytes."""
    data = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": {"mediaType": _EMPTY_TYPE, "digest": digest_of(EMPTY), "size": len(EMPTY)},
        "layers": [
            {
                "mediaType": layer.type,
                "digest": layer.digest,
                "size": layer.size,
                "annotations": {TITLE: layer.title},
            }
            for layer in layers
        ],
        "annotations": dict(sorted(annotations.items())),
    }
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
