"""Goldens of classes: which one each has, what is recorded of it, and how it gets into the cache."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..golden import fetch
from ..golden.fetch import Fetched, Means
from ..golden.source import Wanted
from ..model import Image, RemoteFile, ResolvedClass
from ..settings import image_variable
from ..wording import masked
from .compose import check_image


class Goldens:
    """The goldens of an inventory's classes, and the other files that nodes need from outside."""

    def __init__(
        self, klass: Callable[[str], ResolvedClass], receipt_of: Callable[[str], Path], means: Means
    ) -> None:
        self._klass = klass
        self._receipt_of = receipt_of
        self.means = means

    def image(self, name: str) -> Image:
        """A class's golden as declared; raises where there is none that can be fetched and checked."""
        return check_image(self._klass(name), image_variable(name))

    def wanted(self, klass: ResolvedClass, image: Image) -> Wanted:
        """A class's golden, by the hash that is declared or else recorded."""
        sha256 = image.sha256 or self._recorded(klass.name, image)
        return Wanted(image.source, sha256, klass.arch, image.mirrors, image.sums, image.signature)

    def fetched(self, name: str) -> Fetched:
        """A class's golden in the cache, fetched if it is not there."""
        return fetch.golden(self.wanted(self._klass(name), self.image(name)), self.means)

    def fetch_files(self, files: Iterable[RemoteFile]) -> None:
        """Bring files into the cache that are not there."""
        for item in files:
            fetch.golden(Wanted(item.source, item.sha256, "", item.mirrors), self.means)

    def known(self, klass: ResolvedClass, image: Image) -> str | None:
        """The hash of a class's golden, as far as that is known without asking anybody."""
        recipe = fetch.recipe(image.source, klass.arch)
        return self.means.store.recall(recipe) if recipe else self.wanted(klass, image).sha256

    # ------------------------------------------------------------------------------------- receipts

    def source(self, name: str) -> dict[str, Any]:
        """What decides which golden a class has, and what it is checked by; a new one is looked at anew."""
        klass, image = self._klass(name), self.image(name)
        about: dict[str, Any] = {
            "source": masked(image.source),
            "sha256": image.sha256,
            "arch": klass.arch,
            "recipe": fetch.recipe(image.source, klass.arch),
        }
        if image.sums:
            about["sums"] = masked(image.sums)
        if image.signature:
            about["signature"] = {
                "source": masked(image.signature.source or ""),
                "keyring": str(self.means.folder / image.signature.keyring),
            }
        return about

    def receipt(self, name: str, golden: Fetched) -> dict[str, str]:
        """What is recorded of a class's golden; its source too where the inventory does not pin it."""
        image = self.image(name)
        about = {"sha256": golden.sha256}
        return about if image.sha256 or not _is_recorded(image) else {**about, "source": masked(image.source)}

    def _recorded(self, name: str, image: Image) -> str | None:
        """Which golden an earlier run took where the inventory does not say: a moved tag is noticed."""
        if not _is_recorded(image):
            return None
        try:
            about = json.loads(self._receipt_of(name).read_bytes())
            return str(about["sha256"]) if about["source"] == masked(image.source) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _is_recorded(image: Image) -> bool:
    return bool(image.sums or image.source.startswith("oci:"))
