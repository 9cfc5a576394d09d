"""The nightly run: newer goldens are told, stale images rebuilt, the cache is pruned, and all is reported.

An image is compared with the inventory before it takes the place of the last one, so that a node whose image
cannot be made keeps one that can be burned.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .. import walk
from ..cache.policy import Limits
from ..cache.store import stamp
from ..errors import (
    InventoryError,
    MetisError,
    SeveralErrors,
    SourceError,
    UsageError,
    about,
    common_exit_code,
    known,
)
from ..golden.newer import Newer
from ..golden.source import AbsentError, DeniedError
from ..graph.outcomes import Outcomes
from ..graph.tasks import Tasks
from ..lab import newer
from ..lab.cache import LabCache, UnknownNeedsError
from ..lab.lab import Lab
from ..machine import durable
from ..steps import receipts
from ..steps.artifacts import Artifacts
from . import files
from .report import NodeReport, Report

_DAY = 86_400.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a run: how many tasks at once, whether to pin newer goldens, where metrics go.

    What the inventory does not need, and nobody has used for `keep_days`, is removed from the cache.
    """

    jobs: int
    update: bool
    metrics: Path | None
    keep_days: int


@dataclass(slots=True)
class _Night:
    """A run as far as it has come."""

    newer: list[Newer] = field(default_factory=list)
    diffs: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    faults: list[MetisError] = field(default_factory=list)
    outcomes: Outcomes = field(default_factory=Outcomes)
    tasks: Tasks | None = None
    pruned: tuple[int, int] = (0, 0)
    interrupted: bool = False


def run(lab: Lab, wanted: Wanted) -> tuple[Report, MetisError | None]:
    """Do one nightly run, and leave its report; give that, and the error to end with.

    `lab` is the one that the environment names. Raises MetisError, with nothing done, while another run is
    still going. What Ctrl-C or SIGTERM has cut off is reported as far as it came.
    """
    if wanted.update and lab.settings.offline:
        raise UsageError("--update asks what is published, and METIS_OFFLINE is set", "leave one of them out")
    night, begun = _Night(), time.time()
    with _alone(lab.artifacts):
        try:
            _refresh(lab, wanted, night)
            _build(wanted, night)
            _make_room(lab, wanted, night)
        except (MetisError, OSError) as error:
            night.faults.append(known(error))
        except Exception as error:
            # Its text may hold anything; who runs us sees all of it.
            night.faults.append(MetisError(f"Metis itself failed: {type(error).__name__}", "report it"))
            raise
        except BaseException:
            night.interrupted = True
            raise
        finally:
            folder, told = lab.artifacts.nightly, lab.artifacts.nightly_figures
            report = _report(lab, night, begun, files.earlier_success(folder))
            kept = files.keep(report, folder, *filter(None, [wanted.metrics, told]))
    return kept.report, _error(kept, [*night.faults, *kept.errors], night.tasks)


@contextmanager
def _alone(artifacts: Artifacts) -> Iterator[None]:
    """Refuse to begin beside a run that still goes; the kernel ends the claim of one that was killed."""

    def refuse(holder: str) -> None:
        since = datetime.fromtimestamp(artifacts.nightly_lock.stat().st_mtime, UTC)
        raise MetisError(
            f"last night's run is still going: {holder}, since {since:%Y-%m-%d %H:%M:%S} UTC",
            "wait until it is done, or end it and run again",
        )

    with durable.locked(artifacts.nightly_lock, refuse):
        yield


def _refresh(lab: Lab, wanted: Wanted, night: _Night) -> None:
    """Ask for each class that nodes have whether another golden is published than the one it pins."""
    if lab.settings.offline:
        night.warnings.append("METIS_OFFLINE is set: nobody was asked for newer goldens")
        return
    for name in sorted({node.klass for node in lab.index.nodes.values() if node.klass}):
        try:
            found = newer.newer(lab, name)
        except InventoryError:
            continue  # its nodes fail with it
        except (MetisError, OSError) as error:
            # Whom nobody reaches today is there tomorrow; who answers, and says no, is not.
            if isinstance(error, SourceError) and not isinstance(error, AbsentError | DeniedError):
                night.warnings.append(f"class {name}: {error}")
            else:
                night.faults.append(about(f"class {name}", error))
        else:
            night.newer += [found] if found else []
    if wanted.update:
        night.diffs, failed = newer.pin(lab, night.newer)
        night.faults += failed.values()


def _build(wanted: Wanted, night: _Night) -> None:
    """Bring all images up to date that can be; what has just been pinned is read from the files again."""
    night.tasks = walk.load()
    night.tasks.hold_artifacts()
    night.tasks.reads_back = True
    walk.watch(night.tasks, night.outcomes, wanted.jobs)


def _make_room(lab: Lab, wanted: Wanted, night: _Night) -> None:
    """Prune the cache; what keeps the inventory from being read, its nodes have failed with."""
    try:
        night.pruned = _prune(lab, wanted.keep_days)
    except UnknownNeedsError:
        night.warnings.append("nothing was pruned, as what the inventory needs cannot be told")


def _prune(lab: Lab, keep_days: int) -> tuple[int, int]:
    """Remove from the cache what nobody has used for so many days, and give how many files and bytes went."""
    anew = Lab(lab.settings)  # what was pinned in this run is needed too
    cache, limits = LabCache(anew), Limits(older_than=keep_days * _DAY)
    if not cache.has_any(limits):  # most nights: to know what each node needs takes longer than all else
        return 0, 0
    pruned = cache.prune(limits, dry_run=False)
    if pruned.errors:
        raise SeveralErrors(pruned.errors)
    return len(pruned.gone.files) + len(pruned.gone.unfinished), pruned.gone.size


def _report(lab: Lab, night: _Night, begun: float, earlier: float | None) -> Report:
    ended = time.time()
    return Report(
        started=f"{datetime.fromtimestamp(begun, UTC):%Y-%m-%dT%H:%M:%SZ}",
        ended=round(ended, 3),
        seconds=ended - begun,
        nodes=[_node(lab.artifacts, night, name) for name in _nodes(lab, night)],
        newer=night.newer,
        diffs=night.diffs,
        warnings=night.warnings,
        faults=list(dict.fromkeys(map(str, night.faults))),
        pruned=night.pruned,
        interrupted=night.interrupted,
        earlier_success=earlier,
    )


def _nodes(lab: Lab, night: _Night) -> tuple[str, ...]:
    """All nodes, also where nothing came to be built; none where nobody can tell."""
    try:
        return (night.tasks.lab if night.tasks else lab).nodes
    except (MetisError, OSError):
        return ()


def _node(artifacts: Artifacts, night: _Night, name: str) -> NodeReport:
    """What came of a node: whoever has neither a new image nor one that is up to date has failed."""
    task, image = f"image:{name}", artifacts.image(name)
    receipt = receipts.read(image)
    if task in night.outcomes.current or task in night.outcomes.done:
        if night.tasks is None or name not in night.tasks.built:
            return NodeReport(name, "skipped")
        written = receipt.mapped if receipt else 0
        return NodeReport(name, "built", night.outcomes.done[task], written)
    faults = "; ".join(dict.fromkeys(map(str, night.faults)))
    why = "the run was interrupted" if night.interrupted else faults or "not tried"
    is_there = receipt is not None and image.is_file() and stamp(image) == receipt.stamp
    return NodeReport(name, "failed", reason=night.outcomes.reason(task) or why, keeps_last=is_there)


def _error(kept: files.Kept, faults: list[MetisError], tasks: Tasks | None) -> MetisError | None:
    """What the run ends with: a line with the nodes that failed; its exit code is that of the errors."""
    report = kept.report
    if report.succeeded:
        return None
    failed = f"not built: {', '.join(report.failed)}" if report.failed else ""
    said = "; ".join(filter(None, [failed, *report.faults]))
    error = MetisError(f"not all went well: {said}", f"see {kept.shown}" if kept.shown else "")
    error.exit_code = common_exit_code([*faults, *(tasks.failures if tasks else ())])
    return error
