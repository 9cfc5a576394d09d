"""What differs between two builds, told from what was kept of them; and how that is shown to people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.history.difference import (
    LONGEST_LINE,
    LONGEST_TEXT,
    MOST_LINES,
    MOST_TEXTS,
    Change,
    Difference,
    Made,
    Other,
    difference,
)
from pipeline.history.records import Build
from pipeline.history.show import NOT_KEPT, difference_text, events_text
from pipeline.model import (
    Blob,
    Directory,
    Edit,
    Entry,
    File,
    ImageFact,
    Needs,
    Placed,
    Remove,
    Reserved,
    SecretRef,
    Symlink,
    Text,
)
from tests.support.history import BASE_FROM, BUILD, SECRETS, event, manifest

EMPTY = manifest()
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n"


def between(before: Sequence[Entry], after: Sequence[Entry]) -> tuple[Change, ...]:
    """What differs in two images of these entries."""
    found = difference(Made(BUILD, EMPTY, manifest(*before)), Made(BUILD, EMPTY, manifest(*after)))
    assert found.base == ()
    assert found.image is not None
    return found.image


def text(content: str, **about: Any) -> File:
    return File("/etc/motd", (Text(content),), **about)


# ------------------------------------------------------------------------------------------- entries

MOTD = text("hello\n")
SETTINGS = Edit("/etc/fstab", "mounts", (("line", "tmpfs /tmp"), ("root", ImageFact("root_uuid"))))
TOKEN = (Text("token: "), SecretRef("k3s_token"), Text("\n"))

SINGLE: dict[str, tuple[Entry, Entry, tuple[Other, ...], tuple[str, ...]]] = {
    "mode": (MOTD, replace(MOTD, mode=0o600), (Other("mode", "0644", "0600"),), ()),
    "owner and group": (
        MOTD,
        replace(MOTD, owner="atlas", group="adm"),
        (Other("owner", "root", "atlas"), Other("group", "root", "adm")),
        (),
    ),
    "a text": (MOTD, text("hello\nworld\n"), (), ("@@ -1 +1,2 @@", " hello", "+world")),
    "a text and its mode": (
        MOTD,
        text("bye\n", mode=0o640),
        (Other("mode", "0644", "0640"),),
        ("@@ -1 +1 @@", "-hello", "+bye"),
    ),
    "the end of a line": (MOTD, text("hello\r\n"), (), ("only ends of lines differ",)),
    "a text with control characters": (
        MOTD,
        text("hello\n\x1b[2J\ta\n"),
        (),
        ("@@ -1 +1,2 @@", " hello", "+\\x1b[2J   a"),
    ),
    "a file of the inventory": (
        File("/etc/motd", (Blob("a" * 64, "overlays/pi/root/etc/motd"),)),
        File("/etc/motd", (Blob("b" * 64, "overlays/pi/root/etc/motd"),)),
        (),
        ("@@ -1 +1 @@", "-<a file, sha256 aaaaaaaaaaaa>", "+<a file, sha256 bbbbbbbbbbbb>"),
    ),
    "what a secret is used for": (
        File("/etc/motd", TOKEN),
        File("/etc/motd", (Text("token: "), SecretRef("k3s_token", "agent"), Text("\n"))),
        (),
        ("@@ -1 +1 @@", "-token: <the secret k3s_token>", "+token: <the secret k3s_token as agent>"),
    ),
    "what is written on the card": (
        File("/etc/motd", (Reserved(100),)),
        File("/etc/motd", (Reserved(200),)),
        (),
        ("@@ -1 +1 @@", "-<100 bytes, written on the card>", "+<200 bytes, written on the card>"),
    ),
    "a private key": (MOTD, text(KEY), (), ("another private key",)),
    "immutable": (
        Directory("/srv"),
        Directory("/srv", immutable=True),
        (Other("immutable", "False", "True"),),
        (),
    ),
    "target": (Symlink("/etc/a", "b"), Symlink("/etc/a", "c"), (Other("target", "b", "c"),), ()),
    "kind": (MOTD, Symlink("/etc/motd", "/run/motd"), (Other("kind", "file", "symlink"),), ()),
    "an argument": (
        SETTINGS,
        replace(SETTINGS, arguments=(("line", "tmpfs /run"), ("more", SecretRef("extra.wifi_psk")))),
        (
            Other("line", '"tmpfs /tmp"', '"tmpfs /run"'),
            Other("more", "nothing", "<the secret extra.wifi_psk>"),
            Other("root", "<root_uuid of the image>", "nothing"),
        ),
        (),
    ),
    "an argument that is a private key": (
        SETTINGS,
        replace(SETTINGS, arguments=(("line", KEY), ("root", ImageFact("root_uuid")))),
        (Other("line", '"tmpfs /tmp"', "a private key"),),
        (),
    ),
    "an edit": (SETTINGS, replace(SETTINGS, edit="cmdline"), (Other("edit", "mounts", "cmdline"),), ()),
    "package": (
        Needs("/sbin/ip", "iproute2"),
        Needs("/sbin/ip", "ip"),
        (Other("package", "iproute2", "ip"),),
        (),
    ),
}


@pytest.mark.parametrize(("before", "after", "others", "lines"), SINGLE.values(), ids=SINGLE.keys())
def test_what_is_otherwise_of_an_entry(
    before: Entry, after: Entry, others: tuple[Other, ...], lines: tuple[str, ...]
) -> None:
    (change,) = between([before], [after])
    assert (change.what, change.path, change.on, change.layer) == ("changed", after.path, "root", "network")
    assert (change.others, change.lines) == (others, lines)


SAME: dict[str, tuple[Entry, Entry]] = {
    "pieces of the same text": (text("ab"), File("/etc/motd", (Text("a"), Text("b")))),
    "a blob that lies elsewhere": (
        File("/etc/motd", (Blob("a" * 64, "overlays/pi/etc/motd"),)),
        File("/etc/motd", (Blob("a" * 64, "overlays/all/etc/motd"),)),
    ),
}


@pytest.mark.parametrize(("before", "after"), SAME.values(), ids=SAME.keys())
def test_what_lands_on_the_card_alike_is_the_same(before: Entry, after: Entry) -> None:
    assert between([before], [after]) == ()


def test_what_came_and_went_is_named_in_the_order_of_paths() -> None:
    here, there = Remove("/etc/b"), File("/boot.txt", (Text("x"),), side="boot")
    found = between([here, MOTD], [MOTD, there, Needs("/etc/b", "b")])
    assert [(each.what, each.kind, each.on, each.path) for each in found] == [
        ("added", "file", "boot", "/boot.txt"),
        ("removed", "remove", "root", "/etc/b"),
        ("added", "needs", "root", "/etc/b"),
    ]


# ------------------------------------------------------------------------------------------ its bounds


def numbered(count: int, more: str = "") -> str:
    return "".join(f"{number}{more}\n" for number in range(count))


def test_of_a_long_difference_the_first_lines_are_told() -> None:
    (change,) = between([text(numbered(LONGEST_TEXT, "a"))], [text(numbered(LONGEST_TEXT, "b"))])
    assert len(change.lines) == MOST_LINES + 1
    assert change.lines[-1] == "and more"


def test_a_long_text_is_not_looked_through() -> None:
    (change,) = between([text("a\n")], [text(numbered(LONGEST_TEXT + 1))])
    assert change.lines == (f"1 lines, now {LONGEST_TEXT + 1}: too much to look through",)


def test_a_long_line_is_cut() -> None:
    (change,) = between([text("a")], [text("x" * 10_000)])
    assert {len(line) for line in change.lines} == {len("@@ -1 +1 @@"), 2, LONGEST_LINE}


def test_of_many_texts_the_first_are_looked_through() -> None:
    names = [f"/etc/{number:03}" for number in range(MOST_TEXTS + 2)]
    before, after = ([File(name, (Text(word),)) for name in names] for word in ("a", "b"))
    found = between(before, after)
    assert [each.lines[-1] for each in found[:MOST_TEXTS]] == ["+b"] * MOST_TEXTS
    assert {each.lines[-1] for each in found[MOST_TEXTS:]} == {"1 lines, now 1: too much to look through"}


texts = st.text(st.characters(codec="utf-8"), max_size=30)


@given(texts, texts)
@settings(max_examples=200)
def test_texts_differ_just_when_they_are_not_the_same(before: str, after: str) -> None:
    found = between([text(before)], [text(after)])
    assert bool(found) == (before != after)
    for line in (line for each in found for line in each.lines):
        assert line.isprintable()


# --------------------------------------------------------------------------------- what it was made of


def made_of(before: Build, after: Build) -> tuple[Other, ...]:
    return difference(Made(before, EMPTY, EMPTY), Made(after, EMPTY, EMPTY)).made_of


PARTS: dict[str, tuple[dict[str, Any], tuple[Other, ...]]] = {
    "nothing": ({}, ()),
    "the golden": (
        {"base_from": {**BASE_FROM, "golden": "9" * 64}},
        (Other("golden", "c" * 12, "9" * 12),),
    ),
    "room": ({"base_from": {**BASE_FROM, "headroom": 9}}, (Other("headroom", "4194304", "9"),)),
    "labels": ({"base_from": {**BASE_FROM, "labels": {}}}, (Other("labels", "root rootfs", "nothing"),)),
    "the manifest of the base, which has a part of its own": (
        {"base_from": {**BASE_FROM, "manifest": "9" * 64}},
        (),
    ),
    "Metis": ({"metis": "2.0.0"}, (Other("Metis", "1.2.3", "2.0.0"),)),
    "the class": ({"event": event(klass="pi5")}, (Other("class", "pi", "pi5"),)),
    "the node's secrets": (
        {"secrets": {**SECRETS, "node": "4"}},
        (Other("secrets of the node", "one version", "another version"),),
    ),
    "the source of secrets": (
        {"secrets": {"source": "sealed", "node": "3"}},
        (
            Other("secrets that nodes share", "one version", "none"),
            Other("source of secrets", "vault", "sealed"),
        ),
    ),
    "nobody knows, as it failed": ({"secrets": {}, "base_from": {}}, ()),
}


@pytest.mark.parametrize(("about", "others"), PARTS.values(), ids=PARTS.keys())
def test_what_is_otherwise_of_what_it_was_made_of(about: dict[str, Any], others: tuple[Other, ...]) -> None:
    assert made_of(BUILD, replace(BUILD, **about)) == others


# ---------------------------------------------------------------------------------------------- shown


def test_a_difference_is_data_for_json() -> None:
    found = Difference(BUILD, BUILD, (Other("a", "b", "c"),), None, between([MOTD], [text("x")]))
    data = json.loads(json.dumps(found.to_data()))
    assert data["before"] == data["after"] == BUILD.to_data()
    assert data["before"]["golden"] == BASE_FROM["golden"]
    assert (data["base"], data["image"][0]["lines"]) == (None, ["@@ -1 +1 @@", "-hello", "+x"])


def test_people_are_told_part_by_part() -> None:
    after = replace(BUILD, event=event(id=7, image="f" * 64), metis="2.0.0")
    before = replace(BUILD, event=event(id=3, verdict="failed", image=""))
    found = difference(
        Made(before, EMPTY, manifest(MOTD)), Made(after, None, manifest(text("x", mode=0o600)))
    )
    assert difference_text(found).splitlines() == [
        "from build 3 of titan-13, 2026-11-29T03:00:00Z: it failed",
        "to build 7 of titan-13, 2026-11-29T03:00:00Z: image ffffffffffff",
        "made of:",
        "  Metis: 1.2.3 -> 2.0.0",
        "in the base:",
        f"  {NOT_KEPT}",
        "in the image:",
        "  ~ file root /etc/motd (network)",
        "    mode: 0644 -> 0600",
        "    @@ -1 +1 @@",
        "    -hello",
        "    +x",
    ]


def test_the_same_image_is_called_so() -> None:
    found = difference(Made(BUILD, EMPTY, EMPTY), Made(BUILD, EMPTY, EMPTY))
    assert difference_text(found).splitlines()[-1] == "it is the same image"


def test_no_word_of_a_stranger_reaches_the_terminal_as_it_is() -> None:
    evil = "a\x1b[2J\x9b\nb"
    hostile = replace(
        BUILD, event=event(node=evil, klass=evil, at=evil), metis=evil, secrets={"source": evil}
    )
    placed = replace(EMPTY, entries=(Placed(Symlink(f"/{evil}", evil), evil),))
    other = replace(EMPTY, entries=(Placed(Symlink(f"/{evil}", "x"), evil),))
    shown = difference_text(difference(Made(hostile, EMPTY, placed), Made(BUILD, EMPTY, other)))
    shown += events_text([event(node=evil, why=evil, klass=evil, at=evil)])
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "\\x1b[2J" in shown


def test_events_are_a_line_each() -> None:
    found = [event(id=2, verdict="failed", seconds=0.25, size=0, why="no room"), event(id=1)]
    assert events_text(found).splitlines() == [
        "id  at                    node      what          took   size     why",
        "2   2026-11-29T03:00:00Z  titan-13  build failed  0.2 s  -        no room",
        "1   2026-11-29T03:00:00Z  titan-13  built         4.5 s  1.0 MiB  -",
    ]
