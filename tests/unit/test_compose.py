"""What layers may bring beside the concerns."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import InventoryError
from pipeline.inventory.overlay import Listed
from pipeline.inventory.read import Inventory
from pipeline.model import Manifest
from pipeline.steps.compose import Composer
from pipeline.steps.ids import base_made_from

SERVER = "k3s: {role: server, server: https://192.0.2.7:6443}"
AGENT = "k3s: {role: agent, server: https://192.0.2.7:6443}"


def manifest(folder: Path, k3s: str, path: str, *, of_class: bool = False) -> Manifest:
    """A node with an overlay that brings a file of this path, and may replace what is there."""
    overlay = f"root_overlay: o/root, replaces: [{path}]"
    klass, node = (f", {overlay}", "") if of_class else ("", f", {overlay}")
    classes = f"classes:\n  pi: {{arch: arm64, os: debian{klass}}}\n"
    nodes = f"nodes:\n  titan-13: {{class: pi, {k3s}{node}}}\n"
    (folder / "lab.yaml").write_text(classes + nodes)
    listing = (Listed(path, "file", sha256="cd" * 32),)
    return Composer(Inventory(folder / "lab.yaml"), lambda _: None, lambda _: listing).manifest("titan-13")


@pytest.mark.parametrize("of_class", [False, True], ids=["node", "class"])
@pytest.mark.parametrize(
    "path",
    [
        "/etc/rancher/k3s/config.yaml",
        "/etc/rancher/k3s/config.yaml.d/99-mine.yaml",
        "/etc/systemd/system/k3s.service",
        "/etc/systemd/system/k3s.service.d/zz.conf",
        "/usr/lib/systemd/system/k3s.service.d/zz.conf",
        "/usr/local/lib/metis/k3s-guard",
    ],
)
def test_no_layer_leads_a_server_past_its_guard(tmp_path: Path, path: str, of_class: bool) -> None:
    with pytest.raises(InventoryError, match="decides how a server's k3s starts") as caught:
        manifest(tmp_path, SERVER, path, of_class=of_class)
    assert path in str(caught.value)


def test_an_agent_may_have_drop_ins_of_its_node(tmp_path: Path) -> None:
    path = "/etc/systemd/system/k3s-agent.service.d/50-mine.conf"
    assert path in {item.entry.path for item in manifest(tmp_path, AGENT, path).entries}


def test_a_server_may_have_all_else(tmp_path: Path) -> None:
    path = "/etc/rancher/k3s/registries.yaml"
    assert path in {item.entry.path for item in manifest(tmp_path, SERVER, path).entries}


TARGETS = {
    "a class": ("\n    targets: {kernel: 6.6.31-v8, packages: {openssl: 3.0.15-1~deb12u1}}", ""),
    "a node": ("", "\n    targets: {k3s: v1.30.4+k3s1}"),
}


@pytest.mark.parametrize(("of_class", "of_node"), TARGETS.values(), ids=TARGETS.keys())
def test_targets_make_no_other_base_and_no_other_manifest(
    tmp_path: Path, of_class: str, of_node: str
) -> None:
    def ids(of_class: str, of_node: str) -> tuple[str, object]:
        (tmp_path / "lab.yaml").write_text(
            f"classes:\n  pi:\n    arch: arm64\n    os: debian{of_class}\n"
            f"nodes:\n  titan-13:\n    class: pi\n    {AGENT}{of_node}\n"
        )
        composer = Composer(Inventory(tmp_path / "lab.yaml"), lambda _: None, lambda _: ())
        return composer.manifest("titan-13").id, base_made_from("ab" * 32, composer.base_manifest("pi"))

    assert ids(of_class, of_node) == ids("", "")


LABEL = "node.longhorn.io/create-default-disk: config"
DISK = "uuid: 0a1b2c3d-0000-4000-8000-123456789abc, path: /mnt/longhorn"
API_ONLY = {
    "annotations": (", annotations: {example.org/rack: '7'}", "", ""),
    "tags of the node": ("", "tags: [storage], ", ""),
    "tags of a disk": ("", "", ", tags: [hdd]"),
}
"""What only the cluster's API is told: more of k3s, of longhorn, and of its disk."""


@pytest.mark.parametrize(("k3s", "longhorn", "disk"), API_ONLY.values(), ids=API_ONLY.keys())
def test_what_only_the_api_is_told_changes_no_manifest(
    tmp_path: Path, k3s: str, longhorn: str, disk: str
) -> None:
    def made(k3s: str, longhorn: str, disk: str) -> Manifest:
        (tmp_path / "lab.yaml").write_text(
            "classes:\n  pi: {arch: arm64, os: debian}\n"
            f"nodes:\n  titan-13:\n    class: pi\n    {AGENT[:-1]}, labels: {{{LABEL}}}{k3s}}}\n"
            f"    longhorn: {{{longhorn}disks: [{{{DISK}{disk}}}]}}\n"
        )
        return Composer(Inventory(tmp_path / "lab.yaml"), lambda _: None, lambda _: ()).manifest("titan-13")

    assert made(k3s, longhorn, disk) == made("", "", "")
