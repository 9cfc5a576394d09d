"""What becomes of declared disks on a node: by systemd's own reading, and by the script that checks them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.edits.table import apply
from pipeline.machine import process
from pipeline.model import Directory, Edit, Entry, File, Remove
from pipeline.render import boot, storage
from pipeline.render.units import mount_unit
from tests.support import blocks, scripts, systemd
from tests.support.rendering import FOLDER, cases_of, files, node_of_case, program, rendered

CASES = cases_of("storage")
GOLDEN = "LABEL=root / ext4 defaults,commit=120 0 1\nLABEL=FW /boot/firmware vfat defaults 0 2\n"
IDS = {"root": "6d6e4f4e-02", "boot": "6d6e4f4e-01"}
K3S = "[Unit]\nAfter=network-online.target\n[Service]\nExecStart=/usr/bin/touch\n"


def fstab_of(entries: tuple[Entry, ...]) -> str:
    """The golden's fstab after the edit of a node."""
    edit = next((entry for entry in entries if isinstance(entry, Edit)), None)
    if edit is None:
        return GOLDEN
    arguments = {name: value if isinstance(value, str) else IDS[name] for name, value in edit.arguments}
    return apply(edit.edit, GOLDEN.encode(), arguments, edit.path).decode()


def started(case: Path, root: Path) -> dict[str, str]:
    """A root with all units of a case, and of its fstab; gives the texts of the latter."""
    node = node_of_case(case)
    systemd.plant(root, (*storage.render(node), *boot.render(node)))
    if node.settings.get("k3s", {}).get("role") == "agent":
        systemd.put(root / "etc/systemd/system/k3s-agent.service", K3S)
    return systemd.mount(root, fstab_of(storage.render(node)))


# ------------------------------------------------------------------------------------------- systemd


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_systemd_has_no_complaint_about_the_units_and_their_order(case: Path, tmp_path: Path) -> None:
    mounts = started(case, tmp_path)
    ours = [file.name for file in (tmp_path / "etc/systemd/system").glob("*.service")]
    of_fstab = [name for name in mounts if name.endswith(".mount")]
    assert systemd.complaints(tmp_path, "multi-user.target", *ours, *of_fstab) == ""


def test_systemd_would_complain_of_a_circle(tmp_path: Path) -> None:
    started(FOLDER / "storage/scratch", tmp_path)
    unit = tmp_path / "etc/systemd/system/metis-scratch.service"
    unit.write_text(unit.read_text().replace("Before=", "Before=local-fs-pre.target "))
    assert "ordering cycle" in systemd.complaints(tmp_path, "k3s-agent.service")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_start_does_not_wait_for_a_disk_that_may_be_missing(case: Path, tmp_path: Path) -> None:
    for name, text in started(case, tmp_path).items():
        if name.endswith(".mount") and name not in {"-.mount", "boot-firmware.mount"}:
            assert "Before=local-fs.target" not in text
            assert "nofail" in text
    wanted = [file.name for file in tmp_path.glob("etc/systemd/system/local-fs.target.requires/*")]
    assert not {name for name in wanted if name.startswith(("mnt-", "srv-", "var-"))}


def test_a_disk_has_a_minute_to_appear(tmp_path: Path) -> None:
    mounts = started(FOLDER / "storage/scratch", tmp_path)
    (timeout,) = (text for name, text in mounts.items() if name.endswith("50-device-timeout.conf"))
    assert "JobRunningTimeoutSec=60s\n" in timeout


def test_folders_of_the_scratch_disk_are_made_between_its_mount_and_theirs(tmp_path: Path) -> None:
    mounts = started(FOLDER / "storage/scratch", tmp_path)
    bind = mounts["var-log-pods.mount"]
    assert "What=/mnt/scratch/var/log/pods\n" in bind
    assert "RequiresMountsFor=/mnt/scratch\n" in bind
    assert "Requires=metis-scratch.service\n" in bind
    assert "After=metis-scratch.service\n" in bind
    made = files(rendered(FOLDER / "storage/scratch"))["/etc/systemd/system/metis-scratch.service"]
    assert "RequiresMountsFor=/mnt/scratch\n" in made
    assert "ExecStart=/usr/bin/mkdir -p /mnt/scratch/var/log/pods /mnt/scratch/var/lib/kubelet\n" in made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_root_and_firmware_are_found_by_id_exactly_on_a_raspberry_pi(case: Path) -> None:
    entries = rendered(case)
    assert ("PARTUUID=6d6e4f4e-02 / ext4 defaults,commit=120" in fstab_of(entries)) == (
        node_of_case(case).klass.arch == "arm64"
    )


@given(st.from_regex(r"\A/(mnt|srv)(/[A-Za-z0-9_][A-Za-z0-9._-]{0,9}){1,3}\Z"))
def test_a_mount_is_named_without_what_could_break_out(path: str) -> None:
    assert not set(mount_unit(path)) & set(" /%\"'\n")


@pytest.mark.parametrize(
    "path", ["/mnt/longhorn", "/mnt/long-horn/a_b.c", "/srv/a--b", "/var/lib/rancher/k3s"]
)
def test_a_mount_is_named_as_systemd_names_it(path: str) -> None:
    escape = program("systemd-escape", "systemd")
    assert mount_unit(path) == process.run([escape, "--path", "--suffix=mount", path]).out.decode().strip()


# ------------------------------------------------------------------------------------------- guards


def needs_of(case: str) -> set[str]:
    conf = files(rendered(FOLDER / "storage" / case))[
        "/etc/systemd/system/k3s-agent.service.d/20-metis-mounts.conf"
    ]
    return {line for line in conf.splitlines() if line.startswith("Requires")}


def test_k3s_waits_in_vain_for_a_strict_disk_only() -> None:
    assert needs_of("longhorn") == {
        "RequiresMountsFor=/mnt/longhorn /mnt/longhorn-2",
        "Requires=metis-disks.service",
    }
    assert needs_of("longhorn-soft-on-amd64") == set()
    assert needs_of("strict-longhorn-beside-a-soft-scratch") == {
        "RequiresMountsFor=/mnt/longhorn",
        "Requires=metis-disks.service",
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nobody_can_write_where_a_disk_is_missing(case: Path) -> None:
    entries = rendered(case)
    points = {line.split()[1] for line in fstab_of(entries).splitlines()} - {"/", "/boot/firmware"}
    guarded = {
        entry.path
        for entry in entries
        if isinstance(entry, Directory) and entry.immutable and entry.mode == 0
    }
    assert guarded == points


def test_no_disk_of_longhorns_comes_with_a_golden() -> None:
    for case in CASES:
        settings = node_of_case(case).settings
        is_longhorns = "longhorn" in settings or settings.get("k3s", {}).get("role") == "agent"
        assert (Remove("/var/lib/longhorn") in rendered(case)) == is_longhorns, case.name


def test_the_line_for_each_disk_is_what_the_check_reads() -> None:
    table = files(rendered(FOLDER / "storage/strict-longhorn-beside-a-soft-scratch"))["/etc/metis/disks"]
    assert [line.split() for line in table.splitlines()] == [
        ["0a1b2c3d-0000-4000-8000-123456789abc", "/mnt/longhorn", "-", "strict"],
        ["9f8e7d6c-0000-4000-8000-123456789abc", "/mnt/scratch", "-", "soft"],
        ["9f8e7d6c-0000-4000-8000-123456789abc", "/var/cache/apt", "-", "soft"],
    ]


# -------------------------------------------------------------------------- the check, with stand-ins

UUID, OTHER = "0a1b2c3d-0000-4000-8000-123456789abc", "0a1b2c3d-0000-4000-8000-123456789abd"
LONGHORNS = "5d3c7a10-6d7e-4f7c-9c39-2b6d1f3a8e11"
FINDMNT = """
file="$ANSWERS/$3$(echo "$5" | tr / _)"
[ -e "$file" ] || exit 1
cat "$file"
"""


class Node:
    """A node as findmnt would describe it; the disk lies in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk = folder / "disk"
        self.disk.mkdir()
        scripts.stand_in(folder / "tools", "findmnt", FINDMNT)
        self.mount("/", "8:2", UUID)

    def mount(self, point: str | Path, device: str, uuid: str) -> None:
        name = str(point).replace("/", "_")
        (self.folder / f"MAJ:MIN{name}").write_text(f"{device}\n")
        (self.folder / f"UUID{name}").write_text(f"{uuid}\n")

    def check(self, *rows: str) -> tuple[int, list[str]]:
        table = self.folder / "table"
        table.write_text("".join(f"{row}\n" for row in rows))
        said = scripts.run(
            "check-disks", table, tools=self.folder / "tools", environment={"ANSWERS": str(self.folder)}
        )
        assert said.out == b""
        return said.code, said.err.decode().replace(str(self.disk), "DISK").splitlines()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_the_right_disk_passes(node: Node) -> None:
    node.mount(node.disk, "8:17", UUID)
    assert node.check(f"{UUID} {node.disk} - strict") == (0, [])


def test_without_disks_there_is_nothing_to_check(node: Node) -> None:
    assert node.check() == (0, [])


def test_a_missing_disk_is_said(node: Node) -> None:
    assert node.check(f"{UUID} {node.disk} - strict") == (
        1,
        [
            f"check-disks: nothing is mounted at DISK, expected the disk {UUID}: "
            "plug it in and restart the node"
        ],
    )


def test_a_disk_that_is_the_card_is_said_whatever_its_uuid(node: Node) -> None:
    node.mount(node.disk, "8:2", UUID)
    code, lines = node.check(f"{UUID} {node.disk} - strict")
    assert (code, len(lines)) == (1, 1)
    assert "DISK is on the card" in lines[0]


def test_another_disk_is_said(node: Node) -> None:
    node.mount(node.disk, "8:17", OTHER)
    code, (line,) = node.check(f"{UUID} {node.disk} - strict")
    assert code == 1
    assert f"DISK has the disk {OTHER}, expected {UUID}" in line


def test_the_mount_that_covers_another_is_the_one_that_counts(node: Node) -> None:
    node.mount(node.disk, "8:17\n8:33", f"{UUID}\n{OTHER}")
    assert node.check(f"{UUID} {node.disk} - strict")[0] == 1
    assert node.check(f"{OTHER} {node.disk} - strict")[0] == 0


CONFIG = json.dumps({"diskName": "d", "diskUUID": LONGHORNS, "diskType": "filesystem", "state": ""})


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (CONFIG, None),
        (json.dumps(json.loads(CONFIG), indent=4), None),
        (CONFIG.replace(LONGHORNS, OTHER), OTHER),
        (None, "without longhorn-disk.cfg"),
        ("", "without longhorn-disk.cfg"),
        ("{not json", "without longhorn-disk.cfg"),
        ('{"diskUUID": "$(touch /tmp/x); `id`"}', "$(touch /tmp/x); `id`"),
    ],
)
def test_longhorns_own_mark_on_the_disk_is_compared(
    node: Node, config: str | None, found: str | None
) -> None:
    node.mount(node.disk, "8:17", UUID)
    if config is not None:
        (node.disk / "longhorn-disk.cfg").write_text(config)
    code, lines = node.check(f"{UUID} {node.disk} {LONGHORNS} strict")
    if found is None:
        assert (code, lines) == (0, [])
    else:
        assert code == 1
        assert lines == [
            f"check-disks: DISK has Longhorn's disk {found}, expected {LONGHORNS}: see what it holds"
        ]


def test_every_disk_is_looked_at_and_a_soft_one_is_no_failure(node: Node) -> None:
    code, lines = node.check(f"{UUID} /mnt/a - soft", f"{OTHER} /mnt/b - soft")
    assert (code, len(lines)) == (0, 2)
    code, lines = node.check(f"{UUID} /mnt/a - strict", f"{OTHER} /mnt/b - soft")
    assert (code, len(lines)) == (1, 2)


# ------------------------------------------------------------------------------- the check, for real


@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_real_disks_are_told_apart(filesystem: str, tmp_path: Path) -> None:
    blocks.need_disks()
    images = [tmp_path / "one", tmp_path / "other"]
    for image, uuid in zip(images, (UUID, OTHER), strict=True):
        with image.open("wb") as file:
            file.truncate(320 * blocks.MIB)
        make = program(f"mkfs.{filesystem}", {"ext4": "e2fsprogs", "xfs": "xfsprogs"}[filesystem])
        process.run([make, "-q", *(["-m", f"uuid={uuid}"] if filesystem == "xfs" else ["-U", uuid]), image])
    table = tmp_path / "table"
    table.write_text(f"{UUID} {tmp_path}/disk - strict\n")
    codes = []
    for image in images:
        with blocks.attached(image) as device, blocks.mounted(device, tmp_path / "disk"):
            codes.append(scripts.run("check-disks", table).code)
    codes.append(scripts.run("check-disks", table).code)
    assert codes == [0, 1, 1]


# ------------------------------------------------------------------------------------------- fstab(5)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_findmnt_takes_every_line(case: Path, tmp_path: Path) -> None:
    file = tmp_path / "fstab"
    file.write_text(fstab_of(rendered(case)))
    said = process.run([program("findmnt", "util-linux"), "--verify", "--tab-file", file], check=False)
    assert said.err.splitlines()[-1].startswith(b"0 parse errors, ")
    # That these disks are not in this machine is all that it may find.
    found = [line for line in said.out.decode().splitlines() if "] " in line]
    assert [line for line in found if "unreachable on boot required" not in line] == []


def test_every_script_and_unit_that_is_wanted_comes_along() -> None:
    for case in CASES:
        entries = rendered(case)
        paths = {entry.path for entry in entries if isinstance(entry, File)}
        for text in files(entries).values():
            for line in text.splitlines():
                if line.startswith("ExecStart=/usr/local/"):
                    assert line.removeprefix("ExecStart=").split()[0] in paths
