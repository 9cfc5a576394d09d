"""Inventories and what is said of them; each case is a folder with a document and its `problems.txt`.

There `{names}` stands for all keys of a node or all operating systems, and `{schemes}` for all kinds of
sources, which are more with each new one.
"""

from __future__ import annotations

import copy
import json
import re
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InventoryError, Problem, UsageError
from pipeline.golden.debian.recipe import recipe_key
from pipeline.golden.schemes import SCHEMES
from pipeline.inventory import formats, schema_faults, schemas
from pipeline.inventory.document import Document, parse
from pipeline.inventory.resolve import resolve_class, resolve_node
from pipeline.inventory.schema_files import Kind
from pipeline.inventory.schemas import faults
from pipeline.inventory.validate import check, claims, duplicates
from pipeline.machine import process
from pipeline.render.concerns import CONCERNS, checked
from pipeline.wording import shown

CASES = sorted(file for file in Path(__file__).parent.with_name("cases").glob("inventory/*/*.yaml"))
SCHEMAS = sorted(Path(__file__).parents[2].glob("pipeline/**/*.schema.json"))
STANDS_FOR = {"{names}": r"\w+(, \w+)+( and \w+)?", "{schemes}": r"\w+:?(, \w+:?)+ or \w+:?"}
"""How lists are said, however many things they name."""


def kind_of(file: Path) -> Kind:
    return file.stem  # type: ignore[return-value]


def problems_of(file: Path) -> tuple[Problem, ...]:
    kind = kind_of(file)
    try:
        document = parse(file.read_bytes(), file.name)
    except InventoryError as error:
        return error.problems
    found = check(document, kind)
    if kind == "node" and not found:
        return resolved(document, "a")
    return found


def resolved(document: Document, name: str) -> tuple[Problem, ...]:
    """What is wrong with a node's merged values; its class has nothing but what every class must have."""
    klass = resolve_class("c", lambda _: parse("{arch: arm64, os: debian}", "c.yaml"))
    try:
        checked(resolve_node(name, document, klass, parse("{}", "cluster.yaml")))
    except InventoryError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.parent.name)
def test_each_document_gets_the_lines_written_beside_it(file: Path) -> None:
    expected = file.with_name("problems.txt")
    lines = expected.read_text("utf-8").splitlines() if expected.exists() else []
    said = [str(problem) for problem in problems_of(file)]
    for index, (line, written) in enumerate(zip(said, lines, strict=False)):
        if fits(line, written):
            said[index] = written
    assert said == lines


def fits(line: str, written: str) -> bool:
    """Whether a line is as it is written, whatever the lists in it name."""
    pattern = re.escape(written)
    for name, listed in STANDS_FOR.items():
        pattern = pattern.replace(re.escape(name), listed)
    return re.fullmatch(pattern, line) is not None


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.parent.name)
def test_a_case_is_good_exactly_when_its_name_says_so(file: Path) -> None:
    assert file.parent.name.startswith("good-") == (not file.with_name("problems.txt").exists())


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.parent.name)
def test_every_line_is_printable_short_and_without_secrets(file: Path) -> None:
    for problem in problems_of(file):
        assert str(problem).isprintable()
        assert len(str(problem)) < 400
        assert "hunter2" not in str(problem)
        assert "b3BlbnNz" not in str(problem)
        assert "SECRET-KEY" not in str(problem)


def subschemas(schema: object, name: str = "") -> Any:
    """Each schema that an instance is held against, with the name that it stands under."""
    if not isinstance(schema, dict):
        return
    yield name, schema
    for key in ("properties", "$defs"):
        for part, below in schema.get(key, {}).items():
            yield from subschemas(below, part)
    for key in ("items", "additionalProperties", "propertyNames"):
        yield from subschemas(schema.get(key), f"{name}.{key}")


@pytest.mark.parametrize("file", SCHEMAS, ids=lambda file: file.name)
def test_every_schema_says_what_it_expects(file: Path) -> None:
    top = json.loads(file.read_text("utf-8"))
    for name, schema in subschemas(top):
        if schema is not top and "$ref" not in schema:
            assert f"expected {schema['description']}".isprintable(), name


@pytest.mark.parametrize("file", SCHEMAS, ids=lambda file: file.name)
def test_references_lead_to_files_as_an_editor_resolves_them(file: Path) -> None:
    def references(value: object) -> Any:
        if isinstance(value, dict):
            yield from (item for key, item in value.items() if key == "$ref")
            for item in value.values():
                yield from references(item)
        if isinstance(value, list):
            for item in value:
                yield from references(item)

    for reference in references(json.loads(file.read_text("utf-8"))):
        path, _, fragment = reference.partition("#")
        target = json.loads((file.parent / path).read_text("utf-8") if path else file.read_text("utf-8"))
        for step in fragment.split("/")[1:]:
            target = target[step]


def test_every_concern_has_its_fragment_in_the_list() -> None:
    folder = Path(__file__).parents[2] / "pipeline/render"
    listed = json.loads((folder / "concerns.schema.json").read_text("utf-8"))["allOf"]
    fragments = {file.name for file in folder.glob("*.schema.json")} - {"concerns.schema.json"}
    assert {part["$ref"] for part in listed} == fragments
    named = {name.removesuffix(".schema.json") for name in fragments}
    # Hooks, the card and targets put nothing into the image; the quirks of a system are not declared.
    assert named - {"hooks", "card", "targets"} == CONCERNS.keys() - {"quirks"}


@pytest.mark.parametrize(
    "suite", ["sid", "bookworm", "a1", "trixie-backports", "Sid", "", "x" * 32, "x" * 33]
)
def test_a_suite_is_declared_exactly_when_it_can_be_built(suite: str) -> None:
    declared = schema_faults.checker().conforms(f"debian:{suite}", "image-source")
    try:
        built = bool(recipe_key(suite))
    except UsageError:
        built = False
    assert declared == built == (suite in {"sid", "bookworm", "x" * 32})


@given(st.from_regex(r"\A0?[0-9]{1,16}[KMGTkB]?\Z") | st.integers())
def test_a_size_is_declared_exactly_when_it_can_be_counted(size: str | int) -> None:
    try:
        counted = formats.size_in_bytes(size) >= 0
    except ValueError:
        counted = False
    assert schema_faults.checker().conforms(size, "size") == counted


yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(
    "class hostname network k3s ssh cloud_init replaces image files os cluster nodes".split()
)


@given(data=st.dictionaries(keys, yaml_values), kind=st.sampled_from(("node", "class", "inventory", "modes")))
def test_whatever_stands_under_a_known_key_is_answered_in_words(data: dict[str, Any], kind: Kind) -> None:
    for _, message in faults(data, kind):
        assert message


def claimed(settings: dict[str, Any], name: str) -> tuple[tuple[str, str], ...]:
    return tuple(chain(*claims(settings, name).values()))


@given(network=st.dictionaries(st.sampled_from(("address", "gateway", "mac", "dhcp")), yaml_values))
def test_claims_of_invalid_settings_are_left_out(network: dict[str, Any]) -> None:
    assert all(path and value for path, value in claimed({"network": network, "hostname": network}, "a"))


def test_claims_are_spelt_in_one_way() -> None:
    settings = {
        "hostname": "Titan-13",
        "network": {"address": "2001:DB8:0::1/64", "mac": "02:AA:00:00:00:01"},
    }
    assert claimed(settings, "a") == (
        ("hostname", "titan-13"),
        ("network.address", "2001:db8::1"),
        ("network.mac", "02:aa:00:00:00:01"),
    )


def test_a_node_claims_its_name_where_it_declares_no_hostname() -> None:
    assert claimed({}, "Titan-13") == (("hostname", "titan-13"),)


def test_both_of_a_duplicate_pair_name_each_other() -> None:
    address = ("network.address", "192.0.2.13")
    names = {name: ("hostname", name) for name in "abc"}
    found = duplicates({"a": (names["a"], address), "b": (names["b"], address), "c": (names["c"],)})
    assert found == {
        "a": ("network.address: 192.0.2.13 is also that of b",),
        "b": ("network.address: 192.0.2.13 is also that of a",),
    }


def test_a_disk_is_in_one_machine_whatever_it_is_for() -> None:
    one = {"longhorn": {"disks": [{"uuid": "0a"}, {"uuid": "0b"}]}, "usb_scratch": {"uuid": "0c"}}
    assert claimed(one, "a") == (("hostname", "a"), ("disk", "0a"), ("disk", "0b"), ("disk", "0c"))
    assert claimed({"longhorn": {"disks": "x"}, "usb_scratch": ["uuid"]}, "a") == (("hostname", "a"),)


def test_a_thousand_nodes_of_one_address_get_short_lines() -> None:
    found = duplicates({f"n{number}": (("network.address", "192.0.2.1"),) for number in range(1000)})
    assert found["n999"] == ("network.address: 192.0.2.1 is also that of n0, n1, n2 and 996 more",)
    assert len(found) == 1000


def test_a_nodes_name_must_do_as_a_host_name_where_it_declares_none() -> None:
    found = resolved(parse("class: c", "nodes/a_b.yaml"), "a_b")
    assert [problem.path for problem in found] == ["hostname"]
    assert resolved(parse("{class: c, hostname: ab}", "nodes/a_b.yaml"), "a_b") == ()


def test_a_part_of_one_file_keeps_the_places_of_the_whole() -> None:
    whole = parse("nodes:\n  a:\n    class: b\n    hostname: -b\n", "inv.yaml")
    (problem,) = check(whole.part("nodes", "a"), "node")
    assert (problem.line, problem.path) == (4, "nodes.a.hostname")


def test_a_file_of_nothing_but_faults_is_cut_short() -> None:
    document = parse("class: a\n" + "".join(f"k{number}: x\n" for number in range(5000)), "f.yaml")
    found = check(document, "node")
    assert len(found) == 102
    assert "more than 100 problems" in found[0].message


@pytest.mark.parametrize("value", ["0", "1", "512M", "1G", "64T", 0, 268435456])
def test_a_size_is_accepted(value: str | int) -> None:
    formats.size(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "M",
        "-1",
        "01",
        "010",
        "00",
        "1.5G",
        "512MB",
        "1 G",
        "1g",
        "0x10",
        "1G\n",
        "٣",
        "65T",
        "9" * 5000,
        -1,
        True,
    ],
)
def test_what_is_no_size_is_refused(value: str | int) -> None:
    with pytest.raises(ValueError, match="format"):
        formats.size(value)


@pytest.mark.parametrize(
    "value",
    [
        "https://a.example/b.img.xz",
        "http://192.0.2.1:8080/b",
        "file:/srv/b.img",
        "file:///srv/b",
        "file:b.img",
    ],
)
def test_a_source_is_accepted(value: str) -> None:
    formats.image_source(value)


def test_each_kind_of_source_that_can_be_declared_can_be_opened() -> None:
    assert formats.SOURCES.keys() == SCHEMES.keys()


def test_each_kind_of_source_is_named_where_one_is_expected() -> None:
    told = [
        schema["description"]
        for file in SCHEMAS
        for _, schema in subschemas(json.loads(file.read_text("utf-8")))
        if schema.get("format") in {"file-source", "image-source"}
    ]
    assert len(told) == 2
    assert all(text.startswith(formats.FILE_SOURCES) for text in told)
    words = {word.strip(":") for word in re.findall(r"\w+:?", formats.FILE_SOURCES)}
    assert formats.SOURCES.keys() - words == {"debian"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("https://a.example/b?token=secret", '"https://a.example/b?…"'),
        ("get https://a.example?secret now", '"get https://a.example?… now"'),
        ("https://me:secret@a.example/b?secret", '"***@a.example/b?…"'),
        ("https://me:secret?@a.example", '"***@a.example"'),
        ("why?", '"why?"'),
    ],
)
def test_a_found_address_hides_its_query(value: str, said: str) -> None:
    assert shown(value) == said


@pytest.mark.parametrize(
    "value", ["https://me:secret@a.example/b", "me:secret@a.example", "see https://me@a"]
)
def test_a_found_value_hides_who_and_with_which_password(value: str) -> None:
    assert "me" not in shown(value)
    assert "secret" not in shown(value)


# ------------------------------------------------------------------------------- good at first sight

GOOD = [file for file in CASES if file.parent.name.startswith("good-")]
HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(
        [0, -1, 2**63, 2**64, 10**30, 1.0, 0.5, float("inf"), "", "x\n", "0", "-", "\u2028", "a" * 300]
    ),
    st.text(max_size=5),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(st.sampled_from(CASES), st.data())
@settings(max_examples=400)
def test_what_is_good_at_first_sight_has_no_faults(file: Path, data: st.DataObject) -> None:
    """A document with one value replaced: what looks first may only be stricter than what finds faults."""
    kind = kind_of(file)
    try:
        found = parse(file.read_bytes(), file.name)
    except InventoryError:
        return
    value = copy.deepcopy(found.data)
    replaced(value, data)
    if schemas.is_surely_good(value, kind):
        assert list(schema_faults._validator(kind).iter_errors(value)) == []


def replaced(value: Any, data: st.DataObject) -> None:
    """Put something hostile somewhere into a document."""
    while True:
        keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        inner = value[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            value[key] = data.draw(HOSTILE)
            return
        value = inner


@pytest.mark.parametrize(
    "file",
    [file for file in CASES if file.parent.name.startswith("good-")],
    ids=lambda file: file.parent.name,
)
def test_what_is_good_is_seen_at_first_sight(file: Path) -> None:
    kind = kind_of(file)
    assert schemas.is_surely_good(parse(file.read_bytes(), file.name).data, kind)


@pytest.mark.parametrize(("data", "asked"), [({}, False), ({"k3s": 1}, True)])
def test_only_who_has_faults_waits_for_their_words(data: object, asked: bool) -> None:
    code = f"from pipeline.inventory.schemas import faults; print(len(list(faults({data!r}, 'cluster'))))"
    said = process.run([sys.executable, "-c", f"{code}; import sys; print('jsonschema' in sys.modules)"])
    assert said.out.decode().split() == [str(int(asked)), str(asked)]


@pytest.mark.parametrize("size", [2**60, 10**15, -1, 1.0, True, None])
def test_a_size_that_is_a_number_is_looked_at_too(size: object) -> None:
    assert not schemas.is_surely_good({"image": {"headroom": size}}, "class")
    assert schemas.is_surely_good({"image": {"headroom": 2**30}}, "class")
