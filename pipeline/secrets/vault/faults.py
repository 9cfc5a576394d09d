"""What is said where Vault does not do as it was asked: of whom, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ...errors import SourceError
from ..copies import Copies, age_in_words
from ..source import CLUSTER, ConflictError
from .http import NoAnswerError
from .paths import MOUNT, full_path, path_of


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that a policy allows or not."""

    word: str
    capability: str
    part: str


LOOK = Deed("looking at the version of", "read", "metadata")
READ = Deed("reading", "read", "data")
WRITE = Deed("writing", "create and update", "data")


class Faults:
    """The errors of one Vault; where `copies` has what was asked for, they name the way round."""

    def __init__(self, address: str, copies: Copies) -> None:
        self._address = address
        self._copies = copies

    def denied(self, owner: str, deed: Deed) -> SourceError:
        """The token is none, or its policy does not allow a deed."""
        path = f"{MOUNT}/{deed.part}/{path_of(owner)}"
        hint = f"the token must be valid, and its policy allow {deed.capability} on {path}, see docs/vault.md"
        what = f"Vault at {self._address} denies {deed.word} {full_path(owner)}"
        return SourceError(what, self._or_offline(hint, [owner]))

    def refused(self, owner: str, deed: Deed) -> SourceError:
        """Vault takes no such request of anybody."""
        what = f"Vault at {self._address} refuses {deed.word} {full_path(owner)}"
        return SourceError(what, "see Vault's log")

    def no_engine(self) -> SourceError:
        """There is no KV engine."""
        hint = f"`vault secrets enable -path={MOUNT} kv-v2` makes one, or check VAULT_NAMESPACE"
        return SourceError(f"Vault at {self._address} has no secrets engine at {MOUNT}", hint)

    def gone(self, owner: str, version: int, fate: str) -> SourceError:
        """The current version was deleted or destroyed."""
        new = f"`vault kv put -mount={MOUNT} {path_of(owner)} …` writes a new one"
        back = f"`vault kv undelete -mount={MOUNT} -versions={version} {path_of(owner)}` brings it back"
        what = f"version {version} of {full_path(owner)} in Vault at {self._address} is {fate}"
        return SourceError(what, f"{back}, {new}" if fate == "deleted" else new)

    def conflict(self, owner: str) -> ConflictError:
        """Somebody else was faster."""
        return ConflictError(
            f"{full_path(owner)} in Vault at {self._address} was changed meanwhile", "run again"
        )

    def out_of_reach(self, error: NoAnswerError, owners: Sequence[str]) -> SourceError:
        """Vault gave no answer that can be used."""
        nodes = [owner for owner in owners if owner != CLUSTER]
        whose = ", ".join(nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")  # noqa: PLR2004
        what = f"Vault at {self._address} {error.what}, asked for the secrets of {whose or 'all nodes'}"
        return SourceError(what, self._or_offline(error.hint, owners))

    def _or_offline(self, hint: str, owners: Sequence[str]) -> str:
        """The hint, and the way round where it is open."""
        nodes = [owner for owner in owners if owner != CLUSTER] or owners
        copies = [copy for node in nodes if (copy := self._copies.usable(node)) and copy.stored.version]
        if not copies:
            return hint
        oldest = min(copy.read_at for copy in copies)
        when = f"{oldest:%Y-%m-%d}, {age_in_words(datetime.now(UTC) - oldest)}"
        if len(nodes) == 1:
            return f"{hint}; METIS_OFFLINE=1 builds from the sealed copy of {when}"
        some = f"{len(copies)} of the {len(nodes)} from sealed copies"
        return f"{hint}; METIS_OFFLINE=1 builds {some}, the oldest of {when}"
