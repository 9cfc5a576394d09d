"""Who the node is: its host name, and what others know it by from before.

Nothing of it is made at the first boot: with a machine id that is there, Debian's sshd-keygen.service does
not run (ConditionFirstBoot), and new keys or names would make the node a stranger to its cluster.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..inventory.formats import hostname_label
from ..model import Edit, Entry, Fault, File, Remove, ResolvedNode, SecretRef, Symlink, Text
from ..wording import shown
from .concern import Owned

HOST_KEYS = ("ed25519", "ecdsa", "rsa")
"""The kinds for which sshd(8) looks when nobody tells it which."""

_NAME = "the node's name is declared with hostname"
_HOST_KEY = "the host keys are secrets of their own, such as extra.ssh_host_ed25519_key"

OWNED = Owned(
    strays={"/etc/ssh/ssh_host_*": "sshd would show it as the node's key"},
    paths=("/etc/hostname", "/etc/hosts", "/etc/machine-id", "/etc/iscsi", "/var/lib/dbus"),
    keys={
        **dict.fromkeys(("hostname", "fqdn", "prefer_fqdn_over_hostname", "create_hostname_file"), _NAME),
        **dict.fromkeys(("ssh_keys", "ssh_genkeytypes"), _HOST_KEY),
    },
)


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """Its hostname(5), with 127.0.1.1 of hosts(5) as Debian uses it; its machine-id(5), host keys, and
    the name by which iSCSI targets know it.
    """
    return (
        File("/etc/hostname", (Text(f"{node.hostname}\n"),)),
        Edit("/etc/hosts", "hosts", (("names", node.hostname),)),
        File("/etc/machine-id", (SecretRef("extra.machine_id", "machine-id"),), mode=0o444),
        # D-Bus would make an id of its own, if the golden did not bring one for all nodes.
        Symlink("/var/lib/dbus/machine-id", "/etc/machine-id"),
        *(entry for kind in HOST_KEYS for entry in _host_key(kind)),
        # A kind that sshd reads no more; the golden's would be the same on all nodes.
        Remove("/etc/ssh/ssh_host_dsa_key"),
        Remove("/etc/ssh/ssh_host_dsa_key.pub"),
        File(
            "/etc/iscsi/initiatorname.iscsi",
            (SecretRef("extra.iscsi_initiator", "initiator-name"),),
            mode=0o600,
        ),
    )


def _host_key(kind: str) -> tuple[Entry, ...]:
    """The private key, which sshd refuses when others may read it, and its public half."""
    name, path = f"extra.ssh_host_{kind}_key", f"/etc/ssh/ssh_host_{kind}_key"
    return (
        File(path, (SecretRef(name, "private-key"),), mode=0o600),
        File(f"{path}.pub", (SecretRef(name, "public-key"),)),
    )


def check(node: ResolvedNode) -> Iterator[Fault]:
    """A node that declares no host name must have a name that can be one."""
    if "hostname" in node.settings:
        return
    try:
        hostname_label(node.name)
    except ValueError:
        yield "hostname", f"missing, as the node's name {shown(node.name)} cannot be a host name"
