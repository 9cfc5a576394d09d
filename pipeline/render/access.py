"""Who may log in: the operators' user, its password and keys, and what it may do."""

from __future__ import annotations

from collections.abc import Iterator

from ..model import Directory, Edit, Entry, Fault, File, ResolvedNode, SecretRef, Settings, Text
from ..wording import shown
from .concern import Owned
from .systems.table import system_of

DEFAULT_UID = 1000
PASSWORD = SecretRef("ssh_password", "password-hash", optional=True)

OWNED = Owned(
    strays={"/etc/sudoers.d/metis-*": "sudo would grant what it says"},
    paths=(
        *(f"/etc/{name}" for name in ("passwd", "shadow", "group", "gshadow")),
        "/root/.ssh",
        "/home/*/.ssh",
    ),
    keys=dict.fromkeys(
        "ssh_authorized_keys ssh_import_id ssh_pwauth disable_root_opts password chpasswd user "
        "system_info".split(),
        "who may log in, and how, is declared with ssh, and the password is the secret ssh_password",
    ),
)


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """The user's account with its password, if it has one, its authorized keys (sshd(8)), and sudo.

    Nobody knows root's password then, whatever the golden says, unless root is the user.
    """
    ssh = node.settings.get("ssh")
    if ssh is None:
        return ()
    user = ssh["user"]
    home = "/root" if user == "root" else f"/home/{user}"
    keys = "".join(f"{key}\n" for key in ssh.get("authorized_keys", ()))
    return (
        Edit("/etc/shadow", "shadow", (("hash", PASSWORD), ("user", user))),
        *(() if user == "root" else _account(ssh, home)),
        Directory(f"{home}/.ssh", mode=0o700, owner=user, group=user),
        File(f"{home}/.ssh/authorized_keys", (Text(keys),), mode=0o600, owner=user, group=user),
    )


def _account(ssh: Settings, home: str) -> tuple[Entry, ...]:
    user = ssh["user"]
    account = (("home", home), ("uid", str(ssh.get("uid", DEFAULT_UID))), ("user", user))
    entries: tuple[Entry, ...] = (
        Edit("/etc/passwd", "passwd", account),
        Edit("/etc/group", "group", account),
        Edit("/etc/gshadow", "gshadow", (("user", user),), optional=True),
        Directory(home, mode=0o700, owner=user, group=user),
    )
    if not ssh.get("sudo", True):
        return entries
    # sudoers(5) passes over files with a dot in their name; no user's name has one.
    rule = Text(f"{user} ALL=(ALL:ALL) NOPASSWD: ALL\n")
    return (*entries, File(f"/etc/sudoers.d/metis-{user}", (rule,), mode=0o440))


def check(node: ResolvedNode) -> Iterator[Fault]:
    """Keys without a user, keys given twice, and a root whose password everyone knows."""
    ssh = node.settings.get("ssh")
    if ssh is None:
        if system_of(node.klass).has_known_root:
            yield (
                "ssh",
                "missing, expected a user at least: the image's root has a password that everyone knows",
            )
        return
    if "user" not in ssh:
        yield "ssh.user", "missing, expected the name of a user"
    seen: set[str] = set()
    for key in ssh.get("authorized_keys", ()):
        without_comment = " ".join(key.split(" ")[:2])
        if without_comment in seen:
            yield "ssh.authorized_keys", f"expected each key once, found {shown(key)} again"
        seen.add(without_comment)
