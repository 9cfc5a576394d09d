"""What `metis serve` was told: where it listens, whom it believes, who may do what. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from types import MappingProxyType
from urllib.parse import urlsplit

from ..errors import UsageError
from ..machine.loopback import is_loopback
from ..secret import Secret
from ..wording import shown

Network = IPv4Network | IPv6Network

TOKENS: Mapping[str, str] = MappingProxyType(
    {
        "sentinel": "METIS_SENTINEL_TOKEN",
        "watch": "METIS_WATCH_TOKEN",
        "metrics": "METIS_METRICS_TOKEN",
        "api": "METIS_API_TOKEN",
    }
)
"""A token for each purpose, and the variable that it may come in."""
SHORTEST_TOKEN = 32
"""Characters: 16 random bytes in hexadecimal."""
LONGEST_TOKEN = 8192
"""As long as the sentinel takes (`metis_sentinel/push.py`)."""
WIDEST = MappingProxyType({4: 8, 6: 7})
"""The shortest prefixes of a network of proxies: 10.0.0.0/8 and fc00::/7 are the largest private ones."""
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers in which a trusted proxy says who asks; as oauth2-proxy sends them to an upstream."""

    user: str = "X-Forwarded-User"
    email: str = "X-Forwarded-Email"
    groups: str = "X-Forwarded-Groups"
    shown: str = "X-Forwarded-Preferred-Username"
    """A name to show, which people may choose themselves: nothing is decided by it."""

    @property
    def names(self) -> tuple[str, str, str, str]:
        """All of them."""
        return self.user, self.email, self.groups, self.shown


@dataclass(frozen=True, slots=True)
class Members:
    """Who has a role: by groups, or by themselves (an email address where there is an @, else a user)."""

    groups: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.groups or self.people)


@dataclass(frozen=True, slots=True)
class Options:
    """How one service runs.

    `public_url` is its origin as browsers know it, such as https://metis.example; without sign-in it is that
    of the address where it listens. `allowed_hosts` are further names (with their port where it is
    not the scheme's own) that a request may have as Host. `tokens` are by purpose, see TOKENS; `gui_token` is
    the one that `metis gui` opens the browser with. `card_files` is a folder whose plain files stand for
    cards, empty for none: for tests, and labs without a reader.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    no_auth: bool = False
    trusted_proxies: tuple[Network, ...] = ()
    headers: Headers = field(default_factory=Headers)
    admin: Members = field(default_factory=Members)
    maintenance: Members = field(default_factory=Members)
    allowed_hosts: frozenset[str] = frozenset()
    public_url: str = ""
    tokens: Mapping[str, Secret] = field(default_factory=dict)
    gui_token: Secret | None = None
    card_files: str = ""

    @property
    def is_https(self) -> bool:
        """Whether browsers reach it by https."""
        return self.public_url.startswith("https://")

    @property
    def hosts(self) -> frozenset[str]:
        """Every Host that a request may name where people sign in, in lower case."""
        own = {urlsplit(self.public_url).netloc} if self.public_url else set()
        return self.allowed_hosts | own


def checked(options: Options) -> Options:
    """The options with names of hosts as they are compared; raises UsageError for what must not be served."""
    if not 0 <= options.port <= _LAST_PORT:
        raise UsageError(f"--port is {options.port}", f"give one up to {_LAST_PORT}, or 0 for any")
    options = replace(
        options,
        public_url=_origin(options.public_url) if options.public_url else "",
        allowed_hosts=frozenset(map(_host, options.allowed_hosts)),
    )
    _check_headers(options.headers)
    _check_tokens(options)
    if not options.no_auth:
        _check_signing_in(options)
        return options
    _check_alone(options)
    bare = options.host.strip("[]")
    host = f"[{bare}]" if ":" in bare else bare
    return replace(options, public_url=options.public_url or _origin(f"http://{host}:{options.port}"))


def network(text: str) -> Network:
    """A network of proxies, or one address. Raises UsageError for what is none, or is everybody."""
    try:
        found = ip_network(text.strip())
    except ValueError:
        hint = "give an address or a network, such as 10.42.0.0/16"
        raise UsageError(f"--trusted-proxy {shown(text)} is no network", hint) from None
    if found.prefixlen < WIDEST[found.version]:
        hint = "name the proxy's own address, or the smallest network that it is in"
        raise UsageError(f"--trusted-proxy {found} is as good as everybody", hint)
    return found


def members(groups: Iterable[str], people: Iterable[str]) -> Members:
    """Who has a role. Raises UsageError for a name that no header could say."""
    wanted = Members(frozenset(groups), frozenset(people))
    for name in wanted.groups | wanted.people:
        if not name.isprintable() or name != name.strip() or not name:
            raise UsageError(f"{shown(name)} is no name of a group or a person", "leave out spaces around it")
    for name in wanted.groups:
        if "," in name:
            hint = "proxies put commas between groups: give each by itself"
            raise UsageError(f"the group {shown(name)} has a comma in its name", hint)
    return wanted


def tokens(
    environment: Mapping[str, str], files: Mapping[str, str], read: Callable[[str], Secret]
) -> dict[str, Secret]:
    """The token for each purpose that has one, from its variable or from the file that a flag names.

    `files` are by purpose, `read` gives what is in one. Raises UsageError where both name one, and whatever
    `read` does.
    """
    found: dict[str, Secret] = {}
    for purpose, variable in TOKENS.items():
        if file := files.get(purpose):
            if environment.get(variable):
                hint = "leave one of them out"
                raise UsageError(f"{variable} is set and --{purpose}-token-file given", hint)
            found[purpose] = read(file)
        elif value := environment.get(variable):
            found[purpose] = Secret(value)
    return found


# ------------------------------------------------------------------------------------------- checks


def _check_alone(options: Options) -> None:
    if not is_loopback(options.host.strip("[]")):
        hint = "bind 127.0.0.1 or ::1, or let a proxy sign people in"
        raise UsageError(f"--no-auth would let everybody who reaches {shown(options.host)} in", hint)
    public = urlsplit(options.public_url).hostname or "localhost"
    if options.trusted_proxies or options.admin or options.maintenance or not is_loopback(public):
        hint = "leave out --no-auth, or what is said of proxies, roles and --public-url"
        raise UsageError("--no-auth is for one machine alone, without a proxy", hint)


def _check_signing_in(options: Options) -> None:
    if options.gui_token is not None:
        raise UsageError("a one-time token signs in on this machine alone", "use --no-auth with it")
    if not options.trusted_proxies:
        hint = (
            "name the one that signs people in with --trusted-proxy, or use --no-auth on this machine alone"
        )
        raise UsageError("no proxy is trusted, so nobody could sign in", hint)
    if not (options.admin or options.maintenance):
        hint = "name a group with --admin-group or --maintenance-group, or people with --admin-user"
        raise UsageError("nobody has a role", hint)
    if not options.public_url:
        hint = "give it as browsers know it, such as https://metis.example"
        raise UsageError("--public-url is missing", hint)
    for each in options.trusted_proxies:
        network(str(each))


def _check_headers(headers: Headers) -> None:
    for name in headers.names:
        if not _HEADER.fullmatch(name):
            raise UsageError(f"{shown(name)} is no name of a header", "use letters, digits and -")


def _check_tokens(options: Options) -> None:
    given = dict(options.tokens)
    if options.gui_token is not None:
        given["gui"] = options.gui_token
    for purpose, token in given.items():
        text = token.reveal()
        if not SHORTEST_TOKEN <= len(text) <= LONGEST_TOKEN or not _TOKEN.fullmatch(text):
            hint = f"at least {SHORTEST_TOKEN} characters of ASCII without spaces: `openssl rand -hex 32`"
            raise UsageError(f"the {purpose} token cannot be used", hint)
    if len(set(given.values())) < len(given):
        raise UsageError("one token is given for two purposes", "make one for each: `openssl rand -hex 32`")


def _host(text: str) -> str:
    """A Host as it is compared; raises UsageError for what is none."""
    if not _HOST.fullmatch(text):
        raise UsageError(f"--allowed-host {shown(text)} is no host", "give a name, with its port if need be")
    return text.lower()


def _origin(url: str) -> str:
    """An origin as browsers write it (RFC 6454): in lower case, without the port that is the scheme's own."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    usual = {"http": 80, "https": 443}
    host = parts.netloc.lower()
    well = parts.scheme in usual and _HOST.fullmatch(host) and parts.path in {"", "/"}
    if not well or parts.query or parts.fragment:
        # It is not repeated: a password may be in it.
        raise UsageError("--public-url is no origin", "give scheme and host, such as https://metis.example")
    if port == usual[parts.scheme]:
        host = host.rpartition(":")[0]
    return f"{parts.scheme}://{host}"
