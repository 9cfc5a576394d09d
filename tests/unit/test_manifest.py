"""One manifest of many layers: what may meet on a path, what an image can hold, what the id stands for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.errors import InventoryError, MetisError
from pipeline.manifest import Contribution, collect, unusable
from pipeline.manifest_json import content_id, from_data, to_data
from pipeline.model import (
    Blob,
    Directory,
    Edit,
    Entry,
    File,
    Manifest,
    Placed,
    Remove,
    Reserved,
    Side,
    Symlink,
    Text,
)

MOTD = "/etc/motd"
calm = settings(max_examples=50)


def text(path: str, content: str = "", *, side: Side = "root", mode: int = 0o644) -> File:
    return File(path, (Text(content),), mode=mode, side=side)


def layer(name: str, *entries: Entry, replaces: Sequence[str] = (), in_base: bool = False) -> Contribution:
    return Contribution(name, entries, frozenset(replaces), f"{name}.yaml", in_base)


def problems(*layers: Contribution) -> list[str]:
    with pytest.raises(InventoryError) as caught:
        collect("titan-13", layers)
    return str(caught.value).splitlines()


def contents(manifest: Manifest) -> dict[str, str]:
    """By path: the layer whose entry is in the manifest."""
    return {item.entry.path: item.layer for item in manifest.entries}


# ------------------------------------------------------------------------------------------ collisions


def test_two_layers_on_one_path_are_refused_and_both_are_named() -> None:
    assert problems(layer("network", text(MOTD, "a")), layer("node", text(MOTD, "b"))) == [
        "node.yaml: /etc/motd: network and node both bring it: `replaces` says that the later one wins"
    ]


def test_the_same_content_is_a_collision_too_as_it_may_be_changed_in_one_place_only() -> None:
    assert len(problems(layer("parent", text(MOTD)), layer("class", text(MOTD)))) == 1


def test_a_later_layer_wins_where_it_says_that_it_replaces() -> None:
    manifest = collect(
        "titan-13", [layer("network", text(MOTD, "a")), layer("node", text(MOTD, "b"), replaces=[MOTD])]
    )
    assert [item.entry for item in manifest.entries] == [text(MOTD, "b")]
    assert contents(manifest) == {MOTD: "node"}


def test_an_earlier_layer_cannot_say_that_it_replaces_a_later_one() -> None:
    assert problems(layer("class", text(MOTD), replaces=[MOTD]), layer("node", text(MOTD)))


def test_a_third_layer_has_to_say_so_again() -> None:
    layers = (layer("a", text(MOTD)), layer("b", text(MOTD), replaces=[MOTD]), layer("c", text(MOTD)))
    assert problems(*layers) == [
        "c.yaml: /etc/motd: b and c both bring it: `replaces` says that the later one wins"
    ]


@pytest.mark.parametrize("replaces", [(), (MOTD,)], ids=["plain", "even with replaces"])
def test_a_layer_cannot_bring_a_path_twice(replaces: Sequence[str]) -> None:
    twice = layer("class", text(MOTD, "a"), text(MOTD, "b"), replaces=replaces)
    assert problems(twice) == ["class.yaml: /etc/motd: class brings it twice"]


@pytest.mark.parametrize(
    "other",
    [Symlink(MOTD, "x"), Remove(MOTD), Edit(MOTD, "hosts"), Directory(MOTD)],
    ids=lambda entry: type(entry).__name__,
)
def test_entries_of_any_kind_collide(other: Entry) -> None:
    assert problems(layer("network", other), layer("node", text(MOTD)))
    assert problems(layer("network", text(MOTD)), layer("node", other))


def test_one_directory_may_be_asked_for_by_many_in_the_same_way() -> None:
    shared = Directory("/etc/metis")
    assert contents(collect("titan-13", [layer("a", shared, shared), layer("b", shared)])) == {
        "/etc/metis": "b"
    }


def test_one_directory_with_two_modes_is_refused() -> None:
    assert problems(layer("a", Directory("/srv")), layer("b", Directory("/srv", mode=0o700)))


def test_the_same_path_on_both_sides_is_two_files() -> None:
    manifest = collect("titan-13", [layer("a", text("/f")), layer("b", text("/f", side="boot"))])
    assert [item.entry.side for item in manifest.entries] == ["boot", "root"]


def test_what_is_in_the_base_takes_part_but_is_not_put_in_again() -> None:
    base = layer("class", text(MOTD), text("/etc/issue"), in_base=True)
    assert problems(base, layer("node", text(MOTD)))
    manifest = collect("titan-13", [base, layer("node", text(MOTD), replaces=[MOTD])])
    assert contents(manifest) == {MOTD: "node"}


def test_a_class_overlay_that_replaces_a_rendered_entry_takes_it_out_of_the_nodes_manifest() -> None:
    hostname = "/etc/hostname"
    manifest = collect(
        "titan-13",
        [
            layer("identity", text(hostname, "titan-13\n"), Edit("/etc/hosts", "hosts")),
            layer("class", text(hostname, "fixed\n"), replaces=[hostname], in_base=True),
        ],
    )
    assert contents(manifest) == {"/etc/hosts": "identity"}


def test_every_problem_is_said_at_once() -> None:
    bad = layer("node", text("etc/a"), text("/b/../c"), text(MOTD))
    assert len(problems(layer("class", text(MOTD)), bad)) == 3


# --------------------------------------------------------------------------------- files beneath files


@pytest.mark.parametrize(
    ("above", "kind"),
    [(text("/srv/a"), "file"), (Symlink("/srv/a", "/b"), "symlink"), (Edit("/srv/a", "hosts"), "edit")],
    ids=["file", "symlink", "edit"],
)
def test_nothing_can_lie_beneath_a_file_or_a_link(above: Entry, kind: str) -> None:
    beneath = layer("node", text("/srv/a/b/c"))
    expected = [f"node.yaml: /srv/a/b/c: lies beneath /srv/a, which class makes a {kind}"]
    assert problems(layer("class", above), beneath) == expected
    assert problems(layer("class", above, in_base=True), beneath) == expected


def test_files_may_lie_beneath_directories_and_where_something_is_removed_first() -> None:
    collect("titan-13", [layer("a", Directory("/srv"), text("/srv/a"), Remove("/opt"), text("/opt/b"))])


def test_what_the_base_has_does_not_lie_beneath_what_the_node_removes() -> None:
    """It would be gone without a word."""
    of_class = layer("class", text("/srv/a/b"), in_base=True)
    expected = [
        "class.yaml: /srv/a/b: lies beneath /srv/a, which node removes: bring it from the node instead"
    ]
    assert problems(of_class, layer("node", Remove("/srv/a"))) == expected


def test_nothing_can_lie_where_a_mount_would_hide_it() -> None:
    mount = layer("storage", Directory("/srv/disk", mode=0, immutable=True))
    expected = [
        "class.yaml: /srv/disk/a: lies beneath /srv/disk, where storage mounts a disk that would hide it"
    ]
    assert problems(layer("class", text("/srv/disk/a"), in_base=True), mount) == expected
    assert problems(mount, layer("class", text("/srv/disk/a"))) == expected
    collect("titan-13", [mount, layer("k3s", Remove("/srv/disk/old"))])


def test_names_that_only_begin_alike_do_not_lie_beneath_each_other() -> None:
    collect("titan-13", [layer("a", text("/srv/a"), text("/srv/ab/c"))])


def test_on_fat_a_file_in_another_case_lies_above_too() -> None:
    lines = problems(layer("a", text("/Current", side="boot"), text("/current/x", side="boot")))
    assert lines == ["a.yaml: /current/x: lies beneath /Current, which a makes a file"]


# ------------------------------------------------------------------------------------------------- FAT


@pytest.mark.parametrize(("one", "other"), [("/config.txt", "/CONFIG.TXT"), ("/é", "/É"), ("/A/b", "/a/b")])
def test_names_that_differ_only_in_case_are_one_on_fat_and_two_on_the_root(one: str, other: str) -> None:
    assert problems(layer("a", text(one, side="boot")), layer("b", text(other, side="boot"))) == [
        f"b.yaml: {other}: differs only in case from {one} of a, and FAT cannot tell them apart"
    ]
    collect("titan-13", [layer("a", text(one)), layer("b", text(other))])


def test_replaces_cannot_give_a_name_on_fat_another_case() -> None:
    later = layer("b", text("/CONFIG.TXT", side="boot"), replaces=["/CONFIG.TXT", "/config.txt"])
    assert problems(layer("a", text("/config.txt", side="boot")), later)


@pytest.mark.parametrize("name", [*'<>:"|?*\\', "a.", "a ", "a:b"])
def test_names_that_fat_cannot_hold_are_for_the_root_only(name: str) -> None:
    assert unusable(text(f"/d/{name}", side="boot")) == "a name that FAT cannot hold"
    assert unusable(text(f"/{name}/f", side="boot")) == "a name that FAT cannot hold"
    assert unusable(text(f"/d/{name}")) == ""


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (Symlink("/a", "b", side="boot"), "FAT has no links"),
        (File("/a", (), owner="atlas", side="boot"), "FAT has no owners"),
        (File("/a", (), group="atlas", side="boot"), "FAT has no owners"),
        (Directory("/a", owner="atlas", side="boot"), "FAT has no owners"),
        (File("/a", (), mode=0o600, side="boot"), "everyone could read it"),
        (File("/a", (), mode=0o640, side="boot"), "everyone could read it"),
        (Directory("/a", mode=0o700, side="boot"), "everyone could read it"),
    ],
)
def test_what_fat_cannot_keep_is_refused_on_the_boot_partition(entry: Entry, reason: str) -> None:
    assert reason in unusable(entry)
    assert unusable(replace(entry, side="root")) == ""


# --------------------------------------------------------------------------------------- unusable paths


@pytest.mark.parametrize(
    "path",
    ["", "/", "//", "a", "./a", "../a", "/..", "/../a", "/a/../b", "/a/.", "/a/./b", "/a//b", "//a", "/a/"],
)
def test_only_plain_absolute_paths_can_be_used(path: str) -> None:
    assert unusable(text(path)).startswith("expected a plain absolute path")


@pytest.mark.parametrize("char", ["\n", "\0", "\x1b", "\x7f", "\x9b"])
def test_control_characters_are_refused_and_never_repeated(char: str) -> None:
    (line,) = problems(layer("node", text(f"/a{char}b")))
    assert line.endswith("control characters in a path")
    assert line.isprintable()


def test_a_name_has_255_bytes_at_most() -> None:
    assert unusable(text(f"/{'a' * 255}")) == ""
    assert unusable(text(f"/{'a' * 256}")) == "a name longer than 255 bytes"
    assert unusable(text(f"/{'é' * 128}/b")) == "a name longer than 255 bytes"


odd_paths = st.text(st.sampled_from("/.ab \x00é:"), max_size=12)


@calm
@given(odd_paths)
def test_a_path_that_can_be_used_names_one_place_below_the_top(path: str) -> None:
    if not unusable(text(path)):
        names = path.split("/")
        assert names.pop(0) == ""
        assert names
        assert not {"", ".", ".."} & set(names)
        assert "\0" not in path


# -------------------------------------------------------------------------------------------------- id

hashes = st.sampled_from("0123456789abcdef").map(lambda digit: digit * 64)
names = st.sampled_from(["a", "b", "ab", "A", "é", "a b", "a.b", ".a", "-", "a:b", "motd", "hostname"])
pieces = (
    st.builds(Text, st.text(max_size=9))
    | st.builds(Blob, hashes, st.just("overlays/x"))
    | st.builds(Reserved, st.integers(3, 9999))
)
owners = st.sampled_from(["root", "atlas"])
modes = st.integers(0, 0o7777)
words = st.dictionaries(names, names, max_size=3).map(lambda items: tuple(sorted(items.items())))


def entries_at(path: str) -> st.SearchStrategy[Entry]:
    content = st.lists(pieces, max_size=3).map(tuple)
    return st.one_of(
        st.builds(File, st.just(path), content, modes, owners, owners),
        st.builds(Directory, st.just(path), modes, owners, owners),
        st.builds(Symlink, st.just(path), names),
        st.builds(Remove, st.just(path)),
        st.builds(Edit, st.just(path), st.sampled_from(["hosts", "passwd"]), words),
    )


paths = st.lists(names, unique=True, max_size=5).map(lambda found: [f"/d/{name}" for name in found])
entry_lists = paths.flatmap(lambda found: st.tuples(*map(entries_at, found))).map(list)


@calm
@given(entry_lists, st.randoms(use_true_random=False))
def test_the_id_does_not_depend_on_order_or_layers(entries: list[Entry], random: Any) -> None:
    one = collect("titan-13", [layer("all", *entries)])
    random.shuffle(entries)
    cut = random.randint(0, len(entries))
    other = collect("titan-13", [layer("a", *entries[:cut]), layer("b", *entries[cut:])])
    assert one.id == other.id
    assert [item.entry for item in one.entries] == [item.entry for item in other.entries]


@calm
@given(entry_lists)
def test_the_id_does_not_depend_on_where_content_lies(entries: list[Entry]) -> None:
    def moved(entry: Entry) -> Entry:
        if not isinstance(entry, File):
            return entry
        content = tuple(
            Blob(piece.sha256, "cache:elsewhere") if isinstance(piece, Blob) else piece
            for piece in entry.content
        )
        return replace(entry, content=content)

    assert content_id(entries) == content_id(map(moved, entries))


@calm
@given(entry_lists, entry_lists)
def test_the_id_depends_on_everything_that_an_entry_does(one: list[Entry], other: list[Entry]) -> None:
    def essence(entries: list[Entry]) -> set[str]:
        return {str(entry).replace("cache:elsewhere", "overlays/x") for entry in entries}

    assume(essence(one) != essence(other))
    assert collect("a", [layer("a", *one)]).id != collect("a", [layer("a", *other)]).id


FILE = File("/f", (Text("a"), Blob("0" * 64, "x")), mode=0o600, owner="a", group="b", side="boot")
CHANGES: dict[str, tuple[Entry, Entry]] = {
    "path": (FILE, replace(FILE, path="/g")),
    "text": (FILE, replace(FILE, content=(Text("b"), FILE.content[1]))),
    "room": (replace(FILE, content=(Reserved(8),)), replace(FILE, content=(Reserved(9),))),
    "blob": (FILE, replace(FILE, content=(Text("a"), Blob("1" * 64, "x")))),
    "order of pieces": (FILE, replace(FILE, content=FILE.content[::-1])),
    "mode": (FILE, replace(FILE, mode=0o601)),
    "owner": (FILE, replace(FILE, owner="b")),
    "group": (FILE, replace(FILE, group="a")),
    "side": (FILE, replace(FILE, side="root")),
    "kind": (Directory("/f"), Remove("/f")),
    "target": (Symlink("/f", "a"), Symlink("/f", "b")),
    "edit": (Edit("/f", "hosts"), Edit("/f", "passwd")),
    "argument": (Edit("/f", "hosts", (("names", "a"),)), Edit("/f", "hosts", (("names", "b"),))),
}


@pytest.mark.parametrize(("old", "new"), CHANGES.values(), ids=CHANGES.keys())
def test_the_id_changes_with_each_part_of_an_entry(old: Entry, new: Entry) -> None:
    assert content_id([old]) != content_id([new])


def test_the_id_is_the_same_in_every_version_of_the_same_format() -> None:
    """Who changes the canonical form on purpose raises FORMAT, and this hash with it."""
    entries = (FILE, Directory("/d"), Symlink("/l", "t"), Remove("/r"), Edit("/e", "hosts", (("n", "é"),)))
    assert content_id(entries) == "2879bf79496b346138b6e7dd5724ff393b8f8e0abc04f7f54928274b98df68b2"


# ----------------------------------------------------------------------------------------------- JSON


@calm
@given(entry_lists)
def test_a_manifest_comes_back_from_json_as_it_was(entries: list[Entry]) -> None:
    manifest = collect("titan-13", [layer("a", *entries)])
    assert from_data(json.loads(json.dumps(to_data(manifest)))) == manifest


def test_a_mode_is_written_in_octal_for_people() -> None:
    manifest = collect("a", [layer("l", text(MOTD, mode=0o640))])
    assert to_data(manifest)["entries"][0]["mode"] == "0640"


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.pop(key)


def put(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.update({key: value})


def in_entry(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["entries"][0].update({key: value})


TAMPERED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a path": (in_entry("path", "/etc/shadow"), "changed by hand"),
    "a mode": (in_entry("mode", "4755"), "changed by hand"),
    "an owner": (in_entry("owner", "atlas"), "changed by hand"),
    "a kind": (in_entry("content", [{"text": "evil"}]), "changed by hand"),
    "an id": (put("id", "0" * 64), "changed by hand"),
    "an entry less": (lambda data: data["entries"].clear(), "changed by hand"),
    "entries in another order": (lambda data: data["entries"].reverse(), "changed by hand"),
    "another format": (put("format", 3), "format 3, not 2"),
    "no format": (drop("format"), "none"),
    "no id": (drop("id"), "none"),
    "no subject": (drop("subject"), "none"),
    "no entries": (drop("entries"), "none"),
    "entries that are no list": (put("entries", 5), "none"),
    "an entry that is no map": (put("entries", ["x"]), "none"),
    "an unknown kind": (in_entry("kind", "device"), "none"),
    "an unknown field": (in_entry("major", 8), "none"),
    "a mode that is no number": (in_entry("mode", "rwx"), "none"),
    "a piece of an unknown size": (in_entry("content", [{"reserved": "much"}]), "none"),
    "a piece of more": (in_entry("content", [{"reserved": 5}]), "changed by hand"),
    "a piece without content": (in_entry("content", [{}]), "none"),
}


@pytest.mark.parametrize(("tamper", "reason"), TAMPERED.values(), ids=TAMPERED.keys())
def test_a_tampered_manifest_is_refused_in_one_line(
    tamper: Callable[[dict[str, Any]], None], reason: str
) -> None:
    data = to_data(Manifest("titan-13", *sealed(FILE, text("/h"))))
    from_data(data)
    tamper(data)
    with pytest.raises(MetisError, match=reason):
        from_data(data)


def sealed(*entries: Entry) -> tuple[tuple[Placed, ...], str]:
    return tuple(Placed(entry, "layer") for entry in entries), content_id(entries)


def test_what_is_no_map_at_all_is_refused() -> None:
    with pytest.raises(MetisError, match="none"):
        from_data([])  # type: ignore[arg-type]
