"""`metis history`: what was built, burned and found on nodes, and what differs between two builds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from ..errors import UsageError
from ..history.records import KINDS, Kind
from .options import artifacts_folder, common, node_option, past, print_json, set_flags

LIMIT = 50


@click.command()
@common
@node_option(required=False)
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    help="Only what is of this kind; of goldens and bases only failures are kept.",
)
@click.option("--failed", is_flag=True, help="Only what failed.")
@click.option(
    "--since", metavar="WHEN", help="Only what is younger: 12h, 30d, or since a date as 2026-11-01."
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="So many, the newest."
)
@click.option("--before", type=int, metavar="ID", help="Only what is older than this one: the next page.")
@click.option(
    "--diff",
    "builds",
    nargs=2,
    type=int,
    metavar="ID ID",
    help="Say what differs between two builds of a node: what they are made of, and their entries.",
)
def history(
    nodes: Sequence[str],
    kind: Kind | None,
    failed: bool,
    since: str | None,
    limit: int,
    before: int | None,
    builds: tuple[int, int] | None,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Say what was built and burned, and what `metis watch` found, the newest first. Changes nothing.

    It is kept in artifacts/history.sqlite3, by whatever builds, burns or watches.
    """
    set_flags(flags)
    from ..history.events import Wanted, events
    from ..history.show import events_text
    from ..steps.artifacts import Artifacts

    file = Artifacts(artifacts_folder()).history
    if builds is not None:
        _show_difference(file, *builds, as_json=as_json)
        return
    earliest = None if since is None else past(since, datetime.now(UTC))
    wanted = Wanted(tuple(nodes), kind, "failed" if failed else None, earliest, before)
    found = events(file, wanted, limit)
    if as_json:
        print_json([each.to_data() for each in found])
    else:
        click.echo(events_text(found), nl=False)


def _show_difference(file: Path, before: int, after: int, *, as_json: bool) -> None:
    from ..history.builds import made
    from ..history.difference import difference
    from ..history.show import difference_text

    one, other = made(file, before), made(file, after)
    nodes = (one.build.event.node, other.build.event.node)
    if len(set(nodes)) > 1:
        raise UsageError(f"these are builds of {' and '.join(nodes)}", "name two builds of one node")
    found = difference(one, other)
    if as_json:
        print_json(found.to_data())
    else:
        click.echo(difference_text(found), nl=False)
