"""Snapshots as values: what a sentinel writes is understood, what a stranger writes is refused in a line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import MetisError
from pipeline.facts.snapshot import LARGEST, from_data, parse
from tests.support.snapshots import NEWEST, packages, snapshot, written

NODE = "titan-13"
HERE = "HERE"
"""What a case replaces in the text of a snapshot that is otherwise good."""


def with_text(text: bytes) -> bytes:
    return written(snapshot(NODE, board=HERE)).replace(f'"{HERE}"'.encode(), text)


def refused(data: bytes) -> str:
    with pytest.raises(MetisError) as caught:
        parse(data)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 300
    return message


# ------------------------------------------------------------------------------------------- good ones


def test_a_snapshot_is_what_the_node_said() -> None:
    found = parse(written(snapshot(NODE)))
    assert (found.node, found.hostname, found.card_class) == (NODE, NODE, "rpi4-armbian-longhorn")
    assert found.at == NEWEST.replace(microsecond=0)
    assert found.versions == {
        "kernel": "6.12.58-current-bcm2711",
        "k3s": "v1.34.2+k3s1",
        "containerd": "2.1.5-k3s1",
        "runc": "1.3.3",
    }
    assert found.packages == packages()
    assert [mount.path for mount in found.mounts or ()][:2] == ["/", "/boot/firmware"]
    assert found.files is not None
    assert found.files["/etc/hostname"].mode == "0644"
    assert found.uptime == 432_000


def test_what_was_not_said_is_none_or_empty() -> None:
    least = {
        key: value
        for key, value in snapshot(NODE).items()
        if key in {"format", "id", "at", "sentinel", "node"}
    }
    found = from_data(least)
    assert (found.packages, found.mounts, found.addresses, found.files, found.uptime) == (None,) * 5
    assert (found.versions, found.board, found.memory, found.gaps) == ({}, "", 0, ())


def test_nothing_and_not_known_are_told_apart() -> None:
    found = from_data(snapshot(NODE, packages={}, mounts=[], files={}, addresses=[]))
    assert (found.packages, found.mounts, found.files, found.addresses) == ({}, (), {}, ())


@pytest.mark.parametrize("whole", [False, True])
def test_all_that_was_said_is_kept_where_it_is_asked_for(whole: bool) -> None:
    value = snapshot(NODE)
    assert parse(written(value), whole=whole).raw == (value if whole else {})


def test_nodes_that_say_the_same_share_it() -> None:
    first, second = (parse(written(snapshot(node))).packages for node in ("titan-13", "titan-14"))
    assert first is not None
    assert second is not None
    assert all(first[name] is second[name] for name in first)


def test_a_byte_order_mark_is_no_harm() -> None:
    assert parse(b"\xef\xbb\xbf" + written(snapshot(NODE))).node == NODE


@pytest.mark.parametrize("text", [b'"\\ud83d\\ude00"', '"\U0001f600"'.encode()], ids=["escaped", "as it is"])
def test_a_character_of_two_halves_is_one(text: bytes) -> None:
    assert parse(with_text(text)).board == "\U0001f600"


def test_whole_numbers_with_a_point_are_whole_numbers() -> None:
    found = from_data(snapshot(NODE, memory=8e9, boot={"id": "", "uptime": 3.0}))
    assert [(type(each), each) for each in (found.memory, found.uptime)] == [(int, 8_000_000_000), (int, 3)]


def test_texts_may_hold_anything() -> None:
    hostile = "\0\x1b]0;x\x07<script>alert(1)</script>\u202e"
    assert parse(written(snapshot(NODE, board=hostile))).board == hostile


# ---------------------------------------------------------------------------------------- hostile ones


NO_JSON = {
    "nothing": b"",
    "NUL bytes": b"\0" * 4096,
    "half of one": written(snapshot(NODE))[:-1000],
    "one byte less": written(snapshot(NODE))[:-1],
    "something behind it": written(snapshot(NODE)) + b"{}",
    "not UTF-8": with_text(b'"\xff\xfe"'),
    "UTF-16": json.dumps(snapshot(NODE)).encode("utf-16"),
    "half of a pair": with_text(b'"\\ud800"'),
    "half of a pair in upper case": with_text(b'"\\uDFFF"'),
    "the wrong half first": with_text(b'"\\ude00\\ud83d"'),
    "half of a pair as bytes": with_text(b'"\xed\xa0\x80"'),
    "half of a pair as a key": with_text(b'{"\\ud800": 1}'),
    "a raw control character": with_text(b'"\n"'),
    "a number without end": with_text(b"9" * 5000),
    "brackets without end": b"[" * 400_000,
    "maps without end": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("data", NO_JSON.values(), ids=NO_JSON.keys())
def test_what_is_no_json_is_refused(data: bytes) -> None:
    assert refused(data) == "is no JSON, or not all of it"


@pytest.mark.parametrize(
    "text",
    [
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"1" * 400,
        b"-1",
        b"1.5",
        b"true",
        b'"1"',
        b"null",
        b"[]",
        b"{}",
    ],
)
def test_what_is_no_size_is_refused(text: bytes) -> None:
    data = written(snapshot(NODE, memory=HERE)).replace(f'"{HERE}"'.encode(), text)
    assert refused(data) == "is no snapshot: ['memory'] is not what the schema says"


@pytest.mark.parametrize("depth", [200, 900], ids=str)
def test_what_is_deep_is_refused(depth: int) -> None:
    assert "is no snapshot" in refused(with_text(b'{"a":' * depth + b"1" + b"}" * depth))


@pytest.mark.parametrize(
    "value",
    [None, [], [snapshot(NODE)], "text", 1, True, {}, {"format": 1}],
    ids=lambda value: str(value)[:12],
)
def test_what_is_no_map_of_facts_is_refused(value: object) -> None:
    assert refused(json.dumps(value).encode()).startswith("is no snapshot")


@pytest.mark.parametrize("found", [True, False, 0, -1, 1.5, 2.0, "2", "1", None, [2], {"2": 2}], ids=repr)
def test_what_is_no_format_is_refused_and_blames_no_version(found: object) -> None:
    assert refused(written({**snapshot(NODE), "format": found})).startswith("is no snapshot")


@pytest.mark.parametrize(
    ("found", "named"),
    [(2, "2"), (10**30, "1" + "0" * 19), (10**4000, "1" + "0" * 19)],
    ids=["next", "far", "farthest"],
)
def test_a_newer_format_asks_for_a_newer_metis(found: int, named: str) -> None:
    value = {"format": found, "whatever": "it holds"}
    assert (
        refused(json.dumps(value).encode()) == f"is of format {named}, and this Metis reads 1: upgrade Metis"
    )


WRONG = {
    "a name with a path": {"node": "../titan-13"},
    "a name with a line end": {"node": "titan-13\n"},
    "a name with markup": {"node": "<b>"},
    "a long name": {"node": "a" * 64},
    "no name": {"node": ""},
    "an id in upper case": {"id": "A" * 32},
    "a time with an offset": {"at": "2026-11-29T02:20:00+00:00"},
    "a time in digits of another script": {"at": "२०२६-11-29T02:20:00Z"},
    "a month that is none": {"at": "2026-13-01T00:00:00Z"},
    "the year zero": {"at": "0000-01-01T00:00:00Z"},
    "a second that is none": {"at": "2026-11-29T02:20:61Z"},
    "a fact that nobody knows": {"x" * 100_000: 1},
    "a package without a version": {"packages": {"\x1b[2J" * 100: None}},
    "too many packages": {"packages": {str(number): "" for number in range(20_001)}},
    "a mount at a relative path": {"mounts": [{"path": "mnt", "source": "", "type": "", "read_only": False}]},
    "a state that is none": {"files": {"/etc/hostname": {"state": "\x1b[2J"}}},
    "a long text": {"kernel": "6" * 257},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
def test_what_the_schema_does_not_say_is_refused(changes: dict[str, object]) -> None:
    assert refused(written({**snapshot(NODE), **changes})).startswith("is no snapshot")


def test_of_a_key_that_stands_twice_the_last_one_is_checked() -> None:
    data = written(snapshot(NODE)).replace(b'"node":"titan-13"', b'"node":"titan-13","node":"../x"')
    assert refused(data).startswith("is no snapshot: ['node']")


def test_what_is_too_large_is_not_parsed() -> None:
    assert refused(b"[" * (LARGEST + 1)) == "is larger than 4 MiB"


@pytest.mark.parametrize("value", [b"[]", b"{}", b"0", b'{"":0}'])
def test_more_values_than_a_snapshot_has_are_not_even_read(value: bytes) -> None:
    many = b",".join([value] * 400_001)
    assert refused(b"[" + many + b"]") == "is no snapshot: it has too many values"


def test_as_many_values_as_the_schema_allows_are_read() -> None:
    """More than half a million bytes of them: what a machine could have at most."""
    packages = {f"{number}": "1:2.3" for number in range(20_000)}
    files = {f"/{number}": {"state": "missing"} for number in range(10_000)}
    found = parse(written(snapshot(NODE, packages=packages, files=files)))
    assert len(found.packages or ()) == 20_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
GOOD = snapshot(NODE, packages={"bind": "1"}, files={"/etc/hostname": {"state": "missing"}})


def printed(data: bytes) -> str:
    """What there is to print of some bytes: a line of what is wrong with them, or the facts."""
    try:
        return repr(parse(data))
    except MetisError as error:
        return str(error)


@given(st.binary(max_size=200) | st.binary(max_size=40).map(lambda more: written(GOOD)[:-20] + more))
def test_any_bytes_are_a_snapshot_or_a_line(data: bytes) -> None:
    assert printed(data).isprintable()


@given(st.sampled_from(sorted(GOOD)), json_values)
def test_any_value_in_any_place_is_a_snapshot_or_a_line(key: str, value: object) -> None:
    assert printed(json.dumps({**GOOD, key: value}).encode()).isprintable()
