"""A lab's cache: who of the inventory needs what is in it, and what goes when room is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ..cache import contents as store_contents
from ..cache import policy
from ..cache.contents import Rotten
from ..cache.policy import Contents, Held, Limits
from ..errors import MetisError, RottenError, SeveralErrors, from_os
from .lab import read_json

if TYPE_CHECKING:
    from pathlib import Path

    from ..model import DeclaredGolden, ResolvedClass
    from .lab import Lab


class UnknownNeedsError(SeveralErrors):
    """An inventory that cannot be read as a whole: nobody knows what it needs, so nothing is removed."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Who needs what, by its key in the cache (a hash, or a recipe); `errors` say why that is not all."""

    users: Mapping[str, tuple[str, ...]]
    errors: tuple[MetisError, ...] = ()


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went, what was to go but is in use, and what is left, all of it and what of it is needed (bytes).

    `errors` say what could not be removed.
    """

    gone: Contents
    in_use: tuple[Held, ...]
    left: int
    needed: int
    errors: tuple[MetisError, ...] = ()


@dataclass(frozen=True, slots=True)
class Verified:
    """What was hashed, what of it had rotted, and what is to be said of that and of what cannot be read."""

    files: tuple[Held, ...]
    rotten: tuple[Rotten, ...]
    errors: tuple[MetisError, ...]


class LabCache:
    """What people ask of the cache that a lab works with."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def contents(self) -> Contents:
        """What is there."""
        return store_contents.contents(self._lab.store)

    # -------------------------------------------------------------------------------- who needs what

    def needs(self) -> Needs:
        """What the inventory's classes and nodes need; one that is broken hides none of the others."""
        users: dict[str, tuple[str, ...]] = {}
        errors: list[MetisError] = []
        try:
            askers = list(self._askers())
        except MetisError as error:
            return Needs({}, (error,))
        for who, keys in askers:
            try:
                for key in keys():
                    users[key] = (*users.get(key, ()), who)
            except MetisError as error:
                errors.append(error)
        return Needs(users, tuple(errors))

    def _askers(self) -> Iterator[tuple[str, Callable[[], set[str]]]]:
        for name in self._lab.inventory.names("classes"):
            yield f"class {name}", partial(self._of_class, name)
        for name in self._lab.inventory.names("nodes"):
            yield f"node {name}", partial(self._of_node, name)

    def _of_class(self, name: str) -> set[str]:
        """What a class declares itself, also one that no node has yet, and what it is resolved to."""
        document = self._lab.inventory.get("classes", name)
        declared = document.data if document else {}
        found = {item["sha256"] for item in declared.get("files", ())}
        if "sha256" in declared.get("image", {}):
            found.add(declared["image"]["sha256"])
        if override := self._lab.settings.override(name):
            found.add(override.sha256)
        if declared.get("abstract"):
            return found
        klass = self._lab.live_composer.klass(name)
        found |= {item.sha256 for item in klass.files}
        found |= _in_receipt(self._lab.artifacts.golden_receipt(name))
        return found | (self._of_golden(klass, klass.golden) if klass.golden else set())

    def _of_golden(self, klass: ResolvedClass, golden: DeclaredGolden) -> set[str]:
        from ..golden import fetch

        keys = (fetch.recipe(golden.source, klass.arch), self._lab.goldens.known(klass, golden))
        return {key for key in keys if key}

    def _of_node(self, name: str) -> set[str]:
        return {item.sha256 for item in self._lab.live_composer.fetched(name)}

    # --------------------------------------------------------------------------------- what goes

    def has_any(self, limits: Limits) -> bool:
        """Whether anything could go by these limits, needed or not; the inventory is not read for that."""
        return bool(policy.going(self.contents(), (), time.time(), limits).size)

    def prune(self, limits: Limits, *, dry_run: bool) -> Pruned:
        """Remove what goes by these limits, and say what; with `dry_run`, only say what would go.

        Raises UnknownNeedsError where the inventory cannot be read.
        """
        # What is made after this look is not in it; what was made before it, the inventory knows by now.
        there, needs = self.contents(), self.needs()
        if needs.errors:
            self._lab.reporter.note("nothing is removed, as what the inventory needs cannot be told")
            raise UnknownNeedsError(needs.errors)
        self._lab.warn()
        going = policy.going(there, needs.users, time.time(), limits)
        needed = sum(item.size for item in there.files if item.key in needs.users)
        if dry_run:
            return Pruned(going, (), there.size - going.size, needed)
        store, errors = self._lab.store, list[MetisError]()
        made_by = store_contents.recipes(store)

        def drop_file(item: Held) -> bool:
            return store_contents.drop_file(store, item, made_by.get(item.key, ()))

        files = _dropped(going.files, drop_file, errors)
        unfinished = _dropped(going.unfinished, partial(store_contents.drop_unfinished, store), errors)
        store_contents.drop_stray_evidence(store, needs.users)
        gone = Contents(tuple(files[True]), tuple(unfinished[True]))
        return Pruned(gone, (*files[False], *unfinished[False]), self.contents().size, needed, tuple(errors))

    def verify(self) -> Verified:
        """Hash every file, and remove those that rotted."""
        files, rotten, errors = self.contents().files, list[Rotten](), list[MetisError]()
        label = f"checking {self._lab.store.root}"
        with self._lab.reporter.step(label, sum(item.size for item in files)) as advance:
            for item in files:
                try:
                    rot = store_contents.drop_rotten(self._lab.store, item, advance)
                except OSError as error:
                    errors.append(from_os(error))
                    continue
                if rot:
                    rotten.append(rot)
                    errors.append(self._said(rot))
        return Verified(files, tuple(rotten), tuple(errors))

    def _said(self, rot: Rotten) -> RottenError:
        path = self._lab.store.path(rot.held.key)
        does = "cannot be removed" if rot.fault else "is removed"
        text = f"{path} rotted in the cache and {does}: its SHA-256 is {rot.found} now"
        return RottenError(text, str(rot.fault or "whoever needs it fetches it again"))


def _dropped(
    items: Sequence[Held], drop: Callable[[Held], bool], errors: list[MetisError]
) -> dict[bool, list[Held]]:
    """Those that went and those that are in use; why others could not be removed is added to `errors`."""
    found: dict[bool, list[Held]] = {True: [], False: []}
    for item in items:
        try:
            found[drop(item)].append(item)
        except OSError as error:
            errors.append(from_os(error))
    return found


def _in_receipt(receipt: Path) -> set[str]:
    """The golden that a class was given last: what is declared for it may not name one."""
    if not receipt.is_file():
        return set()
    try:
        return {str(read_json(receipt)["sha256"])}
    except (TypeError, KeyError):
        raise MetisError(f"{receipt} names no golden", "remove it and run again") from None
