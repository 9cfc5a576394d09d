"""The units that systemd calls failed: it is asked over the system's bus (org.freedesktop.systemd1(5))."""

from __future__ import annotations

import os
import socket
import time

from . import dbus
from .host import Host
from .texts import text

_BUS = "/run/dbus/system_bus_socket"
_MOST = 1000
_PATIENCE = 5.0
"""Seconds for all of it."""
_MESSAGES = 100
_ROOM = 512
"""Bytes of a line while the bus makes sure who we are."""


def failed_units(host: Host) -> list[str]:
    """Their names. Raises OSError and ValueError where no bus answers as it should."""
    with host.files.address(_BUS) as address:
        bus = _Bus(address)
    try:
        bus.log_in()
        bus.ask(1, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.Hello")
        manager = "org.freedesktop.systemd1.Manager.ListUnitsFiltered"
        units = bus.ask(2, "org.freedesktop.systemd1", "/org/freedesktop/systemd1", manager, ("failed",))
        return sorted(text(name, 256) for name in units.units(_MOST))
    finally:
        bus.close()


class _Bus:
    """A connection to a bus, for some seconds."""

    def __init__(self, address: str) -> None:
        self._until = time.monotonic() + _PATIENCE
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.settimeout(_PATIENCE)
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def log_in(self) -> None:
        """Say who we are, which the kernel confirms (SASL EXTERNAL)."""
        who = str(os.geteuid()).encode().hex().encode()
        self._socket.sendall(b"\0AUTH EXTERNAL " + who + b"\r\n")
        said = b""
        while not said.endswith(b"\r\n"):
            said += self._received(1)
            if len(said) > _ROOM:
                raise ValueError("the bus does not speak D-Bus")
        if not said.startswith(b"OK "):
            raise ValueError("the bus does not let us in")
        self._socket.sendall(b"BEGIN\r\n")

    def ask(
        self, serial: int, destination: str, path: str, member: str, words: tuple[str, ...] | None = None
    ) -> dbus.Message:
        """The answer to a call; what comes beside it is left unread."""
        self._socket.sendall(dbus.call(serial, destination, path, member, words))
        for _ in range(_MESSAGES):
            fixed = self._received(dbus.FIXED)
            message = dbus.Message(fixed + self._received(dbus.length(fixed) - dbus.FIXED))
            if message.answers == serial and message.kind == dbus.RETURN:
                return message
            if message.answers == serial and message.kind == dbus.ERROR:
                raise ValueError(f"the bus: {text(message.words(), 256)}")
        raise ValueError("the bus does not answer")

    def _received(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._socket.settimeout(max(self._until - time.monotonic(), 0.001))
            part = self._socket.recv(min(count - len(data), 1 << 16))
            if not part:
                raise ValueError("the bus hung up")
            data += part
        return bytes(data)
