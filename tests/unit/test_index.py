"""The index knows every name and edge of an inventory, and reads no file twice that did not change."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.cache.store import stamp
from pipeline.errors import InventoryError, UsageError
from pipeline.inventory.index import Index, build
from pipeline.inventory.read import Inventory

FILES = {
    "cluster.yaml": "flash_host: titan-22\n",
    "classes/base.yaml": "abstract: true\narch: arm64\nos: debian\nroot_overlay: overlays/base/root\n",
    "classes/pi.yaml": "extends: base\nboot_overlay: overlays/pi/boot\n",
    "nodes/titan-13.yaml": "class: pi\nnetwork: {address: 192.0.2.13/24}\nroot_overlay: overlays/13/root\n",
    "nodes/titan-15.yaml": "class: pi\nnetwork: {address: 192.0.2.15/24}\n",
}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        put(tmp_path / "lab", name, text)
    return tmp_path / "lab"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "artifacts/.state/index.json"


def put(lab: Path, name: str, text: str) -> Path:
    file = lab / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def index(lab: Path, cache: Path, *, remember: bool = True) -> Index:
    return build(Inventory(lab), cache, remember=remember)


class Reads:
    """The files of an inventory that are opened, told by the interpreter itself (sys.addaudithook)."""

    def __init__(self, lab: Path) -> None:
        self._lab = str(lab)
        self.names: list[str] = []
        self._listening = True
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._listening and event == "open" and str(arguments[0]).startswith(f"{self._lab}/"):
            self.names.append(os.path.relpath(str(arguments[0]), self._lab))

    def stop(self) -> list[str]:
        self._listening = False
        return sorted(self.names)


def read_by(lab: Path, cache: Path) -> list[str]:
    """The files that an index reads."""
    reads = Reads(lab)
    index(lab, cache)
    return reads.stop()


# ---------------------------------------------------------------------------------------- what it knows


def test_a_class_has_the_files_and_overlays_of_all_that_it_extends(lab: Path, cache: Path) -> None:
    about = index(lab, cache).classes["pi"]
    assert about.files == (lab / "classes/pi.yaml", lab / "classes/base.yaml")
    assert set(about.overlays) == {"overlays/pi/boot", "overlays/base/root"}
    assert not about.abstract
    assert index(lab, cache).classes["base"].abstract


def test_a_node_has_its_own_files_its_class_chains_and_the_clusters(lab: Path, cache: Path) -> None:
    about = index(lab, cache).nodes["titan-13"]
    assert about.klass == "pi"
    assert about.files == tuple(
        lab / name for name in ("nodes/titan-13.yaml", "classes/pi.yaml", "classes/base.yaml", "cluster.yaml")
    )
    assert set(about.overlays) == {"overlays/13/root", "overlays/pi/boot", "overlays/base/root"}
    assert about.conflicts == ()


def test_names_come_in_their_order(lab: Path, cache: Path) -> None:
    put(lab, "nodes/atlas.yaml", "class: pi\n")
    assert list(index(lab, cache).nodes) == ["atlas", "titan-13", "titan-15"]
    assert list(index(lab, cache).classes) == ["base", "pi"]


@pytest.mark.parametrize("klass", ["nothing", "base", "[pi]"], ids=["unknown", "abstract", "no name"])
def test_a_node_without_a_class_to_build_from_has_none(lab: Path, cache: Path, klass: str) -> None:
    """Else the graph would name the task of a base that there is none of, and not load at all."""
    put(lab, "nodes/titan-13.yaml", f"class: {klass}\n")
    assert index(lab, cache).nodes["titan-13"].klass is None
    assert index(lab, cache).nodes["titan-15"].klass == "pi"


def test_classes_that_extend_each_other_end_somewhere(lab: Path, cache: Path) -> None:
    put(lab, "classes/base.yaml", "extends: pi\n")
    assert len(index(lab, cache).classes["pi"].files) == 2


def test_hidden_files_of_editors_are_no_nodes(lab: Path, cache: Path) -> None:
    (lab / "nodes/.#titan-13.yaml").symlink_to("somebody@somewhere.4711:1700000000")
    put(lab, "nodes/._titan-15.yaml", "\0\5\x16\7")
    assert list(index(lab, cache).nodes) == ["titan-13", "titan-15"]
    assert Inventory(lab).names("nodes") == ("titan-13", "titan-15")


# ------------------------------------------------------------------------------------ read once


def test_an_unchanged_file_is_not_read_again(lab: Path, cache: Path) -> None:
    first = index(lab, cache)
    assert read_by(lab, cache) == []
    assert index(lab, cache) == first


def test_all_files_are_read_the_first_time_and_each_once(lab: Path, cache: Path) -> None:
    assert read_by(lab, cache) == sorted(name for name in FILES if name != "cluster.yaml")


def test_a_changed_file_is_read_again_and_it_alone(lab: Path, cache: Path) -> None:
    index(lab, cache)
    put(lab, "nodes/titan-13.yaml", "class: base\n")
    assert read_by(lab, cache) == ["nodes/titan-13.yaml"]


def test_a_file_with_its_old_size_and_time_is_read_again(lab: Path, cache: Path) -> None:
    index(lab, cache)
    file = lab / "nodes/titan-13.yaml"
    before = file.stat()
    file.write_text(FILES["nodes/titan-13.yaml"].replace("192.0.2.13", "192.0.2.15"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert index(lab, cache).nodes["titan-13"].conflicts


def test_a_new_node_is_known_and_a_removed_one_is_not(lab: Path, cache: Path) -> None:
    index(lab, cache)
    put(lab, "nodes/titan-17.yaml", "class: pi\n")
    (lab / "nodes/titan-15.yaml").unlink()
    assert read_by(lab, cache) == ["nodes/titan-17.yaml"]
    assert list(index(lab, cache).nodes) == ["titan-13", "titan-17"]
    assert "titan-15" not in cache.read_text()


def test_what_did_not_change_is_not_written_again(lab: Path, cache: Path) -> None:
    index(lab, cache)
    before = stamp(cache)  # not the time of the last look, which reading changes
    index(lab, cache)
    assert stamp(cache) == before


def test_without_remembering_nothing_is_written_but_what_is_known_is_used(lab: Path, cache: Path) -> None:
    index(lab, cache, remember=False)
    assert not cache.parent.parent.exists()
    index(lab, cache)
    cache_before = cache.read_bytes()
    put(lab, "nodes/titan-17.yaml", "class: pi\n")
    reads = Reads(lab)
    assert "titan-17" in index(lab, cache, remember=False).nodes
    assert reads.stop() == ["nodes/titan-17.yaml"]
    assert cache.read_bytes() == cache_before


def test_many_who_look_at_once_all_see_everything(lab: Path, cache: Path) -> None:
    """The service looks while a job builds: what either remembers must not keep the other from its work."""

    def looked(number: int) -> set[str]:
        put(lab, f"nodes/own-{number}.yaml", "class: pi\n")
        return set(index(lab, cache).nodes)

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(looked, range(64)))
    assert all(f"own-{number}" in names for number, names in enumerate(seen))


def test_a_memory_that_cannot_be_written_costs_nothing_but_time(lab: Path, cache: Path) -> None:
    cache.parent.parent.mkdir(parents=True)
    cache.parent.touch()
    assert "titan-13" in index(lab, cache).nodes


CORRUPT: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda good: good[: len(good) // 2],
    "empty": lambda _: b"",
    "no JSON": lambda _: b"\xff\xfe\0",
    "a list": lambda _: b"[]",
    "null": lambda _: b"null",
    "another format": lambda good: json.dumps({**json.loads(good), "format": 99}).encode(),
    "files that are none": lambda good: json.dumps({**json.loads(good), "files": 5}).encode(),
    "entries that are none": lambda good: json.dumps(
        {**json.loads(good), "files": dict.fromkeys(json.loads(good)["files"], 5)}
    ).encode(),
}


@pytest.mark.parametrize("corrupt", CORRUPT, ids=list(CORRUPT))
def test_a_corrupt_memory_is_as_good_as_none(lab: Path, cache: Path, corrupt: str) -> None:
    first = index(lab, cache)
    good = cache.read_bytes()
    cache.write_bytes(CORRUPT[corrupt](good))
    assert index(lab, cache) == first
    assert json.loads(cache.read_bytes()) == json.loads(good)


# ------------------------------------------------------------------------------------ broken files


def break_by_text(file: Path) -> None:
    file.write_text("class: [pi\n\t- x")


def break_by_bytes(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\0")


def break_by_size(file: Path) -> None:
    file.write_text("# x\n" * (1 << 19))


def break_by_dangling(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere")


def break_by_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def break_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


BREAKS = [break_by_text, break_by_bytes, break_by_size, break_by_dangling, break_by_fifo, break_by_folder]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("break_file", BREAKS, ids=lambda function: str(function.__name__))
def test_a_broken_node_leaves_the_others_usable_and_is_listed_itself(
    lab: Path, cache: Path, break_file: Callable[[Path], None]
) -> None:
    whole = index(lab, cache)
    break_file(lab / "nodes/titan-13.yaml")
    found = index(lab, cache)
    assert found.nodes["titan-15"] == whole.nodes["titan-15"]
    assert found.nodes["titan-13"].klass is None
    assert lab / "nodes/titan-13.yaml" in found.nodes["titan-13"].files


@pytest.mark.parametrize("break_file", BREAKS[:4], ids=lambda function: str(function.__name__))
def test_a_broken_class_leaves_other_classes_usable(
    lab: Path, cache: Path, break_file: Callable[[Path], None]
) -> None:
    put(lab, "classes/other.yaml", "arch: arm64\nos: debian\n")
    break_file(lab / "classes/base.yaml")
    found = index(lab, cache)
    assert found.classes["other"].files == (lab / "classes/other.yaml",)
    assert found.nodes["titan-13"].klass == "pi"


def test_what_could_not_be_read_is_tried_again_the_next_time(lab: Path, cache: Path) -> None:
    """The cause may lie outside of the file, as with a disk that did not answer."""
    break_by_text(lab / "nodes/titan-13.yaml")
    index(lab, cache)
    assert read_by(lab, cache) == ["nodes/titan-13.yaml"]


def test_a_name_that_can_be_no_task_is_refused_with_its_file(lab: Path, cache: Path) -> None:
    put(lab, "nodes/titan 13.yaml", "class: pi\n")
    with pytest.raises(InventoryError, match=r"nodes/titan 13\.yaml: not usable as a name: 'titan 13'"):
        index(lab, cache)


# ----------------------------------------------------------------------------------------- conflicts


@pytest.mark.parametrize(
    ("one", "other", "claim"),
    [
        ("network: {address: 192.0.2.1/24}", "network: {address: 192.0.2.1/16}", "192.0.2.1"),
        ("network: {address: 2001:db8::1/64}", "network: {address: 2001:DB8:0::1/64}", "2001:db8::1"),
        ("hostname: atlas", "hostname: Atlas", "atlas"),
        ("hostname: titan-17", "", "titan-17"),
        ("network: {mac: 02:00:5e:10:00:01}", "network: {mac: 02:00:5E:10:00:01}", "02:00:5e:10:00:01"),
    ],
    ids=["address", "spelling", "host name", "file name", "mac"],
)
def test_two_nodes_that_claim_the_same_both_say_so(
    lab: Path, cache: Path, one: str, other: str, claim: str
) -> None:
    put(lab, "nodes/titan-13.yaml", f"class: pi\n{one}\n")
    put(lab, "nodes/titan-17.yaml", f"class: pi\n{other}\n")
    nodes = index(lab, cache).nodes
    assert [line.split(": ", 1)[1] for line in nodes["titan-13"].conflicts] == [
        f"{claim} is also that of titan-17"
    ]
    assert [line.split(": ", 1)[1] for line in nodes["titan-17"].conflicts] == [
        f"{claim} is also that of titan-13"
    ]
    assert nodes["titan-15"].conflicts == ()


def test_nodes_that_get_an_address_from_their_class_claim_it_too(lab: Path, cache: Path) -> None:
    put(lab, "classes/base.yaml", "arch: arm64\nos: debian\nnetwork: {address: 192.0.2.99/24}\n")
    put(lab, "nodes/titan-17.yaml", "class: pi\n")
    put(lab, "nodes/titan-19.yaml", "class: base\n")
    nodes = index(lab, cache).nodes
    assert nodes["titan-17"].conflicts == ("network.address: 192.0.2.99 is also that of titan-19",)
    assert nodes["titan-13"].conflicts == (), "its own address comes before its class's"


TWO_DISKS = "longhorn: {{disks: [{{uuid: {}}}, {{uuid: {}}}]}}"
TWO_INTERFACES = "network: {{address: {}, interfaces: {{eth1: {{address: {}}}}}}}"


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (TWO_DISKS.format("0a", "0b"), TWO_DISKS.format("0a", "0c"), "disk: 0a"),
        (TWO_DISKS.format("0a", "0b"), "usb_scratch: {uuid: 0a}", "disk: 0a"),
        (
            TWO_INTERFACES.format("192.0.2.1/24", "192.0.2.2/24"),
            TWO_INTERFACES.format("192.0.2.1/24", "192.0.2.3/24"),
            "network.address: 192.0.2.1",
        ),
        (
            TWO_INTERFACES.format("192.0.2.1/24", "192.0.2.2/24"),
            "network: {address: 192.0.2.2/24}",
            "network.address: 192.0.2.2",
        ),
    ],
    ids=["disks", "disk and scratch", "main addresses", "main and further"],
)
def test_each_of_several_disks_and_addresses_is_claimed(
    lab: Path, cache: Path, one: str, other: str, said: str
) -> None:
    put(lab, "nodes/titan-13.yaml", f"class: pi\n{one}\n")
    put(lab, "nodes/titan-17.yaml", f"class: pi\n{other}\n")
    nodes = index(lab, cache).nodes
    assert nodes["titan-13"].conflicts == (f"{said} is also that of titan-17",)
    assert nodes["titan-17"].conflicts == (f"{said} is also that of titan-13",)


def test_what_a_node_says_in_place_of_its_class_is_claimed_and_the_rest_of_the_class_too(
    lab: Path, cache: Path
) -> None:
    put(
        lab,
        "classes/disks.yaml",
        "arch: arm64\nos: debian\nlonghorn: {disks: [{uuid: 0a}]}\nusb_scratch: {uuid: 0b}\n",
    )
    put(lab, "nodes/titan-17.yaml", "class: disks\nlonghorn: {disks: [{uuid: 0c}, {uuid: 0d}]}\n")
    put(lab, "nodes/titan-19.yaml", "class: disks\n")
    nodes = index(lab, cache).nodes
    assert nodes["titan-17"].conflicts == ("disk: 0b is also that of titan-19",)


def test_the_name_of_a_node_with_a_host_name_is_free_for_others(lab: Path, cache: Path) -> None:
    put(lab, "nodes/titan-13.yaml", "class: pi\nhostname: atlas\n")
    put(lab, "nodes/titan-17.yaml", "class: pi\nhostname: titan-13\n")
    assert not any(about.conflicts for about in index(lab, cache).nodes.values())


def test_a_conflict_ends_when_one_of_both_changes(lab: Path, cache: Path) -> None:
    put(lab, "nodes/titan-13.yaml", "class: pi\nhostname: titan-15\n")
    assert index(lab, cache).nodes["titan-15"].conflicts
    put(lab, "nodes/titan-13.yaml", "class: pi\n")
    assert not index(lab, cache).nodes["titan-15"].conflicts


# -------------------------------------------------------------------------------------- a single file

SINGLE = """
cluster: {flash_host: titan-22}
classes:
  base: {abstract: true, arch: arm64, os: debian, root_overlay: overlays/base}
  pi: {extends: base}
nodes:
  titan-13: {class: pi, network: {address: 192.0.2.13/24}}
  titan-15: {class: pi, network: {address: 192.0.2.13/24}}
"""


def test_an_inventory_in_one_file_is_the_input_of_each_of_its_nodes(lab: Path, cache: Path) -> None:
    file = put(lab, "all.yaml", SINGLE)
    found = index(file, cache)
    assert list(found.classes) == ["base", "pi"]
    assert found.nodes["titan-13"].files == (file,)
    assert found.nodes["titan-13"].overlays == ("overlays/base",)
    assert found.nodes["titan-13"].conflicts


def test_one_file_is_read_once_and_not_again(lab: Path, cache: Path) -> None:
    file = put(lab, "all.yaml", SINGLE)
    reads = Reads(lab)
    index(file, cache)
    index(file, cache)
    assert reads.stop() == ["all.yaml"]


def test_a_node_that_is_no_map_leaves_the_others_in_the_file_usable(lab: Path, cache: Path) -> None:
    file = put(lab, "all.yaml", SINGLE + "  titan-17: 5\n")
    found = index(file, cache)
    assert found.nodes["titan-17"].klass is None
    assert found.nodes["titan-13"].klass == "pi"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("nodes: [", "all.yaml:2: this is not YAML"),
        ("cluster: {}\nnode: {}\n", "all.yaml:2: node: unknown key, did you mean 'nodes'?"),
        ("nodes: 5\n", "all.yaml:1: nodes: expected a map of nodes by name, found 5"),
        ("classes:\n", "all.yaml:1: classes: expected a map of classes by name, found nothing"),
        ("nodes: {a/b: {}}\n", "all.yaml: not usable as a name: 'a/b'"),
    ],
)
def test_one_file_whose_parts_cannot_be_told_is_refused(lab: Path, cache: Path, text: str, line: str) -> None:
    file = put(lab, "all.yaml", text)
    with pytest.raises(InventoryError) as caught:
        index(file, cache)
    assert str(caught.value).startswith(line)


def test_no_inventory_is_refused_with_what_one_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no inventory at .*: name a folder with classes/ and nodes/"):
        Inventory(tmp_path)


@pytest.mark.parametrize("name", ["../classes/pi", "/etc/passwd", ".#x", "", "a/b"])
def test_no_name_leads_out_of_the_folder_of_nodes(lab: Path, name: str) -> None:
    assert Inventory(lab).get("nodes", name) is None
