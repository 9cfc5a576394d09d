"""What a build of a node would do, found out from a lab without changing anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import plan as planning
from ..errors import MetisError
from ..manifest import secrets_of
from ..manifest_json import digest
from ..model import Manifest
from ..plan import Plan
from ..secrets.survey import survey
from ..steps import receipts
from ..steps.goldens import check_golden
from ..steps.ids import base_made_from, image_made_from
from ..wording import masked
from .lab import Lab


def plan(lab: Lab, name: str, folders: tuple[Path, Path] | None = None) -> Plan:
    """What a build of a node would do; nothing is changed by asking.

    With `folders`, what would go into a card's boot and root that are mounted there.
    """
    node = lab.live_composer.node(name)
    lab.refuse_conflicts(name)
    golden = check_golden(node.klass)
    wanted = lab.live_composer.base_manifest(node.klass.name)
    manifest = lab.live_composer.manifest(name)
    sha256 = lab.goldens.known(node.klass, golden)
    base, target = lab.artifacts.base(node.klass.name), lab.artifacts.image(name)
    made_from, last = base_made_from(sha256 or "", wanted), receipts.read(target)
    found = planning.Found(
        golden_sha256=sha256,
        golden_is_cached=sha256 is not None and lab.store.path(sha256).is_file(),
        base_is_current=receipts.is_current(base, made_from),
        image_is_current=_is_current(lab, manifest, digest(made_from)),
        cached_files=frozenset(
            item.sha256
            for item in (*node.klass.files, *lab.live_composer.fetched(name))
            if lab.store.path(item.sha256).is_file()
        ),
        secrets=survey(lab.keyring, name, secrets_of(manifest), last.secrets if last else None),
    )
    override = lab.settings.override(node.klass.name)
    source = masked(golden.source) + (f" (by {override.variable})" if override else "")
    made = planning.make(node, source, wanted.manifest, manifest, found, str(target))
    return planning.into_folders(made, (str(folders[0]), str(folders[1])), found) if folders else made


def is_there(lab: Lab, name: str) -> bool:
    """Whether a node's image is whole, and of just what would be made now.

    Raises MetisError where nothing can be made, or nobody can tell of the node's secrets.
    """
    klass = lab.live_composer.node(name).klass
    lab.refuse_conflicts(name)
    sha256 = lab.goldens.known(klass, check_golden(klass))
    base_id = digest(base_made_from(sha256 or "", lab.live_composer.base_manifest(klass.name)))
    return lab.is_there(lab.artifacts.image(name), _made_from(lab, lab.live_composer.manifest(name), base_id))


def _is_current(lab: Lab, manifest: Manifest, base_id: str) -> bool:
    """Whether a node's image is what would be made; it is not where nobody can tell of its secrets."""
    try:
        made_from = _made_from(lab, manifest, base_id)
    except MetisError:
        return False
    return receipts.is_current(lab.artifacts.image(manifest.subject), made_from)


def _made_from(lab: Lab, manifest: Manifest, base_id: str) -> dict[str, Any]:
    used = lab.keyring.used(manifest.subject, secrets_of(manifest))
    return image_made_from(manifest.id, base_id, used)
