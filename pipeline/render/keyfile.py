"""The node's interfaces as NetworkManager's own files, for systems that have no netplan.

Source: nm-settings-keyfile(5).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from ..model import Entry, File, Piece, Remove, SecretRef, Text
from .links import Link
from .yaml_text import HEADER

CONNECTIONS = "/etc/NetworkManager/system-connections"

Section = tuple[str, dict[str, str]]


def render(links: Iterable[Link]) -> tuple[Entry, ...]:
    """A connection for each interface, and what keeps NetworkManager from bringing it up."""
    found = tuple(links)
    # Ubuntu's NetworkManager leaves wired interfaces to netplan, but for a file of this name in /etc.
    own_all = File("/etc/NetworkManager/conf.d/10-globally-managed-devices.conf", (Text(HEADER),))
    entries: list[Entry] = [own_all, *map(_connection, found), *filter(None, map(_naming, found))]
    if any(link.kind == "wifi" for link in found):
        # Raspberry Pi OS brings it with WirelessEnabled=false, until somebody has said the country.
        entries.append(Remove("/var/lib/NetworkManager/NetworkManager.state"))
    return tuple(entries)


def _connection(link: Link) -> File:
    # NetworkManager ignores a file that others than root can read.
    return File(f"{CONNECTIONS}/metis-{link.id}.nmconnection", tuple(_content(link)), mode=0o600)


def _content(link: Link) -> Iterator[Piece]:
    sections = (*_kind(link), *_families(link))
    yield Text(HEADER + "\n".join(map(_ini, sections)))
    if link.kind == "wifi":
        yield Text("\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=")
        yield SecretRef(link.password, "wifi-keyfile")
        yield Text("\n")


def _kind(link: Link) -> Iterator[Section]:
    connection = {"id": f"metis-{link.id}", "type": link.kind}
    if link.name is not None:
        connection["interface-name"] = link.name
    yield "connection", connection
    match link.kind:
        case "ethernet" if link.mac is not None:
            yield "ethernet", {"mac-address": link.mac}
        case "ethernet" if link.pattern is not None:
            yield "match", {"interface-name": f"{link.pattern};"}
        case "vlan":
            yield "vlan", {"id": str(link.settings["id"]), "parent": link.settings["link"]}
        case "wifi":
            # As bytes no name can be taken for anything else, or lose a space at its end.
            ssid = "".join(f"{byte};" for byte in link.settings["ssid"].encode())
            yield "wifi", {"mode": "infrastructure", "ssid": ssid}


def _families(link: Link) -> Iterator[Section]:
    """Both families: as with systemd-networkd, routers may give an address of IPv6 beside a static one."""
    address = link.settings.get("address")
    static = ipaddress.ip_interface(address).version if address is not None else None
    if link.settings.get("dhcp"):
        methods = {4: "auto", 6: "auto"}
    elif static is None:
        methods = {4: "disabled", 6: "disabled"}
    else:
        methods = {4: "disabled", 6: "auto"} | {static: "manual"}
    for version, method in methods.items():
        settings = {"method": method}
        if version == static:
            settings["address1"] = str(address)
        settings |= _routing(link, version, is_first=version == (static or 4))
        yield f"ipv{version}", settings


def _routing(link: Link, version: int, *, is_first: bool) -> dict[str, str]:
    """The gateway and name servers of one family; the domains to search stand with the first."""
    settings = {}
    gateway = link.settings.get("gateway")
    if gateway is not None and ipaddress.ip_address(gateway).version == version:
        settings["gateway"] = gateway
    servers = [one for one in link.listed("nameservers") if ipaddress.ip_address(one).version == version]
    if servers:
        settings["dns"] = _list(servers)
    if is_first and link.listed("search"):
        settings["dns-search"] = _list(link.listed("search"))
    return settings


def _naming(link: Link) -> File | None:
    """NetworkManager names no interface, so systemd.link(5) does, before its defaults of 73 and 99."""
    if link.mac is None or link.name is None:
        return None
    sections = (("Match", {"PermanentMACAddress": link.mac}), ("Link", {"Name": link.name}))
    text = HEADER + "\n".join(map(_ini, sections))
    return File(f"/etc/systemd/network/10-metis-{link.id}.link", (Text(text),))


def _ini(section: Section) -> str:
    name, settings = section
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in settings.items())


def _list(values: Iterable[str]) -> str:
    return "".join(f"{value};" for value in values)
