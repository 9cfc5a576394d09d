"""The node's address: one netplan file, and nothing else that would give it another."""

from __future__ import annotations

from typing import Any

from ..model import Entry, File, Remove, ResolvedNode, Settings
from .yaml_text import yaml_text

# What images bring to get any address at all. netplan merges its files by key, so a default with
# `dhcp4: true` would stay in force beside a static address.
DEFAULTS = (
    "/etc/netplan/00-installer-config.yaml",
    "/etc/netplan/10-dhcp-all-interfaces.yaml",
    "/etc/netplan/50-cloud-init.yaml",
)


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """A netplan file of mode 0600 (netplan warns of a looser one), in force alone."""
    network = node.settings.get("network")
    if network is None:
        return ()
    document = {"network": {"version": 2, "renderer": "networkd", "ethernets": _ethernet(network)}}
    return (
        File("/etc/netplan/60-metis.yaml", (yaml_text(document),), mode=0o600),
        File(
            "/etc/cloud/cloud.cfg.d/99-disable-network-config.cfg",
            (yaml_text({"network": {"config": "disabled"}}),),
        ),
        *(Remove(path) for path in DEFAULTS),
    )


def _ethernet(network: Settings) -> dict[str, Any]:
    interface = network.get("interface", "e*")
    is_pattern = bool(set(interface) & set("*?["))
    # A plain name is its own match; anything else needs an id that stands for it.
    name = "lan0" if is_pattern else interface
    settings: dict[str, Any] = {}
    if "mac" in network:
        settings["match"] = {"macaddress": network["mac"]}
        if not is_pattern:
            settings["set-name"] = interface  # else whoever names it (flannel-iface: eth0) may be wrong
    elif is_pattern:
        settings["match"] = {"name": interface}
    return {name: settings | _addressing(network)}


def _addressing(network: Settings) -> dict[str, Any]:
    settings: dict[str, Any] = {"dhcp4": True}
    if not network.get("dhcp"):
        settings = {"dhcp4": False, "dhcp6": False, "addresses": [network["address"]]}
        if "gateway" in network:
            settings["routes"] = [{"to": "default", "via": network["gateway"]}]
    if network.get("nameservers") or network.get("search"):
        settings["nameservers"] = {
            "addresses": network.get("nameservers", ()),
            "search": network.get("search", ()),
        }
    return settings
