"""What is never opened, by its path beneath the root. Pure.

Links, hard links and bind mounts give the same things other paths: `root` compares identities too.
"""

from __future__ import annotations

from posixpath import basename

FILES = ("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/security/opasswd")
FOLDERS = (
    "/etc/rancher",
    "/var/lib/rancher/k3s/server",
    "/etc/ssl/private",
    "/etc/pki/tls/private",
    "/var/lib/kubelet/pki",
    "/root/.ssh",
)
_COPIES = ("/etc/shadow", "/etc/gshadow")
"""What editors and tools leave beside them begins so: .bak, .dpkg-old, .lock, +."""
HOMES = "/home"
"""Where people have a folder each, with SSH's folder in it."""
SSH = ".ssh"
HOST_KEYS = "/etc/ssh"
INSIDE = ("k3s/k3s.yaml", "k3s/config.yaml", "node/password", "token", "node-token", "agent-token")
"""What k3s puts into its folders: known by name, as what is in them is never listed."""
_KEYS = (".key", ".p12", ".pfx")
_USER_KEYS = frozenset(("id_rsa", "id_ecdsa", "id_ed25519", "id_dsa", "id_ecdsa_sk", "id_ed25519_sk"))


def is_private(path: str) -> bool:
    """Whether a path, absolute and without `..`, is of a secret, or lies beneath a folder of secrets."""
    name = basename(path).lower()  # the boot partition is FAT, where letters have no case
    return (
        path in FILES
        or path.startswith(_COPIES)
        or any(is_beneath(path, folder) for folder in FOLDERS)
        or SSH in path.split("/")
        or name in _USER_KEYS
        or name.endswith(_KEYS)
        or (is_beneath(path, "/etc") and name.endswith((".pem", "_key")))
    )


def is_beneath(path: str, folder: str) -> bool:
    """Whether a path is a folder's, or of something in it."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")
