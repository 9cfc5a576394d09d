"""The secrets of a lab's nodes: their place is opened as the settings say, and sealed for who may read them.

Whom they are sealed for stands in cluster.yaml, which is read only when something is sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..secrets.places import Means, SealedPlace
from ..settings import Settings

if TYPE_CHECKING:
    from ..inventory.document import Document
    from ..machine.progress import Reporter
    from ..secrets.seal import Report
    from ..secrets.source import SecretSource


class LabSecrets:
    """Opens the place that the settings name; one that does not remember makes no key and keeps no copies."""

    def __init__(
        self, settings: Settings, cluster: Callable[[], Document], reporter: Reporter, *, remembers: bool
    ) -> None:
        self._place = settings.secrets
        self._cluster = cluster
        self._reporter = reporter
        self._means = Means(self._recipients, reporter.note, settings.offline, remembers)

    def source(self) -> SecretSource:
        """The source of secrets there; nothing is read before it is asked."""
        return self._place.opened(self._means)

    def seal(self) -> Report:
        """Seal all files of secrets; raises UsageError where the place in use has none that are sealed."""
        from ..secrets.seal import seal

        if not isinstance(self._place, SealedPlace):
            raise UsageError(
                "the secrets in use are no sealed files", "name their folder: METIS_SECRETS=sealed:DIR"
            )
        keys = self._means.age_keys(self._place.identity, self._reporter.note)
        return seal(self._place.folder, keys, self._waits)

    def _recipients(self) -> Iterable[str]:
        return tuple(self._cluster().data.get("age_recipients", ()))

    def _waits(self, holder: str) -> None:
        self._reporter.note(f"sealing secrets: waiting for {holder}")
