"""What a lab's history gets of its builds and burns; without one they count all the same, and a note tells.

The database is opened only where there is something to keep: most runs find nothing to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..errors import MetisError, known
from ..history.records import Build, Burn, Event, Kind, reason
from ..steps import receipts

if TYPE_CHECKING:
    from ..machine.progress import Reporter
    from ..model import Manifest
    from ..steps.artifacts import Artifacts
    from ..steps.burn import Report
    from .lab import Lab


@dataclass(slots=True)
class Attempt:
    """A build that goes on; it `made` an image, or found that there was nothing to do."""

    made: bool = False


@contextmanager
def keeping_build(lab: Lab, name: str) -> Iterator[Attempt]:
    """Keep what comes of the block, in which a node's image is made; of one that is up to date nothing is."""
    at, started, attempt = datetime.now(UTC), time.monotonic(), Attempt()
    error: MetisError | None = None
    try:
        yield attempt
    except (MetisError, OSError) as raised:
        error = known(raised)
        raise
    finally:
        if error or attempt.made:
            seconds = round(time.monotonic() - started, 3)
            _unless_it_fails(
                lab.artifacts, lab.reporter, name, lambda: _keep_build(lab, name, at, seconds, error)
            )


@contextmanager
def keeping_failure(lab: Lab, kind: Kind, klass: str) -> Iterator[None]:
    """Keep it when the block fails, in which a class's golden or base is made.

    Images that wait for it are not tried then, so nothing else is kept of that.
    """
    at, started = datetime.now(UTC), time.monotonic()
    try:
        yield
    except (MetisError, OSError) as raised:
        error, seconds = known(raised), round(time.monotonic() - started, 3)
        _unless_it_fails(
            lab.artifacts, lab.reporter, klass, lambda: _keep_failure(lab, kind, klass, at, seconds, error)
        )
        raise


def _keep_failure(lab: Lab, kind: Kind, klass: str, at: datetime, seconds: float, error: MetisError) -> None:
    from ..facts.show import stamp
    from ..history.database import writing
    from ..history.events import note

    why, code = reason(error), error.exit_code
    with writing(lab.artifacts.history) as connection:
        note(connection, [Event(kind, stamp(at), "", klass, "failed", seconds, why=why, code=code)])


def keep_burns(
    artifacts: Artifacts, reporter: Reporter, name: str, klass: str, reports: Sequence[Report]
) -> None:
    """Keep what came of the cards that were burned for a node."""
    from ..history import burns

    receipt = receipts.read(artifacts.image(name))
    image = receipt.id if receipt else ""
    found = [_burn(name, klass, image, report) for report in reports]
    _unless_it_fails(artifacts, reporter, name, lambda: burns.keep(artifacts.history, found))


def _keep_build(lab: Lab, name: str, at: datetime, seconds: float, error: MetisError | None) -> None:
    from importlib.metadata import version

    from ..facts.show import stamp
    from ..history import builds

    klass = lab.class_of(name)
    receipt = None if error else receipts.read(lab.artifacts.image(name))
    base = receipts.read(lab.artifacts.base(klass))
    manifest, of_base = _manifests(lab, name, klass)
    event = Event(
        kind="build",
        at=stamp(at),
        node=name,
        klass=klass,
        verdict="failed" if error else "built",
        seconds=seconds,
        size=receipt.mapped if receipt else 0,
        image=receipt.id if receipt else "",
        why=reason(error) if error else "",
        code=error.exit_code if error else 0,
    )
    build = Build(
        event,
        manifest=manifest.id if manifest else "",
        base=base.id if base else "",
        base_from=base.made_from if base else {},
        secrets=receipt.secrets if receipt else {},
        metis=version("metis"),
    )
    builds.keep(lab.artifacts.history, build, [each for each in (manifest, of_base) if each])


def _manifests(lab: Lab, name: str, klass: str) -> tuple[Manifest | None, Manifest | None]:
    """The manifest of a node and that of its base; a build may have failed for want of one."""
    manifest = of_base = None
    with suppress(MetisError):
        manifest = lab.manifest(name)
        of_base = lab.base_manifest(klass).manifest
    return manifest, of_base


def _burn(name: str, klass: str, image: str, report: Report) -> Burn:
    from ..facts.show import stamp

    done, about = report.done, report.to_data()
    event = Event(
        kind="burn",
        at=stamp(datetime.fromisoformat(report.at)),
        node=name,
        klass=klass,
        verdict="failed" if report.error else "burned",
        seconds=round(sum(done.seconds.values()), 3),
        size=done.written,
        image=image,
        why=reason(report.error) if report.error else "",
        code=report.error.exit_code if report.error else 0,
    )
    return Burn(event, about["card"], done.skipped, done.rewritten, report.files)


def _unless_it_fails(artifacts: Artifacts, reporter: Reporter, name: str, keep: Callable[[], object]) -> None:
    from ..history import keeping

    try:
        keep()
        keeping.tidy(artifacts.history, datetime.now(UTC))
    except (MetisError, OSError) as error:
        reporter.note(f"{name}: the history does not have it: {known(error)}")
