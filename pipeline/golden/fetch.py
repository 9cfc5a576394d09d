"""A golden, or any other published file, by its source: from the store, else fetched, checked and kept.

This is where a scheme finds its source. Another source is a file beside this one and a line in SCHEMES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from .. import durable
from ..errors import MismatchError, SourceError, UsageError
from ..progress import Reporter
from ..store import Store, digest
from .file import FileSource
from .http import HttpSource
from .source import Source, TooLargeError


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified file in the store."""

    path: Path
    sha256: str


class DebianSource:
    """A Debian suite as a small image that is built here; see `debian`."""

    remote: ClassVar[bool] = True

    def __init__(self, source: str, arch: str) -> None:
        from . import debian

        self.name = source
        self._suite = source.partition(":")[2]
        self._arch = arch
        self.recipe = debian.recipe_key(self._suite, arch)

    def fetch(self, into: Path, reporter: Reporter, limit: int) -> str:
        """Build the image and hash it."""
        from . import debian

        debian.build(self._suite, into, reporter, self._arch)
        return digest(into)


SCHEMES: Mapping[str, Callable[[str, Path, str], Source]] = MappingProxyType(
    {
        "file": lambda source, folder, _: FileSource(source, folder),
        "http": lambda source, *_: HttpSource(source),
        "https": lambda source, *_: HttpSource(source),
        "debian": lambda source, _, arch: DebianSource(source, arch),
    }
)
"""By scheme: from the source as declared, the inventory's folder and the architecture to its Source."""


def golden(
    source: str,
    sha256: str | None,
    *,
    inventory: Path,
    store: Store,
    reporter: Reporter,
    offline: bool,
    arch: str,
    limit: int,
) -> Fetched:
    """Give the file that `source` names, from the store if it is there.

    `sha256` is of the file as published, None for what is made by a recipe. `inventory` is the folder (or
    the one file) that a relative `file:` starts from. Whoever else wants the same file meanwhile waits. What
    is published is taken up to `limit` bytes.
    Raises UsageError for a source that makes no sense, SourceError for one that cannot be reached, or is not
    to be (`offline`), MismatchError for a file with another hash, MetisError for one over the limit and for a
    store on a full disk.
    """
    origin = _opened(source, inventory, arch)
    key = sha256.lower() if sha256 else origin.recipe
    if key is None:
        raise UsageError(f"{origin.name} has no sha256", "declare the hash of the file as it is published")
    try:
        with store.lock(key, f"fetching {origin.name}"):
            known = key if sha256 else store.recall(key)
            path = store.find(known) if known else None
            if known and path:
                return Fetched(path, known)
            if offline and origin.remote:
                raise SourceError(
                    f"{origin.name} is not in the cache {store.root}, and METIS_OFFLINE is set",
                    "run once without METIS_OFFLINE, or copy the cache from a machine that has it",
                )
            return _fetched(origin, key, store, reporter, limit)
    except OSError as error:
        raise durable.out_of_room(store.root, error) from error


def recipe(source: str, *, inventory: Path, arch: str) -> str | None:
    """The hash of the recipe that a source is made by, None for a source that is published."""
    return _opened(source, inventory, arch).recipe


def _opened(source: str, inventory: Path, arch: str) -> Source:
    scheme = source.partition(":")[0].lower()
    if ":" not in source or scheme not in SCHEMES:
        known = ", ".join(f"{name}:" for name in SCHEMES)
        raise UsageError(f"the source {scheme[:80]!r} is of no known kind", f"a source begins with {known}")
    return SCHEMES[scheme](source, inventory.parent if inventory.is_file() else inventory, arch)


def _fetched(origin: Source, key: str, store: Store, reporter: Reporter, limit: int) -> Fetched:
    """Fetch into the store, under its lock; the key of what is published is its hash."""
    if origin.recipe:
        store.drop_partial(key)  # only a download can go on from what a kill has left
    try:
        into = store.partial(key) / "golden"
        resumed = into.exists()
        found = origin.fetch(into, reporter, limit)
        if resumed and found != key:
            # A power cut may have left zeros where bytes had arrived: the source is not to blame yet.
            reporter.note(f"{origin.name} is not what was declared after an earlier break: fetching it again")
            store.drop_partial(key)
            into = store.partial(key) / "golden"
            found = origin.fetch(into, reporter, limit)
    except (OSError, TooLargeError):
        store.drop_partial(key)
        raise
    if key not in {found, origin.recipe}:
        store.drop_partial(key)
        raise MismatchError(
            f"{origin.name} has the SHA-256 {found}, but {key} is declared",
            "see whether its publisher replaced it, and declare the hash that the publisher names",
        )
    path = store.admit(into, found)
    if key == origin.recipe:
        store.remember(key, found)
    store.drop_partial(key)
    return Fetched(path, found)
