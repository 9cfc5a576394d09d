"""`metis init`: an inventory to begin with, from the files in `pipeline/example/`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from ..errors import RefusedError, UsageError

PACKAGE = Path(__file__).parents[1]
EXAMPLE = PACKAGE / "example"
CALLED = {"dodo": "dodo.py", "gitignore": ".gitignore"}
"""What doit, git and checkers of code would take for theirs goes by another name among our modules."""
SCHEMAS = ".schemas"
"""Beside the inventory, by which its files name their schemas: those name each other from there on."""
ARCH = "arch: amd64"
"""The line of the example that this computer's own architecture takes the place of."""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--schemas", is_flag=True, help="Only link the schemas for editors: after a clone, or another Metis."
)
def init(folder: Path, schemas: bool) -> None:
    """Write an example inventory into a folder, new or not, with words on what may stand where.

    Nothing that is there is written over.
    """
    if schemas:
        _link(folder / SCHEMAS)
        return
    texts = _example()
    first = sorted({Path(name).parts[0] for name in (*texts, SCHEMAS)})
    if there := [name for name in first if os.path.lexists(folder / name)]:
        raise RefusedError(f"{folder / there[0]} is there already", "name a folder that is new, or empty")
    for name, text in texts.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as written:
            written.write(text)
    _link(folder / SCHEMAS)
    click.echo(f"made {folder}; `cd {shlex.quote(str(folder))} && doit image:example` makes its first image")


def _example() -> dict[str, str]:
    """The text of each file by its name in an inventory."""
    from ..boot.machine import is_native
    from ..golden.debian.recipe import RECIPES

    arch = next(filter(is_native, RECIPES), "amd64")
    files = (file for file in sorted(EXAMPLE.rglob("*")) if file.is_file())
    return {
        CALLED.get(name, name): file.read_text("utf-8").replace(ARCH, f"arch: {arch}")
        for file in files
        if "__pycache__" not in (name := file.relative_to(EXAMPLE).as_posix())
    }


def _link(link: Path) -> None:
    """Point a link at the schemas of the Metis that runs; only a link is replaced."""
    if not link.parent.is_dir():
        raise UsageError(f"no folder {link.parent}", "name that of an inventory")
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        raise RefusedError(f"{link} is no link", "move it away: editors look for the schemas there")
    link.symlink_to(PACKAGE, target_is_directory=True)
