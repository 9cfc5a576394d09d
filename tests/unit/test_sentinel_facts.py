"""What the sentinel says of a host, fact by fact, and what it says where a fact cannot be had."""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path
from typing import Any

import pytest

from metis_sentinel.snapshot import node_of
from tests.support.hosts import MACHINE_ID, add, host, link, node_json, sha256, snapshot

Files = dict[str, str | bytes | None]
STATUS = "/var/lib/dpkg/status"
TABLE = "/proc/1/mountinfo"
ROOT = "29 1 8:2 / / rw,noatime shared:1 - ext4 /dev/sda2 rw\n"


def package(name: str, version: str = "1", arch: str = "arm64", status: str = "install ok installed") -> str:
    return f"Package: {name}\nStatus: {status}\nArchitecture: {arch}\nVersion: {version}\n\n"


PLAIN: dict[str, tuple[Files, str, object]] = {
    "host name": ({}, "hostname", "titan-1"),
    "host name with a space": ({"/etc/hostname": b" a\xffb \n"}, "hostname", "a\ufffdb"),
    "machine id": (
        {},
        "machine_id_hash",
        hmac.digest(MACHINE_ID.encode(), b"metis-sentinel", hashlib.sha256).hex(),
    ),
    "system": (
        {},
        "os",
        {"id": "debian", "version": "12", "name": "Debian GNU/Linux 12 (bookworm)"},
    ),
    "system with quotes": (
        {"/etc/os-release": 'ID=\'x\'\nPRETTY_NAME="a \\"b\\""\nVERSION_ID=\n'},
        "os",
        {"id": "x", "name": 'a "b"', "version": ""},
    ),
    "system of /usr": (
        {"/etc/os-release": None, "/usr/lib/os-release": "ID=alpine\n"},
        "os",
        {"id": "alpine"},
    ),
    "kernel": ({}, "kernel", "6.1.0-21-arm64"),
    "arch": ({}, "arch", os.uname().machine),
    "board by the device tree": ({}, "board", "Raspberry Pi 4 Model B Rev 1.4"),
    "board by DMI": (
        {"/sys/firmware/devicetree/base/model": None, "/sys/class/dmi/id/product_name": "OptiPlex\n"},
        "board",
        "OptiPlex",
    ),
    "memory": ({}, "memory", 8139072 * 1024),
    "boot": ({}, "boot", {"id": "6f0c2a0e-8a3c-4b3e-9d62-0d7d5d7d9a11", "uptime": 3600}),
    "command line": ({}, "cmdline", "console=tty1 root=PARTUUID=ab-02 rootwait"),
    "command line with secrets": (
        {
            "/proc/cmdline": "a=1 K3S_TOKEN=x luks.key=/k PassWord= pass=a=b quiet -- apikey=y "
            "systemd.set_credential=a:b ds=nocloud;password=z url=http://u:p@host/x\n"
        },
        "cmdline",
        "a=1 K3S_TOKEN=*** luks.key=*** PassWord= pass=*** quiet -- apikey=*** "
        "systemd.set_credential=*** ds=nocloud;password=*** url=http://***@host/x",
    ),
    "command line with quotes": (
        {"/proc/cmdline": 'x="a b" "my_secret=c d" token="e f\n'},
        "cmdline",
        'x="a b" "my_secret=*** token=***',
    ),
    "packages": (
        {STATUS: package("bash", "5.2-1") + package("vim", status="deinstall ok config-files")},
        "packages",
        {"bash": "5.2-1"},
    ),
    "packages that are held": ({STATUS: package("k", status="hold ok installed")}, "packages", {"k": "1"}),
    "packages half there": ({STATUS: package("k", status="install ok half-installed")}, "packages", {}),
    "packages of two architectures": (
        {STATUS: package("libc6", "2", "arm64") + package("libc6", "2", "armhf") + package("dash")},
        "packages",
        {"libc6:arm64": "2", "libc6:armhf": "2", "dash": "1"},
    ),
    "packages with long lines": (
        {STATUS: f"Description: {'x' * 100000}Package: evil\n more\nPackage: no\n" + package("bash")},
        "packages",
        {"bash": "1"},
    ),
    "journal": ({}, "journal_bytes", 0),
    "mount": (
        {
            TABLE: ROOT
            + "30 29 0:5 / /proc rw - proc proc rw\n31 29 7:0 / /snap/x ro - squashfs /dev/loop0 ro\n"
        },
        "mounts",
        [{"path": "/", "source": "/dev/sda2", "type": "ext4", "read_only": False}],
    ),
    "mount with spaces, read-only": (
        {TABLE: r"29 1 8:2 / /mnt/a\040b ro - ext4 /dev/sda2 rw" + "\n"},
        "mounts",
        [{"path": "/mnt/a b", "source": "/dev/sda2", "type": "ext4", "read_only": True}],
    ),
    "mount over another": (
        {TABLE: ROOT + "40 29 0:9 / / rw - tmpfs tmpfs rw\n"},
        "mounts",
        [],
    ),
    "mount with its UUID by udev": (
        {TABLE: ROOT, "/run/udev/data/b8:2": "N:sda2\nE:ID_FS_UUID=0f-aa\nE:ID_FS_TYPE=ext4\n"},
        "mounts",
        [{"path": "/", "source": "/dev/sda2", "type": "ext4", "read_only": False, "uuid": "0f-aa"}],
    ),
    "mount of btrfs with its UUID": (
        {
            TABLE: "29 1 0:22 /sub / rw - btrfs /dev/sdb1 rw\n",
            "/sys/class/block/sdb1/dev": "8:17\n",
            "/run/udev/data/b8:17": "E:ID_FS_UUID=b\n",
        },
        "mounts",
        [{"path": "/", "source": "/dev/sdb1", "type": "btrfs", "read_only": False, "uuid": "b"}],
    ),
    "disks of Longhorn": (
        {
            TABLE: ROOT
            + "30 29 8:17 / /mnt/usb rw - ext4 /dev/sdb1 rw\n31 29 8:18 / /mnt/bad rw - ext4 /dev/sdb2 rw\n",
            "/var/lib/longhorn/longhorn-disk.cfg": '{"diskUUID":"one"}',
            "/mnt/usb/longhorn-disk.cfg": '{"diskUUID":"two","x":1}',
            "/mnt/bad/longhorn-disk.cfg": "[" * 60000,
        },
        "longhorn_disks",
        [{"path": "/var/lib/longhorn", "uuid": "one"}, {"path": "/mnt/usb", "uuid": "two"}],
    ),
    "burn": (
        {"/etc/metis/burn.json": '{"format":1,"node":"n","image":"i","at":"2026-01-01T00:00:00Z","by":"x"}'},
        "burn",
        {"node": "n", "image": "i", "at": "2026-01-01T00:00:00Z"},
    ),
    "burn by others": ({"/etc/metis/burn.json": " " * 4095 + "\n"}, "burn", None),
}


@pytest.mark.parametrize(("files", "fact", "expected"), PLAIN.values(), ids=PLAIN)
def test_a_fact(tmp_path: Path, files: Files, fact: str, expected: object) -> None:
    assert snapshot(host(tmp_path, files)).get(fact) == expected


def test_uuids_come_from_links_where_udev_says_nothing(tmp_path: Path) -> None:
    host(tmp_path, {TABLE: ROOT, "/sys/class/block/sda2/dev": "8:2\n"})
    link(tmp_path, "/dev/disk/by-uuid/aa-bb", "../../sda2")
    link(tmp_path, "/dev/disk/by-uuid/cc-dd", "../../../etc/rancher")
    mounts: Any = snapshot(tmp_path)["mounts"]
    assert mounts[0]["uuid"] == "aa-bb"


def test_disks_are_those_with_a_device_and_their_wear_is_told(tmp_path: Path) -> None:
    files: Files = {}
    for name, size, removable in [
        ("sda", "100", "1"),
        ("mmcblk0", "8", "0"),
        ("zram0", "9", "0"),
        ("sdb", "x", "0"),
    ]:
        files |= {f"/sys/block/{name}/size": f"{size}\n", f"/sys/block/{name}/removable": f"{removable}\n"}
    files |= {
        "/sys/block/sda/device/model": "Flash Disk   \n",
        "/sys/block/sdb/device/model": "of no size\n",
        "/sys/block/mmcblk0/device/name": "SD32G\n",
        "/sys/block/mmcblk0/device/serial": "0x1234\n",
        "/sys/block/mmcblk0/device/life_time": "0x01 0x0b\n",
        "/sys/block/mmcblk0/device/pre_eol_info": "0x02\n",
        "/sys/block/mmcblk0boot0/device/name": "SD32G\n",
    }
    found = snapshot(host(tmp_path, files))
    wear = {"life_used": 110, "reserve": "warning"}
    assert found["disks"] == [
        {
            "name": "mmcblk0",
            "size": 4096,
            "removable": False,
            "model": "SD32G",
            "serial": "0x1234",
            "wear": wear,
        },
        {"name": "sda", "size": 51200, "removable": True, "model": "Flash Disk"},
    ]
    assert any("disks: sdb" in gap for gap in gaps(found))


def test_the_journal_is_what_its_files_take(tmp_path: Path) -> None:
    host(tmp_path)
    files = [
        add(tmp_path, f"{folder}/{MACHINE_ID}/{name}.journal", "x" * size)
        for folder, name, size in [
            ("/var/log/journal", "system", 20000),
            ("/var/log/journal", "user", 1),
            ("/run/log/journal", "early", 5000),
        ]
    ]
    link(tmp_path, f"/var/log/journal/{MACHINE_ID}/link", "/var/lib/dpkg/status")
    assert snapshot(tmp_path)["journal_bytes"] == sum(file.stat().st_blocks * 512 for file in files)


def gaps(found: dict[str, object]) -> list[str]:
    said = found["gaps"]
    assert isinstance(said, list)
    return said


BAD: dict[str, tuple[Files, str, str]] = {
    "no machine id": ({"/etc/machine-id": "uninitialized\n"}, "machine_id_hash", "is no id"),
    "a machine id twice": ({"/etc/machine-id": f"{MACHINE_ID}\n{MACHINE_ID}"}, "machine_id_hash", "is no id"),
    "no system": ({"/etc/os-release": None}, "os", "os-release: No such file"),
    "a vast system": ({"/etc/os-release": "A" * 70000}, "os", "more than 65536 bytes"),
    "no memory": ({"/proc/meminfo": "MemTotal: lots kB\n"}, "memory", "no MemTotal"),
    "no uptime": ({"/proc/uptime": "-1 2"}, "boot", "is no number"),
    "uptime of many digits": ({"/proc/uptime": "9" * 4000}, "boot", "is no number"),
    "no board": ({"/sys/firmware/devicetree/base/model": "\0"}, "board", "neither the device tree nor DMI"),
    "no packages": ({STATUS: None}, "packages", "neither dpkg nor rpm"),
    "no journal": ({"/var/log/journal/.keep": None}, "journal_bytes", "journal: No such file"),
    "no mount table": ({TABLE: None}, "mounts", "mount the host's /proc beneath the root"),
    "no card": ({}, "card", "/etc/metis/node.json: No such file"),
    "a card in pieces": ({"/etc/metis/node.json": '{"format": 1, "no'}, "card", "is no JSON"),
    "a deep card": ({"/etc/metis/node.json": "[" * 1000000}, "files", "is no JSON"),
    "a card of 50 MB": ({"/etc/metis/node.json": b" " * (50 << 20)}, "card", "has more than"),
    "a card of lists": ({"/etc/metis/node.json": "[]"}, "card", "no record of format 1"),
    "a newer card": ({"/etc/metis/node.json": node_json({}, format=2)}, "files", "no record of format 1"),
    "a card of no node": ({"/etc/metis/node.json": node_json({}, node=7)}, "card", "names no node"),
    "a card of no files": ({"/etc/metis/node.json": node_json({}, files=[])}, "files", "names no files"),
    "a burn in pieces": ({"/etc/metis/burn.json": '{"format":1,"node":"n"}'}, "burn", "does not say image"),
    "no bus": ({}, "failed_units", "system_bus_socket: No such file"),
    "a bus that is a file": ({"/run/dbus/system_bus_socket": ""}, "failed_units", "non-socket"),
}


@pytest.mark.parametrize(("files", "fact", "why"), BAD.values(), ids=BAD)
def test_a_fact_that_cannot_be_had_is_a_gap(tmp_path: Path, files: Files, fact: str, why: str) -> None:
    found = snapshot(host(tmp_path, files))
    assert fact not in found
    assert any(gap.startswith(f"{fact}: ") and why in gap for gap in gaps(found)), gaps(found)
    assert "arch" in found


def test_an_empty_root_costs_facts_and_nothing_else(tmp_path: Path) -> None:
    found = snapshot(tmp_path)
    assert found["node"] == "unknown"
    assert found["kernel"] == os.uname().release  # the live kernel answers where no /proc is beneath the root


def test_gaps_have_a_bound_and_nothing_that_a_terminal_obeys(tmp_path: Path) -> None:
    wrong: dict[str, object] = {f"no\x1b[31m{'x' * 2000}{number}": {} for number in range(3000)}
    found = snapshot(host(tmp_path, {"/etc/metis/node.json": node_json(wrong)}))
    assert len(gaps(found)) <= 200
    assert all(gap.isprintable() for gap in gaps(found))


@pytest.mark.parametrize(
    ("card", "name", "node"),
    [
        ({"node": "titan-1"}, "x", "titan-1"),
        ({"node": "../x"}, "host", "host"),
        ({"node": "a\n"}, "host", "host"),
        (None, "a host\x1b!", "a-host"),
        (None, "-.a" + "b" * 80, "a" + "b" * 62),
        (None, "\u00e9", "unknown"),
        (None, None, "unknown"),
    ],
)
def test_a_node_has_a_name(card: object, name: object, node: str) -> None:
    assert node_of(card, name) == node


# --------------------------------------------------------------------------------- what Metis manages


def managed(tmp_path: Path, path: str, **about: str) -> object:
    host(tmp_path, {"/etc/metis/node.json": node_json({path: about})})
    found: Any = snapshot(tmp_path)
    assert found["card"]["node"] == "titan-1"
    return found["files"].get(path)


def by_root(**more: str) -> dict[str, str]:
    me = "root" if os.geteuid() == 0 else str(os.geteuid())
    group = "root" if os.getegid() == 0 else str(os.getegid())
    return {"mode": "0644", "owner": me, "group": group, **more}


def test_a_managed_file_as_it_was_burned_has_its_hash(tmp_path: Path) -> None:
    add(tmp_path, "/etc/x", "x").chmod(0o644)
    assert managed(tmp_path, "/etc/x", sha256=sha256("x")) == by_root(state="file", sha256=sha256("x"))


def test_a_managed_file_that_was_edited_has_both_hashes(tmp_path: Path) -> None:
    add(tmp_path, "/etc/x", "y").chmod(0o644)
    expected = by_root(state="file", sha256=sha256("y"), burned=sha256("x"))
    assert managed(tmp_path, "/etc/x", sha256=sha256("x")) == expected


def test_a_managed_file_without_a_hash_is_not_read(tmp_path: Path) -> None:
    add(tmp_path, "/etc/x", "y").chmod(0o600)
    assert managed(tmp_path, "/etc/x") == by_root(state="file", mode="0600")


def test_a_managed_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    assert managed(tmp_path, "/etc/x/y", sha256=sha256("")) == {"state": "missing"}


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/shadow")])
def test_a_managed_file_that_is_something_else_is_other(tmp_path: Path, make: Any) -> None:
    add(tmp_path, "/etc/shadow", "secret")
    make(tmp_path / "etc/x")
    assert managed(tmp_path, "/etc/x", sha256=sha256("secret")) == {"state": "other"}


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/tls.key", "/srv/alias"])
def test_a_managed_file_that_is_private_is_seen_from_outside(tmp_path: Path, path: str) -> None:
    add(tmp_path, "/etc/shadow", "secret").chmod(0o640)
    add(tmp_path, "/etc/tls.key", "secret").chmod(0o640)
    (tmp_path / "srv").mkdir()
    os.link(tmp_path / "etc/shadow", tmp_path / "srv/alias")
    assert managed(tmp_path, path, sha256=sha256("secret")) == by_root(state="unread", mode="0640")


@pytest.mark.parametrize(
    "path", ["/etc/rancher/k3s/config.yaml", "/alias/k3s/config.yaml", "/etc/rancher/no"]
)
def test_of_a_managed_file_in_a_private_folder_nothing_is_said(tmp_path: Path, path: str) -> None:
    add(tmp_path, "/etc/rancher/k3s/config.yaml", "secret")
    link(tmp_path, "/alias", "/etc/rancher")
    assert managed(tmp_path, path, sha256=sha256("secret")) == {"state": "unread"}


@pytest.mark.parametrize("path", ["relative", "", "/a\0b", "/\ud800", "/" + "x" * 5000])
def test_what_is_no_path_is_left_out(tmp_path: Path, path: str) -> None:
    assert managed(tmp_path, path, sha256="0" * 64) is None


def test_a_vast_managed_file_is_hashed_in_pieces_and_a_larger_one_is_not(tmp_path: Path) -> None:
    os.truncate(add(tmp_path, "/vast", ""), 50 << 20)
    os.truncate(add(tmp_path, "/larger", ""), 1 << 40)
    both = {path: {"sha256": "0" * 64} for path in ("/vast", "/larger")}
    found: Any = snapshot(host(tmp_path, {"/etc/metis/node.json": node_json(both)}))
    assert found["files"]["/vast"]["state"] == "file"
    assert found["files"]["/larger"]["state"] == "unread"
