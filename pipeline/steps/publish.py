"""A golden into a registry: a file of one's own, or the one that a class has from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import UsageError
from ..golden import fetch
from ..golden.fetch import Means
from ..golden.registry import artifact
from ..golden.registry.push import Part, push
from ..golden.registry.reference import Reference
from ..golden.registry.registry import Registry
from ..golden.source import AbsentError, Wanted
from ..golden.trust import minisign, signatures
from ..golden.unpack import digests, packing
from ..golden.urls import file_name
from ..model import ResolvedClass
from ..wording import masked

_ARMOUR = b"-----BEGIN PGP"


@dataclass(frozen=True, slots=True)
class Golden:
    """A file that is to be published as a class's golden, and what proves whose it is, if anything does."""

    file: Path
    title: str
    source: str = ""
    signature: bytes | None = None


def own(file: Path, signature: Path | None) -> Golden:
    """A file of one's own; raises UsageError where there is none, or it has a name that nobody takes."""
    for path in (file, signature):
        if path is not None and not path.is_file():
            raise UsageError(f"{path} is no file", "name a golden, and its signature if it has one")
    if not artifact.is_plain(file.name):
        raise UsageError(f"{file.name!r} is no name for a file of an artifact", "give the file another one")
    return Golden(file, file.name, signature=_read(signature) if signature else None)


def _read(signature: Path) -> bytes:
    with signature.open("rb") as file:
        content = file.read(signatures.LARGEST + 1)
    if len(content) > signatures.LARGEST:
        raise UsageError(f"{signature} is no signature", "it would have a few hundred bytes")
    return content


def mirrored(wanted: Wanted, means: Means) -> Golden:
    """The golden that a class has, fetched and checked, with the signature that its publisher gave it."""
    found = fetch.fetched(wanted, means)
    title = file_name(wanted.source)
    proof = fetch.signature(wanted, found.sha256, means)
    return Golden(
        found.path, title if artifact.is_plain(title) else "golden.img", masked(wanted.source), proof
    )


def publish(
    golden: Golden, klass: ResolvedClass, reference: Reference, means: Means, *, replace: bool
) -> tuple[Reference, str]:
    """Push a golden under a tag; give what it is called with its digest, and the SHA-256 of the file.

    Raises UsageError for a reference without a tag, MismatchError for a signature that the class would not
    take, RefusedError where the tag names something else already and `replace` does not allow that, and
    MetisError for what cannot be unpacked: no node could use it.
    """
    if not reference.tag:
        raise UsageError(f"{reference} names no tag", "name one, as in oci://host/repository:2026-11")
    _judge(golden, klass, means)
    sha256, raw = digests(golden.file, means.reporter, means.limit)
    annotations = {artifact.OS: klass.os, artifact.ARCH: klass.arch, artifact.RAW_SHA256: raw}
    if golden.source:
        annotations[artifact.SOURCE] = golden.source
    with TemporaryDirectory(prefix="metis-") as folder:
        parts = [Part(golden.file, packing(golden.file), golden.title, sha256)]
        if golden.signature is not None:
            parts.append(_signature(Path(folder), golden.title, golden.signature))
        registry = means.registries.at(reference.host)
        there = "" if replace else _there(reference, registry)
        pushed = push(
            artifact.GOLDEN, parts, annotations, reference, registry, means.reporter, instead_of=there
        )
    return pushed, sha256


def _judge(golden: Golden, klass: ResolvedClass, means: Means) -> None:
    """Raise where the class that it is for would refuse the golden's signature."""
    about = klass.golden.signature if klass.golden else None
    if golden.signature is not None and about is not None and not golden.source:
        signatures.verify(golden.file, golden.title, golden.signature, means.folder / about.keyring)


def _there(reference: Reference, registry: Registry) -> str:
    """The digest of what a tag names already, "" for nothing."""
    try:
        content, _ = registry.manifest(reference.repository, reference.tag)
    except AbsentError:
        return ""
    return artifact.digest_of(content)


def _signature(folder: Path, title: str, content: bytes) -> Part:
    """A detached signature as a file of the artifact, under the name that its makers give it."""
    if content.startswith(minisign.COMMENT):
        kind, ending = "minisign", "minisig"
    else:
        kind, ending = "pgp", "asc" if content.startswith(_ARMOUR) else "sig"
    file = folder / "signature"
    file.write_bytes(content)
    return Part(file, artifact.SIGNATURE_TYPES[kind], f"{title}.{ending}")
