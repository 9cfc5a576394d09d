"""`metis`: the commands for people and scripts, on the same graph as `doit`.

Results go to stdout, progress and errors to stderr. The exit code is that of the error (see `errors`).
Flags become environment variables before anything else looks, so that the graph sees them too.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .commands.adopt import adopt
from .commands.burn import burn
from .commands.cache import cache
from .commands.cards import cards
from .commands.golden import golden
from .commands.nightly import nightly
from .commands.options import (
    FLAG_VARIABLES,
    boot_option,
    common,
    each,
    lab_of,
    mounted_folders,
    node_option,
    print_json,
    root_option,
)
from .commands.push import push
from .commands.secrets import secrets
from .errors import MetisError, MismatchError, SeveralErrors, UsageError, known
from .machine.hardening import end_as_by_ctrl_c, leave_no_cores

if TYPE_CHECKING:
    from .lab.lab import Lab

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended; SIGTERM is as good here


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="--debug, anywhere, shows tracebacks. Exit codes: 0 done, 1 failed, 2 wrong usage, inventory or "
    "secret, 3 refused for safety, 4 a hash or an identity did not match, 5 a source could not be reached.",
)
@click.version_option(package_name="metis")
def cli() -> None:
    """Recovery cards for lab nodes, from a declared inventory."""


cli.add_command(adopt)
cli.add_command(burn)
cli.add_command(cache)
cli.add_command(cards)
cli.add_command(golden)
cli.add_command(nightly)
cli.add_command(push)
cli.add_command(secrets)


@cli.command()
@common
@node_option(required=False)
@boot_option
@root_option
def plan(
    nodes: Sequence[str], boot: Path | None, root: Path | None, as_json: bool, **flags: str | None
) -> None:
    """Say what a build would fetch, rebuild, inject and write. Changes nothing."""
    from . import plan as planning

    folders = mounted_folders(boot, root)
    lab = lab_of(flags)
    lab.warn()
    plans, errors = each(lambda name: lab.plan(name, folders), nodes or lab.inventory.names("nodes"))
    if as_json:
        print_json([planning.to_data(item) for item in plans])
    else:
        click.echo("\n".join(planning.to_text(item) for item in plans), nl=False)
    errors += [fault for item in plans for fault in item.faults]
    if errors:
        raise SeveralErrors(errors)


@cli.command()
@common
@node_option(required=True)
@click.option("--explain", is_flag=True, help="Say which file and line each value came from.")
def config(nodes: Sequence[str], as_json: bool, explain: bool, **flags: str | None) -> None:
    """Print a node as it is after its class and its own values are merged."""
    from . import show

    composer = lab_of(flags).live_composer
    resolved = [composer.node(name) for name in nodes]
    if explain:
        data: list[dict[str, Any]] = [show.origins(node) for node in resolved]
        text = "".join(map(show.explained, resolved))
    else:
        data = [show.node(node) for node in resolved]
        text = "---\n".join(show.as_yaml(item) for item in data)
    if as_json:
        print_json(data[0] if len(data) == 1 else data)
    else:
        click.echo(text, nl=False)


@cli.command()
@common
@node_option(required=False)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Put the image, its block map and receipt here."
)
@click.option(
    "-n", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Build so many at once."
)
@click.option("--deep", is_flag=True, help="Trust no file's size and times: check hashes (METIS_DEEP=1).")
def image(
    nodes: Sequence[str],
    output: Path | None,
    jobs: int,
    deep: bool,
    as_json: bool,
    **flags: str | None,
) -> None:
    """Build the images that are not up to date, as `doit image:NODE` does."""
    if output is not None and len(nodes) != 1:
        raise UsageError("--output takes one image", "name one node with --node")
    if deep:
        os.environ["METIS_DEEP"] = "1"
    lab = lab_of(flags)
    if output is not None:
        lab.export_target(nodes[0], output)  # refused before anything is built
    from .graph import run as graph

    lab = graph.run([f"image:{name}" for name in nodes] or ["image"], jobs)
    if output is not None:
        written = [lab.export(nodes[0], output)]
    else:
        written = [lab.artifacts.image(name) for name in nodes or lab.nodes]
    if as_json:
        print_json([lab.describe(path) for path in written])
    elif len(nodes) == 1:
        _print_summary(lab, nodes[0], written[0])
    else:
        for path in written:
            click.echo(path)


@cli.command()
@common
@node_option(required=True)
@click.option(
    "--image",
    type=click.Path(path_type=Path),
    help="Read this image or card (a block device) back, not the node's image among the artifacts.",
)
def verify(nodes: Sequence[str], image: Path | None, as_json: bool, **flags: str | None) -> None:
    """Read an image or a card back and compare it with the inventory. Changes nothing."""
    if image is not None and len(nodes) != 1:
        raise UsageError("--image is of one node", "name one node with --node")
    lab = lab_of(flags)
    verdicts, errors = each(lambda name: lab.verify(name, image), nodes)
    if as_json:
        data = [verdict.to_data() for verdict in verdicts]
        print_json(data[0] if len(nodes) == 1 and data else data)
    else:
        for verdict in verdicts:
            click.echo(verdict.to_text())
    errors += [verdict.error for verdict in verdicts if verdict.error]
    if errors:
        raise SeveralErrors(errors)


@cli.command()
@common
@node_option(required=True)
@click.option(
    "--image", type=click.Path(path_type=Path), help="Boot this image, not the node's among the artifacts."
)
@click.option(
    "--disk",
    "disks",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Another disk, raw; what is written to it is lost. May be given several times.",
)
@click.option("--peer", metavar="HOST:PORT", help="A service of this host that answers for the k3s server.")
@click.option(
    "--boots", type=click.IntRange(min=1), default=1, show_default=True, help="Boot the copy so many times."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=600,
    show_default=True,
    help="Seconds that a boot may take until systemd has settled.",
)
@click.option(
    "--cut",
    "cuts",
    multiple=True,
    metavar="TEXT",
    help="Before that, boot and cut the power as soon as the console says this. May be given several times.",
)
@click.option("--keep", is_flag=True, help="Keep the copy and its console among the artifacts.")
def boot(
    nodes: Sequence[str],
    image: Path | None,
    peer: str | None,
    keep: bool,
    as_json: bool,
    **more: Any,  # noqa: ANN401 - the other options of a boot, and the flags that every command has
) -> None:
    """Boot a copy of a node's image in QEMU and compare what comes up with the node."""
    from .boot import network, session

    if len(nodes) != 1:
        raise UsageError("one node boots at a time", "name one with --node")
    name = nodes[0]
    flags = {flag: more.pop(flag) for flag in FLAG_VARIABLES}
    answering = network.parse_peer(peer) if peer is not None else None
    options = session.Options(peer=answering, ends_clean=keep, **more)
    lab = lab_of(flags)
    report = lab.boot(name, options, image, keep=keep)
    if as_json:
        print_json(session.to_data(report))
    else:
        click.echo(session.to_text(report), nl=False)
    if keep:
        click.echo(f"kept: {lab.artifacts.boot(name)}, which holds secrets", err=True)
    if report.differing:
        differing = ", ".join(dict.fromkeys(check.name for check in report.differing))
        raise MismatchError(
            f"{name} came up, but not as its manifest says: {differing}",
            f"build the image again with `metis image --node {name}`, or see what changes it as it boots",
        )


def _print_summary(lab: Lab, node: str, path: Path) -> None:
    """What is in an image and in its base, and what to do with it next."""
    from .plan import table

    about = lab.describe(path)
    click.echo(f"{node}: {path} ({about['mapped'] >> 20} of {about['size'] >> 20} MiB to write)")
    for line in table(lab.base_manifest(node), lab.manifest(node)):
        click.echo(f"  {line}")
    click.echo(f"next: put it on a card with `metis burn --node {node}`")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `metis`; the one place that turns errors into lines and exit codes."""
    leave_no_cores()
    end_as_by_ctrl_c()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--debug" in words:
        os.environ["METIS_DEBUG"] = "1"
    try:
        cli.main([word for word in words if word != "--debug"], prog_name="metis", standalone_mode=False)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; nothing half-made counts as done", err=True)
        sys.exit(INTERRUPTED)
    except (MetisError, OSError) as raised:
        if os.environ.get("METIS_DEBUG", "0").lower() not in {"", "0", "false", "no", "off"}:
            traceback.print_exc()
        failure = known(raised)
        for line in str(failure).splitlines():
            click.echo(f"metis: {line}", err=True)
        sys.exit(failure.exit_code)
