"""Who lives at an address: asked of this machine's own kernel, and of networks that are made for it."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.cluster.probe import MOST, Probe, answers
from pipeline.machine import process
from tests.support.descriptors import descriptors
from tests.support.rendering import program

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    address: str = request.param
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with closing(socket.create_server((address, 0), family=family)) as listener:
        yield listener


# --------------------------------------------------------------------------------------- this machine


def test_a_port_that_is_open_is_a_sign_of_life(listener: socket.socket) -> None:
    address, port = listener.getsockname()[:2]
    assert answers([address], [port]) == (Probe(address, "alive", port),)


def test_nothing_is_said_and_nothing_left_open(listener: socket.socket, closed_port: int) -> None:
    address, port = listener.getsockname()[:2]
    before = descriptors()
    answers([address], [port, closed_port])
    assert descriptors() <= before
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(30)
        assert connection.recv(1) == b""


@pytest.mark.parametrize("address", ["127.0.0.1", "127.99.0.1", "::1"])
def test_a_port_that_is_closed_is_one_too(address: str, closed_port: int) -> None:
    assert answers([address], [closed_port]) == (Probe(address, "alive", closed_port),)


def test_each_address_comes_once_as_addresses_are_written(closed_port: int) -> None:
    found = answers(["127.0.0.1", "127.0.0.1/8", "::ffff:127.0.0.1", "0:0::1"], [closed_port])
    assert [probe.address for probe in found] == ["127.0.0.1", "::1"]


@pytest.mark.parametrize(
    "text", ["", "titan-7", "a\x1b[2J", "x" * 9999, "0.0.0.0", "::", "224.0.0.1", "fe80::1%lo"]
)
def test_what_is_no_machines_address_is_not_asked(text: str, closed_port: int) -> None:
    (probe,) = answers([text], [closed_port])
    assert (probe.state, probe.why) == ("unreachable", "no address of a machine")
    assert probe.address.isprintable()
    assert len(probe.address) < 100


def test_of_very_many_addresses_the_first_are_asked(closed_port: int) -> None:
    many = [f"127.0.9.{number}" for number in range(1, MOST + 3)]
    found = answers(many, [closed_port])
    assert [probe.state for probe in found] == ["alive"] * MOST + ["unreachable"] * 2


def test_nobody_to_ask_is_no_answer() -> None:
    assert answers([]) == ()


# ------------------------------------------------------------------------------------- other networks


NETWORK = """
mount -t tmpfs none /run
mkdir /run/netns
ip link set lo up
ip netns add other
ip link add here type veth peer name there netns other
ip addr add 192.0.2.1/24 dev here
ip addr add fd00::1/64 dev here nodad
ip link set here up
ip -n other link set lo up
ip -n other addr add 192.0.2.7/24 dev there
ip -n other addr add fd00::7/64 dev there nodad
ip -n other link set there up
ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev here
ip neigh add fd00::9 lladdr 02:00:00:00:00:09 dev here
ip route add unreachable 198.51.100.1
ip route add prohibit 198.51.100.2
ip route add blackhole 198.51.100.3
ip route add 203.0.113.0/24 via 192.0.2.7
ip netns exec other sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
ip -n other route add unreachable 203.0.113.1
exec "$@"
"""
"""A network with a living machine at .7, nobody at .8, and at .9 one that takes all and says nothing."""
ASK = """
import json, sys
from dataclasses import asdict
from pipeline.cluster.probe import answers
seconds, *addresses = sys.argv[1:]
print(json.dumps([asdict(probe) for probe in answers(addresses, [22, 6443], float(seconds))]))
"""


def within(seconds: float, *addresses: str) -> list[dict[str, Any]]:
    """What is said of addresses from a machine on that network."""
    program("ip", "iproute2")
    shell = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-ec", NETWORK, "sh"]
    shell = shell if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", *shell[1:]]
    said = process.run([*shell, sys.executable, "-c", ASK, f"{seconds}", *addresses], cwd=ROOT, check=False)
    if said.code != 0 and b"Operation not permitted" in said.err:
        pytest.skip("this machine lets nobody make a network")
    assert said.code == 0, said.last_words
    found: list[dict[str, Any]] = json.loads(said.out)
    return found


def states(found: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {probe["address"]: probe["state"] for probe in found}


PATIENCE = 60.0
"""Seconds, longer than the kernel ever looks for a neighbour."""


def test_a_living_machine_is_told_from_one_that_nobody_answers_for() -> None:
    found = within(PATIENCE, "192.0.2.7", "fd00::7", "192.0.2.8", "fd00::8", "192.0.2.1")
    assert states(found) == {
        "192.0.2.7": "alive",
        "fd00::7": "alive",
        "192.0.2.8": "silent",
        "fd00::8": "silent",
        "192.0.2.1": "alive",
    }
    assert [probe["port"] for probe in found if probe["state"] == "alive"] != []


def test_who_takes_what_comes_and_says_nothing_is_silent_when_the_time_is_up() -> None:
    assert states(within(0.5, "192.0.2.9", "fd00::9", "192.0.2.7")) == {
        "192.0.2.9": "silent",
        "fd00::9": "silent",
        "192.0.2.7": "alive",
    }


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("198.51.100.1", "no route to host"),
        ("198.51.100.2", "permission denied"),
        ("198.51.100.3", "invalid argument"),
        ("198.51.100.4", "network is unreachable"),
        ("2001:db8::1", "network is unreachable"),
        ("255.255.255.255", "network is unreachable"),
    ],
)
def test_what_we_have_no_way_to_is_told_from_silence(address: str, why: str) -> None:
    assert within(PATIENCE, address) == [
        {"address": address, "state": "unreachable", "port": None, "why": why}
    ]


def test_a_router_that_knows_of_no_such_machine_makes_it_silent() -> None:
    assert states(within(PATIENCE, "203.0.113.1")) == {"203.0.113.1": "silent"}
