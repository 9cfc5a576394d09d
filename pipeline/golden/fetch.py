"""A golden, or any other published file: from the store, else fetched, checked and kept.

Which source serves which scheme stands in `schemes`, what a signature or a list of hashes proves in
`trust.evidence`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..cache.store import Store
from ..errors import MismatchError, SourceError, UsageError
from ..machine import durable
from ..machine.progress import Reporter
from . import schemes
from .asking import USUAL, Manners
from .backoff import TRIES, TRIES_BEFORE_A_MIRROR
from .debian.source import DebianSource
from .oci import OciSource
from .registry.reference import Reference
from .registry.registry import Registries
from .source import Source, TooLargeError, Wanted
from .terms import Environment, Terms
from .trust.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified file in the store."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class Means:
    """What fetching works with.

    `folder` is where relative sources and keyrings start from. What is published is taken up to `limit`
    bytes; nothing is reached where `offline`.
    """

    folder: Path
    store: Store
    reporter: Reporter
    registries: Registries
    environment: Environment
    offline: bool
    limit: int

    def terms(self, wanted: Wanted, manners: Manners = USUAL) -> Terms:
        """What the sources of a file are opened with."""
        return Terms(self.folder, wanted.arch, self.registries, self.environment, wanted.sha256, manners)


@dataclass(frozen=True, slots=True)
class Published:
    """What is published under a name that may be moved: the file's hash, and the artifact where it is one."""

    sha256: str
    reference: Reference | None = None


def fetched(wanted: Wanted, means: Means) -> Fetched:
    """Give a published file, from the store if it is there.

    Without a hash it is what its tag or its publisher's list names now. Whoever else wants the same file
    meanwhile waits. Raises UsageError for a source that makes no sense, SourceError for one that cannot be
    reached, or is not to be, MismatchError for a file that is not the one that is wanted, or not signed as it
    must be, and MetisError for one over the limit and for a store on a full disk. None of these enters.
    """
    origin = schemes.opened(wanted.source, means.terms(wanted))
    made_by = None if wanted.sha256 else origin.recipe
    key = made_by or (wanted.sha256 or published(wanted, means).sha256).lower()
    wanted = replace(wanted, sha256=None if made_by else key)
    evidence = _evidence(wanted, means)
    try:
        with means.store.lock(key, f"fetching {origin.name}"):
            known = means.store.recall(key) if made_by else key
            path = means.store.find(known) if known else None
            if known and path:
                evidence.check(path, known)
                return Fetched(path, known)
            return _kept(wanted, key, evidence, means)
    except OSError as error:
        raise durable.out_of_room(means.store.root, error) from error


def published(wanted: Wanted, means: Means, *, by_tag: bool = False) -> Published:
    """What is there now: by the publisher's list of hashes, else by the digest, else by the tag.

    With `by_tag` a digest does not count; a declared hash never does.

    Raises UsageError for a source that has neither a list nor a registry, SourceError where nobody can be
    asked, and MismatchError for a list that is not signed as it must be.
    """
    if wanted.sums:
        return Published(_evidence(wanted, means).listed())
    if wanted.source.startswith("oci:"):
        if means.offline:
            raise _offline(f"what {wanted.source} is now", means)
        reference = Reference.parse(wanted.source)
        asked = reference.unpinned() if by_tag else reference
        source = OciSource(asked, means.registries.at(reference.host))
        return Published(source.golden.sha256, reference.pinned(source.artifact.digest))
    raise UsageError(f"{wanted.source} has no sha256", "declare the hash of the file as it is published")


def signature(wanted: Wanted, sha256: str, means: Means) -> bytes | None:
    """The detached signature of a golden that was fetched, None where its publisher signs none."""
    return _evidence(wanted, means).signature(sha256)


def is_movable(wanted: Wanted) -> bool:
    """Whether its publisher can put something else under the same name, and says so."""
    named = wanted.source.startswith("oci:") and Reference.parse(wanted.source).tag
    return bool(wanted.sums or named)


def recipe(source: str, arch: str) -> str | None:
    """The hash of the recipe that a source is made by, None for a source that is published."""
    return DebianSource(source, arch).recipe if source.startswith("debian:") else None


def _offline(name: str, means: Means) -> SourceError:
    return SourceError(
        f"{name} is not in the cache {means.store.root}, and METIS_OFFLINE is set",
        "run once without METIS_OFFLINE, or copy the cache from a machine that has it",
    )


def _evidence(wanted: Wanted, means: Means) -> Evidence:
    return Evidence(wanted, means.terms(wanted), means.store, means.reporter, offline=means.offline)


def _origins(wanted: Wanted, means: Means) -> list[Source]:
    """All that have the file, in the order in which they are asked; raises SourceError where none may be."""
    names = (wanted.source, *wanted.mirrors)
    tries = [*(TRIES_BEFORE_A_MIRROR for _ in wanted.mirrors), TRIES]
    manners = [Manners(tries=number, any_host=True) for number in tries]
    found = [schemes.opened(name, means.terms(wanted, own)) for name, own in zip(names, manners, strict=True)]
    may_be_asked = [origin for origin in found if not (means.offline and origin.remote)]
    if not may_be_asked:
        raise _offline(found[0].name, means)
    return may_be_asked


def _kept(wanted: Wanted, key: str, evidence: Evidence, means: Means) -> Fetched:
    """Fetch into the store, under its lock; the key of what is published is its hash."""
    made = wanted.sha256 is None
    origins, store = _origins(replace(wanted, mirrors=()) if made else wanted, means), means.store
    if made:
        store.drop_partial(key)  # only a download can go on from what a kill has left
    try:
        found, into, origin = _brought(origins, key, means, made=made)
        if not made and found != key:
            raise MismatchError(
                f"{origin.name} has the SHA-256 {found}, but {key} is declared",
                "see whether its publisher replaced it, and declare the hash that the publisher names",
            )
        evidence.check(into, found)
    except (OSError, TooLargeError, MismatchError):
        store.drop_partial(key)
        raise
    if made:
        # Before it is there: who makes room takes what nothing leads to for unneeded.
        store.remember(key, found)
    path = store.admit(into, found, origin.name)
    store.drop_partial(key)
    return Fetched(path, found)


def _brought(origins: Sequence[Source], key: str, means: Means, *, made: bool) -> tuple[str, Path, Source]:
    """What the first that can be reached has brought: its hash, where it is, and which origin that was."""
    for number, origin in enumerate(origins, 1):
        into = means.store.partial(key) / "golden"
        resumed = into.exists()
        try:
            found = origin.fetch(into, means.reporter, means.limit)
            if resumed and not made and found != key:
                # A power cut, or another host, may have left what does not belong there: this one is not to
                # blame yet.
                means.reporter.note(f"{origin.name} does not go with what was there: fetching it again")
                means.store.drop_partial(key)
                into = means.store.partial(key) / "golden"
                found = origin.fetch(into, means.reporter, means.limit)
        except SourceError as error:
            if number == len(origins):
                raise
            means.reporter.note(f"{error}; asking {origins[number].name} for it")
        else:
            return found, into, origin
    raise AssertionError("the last origin returns or raises")
