"""What a class's targets should become: what its healthy majority runs. Pure.

How that gets into the class's file is in `inventory.amend`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .agreed import WATCHED
from .overview import ClassView
from .snapshot import VERSIONS


def recommended(view: ClassView, tracked: Iterable[str]) -> Mapping[str, Any]:
    """The `targets` of a class: versions, and those of watched packages and of others that it tracks.

    What its healthy nodes do not agree on is left out.
    """
    agreed = view.agreed.versions
    versions = {name: agreed[name].version for name in VERSIONS if name in agreed}
    shares = view.agreed.packages
    packages = {name: shares[name].version for name in sorted({*WATCHED, *tracked}) if name in shares}
    return {**versions, **({"packages": packages} if packages else {})}
