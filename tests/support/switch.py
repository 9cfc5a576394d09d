"""Networks of their own that a switch joins: machines that reach each other, and nobody else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

from pipeline.machine import process

from .netns import Network, need_networks

ALL = 0x0003
"""Packets of every kind (ETH_P_ALL in linux/if_ether.h)."""
SO_RCVBUFFORCE = 33
"""Of asm-generic/socket.h."""


@contextmanager
def joined(count: int) -> Iterator[list[tuple[Network, str]]]:
    """Have so many networks, each with its address, while the block runs; the switch is in the first."""
    need_networks()
    with ExitStack() as stack:
        networks = [stack.enter_context(closing(Network())) for _ in range(count)]
        hub, addresses = networks[0], [f"198.51.100.{number}" for number in range(1, count + 1)]
        _ip(hub, "link add switch type bridge")
        _ip(hub, f"address add {addresses[0]}/24 dev switch")
        _ip(hub, "link set switch up")
        for number, (network, address) in enumerate(zip(networks, addresses, strict=True)):
            if network is hub:
                continue
            _ip(hub, f"link add port{number} type veth peer name cable netns {network.file}")
            _ip(hub, f"link set port{number} master switch up")
            _ip(network, f"address add {address}/24 dev cable")
            _ip(network, "link set cable up")
        yield list(zip(networks, addresses, strict=True))


@contextmanager
def heard(network: Network, device: str) -> Iterator[bytearray]:
    """Have all that passes a device of a network while the block runs (packet(7)), as it comes."""
    listener = network.inside(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)))
    passed, is_over = bytearray(), threading.Event()
    listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    listener.bind((device, 0))
    listener.settimeout(0.1)

    def listen() -> None:
        while not is_over.is_set():
            with suppress(TimeoutError):
                passed.extend(listener.recv(1 << 17))

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield passed
    finally:
        is_over.set()
        thread.join()
        listener.close()


def _ip(network: Network, words: str) -> None:
    network.inside(lambda: process.run(["ip", *words.split()]))
