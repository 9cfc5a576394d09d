"""What proves that a file is its publisher's: a detached signature, of the file or of the list of its hash.

What was proven by is kept in the store, so that it can be proven again without a network: a key may have been
taken out of the keyring since, or have expired.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from ...cache.store import Store
from ...errors import MismatchError, SourceError
from ...machine import durable
from ...machine.progress import Reporter
from ...manifest_json import digest
from .. import schemes, urls
from ..asking import Manners
from ..backoff import TRIES_BEFORE_A_MIRROR
from ..oci import OciSource
from ..source import AbsentError, Source, TooLargeError, Wanted
from ..terms import Terms
from . import signatures, sums


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
                "see whether its publisher replaced it, and pin what is listed if that is meant",
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
        signatures.verify(file, name, papers.signature, keyring)

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
        found = self._brought_along()
        if found is None:
            raise MismatchError(
                f"{self._wanted.source} has no signature", "push it with one, or say image.signature.source"
            )
        return found

    def _brought_along(self) -> bytes | None:
        """The signature in the artifact of the first of its registries that can be reached."""
        names = (self._wanted.source, *self._wanted.mirrors)
        soon = replace(self._terms, manners=Manners(tries=TRIES_BEFORE_A_MIRROR))
        terms = [soon] * (len(names) - 1) + [self._terms]
        origins = map(schemes.opened, names, terms)
        artifacts = [origin for origin in origins if isinstance(origin, OciSource)]
        for number, origin in enumerate(artifacts, 1):
            self._refuse_offline(origin)
            try:
                with tempfile.TemporaryDirectory(prefix="metis-") as folder:
                    return origin.signature(Path(folder) / "signature", self._reporter)
            except SourceError:
                if number == len(artifacts):
                    raise
        return None

    def _small(self, source: str, what: str) -> bytes:
        origin = schemes.opened(source, self._terms)
        self._refuse_offline(origin)
        with tempfile.TemporaryDirectory(prefix="metis-") as folder:
            into = Path(folder) / "file"
            try:
                origin.fetch(into, self._reporter, signatures.LARGEST)
            except AbsentError as error:
                raise MismatchError(f"there is no {what}: {error.message}", error.hint) from None
            except TooLargeError:
                raise MismatchError(
                    f"{origin.name} is no {what}: it has more than {signatures.LARGEST} bytes",
                    "check its address",
                ) from None
            return into.read_bytes()

    def _refuse_offline(self, origin: Source) -> None:
        if self._offline and origin.remote:
            raise SourceError(
                f"what proves {self._wanted.source} is not in the cache, and METIS_OFFLINE is set",
                "run once without METIS_OFFLINE",
            )

    # ------------------------------------------------------------------------------------- keeping

    def _places(self, sha256: str) -> tuple[Path, Path]:
        """Where the list and the signature are kept; other classes may have others of the same file."""
        about = self._wanted
        assert about.signature is not None
        key = digest([about.sums, about.signature.source or about.source])
        folder = self._store.evidence(sha256)
        return folder / f"{key}.sums", folder / f"{key}.signature"

    def _kept(self, sha256: str) -> _Papers | None:
        listed, signed = self._places(sha256)
        try:
            return _Papers(listed.read_bytes() if self._wanted.sums else None, signed.read_bytes())
        except FileNotFoundError:
            return None

    def _keep(self, papers: _Papers, sha256: str) -> None:
        """Classes that share a list are looked at by several tasks at once."""
        with self._store.lock(digest(["evidence", sha256]), f"keeping what proves {self._wanted.source}"):
            for place, content in zip(self._places(sha256), (papers.sums, papers.signature), strict=True):
                if content is not None:
                    durable.write(place, content)
