"""What a string of a certain format must be, for the `format` keyword of the schemas.

Each check raises ValueError for a string that is not of its format; what is no string is the business of
`type`. The `description` beside a `format` says in words what is expected; a reason is added only where the
description cannot tell what is wrong.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any
from urllib.parse import SplitResult, urlsplit

from . import k3s_flags


class UnfitError(ValueError):
    """A value that is not of its format, with a reason worth telling."""


_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_PREFIX = re.compile(r"[1-9][0-9]{0,2}")
_SIZE = re.compile(r"(0|[1-9][0-9]{0,14})([KMGT]?)")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_MAX_SIZE = 64 * 2**40
_DOMAIN_LENGTH = 253
_KEY_TYPES = (
    r"ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com"
)
_KEY = re.compile(rf"({_KEY_TYPES}) AAAA[0-9A-Za-z+/]+={{0,2}}( [^\x00-\x1f\x7f]*)?")
_LONGEST_OPTION = 60
_EFFECTS = frozenset(("NoSchedule", "PreferNoSchedule", "NoExecute"))
LONGEST_NAME = 255
"""Bytes, of one name in a path (path_resolution(7))."""
DEBIAN_SUITE = re.compile(r"[a-z]{1,32}")
"""By its code name, or by what it is for; `golden.debian.recipe` knows no other."""
OCI_SOURCE = re.compile(
    r"oci://(?P<host>(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[1-9][0-9]{0,4})?)"
    r"/(?P<repository>[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
"""A registry, a repository, a tag and a digest (OCI Distribution Specification 1.1, Pulling manifests)."""
LONGEST_SSID = 32
"""Bytes (IEEE 802.11, 9.4.2.2)."""
_CREDENTIALS = re.compile(r"://[^/\s]*@")


def address_with_prefix(value: str) -> None:
    """Accept an IPv4 or IPv6 address with the length of its network's prefix."""
    _, slash, prefix = value.partition("/")
    # netplan takes no network of everything (0), and systemd a number that begins with 0 for an octal one.
    if not slash or "%" in value or not _PREFIX.fullmatch(prefix):
        raise ValueError(value)
    ipaddress.ip_interface(value)


def ip_address(value: str) -> None:
    """Accept an IPv4 or IPv6 address without a zone."""
    if "%" in value:
        raise ValueError(value)
    ipaddress.ip_address(value)


def mac_address(value: str) -> None:
    """Accept the MAC address of one interface: six bytes, not of a group."""
    _need(_MAC.fullmatch(value))
    _need(not int(value[:2], 16) & 1)


def hostname_label(value: str) -> None:
    """Accept one label of a host name (RFC 1123)."""
    _need(_LABEL.fullmatch(value))


def domain_name(value: str) -> None:
    """Accept a domain of one label or more (RFC 1123)."""
    _need(len(value) <= _DOMAIN_LENGTH and all(map(_LABEL.fullmatch, value.split("."))))


def wireless_name(value: str) -> None:
    """Accept the name of a wireless network (SSID): 1 to 32 bytes of UTF-8 that can all be shown."""
    _need(1 <= len(value.encode()) <= LONGEST_SSID and value.isprintable())


def size(value: str | int) -> None:
    """Accept a number of bytes, or one with a unit, up to 64 TiB."""
    size_in_bytes(value)


def size_in_bytes(value: str | int) -> int:
    """The number of bytes of a size such as 512M or 1G, with units of powers of 1024."""
    match = _SIZE.fullmatch(str(value))
    found = int(match[1]) * _UNITS[match[2]] if match else -1
    _need(0 <= found <= _MAX_SIZE)
    return found


def absolute_path(value: str) -> None:
    """Accept an absolute path in its plain form, of something below /."""
    _need(value.startswith("/"))
    relative_path(value[1:])


def relative_path(value: str) -> None:
    """Accept a relative path in its plain form: no empty part, no . and no .., no control characters.

    Nor one with a = in it, which no task of doit may have in its name, or with a part that no file can have.
    """
    parts = value.split("/")
    if "=" in value:
        raise UnfitError("= cannot stand in it")
    _need(all(len(part.encode()) <= LONGEST_NAME for part in parts))
    if ".." in parts:
        raise UnfitError(".. could lead out of the folder")
    _need("" not in parts and "." not in parts and "\\" not in value and value.isprintable())


def https_url(value: str) -> None:
    """Accept https://host[:port] with nothing after it."""
    url = _url(value)
    _need(url.scheme == "https" and url.path in {"", "/"} and not url.query and not url.fragment)


def plain_source(value: str) -> None:
    """Accept where a file lies by itself: on a web server, or on this machine."""
    if value.startswith("file:"):
        path = value.removeprefix("file:").removeprefix("//")
        _need(path.strip("/") and value.isprintable())
        _need(path.startswith("/") or not value.startswith("file://"))
        return
    url = _url(value)
    _need(url.scheme in {"https", "http"} and url.path.strip("/"))


def file_source(value: str) -> None:
    """Accept where a file can be fetched from."""
    scheme = value.partition(":")[0].lower()
    _need(scheme in SOURCES and scheme != "debian")
    SOURCES[scheme](value)


def artifact_source(value: str) -> None:
    """Accept an artifact of a registry, by its tag or digest."""
    parts = oci_parts(value)
    if not (parts["tag"] or parts["digest"]):
        raise UnfitError("name a tag, as in :2026-11, or a digest, as in @sha256:…")


def oci_parts(value: str) -> dict[str, str]:
    """The host, repository, tag and digest of an artifact's address; what was not said is empty."""
    found = OCI_SOURCE.fullmatch(value)
    _need(found)
    assert found is not None
    url = _url(f"https://{found['host']}")
    if found["host"].startswith("["):
        ipaddress.IPv6Address(url.hostname or "")
    return {name: text or "" for name, text in found.groupdict().items()}


def image_source(value: str) -> None:
    """Accept where a golden can come from."""
    scheme = value.partition(":")[0].lower()
    _need(scheme in SOURCES)
    SOURCES[scheme](value)


def debian_source(value: str) -> None:
    """Accept a suite of Debian to build a golden from."""
    _need(DEBIAN_SUITE.fullmatch(value.removeprefix("debian:")))


SOURCES: Mapping[str, Callable[[str], None]] = MappingProxyType(
    {
        "file": plain_source,
        "http": plain_source,
        "https": plain_source,
        "oci": artifact_source,
        "debian": debian_source,
    }
)
"""The form of each kind of source, by its scheme: those of `golden.schemes`, which opens them."""
FILE_SOURCES = "an https, http, oci: or file: address"
"""What the schemas call all of them that files come from."""


def no_credentials(value: str) -> None:
    """Accept whatever is not an address with a user or password in it."""
    if _CREDENTIALS.search(value):
        raise UnfitError("a user or password does not belong into an inventory")


def ssh_public_key(value: str) -> None:
    """Accept one line of a public key, without options before it (sshd(8), AUTHORIZED_KEYS)."""
    _need(_KEY.fullmatch(value))


def kubernetes_name(value: str) -> None:
    """Accept the key of a label or taint: an optional prefix and a name of at most 63 characters.

    Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set.
    """
    prefix, slash, name = value.rpartition("/")
    _need(_NAME.fullmatch(name))
    _need(not slash or (len(prefix) <= _DOMAIN_LENGTH and _SUBDOMAIN.fullmatch(prefix)))


def kubernetes_value(value: str) -> None:
    """Accept the value of a label or taint: empty, or at most 63 characters like those of a name."""
    _need(not value or _NAME.fullmatch(value))


def kubernetes_taint(value: str) -> None:
    """Accept key=value:Effect or key:Effect."""
    pair, _, effect = value.rpartition(":")
    key, _, content = pair.partition("=")
    _need(effect in _EFFECTS)
    kubernetes_name(key)
    kubernetes_value(content)


def k3s_option(value: str) -> None:
    """Accept the name of an option that a flag may set, for some role."""
    if value in k3s_flags.ELSEWHERE:
        raise UnfitError(k3s_flags.ELSEWHERE[value])
    known = k3s_flags.AGENT | k3s_flags.SERVER
    if value not in known:
        close = get_close_matches(value[:_LONGEST_OPTION], sorted(known | k3s_flags.ELSEWHERE.keys()), n=1)
        raise UnfitError(f"did you mean {close[0]}?" if close else "k3s would skip it with a warning")


def registry_url(value: str) -> None:
    """Accept where a registry is asked for images: an http or https address, with a path if need be."""
    url = _url(value)
    _need(url.scheme in {"https", "http"} and not url.query and not url.fragment)


def _url(value: str) -> SplitResult:
    no_credentials(value)
    url = urlsplit(value)
    _need(value.isascii() and value.isprintable() and " " not in value and "\\" not in value)
    _need(url.hostname and url.port != 0)
    return url


def _need(holds: object) -> None:
    if not holds:
        raise ValueError("not of this format")


_OF_STRINGS = (
    address_with_prefix,
    ip_address,
    mac_address,
    hostname_label,
    domain_name,
    wireless_name,
    absolute_path,
    relative_path,
    https_url,
    plain_source,
    file_source,
    image_source,
    no_credentials,
    ssh_public_key,
    kubernetes_name,
    kubernetes_value,
    kubernetes_taint,
    k3s_option,
    registry_url,
)


def _of(kinds: type | tuple[type, ...], check: Callable[[Any], None]) -> Callable[[object], None]:
    def checked(value: object) -> None:
        if isinstance(value, kinds):
            check(value)

    return checked


FORMATS: Mapping[str, Callable[[object], None]] = MappingProxyType(
    {check.__name__.replace("_", "-"): _of(str, check) for check in _OF_STRINGS}
    | {"size": _of((str, int), size)}
)
"""All formats of the schemas by name, that of their function with hyphens: they raise ValueError."""
