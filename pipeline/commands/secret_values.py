"""`metis secrets set` and `metis secrets rotate`: secrets that are given, and made anew.

No value is ever shown, and none is taken from the arguments, which others on the machine can see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ..errors import SeveralErrors, UsageError
from . import prompts
from .options import common, complete_node, each, lab_of, node_option, print_json, take_flags, yes_option

if TYPE_CHECKING:
    from ..lab.lab import Lab
    from ..model import SecretRef
    from ..secret import Secret
    from ..secrets.rotate import Rotation
    from ..secrets.source import SecretSource, Stored

ITEMS = ("host-keys", "ssh-password", "node-password", "machine-id", "iscsi-initiator")
"""Those of `secrets.rotate`, which is not imported for a completion or for help."""

CLOUD_INIT = "cloud_init"


def needed(lab: Lab, node: str) -> tuple[SecretRef, ...]:
    """The secrets that a node's card refers to."""
    from ..manifest import secrets_of

    return secrets_of(lab.live_composer.manifest(node))


# ----------------------------------------------------------------------------------------- rotating


@click.command()
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

    flags = take_flags(more)
    yes, from_stdin = bool(more["yes"]), bool(more["password_stdin"])
    lab = lab_of(flags, writes=True)
    rotations = [_rotation(lab, name, more["items"], from_stdin) for name in dict.fromkeys(nodes)]
    prompts.refuse_unasked(yes=yes)
    for rotation in rotations:
        click.echo(rotation.described(), err=True)
    prompts.confirm("Is that meant? What is replaced is lost.", yes=yes)
    password = _password(rotations, from_stdin=from_stdin)
    changes = [(rotation, rotation.changes(password)) for rotation in rotations]

    def carried_out(change: tuple[Rotation, Mapping[str, Secret]]) -> Rotation:
        rotation, values = change
        put(lab.secret_source, rotation.node, values, rotation.found.own.version)
        return rotation

    done, errors = each(carried_out, changes)
    _say_rotated(done, lab.secret_source, as_json=as_json)
    if errors:
        raise SeveralErrors(errors)


def _rotation(lab: Lab, name: str, items: Sequence[str], has_password: bool) -> Rotation:
    from ..secrets.rotate import rotation

    host = lab.live_composer.node(name).hostname
    refs = needed(lab, name)
    return rotation(name, host, lab.keyring.read(name), refs, items, has_password=has_password)


def _password(rotations: Sequence[Rotation], *, from_stdin: bool) -> Secret | None:
    """One new password for all who get one; None where nobody does."""
    asking = [rotation.node for rotation in rotations if rotation.asks_password]
    if not asking:
        return None
    what = f"new password of {', '.join(asking)}"
    return prompts.secret(what, option="--password-stdin", from_stdin=from_stdin, twice=True)


def _say_rotated(done: Sequence[Rotation], source: SecretSource, *, as_json: bool) -> None:
    """Which secrets are new, where they are, and what is to be done next."""
    if as_json:
        data = [
            {
                "node": item.node,
                "rotated": item.names,
                "place": source.place(item.node),
                "next": item.next_steps,
            }
            for item in done
        ]
        print_json(data)
        return
    for item in done:
        click.echo(f"{item.node}: {', '.join(item.names)} in {source.place(item.node)}")
        for step in item.next_steps:
            click.echo(f"  next: {step}")


# ------------------------------------------------------------------------------------------- giving


@click.command(name="set")
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

    flags = take_flags(more)
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
    given = _of_all(lab, name) if node is None else _of_node(lab, name, node)
    value = prompts.secret(
        given.what, option="--stdin", from_stdin=more["from_stdin"], twice=name == "ssh_password"
    )
    is_used = given.check(value)
    place = lab.secret_source.place(given.owner)
    is_same = given.before.values.get(name) == value
    if not is_same:
        if name in given.before.values:
            prompts.confirm("Replace it?", yes=more["yes"], because=f"{place} has {name} already")
        put(lab.secret_source, given.owner, {name: value}, given.before.version)
    if not is_used:
        click.echo(f"{given.what} is on no card: nothing in the inventory asks for it", err=True)
    if as_json:
        print_json({"name": name, "place": place, "changed": not is_same})
    else:
        click.echo(f"{given.what}: {'there already, the same,' if is_same else 'kept'} in {place}")


@dataclass(frozen=True, slots=True)
class _Given:
    """The secret that is given: what it is called, and what its owner had before.

    `check` says whether a card uses a value; it raises MetisError where that card could not carry it.
    """

    what: str
    owner: str
    before: Stored
    check: Callable[[Secret], bool]


def _of_node(lab: Lab, name: str, node: str) -> _Given:
    """One node's own; raises MetisError where there is no such node."""
    from ..secrets import single

    refs = needed(lab, node)
    found = lab.keyring.read(node)

    def check(value: Secret) -> bool:
        single.check_own(name, node, refs, {**found.values, name: value})
        if twin := lab.keyring.twin(node, name, {name: value}):
            raise twin
        return any(ref.name == name for ref in refs)

    return _Given(f"{name} of {node}", node, found.own, check)


def _of_all(lab: Lab, name: str) -> _Given:
    """One that all nodes share; nodes whose files are broken are not asked whether it fits."""
    from ..secrets import single
    from ..secrets.source import CLUSTER

    def check(value: Secret) -> bool:
        found, broken = each(lambda node: (node, needed(lab, node)), lab.inventory.names("nodes"))
        if broken:
            click.echo(
                f"not checked for {len(broken)} nodes whose files are broken: see `metis plan`", err=True
            )
        return bool(single.check_shared(name, value, lab.secret_source, dict(found)))

    return _Given(f"{name} of all nodes", CLUSTER, lab.secret_source.read(CLUSTER), check)
