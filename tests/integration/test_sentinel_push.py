"""Snapshots on their way to the service: whatever it, or the way to it, does, none is lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from pathlib import Path

import pytest

from metis_sentinel.__main__ import run
from metis_sentinel.push import Service
from tests.support.receiver import NOTHING, Delivery, Receiver, answer, receiving
from tests.support.sentinel import Ended, Node, Time, files, plant
from tests.support.waiting import PATIENCE

ID = "0" * 32


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    return plant(monkeypatch)


@pytest.fixture
def ca(certificate: Path) -> Path:
    return Path(f"{certificate}.crt")


@pytest.fixture
def receiver(certificate: Path) -> Iterator[Receiver]:
    with receiving(certificate) as there:
        yield there


@pytest.fixture
def closed(certificate: Path) -> Iterator[Receiver]:
    """A port that refuses until it is started."""
    with receiving(certificate, starts=False) as there:
        yield there


def options(receiver: Receiver, ca: Path, spool: Path, *more: str) -> list[str]:
    return ["--push", receiver.url, "--ca", str(ca), "--spool", str(spool), *more]


def dropped(deliveries: Iterable[Delivery]) -> int:
    return sum(json.loads(each.body)["dropped"] for each in deliveries)


# ------------------------------------------------------------------------------- an hour without it


def bad_until(time: Time, moment: float) -> object:
    """Some answers are 500, and some connections break when all has arrived; later all is well."""

    def script(delivery: Delivery) -> list[bytes]:
        if time.passed < moment and delivery.place % 5 == 2:
            return answer(500)
        return NOTHING if time.passed < moment and delivery.place % 7 == 3 else answer(201)

    return script


def test_an_hour_without_the_service_loses_no_snapshot(
    node: Node, closed: Receiver, ca: Path, tmp_path: Path
) -> None:
    time = Time(end=7230, at={3600: closed.start})
    closed.script = bad_until(time, 6000)  # type: ignore[assignment]
    with pytest.raises(Ended):
        run(options(closed, ca, tmp_path, "--interval", "60s"), {}, time.clock())
    assert len(node.taken) == 121
    assert list(dict.fromkeys(each.id for each in closed.got)) == node.ids, "all, and the oldest first"
    assert len(closed.got) > 150, "some of them more than once"
    bodies = {each.id: {other.body for other in closed.got if other.id == each.id} for each in closed.got}
    assert all(len(each) == 1 for each in bodies.values())
    assert [json.loads(bodies[each["id"]].pop()) for each in node.taken] == node.taken
    assert files(tmp_path) == []


def test_who_lost_the_service_asks_no_more_often_than_the_backoff_says(
    node: Node, closed: Receiver, ca: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    time = Time(end=3600, chance=0.999)
    with pytest.raises(Ended):
        run(options(closed, ca, tmp_path, "--interval", "5m"), {}, time.clock())
    assert 10 < capfd.readouterr().err.count("cannot deliver to 127.0.0.1: connection refused: kept") < 20


def test_what_a_small_spool_drops_is_counted_exactly(
    node: Node, closed: Receiver, ca: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    most: list[int] = []
    time = Time(end=7230, at={3600: closed.start})
    time.at |= {
        float(at): lambda: most.append(len(list(tmp_path.glob("0*.json")))) for at in range(5, 3600, 50)
    }
    with pytest.raises(Ended):
        run(options(closed, ca, tmp_path, "--interval", "60s", "--spool-keep", "5"), {}, time.clock())
    got = [each.id for each in closed.got]
    assert max(most) == 5
    assert got == node.ids[-len(got) :], "the newest came through, in their order"
    assert 0 < dropped(closed.got) == len(node.taken) - len(got)
    assert f"{tmp_path} is full: 1 snapshot dropped, the oldest" in capfd.readouterr().err


# --------------------------------------------------------------------------------------- a single run


def test_a_single_run_leaves_its_snapshot_to_the_next(
    node: Node, closed: Receiver, ca: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    time = Time()
    assert run(options(closed, ca, tmp_path / "spool"), {}, time.clock()) == 5
    assert time.naps == [2.5, 5]
    said = capfd.readouterr()
    assert said.err.splitlines()[-1].startswith(
        "metis-sentinel: the service cannot be reached: what waits in "
    )
    assert said.out == ""
    closed.start()
    assert run(options(closed, ca, tmp_path / "spool"), {}, time.clock()) == 0
    assert [each.id for each in closed.got] == node.ids
    assert files(tmp_path) == []


@pytest.mark.parametrize("wait", ["120", "999999999999999999"])
def test_a_service_that_wants_time_gets_it(
    node: Node, receiver: Receiver, ca: Path, tmp_path: Path, wait: str
) -> None:
    receiver.script = lambda each: answer(201) if each.place else answer(503, Retry_After=wait)
    time = Time()
    assert run(options(receiver, ca, tmp_path), {}, time.clock()) == 5
    assert len(receiver.got) == 1, "a single run does not wait so long"
    time = Time(end=4000)
    receiver.got.clear()
    with pytest.raises(Ended):
        run(options(receiver, ca, tmp_path, "--interval", "1h"), {}, time.clock())
    assert len(receiver.got) == 4
    assert max(time.naps) <= 3600
    assert time.passed >= min(120, int(wait))


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_snapshot_that_the_service_never_takes_stops_no_other(
    node: Node, receiver: Receiver, ca: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], status: int
) -> None:
    receiver.script = lambda each: answer(201) if each.place else answer(status)
    for _ in range(2):
        assert run(options(receiver, ca, tmp_path), {}, Time().clock()) == 0
    assert [each.id for each in receiver.got] == node.ids
    assert files(tmp_path) == ["rejected/000000000001.json"]
    assert f"the service answers {status}" in capfd.readouterr().err


def test_a_truncated_snapshot_in_the_spool_stops_no_other(
    node: Node, receiver: Receiver, ca: Path, tmp_path: Path
) -> None:
    (tmp_path / "000000000007.json").write_text('{"id": "0000')
    assert run(options(receiver, ca, tmp_path), {}, Time().clock()) == 0
    assert [each.id for each in receiver.got] == node.ids
    assert files(tmp_path) == ["rejected/000000000007.json"]


def test_the_token_is_read_anew_at_each_delivery(
    node: Node, receiver: Receiver, ca: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"

    def rotate(delivery: Delivery) -> list[bytes]:
        good = delivery.headers["Authorization"] == "Bearer second"
        token.write_text("second")
        return answer(201 if good else 401)

    token.write_text("first\n")
    token.chmod(0o600)
    receiver.script = rotate
    asked = options(receiver, ca, tmp_path / "spool", "--token-file", str(token))
    assert run(asked, {}, Time().clock()) == 0
    assert [each.headers["Content-Type"] for each in receiver.got] == ["application/json"] * 2
    assert [each.path for each in receiver.got] == ["/api/snapshots"] * 2
    said = capfd.readouterr()
    assert "401 (unauthorized)" in said.err
    assert "first" not in said.err + said.out


def test_without_its_token_nothing_is_sent_and_nothing_lost(
    node: Node, receiver: Receiver, ca: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = options(receiver, ca, tmp_path / "spool", "--token-file", str(tmp_path / "none"))
    assert run(asked, {}, Time().clock()) == 1
    assert capfd.readouterr().err.count("\n") == 1
    assert receiver.got == []
    assert files(tmp_path) == ["spool/000000000001.json"]


# ------------------------------------------------------------------------------- what may be answered


@pytest.mark.parametrize("status", [200, 201, 202, 204, 409])
def test_a_snapshot_is_delivered(receiver: Receiver, ca: Path, status: int) -> None:
    receiver.script = lambda _: answer(status)
    assert Service(receiver.url, None, ca).post(ID, b"{}").delivered


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 403, 404, 408, 429, 500, 502, 503, 504, 799])
def test_a_snapshot_is_kept_for_later(receiver: Receiver, ca: Path, certificate: Path, status: int) -> None:
    with receiving(certificate) as other:
        receiver.script = lambda _: answer(status, Location=other.url)
        got = Service(receiver.url, None, ca).post(ID, b"{}")
        assert (got.delivered, got.refused) == (False, False)
        assert f"the service answers {status}" in got.why
        assert other.got == [], "a redirect would take the token along"


def drip(tick: threading.Event) -> Iterator[bytes]:
    yield b"HTTP/1.1 201 Created\r\n"
    while not tick.wait(0.02):
        yield b"X"


STRANGE: dict[str, Callable[[], Iterable[bytes]]] = {
    "endless headers": lambda: [b"HTTP/1.1 201 Created\r\n", *repeat(b"X-Y: z\r\n", 200_000)],
    "one endless header": lambda: [b"HTTP/1.1 201 Created\r\nX: ", *repeat(b"y" * 65536, 100)],
    "an endless status": lambda: repeat(b"HTTP/1.1", 200_000),
    "another protocol": lambda: [b"SSH-2.0-OpenSSH_9.2\r\n"],
    "no number": lambda: [b"HTTP/1.1 twohundred\r\n\r\n"],
    "control characters": lambda: [b"HTTP/1.1 500 \x1b[2J\x07\r\n\r\n"],
    "nothing": lambda: NOTHING,
    "a byte now and then": lambda: drip(threading.Event()),
}
WITHOUT_END = "a byte now and then"
"""Here alone all the time that there is passes."""


@pytest.mark.parametrize("sent", STRANGE)
def test_whatever_is_no_answer_is_a_reason_to_try_again(receiver: Receiver, ca: Path, sent: str) -> None:
    receiver.script = lambda _: STRANGE[sent]()
    got = Service(receiver.url, None, ca, seconds=4 if sent == WITHOUT_END else PATIENCE).post(ID, b"{}")
    assert (got.delivered, got.refused) == (False, False)
    assert got.why.isprintable()
    assert len(receiver.got) == 1


def test_of_an_endless_body_nothing_is_read(receiver: Receiver, ca: Path) -> None:
    receiver.script = lambda _: [b"HTTP/1.1 201 Created\r\n\r\n", *repeat(b"x" * 65536, 1000)]
    assert Service(receiver.url, None, ca).post(ID, b"{}").delivered


def test_who_refuses_before_all_has_arrived_is_heard(receiver: Receiver, ca: Path) -> None:
    receiver.reads = False
    receiver.script = lambda _: answer(413)
    assert Service(receiver.url, None, ca).post(ID, b"x" * (4 << 20)).refused


# ------------------------------------------------------------------------------------------- the way


def test_a_certificate_that_nobody_vouches_for_is_refused(receiver: Receiver) -> None:
    got = Service(receiver.url).post(ID, b"{}")
    assert got.why.startswith("TLS: self")
    assert receiver.got == []


def test_a_certificate_of_another_host_is_refused(receiver: Receiver, ca: Path) -> None:
    got = Service(receiver.url.replace("127.0.0.1", "localhost"), None, ca).post(ID, b"{}")
    assert got.why.startswith("TLS: hostname mismatch")
    assert receiver.got == []


def test_a_certificate_that_was_replaced_is_read_anew(receiver: Receiver, ca: Path, tmp_path: Path) -> None:
    mine = tmp_path / "ca.crt"
    mine.write_bytes(
        Path("/etc/ssl/certs/ca-certificates.crt").read_bytes()[: 1 << 20].rpartition(b"-----BEGIN")[0]
    )
    service = Service(receiver.url, None, mine)
    assert service.post(ID, b"{}").why.startswith("TLS: ")
    mine.write_bytes(ca.read_bytes())
    assert service.post(ID, b"{}").delivered
