"""`metis reconcile`: finishes the return of nodes into their cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import click

from ..amounts import seconds
from ..errors import SeveralErrors, UsageError, one_line
from .options import common, each, lab_of, node_option, print_json

if TYPE_CHECKING:
    from ..cluster.port import Cluster
    from ..history.rejoins import Rejoin
    from ..lab.reconcile import Reconciled

TIMEOUT = "15m"


@click.command()
@common
@node_option(required=True)
@click.option("--wait", is_flag=True, help="Wait until the node is back and Ready.")
@click.option(
    "--timeout",
    metavar="AGE",
    help=f"How long to wait for each node: 90m or 1h, for example; {TIMEOUT} without it.",
)
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
def reconcile(
    nodes: Sequence[str], wait: bool, timeout: str | None, dry_run: bool, as_json: bool, **flags: str | None
) -> None:
    """Bring what only the cluster's API can set to what the inventory says, once a node is back.

    These are k3s.api_labels, k3s.annotations, Longhorn's tags and disks, and k3s.taints of a node that the
    cluster knew before. What others have set stays. Run again, it changes nothing more.
    """
    from ..lab.reconcile import cluster_of
    from ..lab.reconcile import reconcile as bring

    waits = _waits(wait, timeout)
    lab = lab_of(flags)
    lab.refuse_unknown(*nodes)

    @cache
    def connect() -> Cluster:
        return cluster_of(os.environ)

    def told(name: str) -> Reconciled:
        done = bring(lab, connect, name, waits, dry_run=dry_run)
        if not as_json:
            click.echo(_text(done, dry_run=dry_run), nl=False)
        return done

    done, errors = each(told, dict.fromkeys(nodes))
    if as_json:
        data = [one.to_data() for one in done]
        print_json(data[0] if len(nodes) == 1 and data else data)
    if errors:
        raise SeveralErrors(errors)


def _waits(wait: bool, timeout: str | None) -> float | None:
    """The seconds to wait for a node, or None for one look."""
    if not wait:
        if timeout is not None:
            raise UsageError("--timeout says how long --wait waits", "give both")
        return None
    try:
        return seconds(timeout or TIMEOUT)
    except ValueError:
        raise UsageError(f"--timeout is {timeout!r}", "write it as 90m, 12h or 1d") from None


def _text(done: Reconciled, *, dry_run: bool) -> str:
    from ..facts.show import findings_text

    if done.ready_since is None:
        lines = [f"{done.node}: {note}" for note in done.notes]
    else:
        would = ", and nothing is changed (--dry-run)" if dry_run else ""
        lines = [f"{done.node}: ready since {done.ready_since}{would}"]
        lines += [f"  {change}" for change in done.changes] or ["  nothing to change"]
        lines += [f"  {line}" for line in findings_text(done.findings)]
        lines += [f"  {one_line(note)}" for note in done.notes]
        lines += [f"  {_rejoin(done.rejoin)}"] if done.rejoin else []
    return "".join(f"{line}\n" for line in lines)


def _rejoin(rejoin: Rejoin) -> str:
    burned = f"burned {rejoin.burned_at}, " if rejoin.burned_at else ""
    return f"{burned}seen {rejoin.seen_at}, ready {rejoin.ready_at}"
