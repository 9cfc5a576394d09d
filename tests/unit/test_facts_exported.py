"""Snapshots in what kubectl prints of ConfigMaps, as JSON and YAML, and in what a stranger makes of that."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import MetisError
from pipeline.facts import exported
from pipeline.facts.exported import LARGEST_JSON, LARGEST_YAML, from_json, from_yaml
from pipeline.facts.reading import Read, read
from pipeline.facts.snapshot import LARGEST
from tests.support.snapshots import NEWEST, NOW, file_name, put, small, written

NODE, OTHER = "titan-13", "titan-7"
NAME = file_name(NEWEST)


def all_of(place: Path) -> Read:
    found = read([place], NOW)
    assert all(line.isprintable() and len(line) < 500 for line in found.skipped)
    return found


def skipped(place: Path, *lines: str) -> None:
    """Nothing is used, and this is said of what is in the place."""
    found = all_of(place)
    assert not found.snapshots
    assert list(found.skipped) == [line.replace("PLACE", str(place)) for line in lines]


def configmap(
    entries: Mapping[str, object],
    *,
    group: str = "data",
    metadata: Mapping[str, object] = MappingProxyType({}),
) -> dict[str, Any]:
    texts = {
        key: value if isinstance(value, str) else written(value).decode() for key, value in entries.items()
    }
    if group == "binaryData":
        texts = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return {
        "apiVersion": "v1",
        group: texts,
        "kind": "ConfigMap",
        "metadata": {"name": "facts", "namespace": "metis", **metadata},
    }


def list_of(*items: object) -> dict[str, Any]:
    return {"apiVersion": "v1", "items": [*items], "kind": "List", "metadata": {"resourceVersion": ""}}


def as_yaml(*documents: object) -> str:
    return "---\n".join(yaml.safe_dump(each, width=80) for each in documents)


FORMS: Mapping[str, Callable[[object], str]] = {
    "x.json": lambda value: json.dumps(value, indent=4),
    "y.json": lambda value: "\ufeff" + json.dumps(value, separators=(",", ":"), ensure_ascii=False),
    "x.yaml": as_yaml,
    "x.yml": lambda value: "\ufeff" + yaml.safe_dump(value, default_style="'", allow_unicode=True),
    "y.yaml": lambda value: yaml.safe_dump(value, default_style="|"),
    "z.yaml": json.dumps,
}
each_form = pytest.mark.parametrize(("file", "form"), FORMS.items(), ids=FORMS.keys())
TWO = {
    "titan-13.json": small(NODE, board="B\u00e4r {[\"'\\]}"),
    "snapshot.json": small(OTHER),
    "notes": "no snapshot",
}


@each_form
@pytest.mark.parametrize("group", ["data", "binaryData"])
def test_an_exported_configmap_holds_snapshots(
    tmp_path: Path, file: str, form: Callable[[object], str], group: str
) -> None:
    found = all_of(put(tmp_path / file, form(configmap(TWO, group=group))))
    assert [*found.snapshots] == [NODE, OTHER]
    assert found.snapshots[NODE].board == "B\u00e4r {[\"'\\]}"
    assert not found.skipped


@each_form
@pytest.mark.parametrize("kind", ["List", "ConfigMapList"])
def test_a_list_has_configmaps_and_other_things(
    tmp_path: Path, file: str, form: Callable[[object], str], kind: str
) -> None:
    secret = {**configmap({"titan-1.json": small("titan-1")}), "kind": "Secret"}
    one, two = configmap({"titan-13.json": small(NODE)}), configmap({f"{NAME}": small(OTHER)})
    if kind == "ConfigMapList":
        del one["kind"], two["kind"]
    put(tmp_path / file, form({**list_of(one, secret, "text", [], two), "kind": kind}))
    found = all_of(tmp_path)
    assert [*found.snapshots] == [NODE, OTHER]
    assert not found.skipped


def test_a_file_of_yaml_may_have_several_documents(tmp_path: Path) -> None:
    documents = (
        configmap({"titan-13.json": small(NODE)}),
        list_of(configmap({"titan-7.json": small(OTHER)})),
        None,
    )
    found = all_of(put(tmp_path / "x.yaml", as_yaml(*documents)))
    assert [*found.snapshots] == [NODE, OTHER]
    assert not found.skipped


@each_form
@pytest.mark.parametrize(
    ("key", "metadata", "what"),
    [
        ("snapshot.json", {"labels": {"metis.io/node": OTHER}}, "its label metis.io/node"),
        ("snapshot.json", {"annotations": {"metis.io/node": OTHER}}, "its annotation metis.io/node"),
        ("titan-7.json", {"labels": {"metis.io/node": NODE}}, "its key"),
    ],
    ids=["label", "annotation", "key"],
)
def test_a_configmap_of_another_node_is_skipped(
    tmp_path: Path,
    file: str,
    form: Callable[[object], str],
    key: str,
    metadata: Mapping[str, object],
    what: str,
) -> None:
    put(tmp_path / file, form(configmap({key: small(NODE)}, metadata=metadata)))
    where = f'"{file}", ConfigMap "metis/facts", key "{key}"'
    skipped(tmp_path, f'PLACE: {where} says that it is of titan-13, and {what} says "titan-7"')


# ---------------------------------------------------------------------------------------- hostile ones

GOOD = configmap({"titan-7.json": small(OTHER)})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no JSON, or not all of it"),
        ("half of one", "is no JSON, or not all of it"),
        ('{"format": 2}', "is of format 2, and this Metis reads 1: upgrade Metis"),
        ({**small(NODE), "node": "../x"}, "is no snapshot: ['node'] is not what the schema says"),
        (
            small(NODE, at=NOW.replace(year=2090)),
            "is of 2090-11-29T03:00:00Z, which has not come: "
            "the clock of the node, or of this machine, is wrong",
        ),
        ("[" * (LARGEST + 1), "is larger than 4 MiB"),
    ],
    ids=["nothing", "half", "newer", "no name", "2090", "large"],
)
def test_a_bad_snapshot_in_a_configmap_costs_a_line_and_not_its_neighbour(
    tmp_path: Path, text: object, why: str
) -> None:
    put(tmp_path / "x.yaml", as_yaml(list_of(configmap({"snapshot.json": text}), GOOD)))
    found = all_of(tmp_path)
    assert [*found.snapshots] == [OTHER]
    assert list(found.skipped) == [
        f'{tmp_path}: "x.yaml", ConfigMap "metis/facts", key "snapshot.json" {why}'
    ]


ODD = {
    "no base64": {**GOOD, "binaryData": {"x.json": "\u00e4"}},
    "half of base64": {**GOOD, "binaryData": {"x.json": "e30"}},
    "half of a pair": {**GOOD, "binaryData": {}, "data": {**GOOD["data"], "x.json": "\ud800"}},
    "half of a pair in base64": {**GOOD, "binaryData": {"x.json": "\ud800"}},
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD.keys())
def test_a_text_that_stands_for_nothing_costs_a_line(tmp_path: Path, value: object) -> None:
    found = all_of(put(tmp_path / "x.json", value))
    assert [*found.snapshots] == [OTHER]
    assert list(found.skipped) == [
        f'{tmp_path}/x.json, ConfigMap "metis/facts", key "x.json" is no JSON, or not all of it'
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": "text"},
        {"metadata": []},
        {"metadata": {"labels": [], "annotations": "text", "name": {}, "namespace": []}},
        {"binaryData": []},
        {"binaryData": {"x.json": {}, "z.json": []}},
    ],
    ids=str,
)
@each_form
def test_what_a_configmap_has_besides_may_be_anything(
    tmp_path: Path, file: str, form: Callable[[object], str], changes: Mapping[str, object]
) -> None:
    assert [*all_of(put(tmp_path / file, form({**GOOD, **changes}))).snapshots] == [OTHER]


@each_form
@pytest.mark.parametrize(
    "value",
    [
        configmap({}),
        configmap({"notes": "text"}),
        list_of(),
        {**configmap({"titan-13.json": small(NODE)}), "kind": "Secret"},
        {**list_of(), "items": {"a": configmap({"titan-13.json": small(NODE)})}},
    ],
    ids=["empty", "notes", "empty list", "secret", "items as a map"],
)
def test_a_file_without_snapshots_is_named(
    tmp_path: Path, file: str, form: Callable[[object], str], value: object
) -> None:
    skipped(put(tmp_path / file, form(value)), "PLACE holds no snapshot")


@pytest.mark.parametrize("end", ["", "\\", "]", '"'], ids=repr)
def test_of_a_list_that_was_cut_off_the_whole_items_are_used(tmp_path: Path, end: str) -> None:
    text = json.dumps(list_of(GOOD, configmap({"titan-13.json": small(NODE)})))
    found = all_of(put(tmp_path / "x.json", text[:-200] + end))
    assert [*found.snapshots] == [OTHER]
    assert list(found.skipped) == [f"{tmp_path}/x.json is no JSON, or not all of it"]


NO_YAML = {
    "cut off": ("items:\n- data: {", "is no YAML, or not all of it"),
    "not UTF-8": (b"kind: \xff", "is no YAML, or not all of it"),
    "NUL bytes": (b"kind: \0", "is no YAML, or not all of it"),
    "an escape beyond Unicode": ('kind: "\\U00110000"', "is no YAML, or not all of it"),
    "an anchor": ("kind: &a b", "has an anchor, an alias or a tag, which kubectl does not write"),
    "an anchor of a map": (
        "data: &a {a: b}",
        "has an anchor, an alias or a tag, which kubectl does not write",
    ),
    "an alias": ("data: *a", "has an anchor, an alias or a tag, which kubectl does not write"),
    "a tag": (
        "data: !!python/object:os.system {}",
        "has an anchor, an alias or a tag, which kubectl does not write",
    ),
    "a map as a key": ("? {a: b}\n: c", "has a map or a list as a key"),
    "a list without end": ("[" * 1000, "is nested too deep"),
    "a text": ("text", "holds no snapshot"),
    "nothing but a mark": ("---", "holds no snapshot"),
}


@pytest.mark.parametrize(("text", "why"), NO_YAML.values(), ids=NO_YAML.keys())
def test_yaml_that_kubectl_does_not_write_is_refused(tmp_path: Path, text: str | bytes, why: str) -> None:
    skipped(put(tmp_path / "x.yaml", text), f"PLACE {why}")


@pytest.mark.parametrize(
    ("name", "beginning", "size", "why"),
    [
        (
            "x.json",
            b'{"apiVersion"',
            LARGEST_JSON,
            "is larger than 64 MiB: export fewer ConfigMaps at a time",
        ),
        (
            "x.yaml",
            b'{"apiVersion"',
            LARGEST_JSON,
            "is larger than 64 MiB: export fewer ConfigMaps at a time",
        ),
        (
            "x.yaml",
            b"apiVersion",
            LARGEST_YAML,
            "is larger than 16 MiB: export with -o json, and fewer ConfigMaps at a time",
        ),
        ("x.json", b"apiVersion", LARGEST, "is larger than 4 MiB"),
    ],
)
def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, name: str, beginning: bytes, size: int, why: str
) -> None:
    """It would take the memory of its size."""
    with put(tmp_path / name, beginning).open("r+b") as file:
        file.truncate(size + 1)
    tracemalloc.start()
    try:
        skipped(tmp_path / name, f"PLACE {why}")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


MANY = {
    "lists in JSON": (from_json, b'{"items":[' + b"[]," * 100),
    "quotes in JSON": (from_json, b'{"items":[' + b'"",' * 100),
    "lists in YAML": (from_yaml, b"- []\n" * 100),
    "documents in YAML": (from_yaml, b"---\n" * 100),
}


@pytest.mark.parametrize(("way", "data"), MANY.values(), ids=MANY.keys())
def test_what_holds_too_much_is_refused(
    way: Callable[[bytes], Any], data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "_TOKENS", 50)
    monkeypatch.setattr(exported, "_EVENTS", 50)
    with pytest.raises(MetisError, match="holds too much: export fewer ConfigMaps at a time"):
        list(way(data))


def test_a_configmap_larger_than_any_is_refused() -> None:
    with pytest.raises(MetisError, match="holds a ConfigMap of more than 4 MiB"):
        list(from_json(b'{"items":[{"data":"' + b"a" * LARGEST + b'"}]}'))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["x.json", "ConfigMap", "List"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "data binaryData items kind metadata labels annotations metis.io/node x.json".split()
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_gives_bytes_or_a_line(value: object) -> None:
    text = json.dumps(value).encode()
    for way in (from_json, from_yaml):
        assert all(isinstance(line, bytes) or line.isprintable() for line in given_by(way, text))


@given(st.text(alphabet="-:?&*!|>'\"%@`{}[],# \n\tab\\\0\u2028\ud800", max_size=60))
def test_any_text_gives_bytes_or_a_line(text: str) -> None:
    for way in (from_json, from_yaml):
        found = given_by(way, text.encode(errors="surrogatepass"))
        assert all(isinstance(line, bytes) or line.isprintable() for line in found)


def given_by(way: Callable[[bytes], Any], data: bytes) -> list[bytes | str]:
    try:
        return [each.data for each in way(data)]
    except MetisError as error:
        return [str(error)]


@given(st.lists(st.text(max_size=30), max_size=4))
def test_json_is_cut_into_items_where_its_strings_end(texts: list[str]) -> None:
    value = list_of(*(configmap({"x.json": text}) for text in texts))
    found = [each.data.decode(errors="surrogatepass") for each in from_json(json.dumps(value).encode())]
    assert found == texts
