"""What proves that a file is its publisher's: a detached signature, of the file or of the list of its hash.

What was proven by is kept in the store, so that it can be proven again without a network: a key may have been
taken out of the keyring since, or have expired.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from .. import durable
from ..errors import MismatchError, SourceError
from ..manifest import digest
from ..progress import Reporter
from ..store import Store
from . import schemes, signature, sums
from . import url as urls
from .oci import OciSource
from .schemes import Terms
from .source import AbsentError, TooLargeError, Wanted

LARGEST = 1 << 20
"""Bytes, of a signature or a list of hashes."""


@dataclass(frozen=True, slots=True)
class _Papers:
    """The list of hashes, None where the file is signed itself; the signature, None where none is wanted."""

    sums: bytes | None
    signature: bytes | None


class Evidence:
    """What speaks for one file that is wanted."""

    def __init__(
        self, wanted: Wanted, terms: Terms, store: Store, reporter: Reporter, *, offline: bool
    ) -> None:
        self._wanted = wanted
        self._terms = terms
        self._store = store
        self._reporter = reporter
        self._offline = offline

    def check(self, file: Path, sha256: str) -> None:
        """Raise MismatchError unless a file is signed as it must be; `sha256` is its hash.

        Raises SourceError where the signature is not at hand and cannot be fetched.
        """
        if self._wanted.signature is None:
            return
        kept = self._kept(sha256)
        if kept is not None:
            try:
                self._judge(kept, file, sha256)
            except MismatchError:
                if self._offline:
                    raise
                # Its publisher may have signed it anew since.
            else:
                return
        if self._offline:
            raise SourceError(
                f"the signature of {self._wanted.source} is not in the cache, and METIS_OFFLINE is set",
                "run once without METIS_OFFLINE",
            )
        papers = self._fetched()
        self._judge(papers, file, sha256)
        self._keep(papers, sha256)

    def listed(self) -> str:
        """The SHA-256 that the publisher's list names now; the list is signed where that is wanted."""
        papers = self._fetched()
        found = self._on_the_list(papers)
        if self._wanted.signature is not None:
            self._keep(papers, found)
        return found

    def signature(self, sha256: str) -> bytes | None:
        """The signature of the file itself, once it has been checked; None where only a list is signed."""
        kept = self._kept(sha256) if self._wanted.signature and not self._wanted.sums else None
        return kept.signature if kept else None

    # ------------------------------------------------------------------------------------- judging

    def _judge(self, papers: _Papers, file: Path, sha256: str) -> None:
        if papers.sums is None:
            self._verify(file, self._wanted.source, papers)
        elif (found := self._on_the_list(papers)) != sha256:
            raise MismatchError(
                f"{self._wanted.sums} lists {found} for {self._file_name}, but {sha256} is pinned",
                "see whether its publisher replaced it; `metis golden pull --update` adopts what is listed",
            )

    def _on_the_list(self, papers: _Papers) -> str:
        assert papers.sums is not None
        if self._wanted.signature is not None:
            with tempfile.NamedTemporaryFile() as file:
                file.write(papers.sums)
                file.flush()
                self._verify(Path(file.name), str(self._wanted.sums), papers)
        return sums.listed(papers.sums, self._file_name)

    def _verify(self, file: Path, name: str, papers: _Papers) -> None:
        assert self._wanted.signature is not None
        assert papers.signature is not None
        keyring = self._terms.folder / self._wanted.signature.keyring
        signature.verify(file, name, papers.signature, keyring)

    @property
    def _file_name(self) -> str:
        return urls.file_name(self._wanted.source)

    # ------------------------------------------------------------------------------------- fetching

    def _fetched(self) -> _Papers:
        listed = self._small(self._wanted.sums, "list of hashes") if self._wanted.sums else None
        return _Papers(listed, self._signature() if self._wanted.signature else None)

    def _signature(self) -> bytes:
        assert self._wanted.signature is not None
        if self._wanted.signature.source:
            return self._small(self._wanted.signature.source, "signature")
        source = schemes.opened(self._wanted.source, self._terms)
        found = None
        if isinstance(source, OciSource):
            with self._scratch() as folder:
                found = source.signature(Path(folder) / "signature", self._reporter)
        if found is None:
            raise MismatchError(
                f"{self._wanted.source} has no signature", "push it with one, or say image.signature.source"
            )
        return found

    def _small(self, source: str, what: str) -> bytes:
        origin = schemes.opened(source, self._terms)
        with self._scratch() as folder:
            into = Path(folder) / "file"
            try:
                origin.fetch(into, self._reporter, LARGEST)
            except AbsentError as error:
                raise MismatchError(f"there is no {what}: {error.message}", error.hint) from None
            except TooLargeError:
                raise MismatchError(
                    f"{origin.name} is no {what}: it has more than {LARGEST} bytes", "check its address"
                ) from None
            return into.read_bytes()

    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="metis-")

    # ------------------------------------------------------------------------------------- keeping

    def _place(self, sha256: str, kind: str) -> Path:
        about = self._wanted
        assert about.signature is not None
        key = digest([sha256, about.sums, about.signature.source or about.source])
        return self._store.evidence(key, kind)

    def _kept(self, sha256: str) -> _Papers | None:
        try:
            found = self._place(sha256, "signature").read_bytes()
            listed = self._place(sha256, "sums").read_bytes() if self._wanted.sums else None
        except FileNotFoundError:
            return None
        return _Papers(listed, found)

    def _keep(self, papers: _Papers, sha256: str) -> None:
        for kind, content in (("sums", papers.sums), ("signature", papers.signature)):
            if content is not None:
                durable.write(self._place(sha256, kind), content)
