"""An answer of etcd is read, or refused, whatever it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.cluster.etcd_messages import members_in
from tests.support.protobuf import field, listed

texts = some.text(max_size=20)
urls = some.lists(texts, max_size=4)
said = some.tuples(some.integers(0, 2**64 - 1), texts, urls, urls, some.booleans())


def encoded(members: list[tuple[int, str, list[str], list[str], bool]]) -> bytes:
    """A MemberListResponse, with its header and a field that is not known here."""
    parts = [
        listed(
            field(2, name.encode()),
            *(field(3, url.encode()) for url in peers),
            *(field(4, url.encode()) for url in clients),
            field(5, int(is_learner)),
            field(9, b"of tomorrow"),
            id_=id_,
        )
        for id_, name, peers, clients, is_learner in members
    ]
    return field(1, field(1, 7)) + b"".join(parts)


@given(some.lists(said, max_size=5))
def test_what_etcd_writes_is_read(members: list[tuple[int, str, list[str], list[str], bool]]) -> None:
    found = members_in(encoded(members), 5)
    assert [
        (each.id, each.name, [*each.peer_urls], [*each.client_urls], each.is_learner) for each in found
    ] == members


@given(some.binary(max_size=200) | some.lists(said, max_size=3).map(encoded), some.integers(0, 200))
def test_any_bytes_are_members_or_none(answer: bytes, end: int) -> None:
    try:
        found = members_in(answer[:end], 3)
    except ValueError:
        return
    assert all(isinstance(each.id, int) and isinstance(each.name, str) for each in found)


def test_more_members_than_may_be_are_none() -> None:
    with pytest.raises(ValueError, match=r"^$"):
        members_in(listed() * 4, 3)
