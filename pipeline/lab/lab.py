"""The composition root: one inventory with its artifacts, and the adapters that work on them.

What the graph does with a lab is in `graph.tasks`; what people ask of one, in the modules beside this.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..cache.store import Store
from ..errors import InventoryError, MetisError, MismatchError, Problem, UsageError
from ..inventory.index import Index
from ..inventory.index import build as build_index
from ..inventory.overlay import Listed
from ..inventory.read import Inventory
from ..machine import sudo
from ..machine.environment import user_folder, user_folders
from ..machine.once import shared_property
from ..machine.progress import Reporter
from ..machine.reporters import reporter
from ..manifest import secrets_of
from ..manifest_json import digest, from_data
from ..model import CACHED
from ..secrets.keyring import Keyring, Revealed
from ..secrets.places import SECRETS_VARIABLES
from ..secrets.used import UsedSecrets
from ..settings import LARGEST_CARD, Settings
from ..steps import receipts
from ..steps.artifacts import Artifacts
from . import injectors
from .secrets import LabSecrets

# What parses, renders, fetches and builds is imported where it is used: most runs find nothing to do.
if TYPE_CHECKING:
    from ..golden.fetch import Means
    from ..inject.appliance import Appliance
    from ..inject.tree import Injector
    from ..inventory.document import Document
    from ..model import Blob, Manifest
    from ..secrets.seal import Report as Sealed
    from ..secrets.source import SecretSource
    from ..steps.build import Tools
    from ..steps.compose import Composer
    from ..steps.goldens import Goldens
    from ..steps.ids import BaseManifest


class Lab:
    """One inventory with its artifacts. Safe to use from threads once `index` has been read."""

    def __init__(self, settings: Settings, *, remembers: bool = True) -> None:
        self.settings = settings
        self.reporter: Reporter = reporter(os.environ)
        self.artifacts = Artifacts(settings.artifacts)
        self.store = Store(settings.cache, self.reporter)
        self.remembers = remembers
        self.until_walked = ExitStack()
        """What is held open until the graph has been walked, or the walk was cut off."""

    @classmethod
    def from_environment(cls, *, remembers: bool = True, secrets: bool = True) -> Lab:
        """The lab that the environment names; relative paths count from the current folder.

        One that does not remember leaves no file behind by looking at the inventory. What the environment
        says of `secrets` counts only where they are wanted.
        """
        who = sudo.caller()
        if who is not None:
            sudo.at_home(who)
        left_out = frozenset() if secrets else SECRETS_VARIABLES
        environment = {name: value for name, value in os.environ.items() if name not in left_out}
        settings = Settings.from_environment(environment, Path.cwd())
        injectors.check(settings.injector)
        if who is not None:
            kept = filter(None, [settings.secrets.folder])
            own = (settings.artifacts, settings.cache, *kept, *user_folders(os.environ))
            sudo.give_back_at_exit(who, own)
        return cls(settings, remembers=remembers)

    # ------------------------------------------------------------------------------- what is there

    @shared_property
    def inventory(self) -> Inventory:
        """The declared state."""
        return Inventory(self.settings.inventory)

    @shared_property
    def index(self) -> Index:
        """What the graph knows of the inventory without resolving it."""
        cache = self.artifacts.index(self.settings.inventory_key)
        return build_index(self.inventory, cache, remember=self.remembers)

    @shared_property
    def nodes(self) -> tuple[str, ...]:
        """All nodes."""
        return tuple(self.index.nodes)

    @shared_property
    def classes(self) -> tuple[str, ...]:
        """All classes that have an image."""
        return tuple(name for name, about in self.index.classes.items() if not about.abstract)

    @shared_property
    def overlays(self) -> tuple[str, ...]:
        """The folders of all overlays, relative to the inventory."""
        folders = [folder for about in self.index.classes.values() for folder in about.overlays]
        folders += [folder for about in self.index.nodes.values() for folder in about.overlays]
        return tuple(dict.fromkeys(folders))

    @shared_property
    def composer(self) -> Composer:
        """Resolves and renders from what the graph has listed."""
        from ..steps.compose import Composer

        return Composer(self.inventory, self.settings.override, self._listed)

    @shared_property
    def live_composer(self) -> Composer:
        """Resolves and renders from the folders themselves, without the graph."""
        from ..steps.compose import Composer, live_listing

        return Composer(self.inventory, self.settings.override, live_listing(self.inventory))

    def warn(self) -> None:
        """Say what was surely meant otherwise: no nodes, files that are none, old names, unused goldens."""
        if not self.nodes:
            self.reporter.note(f"no nodes in {self.settings.inventory}")
        for file in self.inventory.misnamed():
            self.reporter.note(f"{self.inventory.shown(file)} is not read: name it .yaml")
        for line in self.index.renamed:
            self.reporter.note(line)
        used = {self.settings.override(name) for name in self.classes}
        for override in self.settings.overrides.values():
            if override not in used:
                self.reporter.note(f"{override.variable} names no class of this inventory, and is not used")

    # ------------------------------------------------------------------------------------- artifacts

    def manifest(self, name: str) -> Manifest:
        """What is put into a node's image, as the graph rendered it last."""
        return from_data(read_json(self.artifacts.manifest(name)))

    def base_manifest(self, klass: str) -> BaseManifest:
        """What is done to a class's golden to make its base, as the graph resolved it last."""
        from ..steps.ids import BaseManifest

        return BaseManifest.from_data(read_json(self.artifacts.base_manifest(klass)))

    def class_of(self, node: str) -> str:
        """A node's class; empty where none is known, which its manifest says."""
        return self.index.nodes[node].klass or ""

    def refuse_unknown(self, *names: str) -> None:
        """Raise UsageError for nodes that nobody declared."""
        unknown = [name for name in names if name not in self.index.nodes]
        if unknown:
            where = self.settings.inventory
            raise UsageError(f"no node {', '.join(unknown)} in {where}", "`metis status` lists them")

    def refuse_conflicts(self, name: str) -> None:
        """Raise where another node claims the same name or address."""
        about = self.index.nodes[name]
        if about.conflicts:
            file = self.inventory.shown(about.files[0])
            raise InventoryError([Problem(file, 0, "", conflict) for conflict in about.conflicts])

    def is_there(self, image: Path, made_from: Mapping[str, Any]) -> bool:
        """Whether an image is just what would be made: doit's state may be younger than the artifacts."""
        receipt = receipts.read(image)
        return receipt is not None and receipt.id == digest(made_from) and self.is_whole(image, receipt)

    def is_whole(self, image: Path, receipt: receipts.Receipt) -> bool:
        """Whether an image or a base is what its receipt says, by its hashes where the settings want that."""
        return receipts.is_whole(image, deep=self.settings.deep, reporter=self.reporter, receipt=receipt)

    # ------------------------------------------------------------------------------------ adapters

    @shared_property
    def tools(self) -> Tools:
        """What the heavy steps work with."""
        from ..steps.build import Tools

        injector = self.injector()
        return Tools(injector, self.open_blob, self.reporter, injectors.second_of(injector))

    @shared_property
    def size_limit(self) -> int:
        """No raw image may be larger, in bytes."""
        from ..inventory.formats import size_in_bytes

        return size_in_bytes(self.inventory.cluster().data.get("card", {}).get("max_size", LARGEST_CARD))

    @shared_property
    def appliance(self) -> Appliance:
        """Also what knows whether KVM works here."""
        from ..golden.schemes import CREDENTIALS
        from ..inject.appliance import Appliance

        return Appliance(user_cache() / "appliance.json", self.reporter, CREDENTIALS)

    def injector(self) -> Injector:
        """What opens images, as the settings choose it."""
        return injectors.INJECTORS[self.settings.injector](lambda: self.appliance, self.reporter.note)

    def open_blob(self, blob: Blob) -> BinaryIO:
        """The bytes of a blob, if they are still those that its hash names."""
        if blob.source.startswith(CACHED):
            path = self.store.find(blob.sha256)
            if path is None:
                raise MetisError(f"{blob.sha256[:12]} is not in the cache any more", "run again")
            return path.open("rb")
        descriptor = os.open(self.inventory.root / blob.source, os.O_RDONLY | os.O_NOFOLLOW)
        content = os.fdopen(descriptor, "rb")
        if hashlib.file_digest(content, "sha256").hexdigest() != blob.sha256:
            content.close()
            raise MismatchError(f"{blob.source} changed while it was used", "run again")
        content.seek(0, io.SEEK_SET)
        return content

    @shared_property
    def keyring(self) -> Keyring:
        """What nodes have of secrets."""
        used = UsedSecrets(self.artifacts.state, makes_key=self.remembers)
        return Keyring(self.secret_source, self.nodes, used)

    def revealed(self, name: str, manifest: Manifest) -> Revealed:
        """The secrets that a node's manifest refers to; what is missing of its identity is made and kept.

        Raises RefusedError where the node's last image had an identity that the source has lost.
        """
        last = receipts.read(self.artifacts.image(name))
        revealed = self.keyring.revealed(name, secrets_of(manifest), last.secrets if last else None)
        if revealed.made:
            place = self.secret_source.place(name)
            self.reporter.note(f"{name}: made, and kept in {place}: {', '.join(revealed.made)}")
        return revealed

    @shared_property
    def secret_source(self) -> SecretSource:
        """Where nodes' secrets are kept."""
        return self._secrets.source()

    def seal(self) -> Sealed:
        """Seal all files of secrets for the present recipients, also those that lie in the clear."""
        return self._secrets.seal()

    @property
    def _secrets(self) -> LabSecrets:
        def cluster() -> Document:
            return self.inventory.cluster()

        return LabSecrets(self.settings, cluster, self.reporter, remembers=self.remembers)

    @shared_property
    def goldens(self) -> Goldens:
        """Classes' goldens and what else nodes need from outside."""
        from ..steps.goldens import Goldens

        return Goldens(self.composer.klass, self.artifacts.golden_receipt, self.means)

    @shared_property
    def means(self) -> Means:
        """What fetching works with."""
        from ..golden.fetch import Means
        from ..golden.registry.registry import Registries

        return Means(
            self.inventory.root,
            self.store,
            self.reporter,
            Registries(self.settings.registries, self.reporter),
            self.settings.environment,
            self.settings.offline,
            self.size_limit,
        )

    def _listed(self, folder: str) -> tuple[Listed, ...]:
        return tuple(Listed(**item) for item in read_json(self.artifacts.overlay(folder)))


def user_cache() -> Path:
    """Where what is known of this machine is kept."""
    return user_folder(os.environ, "XDG_CACHE_HOME", "~/.cache")


def read_json(file: Path) -> Any:  # noqa: ANN401 - the callers know the shape, they wrote it
    """The content of one of our own JSON files."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        raise MetisError(f"{file} cannot be read", "remove it and run again") from None
