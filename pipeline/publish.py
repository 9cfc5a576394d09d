"""A golden into a registry: a file of one's own, or the one that a class has from elsewhere."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .errors import MetisError, RefusedError, UsageError
from .golden import artifact, fetch
from .golden.artifact import Layer
from .golden.fetch import Means
from .golden.push import Part, push
from .golden.reference import Reference
from .golden.source import AbsentError, Wanted
from .golden.unpack import packing, raw_sha256
from .golden.url import file_name
from .inventory.wording import masked
from .model import ResolvedClass
from .store import digest

_MINISIGN = b"untrusted comment:"


@dataclass(frozen=True, slots=True)
class Golden:
    """A file that is to be published as a class's golden, and what proves whose it is, if anything does."""

    file: Path
    title: str
    source: str = ""
    signature: bytes | None = None


def own(file: Path, signature: Path | None) -> Golden:
    """A file of one's own; raises UsageError where there is none."""
    for path in (file, signature):
        if path is not None and not path.is_file():
            raise UsageError(f"{path} is no file", "name a golden, and its signature if it has one")
    return Golden(file, file.name, signature=signature.read_bytes() if signature else None)


def mirrored(wanted: Wanted, means: Means) -> Golden:
    """The golden that a class has, fetched and checked, with the signature that its publisher gave it."""
    found = fetch.golden(wanted, means)
    title = file_name(wanted.source) or "golden.img"
    proof = fetch.signature(wanted, found.sha256, means)
    return Golden(found.path, title, masked(wanted.source), proof)


def publish(
    golden: Golden, klass: ResolvedClass, reference: Reference, means: Means, *, replace: bool
) -> tuple[Reference, str]:
    """Push a golden under a tag; give what it is called with its digest, and the SHA-256 of the file.

    Raises UsageError for a reference without a tag, RefusedError where the tag names another golden already
    and `replace` does not allow that, and MetisError for what cannot be unpacked: no node could use it.
    """
    if not reference.tag:
        raise UsageError(f"{reference} names no tag", "name one, as in oci://host/repository:2026-11")
    reference = reference.unpinned()
    raw, _ = raw_sha256(golden.file, means.reporter, means.limit)
    sha256 = digest(golden.file)
    if not replace:
        _refuse_to_move(reference, sha256, means)
    annotations = {artifact.OS: klass.os, artifact.ARCH: klass.arch, artifact.RAW_SHA256: raw}
    if golden.source:
        annotations[artifact.SOURCE] = golden.source
    with ExitStack() as stack:
        parts = [Part(golden.file, packing(golden.file), golden.title, sha256)]
        if golden.signature is not None:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="metis-")))
            parts.append(_signature(folder, golden.title, golden.signature))
        registry = means.registries.at(reference.host)
        return push(artifact.GOLDEN, parts, annotations, reference, registry, means.reporter), sha256


def _refuse_to_move(reference: Reference, sha256: str, means: Means) -> None:
    """Raise where a tag names another golden: whoever has pinned that one would find it gone."""
    try:
        found = _there(reference, means)
    except AbsentError:
        return
    if found is None or found.sha256 != sha256:
        raise RefusedError(
            f"{reference} names another golden already", "name a new tag, or say --replace if that is meant"
        )


def _there(reference: Reference, means: Means) -> Layer | None:
    content, told = means.registries.at(reference.host).manifest(reference.repository, reference.tag)
    try:
        return artifact.golden_of(
            artifact.parse(content, str(reference), reference.tag, told), str(reference)
        )
    except MetisError:
        return None


def _signature(folder: Path, title: str, content: bytes) -> Part:
    """A detached signature as a file of the artifact, under the name that its makers give it."""
    kind, ending = ("minisign", "minisig") if content.startswith(_MINISIGN) else ("pgp", "asc")
    file = folder / "signature"
    file.write_bytes(content)
    return Part(file, artifact.SIGNATURE_TYPES[kind], f"{title}.{ending}")
