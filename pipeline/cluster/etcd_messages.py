"""What etcd answers, read: of its api/etcdserverpb/rpc.proto the few fields that are needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from google.protobuf.message import Message


class Said(Protocol):
    """A member in an answer, with the values that proto3 gives to what is not said."""

    id: int
    name: str
    peer_urls: Sequence[str]
    client_urls: Sequence[str]
    is_learner: bool


class _List(Protocol):
    members: Sequence[Said]


def members_in(answer: bytes, most: int) -> Sequence[Said]:
    """The members in a MemberListResponse; raises ValueError for what is none, or has more."""
    from google.protobuf.message import DecodeError

    response = _response()()
    try:
        response.ParseFromString(answer)
    except DecodeError:
        raise ValueError from None
    found = cast("_List", response).members
    if len(found) > most:
        raise ValueError
    return found


@cache
def _response() -> type[Message]:
    """The class of MemberListResponse with what is needed of it, by names of our own."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    file = descriptor_pb2.FileDescriptorProto(name="members.proto", package="etcd", syntax="proto3")
    member = file.message_type.add(name="Member")
    for number, name, kind, label in (
        (1, "id", kinds.TYPE_UINT64, one),
        (2, "name", kinds.TYPE_STRING, one),
        (3, "peer_urls", kinds.TYPE_STRING, many),
        (4, "client_urls", kinds.TYPE_STRING, many),
        (5, "is_learner", kinds.TYPE_BOOL, one),
    ):
        member.field.add(number=number, name=name, type=kind, label=label)
    file.message_type.add(name="List").field.add(
        number=2, name="members", type=kinds.TYPE_MESSAGE, type_name=".etcd.Member", label=many
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("etcd.List"))
