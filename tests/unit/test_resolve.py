"""What classes and a node come to, case by case.

A case is a folder of tests/cases/resolve with an inventory in one file. `expected.yaml` is what `metis
config --node titan-13` prints for it, `origins.txt` where each value came from; or `problems.txt` holds the
lines that the operator gets instead.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import show
from pipeline.errors import InventoryError, MetisError
from pipeline.inventory.document import Document, parse
from pipeline.inventory.formats import size_in_bytes
from pipeline.inventory.read import Inventory
from pipeline.inventory.resolve import GoldenOverride, class_chain, resolve_class, resolve_node
from pipeline.model import ResolvedNode
from pipeline.steps.compose import Composer
from pipeline.steps.goldens import check_golden

CASES = sorted((Path(__file__).parents[1] / "cases/resolve").iterdir())
NODE = "titan-13"
OVERRIDE = GoldenOverride("file:/tmp/golden.img", "5" * 64, "METIS_IMAGE_PI")


def resolved(inventory: Path, override: GoldenOverride | None = None) -> ResolvedNode:
    return Composer(Inventory(inventory), lambda _: override, lambda _: ()).node(NODE)


def origins(node: ResolvedNode) -> str:
    return "".join(f"{path}: {about['origin']}\n" for path, about in show.origins(node).items())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_inventory_comes_to_what_is_written_beside_it(case: Path) -> None:
    problems = case / "problems.txt"
    assert case.name.startswith("fault-") == problems.exists()
    if problems.exists():
        with pytest.raises(InventoryError) as caught:
            resolved(case / "inventory.yaml")
        assert f"{caught.value}\n" == problems.read_text("utf-8")
    else:
        node = resolved(case / "inventory.yaml")
        assert show.as_yaml(show.node(node)) == (case / "expected.yaml").read_text("utf-8")
        assert origins(node) == (case / "origins.txt").read_text("utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "classes").mkdir()
    (tmp_path / "nodes").mkdir()
    (tmp_path / "classes/base.yaml").write_text("arch: arm64\nos: debian\nimage: {headroom: 1G}\n")
    (tmp_path / "classes/pi.yaml").write_text(
        f"extends: base\nimage:\n  source: https://images.example/pi.img\n  sha256: {'4a' * 32}\n"
    )
    (tmp_path / f"nodes/{NODE}.yaml").write_text("class: pi\nnetwork:\n\n  dhcp: true\n")
    return tmp_path


def test_a_folder_and_one_file_come_to_the_same(folder: Path) -> None:
    single = folder / "all.yaml"
    parts = {"classes": ("base", "pi"), "nodes": (NODE,)}
    text = ""
    for kind, names in parts.items():
        text += f"{kind}:\n"
        for name in names:
            lines = (folder / kind / f"{name}.yaml").read_text().splitlines()
            text += f"  {name}:\n" + "".join(f"    {line}\n" for line in lines)
    single.write_text(text)
    assert show.node(resolved(single)) == show.node(resolved(folder))


def test_an_origin_is_a_file_and_a_line_of_it(folder: Path) -> None:
    assert origins(resolved(folder)).splitlines() == [
        "arch: classes/base.yaml:1",
        "image.headroom: classes/base.yaml:3",
        "image.sha256: classes/pi.yaml:4",
        "image.source: classes/pi.yaml:3",
        "network.dhcp: nodes/titan-13.yaml:4",
        "os: classes/base.yaml:2",
    ]


def test_a_node_of_which_there_is_no_file_is_said_to_be_missing(folder: Path) -> None:
    (folder / f"nodes/{NODE}.yaml").unlink()
    with pytest.raises(InventoryError, match=r"nodes/titan-13\.yaml: no such node"):
        resolved(folder)


def test_a_class_that_is_asked_for_by_itself_and_is_not_there_names_its_file() -> None:
    with pytest.raises(InventoryError, match=r"classes/pi\.yaml: no such class"):
        resolve_class("pi", lambda _: None)


def test_nothing_of_what_is_resolved_can_be_changed(folder: Path) -> None:
    node = resolved(folder)
    with pytest.raises(TypeError):
        node.settings["network"]["dhcp"] = False
    with pytest.raises(TypeError):
        node.origins["x",] = None  # type: ignore[index]


def test_the_documents_that_go_in_stay_as_they_are(folder: Path) -> None:
    inventory = Inventory(folder)
    before = {name: repr(inventory.get("classes", name)) for name in ("base", "pi")}
    Composer(inventory, lambda _: OVERRIDE, lambda _: ()).node(NODE)
    assert {name: repr(inventory.get("classes", name)) for name in ("base", "pi")} == before


def test_a_chain_may_be_long(folder: Path) -> None:
    documents = {
        f"c{i}": parse(f"extends: c{i + 1}" if i < 499 else "{arch: arm64, os: debian}", f"c{i}.yaml")
        for i in range(500)
    }
    assert len(class_chain("c0", documents.get)) == 500
    assert [layer.name for layer in resolve_class("c0", documents.get).layers][:2] == [
        "class c499",
        "class c498",
    ]


# ------------------------------------------------------------------------------------------ overrides


def test_an_override_takes_the_place_of_source_and_hash_and_leaves_the_headroom(folder: Path) -> None:
    image = show.node(resolved(folder, OVERRIDE))["image"]
    assert image == {"source": OVERRIDE.source, "sha256": OVERRIDE.sha256, "headroom": 1 << 30}


def test_an_override_gives_an_image_to_a_class_that_has_none() -> None:
    documents = {"pi": parse("{arch: arm64, os: debian}", "pi.yaml")}
    golden = resolve_class("pi", documents.get, OVERRIDE).golden
    assert golden is not None
    assert golden.source == OVERRIDE.source


def test_the_origin_of_an_overridden_image_is_the_variable(folder: Path) -> None:
    about = show.origins(resolved(folder, OVERRIDE))
    assert about["image.source"] == {"value": OVERRIDE.source, "origin": "METIS_IMAGE_PI"}
    assert about["image.sha256"] == {"value": OVERRIDE.sha256, "origin": "METIS_IMAGE_PI"}
    assert about["image.headroom"]["origin"] == "classes/base.yaml:3"


# ---------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, 0), ("0", 0), (512, 512), ("1K", 1024), ("512M", 512 << 20), ("1G", 1 << 30), ("2T", 2 << 40)],
)
def test_a_size_is_a_number_of_bytes_with_units_of_1024(size: str | int, expected: int) -> None:
    assert size_in_bytes(size) == expected


def test_values_of_a_key_with_dots_in_it_keep_their_own_origins() -> None:
    documents = {"pi": parse("{arch: arm64, os: debian}", "pi.yaml")}
    node = parse('class: pi\nk3s:\n  role: none\n  labels:\n    a.b: "1"\n    a: "2"\n', "node.yaml")
    cluster = Document("cluster.yaml", {}, {})
    about = show.origins(resolve_node("n", node, resolve_class("pi", documents.get), cluster))
    assert (about["k3s.labels.a.b"]["value"], about["k3s.labels.a.b"]["origin"]) == ("1", "node.yaml:5")
    assert (about["k3s.labels.a"]["value"], about["k3s.labels.a"]["origin"]) == ("2", "node.yaml:6")


def test_a_golden_that_is_built_here_takes_nothing_of_what_its_parent_says_of_another() -> None:
    parent = (
        "{abstract: true, arch: arm64, os: debian, image: {source: 'https://a.example/b', sha256: '"
        + "5" * 64
        + "', sums: 'https://a.example/SUMS', mirrors: ['https://b.example/b']}}"
    )
    documents = {"parent": parse(parent, "parent.yaml")}
    documents["child"] = parse("{extends: parent, image: {source: 'debian:bookworm'}}", "child.yaml")
    golden = resolve_class("child", documents.get).golden
    assert golden is not None
    assert (golden.sha256, golden.sums, golden.mirrors) == (None, None, ())


def test_a_signature_is_never_dropped_for_what_nobody_signs() -> None:
    text = "{arch: arm64, os: debian, image: {source: 'debian:bookworm', signature: {keyring: a.gpg}}}"
    klass = resolve_class("pi", {"pi": parse(text, "pi.yaml")}.get)
    with pytest.raises(MetisError, match="class pi wants a signature, and nobody signs what is built here"):
        check_golden(klass)
