"""Goldens, and other files, from a registry: `oci://host/repository:tag`, or by digest.

An artifact's manifest says which file it has; the file comes as any other download does, and its bytes are
hashed on their way. Nothing that a registry says is believed before that.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ..errors import MetisError, MismatchError
from ..machine.progress import Reporter
from .asking import USUAL, Manners
from .download import Download
from .registry import artifact
from .registry.artifact import Artifact, Layer
from .registry.reference import Reference
from .registry.registry import Registry
from .source import TooLargeError
from .terms import Terms
from .trust import signatures


class OciSource:
    """The golden of an artifact; with `sha256`, only the one that has that hash.

    Where `arch` is said, one that was pushed for another is refused.
    """

    recipe: ClassVar[None] = None
    remote: ClassVar[bool] = True

    def __init__(
        self,
        reference: Reference,
        registry: Registry,
        sha256: str | None = None,
        arch: str = "",
        manners: Manners = USUAL,
    ) -> None:
        self.name = str(reference)
        self._reference = reference
        self._registry = registry
        self._sha256 = sha256
        self._arch = arch
        self._manners = manners
        self._artifact: Artifact | None = None

    @classmethod
    def opened(cls, source: str, terms: Terms) -> OciSource:
        """See `schemes.SCHEMES`."""
        reference = Reference.parse(source)
        registry = terms.registries.at(reference.host)
        return cls(reference, registry, terms.sha256, terms.arch, terms.manners)

    @property
    def artifact(self) -> Artifact:
        """What the registry has under that name now; it is asked once."""
        if self._artifact is None:
            wanted = self._reference.wanted
            content, told = self._registry.manifest(self._reference.repository, wanted, self._manners)
            self._artifact = artifact.parse(content, self.name, wanted, told)
        return self._artifact

    @property
    def golden(self) -> Layer:
        """The file that is meant; raises MismatchError where it is another than the one with `sha256`."""
        found = artifact.golden_of(self.artifact, self.name)
        if self._sha256 and found.sha256 != self._sha256:
            raise MismatchError(
                f"{self.name} has the SHA-256 {found.sha256} now, but {self._sha256} is pinned",
                "see who moved the tag; `metis golden pull --update` adopts what is there now",
            )
        arch = self.artifact.annotations.get(artifact.ARCH, self._arch)
        if self._arch and arch != self._arch:
            raise MetisError(
                f"{self.name} is for {arch}, and its class for {self._arch}", "name another golden, or class"
            )
        return found

    def fetch(self, into: Path, reporter: Reporter, limit: int) -> str:
        """Download what is missing of the golden, which is what the manifest says, or this fails."""
        return self.download(self.golden, into, reporter, limit)

    def download(self, layer: Layer, into: Path, reporter: Reporter, limit: int) -> str:
        """Download a file of the artifact, checked by the hash and size that the manifest names.

        Where a part was there already that turns out to be spoilt, it is downloaded from its start.
        """
        if layer.size > limit:
            raise TooLargeError(self.name, limit, layer.size)
        resumed = into.exists()
        found = self._downloaded(layer, into, reporter)
        if found != layer.sha256 and resumed:
            found = self._downloaded(layer, into, reporter)
        if found != layer.sha256:
            raise MismatchError(
                f"{self.name}: the registry sends a file with the SHA-256 {found}, not {layer.sha256} as its "
                "manifest says",
                "its storage is damaged, or somebody changed it: push it again",
            )
        return found

    def _downloaded(self, layer: Layer, into: Path, reporter: Reporter) -> str:
        """The hash of what was downloaded; it is left only where it is what it must be."""
        repository, manners = self._reference.repository, self._manners
        url = self._registry.blob_url(repository, layer.digest, manners)
        login = self._registry.login(repository, layer.digest, manners)
        try:
            found = Download(url, self.name, login, manners).fetch(into, reporter, layer.size)
        except TooLargeError:
            found = "of something longer"
        if found != layer.sha256:
            into.unlink(missing_ok=True)
        return found

    def signature(self, into: Path, reporter: Reporter) -> bytes | None:
        """The signature that the artifact brings along, None where it has none."""
        found = artifact.signatures_of(self.artifact)
        if not found:
            return None
        if len(found) > 1:
            raise MetisError(f"{self.name} has {len(found)} signatures", "push it with one")
        if found[0].size > signatures.LARGEST:
            raise MismatchError(f"{self.name} has a signature of {found[0].size} bytes", "push it with one")
        self.download(found[0], into, reporter, signatures.LARGEST)
        return into.read_bytes()
