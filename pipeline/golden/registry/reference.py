"""What `oci:` sources name: an artifact of a registry (OCI Distribution Specification 1.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...errors import UsageError
from ...inventory.formats import oci_parts
from ...wording import shown


@dataclass(frozen=True, slots=True)
class Reference:
    """An artifact: the registry's host and port, a repository there, and a tag, a digest or both.

    A digest is `sha256:` and 64 hexadecimal digits, of the bytes of the artifact's manifest. What is empty
    was not said.
    """

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, source: str) -> Reference:
        """Read an `oci:` source; raises UsageError for what is none. Neither tag nor digest need be there.

        What is none may have a password in it, which is not repeated.
        """
        try:
            return cls(**oci_parts(source))
        except ValueError:
            raise UsageError(
                f"{shown(source)} names no artifact of a registry", "write oci://host/repository:tag"
            ) from None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"oci://{self.host}/{self.repository}{tag}{digest}"

    @property
    def wanted(self) -> str:
        """What a registry is asked for: the digest, which cannot be moved, else the tag."""
        return self.digest or self.tag

    def pinned(self, digest: str) -> Reference:
        """The same with this digest, so that nobody can put something else in its place."""
        return replace(self, digest=digest)

    def unpinned(self) -> Reference:
        """The same without a digest: what its tag leads to now."""
        return replace(self, digest="")
