"""A pin that is edited: the value becomes another, and nothing else in the file does."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.errors import InventoryError, MetisError
from pipeline.inventory.document import parse
from pipeline.inventory.pin import diff, repinned
from pipeline.machine import process

OLD, NEW = "ab" * 32, "cd" * 32
IN_CLASS = ("image", "sha256")
IN_SINGLE = ("classes", "pi", "image", "sha256")

KEPT = {
    "a block map": "image:\n  source: file:x\n  sha256: {}\n",
    "a flow map": "image: {{source: 'file:x', sha256: {}}}\n",
    "a flow map of several lines": "image: {{\n  source: file:x,\n  sha256: {},\n}}\n",
    "a comment behind it": "image:\n  sha256: {}   # of the 3rd of May\n",
    "the same hash in a comment": f"# {OLD}\nimage:\n  sha256: {{}} # {OLD}\n",
    "the same hash elsewhere": f"image: {{{{sha256: {{}}}}}}\nfiles: [{{{{sha256: {OLD}}}}}]\n",
    "single quotes": "image: {{sha256: '{}'}}\n",
    "double quotes": 'image: {{sha256: "{}"}}\n',
    "quoted keys": '"image": {{"sha256":"{}", "source": x}}\n',
    "lines of Windows": "# why\r\nimage:\r\n  sha256: {}\r\n  source: x\r\n",
    "a mark of byte order": "\ufeffimage: {{sha256: {}}}\n",
    "characters of several bytes": "# Größe 🙂 é\nos: '🙂'\nimage: {{sha256: {}}}\n",
    "no end of line": "image: {{sha256: {}}}",
    "a document's marks": "---\nimage: {{sha256: {}}}\n...\n",
    "an anchor elsewhere": "ssh: &x {{user: root}}\nk3s: *x\nimage: {{sha256: {}}}\n",
    "a value on a line of its own": "image:\n  sha256:\n    {}\n",
}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT.keys())
def test_the_value_alone_is_replaced(text: str) -> None:
    assert repinned(text.format(OLD), IN_CLASS, OLD, NEW) == text.format(NEW)


def test_in_a_file_of_several_classes_the_one_that_is_meant_is_edited() -> None:
    def text(hash_of_pi: str) -> str:
        hashes = {"a": OLD, "pi": hash_of_pi, "z": OLD}
        return "classes:\n" + "".join(
            f"  {name}:\n    image: {{sha256: {hashes[name]}}}\n" for name in hashes
        )

    assert repinned(text(OLD), IN_SINGLE, OLD, NEW) == text(NEW)


def test_a_source_may_hold_the_pin() -> None:
    text = "image:\n  source: 'oci:lab/x@sha256:{}' # x\n"
    old, new = f"oci:lab/x@sha256:{OLD}", f"oci:lab/x@sha256:{NEW}"
    assert repinned(text.format(OLD), ("image", "source"), old, new) == text.format(NEW)


QUOTED = {
    "a number": ("image: {sha256: x}\n", "1234", "image: {sha256: '1234'}\n"),
    "a comment": ("image:\n  sha256: x\n", "a # b", "image:\n  sha256: 'a # b'\n"),
    "the end of a flow map": ("image: {sha256: x}\n", "a, b: c}", "image: {sha256: 'a, b: c}'}\n"),
    "an apostrophe": ("image: {sha256: 'x'}\n", "it's", "image: {sha256: 'it''s'}\n"),
    "a line end": ("image: {sha256: x}\n", "a\nb", 'image: {sha256: "a\\nb"}\n'),
}


@pytest.mark.parametrize(("text", "new", "wanted"), QUOTED.values(), ids=QUOTED.keys())
def test_what_would_read_as_something_else_is_quoted(text: str, new: str, wanted: str) -> None:
    assert repinned(text, IN_CLASS, "x", new) == wanted


REFUSED = {
    "another value": (f"image: {{sha256: {'ef' * 32}}}\n", "image.sha256 is "),
    "nothing": ("image:\n  sha256:\n", "image.sha256 is "),
    "no such key": ("image: {source: x}\n", "image.sha256 is not there"),
    "no map": ("image: [x]\n", "image.sha256 is not there"),
    "a list": ("image: {sha256: [x]}\n", "image.sha256 is no value of one line"),
    "a block": (f"image:\n  sha256: |-\n    {OLD}\n", "image.sha256 is no value of one line"),
    "a folded block": (f"image:\n  sha256: >-\n    {OLD}\n", "image.sha256 is no value of one line"),
    "an anchor": (f"image: {{sha256: &x {OLD}}}\nos: *x\n", "is an anchor, an alias"),
    "an alias": (f"os: &x {OLD}\nimage: {{sha256: *x}}\n", "is an anchor, an alias"),
    "a map that is an alias": (f"card: &x {{sha256: {OLD}}}\nimage: *x\n", "is an anchor, an alias"),
    "a map that others share": (f"image: &x {{sha256: {OLD}}}\ncard: *x\n", "is an anchor, an alias"),
    "a key and a value that are aliases": (
        f"os: &k sha256\narch: &v {OLD}\nimage:\n  *k : *v\n",
        "is an anchor, an alias",
    ),
    "a tag": (f"image: {{sha256: !!str {OLD}}}\n", "is an anchor, an alias or has a tag"),
    "an anchor that is there twice": (f"os: &x a\narch: &x b\nimage: {{sha256: {OLD}}}\n", "cannot be found"),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_edited_alone_is_left_to_its_author(text: str, words: str) -> None:
    with pytest.raises(MetisError, match="edit it by hand") as caught:
        repinned(text, IN_CLASS, OLD, NEW)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


BROKEN = {
    "no YAML": "image: {sha256: x\n",
    "a key that stands twice": f"image: {{sha256: {OLD}}}\nimage: {{sha256: {OLD}}}\n",
    "a second document": f"image: {{sha256: {OLD}}}\n---\nimage: {{sha256: {OLD}}}\n",
    "too deep": "image: " + "[" * 5000,
    "an anchor bomb": "a: &a [x, x]\n"
    + "".join(
        f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefghijkl", "bcdefghijklm", strict=True)
    ),
    "a zero byte": f"image: {{sha256: {OLD}}}\n\0",
    "nothing": "",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_inventory_is_refused_as_ever(text: str) -> None:
    with pytest.raises(InventoryError):
        repinned(text, IN_CLASS, OLD, NEW)


# ----------------------------------------------------------------------------------------- any file

words = st.text("abz019 :#,'\"{}[]-é🙂", max_size=12)
names = st.sampled_from(["plain", "pi", "z", "image", "sha256", "source", "on", "1"])
comments = st.sampled_from(["", " # why", " #'\"{", f" # {OLD}"])


@st.composite
def scalars(draw: st.DrawFn) -> str:
    """A value as authors write it, in one of the three ways."""
    value = draw(words)
    style = draw(st.sampled_from(["'", '"', ""]))
    if style == "'":
        return "'" + value.replace("'", "''") + "'"
    if style == '"':
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return draw(st.sampled_from(["x", "file:y", "0644", "a b", "true", "12"]))


@st.composite
def files(draw: st.DrawFn) -> tuple[str, str]:
    """A class's file with the value that is meant left out as `@`, and the value as it is written."""
    end = draw(st.sampled_from(["\n", "\r\n"]))
    keys = draw(st.lists(names.filter(lambda name: name not in {"image"}), unique=True, max_size=4))
    lines = [f"'{key}': {draw(scalars())}{draw(comments)}" for key in keys]
    more = draw(st.lists(names.filter(lambda name: name != "sha256"), unique=True, max_size=3))
    pairs = [f"'{key}': {draw(scalars())}" for key in more]
    pairs.insert(draw(st.integers(0, len(pairs))), "sha256: @")
    if draw(st.booleans()):
        image = ["image: {" + ", ".join(pairs) + "}" + draw(comments)]
    else:
        image = ["image:" + draw(comments), *(f"  {pair}{draw(comments)}" for pair in pairs)]
    place = draw(st.integers(0, len(lines)))
    text = end.join([*lines[:place], *image, *lines[place:]]) + draw(st.sampled_from(["", end]))
    return text, draw(scalars())


@given(files(), words | st.sampled_from([NEW, "12", "true", "null", "~", "", "- a", "a\nb", "'", "🙂"]))
def test_of_any_file_one_value_changes_and_all_other_lines_stay(file: tuple[str, str], new: str) -> None:
    text, written = file
    before = text.replace("@", written)
    data = parse(before, "x").data
    old = data["image"]["sha256"]
    if not isinstance(old, str):  # a number or a truth: compared as it is written
        old = written
    after = repinned(before, IN_CLASS, old, new)
    assert parse(after, "x").data == {**data, "image": {**data["image"], "sha256": new}}
    start, end = text.split("@")
    assert after.startswith(start)
    assert after.endswith(end)


@given(st.text("aimgehs256: {}[]&*!|>'\"#\n\r\t\ufeff\0", max_size=40))
def test_no_text_is_answered_with_anything_but_an_edit_or_an_error_of_ours(text: str) -> None:
    with suppress(MetisError):
        repinned(f"image: {{sha256: {OLD}}}\n{text}", IN_CLASS, OLD, NEW)


# -------------------------------------------------------------------------------------------- diff


def test_the_diff_shows_the_line_that_changed_with_its_neighbours() -> None:
    before = "arch: arm64\nos: debian\nimage:\n  sha256: x\n  source: y\nssh: {}\n"
    assert diff("classes/pi.yaml", before, before.replace("x", "z")) == (
        "--- a/classes/pi.yaml\n+++ b/classes/pi.yaml\n@@ -3,3 +3,3 @@\n image:\n-  sha256: x\n+  sha256: z\n"
        "   source: y\n"
    )


def applies(patch: str, file: str, before: str, after: str, folder: Path) -> None:
    """Hold a patch to what git makes of it, in the folder that its paths are relative to."""
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(before.encode())
    for check in (["--check"], []):
        process.run(
            ["git", "-c", "core.autocrlf=false", "apply", "--whitespace=nowarn", *check, "-"],
            cwd=folder,
            stdin=patch.encode(),
        )
    assert (folder / file).read_bytes() == after.encode()


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    process.run(["git", "init", "--quiet"], cwd=folder)
    return folder


CHANGES = {
    "one line": ("a\nb\nc\nd\n", "a\nB\nc\nd\n"),
    "no end of line": ("a: b", "a: c"),
    "an end of line that comes": ("a: b", "a: b\nc: d\n"),
    "an end of line that goes": ("a: b\n", "a: b\nc: d"),
    "no end of line far behind": ("a\nb\nc\nd", "A\nb\nc\nd"),
    "no end of line as context": ("a\nb", "A\nb"),
    "lines of Windows": ("a: b\r\nc: d\r\n", "a: b\r\nc: e\r\n"),
    "lines of an old Macintosh": ("a: b\rc: d\r", "a: b\rc: e\r"),
    "ends of line that only Python knows": (
        "# \x0b \x0c \x1c \u2028 \x85\na: b\n",
        "# \x0b \x0c \x1c \u2028 \x85\na: c\n",
    ),
    "a line that looks like a header": ("-- a/x\n++ b/x\nc\n", "++ b/x\n-- a/x\nd\n"),
    "two places": ("a\n1\n2\n3\n4\n5\nb", "A\n1\n2\n3\n4\n5\nB"),
    "lines that repeat": ("x\n" * 9, "x\n" * 4 + "y\n" + "x\n" * 5),
}


@pytest.mark.parametrize(("before", "after"), CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("below", ["", "lab"], ids=["at the top", "in a folder"])
def test_git_applies_the_diff(repository: Path, below: str, before: str, after: str) -> None:
    (repository / below).mkdir(exist_ok=True)
    applies(diff("classes/pi.yaml", before, after), "classes/pi.yaml", before, after, repository / below)


@pytest.mark.parametrize(
    "file",
    ["my lab.yaml", "größe 🙂.yaml", "a\tb.yaml", "a\nb.yaml", '"a\\".yaml', "x 2020-01-01 00:00:00 +0000"],
)
def test_git_finds_the_file_by_any_name(repository: Path, file: str) -> None:
    applies(diff(file, "a\n", "b\n"), file, "a\n", "b\n", repository)


def test_what_is_the_same_has_no_diff() -> None:
    assert diff("x", "a", "a") == ""


lines = st.lists(
    st.text(st.sampled_from("ab-+@ \\\r\t\x0b\x0c\x1c\x85\u2028é🙂"), max_size=4), min_size=1, max_size=8
).map("\n".join)


@settings(max_examples=60)
@given(lines.filter(bool), lines.filter(bool))
def test_git_applies_the_diff_of_any_two_texts(repository: Path, before: str, after: str) -> None:
    assume(before != after)
    applies(diff("pi.yaml", before, after), "pi.yaml", before, after, repository)
