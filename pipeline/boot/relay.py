"""Joins its own input and output with a TCP service: `relay.py HOST PORT`.

QEMU starts one for each connection of an emulated machine. Standard library only, since it is run as a file.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

CHUNK = 1 << 16


def _pump(source: int, target: int) -> None:
    while data := os.read(source, CHUNK):
        while data:
            data = data[os.write(target, data) :]


def relay(host: str, port: int) -> None:
    """Pass bytes both ways until the service ends the connection."""
    with socket.create_connection((host, port)) as service:

        def send() -> None:
            _pump(0, service.fileno())
            service.shutdown(socket.SHUT_WR)

        threading.Thread(target=send, daemon=True).start()
        _pump(service.fileno(), 1)


if __name__ == "__main__":
    try:
        relay(sys.argv[1], int(sys.argv[2]))
    except OSError as error:
        sys.exit(f"relay: {error}")
