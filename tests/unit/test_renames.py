"""Old names of keys: declared in a schema, understood for a while, and told of.

The tests declare old names of their own for keys that there are, as whoever renames one does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipeline.errors import InventoryError
from pipeline.golden.newer import Newer
from pipeline.inventory import index, renames
from pipeline.inventory.document import Document, parse
from pipeline.inventory.read import Inventory
from pipeline.inventory.renames import Rename, rewritten, understood
from pipeline.inventory.resolve import resolve_class, resolve_node
from pipeline.inventory.schema_files import Kind, contents
from pipeline.inventory.validate import check
from pipeline.steps.compose import Composer
from pipeline.steps.repin import repin

SCHEMAS = sorted(Path(__file__).parents[2].glob("pipeline/**/*.schema.json"))
UNTIL, NEXT_DAY = "2027-11-28", "2027-11-29"
UUID = "0a1b2c3d-0000-4000-8000-123456789abc"
STORAGE, NETWORK = "render/storage.schema.json", "render/network.schema.json"
TOLD = f"is now called longhorn; the old name is understood until {UNTIL}"


def properties(file: str, *path: str) -> dict[str, Any]:
    """The properties in a schema file, of the whole or of what some keys lead to."""
    found: Any = contents()[file]
    for step in path:
        found = found[step] if step == "items" else found["properties"][step]
    own: dict[str, Any] = found["properties"]
    return own


def old_name(reference: str, to: str) -> dict[str, Any]:
    return {"$ref": reference, "deprecated": True, "x-renamed": {"to": to, "until": UNTIL}}


@pytest.fixture(scope="module", autouse=True)
def _old_names() -> Iterator[None]:
    """At the top, within what has an old name itself, in the items of a list, and for another place."""
    disks = properties(STORAGE, "longhorn", "disks", "items")
    image = properties("inventory/schema/class.schema.json", "image")
    with pytest.MonkeyPatch.context() as patch:
        for where, name, schema in (
            (
                properties(STORAGE, "longhorn"),
                "drives",
                old_name("#/properties/longhorn/properties/disks", "disks"),
            ),
            (properties(STORAGE), "storage", old_name("#/properties/longhorn", "longhorn")),
            (disks, "id", old_name("#/$defs/uuid", "uuid")),
            (properties(NETWORK), "gateway", old_name("#/$defs/gateway", "network.gateway")),
            (image, "hash", old_name("common.schema.json#/$defs/sha256", "sha256")),
        ):
            patch.setitem(where, name, schema)
        renames.declared.cache_clear()
        yield
    renames.declared.cache_clear()


def read(text: str, kind: Kind = "node", today: str = UNTIL) -> Document:
    return rewritten(parse(text, f"{kind}.yaml"), understood(kind, today))


def lines(text: str, kind: Kind = "node", today: str = UNTIL) -> list[str]:
    return list(map(str, check(read(text, kind, today), kind)))


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    for name, text in {
        "classes/pi.yaml": "arch: arm64\nos: debian\nlonghorn: {mode: soft}\n",
        "nodes/a.yaml": f"class: pi\nstorage:\n  drives: [{{id: {UUID}, path: /srv/a}}]\n",
        "nodes/b.yaml": "class: pi\n",
    }.items():
        (tmp_path / "lab" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lab" / name).write_text(text)
    return tmp_path / "lab"


# ---------------------------------------------------------------------------------- what is declared


def occurrences(value: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key in a schema file that is an old name, with what is said of it."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict) and renames.KEYWORD in item:
                yield key, item
            yield from occurrences(item)
    if isinstance(value, list):
        for item in value:
            yield from occurrences(item)


@pytest.mark.parametrize("file", SCHEMAS, ids=lambda file: file.name)
def test_every_old_name_is_declared_in_full_and_where_it_is_found(file: Path) -> None:
    content = json.loads(file.read_text("utf-8"))
    Draft202012Validator.check_schema(content)
    for name, about in occurrences(content):
        assert about["deprecated"] is True, name
        assert about["x-renamed"].keys() == {"to", "until"}, name
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", about["x-renamed"]["until"]), name
        assert any(
            (rename.old, rename.to) == (name, about["x-renamed"]["to"])
            for kind in ("inventory", "node", "class")
            for rename in renames.declared(kind)
        ), f"{name} is nowhere that nodes and classes are looked through"


@pytest.mark.parametrize("kind", ["cluster", "modes"])
def test_no_name_is_old_where_nobody_would_be_told(kind: Kind) -> None:
    """The index, which knows of each use, reads nodes and classes alone."""
    assert renames.declared(kind) == ()


def test_an_old_name_may_stand_in_a_map_in_a_list_and_in_each_node() -> None:
    assert set(renames.declared("node")) >= {
        Rename((), "storage", "longhorn", UNTIL),
        Rename((), "gateway", "network.gateway", UNTIL),
        Rename(("longhorn",), "drives", "disks", UNTIL),
        Rename(("longhorn", "disks", None), "id", "uuid", UNTIL),
    }
    assert Rename(("nodes", None, "longhorn"), "drives", "disks", UNTIL) in renames.declared("inventory")


# ------------------------------------------------------------------------------------- what it comes to

OLD = {"longhorn": "storage", "disks": "drives", "uuid": "id"}
uuids = st.integers(0, 9).map(lambda number: f"{UUID[:-1]}{number}")
disks = st.fixed_dictionaries({"uuid": uuids, "path": st.sampled_from(("/srv/a", "/srv/b"))})
longhorns = st.fixed_dictionaries(
    {}, optional={"mode": st.just("soft"), "disks": st.lists(disks, min_size=1, max_size=3)}
)
settings = st.fixed_dictionaries({}, optional={"hostname": st.just("titan-13"), "longhorn": longhorns})


def aged(draw: Callable[[st.SearchStrategy[bool]], bool], value: object) -> Any:
    """A value with old names here and there instead of the new ones."""
    if isinstance(value, list):
        return [aged(draw, item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        OLD[key] if key in OLD and draw(st.booleans()) else key: aged(draw, item)
        for key, item in value.items()
    }


@given(klass=settings, node=settings, data=st.data())
def test_old_names_and_new_ones_come_to_the_same_node(
    klass: dict[str, Any], node: dict[str, Any], data: st.DataObject
) -> None:
    def resolved(own: dict[str, Any], shared: dict[str, Any]) -> Any:
        documents: dict[Kind, str] = {
            "class": yaml.safe_dump({"arch": "arm64", "os": "debian", **shared}, sort_keys=False),
            "node": yaml.safe_dump({"class": "c", **own}, sort_keys=False),
        }
        assert [lines(text, kind) for kind, text in documents.items()] == [[], []]
        found = resolve_class("c", {"c": read(documents["class"], "class")}.get)
        made = resolve_node("n", read(documents["node"]), found, parse("{}", "cluster.yaml"))
        return made, made.origins, found.origins

    assert resolved(aged(data.draw, node), aged(data.draw, klass)) == resolved(node, klass)


def test_a_name_may_lead_into_another_map_and_beside_what_is_there() -> None:
    document = read("class: c\ngateway: 192.0.2.1\nnetwork: {interface: eth0}\n")
    assert document.data == {"class": "c", "network": {"interface": "eth0", "gateway": "192.0.2.1"}}
    assert read("gateway: 192.0.2.1\n").data == {"network": {"gateway": "192.0.2.1"}}


def test_what_an_alias_shares_with_another_place_is_renamed_only_where_it_is_old() -> None:
    text = "longhorn: {disks: [&one {id: x}]}\nnetwork: *one\n"
    assert read(text).data == {"longhorn": {"disks": [{"uuid": "x"}]}, "network": {"id": "x"}}


@pytest.mark.parametrize("value", ["5", "[]", "{disks: 5}", "{disks: [5, {}]}", "{disks: {id: 5}}"])
def test_what_is_no_map_stays_as_it_is(value: str) -> None:
    text = f"longhorn: {value}\n"
    assert read(text) == parse(text, "node.yaml")


# --------------------------------------------------------------------------------------- what is told


def test_a_fault_is_told_by_the_name_and_line_that_its_author_wrote() -> None:
    text = "class: c\nstorage:\n  mode: 5\n  drives:\n    - {id: 7}\n"
    assert [re.split("[:,] expected", line)[0] for line in lines(text)] == [
        "node.yaml:3: storage.mode",
        "node.yaml:5: storage.drives[0].id",
        "node.yaml:5: storage.drives[0].path: missing",
    ]


def test_both_names_at_once_are_refused() -> None:
    assert lines("class: c\nlonghorn: {}\nstorage: {}\n") == [
        f"node.yaml:3: storage: {TOLD}, and not beside the new one"
    ]
    assert len(lines("class: c\ngateway: 192.0.2.1\nnetwork: {gateway: 192.0.2.1}\n")) == 1


def test_after_its_last_day_an_old_name_is_refused() -> None:
    text = "class: c\nstorage: {}\n"
    assert lines(text, today=UNTIL) == []
    assert lines(text, today=NEXT_DAY) == [f"node.yaml:2: storage: {TOLD}, and not beside the new one"]


def test_old_names_are_not_offered_to_anybody() -> None:
    (line,) = lines("class: c\nstorag: {}\n")
    assert "storage" not in line
    (line,) = lines("class: c\nstorage: {}\nxyzzy: 1\n", today=NEXT_DAY)[1:]
    assert line.startswith("node.yaml:3: xyzzy: unknown key, known: ")
    assert "storage" not in line


def test_the_index_tells_of_each_use_also_where_nothing_is_read_again(lab: Path, tmp_path: Path) -> None:
    told = f"nodes/a.yaml:2: storage: {TOLD}"
    found = index.build(Inventory(lab, UNTIL), tmp_path / "index.json")
    assert found.renamed[0] == told
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(Inventory, "parse")
        assert index.build(Inventory(lab, UNTIL), tmp_path / "index.json") == found
    assert index.build(Inventory(lab, NEXT_DAY), tmp_path / "index.json").renamed == ()


def test_the_index_tells_of_what_is_declared_since_it_read_a_file(lab: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renames, "declared", lambda _: ())
        assert index.build(Inventory(lab, UNTIL), tmp_path / "index.json").renamed == ()
    assert len(index.build(Inventory(lab, UNTIL), tmp_path / "index.json").renamed) == 3


def test_two_nodes_claim_the_same_by_whatever_names(lab: Path, tmp_path: Path) -> None:
    (lab / "nodes/b.yaml").write_text(f"class: pi\nlonghorn: {{disks: [{{uuid: {UUID}, path: /srv/a}}]}}\n")
    nodes = index.build(Inventory(lab, UNTIL), tmp_path / "index.json").nodes
    assert [nodes[name].conflicts for name in "ab"] == [
        (f"disk: {UUID} is also that of b",),
        (f"disk: {UUID} is also that of a",),
    ]


# ----------------------------------------------------------------------------------------- through files


def test_a_node_is_merged_over_its_class_by_whatever_names(lab: Path) -> None:
    def node(today: str) -> Any:
        return Composer(Inventory(lab, today), lambda _: None, lambda _: ()).node("a")

    assert node(UNTIL).settings["longhorn"] == {"mode": "soft", "disks": ({"uuid": UUID, "path": "/srv/a"},)}
    assert str(node(UNTIL).origin("longhorn.disks")) == "nodes/a.yaml:3"
    with pytest.raises(InventoryError, match=rf"nodes/a.yaml:2: storage: {TOLD}"):
        node(NEXT_DAY)


def test_in_one_file_an_old_name_keeps_no_other_node_back(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(
        "classes: {pi: {arch: arm64, os: debian}}\nnodes:\n  a: {class: pi, storage: {}}\n"
        "  b: {class: pi, storage: {}, longhorn: {}}\n"
    )
    today, later = Inventory(file, UNTIL), Inventory(file, NEXT_DAY)
    found = today.get("nodes", "a")
    assert found is not None
    assert found.data == {"class": "pi", "longhorn": {}}
    assert index.build(today, tmp_path / "index.json").renamed == (f"lab.yaml:3: nodes.a.storage: {TOLD}",)
    for inventory, name in ((today, "b"), (later, "a")):
        with pytest.raises(InventoryError, match=rf"nodes.{name}.storage: {TOLD}"):
            inventory.get("nodes", name)


@pytest.mark.parametrize("is_single", [False, True])
def test_a_pin_under_an_old_name_is_edited_where_it_stands(tmp_path: Path, *, is_single: bool) -> None:
    old, new = "ab" * 32, "cd" * 32
    text = f"arch: arm64\nos: debian\nimage:\n  source: https://example.org/x\n  hash: {old}\n"
    (tmp_path / "nodes").mkdir()
    file = tmp_path / "classes/pi.yaml"
    if is_single:
        file = tmp_path / "lab.yaml"
        text = "classes:\n  pi:\n" + "".join(f"    {line}\n" for line in text.splitlines())
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    newer = Newer("pi", "https://example.org/x", old, new, {"sha256": (old, new)})
    _, errors = repin(Inventory(file if is_single else tmp_path, UNTIL), [newer])
    assert errors == {}
    assert file.read_text() == text.replace(old, new)
