"""Values set in the text of a file: they are read as they were meant, and all else stays as it was."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InventoryError, MetisError
from pipeline.inventory.amend import amended, laid_over
from pipeline.inventory.document import parse

TARGETS = ("targets",)
IN_SINGLE = ("classes", "pi", "targets")
RUNC = {"runc": "1.1.12"}
OPENSSL = {"packages": {"openssl": "3.0.15-1~deb12u1"}}
BLOCK = "targets:\n  runc: 1.1.12\n"

NEW_MAP = {
    "at the end": ("os: debian\n", f"os: debian\n{BLOCK}"),
    "after a line without an end, which gets none": ("os: debian", f"os: debian\n{BLOCK}"[:-1]),
    "after a remark without an end": ("os: a # x", f"os: a # x\n{BLOCK}"[:-1]),
    "after remarks at the end": (
        "ssh:\n  user: a\n  # b\n\n# c\n",
        f"ssh:\n  user: a\n  # b\n\n# c\n{BLOCK}",
    ),
    "before empty lines at the end": ("os: a\n\n\n", f"os: a\n{BLOCK}\n\n"),
    "before the mark of the end": ("---\nos: a\n# b\n...\n", f"---\nos: a\n# b\n{BLOCK}...\n"),
    "after a block of lines": ("os: |\n  a\n  # b\n", f"os: |\n  a\n  # b\n{BLOCK}"),
    "after a block that keeps its empty lines": ("os: |+\n  a\n\n", f"os: |+\n  a\n\n{BLOCK}"),
    "after a list that is not indented": ("os:\n- a\n- b: c\n  d: e\n", f"os:\n- a\n- b: c\n  d: e\n{BLOCK}"),
    "after a flow map of several lines": ("os: {\n  a: b,\n}\n", f"os: {{\n  a: b,\n}}\n{BLOCK}"),
    "after an alias": ("os: &x a\narch: *x\n", f"os: &x a\narch: *x\n{BLOCK}"),
    "after nothing": ("arch:\n", f"arch:\n{BLOCK}"),
    "with the lines of Windows": ("os: a\r\n", "os: a\r\n" + BLOCK.replace("\n", "\r\n")),
    "after a mark of byte order": ("\ufeffos: a\n", f"\ufeffos: a\n{BLOCK}"),
    "as deep as others": ("ssh:\n    user: a\n", "ssh:\n    user: a\ntargets:\n    runc: 1.1.12\n"),
    "in a flow map": ("{os: a}\n", "{os: a, targets: {runc: 1.1.12}}\n"),
    "in a flow map with a comma at its end": ("{os: a, }\n", "{os: a, targets: {runc: 1.1.12}, }\n"),
}


@pytest.mark.parametrize(("text", "wanted"), NEW_MAP.values(), ids=NEW_MAP.keys())
def test_a_map_that_is_missing_is_added(text: str, wanted: str) -> None:
    assert amended(text, TARGETS, RUNC) == wanted


IN_MAP = {
    "a block": ("targets:\n   k3s: x # y\nos: b\n", "targets:\n   k3s: x # y\n   runc: 1.1.12\nos: b\n"),
    "a block with a remark at its end": (
        "targets:\n  k3s: x\n  # y\n\n# z\nos: b\n",
        "targets:\n  k3s: x\n  # y\n  runc: 1.1.12\n\n# z\nos: b\n",
    ),
    "an empty flow map": ("targets: {} # x\n", "targets: {runc: 1.1.12} # x\n"),
    "a flow map": ("targets: {k3s: x}\nos: b\n", "targets: {k3s: x, runc: 1.1.12}\nos: b\n"),
    "a flow map of several lines": (
        "targets: {\n  k3s: x # y\n  # z\n}\n",
        "targets: {\n  k3s: x, # y\n  # z\n  runc: 1.1.12\n}\n",
    ),
    "a flow map of several lines that end with commas": (
        "targets: {\n  k3s: x, # y, z\n}\n",
        "targets: {\n  k3s: x, # y, z\n  runc: 1.1.12,\n}\n",
    ),
    "a flow map that closes behind a comma": (
        "targets: {k3s: x\n  , }\n",
        "targets: {k3s: x, runc: 1.1.12\n  , }\n",
    ),
    "a value that is there": ("targets: {runc: '1' } # x\n", "targets: {runc: '1.1.12' } # x\n"),
    "a number that is there": ("targets:\n  runc: 1.1 # x\n", "targets:\n  runc: 1.1.12 # x\n"),
}


@pytest.mark.parametrize(("text", "wanted"), IN_MAP.values(), ids=IN_MAP.keys())
def test_a_value_is_set_in_the_style_of_its_map(text: str, wanted: str) -> None:
    assert amended(text, TARGETS, RUNC) == wanted


def test_maps_within_the_map_are_set_with_it() -> None:
    text = "targets:\n  packages:\n    bash: 5.2.15-2\nos: b"
    wanted = "targets:\n  packages:\n    bash: 5.2.15-2\n    openssl: 3.0.15-1~deb12u1\n  runc: 1.1.12\nos: b"
    assert amended(text, TARGETS, RUNC | OPENSSL) == wanted


def test_two_maps_that_end_in_one_place_each_get_their_own() -> None:
    text = "targets:\n  packages:\n    bash: 5.2.15-2"
    wanted = f"{text}\n    openssl: 3.0.15-1~deb12u1\n  runc: 1.1.12"
    assert amended(text, TARGETS, RUNC | OPENSSL) == wanted


def test_in_a_file_of_several_classes_the_one_that_is_meant_is_amended() -> None:
    text = "classes:\n  pi:\n    os: a\n    # of pi\n\n  # of z\n  z: {os: b}\nnodes: {}\n"
    here, there = "    # of pi\n", "z: {os: b}"
    added = "    targets:\n      runc: 1.1.12\n"
    assert amended(text, IN_SINGLE, RUNC) == text.replace(here, here + added)
    flow = "z: {os: b, targets: {runc: 1.1.12}}"
    assert amended(text, ("classes", "z", "targets"), RUNC) == text.replace(there, flow)


QUOTED = {
    "a number": ("6.6", "'6.6'"),
    "a truth": ("true", "'true'"),
    "nothing": ("", "''"),
    "what looks like a time": ("1:30", "'1:30'"),
    "a remark": ("a # b", "'a # b'"),
    "an apostrophe": ("it's", "'it''s'"),
    "the end of a map": ("a}, b: {c", "'a}, b: {c'"),
    "an end of line": ("a\nb", '"a\\nb"'),
}


@pytest.mark.parametrize(("value", "written"), QUOTED.values(), ids=QUOTED.keys())
def test_what_would_read_as_something_else_is_quoted(value: str, written: str) -> None:
    assert amended("os: a\n", TARGETS, {"k3s": value}) == f"os: a\ntargets:\n  k3s: {written}\n"
    assert amended("targets: {k3s: x}\n", TARGETS, {"k3s": value}) == f"targets: {{k3s: {written}}}\n"


def test_the_name_of_a_package_is_quoted_where_it_must_be() -> None:
    assert amended("{os: a}", TARGETS, {"libc6:arm64": "1", "12": "x"}) == (
        "{os: a, targets: {'libc6:arm64': '1', '12': x}}"
    )


def test_what_is_so_already_stays_as_it_is_written() -> None:
    text = 'targets: {runc: "1.1.12", packages: {}}\n'
    assert amended(text, TARGETS, RUNC) == text


REFUSED = {
    "an anchor": ("targets: &x {k3s: a}\nssh: *x\n", "targets is an anchor"),
    "an alias": ("ssh: &x {k3s: a}\ntargets: *x\n", "targets is an anchor"),
    "a tag": ("targets: !!map {k3s: a}\n", "targets is an anchor"),
    "a value that is an alias": ("os: &x a\ntargets: {runc: *x}\n", "targets.runc is an anchor"),
    "a value that others share": ("targets: {runc: &x a}\nos: *x\n", "targets.runc is an anchor"),
    "a key that is an alias": ("os: &x runc\ntargets: {*x : a}\n", "targets has a key that is an anchor"),
    "a document with an anchor": ("&x\nos: a\n", "targets is an anchor"),
    "a list": ("targets: [a]\n", "targets is no map"),
    "nothing": ("targets:\nos: a\n", "targets is no map"),
    "a text": ("targets: a\n", "targets is no map"),
    "a map for a value": ("targets: {runc: {a: b}}\n", "targets.runc is no value of one line"),
    "a block of lines for a value": ("targets:\n  runc: |\n    a\n", "targets.runc is no value of one line"),
    "no value": ("targets:\n  runc:\n", "targets.runc is empty"),
    "a block whose last line has no end": ("os: |\n  a", "targets cannot be set"),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_set_alone_is_left_to_its_author(text: str, words: str) -> None:
    with pytest.raises(MetisError, match="edit it by hand") as caught:
        amended(text, TARGETS, RUNC)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "\x1b[31m"], ids=["zero", "half", "escape"])
def test_what_yaml_cannot_hold_is_refused(value: str) -> None:
    with pytest.raises(MetisError, match="cannot be set"):
        amended("os: a\n", TARGETS, {"k3s": value})


@pytest.mark.parametrize("text", ["", "a: {b", "a: b\na: c\n", "<<: {a: b}\n", "a: b\n---\nc: d\n", "[a]"])
def test_what_is_no_inventory_is_refused_as_ever(text: str) -> None:
    with pytest.raises(InventoryError):
        amended(text, TARGETS, RUNC)


# ----------------------------------------------------------------------------------------- any file

words = st.text("abz019 :#,'\"{}[]-é🙂", max_size=12)
names = st.sampled_from(["kernel", "k3s", "runc", "os", "arch", "ssh", "1", "on", "a b", "packages"])
comments = st.sampled_from(["", "", " # why", " #'\"{,}"])
versions = words | st.sampled_from(["6.6", "true", "~", "", "- a", "a\nb", "v1.30.4+k3s1", "1:2", "'", "🙂"])
targets = st.dictionaries(names, versions, max_size=4)


def quoted(value: str, style: str) -> str:
    if style == "'":
        return "'" + value.replace("'", "''") + "'"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def scalars(draw: st.DrawFn) -> str:
    """A value as authors write it, in one of the three ways."""
    style = draw(st.sampled_from(["'", '"', ""]))
    return quoted(draw(words), style) if style else draw(st.sampled_from(["x", "0644", "a b", "true", "1.2"]))


@st.composite
def flows(draw: st.DrawFn, depth: int) -> str:
    """A map in braces, on one line or with a line for each entry."""
    keys = draw(st.lists(names, unique=True, max_size=3))
    pairs = [f"'{key}': {draw(scalars())}" for key in keys]
    if depth:
        pairs.append(f"targets: {draw(flows(depth - 1))}")
    if draw(st.booleans()):
        return "{" + ", ".join(pairs) + draw(st.sampled_from(["", " ", ","] if pairs else [""])) + "}"
    comma = draw(st.sampled_from(["", ","])) if pairs else ""
    remark = draw(comments)
    return "{\n" + ",\n".join(f"      {pair}" for pair in pairs) + f"{comma}{remark}\n    }}"


@st.composite
def blocks(draw: st.DrawFn, indent: str, below: tuple[str, ...]) -> list[str]:
    """The lines of a map; the first of the keys below leads to a map in it, if it is there."""
    keys = draw(st.lists(names, unique=True, min_size=1, max_size=4))
    lines: list[str] = []
    for key in [*keys, *below[:1]]:
        if draw(st.integers(0, 3)) == 0:
            lines.append(
                draw(st.sampled_from(["", f"{indent}# a remark", "# of nobody", f"{indent}    # deeper"]))
            )
        if key not in below:
            lines.append(f"{indent}'{key}': {draw(scalars())}{draw(comments)}")
        elif draw(st.booleans()):
            lines.append(f"{indent}{key}: {draw(flows(depth=0))}{draw(comments)}")
        else:
            step = draw(st.sampled_from(["  ", "    "]))
            lines += [f"{indent}{key}:{draw(comments)}", *draw(blocks(indent + step, below[1:]))]
    ends = [
        "",
        "",
        "# the end",
        f"{indent}# the end of it",
        f"{indent}'z': |\n{indent}  text\n{indent}  # no remark",
    ]
    return [*lines, *filter(None, [draw(st.sampled_from(ends))])]


@st.composite
def files(draw: st.DrawFn, path: tuple[str, ...]) -> str:
    """A file in which a path leads to a map, or where the last maps on it are missing."""
    there = path[: draw(st.integers(0, len(path)))]
    text = "\n".join(draw(blocks("", there))) if draw(st.integers(0, 3)) else draw(flows(depth=1))
    start = draw(st.sampled_from(["", "", "---\n", "# first\n\n"]))
    end = draw(st.sampled_from(["\n", "\n", "", "\n\n", "\n...\n"]))
    return (start + text + end).replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


def data_of(text: str) -> dict[str, Any] | None:
    try:
        return parse(text, "x").data
    except InventoryError:  # few are: a block at the end of what a remark follows
        return None


@given(st.data(), st.sampled_from([TARGETS, IN_SINGLE]), targets, st.none() | targets)
def test_in_any_file_the_values_are_set_and_no_line_is_lost(
    data: st.DataObject, path: tuple[str, ...], values: dict[str, Any], packages: dict[str, str] | None
) -> None:
    text = data.draw(files(path))
    before = data_of(text)
    wanted: dict[str, Any] = {**values, "inner": packages} if packages else values
    try:
        after = amended(text, path, wanted)
    except MetisError:
        assert before is None or stands_in_the_way(before, path, text)
        return
    assert before is not None
    nested: dict[str, Any] = wanted
    for step in reversed(path):
        nested = {step: nested}
    assert parse(after, "x").data == laid_over(before, nested)
    assert amended(after, path, wanted) == after
    assert after.count("\r") in {0, after.count("\n")}
    assert remarks(after) == remarks(text)


def remarks(text: str) -> list[str]:
    return [line.removesuffix("\r") for line in text.split("\n") if line.strip().startswith("#")]


def stands_in_the_way(data: dict[str, Any], path: tuple[str, ...], text: str) -> bool:
    """Whether the path leads to no map, or the last line is of a block that an end of line would change."""
    value: Any = data
    for step in path:
        value = value.get(step, {}) if isinstance(value, dict) else None
    return not isinstance(value, dict) or text.endswith("# no remark")


@given(st.text("targes: {}[]&*!|>'\"#-\n\r\t\ufeff\0,?", max_size=40))
def test_no_text_is_answered_with_anything_but_an_edit_or_an_error_of_ours(text: str) -> None:
    with suppress(MetisError):
        assert parse(amended(text, TARGETS, RUNC), "x").data["targets"]["runc"] == "1.1.12"
    with suppress(MetisError):
        amended(f"targets: {{k3s: x}}\n{text}", TARGETS, RUNC)
