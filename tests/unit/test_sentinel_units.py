"""The units that failed, asked of a bus that speaks D-Bus, or something else."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metis_sentinel import dbus, units
from tests.support.hosts import host, taken


def _string(order: str, value: str, data: bytes) -> bytes:
    data += bytes(-len(data) % 4)
    return data + struct.pack(f"{order}I", len(value)) + value.encode() + b"\0"


def message(kind: int, answers: int, body: bytes, *, order: str = "<") -> bytes:
    """A message as a bus sends it: of a serial, an answer, its sender."""
    fields = b"\x05\x01u\0" + struct.pack(f"{order}I", answers)
    fields += b"\x08\x01g\0\x01s\0" + b"\0"
    fields = _string(order, ":1.5", fields + b"\x07\x01s\0")
    head = b"l" if order == "<" else b"B"
    head += bytes((kind, 1, 1)) + struct.pack(f"{order}III", len(body), 9, len(fields)) + fields
    return head + bytes(-len(head) % 8) + body


def listed(*names: str, order: str = "<") -> bytes:
    """A list of units as systemd gives it."""
    data = b""
    for name in names:
        data += bytes(-len(data) % 8)
        for value in (name, "what it is", "loaded", "failed", "failed", "", "/org/x"):
            data = _string(order, value, data)
        data += bytes(-len(data) % 4) + struct.pack(f"{order}I", 0)
        data = _string(order, "", data)
        data = _string(order, "/", data)
    return struct.pack(f"{order}II", len(data), 0) + data


@contextmanager
def bus(root: Path, serve: Callable[[socket.socket], object]) -> Iterator[None]:
    """A bus in a host, for one connection."""
    folder = root / "run/dbus"
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(20)
        descriptor = os.open(folder, os.O_PATH)
        server.bind(f"/proc/self/fd/{descriptor}/system_bus_socket")
        os.close(descriptor)
        server.listen()

        def run() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(20)
                serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            thread.join()


def _lines(connection: socket.socket, count: int) -> bytes:
    said = b""
    while said.count(b"\r\n") < count:
        said += connection.recv(1)
    return said


def _call(connection: socket.socket) -> bytes:
    fixed = connection.recv(16, socket.MSG_WAITALL)
    return fixed + connection.recv(dbus.length(fixed) - 16, socket.MSG_WAITALL)


def answering(*answers: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        assert _lines(connection, 1) == f"\0AUTH EXTERNAL {str(os.geteuid()).encode().hex()}\r\n".encode()
        connection.sendall(b"OK 1234\r\n")
        assert _lines(connection, 1) == b"BEGIN\r\n"
        assert b"Hello" in _call(connection)
        connection.sendall(message(2, 1, _string("<", ":1.9", b"")) + message(4, 0, b""))
        assert b"ListUnitsFiltered" in _call(connection)
        for answer in answers:
            connection.sendall(answer)

    return serve


def saying(answer: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        _lines(connection, 1)
        connection.sendall(answer)

    return serve


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "names", [[], ["a.service"], ["b.timer", "a.service"], [f"u{n:04}" for n in range(2000)]]
)
def test_the_units_that_failed_are_told(tmp_path: Path, order: str, names: list[str]) -> None:
    with bus(host(tmp_path), answering(message(2, 2, listed(*names, order=order), order=order))):
        assert taken(tmp_path)["failed_units"] == sorted(names)[:1000]


WRONG: dict[str, tuple[Callable[[socket.socket], object], str]] = {
    "hangs up": (lambda connection: _lines(connection, 1), "hung up"),
    "refuses": (saying(b"REJECTED EXTERNAL\r\n"), "does not let us in"),
    "speaks HTTP": (saying(b"HTTP/1.1 400 " + b"x" * 2000), "does not speak D-Bus"),
    "has no systemd": (
        answering(message(3, 2, _string("<", "no such name\x1b[0m", b""))),
        "the bus: no such name\\x1b[0m",
    ),
    "says other things": (answering(message(4, 0, b"") * 200), "does not answer"),
    "sends a vast message": (
        answering(struct.pack("<cBBBIII", b"l", 2, 0, 1, 1 << 30, 1, 16)),
        "a message has",
    ),
    "sends no message": (answering(b"x" * 16), "no message of D-Bus"),
    "sends fields of no type": (
        answering(struct.pack("<cBBBIII", b"l", 2, 0, 1, 0, 1, 8) + b"\x09\x01v\0\0\0\0\0"),
        "a field of type",
    ),
    "sends a list that is cut off": (answering(message(2, 2, listed("a", "b")[:60])), "is cut off"),
}


@pytest.mark.parametrize(("serve", "why"), WRONG.values(), ids=WRONG)
def test_a_bus_that_does_not_answer_is_a_gap(
    tmp_path: Path, serve: Callable[[socket.socket], object], why: str
) -> None:
    with bus(host(tmp_path), serve):
        found: Any = taken(tmp_path)
    assert "failed_units" not in found
    assert any(gap.startswith("failed_units: ") and why in gap for gap in found["gaps"]), found["gaps"]


def test_a_bus_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "_PATIENCE", 0.05)
    done = threading.Event()
    with bus(host(tmp_path), lambda connection: done.wait(20)):
        found: Any = taken(tmp_path)
        done.set()
    assert any(gap == "failed_units: timed out" for gap in found["gaps"])


@given(st.binary(max_size=200))
def test_no_message_does_more_than_be_refused(data: bytes) -> None:
    for first in (b"l", b"B"):
        try:
            dbus.Message(first + data).units(10)
        except ValueError:
            continue


def test_the_calls_are_what_a_bus_understands(tmp_path: Path) -> None:
    """dbus-daemon(1) itself says Hello, and that nobody is called systemd there."""
    config = tmp_path / "bus.conf"
    folder = tmp_path / "run/dbus"
    folder.mkdir(parents=True)
    config.write_text(
        f"<busconfig><listen>unix:path={folder}/system_bus_socket</listen><auth>EXTERNAL</auth>"
        '<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/></policy>'
        "</busconfig>"
    )
    command = ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as daemon:
        try:
            assert daemon.stdout
            assert daemon.stdout.readline()
            found: Any = taken(host(tmp_path))
        finally:
            daemon.terminate()
    assert any("systemd1" in gap for gap in found["gaps"] if gap.startswith("failed_units")), found["gaps"]
