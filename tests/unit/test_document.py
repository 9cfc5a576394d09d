"""Reading YAML: values, positions, limits, and that hostile bytes are answered with a problem.

What is refused, with the words for it, is in tests/cases/inventory/yaml-*.
"""

from __future__ import annotations

import math
import string
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.errors import InventoryError, Problem
from pipeline.inventory import builder, document
from pipeline.inventory.document import MAX_BYTES, parse


def refusal(text: bytes | str) -> Problem:
    with pytest.raises(InventoryError) as caught:
        parse(text, "f.yaml")
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("0644", "0644"),
        ("0o644", "0o644"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("02:00:5e:10:00:01", "02:00:5e:10:00:01"),
        ("2024-02-30", "2024-02-30"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        (".inf", ".inf"),
        ("00.5", "00.5"),
        ("=", "="),
        ("192.0.2.1", "192.0.2.1"),
        ('"1"', "1"),
        ("'true'", "true"),
        ("!!str 1", "1"),
        ("!!int 1", 1),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_a_scalar_follows_the_narrowed_core_schema(text: str, value: object) -> None:
    found = parse(f"a: {text}\n", "f.yaml").data["a"]
    assert found == value
    assert type(found) is type(value)


def test_each_value_has_the_line_of_its_key_or_item() -> None:
    lines = parse("# a comment\na:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n", "f.yaml").lines
    assert dict(lines) == {
        (): 2,
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "c"): 4,
        ("a", "c", 0): 5,
        ("a", "c", 1): 6,
        ("a", "c", 1, "d"): 6,
    }


def test_an_unknown_place_has_the_line_of_what_is_around_it() -> None:
    found = parse("a: 1\nb:\n  c: 1\n", "f.yaml")
    assert found.line(("b", "c", "d", 3)) == 3
    assert found.line(("z",)) == 1


def test_lines_are_those_of_an_editor_with_any_line_ending() -> None:
    assert parse("a: 1\r\nb: 2\r\n", "f.yaml").line(("b",)) == 2


def test_an_alias_repeats_its_anchor() -> None:
    assert parse("a: &x {b: [1]}\nc: *x\n", "f.yaml").data == {"a": {"b": [1]}, "c": {"b": [1]}}


def test_an_anchor_may_be_a_key_and_be_taken_again() -> None:
    assert parse("&x a: &x 1\nb: *x\n", "f.yaml").data == {"a": 1, "b": 1}


def test_values_within_an_alias_have_the_line_of_the_alias() -> None:
    assert parse("a: &x {b: 1}\n\nc: *x\n", "f.yaml").line(("c", "b")) == 3


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert parse("\N{BOM}a: 1\n".encode(), "f.yaml").data == {"a": 1}


def test_a_tab_within_a_block_of_text_is_text() -> None:
    assert parse("a: |\n  x\n  \ty\n", "f.yaml").data == {"a": "x\n\ty\n"}


def test_two_megabytes_are_refused_without_being_parsed() -> None:
    assert refusal(b"a: b\n" * 400_000).line == 0


def test_the_largest_document_is_read() -> None:
    assert parse("a: 1\n#" + "x" * (MAX_BYTES - 6), "f.yaml").data == {"a": 1}


def test_text_of_another_encoding_is_refused_with_its_line() -> None:
    assert refusal(b"a: b\nc: \xff\n").line == 2
    assert refusal("a: b\n".encode("utf-16")).line == 1


def test_a_control_character_is_refused_with_its_line() -> None:
    assert refusal(b"a: b\nc: \x1b[2J\n").line == 2


def test_half_a_surrogate_pair_is_refused() -> None:
    assert "U+D800" in refusal("a: \ud800").message


def test_depth_counts_what_an_alias_brings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "MAX_DEPTH", 4)
    assert parse("a: &x [[1]]\nb: [*x]\n", "f.yaml").data["b"] == [[[1]]]
    assert "nested deeper" in refusal("a: &x [[1]]\nb: [[*x]]\n").message


def test_values_count_again_for_each_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "MAX_NODES", 9)
    parse("a: &x [1, 2, 3]\nb: *x\n", "f.yaml")
    assert "more than 9 values" in refusal("a: &x [1, 2, 3]\nb: [*x]\n").message


def test_a_part_of_a_document_must_be_a_map() -> None:
    whole = parse("nodes:\n  a: 1\n", "f.yaml")
    with pytest.raises(InventoryError, match=r"f\.yaml:2: nodes\.a: expected a map"):
        whole.part("nodes", "a")
    with pytest.raises(KeyError):
        whole.part("nodes", "b")


# Characters that YAML can hold; PyYAML writes some of them escaped.
text = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**16), 10**16)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(text, values, max_size=5))
def test_what_is_written_quoted_is_read_back(data: dict[str, Any]) -> None:
    # Strings in quotes: without, PyYAML writes strings that are numbers only to YAML 1.2, such as 1e3.
    written = yaml.safe_dump(data, default_style='"', allow_unicode=True)
    assert same(parse(written, "f.yaml").data, data)


def same(found: object, data: object) -> bool:
    """Compare, with floats as close as their shortest spelling."""
    if isinstance(data, dict):
        return (
            isinstance(found, dict)
            and found.keys() == data.keys()
            and all(same(found[k], v) for k, v in data.items())
        )
    if isinstance(data, list):
        return isinstance(found, list) and len(found) == len(data) and all(map(same, found, data))
    if isinstance(data, float):
        return isinstance(found, int | float) and math.isclose(found, data)
    return found == data and type(found) is type(data)


pieces = [*"&*!<>|{}[]:,-?#'\"%@`\t\n \\", "<<", "a", "1", "---\n", "\n  ", ": ", "- ", "!!int "]
yamlish = st.lists(st.sampled_from(pieces), max_size=40).map("".join).map(str.encode)
printable = st.text(string.printable, max_size=100).map(str.encode)


def problems_of(source: bytes) -> tuple[Problem, ...]:
    try:
        assert isinstance(parse(source, "f.yaml").data, dict)
    except InventoryError as error:
        return error.problems
    return ()


@given(st.binary(max_size=200) | yamlish | printable)
@example(b"[" * 100_000)
@example(b"{a: " * 10_000)
@example(b'a: "\\UFFFFFFFF"')
@example(b"%TAG ! tag:yaml.org,2002:\n---\na: !python/name:os.system b\n")
@example(b"? " * 1000)
@example(b"- " * 1000)
def test_arbitrary_bytes_give_a_document_or_a_problem(source: bytes) -> None:
    problems = problems_of(source)
    assert len(problems) <= 1
    assert all(str(problem).isprintable() for problem in problems)


@given(st.binary(max_size=100) | yamlish)
@example(b'a: "\\UFFFFFFFF"')
@example(b"[" * 500)
def test_it_holds_without_libyaml_too(source: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "_LOADER", yaml.SafeLoader)
        assert len(problems_of(source)) <= 1
