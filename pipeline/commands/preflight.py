"""`metis preflight`: whether a node may come back into its cluster, and what keeps it from that."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import RefusedError, UsageError
from . import prompts
from .options import common, complete_node, lab_of, print_json, yes_option

if TYPE_CHECKING:
    from ..cluster.check import Check
    from ..cluster.port import Cluster
    from ..lab.lab import Lab


@click.command()
@common
@click.option(
    "--node",
    required=True,
    shell_complete=complete_node,
    metavar="NODE",
    help="The node that is to be burned.",
)
@click.option(
    "--fix",
    is_flag=True,
    help="Make the changes that the table names, each after a question: delete the Secret with the node's "
    "password, have its old member taken out of etcd.",
)
@yes_option
def preflight(node: str, fix: bool, yes: bool, as_json: bool, **flags: str | None) -> None:
    """Ask the cluster (KUBECONFIG, or the account of the pod) whether a new card of a node would be let in.

    Nothing is changed without --fix. A burn asks the same first.
    """
    from ..cluster.client import connected
    from ..lab.preflight import has_role
    from ..lab.preflight import preflight as look

    lab = lab_of(flags)
    if not has_role(lab, node):
        if as_json:
            print_json({"node": node, "refused": False, "checks": []})
        else:
            click.echo(f"{node} has no role in a cluster (k3s.role): nothing to check")
        return
    cluster = connected(os.environ)
    if cluster is None:
        raise UsageError("no cluster is named", "set KUBECONFIG to the file by which kubectl reaches it")
    found = look(lab, cluster, node)
    if fix and any(check.mend for check in found):
        if not as_json:
            _show(found)
        _mend(lab, cluster, found, yes=yes)
        found = look(lab, cluster, node)
    _end(node, found, as_json=as_json)


def _mend(lab: Lab, cluster: Cluster, found: Sequence[Check], *, yes: bool) -> None:
    """Make each change that was named; none while the node may be alive, as it would need what is taken."""
    from ..cluster.twin import NAME
    from ..lab.preflight import mend

    for check in found:
        if check.name == NAME and check.verdict != "ok":
            raise RefusedError(f"nothing was changed: {check.found}", check.advice)
    for check in found:
        if check.mend:
            prompts.confirm("Go on?", yes=yes, because=f"--fix would {check.mend}")
            mend(cluster, check.mend, lab.reporter)
            click.echo(f"done: {check.mend}", err=True)


def _show(found: Sequence[Check]) -> None:
    from ..cluster.preflight_show import to_text

    click.echo(to_text(found), nl=False)


def _end(node: str, found: Sequence[Check], *, as_json: bool) -> None:
    from ..cluster.preflight import refusal
    from ..cluster.preflight_show import to_data

    if as_json:
        print_json(to_data(node, found))
    else:
        _show(found)
    if refused := refusal(node, found):
        raise refused
