"""A network of its own, in which a test says who is there: nothing of it reaches the machine's own."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

import pytest

from pipeline.machine import process

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
_SETUP = (
    "link set lo up",
    "link add lab type veth peer name nobody",
    "link set lab up",
    "link set nobody up",
    "address add 203.0.113.1/24 dev lab",
    "ntable change name arp_cache dev lab retrans 20 ucast_probes 0 mcast_probes 1",
)
"""A cable to nobody; that no neighbour is there is known after one question, not after three seconds."""
_libc = ctypes.CDLL(None, use_errno=True)


def need_networks() -> None:
    """Skip where no network can be made."""
    if os.geteuid() != 0:
        pytest.skip("only root may make a network")


class Network:
    """One network namespace, kept by an open file; a thread that enters it does not come back."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._descriptor = self.inside(self._make)

    @staticmethod
    def _make() -> int:
        for words in _SETUP:
            process.run(["ip", *words.split()])
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def file(self) -> str:
        """What names it to other programs as long as we live."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @property
    def within(self) -> tuple[str, ...]:
        """What runs a program there, put before it."""
        return "nsenter", f"--net={self.file}", "--"

    def inside(self, work: Callable[[], T]) -> T:
        """Do something there, in a thread of its own; threads and sockets that it makes stay there."""
        result: Future[T] = Future()

        def run() -> None:
            try:
                self._enter()
                result.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
                result.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return result.result()

    def _enter(self) -> None:
        is_new = self._descriptor < 0
        code = _libc.unshare(CLONE_NEWNET) if is_new else _libc.setns(self._descriptor, CLONE_NEWNET)
        if code != 0:
            raise OSError(ctypes.get_errno(), "no network namespace")

    def add_machine(self, address: str) -> None:
        """Have a machine at an address that answers, though nothing listens there."""
        self.inside(lambda: process.run(["ip", "address", "add", f"{address}/32", "dev", "lo"]))

    def add_silence(self, address: str) -> None:
        """Have nobody at an address of a network that is there: it is asked for, and nobody says "here"."""
        self.inside(lambda: process.run(["ip", "route", "add", f"{address}/32", "dev", "lab"]))

    def close(self) -> None:
        os.close(self._descriptor)


@contextmanager
def network() -> Iterator[Network]:
    """Have a network while the block runs; there is nobody in it but loopback."""
    need_networks()
    made = Network()
    try:
        yield made
    finally:
        made.close()
