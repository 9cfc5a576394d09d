"""The record of a burn: always of one length, read again as written, and no stranger's text breaks it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import MetisError
from pipeline.raw import record

ABOUT: dict[str, str | int] = {
    "node": "titan-13",
    "image": "ab" * 32,
    "at": "2026-01-02T03:04:05Z",
    "bmap_sha256": "cd" * 32,
    "by": "1.0",
    "serial": "0x1a2b3c4d",
    "host": "titan-22",
}


def padded(text: str) -> bytes:
    return text.encode().ljust(record.SIZE - 1) + b"\n"


def test_a_record_is_json_of_the_length_of_the_blank_one() -> None:
    filled = record.fill(ABOUT)
    assert json.loads(filled) == {"format": 1, **ABOUT}
    assert len(filled) == len(record.blank()) == record.SIZE
    assert filled.endswith(b" \n")


def test_the_blank_one_is_json_and_says_nothing() -> None:
    assert json.loads(record.blank()) == {}
    assert record.parse(record.blank()) is None


@given(st.dictionaries(st.sampled_from(sorted(ABOUT)), st.text(max_size=60)))
def test_what_was_filled_in_comes_back(others: dict[str, str]) -> None:
    about = {**ABOUT, **others}
    assert record.parse(record.fill(about)) == {"format": 1, **about}


def test_the_longest_that_fits_fits_and_not_a_byte_more() -> None:
    room = record.SIZE - 1 - len(record.fill({**ABOUT, "host": ""}).strip())
    full = record.fill({**ABOUT, "host": "x" * room})
    assert (len(full), full[-2:]) == (record.SIZE, b"}\n")
    assert record.parse(full) is not None
    with pytest.raises(MetisError, match="4096 bytes, and there is room for 4095"):
        record.fill({**ABOUT, "host": "x" * (room + 1)})


GOOD = {"format": 1, **ABOUT}
STRANGE = {
    "nothing": b"",
    "zeros": bytes(record.SIZE),
    "not JSON": b"\xff" * record.SIZE,
    "short": json.dumps(GOOD).encode(),
    "long": record.fill(ABOUT) + b" ",
    "a list": padded("[1]"),
    "a number": padded("7"),
    "deep": (b"[" * record.SIZE),
    "deep in itself": padded('{"format": 1, "node": ' + "[" * 1900 + "]" * 1900 + "}"),
    "another format": padded(json.dumps({**GOOD, "format": 2})),
    "true for a format": padded(json.dumps({**GOOD, "format": True})),
    "a text for a format": padded(json.dumps({**GOOD, "format": "1"})),
    "no format": padded(json.dumps(ABOUT)),
    "no node": padded(json.dumps({key: value for key, value in GOOD.items() if key != "node"})),
    "a node that is a list": padded(json.dumps({**GOOD, "node": ["titan-13"]})),
    "a serial that is a number": padded(json.dumps({**GOOD, "serial": 7})),
    "more behind it": padded(json.dumps(GOOD) + " {}"),
    "a number without end": padded('{"format": ' + "1" * 4000 + "}"),
    "bytes that are no ASCII": padded(json.dumps(GOOD, ensure_ascii=False).replace("titan-22", "tïtan")),
}


@pytest.mark.parametrize("data", STRANGE.values(), ids=STRANGE.keys())
def test_what_is_no_record_says_nothing(data: bytes) -> None:
    assert record.parse(data) is None


@given(st.binary(max_size=64) | st.text('{}[]",:1eE+-.\\u0 \n', max_size=64).map(str.encode))
def test_nothing_makes_it_raise(data: bytes) -> None:
    assert record.parse(data.ljust(record.SIZE)) is None
