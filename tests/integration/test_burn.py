"""A burn from the command line: the card holds the node, says so, and nothing is lost when it is refused."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from pipeline.card import burn_plan, inspect
from pipeline.machine import process
from pipeline.raw import bmap, disk
from tests.support import goldens
from tests.support.blocks import MIB, attached, mounted, need_disks
from tests.support.cards import wrong
from tests.support.lab import BIN, QUICK_INJECTOR, Lab, class_text
from tests.support.registry import serving


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("burn"), {"METIS_INJECTOR": QUICK_INJECTOR})
    lab.write("classes/only.yaml", class_text(tiny_golden, goldens.sha256(tiny_golden)))
    lab.write("nodes/one.yaml", "class: only\nnetwork: {dhcp: true}\n")
    assert lab.doit("image:one").code == 0
    return lab


@pytest.fixture
def image(lab: Lab) -> Path:
    return lab.artifacts / "one.img"


def old_card(path: Path, size: int) -> Path:
    """A card that was in use before: full of what is not zero."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(os.urandom(1 << 16) * (size >> 16))
    return path


def expected(image: Path, card: Path) -> burn_plan.BurnPlan:
    """What a card must hold but for the record of its burn."""
    described = bmap.parse(Path(f"{image}.bmap").read_bytes())
    data = image.read_bytes()
    return burn_plan.make(described, card.stat().st_size, lambda start, end: data[start:end])


def differing(image: Path, card: Path) -> list[int]:
    """The extents of a card that are not what the image makes of it."""
    return [start for start, _ in wrong(expected(image, card), card.read_bytes())]


def of_record(image: Path, card: Path) -> list[int]:
    """The extent that the record of a burn changes."""
    slot = json.loads(image.with_name("one.receipt.json").read_text())["slot"]
    return [each.start for each in expected(image, card).extents if each.start <= slot < each.end]


def burns(lab: Lab) -> list[dict[str, Any]]:
    files = sorted((lab.artifacts / "burns").glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    return [json.loads(file.read_text()) for file in files]


def test_a_new_file_holds_the_image_and_a_receipt_tells(lab: Lab, image: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    report = lab.doit("burn", "--node", "one", "--device", str(card), "--yes")
    assert report.code == 0, report
    assert "insert and power on" in report.err
    assert differing(image, card) == of_record(image, card)
    receipt = burns(lab)[-1]
    assert receipt["node"] == "one"
    assert receipt["verdict"] == "read back and the same"
    assert receipt["card"]["path"] == str(card)


def test_an_empty_file_is_as_good_as_a_new_one_and_private_from_then_on(
    lab: Lab, image: Path, tmp_path: Path
) -> None:
    card = tmp_path / "card.img"
    card.touch(0o644)
    report = lab.metis("burn", "--node", "one", "--device", str(card))
    assert report.code == 0, report
    assert card.stat().st_mode & 0o777 == 0o600
    assert differing(image, card) == of_record(image, card)


def test_a_larger_card_is_filled_and_says_what_it_is(lab: Lab, image: Path, tmp_path: Path) -> None:
    card = old_card(tmp_path / "card.img", 3 * image.stat().st_size)
    report = lab.metis("burn", "--node", "one", "--device", str(card), "--yes")
    assert report.code == 0, report
    assert differing(image, card) == of_record(image, card)
    process.run(["sfdisk", "--verify", card])
    last = disk.read(card).partitions[-1]
    assert last.end > card.stat().st_size - 2 * MIB
    process.run(["e2fsck", "-f", "-n", f"{card}?offset={last.start}"])
    record = inspect.inspect(card).record
    assert record is not None
    assert record["node"] == "one"
    said = lab.metis("cards", "--inspect", str(card))
    assert said.out.startswith(f"{card}: one, burned 20")
    assert lab.metis("verify", "--node", "one", "--image", str(card)).code == 0


def test_a_burned_card_is_written_only_where_it_differs(lab: Lab, image: Path, tmp_path: Path) -> None:
    card = old_card(tmp_path / "card.img", 2 * image.stat().st_size)
    reports = []
    for more in ([], [], ["--delta", "never"]):
        said = lab.metis("burn", "--node", "one", "--device", str(card), "--yes", "--json", *more)
        assert said.code == 0, said
        reports.append(json.loads(said.out)[0])
    first, second, third = reports
    assert first["skipped"] == third["skipped"] == 0
    assert second["skipped"] > second["written"]
    assert differing(image, card) == of_record(image, card)


@pytest.mark.parametrize("program", ["doit", "metis"])
def test_what_came_of_a_card_is_told_where_it_cannot_be_kept(
    lab: Lab, image: Path, tmp_path: Path, program: str
) -> None:
    burns, aside = lab.artifacts / "burns", tmp_path / "aside"
    with suppress(FileNotFoundError):
        burns.rename(aside)
    burns.touch()
    try:
        report = getattr(lab, program)("burn", "--node", "one", "--device", str(tmp_path / "card"), "--yes")
    finally:
        burns.unlink()
        with suppress(FileNotFoundError):
            aside.rename(burns)
    assert report.code == 1, report
    assert "read back and the same" in report.out + report.err
    assert str(burns) in report.out + report.err
    assert "Traceback" not in report.err


def test_what_is_stale_is_built_first(lab: Lab, tmp_path: Path) -> None:
    lab.write("nodes/two.yaml", "class: only\nnetwork: {dhcp: true}\n")
    card = tmp_path / "card.img"
    report = lab.doit("burn", "--node", "two", "--device", str(card), "--yes")
    assert report.code == 0, report
    assert report.tasks("run", "image") == {"image:two"}
    assert inspect.inspect(card).summary.startswith("two, burned")
    (lab.inventory / "nodes/two.yaml").unlink()


def test_several_cards_are_burned_side_by_side(lab: Lab, image: Path, tmp_path: Path) -> None:
    cards = [tmp_path / name for name in ("one", "two", "three")]
    words = [word for card in cards for word in ("--device", str(card))]
    report = lab.metis("burn", "--node", "one", *words, "--yes", "--json")
    assert report.code == 0, report
    assert [each["verdict"] for each in json.loads(report.out)] == ["read back and the same"] * 3
    assert all(differing(image, card) == of_record(image, card) for card in cards)


def test_one_bad_card_stops_no_other(lab: Lab, image: Path, tmp_path: Path) -> None:
    need_disks()
    good = tmp_path / "good"
    with mounted("tmpfs", tmp_path / "small", "-t", "tmpfs", "-o", "size=4m") as small:
        words = ["--device", str(good), "--device", str(small / "bad")]
        report = lab.metis("burn", "--node", "one", *words, "--yes")
        assert list(small.iterdir()) == []
    assert report.code == 1
    assert f"{small}/bad" in report.err
    assert differing(image, good) == of_record(image, good)
    assert [each["verdict"] for each in burns(lab)[-2:]].count("read back and the same") == 1


# ------------------------------------------------------------------------------------- what is refused

REFUSED: dict[str, tuple[list[str], int, str]] = {
    "unknown node": (["--node", "none", "--device", "{new}"], 2, "no node none"),
    "no node": (["--device", "{new}"], 2, "one image is burned at a time"),
    "no disk": (["--node", "one", "--device", "/dev/null"], 3, "/dev/null"),
    "a typo": (["--node", "one", "--device", "/dev/metis-typo"], 3, "/dev/metis-typo"),
    "the image": (["--node", "one", "--device", "{artifacts}/one.img"], 3, "is among the artifacts"),
    "an artifact": (["--node", "one", "--device", "{artifacts}/new/card"], 3, "is among the artifacts"),
    "too small": (["--node", "one", "--device", "{kept}"], 3, "{kept}"),
    "twice": (["--node", "one", "--device", "{new}", "--device", "{new}"], 2, "named twice"),
    "a folder and a device": (["--node", "one", "--device", "{new}", "--root", "/mnt"], 2, "write no device"),
    "half a mounted card": (["--node", "one", "--root", "/mnt"], 2, "one of --boot and --root is missing"),
    "a node and an image": (["--node", "one", "--image", "{artifacts}/one.img"], 2, "one image is burned"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_one_line_and_writes_nothing(lab: Lab, tmp_path: Path, case: str) -> None:
    words, code, said = REFUSED[case]
    places = {"kept": tmp_path / "kept", "new": tmp_path / "new", "artifacts": lab.artifacts}
    places["kept"].write_bytes(b"precious")
    before = sorted(lab.artifacts.rglob("*"))
    report = lab.metis("burn", *(word.format(**places) for word in words), "--yes")
    assert report.code == code, report
    (line,) = (line for line in report.err.splitlines() if line.startswith("metis: "))
    assert said.format(**places) in line
    assert places["kept"].read_bytes() == b"precious"
    assert not places["new"].exists()
    assert sorted(lab.artifacts.rglob("*")) == before
    assert not Path("/dev/metis-typo").exists()


def test_a_refused_burn_builds_nothing(lab: Lab, tmp_path: Path) -> None:
    lab.write("nodes/three.yaml", "class: only\nnetwork: {dhcp: true}\n")
    for program in (lab.doit, lab.metis):
        report = program("burn", "--node", "three", "--device", "/dev/null", "--yes")
        assert report.code != 0
        assert "/dev/null" in report.out + report.err
        assert not (lab.artifacts / "three.img").exists()
    (lab.inventory / "nodes/three.yaml").unlink()


def test_a_bare_burn_explains_itself(lab: Lab) -> None:
    report = lab.doit("burn")
    assert report.code != 0
    (line,) = report.failures
    assert "say `doit burn --node NODE --device DEVICE --yes`" in line
    assert report.tasks("run", "image") == set()


@pytest.mark.parametrize("program", ["doit", "metis"])
def test_nobody_overwrites_without_saying_so(lab: Lab, image: Path, tmp_path: Path, program: str) -> None:
    card = old_card(tmp_path / "card.img", image.stat().st_size)
    before = goldens.sha256(card)
    report = getattr(lab, program)("burn", "--node", "one", "--device", str(card))
    assert report.code != 0
    assert "--yes" in report.out + report.err
    assert goldens.sha256(card) == before


def test_a_card_above_the_ceiling_of_the_class_is_refused(lab: Lab, image: Path, tmp_path: Path) -> None:
    need_disks()
    card = old_card(tmp_path / "card.img", 3 * image.stat().st_size)
    before = goldens.sha256(card)
    file = lab.inventory / "classes/only.yaml"
    text = file.read_text()
    file.write_text(f"{text}card: {{max_size: {2 * image.stat().st_size}}}\n")
    try:
        with attached(card) as device:
            report = lab.metis("burn", "--node", "one", "--device", device, "--yes", "--allow-fixed")
    finally:
        file.write_text(text)
    assert report.code == 3, report
    assert goldens.sha256(card) == before


# -------------------------------------------------------------------------------------- finished images


def test_a_finished_image_needs_no_inventory(image: Path, tmp_path: Path) -> None:
    for name in ("one.img", "one.img.bmap", "one.receipt.json"):
        shutil.copy(image.with_name(name), tmp_path / name)
    lab = Lab(tmp_path / "nothing")
    card = tmp_path / "card"
    report = lab.metis("burn", "--image", str(tmp_path / "one.img"), "--device", str(card), "--yes")
    assert report.code == 0, report
    assert report.out.startswith("one: ")
    assert inspect.inspect(card).record is not None


def test_a_block_map_of_bmaptool_is_as_good(image: Path, tmp_path: Path) -> None:
    copy, card = tmp_path / "one.img", tmp_path / "card"
    process.run(["cp", "--sparse=always", image, copy])
    process.run(["bmaptool", "create", "--output", f"{copy}.bmap", copy])
    report = Lab(tmp_path).metis("burn", "--image", str(copy), "--device", str(card), "--yes")
    assert report.code == 0, report
    assert goldens.sha256(card) == goldens.sha256(copy)


def test_bmaptool_takes_an_image_and_its_block_map(image: Path, tmp_path: Path) -> None:
    card = old_card(tmp_path / "card", image.stat().st_size)
    process.run(["bmaptool", "copy", image, card])
    assert differing(image, card) == []


LARGE, MEMORY = 8 << 30, 150 << 20
"""Bytes: of an image, and of memory that its burn may take."""
BURN_AND_TELL = """\
import sys
from pipeline.cli import main
try:
    main(sys.argv[1:])
finally:
    (peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
    print(int(peak.split()[1]) * 1024)
"""
"""What getrusage(2) says counts the memory of whoever started the program, too."""


@pytest.mark.slow
def test_a_large_image_takes_little_memory(tmp_path: Path) -> None:
    image, card = tmp_path / "large.img", tmp_path / "card"
    image.touch()
    os.truncate(image, LARGE)
    places = [(start, start + (1 << 16)) for start in range(0, LARGE, MIB)]
    Path(f"{image}.bmap").write_bytes(bmap.describe(image, places).to_xml())
    words = ["burn", "--image", str(image), "--device", str(card), "--yes"]
    said = process.run([BIN / "python", "-c", BURN_AND_TELL, *words]).out.decode().splitlines()
    assert "read back and the same" in said[0]
    assert int(said[-1]) < MEMORY


@pytest.mark.parametrize("what", ["image", "block map"])
def test_an_image_that_is_not_what_its_receipt_says_touches_no_card(
    image: Path, tmp_path: Path, what: str
) -> None:
    for name in ("one.img", "one.img.bmap", "one.receipt.json"):
        shutil.copy(image.with_name(name), tmp_path / name)
    victim = tmp_path / ("one.img" if what == "image" else "one.img.bmap")
    data = bytearray(victim.read_bytes())
    data[len(data) // 2 if what == "block map" else 100] ^= 1
    victim.write_bytes(data)
    card = old_card(tmp_path / "card", image.stat().st_size)
    before = goldens.sha256(card)
    words = ["--image", str(tmp_path / "one.img"), "--device", str(card), "--yes"]
    report = Lab(tmp_path / "nothing").metis("burn", *words)
    assert report.code == 4, report
    assert goldens.sha256(card) == before


@pytest.mark.parametrize("name", ["by its name", "by a link", "by a second name", "as a loop device"])
def test_an_image_is_not_burned_to_itself(image: Path, tmp_path: Path, name: str) -> None:
    copy, other = tmp_path / "one.img", tmp_path / "other"
    shutil.copy(image, copy)
    before = goldens.sha256(copy)
    with ExitStack() as stack:
        named = {"by its name": copy, "by a link": other, "by a second name": other}.get(name)
        if name == "by a link":
            other.symlink_to(copy)
        elif name == "by a second name":
            other.hardlink_to(copy)
        elif name == "as a loop device":
            need_disks()
            named = Path(stack.enter_context(attached(copy)))
        words = ["--image", str(copy), "--device", str(named), "--yes", "--allow-fixed"]
        report = Lab(tmp_path / "nothing").metis("burn", *words)
    assert report.code == 3, report
    assert "is the image itself" in report.err
    assert goldens.sha256(copy) == before


# ------------------------------------------------------------------------------------------ real devices


def test_what_is_not_there_cannot_be_looked_at(tmp_path: Path) -> None:
    report = Lab(tmp_path).metis("cards", "--inspect", str(tmp_path / "none"), "--json")
    assert (report.code, report.out) == (1, "")
    assert report.err.startswith(f"metis: nothing is at {tmp_path}/none: ")


def test_cards_are_listed_by_the_rules_of_an_inventory_that_was_named_or_not_at_all(tmp_path: Path) -> None:
    report = Lab(tmp_path).metis("cards")
    assert (report.code, report.out) == (2, "")
    assert Lab(tmp_path).metis("cards", METIS_INVENTORY="").code == 0


def test_a_loop_device_is_no_way_to_an_artifact(lab: Lab, tmp_path: Path) -> None:
    need_disks()
    base = lab.artifacts / "base/only.img"
    before = goldens.sha256(base)
    with attached(base) as device:
        report = lab.metis("burn", "--node", "one", "--device", device, "--yes", "--allow-fixed")
    assert report.code == 3, report
    assert f"{device} is among the artifacts" in report.err
    assert goldens.sha256(base) == before


def test_artifacts_that_a_flag_names_are_no_cards_either(image: Path, tmp_path: Path) -> None:
    artifacts = tmp_path / "named"
    card = old_card(tmp_path / "named/card", image.stat().st_size)
    before = goldens.sha256(card)
    words = ["--image", str(image), "--artifacts", str(artifacts), "--device", str(card), "--yes"]
    report = Lab(tmp_path / "nothing").metis("burn", *words)
    assert report.code == 3, report
    assert goldens.sha256(card) == before


def test_a_device_holds_the_node_and_its_kernel_sees_the_partitions(
    lab: Lab, image: Path, tmp_path: Path
) -> None:
    need_disks()
    file = old_card(tmp_path / "medium", 2 * image.stat().st_size)
    with attached(file) as device:
        refused = lab.metis("burn", "--node", "one", "--device", device, "--yes")
        assert refused.code == 3, refused
        report = lab.metis("burn", "--node", "one", "--device", device, "--yes", "--allow-fixed")
        assert report.code == 0, report
        assert lab.metis("cards", "--inspect", device).out.startswith(f"{device}: one, burned")
    assert differing(image, file) == of_record(image, file)


def test_a_device_is_burned_from_a_registry_by_a_host_without_inventory(
    lab: Lab, image: Path, tmp_path: Path
) -> None:
    need_disks()
    file = old_card(tmp_path / "medium", 2 * image.stat().st_size)
    other = Lab(tmp_path / "other")
    with serving(tmp_path / "registry") as server, attached(file) as device:
        to = f"oci://{server.host}/nodes/one:1"
        pushed = lab.metis("push", "--node", "one", "--to", to, "--plain")
        assert pushed.code == 0, pushed
        report = other.metis("burn", "--from", to, "--device", device, "--yes", "--allow-fixed")
        assert report.code == 0, report
        assert lab.metis("cards", "--inspect", device).out.startswith(f"{device}: one, burned")
    assert differing(image, file) == of_record(image, file)


# ------------------------------------------------------------------------------------ files, and no image


def test_a_mounted_card_gets_the_files_and_no_device_is_named(
    lab: Lab, tiny_golden: Path, tmp_path: Path
) -> None:
    need_disks()
    golden, boot = tmp_path / "card.img", tmp_path / "boot"
    shutil.copy(tiny_golden, golden)
    boot.mkdir()
    with attached(golden) as device, mounted(f"{device}p1", tmp_path / "root") as root:
        words = ["--node", "one", "--boot", str(boot), "--root", str(root)]
        planned = lab.metis("plan", *words)
        assert f"writes files below {boot} and {root}, and no device" in planned.out
        assert not (root / "etc/metis").exists()
        by_flag = lab.metis("burn", *words)
        assert by_flag.code == 0, by_flag
        assert json.loads((root / "etc/metis/node.json").read_text())["node"] == "one"
        places = {"METIS_BOOT_PATH": str(boot), "METIS_ROOT_PATH": str(root)}
        by_environment = lab.metis("burn", "--node", "one", **places)
        assert by_environment.code == 0, by_environment
        assert by_environment.out == by_flag.out


def test_a_card_is_mounted_and_unmounted_for_it(lab: Lab, tiny_golden: Path, tmp_path: Path) -> None:
    need_disks()
    card = Path(shutil.copy(tiny_golden, tmp_path / "card.img"))
    report = lab.metis("burn", "--node", "one", "--device", str(card), "--auto-mount", "--yes")
    assert report.code == 0, report
    assert inspect.inspect(card).summary == "one, without a record of its burn"
    assert (
        str(card)
        not in process.run(["losetup", "--list", "--noheadings", "--output", "BACK-FILE"]).out.decode()
    )
