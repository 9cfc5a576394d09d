"""The members of a cluster's etcd, as etcd itself says.

How it is asked is in `etcd_rpc`; here is where, and what of the answers is believed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from ..errors import SourceError, UsageError, one_line
from ..wording import few, shown
from . import etcd_messages, etcd_rpc
from .addresses import Address, parsed
from .evidence import Member

PORT = 2379
MOST_ENDPOINTS = 16
"""So many are asked, one after the other; etcd's own advice is seven members at most."""
MOST_MEMBERS = 100
LONGEST_NAME = 300
"""Characters: a node's name has at most 253, and k3s puts nine behind it."""
_VARIABLES = ("ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY")
_STRANGE = "gave an answer that is none of etcd's"
_HINT = f"give one such as https://192.0.2.11:{PORT}"


@dataclass(frozen=True, slots=True)
class Access:
    """What etcd and who asks it know each other by: files in PEM. `endpoints` may be empty."""

    ca: Path
    cert: Path
    key: Path
    endpoints: tuple[str, ...] = ()


def access(environment: Mapping[str, str], folder: Path) -> Access | None:
    """How etcd is reached, by the variables of etcdctl(1); None where no certificates are named.

    Relative paths count from `folder`. Raises UsageError where some of them are missing, and for what is no
    endpoint.
    """
    named = [environment.get(variable, "") for variable in _VARIABLES]
    if not any(named):
        return None
    if missing := [variable for variable, file in zip(_VARIABLES, named, strict=True) if not file]:
        hint = f"a server of k3s has the files in {etcd_rpc.OF_K3S}"
        raise UsageError(f"{' and '.join(missing)} missing beside what else is said of etcd", hint)
    endpoints = tuple(filter(None, map(str.strip, environment.get("ETCDCTL_ENDPOINTS", "").split(","))))
    for endpoint in endpoints:
        if not _target(endpoint):
            raise UsageError(f"ETCDCTL_ENDPOINTS has {shown(endpoint)}, which is no endpoint with TLS", _HINT)
    ca, cert, key = (folder / file for file in named)
    return Access(ca, cert, key, endpoints)


def members(
    endpoints: Sequence[str], access: Access, seconds: float = etcd_rpc.SECONDS
) -> tuple[Member, ...]:
    """All members of the cluster, by name; the first endpoint that can answers.

    An endpoint is an address or a name, with or without https:// and a port. An answer proves that the
    cluster has its quorum, and is not older than the question (`etcd_rpc.ask`). `seconds` are for each of
    the three questions that an endpoint is asked.

    Raises NoQuorumError where one answered but the cluster could not, else SourceError: for files that
    cannot be used, who cannot be reached, certificates that either side refuses, and strange answers.
    """
    client = etcd_rpc.client(access.ca, access.cert, access.key)
    failed: list[SourceError] = []
    for endpoint in list(dict.fromkeys(endpoints))[:MOST_ENDPOINTS]:
        try:
            target = _target(endpoint)
            if not target:
                raise SourceError(f"{shown(endpoint)} is no endpoint of etcd with TLS", _HINT)
            return _members(target, etcd_rpc.ask(target, client, seconds))
        except SourceError as error:
            failed.append(error)
    if not failed:
        raise SourceError("no endpoint of etcd is known", "name some in ETCDCTL_ENDPOINTS")
    failed.sort(key=lambda error: not isinstance(error, etcd_rpc.NoQuorumError))
    raise type(failed[0])(few([error.message for error in failed]), failed[0].hint)


# ------------------------------------------------------------------------------------------ endpoints


def _target(endpoint: str) -> str:
    """The host and port of an endpoint as gRPC has them; empty for what is none, or none with TLS."""
    bare = parsed(endpoint)
    try:
        parts = urlsplit(f"https://{_host(bare)}" if bare else _with_scheme(endpoint))
        host, port = parts.hostname or "", PORT if parts.port is None else parts.port
    except ValueError:
        return ""
    if not _is_plain(parts) or not port:
        return ""
    if address := parsed(host):
        return f"{_host(address)}:{port}"
    is_name = host.isascii() and host.replace("-", "").replace(".", "").isalnum()
    return f"{host}:{port}" if is_name else ""


def _host(address: Address) -> str:
    """An address as URLs have it."""
    return str(address) if isinstance(address, IPv4Address) else f"[{address}]"


def _with_scheme(endpoint: str) -> str:
    return endpoint if "://" in endpoint else f"https://{endpoint}"


def _is_plain(parts: SplitResult) -> bool:
    """Whether a URL says no more than a host and its port."""
    more = parts.query or parts.fragment or "@" in parts.netloc
    return parts.scheme == "https" and parts.path in {"", "/"} and not more


# -------------------------------------------------------------------------------------------- answers


def _members(target: str, answer: bytes) -> tuple[Member, ...]:
    try:
        found = [_member(each) for each in etcd_messages.members_in(answer, MOST_MEMBERS)]
    except ValueError:
        found = []
    # Whoever answers is a member, and no two have one id.
    if not found or len({member.id for member in found}) != len(found):
        raise SourceError(f"etcd at {target} {_STRANGE}", "check the endpoint")
    return tuple(sorted(found, key=lambda member: (member.name, member.id)))


def _member(said: etcd_messages.Said) -> Member:
    """One member as it is said; raises ValueError for what k3s would name none."""
    if len(said.name) > LONGEST_NAME:
        raise ValueError
    addresses = sorted(set(_addresses([*said.peer_urls, *said.client_urls])))
    return Member(said.id, one_line(said.name), tuple(addresses), said.is_learner)


def _addresses(urls: Sequence[str]) -> Iterator[str]:
    for url in urls:
        try:
            address = parsed(urlsplit(url).hostname or "")
        except ValueError:
            continue
        if address:
            yield str(address)
