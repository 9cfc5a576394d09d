"""Who may log in: the operators' user and the keys that open its door."""

from __future__ import annotations

from collections.abc import Iterator

from ..inventory.wording import shown
from ..model import Directory, Edit, Entry, Fault, File, ResolvedNode, Text

DEFAULT_UID = 1000


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """The user's account without a password, and its authorized keys (sshd(8))."""
    ssh = node.settings.get("ssh")
    if ssh is None:
        return ()
    user = ssh["user"]
    home = "/root" if user == "root" else f"/home/{user}"
    keys = "".join(f"{key}\n" for key in ssh.get("authorized_keys", ()))
    entries: tuple[Entry, ...] = (
        Directory(f"{home}/.ssh", mode=0o700, owner=user, group=user),
        File(f"{home}/.ssh/authorized_keys", (Text(keys),), mode=0o600, owner=user, group=user),
    )
    if user == "root":
        return entries
    account = (("home", home), ("uid", str(ssh.get("uid", DEFAULT_UID))), ("user", user))
    return (
        Edit("/etc/passwd", "passwd", account),
        Edit("/etc/group", "group", account),
        Edit("/etc/shadow", "shadow", account),
        Directory(home, mode=0o700, owner=user, group=user),
        *entries,
    )


def check(node: ResolvedNode) -> Iterator[Fault]:
    """Keys without a user, and keys given twice."""
    ssh = node.settings.get("ssh")
    if ssh is None:
        return
    if "user" not in ssh:
        yield "ssh.user", "missing, expected the name of a user"
    seen: set[str] = set()
    for key in ssh.get("authorized_keys", ()):
        without_comment = " ".join(key.split(" ")[:2])
        if without_comment in seen:
            yield "ssh.authorized_keys", f"expected each key once, found {shown(key)} again"
        seen.add(without_comment)
