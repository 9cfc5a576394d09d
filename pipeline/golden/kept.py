"""An artifact of a registry and its files, kept in the store by their digests: for a second time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from ..cache.store import Store, digest
from ..errors import MetisError, MismatchError, SourceError
from ..machine import durable
from ..machine.progress import Reporter
from .oci import OciSource
from .registry import artifact
from .registry.artifact import LARGEST_MANIFEST, Artifact, Layer
from .registry.reference import Reference
from .registry.registry import Registry


class KeptArtifact:
    """What a reference names; nothing is reached where `offline`, nor for what is in the store."""

    def __init__(
        self, reference: Reference, registry: Registry, store: Store, reporter: Reporter, *, offline: bool
    ) -> None:
        self.name = str(reference)
        self._reference = reference
        self._registry = registry
        self._store = store
        self._reporter = reporter
        self._offline = offline

    @cached_property
    def artifact(self) -> Artifact:
        """The artifact; raises as `artifact.parse` does, and SourceError where it is out of reach."""
        wanted = self._reference.wanted
        kept = self._kept_manifest()
        if kept is not None:
            return artifact.parse(kept, self.name, wanted, "")
        if self._offline:
            raise self._absent(
                "its manifest" if self._reference.digest else "what its tag leads to now",
                "run once without METIS_OFFLINE; from then on the digest that is told then names it",
            )
        content, told = self._registry.manifest(self._reference.repository, wanted)
        found = artifact.parse(content, self.name, wanted, told)
        self._keep(found.digest.removeprefix("sha256:"), content)
        return found

    @property
    def pinned(self) -> Reference:
        """The reference with the digest of what it names now."""
        return self._reference.pinned(self.artifact.digest)

    @contextmanager
    def open(self, layer: Layer) -> Iterator[BinaryIO]:
        """A file of the artifact while it is read; it is in the store from now on, until it is pruned.

        Raises SourceError where it is out of reach, and MismatchError where the registry sends another one,
        or it has another size than its manifest says.
        """
        with self._opened(layer) as content:
            yield content

    def drop_rotten(self, layers: Iterable[Layer]) -> bool:
        """Remove those files from the store that are not what they were; says whether there were any."""
        rotten = [layer.sha256 for layer in layers if self._is_rotten(layer.sha256)]
        for sha256 in rotten:
            self._store.remove(sha256)
        return bool(rotten)

    def _is_rotten(self, sha256: str) -> bool:
        try:
            return digest(self._store.path(sha256)) != sha256
        except FileNotFoundError:
            return False

    def _opened(self, layer: Layer) -> BinaryIO:
        """It is opened under its lock: who prunes holds that too."""
        key = layer.sha256
        try:
            with self._store.lock(key, f"fetching {self.name}"):
                path = self._store.find(key)
                if path is None and self._offline:
                    raise self._absent(layer.title, "run once without METIS_OFFLINE")
                path = path or self._fetched(layer, key)
                if path.stat().st_size != layer.size:
                    raise MismatchError(
                        f"{self.name}: {layer.title} has another size than its manifest says", "push it again"
                    )
                return path.open("rb")
        except FileNotFoundError:
            raise MetisError(
                f"{self.name}: {layer.title} was removed from the cache meanwhile", "run again"
            ) from None
        except OSError as error:
            raise durable.out_of_room(self._store.root, error) from error

    def _fetched(self, layer: Layer, key: str) -> Path:
        into = self._store.partial(key) / "layer"
        source = OciSource(self._reference, self._registry)
        try:
            source.download(layer, into, self._reporter, layer.size)
        except (OSError, MismatchError):
            self._store.drop_partial(key)
            raise
        path = self._store.admit(into, key)
        self._store.drop_partial(key)
        return path

    def _kept_manifest(self) -> bytes | None:
        """What the store has for the digest, if one is named and it is still that.

        A digest may name anything that is there: what is larger than a manifest is none.
        """
        sha256 = self._reference.digest.removeprefix("sha256:")
        path = self._store.find(sha256) if sha256 else None
        if path is None:
            return None
        with path.open("rb") as file:
            content = file.read(LARGEST_MANIFEST + 1)
        return content if artifact.digest_of(content) == self._reference.digest else None

    def _keep(self, key: str, content: bytes) -> None:
        with self._store.lock(key, f"keeping {self.name}"):
            into = self._store.partial(key) / "manifest"
            try:
                durable.write(into, content)
                self._store.admit(into, key)
            finally:
                self._store.drop_partial(key)

    def _absent(self, what: str, hint: str) -> SourceError:
        return SourceError(
            f"{self.name}: {what} is not in the cache {self._store.root}, and METIS_OFFLINE is set", hint
        )
