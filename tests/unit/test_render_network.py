"""What the programs on a node make of its network settings: netplan, and NetworkManager's own parser."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inventory.validate import claims, duplicates
from pipeline.machine import process
from pipeline.model import Entry, File, Remove, SecretRef, Symlink, Text
from pipeline.render.concerns import CONCERNS
from pipeline.secret import Secret
from pipeline.secrets import forms
from tests.support.rendering import FOLDER, cases_of, files, node_of, program, rendered

PASSWORD = " \"a\\b;c#d: %' "
SECRETS = {"extra.wifi_psk": Secret(PASSWORD), "extra.wifi_guest": Secret("a" * 63)}
CASES = [case for case in cases_of("network") if case.name != "none"]


def written(entries: Iterable[Entry]) -> dict[str, str]:
    """The text of each private file, with its secrets."""
    return {
        entry.path: "".join(map(_text, entry.content))
        for entry in entries
        if isinstance(entry, File) and entry.mode == 0o600
    }


def _text(piece: object) -> str:
    match piece:
        case Text(text):
            return text
        case SecretRef():
            return forms.reveal(piece, "titan-13", SECRETS).decode()
    raise AssertionError(piece)


def test_a_mac_address_of_digits_stays_text_for_every_reader_of_yaml() -> None:
    """YAML 1.1 takes 12:34:56 for a number of base 60."""
    case = FOLDER / "network/mac-like-a-number-of-base-60"
    document = yaml.safe_load(files(rendered(case))["/etc/netplan/60-metis.yaml"])
    assert document["network"]["ethernets"]["lan0"]["match"]["macaddress"] == "12:34:56:10:20:30"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_manager_is_waited_for_and_not_the_other(case: Path) -> None:
    entries = rendered(case)
    wants = "/etc/systemd/system/network-online.target.wants"
    waiting = {entry.path for entry in entries if isinstance(entry, Symlink) and entry.path.startswith(wants)}
    removed = {entry.path for entry in entries if isinstance(entry, Remove) and entry.path.startswith(wants)}
    assert len(waiting) == len(removed) == 1
    assert waiting | removed == {
        f"{wants}/systemd-networkd-wait-online.service",
        f"{wants}/NetworkManager-wait-online.service",
    }
    by_networkd = any("renderer: networkd" in text for text in written(entries).values())
    assert waiting == {path for path in waiting if ("networkd" in path) == by_networkd}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_password_is_a_secret_and_nothing_else_is(case: Path) -> None:
    entries = rendered(case)
    parts = [part for entry in entries if isinstance(entry, File) for part in entry.content]
    used = {(part.name, part.form) for part in parts if isinstance(part, SecretRef)}
    form = "wifi-quoted" if "/etc/netplan/60-metis.yaml" in files(entries) else "wifi-keyfile"
    names = {"wifi": ["wifi_psk"]}.get(case.name, ["wifi_guest", "wifi_psk"] if "wifi" in case.name else [])
    assert used == {(f"extra.{name}", form) for name in names}


# ------------------------------------------------------------------------------------------- netplan


BY_NETPLAN = [case for case in CASES if "/etc/netplan/60-metis.yaml" in files(rendered(case))]


def generate(tmp_path: Path, entries: Iterable[Entry]) -> dict[str, str]:
    """What netplan makes of its file: the text of each file for the manager of the interfaces."""
    netplan = program("netplan", "netplan.io")
    file = tmp_path / "etc/netplan/60-metis.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(written(entries)["/etc/netplan/60-metis.yaml"])
    file.chmod(0o600)
    said = process.run([netplan, "generate", "--root-dir", tmp_path])
    assert said.err == b"", "netplan warns"
    return {made.name: made.read_text() for made in tmp_path.glob("run/**/*") if made.is_file()}


@pytest.mark.parametrize("case", BY_NETPLAN, ids=lambda case: case.name)
def test_netplan_takes_the_file_without_a_warning(tmp_path: Path, case: Path) -> None:
    made = generate(tmp_path, rendered(case))
    assert [name for name in made if name.endswith((".network", ".nmconnection"))]


def test_netplan_makes_the_address_the_gateway_and_the_name_servers_of_it(tmp_path: Path) -> None:
    text = generate(tmp_path, rendered(FOLDER / "network/static"))["10-netplan-eth0.network"]
    assert "Name=eth0\n" in text
    assert "Address=192.0.2.13/24\n" in text
    assert "Gateway=192.0.2.1\n" in text
    assert "DNS=192.0.2.2\n" in text
    assert "Domains=lab.example\n" in text
    assert "DHCP=" not in text


def test_netplan_names_the_interface_of_a_mac_address(tmp_path: Path) -> None:
    made = generate(tmp_path, rendered(FOLDER / "network/mac-and-name"))
    assert "MACAddress=02:00:5e:10:00:01\n" in made["10-netplan-eth0.link"]
    assert "Name=eth0\n" in made["10-netplan-eth0.link"]
    assert "DHCP=ipv4\n" in made["10-netplan-eth0.network"]


def test_netplan_matches_a_pattern(tmp_path: Path) -> None:
    made = generate(tmp_path, rendered(FOLDER / "network/pattern"))
    assert "Name=enp?s*\n" in made["10-netplan-lan0.network"]


def test_netplan_lays_vlans_on_their_interfaces(tmp_path: Path) -> None:
    made = generate(tmp_path, rendered(FOLDER / "network/several-interfaces"))
    assert "VLAN=nodes\n" in made["10-netplan-eth0.network"]
    assert "Address=" not in made["10-netplan-eth0.network"]
    assert "Id=4094\n" in made["10-netplan-storage.netdev"]
    assert "Gateway=192.0.2.1\n" in made["10-netplan-nodes.network"]


def test_netplan_gives_a_vlan_to_networkmanager(tmp_path: Path) -> None:
    made = generate(tmp_path, rendered(FOLDER / "network/several-interfaces-by-networkmanager"))
    assert "id=20\nparent=eth0\n" in made["netplan-storage.nmconnection"]
    assert "address1=2001:db8:1::13/64\n" in made["netplan-storage.nmconnection"]


def test_a_hostile_name_and_password_reach_wpa_supplicant_as_they_are(tmp_path: Path) -> None:
    made = generate(tmp_path, rendered(FOLDER / "network/wifi-hostile"))
    assert '  ssid=" "\'\\;#{}: ü%n "\n' in made["wpa-wlan0.conf"]
    assert f'  psk="{PASSWORD}"\n' in made["wpa-wlan1.conf"]


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=32).filter(
    lambda text: text.isprintable() and len(text.encode()) <= 32
)
passwords = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=8, max_size=63)


def wifi(ssid: str, renderer: str, password: str) -> str:
    """The private file of one wireless interface, with its secret."""
    network = {"renderer": renderer, "wifis": {"wlan0": {"ssid": ssid, "dhcp": True}}}
    node = node_of(json.dumps({"class": "pi", "network": network}, ensure_ascii=False))
    (file,) = [one for one in CONCERNS["network"].render(node) if isinstance(one, File) and one.mode == 0o600]
    secrets = {"extra.wifi_psk": Secret(password)}
    return "".join(
        forms.reveal(piece, "titan-13", secrets).decode() if isinstance(piece, SecretRef) else piece.text
        for piece in file.content
        if isinstance(piece, SecretRef | Text)
    )


@given(names, passwords)
def test_every_name_and_password_is_one_string_of_the_yaml(ssid: str, password: str) -> None:
    document = yaml.safe_load(wifi(ssid, "networkd", password))
    assert document["network"]["wifis"]["wlan0"]["access-points"] == {ssid: {"password": password}}
    assert document["network"].keys() == {"version", "renderer", "wifis"}


# ------------------------------------------------------------------------------------ NetworkManager


def understood(text: str) -> dict[str, dict[str, str]]:
    """A connection as NetworkManager's parser reads it, written anew by NetworkManager."""
    nmcli = program("nmcli", "network-manager")
    argv = [nmcli, "--offline", "connection", "modify", "connection.autoconnect", "yes"]
    said = process.run(argv, stdin=text.encode())
    assert said.err == b""
    sections: dict[str, dict[str, str]] = {}
    for line in said.out.decode().splitlines():
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), {})
        elif line:
            key, _, value = line.partition("=")
            current[key] = value
    return sections


def connections(case: str) -> dict[str, dict[str, dict[str, str]]]:
    """All connections of a case, by the name of the interface, as NetworkManager understands them."""
    found = written(rendered(FOLDER / "network" / case))
    prefix = "/etc/NetworkManager/system-connections/metis-"
    return {
        path.removeprefix(prefix).removesuffix(".nmconnection"): understood(text)
        for path, text in found.items()
        if path.startswith(prefix)
    }


BY_KEYFILE = [case.name for case in CASES if case not in BY_NETPLAN]


@pytest.mark.parametrize("case", BY_KEYFILE)
def test_networkmanager_takes_every_connection(case: str) -> None:
    found = connections(case)
    assert found
    for name, sections in found.items():
        assert sections["connection"]["id"] == f"metis-{name}"


def test_networkmanager_understands_addresses_and_name_servers() -> None:
    (found,) = connections("raspios").values()
    assert found["connection"]["interface-name"] == "eth0"
    assert found["ipv4"] == {
        "address1": "192.0.2.13/24,192.0.2.1",
        "dns": "192.0.2.1;",
        "method": "manual",
    }
    assert found["ipv6"]["method"] == "auto"


def test_networkmanager_understands_vlans_and_both_families() -> None:
    found = connections("several-interfaces-by-keyfile")
    assert found["eth0"]["ipv4"]["method"] == found["eth0"]["ipv6"]["method"] == "disabled"
    assert found["eth1"]["ethernet"] == {"mac-address": "02:00:5E:10:00:02"}
    assert found["eth1"]["ipv6"]["dns"] == "2001:db8::53;"
    assert (found["storage"]["vlan"]["id"], found["storage"]["vlan"]["parent"]) == ("4094", "eth1")
    assert found["storage"]["ipv6"]["address1"] == "2001:db8:1::13/64,fe80::1"
    assert found["nodes"]["ipv4"]["dns-search"] == "lab.example;"


def test_networkmanager_matches_a_pattern_or_a_mac_address() -> None:
    (pattern,) = connections("pattern-by-keyfile").values()
    assert pattern["match"] == {"interface-name": "e*;"}
    (mac,) = connections("mac-by-keyfile").values()
    assert mac["ethernet"] == {"mac-address": "02:00:5E:10:00:01"}
    assert "interface-name" not in mac["connection"]


def test_a_name_that_looks_like_a_list_of_bytes_stays_that_name() -> None:
    found = connections("wifi-hostile-by-keyfile")
    assert found["wlan1"]["wifi"]["ssid"] == "49\\\\;50\\\\;"
    assert found["wlan1"]["wifi-security"]["psk"] == "\\s\"a\\\\b;c#d: %' "


def test_systemd_names_an_interface_that_networkmanager_cannot_name() -> None:
    made = files(rendered(FOLDER / "network/mac-and-name-by-keyfile"))
    text = made["/etc/systemd/network/10-metis-eth0.link"]
    assert "[Match]\nPermanentMACAddress=02:00:5e:10:00:01\n" in text
    assert "[Link]\nName=eth0\n" in text


@settings(max_examples=25)
@given(names, passwords)
def test_every_name_and_password_comes_back_from_networkmanager(ssid: str, password: str) -> None:
    """Written anew from what it understood, which then is read again: a value that is lost shows itself."""
    found = understood(wifi(ssid, "keyfile", password))
    assert found.keys() == {"connection", "wifi", "wifi-security", "ipv4", "ipv6", "proxy"}
    assert unescaped(found["wifi-security"]["psk"]) == password
    shown = found["wifi"]["ssid"]
    numbers = shown.removesuffix(";").split(";")
    as_bytes = all(number.isascii() and number.isdigit() for number in numbers) and shown.endswith(";")
    read = bytes(map(int, numbers)).decode() if as_bytes else unescaped(shown).replace("\\;", ";")
    assert read == ssid


def unescaped(value: str) -> str:
    """A string as GLib's key files write it."""
    return value.replace("\\\\", "\0").replace("\\s", " ").replace("\0", "\\")


# -------------------------------------------------------------------------------------------- claims


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("{address: 192.0.2.1/24}", "{vlans: {a: {address: 192.0.2.1/28}}}", "network.address: 192.0.2.1"),
        (
            "{interfaces: {a: {address: '2001:DB8::1/64'}}}",
            "{wifis: {b: {address: '2001:db8:0::1/64'}}}",
            "network.address: 2001:db8::1",
        ),
        (
            "{mac: '02:00:5E:10:00:01'}",
            "{interfaces: {b: {mac: '02:00:5e:10:00:01'}}}",
            "network.mac: 02:00:5e:10:00:01",
        ),
    ],
)
def test_two_nodes_cannot_claim_the_same_on_any_interface(one: str, other: str, said: str) -> None:
    nodes = {"a": {"network": yaml.safe_load(one)}, "b": {"network": yaml.safe_load(other)}}
    found = duplicates({name: chain(*claims(node, name).values()) for name, node in nodes.items()})
    assert found == {"a": (f"{said} is also that of b",), "b": (f"{said} is also that of a",)}
