"""What layers may bring beside the concerns."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import InventoryError
from pipeline.inventory.overlay import Listed
from pipeline.inventory.read import Inventory
from pipeline.model import Manifest
from pipeline.steps.compose import Composer

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
