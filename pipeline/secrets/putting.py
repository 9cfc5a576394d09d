"""Secrets put where they are kept, and read back: what was only said to be kept must not be built upon.

To read them back also brings the sealed copy of what Vault has up to date.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import MismatchError
from ..secret import Secret
from .source import SecretSource


def put(source: SecretSource, owner: str, changes: Mapping[str, Secret], version: str) -> None:
    """Add or replace values, as the source does it (compare-and-set).

    Raises MismatchError where they are not there afterwards.
    """
    source.put(owner, changes, version)
    after = source.read(owner).values
    lost = sorted(name for name, value in changes.items() if after.get(name) != value)
    if lost:
        raise MismatchError(
            f"{source.place(owner)} does not have {', '.join(lost)} as it was put there",
            "see who else writes there, and run again",
        )
