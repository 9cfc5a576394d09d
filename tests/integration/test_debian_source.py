"""What the debian source makes: the disk as it must be, and nothing left when it cannot be made."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from pipeline.errors import MetisError, SourceError, UsageError
from pipeline.golden.debian import (
    packages as debian_packages,
)
from pipeline.golden.debian import (
    source as debian,
)
from pipeline.golden.debian import (
    tools as debian_tools,
)
from pipeline.machine import process
from pipeline.machine.progress import QuietReporter
from pipeline.raw import disk, sparse

pytestmark = [pytest.mark.slow]

MIB = 1 << 20
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
ROOT_TYPE = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"


def partitions(image: Path, kind: str = "gpt") -> list[tuple[str, int, int]]:
    """Type, start and size of each partition, in bytes."""
    table = json.loads(process.run(["sfdisk", "--json", image]).out)["partitiontable"]
    assert table["label"] == kind
    return [(part["type"], part["start"] * 512, part["size"] * 512) for part in table["partitions"]]


def extract(image: Path, number: int, target: Path, kind: str = "gpt") -> Path:
    _, start, size = partitions(image, kind)[number]
    process.run(
        [
            "dd",
            f"if={image}",
            f"of={target}",
            "bs=1M",
            f"skip={start // MIB}",
            f"count={size // MIB}",
            "conv=sparse",
        ]
    )
    return target


@pytest.fixture(scope="module")
def root(debian_golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extract(debian_golden, 1, tmp_path_factory.mktemp("root") / "root")


@pytest.fixture(scope="module")
def esp(debian_golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extract(debian_golden, 0, tmp_path_factory.mktemp("esp") / "esp")


def ask(root: Path, question: str) -> str:
    return process.run(["debugfs", "-R", question, root]).out.decode()


def owner(root: Path, path: str) -> tuple[str, str, str]:
    """Mode, user and group of a path, as debugfs(8) prints them."""
    folder, _, name = path.rpartition("/")
    rows = [line.split("/") for line in ask(root, f"ls -p {folder}/").splitlines() if line]
    mode, user, group = next(row[2:5] for row in rows if row[5] == name)
    return mode, user, group


def test_the_root_is_last_so_that_it_can_grow(debian_golden: Path) -> None:
    assert [kind for kind, _, _ in partitions(debian_golden)] == [ESP_TYPE, ROOT_TYPE]


def test_it_is_small(debian_golden: Path) -> None:
    assert debian_golden.stat().st_size <= 1536 * MIB
    assert sparse.mapped_bytes(debian_golden) <= 550 * MIB


def test_the_file_systems_are_clean_and_labelled(esp: Path, root: Path) -> None:
    process.run(["fsck.vfat", "-n", esp])
    process.run(["e2fsck", "-fn", root])
    labels = [
        process.run(["blkid", "-p", "-o", "value", "-s", "LABEL", part]).out.strip() for part in (esp, root)
    ]
    assert labels == [b"ESP", b"rootfs"]


def test_firmware_finds_the_loader_and_the_loader_a_kernel(esp: Path) -> None:
    listed = process.run(["mdir", "-i", esp, "-/", "-b", "::"]).out.decode().splitlines()
    assert "::/EFI/BOOT/BOOTX64.EFI" in listed
    entry = next(line for line in listed if line.startswith("::/loader/entries/"))
    words = dict(
        line.split(None, 1) for line in process.run(["mtype", "-i", esp, entry]).out.decode().splitlines()
    )
    assert {f"::{words['linux']}", f"::{words['initrd']}"} <= set(listed)
    assert "root=LABEL=rootfs" in words["options"]


def test_it_has_no_identity(root: Path) -> None:
    assert "ssh_host" not in ask(root, "ls /etc/ssh")
    assert ask(root, "cat /etc/machine-id") == ""
    assert ask(root, "cat /etc/hostname") == "golden\n"


def test_nothing_of_the_host_is_in_it(root: Path) -> None:
    assert "stub-resolv.conf" in ask(root, "stat /etc/resolv.conf")
    assert "resolv.conf.systemd-resolved.bak" not in ask(root, "ls /etc")


@pytest.mark.parametrize(
    ("path", "mode", "user", "group"),
    [
        ("/etc/shadow", "100640", "0", "42"),
        ("/usr/bin/sudo", "104755", "0", "0"),
        ("/etc/cloud/cloud.cfg.d/90_metis.cfg", "100644", "0", "0"),
        ("/tmp", "041777", "0", "0"),
        ("/bin", "120777", "0", "0"),
    ],
)
def test_owners_and_modes_are_those_of_the_packages(
    root: Path, path: str, mode: str, user: str, group: str
) -> None:
    assert owner(root, path) == (mode, user, group)


@pytest.mark.timeout(2400)
def test_a_raspberry_pi_finds_its_firmware_and_a_kernel_on_the_fat(
    debian_pi_golden: Path, tmp_path: Path
) -> None:
    layout = disk.read(debian_pi_golden)
    assert layout.scheme == "dos"
    assert [part.label for part in layout.partitions] == ["RASPIFIRM", "RASPIROOT"]
    fat = f"{debian_pi_golden}@@{layout.partitions[0].start}"
    listed = set(process.run(["mdir", "-i", fat, "-b", "::"]).out.decode().split())
    config = process.run(["mtype", "-i", fat, "::config.txt"]).out.decode()
    named = [re.search(rf"^{name}[= ](\S+)$", config, re.MULTILINE) for name in ("kernel", "initramfs")]
    assert {f"::/{match[1]}" for match in named if match} <= listed
    assert all(named)
    assert {"::/start4.elf", "::/fixup4.dat", "::/bootcode.bin", "::/bcm2711-rpi-4-b.dtb"} <= listed
    cmdline = process.run(["mtype", "-i", fat, "::cmdline.txt"]).out.decode()
    assert "root=LABEL=RASPIROOT" in cmdline.split()
    process.run(["fsck.vfat", "-n", extract(debian_pi_golden, 0, tmp_path / "fat", "dos")])
    process.run(["e2fsck", "-fn", extract(debian_pi_golden, 1, tmp_path / "root", "dos")])


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the build would leave something: an empty folder as TMPDIR."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", os.fspath(folder))
    return folder


def fail(tmp_path: Path, suite: str = "bookworm") -> MetisError:
    """Build where it cannot work, and give the error once it is certain that nothing was left."""
    with pytest.raises(MetisError) as caught:
        debian.build(suite, tmp_path / "image", QuietReporter())
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["scratch"]
    assert "\n" not in str(caught.value)
    return caught.value


def test_an_archive_out_of_reach(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(debian_tools.MIRROR, "http://127.0.0.1:1/debian")
    error = fail(tmp_path)
    assert isinstance(error, SourceError)
    assert "127.0.0.1" in str(error)


def test_a_suite_that_does_not_exist(tmp_path: Path, scratch: Path) -> None:
    error = fail(tmp_path, "nosuchsuite")
    assert isinstance(error, SourceError)
    assert "nosuchsuite" in str(error)


def test_a_disk_that_is_full(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    process.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", scratch])
    try:
        error = fail(tmp_path)
    finally:
        process.run(["umount", scratch])
    assert "space" in str(error)


def test_mmdebstrap_is_not_installed(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian_packages, "_host_sources", lambda *_: [])
    monkeypatch.setattr(process, "environment", lambda _=None: {"PATH": "/nowhere"})
    assert "not installed" in str(fail(tmp_path))


def test_a_hostile_mirror_is_refused(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(debian_tools.MIRROR, "http://user:secret@192.0.2.1/debian")
    error = fail(tmp_path)
    assert isinstance(error, UsageError)
    assert "secret" not in str(error)
