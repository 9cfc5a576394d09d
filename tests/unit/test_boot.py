"""What a boot is made of, before any machine starts: its network, its start, its checks and its additions."""

from __future__ import annotations

import ipaddress
import json
import shlex
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline import cli
from pipeline.boot import additions, checks, guest, machine, network, programs, session, start
from pipeline.errors import MetisError, UsageError
from pipeline.machine import process
from pipeline.machine.progress import QuietReporter
from pipeline.manifest import Contribution, collect
from pipeline.model import File, ResolvedNode, SecretRef, Text
from pipeline.raw.disk import Disk, Partition
from pipeline.render.k3s_units import PROGRAM
from tests.support.rendering import node_of as node_of_pi
from tests.support.rendering import program

STATIC = "network: {interface: eth0, address: 192.168.22.13/24, gateway: 192.168.22.1}\n"
SERVER = "https://192.168.22.7:6443"
PEER = network.Peer("127.0.0.1", 7443)


def node_of(text: str) -> ResolvedNode:
    """The node titan-13 of a class of Raspberry Pis."""
    return node_of_pi(f"class: pi\n{text}")


def words_of(text: str, server: str | None = None, peer: network.Peer | None = None) -> dict[str, str]:
    """The options of the network card that a node gets, by name."""
    options = network.nic(network.wiring(node_of(text), 2222), server, peer)
    return dict(word.partition("=")[::2] for word in options.split(","))


# ---------------------------------------------------------------------------------------- network


def test_a_static_node_finds_its_own_network_and_no_way_out() -> None:
    words = words_of(STATIC)
    assert words["net"] == "192.168.22.0/24"
    assert words["host"] == "192.168.22.1"
    assert words["restrict"] == "on"
    assert words["hostfwd"] == "tcp:127.0.0.1:2222-192.168.22.13:22"


def test_no_two_of_the_addresses_are_the_same() -> None:
    text = "network: {interface: eth0, address: 192.168.22.2/24, gateway: 192.168.22.1}\n"
    words = words_of(text, "https://192.168.22.3:6443", PEER)
    served = words["guestfwd"].split(":")[1]
    used = [words["host"], words["dns"], words["dhcpstart"], "192.168.22.2", served]
    assert len(set(used)) == len(used)
    assert all(ipaddress.ip_address(address) in ipaddress.ip_network("192.168.22.0/24") for address in used)


@pytest.mark.parametrize("prefix", [8, 24, 28, 29, 30, 31, 32])
def test_every_network_leaves_room_for_what_qemu_needs(prefix: int) -> None:
    words = words_of(f"network: {{interface: eth0, address: 10.1.2.5/{prefix}}}\n")
    net = ipaddress.ip_network(words["net"])
    used = {ipaddress.ip_address(words[name]) for name in ("host", "dns", "dhcpstart")}
    assert len(used) == 3
    assert all(address in net for address in {*used, ipaddress.ip_address("10.1.2.5")})


def test_a_gateway_elsewhere_is_not_one_that_qemu_can_be() -> None:
    words = words_of("network: {interface: eth0, address: 192.168.22.13/24}\n")
    assert ipaddress.ip_address(words["host"]) in ipaddress.ip_network("192.168.22.0/24")


def test_a_node_by_dhcp_is_where_qemu_leases_it_an_address() -> None:
    assert words_of("network: {dhcp: true}\n")["hostfwd"] == "tcp:127.0.0.1:2222-10.0.2.15:22"


def test_the_network_card_has_the_declared_address() -> None:
    assert words_of(f"{STATIC[:-2]}, mac: '02:00:5e:10:00:01'}}\n")["mac"] == "02:00:5e:10:00:01"


def test_a_peer_answers_for_the_server_anew_for_each_connection() -> None:
    forward = words_of(STATIC, SERVER, PEER)["guestfwd"]
    assert forward.startswith("tcp:192.168.22.7:6443-cmd:")
    assert shlex.split(forward.partition("cmd:")[2])[-2:] == ["127.0.0.1", "7443"]


@pytest.mark.parametrize("server", [None, "https://k3s.example:6443", "https://192.0.2.7:6443", "nonsense"])
def test_a_peer_for_a_server_that_it_cannot_be_is_refused(server: str | None) -> None:
    with pytest.raises(UsageError, match="--peer"):
        words_of(STATIC, server, PEER)


def test_a_server_without_a_port_has_the_usual_one() -> None:
    assert network.server_of("https://192.168.22.7") == (ipaddress.IPv4Address("192.168.22.7"), 6443)


@pytest.mark.parametrize(
    "text", ["", "host", ":1", "host:", "host:0", "host:65536", "host:x", "a b:1", "a,b:1"]
)
def test_a_hostile_peer_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--peer"):
        network.parse_peer(text)


def test_a_peer_is_a_host_and_a_port() -> None:
    assert network.parse_peer("127.0.0.1:7443") == PEER


def test_a_node_with_ipv6_only_does_not_boot_here() -> None:
    node = node_of("network: {interface: eth0, address: '2001:db8::13/64'}\n")
    with pytest.raises(MetisError, match="IPv4"):
        network.wiring(node, 2222)


def test_the_relay_passes_bytes_both_ways_until_the_service_ends(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                asked = b""
                while data := connection.recv(1 << 16):
                    asked += data
                connection.sendall(asked[::-1])

        thread = threading.Thread(target=serve)
        thread.start()
        relay = [sys.executable, str(network._RELAY), "127.0.0.1", str(server.getsockname()[1])]
        payload = bytes(range(256)) * 1000
        assert process.run(relay, stdin=payload, timeout=30).out == payload[::-1]
        thread.join()


# ------------------------------------------------------------------------------------------ start


def layout(kind: str) -> Disk:
    part = Partition(1, 1 << 20, 1 << 20, kind, "id", "vfat", None, None)
    return Disk("gpt", 4 << 20, 512, (part,))


def test_a_disk_with_an_esp_is_started_by_uefi() -> None:
    assert start.has_uefi(layout(start.ESP))
    assert not start.has_uefi(layout("0c"))


def test_a_raspberry_pi_s_own_settings_name_its_kernel() -> None:
    config = (
        "# a comment\nkernel=vmlinuz\r\ninitramfs initrd.img followkernel\n"
        "[pi5]\nkernel=other\n[all]\nos_prefix=current/\ncmdline=line.txt\n"
    )
    assert start.firmware_settings(config) == {
        "kernel": "vmlinuz",
        "initramfs": "initrd.img followkernel",
        "os_prefix": "current/",
        "cmdline": "line.txt",
    }


def test_only_the_consoles_of_a_command_line_are_changed() -> None:
    own = "console=serial0,115200 root=LABEL=armbi_root cgroup_enable=memory console=tty1 rootwait\n"
    assert start.command_line(own, "ttyAMA0") == (
        "root=LABEL=armbi_root cgroup_enable=memory rootwait console=ttyAMA0"
    )


def test_a_golden_without_a_kernel_says_what_is_missing(tiny_pi_golden: Path, tmp_path: Path) -> None:
    program("mcopy", "mtools")
    from pipeline.raw import disk

    fat = disk.read(tiny_pi_golden).partitions[0]
    with pytest.raises(MetisError, match=r"no kernel8\.img or vmlinuz"):
        start.pi_kernel(tiny_pi_golden, fat, tmp_path)


@pytest.mark.parametrize(
    "config",
    ["kernel=../../etc/passwd\n", "kernel=*\n", "kernel=\n", "os_prefix=../\n", "\x00[all\nkernel\n"],
)
def test_a_hostile_config_takes_nothing_from_elsewhere(
    config: str, tiny_pi_golden: Path, tmp_path: Path
) -> None:
    program("mcopy", "mtools")
    from pipeline.raw import disk

    image = tmp_path / "image"
    image.write_bytes(tiny_pi_golden.read_bytes())
    fat = disk.read(image).partitions[0]
    put = ["mcopy", "-o", "-i", f"{image}@@{fat.start}", "-", "::config.txt"]
    process.run(put, stdin=config.encode())
    with pytest.raises(MetisError, match="boot partition of image has no"):
        start.pi_kernel(image, fat, tmp_path)


def test_the_command_of_a_pc_and_of_a_raspberry_pi_s_image() -> None:
    kernel = machine.Kernel(Path("/k"), Path("/i"), "root=LABEL=r console=ttyAMA0")
    pi = machine.command(machine.Machine("arm64", Path("/c"), "none", kernel=kernel), Path("/l"), Path("/v"))
    pc = machine.command(machine.Machine("amd64", Path("/c"), "none", uefi=True), Path("/l"), Path("/v"))
    assert pi[pi.index("-append") + 1] == "root=LABEL=r console=ttyAMA0"
    assert "virt" in pi
    assert sum("if=pflash" in word for word in pc) == 2
    assert "-kernel" not in pc


def test_kvm_is_used_where_it_works() -> None:
    words = machine.command(
        machine.Machine("amd64", Path("/c"), "none", accelerator="kvm"), Path("/l"), Path("/v")
    )
    assert words[words.index("-accel") + 1] == "kvm"
    assert words[words.index("-cpu") + 1] == "host"


def test_an_emulated_pc_is_no_more_than_systems_ask_for() -> None:
    words = machine.command(machine.Machine("amd64", Path("/c"), "none"), Path("/l"), Path("/v"))
    model, *features = words[words.index("-cpu") + 1].split(",")
    assert model == "qemu64"
    # Of x86-64-v2 (psABI), qemu64 lacks these; without the last two a system has no random numbers at first.
    assert set(features) == {f"+{name}" for name in "popcnt ssse3 sse4.1 sse4.2 rdrand rdseed".split()}


def test_a_comma_in_a_path_is_no_option_of_qemu() -> None:
    wanted = machine.Machine("amd64", Path("/a,readonly=on"), "none", disks=(Path("/b"),))
    drives = [
        word for word in machine.command(wanted, Path("/l"), Path("/v")) if word.startswith("if=virtio")
    ]
    assert drives == [
        "if=virtio,index=0,format=raw,cache=unsafe,file=/a,,readonly=on",
        "if=virtio,index=1,format=raw,snapshot=on,file=/b",
    ]


def test_a_program_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "environment", lambda _=None: {"PATH": "/nowhere"})
    with pytest.raises(MetisError, match=r"qemu-system-aarch64 is not installed.*qemu-system-arm"):
        programs.require(["qemu-system-aarch64"])


# -------------------------------------------------------------------------------------- additions

WITH_K3S = f"{STATIC}k3s: {{role: agent, server: '{SERVER}'}}\nssh: {{user: atlas}}\n"


def added(text: str, *missing: str) -> dict[str, str]:
    """The texts of the files that a boot adds to an image without the paths in `missing`."""
    node = node_of(text)
    wires = network.wiring(node, 2222)
    entries = additions.entries(
        node, wires, "ssh-ed25519 AAAA metis-boot\n", lambda path: path not in missing
    )
    return {
        entry.path: "".join(piece.text for piece in entry.content if isinstance(piece, Text))
        for entry in entries
        if isinstance(entry, File)
    }


def test_k3s_gets_a_stand_in_only_where_it_is_missing() -> None:
    assert PROGRAM in added(WITH_K3S, PROGRAM)
    assert PROGRAM not in added(WITH_K3S)
    assert PROGRAM not in added(STATIC, PROGRAM)


def test_the_network_card_gets_the_name_that_the_node_declares() -> None:
    assert "Name=eth0" in added(STATIC)["/etc/systemd/network/00-metis-boot.link"]
    assert "/etc/systemd/network/00-metis-boot.link" not in added("network: {interface: 'e*', dhcp: true}\n")


def test_sshd_reads_the_key_of_the_boot_beside_the_user_s_own(tmp_path: Path) -> None:
    try:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants its empty folder, as systemd makes it
    except PermissionError:
        pytest.skip("sshd wants /run/sshd, which root makes")
    files = added(WITH_K3S)
    sshd = program("sshd", "openssh-server")
    key = [name for name in files["/etc/ssh/sshd_config.d/00-metis-boot.conf"].split() if name in files]
    assert files[key[0]] == "ssh-ed25519 AAAA metis-boot\n"
    drop_in = files["/etc/ssh/sshd_config.d/00-metis-boot.conf"]
    config, host_key = tmp_path / "sshd_config", tmp_path / "host_key"
    config.write_text(drop_in)
    process.run([program("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", host_key])
    said = process.run([sshd, "-T", "-f", config, "-h", host_key]).out.decode()
    assert drop_in.replace("AuthorizedKeysFile", "authorizedkeysfile") in said


def test_an_image_whose_sshd_reads_no_drop_ins_is_refused() -> None:
    with pytest.raises(MetisError, match=r"sshd_config\.d"):
        added(STATIC, additions.SSHD_DROP_INS)


def test_what_is_added_can_be_put_in_together() -> None:
    node = node_of(WITH_K3S)
    entries = additions.entries(node, network.wiring(node, 2222), "key\n", lambda path: path != PROGRAM)
    collect("card", [Contribution("boot", tuple(entries))])


@pytest.mark.parametrize("name", ["k3s", "probe"])
def test_our_scripts_are_clean(name: str) -> None:
    check = [program("shellcheck", "shellcheck"), "-"]
    process.run(check, stdin=additions.asset(name).encode())


def test_systemd_takes_the_unit_that_ends_the_machine(tmp_path: Path) -> None:
    unit = tmp_path / "metis-boot-off.path"
    unit.write_text(additions.asset("metis-boot-off.path"))
    process.run([program("systemd-analyze", "systemd"), "verify", "--man=no", unit])


# ----------------------------------------------------------------------------------------- checks

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBUFcnZSYlCmmytWLwuY9PUnvWR0Ckdf9VezkODojKv0"
MACHINE_ID = "0123456789abcdef0123456789abcdef"


def wanted(**changes: object) -> checks.Expected:
    values: dict[str, object] = {
        "hostname": "titan-13",
        "address": ipaddress.IPv4Interface("192.168.22.13/24"),
        "machine_id": MACHINE_ID,
        "host_keys": {"ed25519": KEY},
        "mounts": (),
        "k3s_unit": "k3s-agent.service",
        "k3s": ("active",),
        "root_size": 1000,
    }
    return checks.Expected(**{**values, **changes})  # type: ignore[arg-type]


FOUND = {
    "hostname": "titan-13",
    "hostname-file": "titan-13",
    "machine-id": MACHINE_ID,
    "addresses": "2: eth0    inet 192.168.22.13/24 brd 192.168.22.255 scope global eth0",
    "failed": "",
    "mounts": "/ 11\n/mnt/longhorn 22\n/proc",
    "k3s": "LoadState=loaded\nActiveState=active\nSubState=running",
    "boot-id": "b1",
    "clock": "1000",
    "card-time": "999",
    "root-size": "1001",
}


def differing(expected: checks.Expected, **changes: str) -> list[str]:
    """The names of the checks that fail for what a node says, with changes."""
    found = {name.replace("_", "-"): text for name, text in changes.items()}
    return [row.name for row in checks.check_node(expected, {**FOUND, **found}, ["b0"], 1000.0) if not row.ok]


def test_a_node_that_is_as_it_must_be_passes() -> None:
    assert differing(wanted()) == []


@pytest.mark.parametrize(
    ("part", "text", "name"),
    [
        ("hostname", "golden", "hostname"),
        ("hostname_file", "golden", "/etc/hostname"),
        ("machine_id", "f" * 32, "machine-id"),
        ("machine_id", "", "machine-id"),
        ("addresses", "", "addresses"),
        ("addresses", "2: eth0    inet 192.168.22.14/24 scope global eth0", "addresses"),
        (
            "addresses",
            "2: eth0    inet 192.168.22.13/24 scope global eth0\n"
            "2: eth0    inet 192.168.22.99/24 scope global dynamic eth0",
            "addresses",
        ),
        ("failed", "ssh.service loaded failed failed SSH", "failed units"),
        ("k3s", "LoadState=not-found\nActiveState=inactive", "k3s"),
        ("k3s", "LoadState=loaded\nActiveState=activating\nSubState=auto-restart", "k3s"),
        ("boot_id", "b0", "boot id"),
        ("root_size", "1000", "root"),
        ("root_size", "", "root"),
        ("clock", "998", "clock"),
        ("card_time", "", "clock"),
    ],
)
def test_each_difference_is_found(part: str, text: str, name: str) -> None:
    assert differing(wanted(), **{part: text}) == [name]


def test_other_interfaces_may_have_addresses_of_their_own() -> None:
    other = "\n3: cni0    inet 10.42.0.1/24 scope global cni0"
    assert differing(wanted(), addresses=FOUND["addresses"] + other) == []


@pytest.mark.parametrize(
    ("is_there", "held", "ok"), [(True, "22", True), (True, "33", False), (False, "22", False)]
)
def test_a_disk_is_mounted_just_where_the_machine_has_it(is_there: bool, held: str, ok: bool) -> None:
    mount = checks.Mount("/mnt/longhorn", "22", is_there)
    failed = differing(wanted(mounts=(mount,)), mounts=f"/ 11\n/mnt/longhorn {held}")
    assert (failed == []) is ok


def test_a_disk_that_is_not_there_leaves_its_place_empty() -> None:
    mount = checks.Mount("/mnt/longhorn", "22", is_there=False)
    assert differing(wanted(mounts=(mount,)), mounts="/ 11") == []


def test_what_watches_over_a_disk_may_fail_just_where_the_machine_has_it_not() -> None:
    failed = "metis-disks.service loaded failed failed Disks"
    missing = expected_of(WITH_K3S + DISK).may_fail
    there = expected_of(WITH_K3S + DISK, UUID).may_fail
    assert differing(wanted(may_fail=missing), failed=failed) == []
    assert differing(wanted(may_fail=missing), failed=f"{failed}\nssh.service loaded failed failed") == [
        "failed units"
    ]
    assert differing(wanted(may_fail=there), failed=failed) == ["failed units"]


def test_a_machine_id_is_not_shown_as_a_whole() -> None:
    rows = checks.check_node(wanted(), {**FOUND, "machine-id": "f" * 32}, [], 1000.0)
    assert not any(text in row.expected + row.found for row in rows for text in (MACHINE_ID, "f" * 32))


def test_a_host_key_of_another_or_of_nobody_differs() -> None:
    def matches(**found: str) -> bool:
        return all(row.ok for row in checks.check_keys(wanted(), found))

    assert matches(ed25519=KEY)
    assert not matches(ed25519=KEY[:-1] + "1")
    assert not matches()
    assert not matches(ed25519=KEY, rsa=KEY)


def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    keygen = program("ssh-keygen", "openssh-client")
    file = tmp_path / "key.pub"
    file.write_text(KEY)
    assert guest.fingerprint(KEY) in process.run([keygen, "-l", "-f", file]).out.decode()


@pytest.mark.parametrize("key", ["", "ssh-ed25519", "ssh-ed25519 %%%", "x"])
def test_what_is_no_key_has_no_fingerprint(key: str) -> None:
    assert guest.fingerprint(key) == "none"


def expected_of(text: str, *uuids: str, has_peer: bool = False) -> checks.Expected:
    entries = [
        File("/etc/machine-id", (SecretRef("extra.machine_id"), Text("\n"))),
        File("/etc/ssh/ssh_host_ed25519_key.pub", (Text(f"{KEY} comment\n"),)),
    ]
    return checks.expected(
        node_of(text),
        collect("titan-13", [Contribution("identity", entries)]),
        lambda _: MACHINE_ID.encode(),
        address=None,
        uuids=frozenset(uuids),
        has_peer=has_peer,
        root_size=1000,
    )


def test_what_is_expected_comes_from_the_manifest_with_its_secrets() -> None:
    found = expected_of(STATIC)
    assert found.machine_id == MACHINE_ID
    assert found.host_keys == {"ed25519": KEY}
    assert found.hostname == "titan-13"


UUID = "0a1b2c3d-0000-4000-8000-000000000001"
SERVER_ROLE = WITH_K3S.replace("agent", "server")
DISK = f"longhorn: {{disks: [{{uuid: {UUID}, path: /mnt/longhorn}}]}}\n"


@pytest.mark.parametrize(
    ("text", "uuids", "has_peer", "states"),
    [
        (STATIC, (), False, ("absent",)),
        (WITH_K3S, (), False, ("active",)),
        (SERVER_ROLE, (), False, ("active", "guarded")),
        (SERVER_ROLE, (), True, ("active",)),
        (WITH_K3S + DISK, (), False, ("active", "guarded")),
        (WITH_K3S + DISK, (UUID,), False, ("active",)),
    ],
)
def test_k3s_must_run_where_nothing_that_it_needs_is_missing(
    text: str, uuids: tuple[str, ...], has_peer: bool, states: tuple[str, ...]
) -> None:
    assert expected_of(text, *uuids, has_peer=has_peer).k3s == states


def test_what_the_probe_says_comes_in_parts() -> None:
    assert checks.parts("== state\nrunning\n== failed\n== end\n") == {
        "state": "running",
        "failed": "",
        "end": "",
    }


def test_half_an_answer_is_none() -> None:
    assert checks.parts("== state\nrunning\n== fail") == {}


def test_the_probe_speaks_of_every_part(tmp_path: Path) -> None:
    said = process.run(
        ["sh", "-s", "--", "k3s.service", "1"], stdin=additions.asset("probe").encode(), check=False
    )
    assert FOUND.keys() <= checks.parts(said.out.decode()).keys()


# ------------------------------------------------------------------------------------ the session


@pytest.fixture
def port() -> Iterator[int]:
    """A port that takes connections and ends each at once, as QEMU's does while nobody listens in it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=refuse, daemon=True).start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)


def test_a_node_that_never_answers_is_late(port: int, tmp_path: Path) -> None:
    node = guest.Guest("root", port, tmp_path)
    with pytest.raises(guest.LateError, match="within 1 s"):
        node.wait_for_greeting(guest.Deadline.after(1), lambda: True)


def test_nobody_waits_for_a_machine_that_has_ended(port: int, tmp_path: Path) -> None:
    with pytest.raises(guest.GoneError):
        guest.Guest("root", port, tmp_path).wait_for_greeting(guest.Deadline.after(60), lambda: False)


def test_the_file_systems_on_disks_are_known_with_and_without_partitions(
    tiny_golden: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    whole.write_bytes(bytes(4 << 20))
    process.run(["mke2fs", "-q", "-t", "ext4", "-U", UUID, whole])
    blank = tmp_path / "blank"
    blank.write_bytes(bytes(1 << 20))
    found = session.uuids_on([whole, tiny_golden, blank])
    assert UUID in found
    assert len(found) == 2


@dataclass
class Emulated:
    """Stands for a machine that says one line and then waits to be ended."""

    console: str
    ended: bool = False
    last_words: tuple[str, ...] = ("the last line",)

    @property
    def child(self) -> Emulated:
        return self

    @property
    def is_running(self) -> bool:
        return not self.ended

    def wait(self, _timeout: float) -> bool:
        self.ended = True
        return True


Asked = Callable[..., session.Boot]


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> list[Emulated]:
    """The machines that are started, in their order."""
    started: list[Emulated] = []

    @contextmanager
    def running(_machine: object, _folder: Path) -> Iterator[Emulated]:
        started.append(Emulated("Reached target"))
        yield started[-1]

    monkeypatch.setattr(session, "running", running)
    monkeypatch.setattr(guest.Guest, "run", lambda *_: "")
    return started


def boots(monkeypatch: pytest.MonkeyPatch, ask: Asked, tmp_path: Path, **options: Any) -> list[session.Boot]:
    """What the boots of a machine show where each is asked so."""
    monkeypatch.setattr(session, "_ask", ask)
    wanted_machine = machine.Machine("amd64", tmp_path / "card", "none")
    node = guest.Guest("root", 1, tmp_path)
    chosen = session.Options(timeout=1, **options)
    return list(session._boots(wanted_machine, node, wanted(), tmp_path, chosen, QuietReporter()))


def booted(number: int, *, own_keys: bool) -> session.Boot:
    return session.Boot(number, 1.0, (checks.Check("host key ed25519", "a", "b", own_keys),))


def test_a_boot_is_cut_off_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, machines: list[Emulated], tmp_path: Path
) -> None:
    boots(monkeypatch, lambda number, *_: booted(number, own_keys=True), tmp_path, cuts=("Reached",))
    assert len(machines) == 2
    assert not machines[0].ended, "its power was cut: nobody switched it off"


def test_a_machine_is_switched_off_before_it_boots_again(
    monkeypatch: pytest.MonkeyPatch, machines: list[Emulated], tmp_path: Path
) -> None:
    found = boots(monkeypatch, lambda number, *_: booted(number, own_keys=True), tmp_path, boots=2)
    assert [boot.number for boot in found] == [1, 2]
    assert [emulated.ended for emulated in machines] == [True, False]


def test_nothing_more_is_asked_of_a_stranger(
    monkeypatch: pytest.MonkeyPatch, machines: list[Emulated], tmp_path: Path
) -> None:
    found = boots(monkeypatch, lambda number, *_: booted(number, own_keys=False), tmp_path, boots=2)
    assert len(found) == 1
    assert not machines[0].ended


def test_the_last_lines_of_a_machine_that_is_late_are_shown(
    monkeypatch: pytest.MonkeyPatch,
    machines: list[Emulated],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def late(*_: object) -> session.Boot:
        raise guest.LateError("too late")

    with pytest.raises(guest.LateError):
        boots(monkeypatch, late, tmp_path)
    assert "console: the last line" in capfd.readouterr().err


@pytest.mark.parametrize("state", ["starting", "initializing", ""])
def test_a_node_that_has_not_settled_is_late(
    state: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = guest.Guest("root", 1, tmp_path)
    monkeypatch.setattr(guest.Guest, "wait_for_greeting", lambda *_: None)
    monkeypatch.setattr(guest.Guest, "host_keys", lambda *_: {"ed25519": KEY})
    monkeypatch.setattr(guest.Guest, "run", lambda *_: f"== state\n{state}\n== end\n")
    with pytest.raises(guest.LateError, match="settled"):
        session._ask(1, Emulated(""), node, wanted(), [], guest.Deadline.after(1))  # type: ignore[arg-type]


def report(*, ok: bool) -> session.Report:
    rows = (checks.Check("hostname", "titan-13", "titan-13" if ok else "golden\x1b[2J", ok),)
    return session.Report("titan-13", "tcg", (session.Boot(1, 71.4, rows),))


def test_a_report_says_what_differs_and_nothing_that_a_terminal_obeys() -> None:
    text = session.to_text(report(ok=False))
    assert "DIFFERS" in text
    assert "\x1b" not in text
    assert "DIFFERS" not in session.to_text(report(ok=True))


@pytest.mark.parametrize("noted", [{}, {"argument": ["agent"]}])
def test_a_report_says_where_something_else_was_started_in_place_of_k3s(noted: dict[str, list[str]]) -> None:
    text = session.to_text(session.Report("titan-13", "tcg", (session.Boot(1, 71.4, (), noted),)))
    assert ("a stand-in, as the image has none" in text) is bool(noted)


def test_a_report_for_machines_is_json() -> None:
    data = json.loads(json.dumps(session.to_data(report(ok=False))))
    assert data["ok"] is False
    assert data["boots"][0]["checks"][0]["expected"] == "titan-13"


# ------------------------------------------------------------------------------- the command line


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab with one node, none of whose images were built."""
    for name, text in {
        "classes/pi.yaml": "arch: arm64\nos: debian\n",
        "nodes/titan-13.yaml": f"class: pi\n{STATIC}",
    }.items():
        file = tmp_path / "inventory" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setenv("METIS_INVENTORY", str(tmp_path / "inventory"))
    monkeypatch.setenv("METIS_ARTIFACTS", str(tmp_path / "artifacts"))
    return tmp_path


@pytest.mark.usefixtures("inventory")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--node", "titan-13"], 1, "metis image --node titan-13"),
        (["--node", "titan-13", "--node", "titan-14"], 2, "one node"),
        (["--node", "titan-13", "--peer", "nonsense"], 2, "--peer HOST:PORT"),
        (["--node", "titan-13", "--disk", "/none"], 2, "/none"),
        (["--node", "titan-13", "--boots", "0"], 2, "--boots"),
        (["--node", "titan-99"], 2, "no such node"),
    ],
)
def test_what_cannot_boot_is_told_before_anything_starts(
    words: list[str], code: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["boot", *words])
    assert ended.value.code == code
    captured = capfd.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_a_unit_that_failed_is_shown_and_is_no_other_identity() -> None:
    rows = (checks.Check("failed units", "none", "x.service", ok=False),)
    report = session.Report("titan-13", "tcg", (session.Boot(1, 1.0, rows),))
    assert report.differing == []
    assert "DIFFERS  failed units" in session.to_text(report)
