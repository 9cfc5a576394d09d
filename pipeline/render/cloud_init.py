"""cloud-init, which would rename the host and make new keys: off, or fed with a seed that says not to."""

from __future__ import annotations

from collections.abc import Iterator

from ..model import Directory, Entry, Fault, File, Remove, ResolvedNode, Text
from .yaml_text import yaml_text

SEED = "/var/lib/cloud/seed/nocloud"
# Where a FAT partition's seed would win over ours: NoCloud reads it later.
SEED_FILES = ("user-data", "meta-data", "network-config")

USER_DATA = {
    "preserve_hostname": True,
    "manage_etc_hosts": False,
    "ssh_deletekeys": False,
    "users": [],
}


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """Nothing, the file that disables cloud-init, or a NoCloud seed on the root file system."""
    choice = node.settings.get("cloud_init")
    if choice is None:
        return ()
    without_seeds = tuple(Remove(f"/{name}", side="boot") for name in SEED_FILES)
    if choice == "off":
        return (File("/etc/cloud/cloud-init.disabled", ()), *without_seeds)
    return (*_seed(node), *without_seeds)


def _seed(node: ResolvedNode) -> tuple[Entry, ...]:
    meta_data = {"instance-id": f"metis-{node.name}", "local-hostname": node.hostname}
    user_data = Text("#cloud-config\n" + yaml_text(USER_DATA).text)
    return (
        Directory(SEED, mode=0o700),
        File(f"{SEED}/meta-data", (yaml_text(meta_data),), mode=0o600),
        File(f"{SEED}/user-data", (user_data,), mode=0o600),
        File(
            "/etc/cloud/cloud.cfg.d/99-metis.cfg",
            (yaml_text({"datasource_list": ["NoCloud", "None"], **USER_DATA}),),
        ),
    )


def check(_node: ResolvedNode) -> Iterator[Fault]:
    """Nothing: the schema has the two choices that there are."""
    yield from ()
