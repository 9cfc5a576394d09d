"""How etcd is asked for its members: over gRPC, with the certificates of a client.

k3s starts etcd from a file, and an etcd that is started so has no gateway for JSON (etcd-io/etcd#12093).
The methods and fields are a few of those in etcd's api/etcdserverpb/rpc.proto; texts of errors are in its
api/v3rpc/rpctypes/error.go.
"""

from __future__ import annotations

import os
import ssl
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ..errors import SourceError, reason_of
from ..wording import shown

if TYPE_CHECKING:
    from grpc import Channel, ChannelCredentials, RpcError

SECONDS = 3.0
"""That each question may take."""
MAX_BYTES = 1 << 16
"""Of an answer, and of a file with certificates or a key."""
OF_K3S = "/var/lib/rancher/k3s/server/tls/etcd/"
"""There a server of k3s has server-ca.crt, client.crt and client.key."""

_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", MAX_BYTES),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
)
_READ = b"\x0a\x06health"
"""A RangeRequest for the key `health`, by which `etcdctl endpoint health` knows whether a cluster agrees."""
_NEEDS_LEADER = (("hasleader", "true"),)
"""Has an etcd that knows no leader say so at once, not after a wait (rpctypes.MetadataRequireLeaderKey)."""
_DISAGREE = ("etcdserver: no leader", "etcdserver: request timed out", "etcdserver: leader changed")
_LATE = "context deadline exceeded"
"""An etcd that was told our deadline says so where its own clock comes first, under a code of its choice."""
_SEE = "see that etcd runs there, and that port 2379 is open to us"
_OWN = (
    "ETCDCTL_CERT and ETCDCTL_KEY must be of a client that etcd's own authority has signed, and not expired"
)
_AUTHORITY = "ETCDCTL_CACERT must be the authority of etcd's servers; check the address and the clock too"
_REASONS = (
    ("CERTIFICATE_VERIFY_FAILED", "has a certificate that cannot be verified", _AUTHORITY),
    ("Hostname Verification", "has a certificate for other addresses", _AUTHORITY),
    ("Unwrap failed", "refuses our certificate", _OWN),
    ("Connection reset", "cut the connection, as if it refused our certificate", _OWN),
    ("Socket closed", "cut the connection, as if it refused our certificate", _OWN),
    ("selected ALPN", "speaks no gRPC, so it is no etcd", "check the endpoint"),
    ("Tls handshake failed", "does not speak TLS as etcd does", _SEE),
    ("Connection refused", "cannot be reached: nothing answers there", _SEE),
    ("errors resolving", "cannot be reached: its name cannot be resolved", "check its name"),
    ("larger than max", "answers with more than etcd would", "check the endpoint"),
)
"""What gRPC's own words mean: the first that is in them counts."""


class NoQuorumError(SourceError):
    """A member of etcd answers, and the cluster does not: there is no leader, or no agreement in time."""


def client(ca: Path, cert: Path, key: Path) -> ChannelCredentials:
    """What to ask with. Raises SourceError for files that are not there, or not what they must be."""
    pems = [_read(file) for file in (ca, key, cert)]
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(ca)
    except OSError:  # also ssl.SSLError
        raise SourceError(f"{ca} is no file of certificates", "ETCDCTL_CACERT names one in PEM") from None
    try:
        context.load_cert_chain(cert, key, password=lambda: b"")  # else it asks for one on the terminal
    except (OSError, ValueError):
        hint = f"ETCDCTL_CERT and ETCDCTL_KEY name both in PEM, the key without a password; see {OF_K3S}"
        raise SourceError(f"{cert} and {key} are no certificate and its key", hint) from None
    return _grpc().ssl_channel_credentials(*pems)


def _read(file: Path) -> bytes:
    try:
        if not file.is_file():
            what = "is no file" if file.exists() else "is not there"
            raise SourceError(f"{file} {what}", f"a server of k3s has such files in {OF_K3S}")
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "run as a user who may read it"
        raise SourceError(f"{file} cannot be read: {reason_of(error)}", hint) from None
    if len(content) > MAX_BYTES:
        raise SourceError(f"{file} is too large for certificates", f"see {OF_K3S}")
    return content


def ask(target: str, client: ChannelCredentials, seconds: float) -> bytes:
    """The MemberListResponse of one endpoint, given as host:port; `seconds` are for each of its questions.

    First it is asked of itself, so that one that cannot be reached is told from a cluster that does not
    agree; then it must read a key through the cluster, which takes a quorum; then its list holds all that
    was agreed on before. `linearizable` in MemberListRequest would do the same from etcd 3.5 on: older ones
    pass over it and list their members without any quorum.

    Raises NoQuorumError, and SourceError for all else that goes wrong.
    """
    with _grpc().secure_channel(f"dns:///{target}", client, _OPTIONS) as channel:
        _call(channel, target, "Maintenance/Status", seconds)
        _call(channel, target, "KV/Range", seconds, _READ)
        return _call(channel, target, "Cluster/MemberList", seconds)


def _call(channel: Channel, target: str, method: str, seconds: float, request: bytes = b"") -> bytes:
    is_read = bool(request)
    try:
        # Bytes come as they are: what gRPC cannot decode it would log.
        answer: bytes = channel.unary_unary(f"/etcdserverpb.{method}")(
            request, timeout=seconds, metadata=_NEEDS_LEADER if is_read else None
        )
    except _grpc().RpcError as error:
        raise _explained(target, error, is_read=is_read) from None
    return answer


def _explained(target: str, error: RpcError, *, is_read: bool) -> SourceError:
    """What went wrong, in our own words; those of a stranger are cut short."""
    where, said = f"etcd at {target}", error.details() or ""
    is_late = said == _LATE or error.code() is _grpc().StatusCode.DEADLINE_EXCEEDED
    if said.startswith(_DISAGREE) or (is_late and is_read):
        hint = "see that more than half of its members run, wait a minute, and run again"
        return NoQuorumError(f"{where} has no quorum of its members", hint)
    if is_late:
        return SourceError(f"{where} did not answer in time", _SEE)
    for word, meaning, hint in _REASONS:
        if word in said:
            return SourceError(f"{where} {meaning}", hint)
    return SourceError(f"{where} failed: {shown(said.rpartition('last error: ')[2])}", _SEE)


@cache
def _grpc() -> ModuleType:
    """The library, which says nothing on stderr by itself unless the environment asks it to."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc

    library: ModuleType = grpc
    return library
