"""`metis secrets`: what there is of nodes' secrets, and how they are moved; no value is ever shown.

How one is given or made anew is in `secret_values`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import SeveralErrors, SourceError, UsageError
from ..secrets.places import all_spellings
from .options import Commands, common, each, lab_of, node_option, print_json
from .secret_values import needed, rotate, set_

if TYPE_CHECKING:
    from ..lab.lab import Lab
    from ..secrets.source import SecretSource


@click.group(cls=Commands)
def secrets() -> None:
    """Look after nodes' secrets; no value is ever shown."""


secrets.add_command(rotate)
secrets.add_command(set_)


# ----------------------------------------------------------------------------------------- looking


@secrets.command()
@common
@node_option(required=False)
def status(nodes: Sequence[str], as_json: bool, **flags: str | None) -> None:
    """Say what there is of nodes' secrets.

    Which each node needs and has, where, of which version and how old. Changes nothing. Ends with 0 if
    nothing is missing or wrong.
    """
    from datetime import UTC, datetime

    from ..secrets import report as secrets_report
    from ..secrets import status as statuses

    lab = lab_of(flags)
    needs, errors = each(lambda name: (name, needed(lab, name)), nodes or lab.inventory.names("nodes"))
    reports = statuses.reports(lab.keyring, dict(needs), datetime.now(UTC))
    if as_json:
        print_json([secrets_report.to_data(report) for report in reports])
    else:
        click.echo("\n".join(map(secrets_report.to_text, reports)), nl=False)
    errors += [fault for report in reports for fault in report.faults]
    if errors:
        raise SeveralErrors(errors)


# ------------------------------------------------------------------------------------------- moving


@secrets.command()
@common
def seal(as_json: bool, **flags: str | None) -> None:
    """Seal all files for their recipients.

    Those that lie in the clear too, and the others again for those whom cluster.yaml names now. A plain
    file is removed once it is sealed.
    """
    report = lab_of(flags, writes=True).seal()
    if as_json:
        print_json({"sealed": report.sealed, "renewed": report.renewed})
    else:
        for owners, does in ((report.sealed, "sealed"), (report.renewed, "sealed again")):
            if owners:
                click.echo(f"{does}: {', '.join(owners)}")
        if not (report.sealed or report.renewed or report.errors):
            click.echo("nothing to seal", err=True)
    if report.errors:
        raise SeveralErrors(report.errors)


@secrets.command()
@common
@node_option(required=False)
@click.option(
    "--from",
    "origin",
    required=True,
    metavar="SOURCE",
    help=f"Where secrets are now, as METIS_SECRETS says it: {all_spellings()}.",
)
@click.option("--replace", is_flag=True, help="Overwrite other values that the target has under these names.")
def copy(nodes: Sequence[str], origin: str, replace: bool, as_json: bool, **flags: str | None) -> None:
    """Copy secrets to the place in use.

    Those of all nodes, and those that they share, from another source, where they stay. With --node, only
    the secrets of that node are copied.
    """
    from ..secrets import copying
    from ..secrets.source import CLUSTER

    lab = lab_of(flags, writes=True)
    known = lab.inventory.names("nodes")
    for name in nodes:
        lab.live_composer.node(name)  # says so where there is none
    source, target = _other_source(origin, lab), lab.secret_source
    owners = tuple(dict.fromkeys(nodes)) or (CLUSTER, *known)
    steps = copying.steps(source, target, owners, replace=replace)

    def carried_out(step: copying.Step) -> copying.Step:
        copying.carry_out(step, target)
        return step

    done, errors = each(carried_out, steps)
    if as_json:
        print_json(
            [
                {"place": target.place(step.owner), "copied": sorted(step.changes), "same": step.same}
                for step in done
            ]
        )
    else:
        for step in done:
            for names, does in ((sorted(step.changes), "copied"), (step.same, "there already")):
                if names:
                    click.echo(f"{target.place(step.owner)}: {does}: {', '.join(names)}")
        if not any(step.changes or step.same for step in done):
            click.echo("nothing to copy: no node of this inventory has secrets there", err=True)
    if errors:
        raise SeveralErrors(errors)


def _other_source(named: str, lab: Lab) -> SecretSource:
    from ..lab.lab import Lab
    from ..settings import Settings

    try:
        settings = Settings.from_environment({**os.environ, "METIS_SECRETS": named or ":"}, Path.cwd())
    except UsageError as error:
        raise UsageError(error.message.replace("METIS_SECRETS", "--from"), error.hint) from None
    place = settings.secrets
    if place == lab.settings.secrets:
        raise UsageError("--from is the place in use", "say with METIS_SECRETS where the secrets are to be")
    if place.on_this_machine and place.folder and not place.folder.is_dir():
        raise SourceError(f"--from: there is no folder {place.folder}", "see where the secrets are now")
    return Lab(settings, remembers=False).secret_source
