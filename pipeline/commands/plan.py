"""`metis plan`: what a build would do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ..errors import SeveralErrors
from .options import boot_option, common, each, lab_of, mounted_folders, node_option, print_json, root_option


@click.command()
@common
@node_option(required=False)
@boot_option
@root_option
def plan(
    nodes: Sequence[str], boot: Path | None, root: Path | None, as_json: bool, **flags: str | None
) -> None:
    """Say what a build would fetch, rebuild, inject and write. Changes nothing."""
    from .. import plan as planning
    from ..lab.plan import plan as planned

    folders = mounted_folders(boot, root)
    lab = lab_of(flags)
    lab.warn()
    plans, errors = each(lambda name: planned(lab, name, folders), nodes or lab.inventory.names("nodes"))
    if as_json:
        print_json([planning.to_data(item) for item in plans])
    else:
        click.echo("\n".join(planning.to_text(item) for item in plans), nl=False)
    errors += [fault for item in plans for fault in item.faults]
    if errors:
        raise SeveralErrors(errors)
