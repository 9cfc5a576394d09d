"""What is in the store, and how it leaves it: only whole, and never while somebody works on it.

What has no business in the store's folders is neither followed nor touched, such as links and strange names.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import MetisError, from_os
from ..machine.progress import Advance
from .policy import Contents, Held
from .store import BusyError, Store, digest, is_key, stamp


@dataclass(frozen=True, slots=True)
class Rotten:
    """A file that is not what it is named for any more: its SHA-256 now, and why it is still there."""

    held: Held
    found: str
    fault: MetisError | None = None


def contents(store: Store) -> Contents:
    """Everything that is there, each kind by its keys; nothing where there is no store."""
    files = (store.about(name) for name in _keys(store.root / "sha256"))
    unfinished = (_unfinished(store, name) for name in _keys(store.root / "partial"))
    return Contents(tuple(filter(None, files)), tuple(filter(None, unfinished)))


def recipes(store: Store) -> Mapping[str, tuple[str, ...]]:
    """By the hash of a file, the recipes that led to it: who makes it holds the lock of one of them."""
    found: dict[str, tuple[str, ...]] = {}
    for recipe in _keys(store.root / "names"):
        if sha256 := store.recall(recipe):
            found[sha256] = (*found.get(sha256, ()), recipe)
    return found


def drop_file(store: Store, held: Held, made_by: Sequence[str]) -> bool:
    """Remove a file, unless somebody works on it or has used it since; say whether it is gone.

    `held` is what it was when it was chosen, and `made_by` are the recipes that led to it.
    """

    def drop() -> bool:
        if store.about(held.key) != held:
            return False
        store.remove(held.key)
        return True

    return _alone(store, (held.key, *made_by), drop)


def drop_unfinished(store: Store, held: Held) -> bool:
    """Remove a download, unless somebody works on it or has done so since; say whether it is gone."""

    def drop() -> bool:
        if _unfinished(store, held.key) != held:
            return False
        store.drop_partial(held.key)
        return True

    return _alone(store, (held.key,), drop)


def drop_stray_evidence(store: Store, needed: Container[str]) -> None:
    """Remove what speaks for files that are not here, that nobody needs and nobody is fetching."""
    for key in _keys(store.root / "evidence"):

        def drop(key: str = key) -> bool:
            if not store.path(key).is_file():
                shutil.rmtree(store.evidence(key), ignore_errors=True)
            return True

        if key not in needed:
            _alone(store, (key,), drop)


def drop_rotten(store: Store, held: Held, advance: Advance) -> Rotten | None:
    """Hash a file, and remove it where that is not its name.

    None for one that is whole, and for one that somebody removed or replaced meanwhile. Raises OSError
    for one that cannot be read.
    """
    path = store.path(held.key)
    try:
        before = stamp(path)
        found = digest(path, advance)
    except FileNotFoundError:
        return None
    if found == held.key:
        return None
    try:
        return Rotten(held, found) if drop_as_seen(store, held.key, before) else None
    except OSError as error:
        return Rotten(held, found, from_os(error))


def drop_as_seen(store: Store, key: str, seen: Mapping[str, int]) -> bool:
    """Remove a file that was found to be rotten, if it still looks as it did then; say whether it is gone.

    Another one may have found the same, and have fetched it again since.
    """
    with suppress(FileNotFoundError), store.lock(key, f"at work on {key[:12]}"):
        if stamp(store.path(key)) == seen:
            store.remove(key)
            return True
    return False


def _alone(store: Store, keys: Sequence[str], drop: Callable[[], bool]) -> bool:
    with ExitStack() as locks:
        try:
            for key in keys:
                locks.enter_context(store.lock_if_free(key))
        except BusyError:
            return False
        return drop()


def _keys(folder: Path) -> list[str]:
    try:
        return sorted(filter(is_key, os.listdir(folder)))  # noqa: PTH208 - names, not paths
    except FileNotFoundError:
        return []


def _unfinished(store: Store, key: str) -> Held | None:
    """What has arrived under a key, and when the last of it did; None where there is no such folder."""
    folder = store.root / "partial" / key
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(status.st_mode):
        return None
    size, used = 0, status.st_mtime
    for top, folders, names in os.walk(folder):
        for name in (*folders, *names):
            try:
                status = Path(top, name).lstat()
            except FileNotFoundError:  # a download goes on
                continue
            size += status.st_size if stat.S_ISREG(status.st_mode) else 0
            used = max(used, status.st_mtime)
    return Held(key, size, used)
