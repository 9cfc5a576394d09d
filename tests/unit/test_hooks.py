"""Hooks: the lab's own code for special hardware, found, run, and blamed in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import hooks
from pipeline.errors import InventoryError, MetisError
from pipeline.inventory.read import Inventory
from pipeline.model import File, Manifest, Text
from pipeline.steps.compose import Composer

ENTRY = "from pipeline.model import File, Text\n"
UDEV = f"{ENTRY}def render(node):\n    return [File('/etc/udev/rules.d/60-hdd.rules', (Text(node.name),))]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hooks").mkdir()
    return tmp_path


def manifest(folder: Path, text: str = "hooks: [hard-disk]", klass: str = "") -> Manifest:
    lab = folder / "lab.yaml"
    lab.write_text(
        f"classes:\n  pi: {{arch: arm64, os: debian{klass}}}\nnodes:\n  titan-13: {{class: pi, {text}}}\n"
    )
    return Composer(Inventory(lab), lambda _: None, lambda _: ()).manifest("titan-13")


def write(folder: Path, text: str, name: str = "hard_disk") -> None:
    (folder / f"hooks/{name}.py").write_text(text)


def test_a_hook_of_the_inventory_adds_entries_to_its_nodes(folder: Path) -> None:
    write(folder, UDEV)
    (placed,) = [item for item in manifest(folder).entries if item.layer == "hook hard-disk"]
    assert placed.entry == File("/etc/udev/rules.d/60-hdd.rules", (Text("titan-13"),))


def test_a_class_may_name_it_for_all_its_nodes(folder: Path) -> None:
    write(folder, UDEV)
    found = manifest(folder, "hostname: titan-13", ", hooks: [hard-disk]")
    assert "hook hard-disk" in {item.layer for item in found.entries}


def test_a_hook_may_be_an_entry_point_of_an_installed_package(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = folder / "packages/lab_hooks-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-hooks\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[metis.hooks]\nhard-disk = lab_hooks_for_tests:render\n")
    (folder / "packages/lab_hooks_for_tests.py").write_text(UDEV)
    monkeypatch.syspath_prepend(folder / "packages")
    assert "hook hard-disk" in {item.layer for item in manifest(folder).entries}


def test_a_hook_over_what_a_concern_brings_needs_to_be_allowed(folder: Path) -> None:
    write(folder, f"{ENTRY}def render(node):\n    return [File('/etc/hostname', (Text('x'),))]\n")
    with pytest.raises(InventoryError, match="/etc/hostname"):
        manifest(folder)
    found = manifest(folder, "hooks: [hard-disk], replaces: [/etc/hostname]")
    assert "/etc/hostname" in {item.entry.path for item in found.entries if item.layer == "hook hard-disk"}


@pytest.mark.parametrize(
    ("text", "said"),
    {
        "nothing there": (None, "no hook 'hard-disk': expected hooks/hard_disk.py or an entry point"),
        "no function": ("", "has no function `render"),
        "not python": ("def render(:\n", "cannot be loaded: SyntaxError"),
        "a missing import": ("import nowhere_to_be_found\n", "cannot be loaded: ModuleNotFoundError"),
        "it fails": (
            "def render(node):\n    return [node.settings['no']]\n",
            "failed for titan-13: KeyError",
        ),
        "not entries": ("def render(node):\n    return ['/etc/passwd']\n", "gave a str among its entries"),
        "not even several": ("def render(node):\n    return None\n", "failed for titan-13: TypeError"),
    }.values(),
    ids=lambda value: value and value.split("\n")[0],
)
def test_a_hook_that_is_wrong_is_named_in_one_line(folder: Path, text: str | None, said: str) -> None:
    if text is not None:
        write(folder, text)
    with pytest.raises(MetisError) as caught:
        manifest(folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_loading_a_hook_leaves_nothing_in_the_inventory(folder: Path) -> None:
    write(folder, UDEV)
    manifest(folder)
    assert [file.name for file in (folder / "hooks").iterdir()] == ["hard_disk.py"]


def test_an_edited_hook_is_another_state(folder: Path) -> None:
    write(folder, UDEV)
    before = hooks.state(folder)
    assert hooks.state(folder) == before
    write(folder, f"{UDEV}# changed\n")
    assert hooks.state(folder) != before


def test_an_installed_package_is_another_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = folder / "site-packages"
    packages.mkdir()
    monkeypatch.syspath_prepend(packages)
    before = hooks.state(folder)
    (packages / "lab_hooks-1.0.dist-info").mkdir()
    assert hooks.state(folder) != before


def test_the_labs_own_hook_speaks_of_rotating_disks_and_only_where_longhorn_has_some(folder: Path) -> None:
    write(folder, (Path(__file__).parents[2] / "hooks/longhorn_hdd.py").read_text(), "longhorn_hdd")
    bare = manifest(folder, "hooks: [longhorn-hdd]")
    assert "hook longhorn-hdd" not in {item.layer for item in bare.entries}
    uuid = "0a1b2c3d-0000-4000-8000-000000000013"
    with_disk = f"hooks: [longhorn-hdd], longhorn: {{disks: [{{uuid: {uuid}, path: /mnt/longhorn}}]}}"
    (placed,) = [item for item in manifest(folder, with_disk).entries if item.layer == "hook longhorn-hdd"]
    assert placed.entry.path == "/etc/udev/rules.d/60-longhorn-hdd.rules"
