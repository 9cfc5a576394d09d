"""cloud-init, which would rename the host and make new keys: off, or fed with a seed that says not to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..model import Directory, Entry, File, Remove, ResolvedNode, SecretRef, Text
from .concern import Owned
from .systems.table import system_of
from .yaml_text import yaml_text

SEED = "/var/lib/cloud/seed/nocloud"
# Where a FAT partition's seed would win over ours: NoCloud reads it later.
SEED_FILES = ("user-data", "meta-data", "network-config")
_SEED = "cloud-init would take it for the node's own"

OURS: Mapping[str, Any] = {
    "preserve_hostname": True,
    "manage_etc_hosts": False,
    "ssh_deletekeys": False,
    "disable_root": False,  # who may log in is declared with ssh; this would rewrite root's keys
    "growpart": {"mode": "off"},  # metis-grow-root.service does it
    "resize_rootfs": False,
}
"""What is true of every node that keeps cloud-init, also in the user-data that have the last word."""

SYSTEM = {
    **OURS,
    "ssh_genkeytypes": [],
    "users": [],
    # Else a card whose cache is gone, or a stick with a seed, would make the node a new instance.
    "manual_cache_clean": True,
    "datasource": {"NoCloud": {"fs_label": None, "seedfrom": None}},
}
"""What cloud-init is told before it reads any user-data; its networking is `network`'s to turn off."""

OWNED = Owned(
    strays={"/var/lib/cloud/seed": _SEED},
    boot_strays={f"/{name}": _SEED for name in SEED_FILES},
    paths=("/etc/cloud", "/var/lib/cloud"),
    keys={
        "random_seed": "its file could be any, and the kernel has a seed without it",
        **dict.fromkeys(
            ("datasource", "datasource_list", "manual_cache_clean"),
            "where cloud-init finds its data is not its user-data's to say",
        ),
    },
)

# ds-identify reads the list from one line only.
DATASOURCES = Text("datasource_list: [NoCloud, None]\n")


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """The file that disables cloud-init, also where nobody speaks of it, or a NoCloud seed on the root."""
    without_seeds = tuple(Remove(f"/{name}", side="boot") for name in SEED_FILES)
    if node.settings.get("cloud_init", "off") == "off":
        # Only cloud-init=enabled on the kernel's command line would win over this file.
        return (File("/etc/cloud/cloud-init.disabled", ()), *without_seeds)
    return (*_seed(node), *without_seeds)


def _seed(node: ResolvedNode) -> tuple[Entry, ...]:
    # The same for each card of the node: what runs once for an instance is not undone by a second card.
    meta_data = {"instance-id": f"metis-{node.name}", "local-hostname": node.hostname}
    own = SecretRef("cloud_init", "user-data", optional=True)
    return (
        Directory(SEED, mode=0o700),
        File(f"{SEED}/meta-data", (yaml_text(meta_data),), mode=0o600),
        File(f"{SEED}/user-data", (own,), mode=0o600),
        File("/etc/cloud/cloud.cfg.d/99-metis.cfg", (yaml_text(SYSTEM), DATASOURCES)),
        *map(Remove, system_of(node.klass).seeds),
    )
