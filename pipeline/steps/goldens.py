"""Goldens of classes: which one each has, what is recorded of it, and how it gets into the cache."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..errors import MetisError
from ..golden import fetch
from ..golden.fetch import Fetched, Means
from ..golden.source import Wanted
from ..model import DeclaredGolden, RemoteFile, ResolvedClass
from ..settings import golden_variable
from ..wording import masked


class Goldens:
    """The goldens of an inventory's classes, and the other files that nodes need from outside."""

    def __init__(
        self, klass: Callable[[str], ResolvedClass], receipt_of: Callable[[str], Path], means: Means
    ) -> None:
        self._klass = klass
        self._receipt_of = receipt_of
        self.means = means

    def declared(self, name: str) -> DeclaredGolden:
        """A class's golden as declared; raises where there is none that can be fetched and checked."""
        return check_golden(self._klass(name))

    def wanted(self, klass: ResolvedClass, golden: DeclaredGolden) -> Wanted:
        """A class's golden, by the hash that is declared or else recorded."""
        sha256 = golden.sha256 or self._recorded(klass.name, golden)
        return Wanted(golden.source, sha256, klass.arch, golden.mirrors, golden.sums, golden.signature)

    def fetched(self, name: str) -> Fetched:
        """A class's golden in the cache, fetched if it is not there."""
        return fetch.fetched(self.wanted(self._klass(name), self.declared(name)), self.means)

    def fetch_files(self, files: Iterable[RemoteFile]) -> None:
        """Bring files into the cache that are not there."""
        for item in files:
            fetch.fetched(Wanted(item.source, item.sha256, "", item.mirrors), self.means)

    def known(self, klass: ResolvedClass, golden: DeclaredGolden) -> str | None:
        """The hash of a class's golden, as far as that is known without asking anybody."""
        recipe = fetch.recipe(golden.source, klass.arch)
        return self.means.store.recall(recipe) if recipe else self.wanted(klass, golden).sha256

    # ------------------------------------------------------------------------------------- receipts

    def source(self, name: str) -> dict[str, Any]:
        """What decides which golden a class has, and what it is checked by; a new one is looked at anew."""
        klass, golden = self._klass(name), self.declared(name)
        about: dict[str, Any] = {
            "source": masked(golden.source),
            "sha256": golden.sha256,
            "arch": klass.arch,
            "recipe": fetch.recipe(golden.source, klass.arch),
        }
        if golden.sums:
            about["sums"] = masked(golden.sums)
        if golden.signature:
            about["signature"] = {
                "source": masked(golden.signature.source or ""),
                "keyring": str(self.means.folder / golden.signature.keyring),
            }
        return about

    def receipt(self, name: str, found: Fetched) -> dict[str, str]:
        """What is recorded of a class's golden; its source too where the inventory does not pin it."""
        golden, about = self.declared(name), {"sha256": found.sha256}
        return {**about, "source": masked(golden.source)} if _is_recorded(golden) else about

    def _recorded(self, name: str, golden: DeclaredGolden) -> str | None:
        """Which golden an earlier run took where the inventory does not say: a moved tag is noticed."""
        if not _is_recorded(golden):
            return None
        try:
            about = json.loads(self._receipt_of(name).read_bytes())
            return str(about["sha256"]) if about["source"] == masked(golden.source) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _is_recorded(golden: DeclaredGolden) -> bool:
    """Whether only the receipt says which one it is: its publisher may name another at any time."""
    return not golden.sha256 and bool(golden.sums or golden.source.startswith("oci:"))


def check_golden(klass: ResolvedClass) -> DeclaredGolden:
    """The class's golden; raises where there is nothing to build from, or no hash to check it by.

    An artifact's manifest and a publisher's list name one.
    """
    golden = klass.golden
    if golden is None or not (golden.sha256 or golden.sums or golden.source.startswith(("debian:", "oci:"))):
        what = "no image" if golden is None else "no hash for its image"
        variable = golden_variable(klass.name)
        raise MetisError(
            f"class {klass.name} has {what}",
            f"set {variable} and {variable}_SHA256, or image.source and image.sha256 in the class",
        )
    if golden.signature and golden.source.startswith("debian:"):
        raise MetisError(
            f"class {klass.name} wants a signature, and nobody signs what is built here",
            "leave image.signature out of it and of what it extends, or name another source",
        )
    return golden
