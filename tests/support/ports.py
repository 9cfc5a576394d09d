"""Ports for servers that must be told one."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from pipeline.boot.network import free_port
from pipeline.machine.process import Background
from tests.support.waiting import wait_until

TRIES = 5


@contextmanager
def listening(start: Callable[[int], AbstractContextManager[Background]], log: Path) -> Iterator[int]:
    """Have a server that `start` starts at a port, and give the port once it says that it listens there.

    Somebody else may have taken the port meanwhile: then it ends, and is started at another one.
    """
    for _ in range(TRIES):
        port = free_port()
        with start(port) as running:
            if _listens(running, log):
                yield port
                return
    raise AssertionError(f"no server listens: {log.read_text()[-1000:]}")


@contextmanager
def kept_port() -> Iterator[int]:
    """A port of loopback for a server that begins there again and again: nobody else is given it meanwhile.

    While it does not listen nobody does. It says SO_REUSEADDR, as servers do (socket(7)).
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


def _listens(running: Background, log: Path) -> bool:
    """Whether it says so, and has not ended."""
    wait_until(lambda: not running.is_running or b"istening on" in log.read_bytes())
    return running.is_running
