"""What the sentinel sees from its pod while disks of its host come and go.

The host is a mount namespace with a process 1 of its own. The pod is another one, with the mounts that a
runtime would make there for the DaemonSet.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from metis_sentinel import mountinfo
from metis_sentinel.private import is_beneath
from pipeline.machine import process
from tests.support.lab import REPOSITORY
from tests.support.manifests import name_of, rendered
from tests.support.pod_policy import pod_of

PROPAGATION = {None: "rprivate", "HostToContainer": "rslave", "Bidirectional": "rshared"}
"""What a runtime makes of `mountPropagation` (kubernetes.io: Mount propagation)."""
PARTS = """
disk() {
    mkdir -p "/media/$1"
    mount -t tmpfs "/dev/$2" "/media/$1"
    echo "{\\"diskUUID\\": \\"$2\\"}" >"/media/$1/longhorn-disk.cfg"
}
secret() {
    mkdir "/var/lib/kubelet/pods/$1"
    mount -t tmpfs secret "/var/lib/kubelet/pods/$1"
    touch "/var/lib/kubelet/pods/$1/token"
}
secrets() { find "$1/var/lib/kubelet/pods" -type f | wc -l; }
"""
HOST = """
mount --make-rshared /
mount -t tmpfs media /media
mount -t tmpfs tmpfs /var/lib
mkdir -p /var/lib/kubelet/pods
disk gone lab1; disk swapped lab2; secret before
unshare --mount --propagation slave sh -euc "$POD"
secrets "" >host.secrets
"""
LATER = """
umount /media/gone /media/swapped
disk swapped lab3; disk later lab4; secret after
"""
POD = """
{mounts}
nsenter --target 1 --mount sh -euc "$LATER"
{sentinel} --root=pod/host >pod.snapshot
cat /proc/self/mountinfo >pod.mounts
secrets pod/host >pod.secrets
"""
"""Of a process in the pod, which has the host do something in between."""


@dataclass(frozen=True)
class Seen:
    """The snapshot, and what there was in the end: disks in the pod, secrets on the host and in the pod."""

    snapshot: Any
    disks: set[str]
    secrets_of_host: int
    secrets_in_pod: int


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    if os.geteuid() != 0:
        pytest.skip("only root may make namespaces of mounts that reach each other")
    folder = tmp_path_factory.mktemp("node")
    (folder / "pod/host").mkdir(parents=True)
    (folder / "empty").mkdir()
    sentinel = shlex.join([sys.executable, "-m", "metis_sentinel"])
    scripts = {
        "PYTHONPATH": str(REPOSITORY),
        "LATER": PARTS + LATER,
        "POD": PARTS + POD.format(mounts="\n".join(mounts()), sentinel=sentinel),
    }
    own = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc"]
    process.run([*own, "sh", "-euc", PARTS + HOST], cwd=folder, extra_environment=scripts)
    table = mountinfo.parse((folder / "pod.mounts").read_bytes())
    return Seen(
        json.loads((folder / "pod.snapshot").read_text()),
        {each.source for each in table if is_beneath(each.path, f"{folder}/pod/host/media")},
        int((folder / "host.secrets").read_text()),
        int((folder / "pod.secrets").read_text()),
    )


def mounts() -> Iterator[str]:
    """What a runtime does for the DaemonSet's container where its host's root is."""
    (item,) = (each for each in rendered("base") if name_of(each) == "DaemonSet/metis-sentinel")
    pod = pod_of(item)
    assert pod is not None
    volumes = {each["name"]: each for each in pod["volumes"]}
    for mount in pod["containers"][0]["volumeMounts"]:
        if is_beneath(mount["mountPath"], "/host"):
            source = volumes[mount["name"]].get("hostPath", {}).get("path", "empty")
            point = f"pod{mount['mountPath']}"
            yield f"mount --rbind {source} {point}"
            yield f"mount --make-{PROPAGATION[mount.get('mountPropagation')]} {point}"


def test_a_disk_that_came_later_is_seen_with_what_is_on_it(seen: Seen) -> None:
    assert seen.snapshot["longhorn_disks"] == [
        {"path": "/media/swapped", "uuid": "lab3"},
        {"path": "/media/later", "uuid": "lab4"},
    ]


def test_what_the_host_has_unmounted_is_let_go(seen: Seen) -> None:
    assert seen.disks == {"media", "/dev/lab3", "/dev/lab4"}


def test_secrets_of_pods_are_hidden_whenever_they_were_mounted(seen: Seen) -> None:
    assert (seen.secrets_of_host, seen.secrets_in_pod) == (2, 0)
