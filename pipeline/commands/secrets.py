"""`metis secrets`: what there is of nodes' secrets, and how they are given, made anew and moved.

No value is ever shown, and none is taken from the arguments, which others on the machine can see.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import SeveralErrors, SourceError, UsageError
from ..secret_places import all_forms
from . import prompts
from .options import FLAG_VARIABLES, common, complete_node, each, lab_of, node_option, print_json, yes_option

if TYPE_CHECKING:
    from ..lab.lab import Lab
    from ..model import SecretRef
    from ..secret import Secret
    from ..secrets.rotate import Rotation
    from ..secrets.source import SecretSource

ITEMS = ("host-keys", "ssh-password", "node-password", "machine-id", "iscsi-initiator")
"""Those of `secrets.rotate`, which is not imported for a completion or for help."""

CLOUD_INIT = "cloud_init"


@click.group()
def secrets() -> None:
    """Look after nodes' secrets; no value is ever shown."""


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
    needs, errors = each(lambda name: (name, _needed(lab, name)), nodes or lab.inventory.names("nodes"))
    reports = statuses.reports(lab.keyring, dict(needs), datetime.now(UTC))
    if as_json:
        print_json([secrets_report.to_data(report) for report in reports])
    else:
        click.echo("\n".join(map(secrets_report.to_text, reports)), nl=False)
    errors += [fault for report in reports for fault in report.faults]
    if errors:
        raise SeveralErrors(errors)


def _needed(lab: Lab, node: str) -> tuple[SecretRef, ...]:
    from ..manifest import secrets_of

    return secrets_of(lab.live_composer.manifest(node))


# ----------------------------------------------------------------------------------------- rotating


@secrets.command()
@common
@node_option(required=True)
@click.option(
    "--item",
    "items",
    multiple=True,
    type=click.Choice(ITEMS),
    help="What is made anew; the host keys, and the password if there is one, without it. "
    "May be given several times.",
)
@click.option(
    "--password-stdin", is_flag=True, help="Read the new password from stdin, and do not ask for it."
)
@yes_option
def rotate(nodes: Sequence[str], as_json: bool, **more: Any) -> None:  # noqa: ANN401 - options and flags
    """Make host keys and passwords anew.

    They are for the next card: the node keeps what it has until it starts from that card. What has to be
    done then is printed.
    """
    from ..secrets.putting import put

    flags = {flag: more.pop(flag) for flag in FLAG_VARIABLES}
    yes, from_stdin = bool(more["yes"]), bool(more["password_stdin"])
    lab = lab_of(flags, writes=True)
    rotations = [_rotation(lab, name, more["items"], from_stdin) for name in dict.fromkeys(nodes)]
    prompts.refuse_unasked(yes=yes)
    for rotation in rotations:
        click.echo(rotation.described(), err=True)
    prompts.confirm("Is that meant? What is replaced is lost.", yes=yes)
    asking = [rotation.node for rotation in rotations if rotation.asks_password]
    password: Secret | None = None
    if asking:
        what = f"new password of {', '.join(asking)}"
        password = prompts.secret(what, option="--password-stdin", from_stdin=from_stdin, twice=True)
    changes = [rotation.changes(password) for rotation in rotations]

    def carried_out(position: int) -> Rotation:
        rotation = rotations[position]
        put(lab.secret_source, rotation.node, changes[position], rotation.found.own.version)
        return rotation

    done, errors = each(carried_out, range(len(rotations)))
    if as_json:
        print_json(
            [
                {
                    "node": item.node,
                    "rotated": item.names,
                    "place": lab.secret_source.place(item.node),
                    "next": item.next_steps,
                }
                for item in done
            ]
        )
    else:
        for item in done:
            click.echo(f"{item.node}: {', '.join(item.names)} in {lab.secret_source.place(item.node)}")
            for step in item.next_steps:
                click.echo(f"  next: {step}")
    if errors:
        raise SeveralErrors(errors)


def _rotation(lab: Lab, name: str, items: Sequence[str], has_password: bool) -> Rotation:
    from ..secrets.rotate import rotation

    host = lab.live_composer.node(name).hostname
    refs = _needed(lab, name)
    return rotation(name, host, lab.keyring.read(name), refs, items, has_password=has_password)


# ------------------------------------------------------------------------------------------- giving


@secrets.command(name="set")
@common
@click.option(
    "--node", "node", shell_complete=complete_node, metavar="NODE", help="The node whose secret it is."
)
@click.option("--cluster", is_flag=True, help="It is shared by all nodes that have none of their own.")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the value from stdin, and do not ask for it.")
@click.argument("name", metavar="NAME")
@click.argument("surplus", nargs=-1, metavar="")
@yes_option
def set_(name: str, surplus: Sequence[str], as_json: bool, **more: Any) -> None:  # noqa: ANN401 - options and flags
    """Give one secret, unseen.

    NAME is ssh_password, k3s_token, cloud_init or extra.WORD. The value is asked for and not shown, or read
    from stdin: all of it, but for the newline after a single line. The prompt takes one line, so that
    cloud_init and keys are for --stdin. What no card could carry is refused.
    """
    from ..secrets import single
    from ..secrets.putting import put
    from ..secrets.source import CLUSTER

    flags = {flag: more.pop(flag) for flag in FLAG_VARIABLES}
    node, shared = more["node"], bool(more["cluster"])
    if surplus:
        # click would repeat it, and it is the value, most likely.
        raise UsageError("no value is taken as an argument, where others see it", "leave it out to be asked")
    if (node is not None) == shared:
        raise UsageError("a secret is one node's, or shared by all", "say either --node NODE or --cluster")
    single.check_name(name, shared=shared)
    if name == CLOUD_INIT and not more["from_stdin"]:
        raise UsageError(f"{name} has several lines, and a prompt takes one", "say `--stdin < FILE`")
    lab = lab_of(flags, writes=True)
    source = lab.secret_source
    refs = () if shared else _needed(lab, node)  # also says whether there is such a node
    found = None if shared else lab.keyring.read(node)
    owner, before = (CLUSTER, source.read(CLUSTER)) if found is None else (node, found.own)
    what = f"{name} of {node or 'all nodes'}"
    value = prompts.secret(
        what, option="--stdin", from_stdin=more["from_stdin"], twice=name == "ssh_password"
    )
    if found is None:
        is_used = _fits_all(lab, name, value)
    else:
        single.check_own(name, node, refs, {**found.values, name: value})
        if twin := lab.keyring.twin(node, name, {name: value}):
            raise twin
        is_used = any(ref.name == name for ref in refs)
    is_same = before.values.get(name) == value
    if not is_same:
        if name in before.values:
            because = f"{source.place(owner)} has {name} already"
            prompts.confirm("Replace it?", yes=more["yes"], because=because)
        put(source, owner, {name: value}, before.version)
    if not is_used:
        click.echo(f"{what} is on no card: nothing in the inventory asks for it", err=True)
    if as_json:
        print_json({"name": name, "place": source.place(owner), "changed": not is_same})
    else:
        click.echo(f"{what}: {'there already, the same,' if is_same else 'kept'} in {source.place(owner)}")


def _fits_all(lab: Lab, name: str, value: Secret) -> bool:
    """Whether any node uses a shared secret; raises MetisError where the card of one could not carry it."""
    from ..secrets import single

    found, broken = each(lambda node: (node, _needed(lab, node)), lab.inventory.names("nodes"))
    if broken:
        click.echo(f"not checked for {len(broken)} nodes whose files are broken: see `metis plan`", err=True)
    return bool(single.check_shared(name, value, lab.secret_source, dict(found)))


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
    help=f"Where secrets are now, as METIS_SECRETS says it: {all_forms()}.",
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
