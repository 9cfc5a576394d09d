"""Who asks: read from the headers of a trusted proxy, or nobody. Pure.

What a header says is believed only from a trusted address, and as it is written: names are compared exactly,
groups are what stands between commas (oauth2-proxy joins them so, pkg/middleware/headers.go), quotes are
letters. So a group may have no comma in its name; whoever lets people name groups keeps them from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from ..machine.loopback import is_loopback
from .asked import Address, Asked, address
from .denial import Denial
from .options import Members, Options

Role = Literal["admin", "maintenance"]

LONGEST_NAME = 256
"""Characters of a user, an address or a group: RFC 5321 has none longer, and no directory that we know."""
LONGEST_SHOWN = 60
"""Characters of a name that people have given themselves."""
LONGEST_GROUPS = 8192
"""Characters of all groups together: as much as proxies let a header have."""
PROXIED = frozenset(
    "forwarded via x-real-ip x-client-ip true-client-ip x-cluster-client-ip remote-user".split()
)
PROXIED_BEGIN = ("x-forwarded-", "x-original-", "x-auth-request-")
"""What proxies add: where none is meant to be, a request with one of them came through one."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, and what they may do. `name` is what stays the same, `shown` what people call them."""

    name: str
    role: Role | None
    shown: str = ""

    @property
    def label(self) -> str:
        """What pages and the audit call them: also the name that stays, as the other may be anyone's."""
        shown = self.shown[:LONGEST_SHOWN]  # so that there is room for the other wherever it is kept
        return f"{shown} ({self.name})" if self.shown not in {"", self.name} else self.name

    def may(self, role: Role) -> bool:
        """Whether they may do what a role is needed for; an admin may do everything."""
        return self.role in {"admin", role}


LOCAL = Identity("local", "admin")
"""Everybody, where nobody signs in."""


def identify(request: Asked, options: Options) -> Identity:
    """Who signed in. Raises Denial: 403 for headers that are not to be believed, 401 for nobody."""
    said = _said(request, options)
    if not is_trusted(request.peer, options):
        if said:
            raise Denial(403, "only a trusted proxy says who asks", "ask by way of the proxy")
        raise Denial(401, "nobody has signed in", "open this service by the address of its proxy")
    user, email, groups, shown = (_value(request, name) for name in options.headers.names)
    if not user:
        raise Denial(401, "nobody has signed in", "let the proxy send who asks, and see --user-header")
    if max(map(len, (user, email, shown))) > LONGEST_NAME or len(groups) > LONGEST_GROUPS:
        raise Denial(403, "the proxy says more of who asks than is taken", "let it send fewer groups")
    return Identity(user, _role(user, email, groups_of(groups), options), shown or email)


def groups_of(text: str) -> frozenset[str]:
    """The groups that a header names: what stands between commas, without the blanks around it."""
    return frozenset(group for part in text.split(",") if (group := part.strip(" \t")))


def is_trusted(peer: Address | None, options: Options) -> bool:
    """Whether what this address says of others is believed."""
    return peer is not None and any(peer in network for network in options.trusted_proxies)


def client(request: Asked, options: Options) -> str:
    """The address that a request comes from, as far as trusted proxies tell (X-Forwarded-For)."""
    found = request.peer
    if is_trusted(found, options):
        hops = b",".join(request.headers.get(b"x-forwarded-for", ())).decode("ascii", "replace").split(",")
        for hop in reversed(hops):
            # A zone (RFC 4007) is of the machine that says it, and may be any text.
            nearer = None if "%" in hop else address(hop.strip())
            if nearer is None:
                break
            found = nearer
            if not is_trusted(found, options):
                break
    return str(found or "unknown")


def check_host(request: Asked, options: Options) -> None:
    """Refuse a Host that is not ours: a page elsewhere may have one that leads here. Raises Denial."""
    if request.header("host").lower() not in options.hosts:
        raise Denial(403, "this service does not go by that name", "see --public-url and --allowed-host")


def check_local(request: Asked, options: Options, port: int) -> None:
    """Refuse what was not asked on this machine, of `port` at a name of its own. Raises Denial.

    A page elsewhere may have a name that leads here (DNS rebinding), and a proxy may hand on what others ask.
    """
    ours = {name.lower() for name in options.headers.names}
    for name in request.headers:
        word = name.decode("latin-1").replace("_", "-")
        if word in PROXIED | ours or word.startswith(PROXIED_BEGIN):
            hint = "behind a proxy, run it without --no-auth and with --trusted-proxy"
            raise Denial(403, "this came through a proxy, and nobody signs in here", hint)
    if request.peer is None or not request.peer.is_loopback:
        raise Denial(403, "this came from another machine, and nobody signs in here")
    if not _is_local(request.header("host"), port):
        hint = f"open http://localhost:{port} on the machine where it runs"
        raise Denial(403, "this service does not go by that name", hint)


# ------------------------------------------------------------------------------------------- parts


def _said(request: Asked, options: Options) -> bool:
    """Whether a request has headers of identity. Raises Denial for one written with _ in place of -.

    CGI and its kin take the two for one, so a proxy before us may have let it through (nginx drops them).
    """
    ours = {name.lower() for name in options.headers.names}
    names = {name.decode("latin-1") for name in request.headers}
    if any(name not in ours and name.replace("_", "-") in ours for name in names):
        raise Denial(403, "a header of identity is written in another way", "let the proxy drop it")
    return bool(names & ours)


def _value(request: Asked, name: str) -> str:
    try:
        return request.header(name)
    except Denial:
        raise Denial(403, "a header of identity has two readings", "let the proxy send each once") from None


def _role(user: str, email: str, groups: frozenset[str], options: Options) -> Role | None:
    if _is_one(options.admin, user, email, groups):
        return "admin"
    return "maintenance" if _is_one(options.maintenance, user, email, groups) else None


def _is_one(wanted: Members, user: str, email: str, groups: frozenset[str]) -> bool:
    """Whether somebody is of these. A user who chose an address as their name has not got that address."""
    own = {name for name, is_address in ((user, False), (email, True)) if ("@" in name) == is_address}
    return bool(wanted.groups & groups or wanted.people & own)


def _is_local(host: str, port: int) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        named = 80 if parts.port is None else parts.port
    except ValueError:
        return False
    is_bare = host == parts.netloc and "@" not in host
    return is_bare and named == port and is_loopback(parts.hostname or "")
