"""What only Metis decides on a node: all that its concerns own, and its own folders and units."""

from __future__ import annotations

from collections.abc import Mapping

from ..model import Side
from . import units
from .concern import Owned
from .concerns import CONCERNS

_OURS = "only Metis keeps files there"
_OWN = Owned(
    strays={"/etc/metis": _OURS, units.SCRIPTS: _OURS, **units.strays("metis-")},
    paths=(*units.anywhere("metis"), *(f"{folder}/service.d*" for folder in units.FOLDERS)),
)
_ALL = (*(concern.owned for concern in CONCERNS.values()), _OWN)

STRAYS: Mapping[Side, Mapping[str, str]] = {
    "root": {path: why for owned in _ALL for path, why in owned.strays.items()},
    "boot": {path: why for owned in _ALL for path, why in owned.boot_strays.items()},
}
"""The paths at and beneath which a stray file changes what the node is, and how."""

PROTECTED = (*STRAYS["root"], *(path for owned in _ALL for path in owned.paths))
"""The paths that the manifest of a node is about."""

REFUSED: Mapping[str, str] = {key: why for owned in _ALL for key, why in owned.keys.items()}
"""Keys of user-data that would undo what the inventory says of a node, and where it is said."""
