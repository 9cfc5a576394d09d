"""Parts of a node's identity made anew, for its next card: what they are called, and what else must be done.

The node that runs keeps what it has until it starts from such a card.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ..errors import MetisError, UsageError
from ..model import SecretRef
from ..secret import Secret
from .given import Given
from .identity import MAKERS
from .keyring import NodeSecrets
from .password import SALT, needs_salt
from .survey import unfit

PASSWORD = "ssh_password"  # noqa: S105 - its name


@dataclass(frozen=True, slots=True)
class Item:
    """What an operator calls one thing: the secrets that it is made of, and what to do about others' memory.

    `then` may name `{node}`, the node's host name.
    """

    names: tuple[str, ...]
    then: str


ITEMS: Mapping[str, Item] = {
    "host-keys": Item(
        tuple(name for name in MAKERS if name.startswith("extra.ssh_host_")),
        "once that card runs, who knew the old host keys runs `ssh-keygen -R {node}`, also for its addresses",
    ),
    "ssh-password": Item((PASSWORD,), ""),
    "node-password": Item(
        ("extra.node_password",),
        "just before that card starts, let the cluster forget the old one: "
        "`kubectl delete secret -n kube-system {node}.node-password.k3s`",
    ),
    "machine-id": Item(
        ("extra.machine_id",),
        "with that card, DHCP servers take {node} for another machine: mend what they reserve by its old id",
    ),
    "iscsi-initiator": Item(
        ("extra.iscsi_initiator",), "let the new iSCSI name of {node} in where targets know the old one"
    ),
}
USUAL = ("host-keys", "ssh-password")


@dataclass(frozen=True, slots=True)
class Rotation:
    """What is to be made anew of one node: `items` by their words, and their secrets by `names`."""

    node: str
    host: str
    found: NodeSecrets
    refs: tuple[SecretRef, ...]
    items: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The secrets, each of which the node's card carries."""
        needed = {ref.name for ref in self.refs}
        return tuple(name for item in self.items for name in ITEMS[item].names if name in needed)

    @property
    def asks_password(self) -> bool:
        """Whether an operator must give a password."""
        return PASSWORD in self.names

    @property
    def next_steps(self) -> tuple[str, ...]:
        """What an operator has to do now, in this order."""
        first = f"`metis image --node {self.node}` puts the new ones on its next card"
        node = self.host.lower()  # as k3s and DNS have it
        return first, *(ITEMS[item].then.format(node=node) for item in self.items if ITEMS[item].then)

    def described(self) -> str:
        """What is replaced and what is made, by name."""
        own, shared = self.found.own.values.keys(), self.found.shared.values.keys()
        parts = {
            "new": [name for name in self.names if name in own],
            "its own instead of the shared": [name for name in self.names if name in shared - own],
            "made for the first time": [name for name in self.names if name not in own | shared],
        }
        said = (f"{what}: {', '.join(names)}" for what, names in parts.items() if names)
        return f"{self.node}: {'; '.join(said)}"

    def changes(self, password: Secret | None) -> Mapping[str, Secret]:
        """The new values; raises MetisError, without a value, for a password that none can be."""
        made = {name: Secret(MAKERS[name]()) for name in self.names if name in MAKERS}
        if self.asks_password and password is not None:
            made[PASSWORD] = password
            if needs_salt(Given(self.node, PASSWORD, made)):
                made[SALT] = Secret(MAKERS[SALT]())
            for error in unfit(PASSWORD, self.refs, self.node, made):
                raise error
        return made


def rotation(
    node: str,
    host: str,
    found: NodeSecrets,
    refs: Iterable[SecretRef],
    items: Collection[str],
    *,
    has_password: bool,
) -> Rotation:
    """What is rotated when an operator names `items`; without any, host keys, and a password that is there.

    `has_password` says that one is given, whether there was one or not. Raises UsageError for an item that
    the node's card does not carry.
    """
    refs = tuple(refs)
    needed = {ref.name for ref in refs}
    absent = [item for item in items if not needed & set(ITEMS[item].names)]
    if absent:
        raise UsageError(f"the card of {node} carries no {', '.join(absent)}", "see `metis secrets status`")
    if has_password and items and "ssh-password" not in items:
        raise UsageError("a password is given, and not among the items", "add --item ssh-password")
    if has_password and PASSWORD not in needed:
        raise UsageError(f"the card of {node} carries no ssh-password", "see `metis secrets status`")
    # Without a password only keys open the door: none is opened that nobody asked for.
    usual = USUAL if has_password or PASSWORD in found.values else USUAL[:1]
    there = [item for item in usual if needed & set(ITEMS[item].names)]
    chosen = tuple(item for item in ITEMS if item in (items or there))
    if not chosen:
        raise MetisError(f"the card of {node} carries nothing to rotate")
    return Rotation(node, host, found, refs, chosen)
