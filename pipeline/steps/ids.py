"""What decides about a base and about an image; the hash of it is their id.

Whatever is named here makes a new base or image when it changes, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..edits import table as edits
from ..inject.tree import VERSION
from ..manifest_json import from_data, to_data
from ..model import Manifest, Side
from ..secrets import forms_version


@dataclass(frozen=True, slots=True)
class BaseManifest:
    """What is done to a golden to make a class's base; `headroom` is in bytes."""

    manifest: Manifest
    headroom: int
    labels: Mapping[Side, str]

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**to_data(self.manifest), "headroom": self.headroom, "labels": dict(self.labels)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> BaseManifest:
        """The inverse of to_data."""
        return cls(from_data(data), data["headroom"], data["labels"])


def base_made_from(golden_sha256: str, wanted: BaseManifest) -> dict[str, Any]:
    """Everything that decides about a base."""
    return {
        "golden": golden_sha256,
        "manifest": wanted.manifest.id,
        "headroom": wanted.headroom,
        "labels": dict(wanted.labels),
        "injector": VERSION,
        "edits": edits.VERSION,
    }


def image_made_from(manifest_id: str, base_id: str, secrets: Mapping[str, str]) -> dict[str, Any]:
    """Everything that decides about an image; `secrets` are digests of `secrets.used` by source."""
    return {
        "manifest": manifest_id,
        "base": base_id,
        "injector": VERSION,
        "edits": edits.VERSION,
        "forms": forms_version.VERSION,
        "secrets": dict(secrets),
    }
