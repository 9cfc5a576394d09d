"""What the commands of `metis` have in common: options, and how a lab is found and results are printed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from ..amounts import seconds
from ..errors import MetisError, UsageError

if TYPE_CHECKING:
    from ..lab.lab import Lab

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S")
T = TypeVar("T")


class Commands(click.Group):
    """A command of several, whose help says of each the whole first sentence."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them; click itself cuts what is longer than a line."""
        with formatter.section("Commands"):
            whole = [(name, command.get_short_help_str(10_000)) for name, command in self.commands.items()]
            formatter.write_dl(sorted(whole))


FLAG_VARIABLES = {
    "inventory": "METIS_INVENTORY",
    "artifacts": "METIS_ARTIFACTS",
    "cache": "METIS_CACHE",
}


def _completing(kind: Literal["nodes", "classes"]) -> Callable[..., list[str]]:
    def complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        try:
            lab = lab_of({"inventory": context.params.get("inventory")})
            return [name for name in lab.inventory.names(kind) if name.startswith(incomplete)]
        except MetisError:
            return []

    return complete


complete_node = _completing("nodes")
complete_class = _completing("classes")
"""The nodes or classes whose names begin so, for the shell."""


def common(command: F) -> F:
    """The options that every command has."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON for machines."),
        click.option("--cache", type=click.Path(), help="Where goldens are kept (METIS_CACHE)."),
        click.option("--artifacts", type=click.Path(), help="Where images are made (METIS_ARTIFACTS)."),
        click.option(
            "--inventory",
            type=click.Path(),
            help="A folder with classes/ and nodes/, or one YAML file (METIS_INVENTORY).",
        ),
    ):
        command = option(command)
    return command


def node_option(*, required: bool, alone: bool = False) -> Callable[[F], F]:
    """`--node`, any number of times; where it is not `required`, all nodes are meant without it.

    `alone` is for a command that takes one node, and something else in its place.
    """
    more = "" if required or alone else " May be given several times; all nodes without it."
    return click.option(
        "--node",
        "nodes",
        required=required,
        multiple=True,
        shell_complete=complete_node,
        metavar="NODE",
        help=f"The node's name.{more}",
    )


def registry_options(command: F) -> F:
    """The options of commands that speak with registries; what is given becomes environment at once."""
    for option in (
        click.option(
            "--registry-ca",
            type=click.Path(),
            expose_value=False,
            callback=_into_environment("METIS_REGISTRY_CA"),
            help="Certificates, in PEM, of who vouches for the registry (METIS_REGISTRY_CA).",
        ),
        click.option(
            "--insecure-registry",
            multiple=True,
            metavar="HOST",
            expose_value=False,
            callback=_into_environment("METIS_INSECURE_REGISTRY"),
            help="This registry, with its port, may be asked in plain HTTP (METIS_INSECURE_REGISTRY). May be "
            "given several times.",
        ),
    ):
        command = option(command)
    return command


def _into_environment(variable: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Puts what an option was given into the environment, over what is there; several with commas between."""

    def put(_context: click.Context, _parameter: click.Parameter, value: str | Sequence[str] | None) -> None:
        if value:
            os.environ[variable] = value if isinstance(value, str) else ",".join(value)

    return put


def scheduler_option(command: F) -> F:
    """`--scheduler`, which becomes environment at once: the graph asks it there."""
    return click.option(
        "--scheduler",
        metavar="tls://HOST:PORT",
        expose_value=False,
        callback=_into_environment("METIS_SCHEDULER"),
        help="Have bases and images made by the workers of this scheduler (METIS_SCHEDULER).",
    )(command)


def artifacts_folder() -> Path:
    """Where images are made, for commands that need no inventory."""
    return Path(os.environ.get("METIS_ARTIFACTS") or "artifacts").absolute()


yes_option = click.option("--yes", is_flag=True, help="Ask nothing: for scripts.")


boot_option = click.option(
    "--boot",
    type=click.Path(path_type=Path),
    help="Where a card's boot file system is mounted (METIS_BOOT_PATH): the node's files go there, and no "
    "device is written.",
)
root_option = click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Where that card's root file system is mounted (METIS_ROOT_PATH).",
)


def mounted_folders(boot: Path | None, root: Path | None, *, other: bool = False) -> tuple[Path, Path] | None:
    """Where a card is mounted, if it is; what the environment names counts where nothing else was named."""
    if boot or root:
        if other:
            raise UsageError("--boot and --root write no device", "leave --device, --image, --auto-mount out")
        if not (boot and root):
            raise UsageError("one of --boot and --root is missing", "name both")
        return boot, root
    if other:
        return None
    named = [os.environ.get(f"METIS_{side}_PATH", "") for side in ("BOOT", "ROOT")]
    if any(named) and not all(named):
        raise UsageError("only one of METIS_BOOT_PATH and METIS_ROOT_PATH is set", "set both, or none")
    return (Path(named[0]), Path(named[1])) if all(named) else None


def past(since: str, now: datetime) -> datetime:
    """A time as people write it: an age, or a date with or without the time of day, in UTC unless it says.

    Raises UsageError for what is neither.
    """
    try:
        return now - timedelta(seconds=seconds(since))
    except (ValueError, OverflowError):
        pass
    try:
        given = datetime.fromisoformat(since)
    except ValueError:
        raise UsageError(f"--since is {since!r}", "write it as 12h, 30d, or a date as 2026-11-01") from None
    return given.replace(tzinfo=given.tzinfo or UTC)


def each(make: Callable[[S], T], names: Iterable[S]) -> tuple[list[T], list[MetisError]]:
    """What can be made of each thing, and why not of the others: one bad node hides none of them."""
    made: list[T] = []
    errors: list[MetisError] = []
    for name in names:
        try:
            made.append(make(name))
        except MetisError as error:
            errors.append(error)
    return made, errors


def lab_of(flags: dict[str, str | None], *, writes: bool = False, secrets: bool = True) -> Lab:
    """The lab that the flags and the environment name; one that does not write leaves nothing behind.

    Without `secrets` nobody asks where they are.
    """
    from ..lab.lab import Lab

    set_flags(flags)
    return Lab.from_environment(remembers=writes, secrets=secrets)


def take_flags(options: dict[str, Any]) -> dict[str, str | None]:
    """The flags that every command has, taken out of a command's options."""
    return {flag: options.pop(flag) for flag in FLAG_VARIABLES}


def set_flags(flags: dict[str, str | None]) -> None:
    """Put flags into the environment, over what is there."""
    for name, value in flags.items():
        if value is not None:
            os.environ[FLAG_VARIABLES[name]] = value


def print_json(value: object) -> None:
    """Print a result for machines."""
    click.echo(json.dumps(value, indent=2, sort_keys=True))
