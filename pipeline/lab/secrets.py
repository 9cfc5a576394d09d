"""The secrets of a lab's nodes: their place is opened as the settings say, and sealed for who may read them.

Whom they are sealed for stands in cluster.yaml, which is read only when something is sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..secrets.plain import plain_folder
from ..settings import PlainPlace, SealedPlace, Settings

if TYPE_CHECKING:
    from ..inventory.document import Document
    from ..machine.progress import Reporter
    from ..secrets.age_keys import AgeKeys
    from ..secrets.seal import Report
    from ..secrets.source import SecretSource


class LabSecrets:
    """Opens the place that the settings name; one that does not remember makes no key and keeps no copies."""

    def __init__(
        self, settings: Settings, cluster: Callable[[], Document], reporter: Reporter, *, remembers: bool
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._reporter = reporter
        self._remembers = remembers

    def source(self) -> SecretSource:
        """The source of secrets there; nothing is read before it is asked."""
        place = self._settings.secrets
        if isinstance(place, PlainPlace):
            return plain_folder(place.folder)
        if isinstance(place, SealedPlace):
            from ..secrets.sealed import sealed_folder

            return sealed_folder(place.folder, self._age_keys(place.identity, self._reporter.note))
        keys = self._age_keys(place.identity)
        from ..secrets.copies import Copies, OfflineCopies

        copies = Copies(place.copies, keys)
        if self._settings.offline:
            return OfflineCopies(copies, self._reporter.note)
        from ..secrets.vault import Vault

        return Vault(place.access, copies, keeps_copies=self._remembers, note=self._reporter.note)

    def seal(self) -> Report:
        """Seal all files of secrets; raises UsageError where the place in use has none that are sealed."""
        from ..secrets.seal import seal

        place = self._settings.secrets
        if not isinstance(place, SealedPlace):
            raise UsageError(
                "the secrets in use are no sealed files", "name their folder: METIS_SECRETS=sealed:DIR"
            )
        keys = self._age_keys(place.identity, self._reporter.note)
        return seal(place.folder, keys, self._waits)

    def _age_keys(self, identity: Path, note: Callable[[str], None] = lambda _line: None) -> AgeKeys:
        from ..secrets.age_keys import AgeKeys

        def recipients() -> Iterable[str]:
            return tuple(self._cluster().data.get("age_recipients", ()))

        return AgeKeys(identity, recipients, makes_key=self._remembers, note=note)

    def _waits(self, holder: str) -> None:
        self._reporter.note(f"sealing secrets: waiting for {holder}")
