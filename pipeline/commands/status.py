"""`metis status`: which images are up to date, and why others are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from ..machine.system import system
from .options import artifacts_folder, common, node_option, print_json, set_flags

if TYPE_CHECKING:
    from ..steps.image_state import ImageState


@click.command()
@common
@node_option(required=False)
@click.option("--exit-code", is_flag=True, help="Exit with 1 where an image is not up to date.")
def status(nodes: Sequence[str], exit_code: bool, as_json: bool, **flags: str | None) -> None:
    """Say of each node whether its image is up to date, and if not, why. Builds nothing.

    Where nothing can be built, it lists the finished images that are there.
    """
    from ..tables import columns

    set_flags(flags)
    found = _of_lab(nodes) if system().BUILDS else _finished(nodes)
    if as_json:
        print_json([image.to_data() for image in found])
    else:
        rows = [(each.node, each.klass, each.state, each.built or "-", each.why or "-") for each in found]
        for line in columns([("node", "class", "image", "built", "why"), *rows]):
            click.echo(line)
    if exit_code and any(image.state != "fresh" for image in found):
        raise SystemExit(1)


def _of_lab(nodes: Sequence[str]) -> list[ImageState]:
    from .. import walk

    return walk.status(nodes)


def _finished(nodes: Sequence[str]) -> list[ImageState]:
    from ..steps.artifacts import Artifacts
    from ..steps.image_state import finished

    folder = artifacts_folder()
    found = {image.node: image for image in finished(Artifacts(folder))}
    for name in nodes:
        if name not in found:
            raise UsageError(f"{folder} has no image of {name}", "bring it from where it was built")
    return [found[name] for name in nodes or found]
