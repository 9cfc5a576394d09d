"""The node's interfaces for netplan, which gives them to systemd-networkd or to NetworkManager.

Source: https://netplan.readthedocs.io/en/stable/netplan-yaml/.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from ..model import File, Piece, SecretRef, Text
from .links import Kind, Link
from .yaml_text import yaml_text

PATH = "/etc/netplan/60-metis.yaml"


def render(links: Iterable[Link], renderer: str) -> File:
    """One file of mode 0600: netplan warns of a looser one, and it may hold a password."""
    found = tuple(links)
    sections = {"ethernets": _section(found, "ethernet"), "vlans": _section(found, "vlan")}
    present = {name: section for name, section in sections.items() if section}
    document = yaml_text({"network": {"version": 2, "renderer": renderer, **present}})
    return File(PATH, (document, *_wifis(found)), mode=0o600)


def _section(links: Iterable[Link], kind: Kind) -> dict[str, Any]:
    parts = {"ethernet": _matched, "vlan": _tagged}
    return {link.id: parts[kind](link) | _addressing(link) for link in links if link.kind == kind}


def _matched(link: Link) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if link.mac is not None:
        settings["match"] = {"macaddress": link.mac}
        if link.name is not None:
            settings["set-name"] = link.name  # else whoever names it (flannel-iface: eth0) may be wrong
    elif link.pattern is not None:
        settings["match"] = {"name": link.pattern}
    return settings


def _tagged(link: Link) -> dict[str, Any]:
    return {"id": link.settings["id"], "link": link.settings["link"]}


def _addressing(link: Link) -> dict[str, Any]:
    settings: dict[str, Any] = {"dhcp4": True}
    if not link.settings.get("dhcp"):
        settings = {"dhcp4": False, "dhcp6": False}
    if "address" in link.settings:
        settings["addresses"] = [link.settings["address"]]
    if "gateway" in link.settings:
        settings["routes"] = [{"to": "default", "via": link.settings["gateway"]}]
    nameservers = {"addresses": link.listed("nameservers"), "search": link.listed("search")}
    if any(nameservers.values()):
        settings["nameservers"] = nameservers
    return settings


def _wifis(links: Iterable[Link]) -> Iterator[Piece]:
    """The last section of the document; what it holds of a secret is put in as a whole scalar."""
    wifis = [link for link in links if link.kind == "wifi"]
    if wifis:
        yield Text("  wifis:\n")
    for link in wifis:
        settings = yaml.safe_dump({link.id: _addressing(link)}, sort_keys=False)
        indented = "".join(f"    {line}\n" for line in settings.splitlines())
        # A string of JSON is a double-quoted scalar of YAML.
        ssid = json.dumps(link.settings["ssid"], ensure_ascii=False)
        yield Text(f"{indented}      access-points:\n        {ssid}:\n          password: ")
        yield SecretRef(link.password, "wifi-quoted")
        yield Text("\n")
