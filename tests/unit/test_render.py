"""What each concern makes of a node's settings, case by case (see `support.rendering`)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import InventoryError
from pipeline.inventory.overlay import Listed
from pipeline.inventory.read import Inventory
from pipeline.manifest import secret_refs
from pipeline.model import Blob, Edit, Entry, File, Reserved, ResolvedNode, SecretRef, Text
from pipeline.render import record
from pipeline.render.concerns import CONCERNS
from pipeline.steps.compose import Composer
from tests.support.rendering import (
    CASES,
    all_entries,
    data_of,
    files,
    name_of,
    node_of,
    node_of_case,
    rendered,
)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_node_gets_the_entries_or_the_problems_that_are_written_beside_it(case: Path) -> None:
    problems = case / "problems.txt"
    if problems.exists():
        with pytest.raises(InventoryError) as caught:
            node_of_case(case)
        assert f"{caught.value}\n" == problems.read_text("utf-8")
        return
    assert data_of(case) == json.loads((case / "expected.json").read_text("utf-8"))


def test_every_concern_has_cases() -> None:
    assert {case.parent.name for case in CASES} == set(CONCERNS)


def test_nothing_is_owned_by_two_concerns() -> None:
    for kind in ("strays", "boot_strays", "paths", "keys"):
        owned = [each for concern in CONCERNS.values() for each in getattr(concern.owned, kind)]
        assert len(owned) == len(set(owned)), kind


GOOD = [case for case in CASES if (case / "expected.json").exists()]


@pytest.mark.parametrize("case", GOOD, ids=name_of)
def test_what_is_rendered_is_the_same_each_time(case: Path) -> None:
    assert rendered(case) == rendered(case)


@pytest.mark.parametrize("case", GOOD, ids=name_of)
def test_a_file_of_yaml_is_yaml_that_others_read_in_the_same_way(case: Path) -> None:
    for path, text in files(rendered(case)).items():
        is_one_secret = text.startswith("<")
        if path.endswith((".yaml", "-data", ".cfg")) and not is_one_secret:
            assert isinstance(yaml.safe_load(text), dict), path


# --------------------------------------------------------------------------- the few rules behind cases


ALL_KINDS = """
class: pi
k3s: {role: server, server: 'https://192.0.2.1:6443'}
network: {dhcp: true}
cloud_init: seed
ssh: {user: atlas}
"""


def test_what_holds_a_secret_is_private_unless_all_may_know_it() -> None:
    entries = [entry for entry in all_entries(node_of(ALL_KINDS)) if isinstance(entry, File)]
    open_to_all = {entry.path for entry in entries if secret_refs(entry) and entry.mode & 0o077}
    assert open_to_all == {
        "/etc/machine-id",
        "/etc/ssh/ssh_host_ecdsa_key.pub",
        "/etc/ssh/ssh_host_ed25519_key.pub",
        "/etc/ssh/ssh_host_rsa_key.pub",
    }


def test_of_the_others_only_the_private_files_are_private() -> None:
    entries = [entry for entry in all_entries(node_of(ALL_KINDS)) if isinstance(entry, File)]
    private = {entry.path for entry in entries if not secret_refs(entry) and entry.mode == 0o600}
    assert private == {
        "/etc/netplan/60-metis.yaml",
        "/etc/rancher/k3s/config.yaml",
        "/home/atlas/.ssh/authorized_keys",
        "/var/lib/cloud/seed/nocloud/meta-data",
    }


# -------------------------------------------------------------------------------------------- record


def record_of(node: ResolvedNode, *entries: Entry) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(files(record.render(node, entries))["/etc/metis/node.json"])
    return made


NODE = node_of("class: pi\nhostname: atlas-13\n")
BURNED = "/etc/metis/burn.json"


def test_there_is_room_for_the_record_of_a_burn_and_the_record_has_no_hash_of_it() -> None:
    assert record.render(NODE, ())[-1] == File(BURNED, (Reserved(4096),))
    assert record_of(NODE)["files"][BURNED] == {"mode": "0644", "owner": "root", "group": "root"}


def test_the_record_says_who_the_node_is() -> None:
    about = record_of(NODE)
    assert {key: about[key] for key in ("node", "hostname", "class", "os", "arch", "format")} == {
        "node": "titan-13",
        "hostname": "atlas-13",
        "class": "pi",
        "os": "debian",
        "arch": "arm64",
        "format": 1,
    }


def test_the_record_has_the_hash_of_each_file_as_it_is_on_the_card() -> None:
    about = record_of(
        NODE,
        File("/text", (Text("a"), Text("é\n")), mode=0o600, owner="atlas", group="adm"),
        File("/empty", ()),
        File("/blob", (Blob("ab" * 32, "overlays/x"),)),
    )
    del about["files"][BURNED]
    assert about["files"] == {
        "/text": {
            "mode": "0600",
            "owner": "atlas",
            "group": "adm",
            "sha256": hashlib.sha256("aé\n".encode()).hexdigest(),
        },
        "/empty": {
            "mode": "0644",
            "owner": "root",
            "group": "root",
            "sha256": hashlib.sha256(b"").hexdigest(),
        },
        "/blob": {"mode": "0644", "owner": "root", "group": "root", "sha256": "ab" * 32},
    }


def test_the_record_has_no_hash_of_what_is_or_may_hold_a_secret() -> None:
    about = record_of(
        NODE,
        File("/token", (SecretRef("k3s_token"), Text("\n")), mode=0o600),
        File("/state.db", (Blob("ab" * 32, "cache:"),), mode=0o600),
        File("/of-a-group", (Blob("ab" * 32, "overlays/x"),), mode=0o640, group="shadow"),
    )
    assert all("sha256" not in file for file in about["files"].values())


def test_the_record_leaves_out_what_is_no_file_of_the_root() -> None:
    about = record_of(NODE, File("/config.txt", (), side="boot"), Edit("/etc/hosts", "hosts"))
    assert about["files"].keys() == {BURNED}


def test_the_record_holds_no_content_of_any_file() -> None:
    text = "class: pi\nssh: {user: atlas, authorized_keys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 ops']}\n"
    server = "role: server, server: 'https://192.0.2.7:6443'"
    node = node_of(f"{text}k3s: {{{server}, flags: {{tls-san: [very.private.example]}}}}\n")
    entries = all_entries(node)
    (_, file, _) = record.render(node, entries)
    assert isinstance(file, File)
    assert file.mode == 0o644
    said = files((file,))["/etc/metis/node.json"]
    assert "AAAAC3NzaC1lZDI1NTE5" not in said
    assert "very.private.example" not in said
    assert "overlays/" not in said


def test_the_record_speaks_of_the_layer_that_won(tmp_path: Path) -> None:
    """The record is rendered from what is put together, so that it is true of the card."""
    (tmp_path / "lab.yaml").write_text(
        "classes: {pi: {arch: arm64, os: debian, root_overlay: o/root, replaces: [/etc/hostname]}}\n"
        "nodes: {titan-13: {class: pi}}\n"
    )
    listing = (
        Listed("/etc/hostname", "file", sha256="cd" * 32),
        Listed("/etc/issue", "file", sha256="ef" * 32),
    )
    manifest = Composer(Inventory(tmp_path / "lab.yaml"), lambda _: None, lambda _: listing).manifest(
        "titan-13"
    )
    entries = tuple(item.entry for item in manifest.entries)
    about = json.loads(files(entries)["/etc/metis/node.json"])
    hashes = {path: item.get("sha256") for path, item in about["files"].items()}
    assert (hashes["/etc/hostname"], hashes["/etc/issue"]) == ("cd" * 32, "ef" * 32)
