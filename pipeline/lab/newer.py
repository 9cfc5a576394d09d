"""What a class's publisher has now, where that is another golden than the class has; and pinning it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..errors import MetisError, about
from ..golden import fetch
from ..golden.fetch import Published
from ..golden.newer import Newer
from ..golden.registry.reference import Reference
from ..model import DeclaredGolden
from ..steps.repin import by_hand, repin
from ..wording import masked
from .lab import Lab


def newer(lab: Lab, class_name: str) -> Newer | None:
    """A golden that is published now, and is not the one that the class pins or an earlier run recorded.

    None where it is the same, and where nobody could tell: its address names just one file, the environment
    names it, or nothing was pinned or recorded yet. Raises SourceError where its publisher cannot be asked,
    and MismatchError for what is not signed as it must be.
    """
    klass = lab.live_composer.klass(class_name)
    golden = klass.golden
    if golden is None or lab.settings.override(class_name):
        return None
    wanted = lab.goldens.wanted(klass, golden)
    if not fetch.is_movable(wanted):
        return None
    found = fetch.published(wanted, lab.means, by_tag=True)
    edits = _edits(golden, found)
    pinned = wanted.sha256 or (Reference.parse(golden.source).digest if found.reference else None)
    is_same = found.sha256 == wanted.sha256 if wanted.sha256 else not edits
    if is_same or pinned is None:
        return None
    return Newer(class_name, masked(golden.source), pinned, found.sha256, edits)


def _edits(golden: DeclaredGolden, found: Published) -> dict[str, tuple[str, str]]:
    """What the class would say of its image instead, by key: the old value and the new one."""
    edits = {}
    if golden.sha256:
        edits["sha256"] = (golden.sha256, found.sha256)
    if found.reference and (not golden.sha256 or Reference.parse(golden.source).digest):
        edits["source"] = (golden.source, str(found.reference))
    return {key: values for key, values in edits.items() if values[0] != values[1]}


def pin(lab: Lab, found: Iterable[Newer]) -> tuple[list[str], dict[str, MetisError]]:
    """Pin newer goldens of classes; gives the diffs of the files, and by class what kept others back.

    Each is in the cache before: nothing is pinned that is not whole, or not signed as it must be.
    """
    ready: list[Newer] = []
    failed: dict[str, MetisError] = {}
    for one in found:
        try:
            _fetch(lab, one)
            ready.append(one)
        except (MetisError, OSError) as error:
            failed[one.class_name] = about(f"class {one.class_name}", error)
    diffs, more = repin(lab.inventory, ready)
    return diffs, {**failed, **more}


def _fetch(lab: Lab, found: Newer) -> None:
    if not found.edits:
        raise by_hand(found)
    klass = lab.live_composer.klass(found.class_name)
    assert klass.golden is not None
    wanted = lab.goldens.wanted(klass, klass.golden)
    source = found.edits["source"][1] if "source" in found.edits else _by_tag(wanted.source)
    fetch.fetched(replace(wanted, source=source, sha256=found.published), lab.means)


def _by_tag(source: str) -> str:
    return str(Reference.parse(source).unpinned()) if source.startswith("oci:") else source
