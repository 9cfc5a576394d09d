"""Where everything that is generated lies: one folder, private to us, with a fixed plan."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The paths below the folder for artifacts; nothing is made by asking for one."""

    root: Path

    def overlay(self, folder: str) -> Path:
        """The listing of an overlay."""
        short = hashlib.sha256(folder.encode()).hexdigest()[:8]
        return self.root / "overlays" / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', folder)}-{short}.json"

    def golden_source(self, klass: str) -> Path:
        """Where a class's golden comes from."""
        return self.root / "golden" / f"{klass}.source.json"

    def golden_receipt(self, klass: str) -> Path:
        """Which golden a class has, once it is in the cache."""
        return self.root / "golden" / f"{klass}.receipt.json"

    def base_manifest(self, klass: str) -> Path:
        """What is done to a class's golden to make its base."""
        return self.root / "base" / f"{klass}.manifest.json"

    def base(self, klass: str) -> Path:
        """A class's base."""
        return self.root / "base" / f"{klass}.img"

    def manifest(self, node: str) -> Path:
        """A node's manifest."""
        return self.root / "manifests" / f"{node}.json"

    def image(self, node: str) -> Path:
        """A node's image."""
        return self.root / f"{node}.img"

    def boot(self, node: str) -> Path:
        """Where a copy of a node's image boots."""
        return self.root / "boots" / node

    def burn(self, node: str, when: str) -> Path:
        """The receipt of a burn."""
        return self.burns / f"{node}-{when}.json"

    @property
    def burns(self) -> Path:
        """The folder of the receipts of burns."""
        return self.root / "burns"

    @property
    def snapshots(self) -> Path:
        """Where nodes' snapshots are looked for unless another place is named."""
        return self.root / "snapshots"

    @property
    def state(self) -> Path:
        """What runs remember; unlike `root`, which an operator may have made, always made by us."""
        return self.root / ".state"

    def index(self, inventory_key: str) -> Path:
        """What is remembered of an inventory's files between runs."""
        return self.state / f"index-{inventory_key}.json"

    def expected(self, inventory_key: str) -> Path:
        """What is remembered of what nodes must be."""
        return self.state / f"expected-{inventory_key}.jsonl"

    def doit_state(self, inventory_key: str) -> Path:
        """What doit remembers of an inventory's tasks."""
        return self.state / f"doit-{inventory_key}.sqlite3"

    @property
    def history(self) -> Path:
        """The database of what happened."""
        return self.root / "history.sqlite3"

    @property
    def exports(self) -> Path:
        """The folder of packed images that other desktops may fetch for a while."""
        return self.root / "exports"

    @property
    def nightly(self) -> Path:
        """The folder of what nightly runs report."""
        return self.root / "nightly"

    @property
    def nightly_figures(self) -> Path:
        """The figures of the last nightly run, which the service tells."""
        return self.nightly / "metis.prom"

    @property
    def nightly_lock(self) -> Path:
        """Held by a nightly run from its first step to its last."""
        return self.state / "nightly.lock"

    @property
    def lock(self) -> Path:
        """Held by whoever changes anything below the folder."""
        return self.state / "lock"


def bmap_of(image: Path) -> Path:
    """The block map of an image or a base."""
    return image.with_name(f"{image.name}.bmap")


def receipt_of(image: Path) -> Path:
    """The receipt of an image or a base: `titan-13.img` has `titan-13.receipt.json`."""
    return image.with_name(f"{image.stem}.receipt.json")
