"""What each concern makes of a node's settings, case by case (see `support.rendering`)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import process
from pipeline.compose import Composer
from pipeline.errors import InventoryError
from pipeline.inventory.overlay import Found
from pipeline.inventory.read import Inventory
from pipeline.model import Blob, Edit, Entry, File, ResolvedNode, Text
from pipeline.render import record
from pipeline.render.concerns import CONCERNS
from tests.support.rendering import (
    CASES,
    FOLDER,
    all_entries,
    cases_of,
    data_of,
    files,
    name_of,
    node_of,
    node_of_case,
    program,
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


GOOD = [case for case in CASES if (case / "expected.json").exists()]


@pytest.mark.parametrize("case", GOOD, ids=name_of)
def test_what_is_rendered_is_the_same_each_time(case: Path) -> None:
    assert rendered(case) == rendered(case)


@pytest.mark.parametrize("case", GOOD, ids=name_of)
def test_a_file_of_yaml_is_yaml_that_others_read_in_the_same_way(case: Path) -> None:
    for path, text in files(rendered(case)).items():
        if path.endswith((".yaml", "-data", ".cfg")):
            assert isinstance(yaml.safe_load(text), dict), path


def config_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(
        files(CONCERNS["k3s"].render(node_of(text)))["/etc/rancher/k3s/config.yaml"]
    )
    return found


# --------------------------------------------------------------------------- the few rules behind cases


def test_a_server_has_the_clusters_flags_and_an_agent_has_not() -> None:
    assert config_of("class: pi\nk3s: {role: server}")["cluster-cidr"] == "10.42.0.0/16"
    assert "cluster-cidr" not in config_of("class: pi\nk3s: {role: agent, server: 'https://192.0.2.1:6443'}")


def test_only_the_private_files_are_private() -> None:
    text = "class: pi\nk3s: {role: server}\nnetwork: {dhcp: true}\ncloud_init: seed\nssh: {user: atlas}\n"
    entries = all_entries(node_of(text))
    private = {entry.path for entry in entries if isinstance(entry, File) and entry.mode == 0o600}
    assert private == {
        "/etc/netplan/60-metis.yaml",
        "/etc/rancher/k3s/config.yaml",
        "/home/atlas/.ssh/authorized_keys",
        "/var/lib/cloud/seed/nocloud/meta-data",
        "/var/lib/cloud/seed/nocloud/user-data",
    }


def test_a_mac_address_of_digits_stays_text_for_every_reader_of_yaml() -> None:
    """YAML 1.1 takes 12:34:56 for a number of base 60."""
    case = FOLDER / "network/mac-like-a-number-of-base-60"
    document = yaml.safe_load(files(rendered(case))["/etc/netplan/60-metis.yaml"])
    assert document["network"]["ethernets"]["lan0"]["match"]["macaddress"] == "12:34:56:10:20:30"


# ------------------------------------------------------------------------------------------- netplan

NETWORKS = [case for case in cases_of("network") if case.name != "none"]


def generate(tmp_path: Path, case: Path) -> dict[str, str]:
    """What netplan makes of a case: the text of each file for systemd-networkd."""
    netplan = program("netplan", "netplan.io")
    file = tmp_path / "etc/netplan/60-metis.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(files(rendered(case))["/etc/netplan/60-metis.yaml"])
    file.chmod(0o600)
    said = process.run([netplan, "generate", "--root-dir", tmp_path])
    assert said.err == b"", "netplan warns"
    return {made.name: made.read_text() for made in (tmp_path / "run/systemd/network").iterdir()}


@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: case.name)
def test_netplan_takes_the_file_without_a_warning(tmp_path: Path, case: Path) -> None:
    assert [name for name in generate(tmp_path, case) if name.endswith(".network")]


def test_netplan_makes_the_address_the_gateway_and_the_name_servers_of_it(tmp_path: Path) -> None:
    text = generate(tmp_path, FOLDER / "network/static")["10-netplan-eth0.network"]
    assert "Name=eth0\n" in text
    assert "Address=192.0.2.13/24\n" in text
    assert "Gateway=192.0.2.1\n" in text
    assert "DNS=192.0.2.2\n" in text
    assert "Domains=lab.example\n" in text
    assert "DHCP=" not in text


def test_netplan_names_the_interface_of_a_mac_address(tmp_path: Path) -> None:
    made = generate(tmp_path, FOLDER / "network/mac-and-name")
    assert "MACAddress=02:00:5e:10:00:01\n" in made["10-netplan-eth0.link"]
    assert "Name=eth0\n" in made["10-netplan-eth0.link"]
    assert "DHCP=ipv4\n" in made["10-netplan-eth0.network"]


def test_netplan_matches_a_pattern(tmp_path: Path) -> None:
    assert "Name=enp?s*\n" in generate(tmp_path, FOLDER / "network/pattern")["10-netplan-lan0.network"]


# -------------------------------------------------------------------------------------------- record


def record_of(node: ResolvedNode, *entries: Entry) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(files(record.render(node, entries))["/etc/metis/node.json"])
    return made


NODE = node_of("class: pi\nhostname: atlas-13\n")


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


def test_the_record_leaves_out_what_is_no_file_of_the_root() -> None:
    about = record_of(NODE, File("/config.txt", (), side="boot"), Edit("/etc/hosts", "hosts"))
    assert about["files"] == {}


def test_the_record_holds_no_content_of_any_file() -> None:
    text = "class: pi\nssh: {user: atlas, authorized_keys: ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 ops']}\n"
    node = node_of(text + "k3s: {role: server, flags: {tls-san: [very.private.example]}}\n")
    entries = all_entries(node)
    (_, file) = record.render(node, entries)
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
        Found("/etc/hostname", "file", sha256="cd" * 32),
        Found("/etc/issue", "file", sha256="ef" * 32),
    )
    manifest = Composer(Inventory(tmp_path / "lab.yaml"), lambda _: None, lambda _: listing).manifest(
        "titan-13"
    )
    entries = tuple(item.entry for item in manifest.entries)
    about = json.loads(files(entries)["/etc/metis/node.json"])
    hashes = {path: item["sha256"] for path, item in about["files"].items()}
    assert (hashes["/etc/hostname"], hashes["/etc/issue"]) == ("cd" * 32, "ef" * 32)
