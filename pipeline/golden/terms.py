"""What sources are opened with, beside their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..secret import Secret
from .asking import USUAL, Manners
from .registry.registry import Registries

Environment = Mapping[str, Secret]
"""Variables by name, as they were when the run began."""


@dataclass(frozen=True, slots=True)
class Terms:
    """All that the sources of one file are told.

    `folder` is where a relative `file:` starts from; `sha256` is of the file that is wanted, None where that
    is not known; `arch` is as Debian names it. `environment` has those variables that its scheme declares.
    """

    folder: Path
    arch: str
    registries: Registries
    environment: Environment
    sha256: str | None = None
    manners: Manners = USUAL
