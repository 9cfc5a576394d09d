"""Whether a machine lives at an address: a TCP connection is begun, and nothing is ever said on it."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal

from ..errors import one_line, reason_of
from .addresses import Address, parsed

PORTS = (22, 6443, 10250)
"""What nodes listen on: ssh, a server's API, the kubelet's."""
SECONDS = 4.0
"""The kernel begins a connection again after one second, and gives up to find a neighbour after three."""
MOST = 32
"""Addresses that are asked."""
LONGEST = 60
"""Characters that are repeated of what is no address."""

State = Literal["alive", "silent", "unreachable"]

# A reset or a refusal comes from a machine that lives, as much as an open port does.
_ALIVE = frozenset({0, errno.ECONNREFUSED, errno.ECONNRESET})
_SILENT = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EHOSTDOWN})
_BEGUN = frozenset({errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS)})


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of an address.

    alive        a machine took or refused a connection to `port`
    silent       nobody answered: neither in time, nor who is asked for the machine behind the address
    unreachable  from here nobody can tell; `why` says what the kernel or a network on the way has against it
    """

    address: str
    state: State
    port: int | None = None
    why: str = ""


def answers(
    addresses: Iterable[str], ports: Sequence[int] = PORTS, seconds: float = SECONDS
) -> tuple[Probe, ...]:
    """Ask all ports of all addresses at once, and say of each address whether a machine lives there.

    It takes at most that many seconds, and less where all is known before. Each address comes once, as
    `ipaddress` writes it. One of this machine itself is alive: whoever runs this is no dead node. Firewalls
    on the way may answer for a dead machine, which is then alive; one on the machine that drops everything,
    or rejects it with "host prohibited", makes a living one silent.
    """
    wanted = {str(parsed(text) or one_line(text[:LONGEST])): parsed(text) for text in addresses}
    with _Asking(ports) as asking:
        for count, (name, address) in enumerate(wanted.items()):
            if count < MOST:
                asking.begin(name, address)
        asking.wait(seconds)
    return tuple(
        asking.found.get(name, Probe(name, "unreachable", why="too many addresses")) for name in wanted
    )


class _Asking:
    """The connections that are on their way, and what came of the others."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.found: dict[str, Probe] = {}
        self._ports = ports
        self._open = ExitStack()
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> _Asking:
        self._open.enter_context(self._selector)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def begin(self, name: str, address: Address | None) -> None:
        """Begin a connection to each port, or say why there is none."""
        if address is None or address.is_unspecified or address.is_multicast:
            self.found[name] = Probe(name, "unreachable", why="no address of a machine")
            return
        for port in self._ports:
            try:
                code = self._connect(name, address, port)
            except OSError as error:
                self._note(Probe(name, "unreachable", why=reason_of(error)))
                continue
            if code in _ALIVE:
                self._note(Probe(name, "alive", port))
            elif code not in _BEGUN:  # also EHOSTUNREACH: here it is our own table of routes that says so
                self._note(Probe(name, "unreachable", why=os.strerror(code).lower()))

    def _connect(self, name: str, address: Address, port: int) -> int:
        family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
        connection = self._open.enter_context(socket.socket(family, socket.SOCK_STREAM))
        connection.setblocking(False)
        code = connection.connect_ex((str(address), port))
        if code in _BEGUN:
            self._selector.register(connection, selectors.EVENT_WRITE, (name, port))
        return code

    def wait(self, seconds: float) -> None:
        """Wait for what comes of them, until nothing more can change or the time is up."""
        until = time.monotonic() + seconds
        while waiting := self._waiting():
            ready = self._selector.select(max(0.0, until - time.monotonic()))
            if not ready:
                for name in waiting:
                    self._note(Probe(name, "silent"))
                return
            for key, _ in ready:
                self._selector.unregister(key.fileobj)
                assert isinstance(key.fileobj, socket.socket)
                name, port = key.data
                self._note(_came_of(name, port, key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))

    def _waiting(self) -> set[str]:
        """Addresses of which more may be heard than is known."""
        names = {key.data[0] for key in self._selector.get_map().values()}
        return {name for name in names if name not in self.found or self.found[name].state != "alive"}

    def _note(self, probe: Probe) -> None:
        """Keep what says more: one port that lives outdoes all others, and silence a way that is shut."""
        order: tuple[State, ...] = ("unreachable", "silent", "alive")
        before = self.found.get(probe.address)
        if before is None or order.index(before.state) < order.index(probe.state):
            self.found[probe.address] = probe


def _came_of(name: str, port: int, code: int) -> Probe:
    if code in _ALIVE:
        return Probe(name, "alive", port)
    return (
        Probe(name, "silent")
        if code in _SILENT
        else Probe(name, "unreachable", why=os.strerror(code).lower())
    )
