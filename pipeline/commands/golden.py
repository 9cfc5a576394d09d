"""`metis golden`: the images that classes are built from, as they are published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import MetisError, SeveralErrors, SourceError, UsageError, about
from .options import Commands, common, complete_class, each, lab_of, print_json, registry_options

if TYPE_CHECKING:
    from ..golden.fetch import Fetched
    from ..golden.newer import Newer
    from ..lab.lab import Lab

HEADER = ("class", "sha256", "pinned by", "signed by", "cached", "source")


class_option = click.option(
    "--class",
    "classes",
    multiple=True,
    shell_complete=complete_class,
    metavar="CLASS",
    help="The class's name. May be given several times; all classes with an image without it.",
)


@click.group(cls=Commands)
def golden() -> None:
    """Look after the images that classes are built from."""


@golden.command(name="list")
@common
@class_option
def list_(classes: Sequence[str], as_json: bool, **flags: str | None) -> None:
    """List which golden each class has, and what it is checked by.

    Nobody is asked, and nothing is changed.
    """
    from ..lab.goldens import LabGoldens
    from ..tables import columns

    goldens = LabGoldens(lab_of(flags))
    states, errors = each(goldens.state, goldens.names(classes))
    if as_json:
        print_json([state.to_data() for state in states])
    else:
        rows = [
            (
                state.class_name,
                (state.sha256 or "-")[:12],
                state.pinned,
                state.signed_by or "-",
                "yes" if state.is_cached else "no",
                state.source,
            )
            for state in states
        ]
        for line in columns([HEADER, *rows] if rows else []):
            click.echo(line)
    if errors:
        raise SeveralErrors(errors)


@golden.command()
@common
@class_option
@click.option(
    "--update",
    is_flag=True,
    help="Where another golden is published now: fetch it, pin it in the class's file, and show the change.",
)
@registry_options
def pull(classes: Sequence[str], update: bool, as_json: bool, **flags: str | None) -> None:
    """Bring classes' goldens into the cache, checked by hash and signature."""
    from ..lab.goldens import LabGoldens
    from ..lab.lab import Lab

    lab = lab_of(flags, writes=True)
    names = LabGoldens(lab).names(classes)
    diffs: list[str] = []
    failed: dict[str, MetisError] = {}
    if update:
        if lab.settings.offline:
            hint = "leave one of them out"
            raise UsageError("--update asks what is published, and METIS_OFFLINE is set", hint)
        diffs, failed = _pinned(lab, names)
        lab = Lab(lab.settings)  # what was pinned just now is read from the files again
    goldens = LabGoldens(lab)
    left = [name for name in names if name not in failed]
    found, missed = each(lambda name: (name, goldens.pull(name)), left)
    _print_fetched(found, diffs, as_json=as_json)
    if failed or missed:
        raise SeveralErrors([*failed.values(), *missed])


def _pinned(lab: Lab, names: Sequence[str]) -> tuple[list[str], dict[str, MetisError]]:
    """Pin what is published now; gives the diffs, and by class what kept others back."""
    from ..lab.newer import newer, pin

    found: list[Newer] = []
    failed: dict[str, MetisError] = {}
    for name in names:
        try:
            found += filter(None, [newer(lab, name)])
        except (MetisError, OSError) as error:
            failed[name] = about(f"class {name}", error)
    diffs, more = pin(lab, found)
    return diffs, {**failed, **more}


@golden.command()
@common
@class_option
@registry_options
def verify(classes: Sequence[str], as_json: bool, **flags: str | None) -> None:
    """Hash classes' goldens in the cache again, and judge their signatures.

    A signature that was checked before is kept, so that this needs no network. Ends with 4 where one is not
    what it must be.
    """
    from ..lab.goldens import LabGoldens

    goldens = LabGoldens(lab_of(flags))
    found, errors = each(lambda name: (name, goldens.verify(name)), goldens.names(classes))
    _print_fetched(found, [], as_json=as_json)
    if errors:
        raise SeveralErrors(errors)


def _print_fetched(found: Sequence[tuple[str, Fetched]], diffs: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        data = [{"class": name, "sha256": each.sha256, "path": str(each.path)} for name, each in found]
        print_json(data)
        return
    for diff in diffs:
        click.echo(diff, nl=False)
    for name, fetched in found:
        click.echo(f"{name}: {fetched.sha256}  {fetched.path}")


@golden.command()
@common
@click.option(
    "--class", "name", required=True, shell_complete=complete_class, metavar="CLASS", help="The class's name."
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--to",
    metavar="oci://HOST/REPOSITORY:TAG",
    help="Where it goes; without it, to where the class has it from.",
)
@click.option(
    "--signature",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A detached signature of FILE (OpenPGP or minisign), which goes with it.",
)
@click.option("--replace", is_flag=True, help="The tag may name another golden already.")
@registry_options
def push(
    name: str,
    file: Path | None,
    to: str | None,
    signature: Path | None,
    replace: bool,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Publish FILE as the golden of a class in a registry.

    Without FILE, the golden that the class has now is mirrored there, with its publisher's signature.
    """
    from ..golden.registry.reference import Reference
    from ..lab.goldens import LabGoldens
    from ..steps import publish

    lab = lab_of(flags, writes=True)
    LabGoldens(lab).names([name])
    klass = lab.live_composer.klass(name)
    source = to or (klass.golden.source if klass.golden else "")
    if not source.startswith("oci:"):
        raise UsageError("nothing says where the golden goes", "say --to oci://host/repository:tag")
    reference = Reference.parse(source)
    if file is None and signature is not None:
        raise UsageError("--signature is of a FILE", "name both, or neither")
    own = publish.own(file, signature) if file is not None else None
    if lab.settings.offline:
        raise SourceError("nothing is pushed: METIS_OFFLINE is set", "run without it")
    what = own or publish.mirrored(lab.goldens.wanted(klass, lab.goldens.declared(name)), lab.means)
    where, sha256 = publish.publish(what, klass, reference, lab.means, replace=replace)
    if as_json:
        print_json({"class": name, "source": str(where), "sha256": sha256})
    else:
        click.echo(f"pushed {where}")
        click.echo(f"next: pin it in the class with `image: {{source: '{where}', sha256: {sha256}}}`")
