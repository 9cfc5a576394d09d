"""An artifact of a registry and its files, kept in the store by their digests: for a second time."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from .. import durable
from ..errors import MismatchError, SourceError
from ..progress import Reporter
from ..store import Store, digest
from . import artifact as artifacts
from .artifact import Artifact, Layer
from .oci import OciSource
from .reference import Reference
from .registry import Registry


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
            return artifacts.parse(kept, self.name, wanted, "")
        if self._offline:
            raise self._absent(
                "its manifest" if self._reference.digest else "what its tag leads to now",
                "run once without METIS_OFFLINE; from then on the digest that is told then names it",
            )
        content, told = self._registry.manifest(self._reference.repository, wanted)
        found = artifacts.parse(content, self.name, wanted, told)
        self._keep(found.digest.removeprefix("sha256:"), content)
        return found

    @property
    def pinned(self) -> Reference:
        """The reference with the digest of what it names now."""
        return self._reference.pinned(self.artifact.digest)

    def file(self, layer: Layer) -> Path:
        """A file of the artifact, in the store from now on.

        Raises SourceError where it is out of reach, and MismatchError where the registry sends another one.
        """
        key = layer.sha256
        try:
            with self._store.lock(key, f"fetching {self.name}"):
                if path := self._store.find(key):
                    return path
                if self._offline:
                    raise self._absent(layer.title, "run once without METIS_OFFLINE")
                return self._fetched(layer, key)
        except OSError as error:
            raise durable.out_of_room(self._store.root, error) from error

    def drop_rotten(self, layers: Iterable[Layer]) -> bool:
        """Remove those files from the store that are not what they were; says whether there were any."""
        rotten = [
            layer.sha256
            for layer in layers
            if (path := self._store.path(layer.sha256)).is_file() and digest(path) != layer.sha256
        ]
        for sha256 in rotten:
            self._store.remove(sha256)
        return bool(rotten)

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
        """What the store has for the digest, if one is named and it is still that."""
        sha256 = self._reference.digest.removeprefix("sha256:")
        path = self._store.find(sha256) if sha256 else None
        content = path.read_bytes() if path else b""
        return content if artifacts.digest_of(content) == self._reference.digest else None

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
