"""A lone server's card brings its database and token back, as without them it would found another cluster."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pipeline.machine import process
from tests.support import goldens
from tests.support.lab import QUICK_INJECTOR, Lab, class_text
from tests.support.rendering import program

TOKEN = f"K10{'ab' * 32}::server:0123456789abcdef"
DATABASE = b"SQLite format 3\0 with the state of a cluster"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Lab:
    root = tmp_path_factory.mktemp("restore")
    lab = Lab(root, {"METIS_INJECTOR": QUICK_INJECTOR, "METIS_CACHE": str(root / "cache")})
    backup = root / "state.db"
    backup.write_bytes(DATABASE)
    sha256 = hashlib.sha256(DATABASE).hexdigest()
    lab.write("cluster.yaml", "k3s: {datastore: sqlite}\n")
    lab.write("classes/pc.yaml", class_text(tiny_golden, goldens.sha256(tiny_golden)))
    restore = f"restore: {{database: 'file:{backup}', sha256: {sha256}}}"
    lab.write("nodes/alone.yaml", f"class: pc\nk3s: {{role: server, {restore}}}\n")
    lab.write("nodes/empty.yaml", "class: pc\nk3s: {role: server}\n")
    lab.write_secrets("alone", f"k3s_token: '{TOKEN}'\n")
    lab.write_secrets("empty", f"k3s_token: '{TOKEN}'\n")
    return lab


def in_image(image: Path, path: str) -> bytes:
    """A file of the root, which lies 1 MiB into a tiny golden."""
    debugfs = program("debugfs", "e2fsprogs")
    return process.run([debugfs, "-R", f"cat {path}", f"{image}?offset={1 << 20}"]).out


def test_the_database_and_the_token_are_in_the_image(lab: Lab) -> None:
    planned = lab.metis("plan", "--node", "alone")
    assert "fetch  file /var/lib/rancher/k3s/server/db/state.db" in planned.out
    assert lab.doit("image:alone").code == 0
    image = lab.artifacts / "alone.img"
    assert in_image(image, "/var/lib/rancher/k3s/server/db/state.db") == DATABASE
    assert in_image(image, "/var/lib/rancher/k3s/server/token") == f"{TOKEN}\n".encode()


def test_a_lone_server_without_its_database_is_refused(lab: Lab) -> None:
    report = lab.metis("plan", "--node", "empty")
    assert report.code == 2
    assert "nodes/empty.yaml" in report.err
    assert "restore" in report.err
    assert lab.doit("image:empty").code != 0
    assert not (lab.artifacts / "empty.img").exists()
