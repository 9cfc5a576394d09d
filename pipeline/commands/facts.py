"""`metis facts`: what the nodes really run, against what the inventory says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..amounts import counted
from ..errors import MetisError, SeveralErrors, UsageError
from .options import common, complete_node, lab_of, past, print_json

if TYPE_CHECKING:
    from ..lab.facts import Facts
    from ..lab.lab import Lab

SINCE = "7d"

snapshots_option = click.option(
    "--snapshots",
    "places",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PLACE",
    help="A snapshot, a folder of them, histories laid out <node>/<UTC time>.json, or exported ConfigMaps. "
    "May be given several times; artifacts/snapshots without it.",
)
since_option = click.option(
    "--since",
    default=SINCE,
    show_default=True,
    metavar="WHEN",
    help="What is older does not count, and its node is silent: 12h, 30d, or a date as 2026-11-01.",
)


@click.command()
@common
@snapshots_option
@since_option
@click.option("--node", shell_complete=complete_node, metavar="NODE", help="Show this node in full.")
@click.option("--package", metavar="NAME", help="Show which nodes have which version of this package.")
@click.option(
    "--recommend",
    is_flag=True,
    help="Print a patch of the classes' files: as targets, what the healthy majority of each class runs.",
)
@click.option(
    "--exit-code", is_flag=True, help="Exit with 1 where a node drifts; what is only info does not count."
)
def facts(
    places: Sequence[Path],
    since: str,
    node: str | None,
    package: str | None,
    recommend: bool,
    exit_code: bool,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Summarise what nodes' sentinels saw, by class, and say where it is not what the inventory says.

    The patch of --recommend goes to stdout alone: `metis facts --recommend | git apply` in the inventory.
    """
    if sum((node is not None, package is not None, recommend)) > 1:
        raise UsageError("--node, --package and --recommend are three questions", "ask one of them")
    now = datetime.now(UTC)
    lab, found = facts_of(flags, places, since, now, whole=node)
    if node is not None:
        _show_node(lab, found, node, now, as_json=as_json)
    elif package is not None:
        _show_package(found, package, as_json=as_json)
    elif recommend:
        _show_patch(lab, found, as_json=as_json)
    else:
        _show_all(found, now, as_json=as_json)
    if found.errors:
        raise SeveralErrors(found.errors.values())
    drifting = [
        each for each in found.overview.findings if each.severity != "info" and node in {None, each.node}
    ]
    if exit_code and drifting:
        raise SystemExit(1)


def facts_of(
    flags: dict[str, str | None],
    places: Sequence[Path],
    since: str,
    now: datetime,
    *,
    whole: str | None = None,
) -> tuple[Lab, Facts]:
    """The lab that the flags name and the facts of its nodes; says what was skipped on stderr."""
    from ..lab.facts import facts as read_facts

    lab = lab_of(flags, writes=True, secrets=False)
    if whole is not None:
        lab.refuse_unknown(whole)
    chosen = tuple(places) or (lab.artifacts.snapshots,)
    missing = [str(place) for place in chosen if not _is_there(place)]
    if missing:
        raise UsageError(
            f"no snapshots in {', '.join(missing)}",
            "metis-sentinel makes them; name a place with --snapshots",
        )
    found = read_facts(lab, chosen, past(since, now), now, whole=whole)
    for line in found.skipped:
        click.echo(f"metis: {line}", err=True)
    return lab, found


def _is_there(place: Path) -> bool:
    try:
        return place.exists()
    except OSError:  # it cannot be reached, or no name is so long
        return False


def _show_all(found: Facts, now: datetime, *, as_json: bool) -> None:
    from ..facts.show import overview_data, overview_text

    if as_json:
        print_json(overview_data(found.overview, now, found.skipped))
    else:
        click.echo(overview_text(found.overview, now), nl=False)


def _show_node(lab: Lab, found: Facts, node: str, now: datetime, *, as_json: bool) -> None:
    from ..facts.show import node_data, node_text

    snapshot = found.snapshots.get(node)
    if snapshot is None:
        raise MetisError(f"no snapshot of {node}", "look whether metis-sentinel runs there")
    findings = found.overview.of_node(node)
    if as_json:
        print_json(node_data(snapshot, findings))
    else:
        click.echo(node_text(snapshot, findings, now), nl=False)


def _show_package(found: Facts, package: str, *, as_json: bool) -> None:
    from ..facts.show import package_data, package_text

    if as_json:
        print_json(package_data(found.overview, package))
    else:
        click.echo(package_text(found.overview, package), nl=False)


def _show_patch(lab: Lab, found: Facts, *, as_json: bool) -> None:
    from ..lab.facts import recommendations

    wanted, diffs, errors = recommendations(lab, found.overview)
    if as_json:
        print_json({"targets": wanted, "patch": "".join(diffs)})
    else:
        click.echo("".join(diffs), nl=False)
    for view in found.overview.classes:
        if len(view.not_compared) < len(view.seen) and not view.agreed.versions:
            healthy = f"{view.agreed.voters} of {counted(len(view.seen), 'node')} are healthy"
            words = f"{healthy}, and no version is what most of them run: nothing is recommended"
            click.echo(f"metis: class {view.name}: {words}", err=True)
    if errors:
        raise SeveralErrors([*errors.values(), *found.errors.values()])
