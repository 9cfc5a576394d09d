"""What is asked of `metis-sentinel`, and what it answers: options, tokens, pauses, signals, exit codes."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import metis_sentinel
from metis_sentinel import backoff, push
from metis_sentinel.__main__ import run
from metis_sentinel.errors import SentinelError
from metis_sentinel.options import duration, number
from pipeline.facts.snapshot import parse
from tests.support.sentinel import START, Ended, Node, Time, files, plant

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "metis_sentinel/snapshot.schema.json"


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    return plant(monkeypatch)


# ------------------------------------------------------------------------------------------- options


def test_a_snapshot_is_printed_where_nothing_else_is_asked(
    node: Node, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["--root", "/host"], {}) == 0
    said = capfd.readouterr()
    assert json.loads(said.out) == node.taken[0]
    assert node.taken[0]["hostname"] == "/host"
    assert said.err == ""


@pytest.mark.parametrize("prints", [True, False])
def test_a_history_prints_only_when_asked(
    node: Node, tmp_path: Path, capfd: pytest.CaptureFixture[str], prints: bool
) -> None:
    more = ["--print"] if prints else []
    assert run(["--out", str(tmp_path), *more], {}, Time().clock()) == 0
    assert bool(capfd.readouterr().out) == prints
    assert json.loads((tmp_path / "titan-13/20261129T000000.000000Z.json").read_bytes()) == node.taken[0]


def test_the_environment_says_where_to(node: Node, tmp_path: Path) -> None:
    assert run([], {"METIS_SENTINEL_OUT": str(tmp_path), "METIS_SENTINEL_PUSH": ""}) == 0
    assert len(files(tmp_path)) == 1


def test_snapshots_of_an_interval_are_lines(node: Node, capfd: pytest.CaptureFixture[str]) -> None:
    time = Time(end=100)
    with pytest.raises(Ended):
        run(["--interval", "30s"], {}, time.clock())
    assert [json.loads(line) for line in capfd.readouterr().out.splitlines()] == node.taken
    assert len(node.taken) == 4
    assert time.naps == [30.0] * 4


def test_a_look_that_takes_long_moves_no_other(node: Node, capfd: pytest.CaptureFixture[str]) -> None:
    looks: list[float] = []
    time = Time(end=400)
    clock = time.clock()

    def slow() -> float:
        if len(node.taken) > len(looks):
            looks.append(time.passed)
            time.passed += 70 if len(looks) == 2 else 1
        return time.passed

    with pytest.raises(Ended):
        run(["--interval", "60s"], {}, clock._replace(monotonic=slow))
    assert looks == [0, 60, 180, 240, 300, 360]


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error", "/x"), KeyError("x"), SentinelError("no")], ids=str
)
def test_what_fails_ends_no_interval(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    node = plant(monkeypatch)

    def take(*_: object) -> None:
        node.take()
        raise error

    monkeypatch.setattr(sys.modules["metis_sentinel.snapshot"], "take", take)
    assert run([], {}) == 1
    node.taken.clear()
    assert capfd.readouterr().err.count("\n") == 1
    with pytest.raises(Ended):
        run(["--interval", "30s"], {}, Time(end=100).clock())
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == len(node.taken) == 4
    assert all(line.startswith("metis-sentinel: ") for line in lines)


@pytest.mark.parametrize("option", ["--version", "--help", "--schema"])
def test_the_program_describes_itself(capfd: pytest.CaptureFixture[str], option: str) -> None:
    try:
        code = run([option], {})
    except SystemExit as end:
        code = int(end.code or 0)
    said = capfd.readouterr().out
    wanted = {"--version": metis_sentinel.__version__, "--help": "METIS_SENTINEL_SPOOL"}
    assert code == 0
    assert wanted.get(option, SCHEMA.read_text()) in said
    assert max(map(len, said.splitlines())) <= 120


BAD_URLS = {
    "plain": "http://x.example/",
    "user": "https://canary@x.example/",
    "password": "https://u:canary@x.example/",
    "empty user": "https://@x.example/",
    "no host": "https:///x",
    "file": "file:///etc/shadow",
    "word": "canary",
    "newline": "https://x.example/\r\nX: y",
    "space": "https://x.example/a b",
    "port": "https://x.example:99999/",
    "word for a port": "https://x.example:canary/",
    "bracket": "https://[::1/",
    "fragment": "https://x.example/#canary",
    "letters": "https://exämple/",
}
USAGE = {
    "keep": ["--keep", "0"],
    "many": ["--keep", "999999999"],
    "age": ["--max-age", "30"],
    "interval": ["--interval", "1e3s"],
    "argument": ["x"],
    "short": ["--vers"],
    "escape": ["--x\x1b[2J\n"],
    "token": ["--token", "canary"],
    "token in one word": ["--token=canary"],
    "token alone": ["canary"],
    **{name: ["--push", url] for name, url in BAD_URLS.items()},
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE)
def test_wrong_usage_is_one_line(node: Node, capfd: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    try:
        code = run(arguments, {})
    except SystemExit as end:
        code = int(end.code or 0)
    said = capfd.readouterr()
    (line,) = said.err.splitlines()
    assert code == 2
    assert line.isprintable()
    assert line.startswith("metis-sentinel: ")
    assert "canary" not in line
    assert (said.out, node.taken) == ("", [])


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000)]
)
def test_times_are_read(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "5", "s", "-5s", "1.5h", "5 m", "5m\n", "٣m", "999999999d", "1w"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.0", "100001", "٣", "9" * 30])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        number(text)


# -------------------------------------------------------------------------------------------- tokens


def token_file(tmp_path: Path, data: bytes, mode: int = 0o600) -> Path:
    file = tmp_path / "token"
    file.write_bytes(data)
    file.chmod(mode)
    return file


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_a_token_is_read_from_its_file(tmp_path: Path, mode: int) -> None:
    assert push.read_token(token_file(tmp_path, b" s3cr3t.to-ken=\n", mode)) == "s3cr3t.to-ken="


def test_a_token_is_found_through_the_links_of_a_mounted_secret(tmp_path: Path) -> None:
    token_file(tmp_path, b"s3cr3t")
    (tmp_path / "link").symlink_to("token")
    assert push.read_token(tmp_path / "link") == "s3cr3t"


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        (b"", 0o600),
        (b"\n \n", 0o600),
        (b"canary\nX: y", 0o600),
        (b"can\x00ary", 0o600),
        ("canäry".encode(), 0o600),
        (b"canary ary", 0o600),
        (b"canary", 0o604),
        (b"canary", 0o644),
    ],
    ids=["empty", "blank", "newline", "NUL", "letters", "space", "others", "everybody"],
)
def test_a_bad_token_is_never_sent_nor_shown(tmp_path: Path, data: bytes, mode: int) -> None:
    with pytest.raises(SentinelError) as told:
        push.read_token(token_file(tmp_path, data, mode))
    assert str(tmp_path / "token") in str(told.value)
    assert "can" not in str(told.value).replace("cannot", "").replace(str(tmp_path), "")


def test_what_is_no_file_is_no_token(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("pipe", "none", "."):
        with pytest.raises(SentinelError, match="token"):
            push.read_token(tmp_path / name)


# -------------------------------------------------------------------------------------------- pauses


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_pauses_are_bounded(failed: int, chance: float) -> None:
    assert 0 <= backoff.delay(failed, lambda: chance) <= backoff.CAP


def test_pauses_double_until_five_minutes() -> None:
    longest = [backoff.delay(failed, lambda: 1.0) for failed in range(1, 9)]
    assert longest == [5, 10, 20, 40, 80, 160, 300, 300]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("99999", 3600),
        ("9" * 400, 3600),
        (formatdate(START + 90, usegmt=True), 90),
        (formatdate(START - 90, usegmt=True), 0),
        (formatdate(START + 1000000.0, usegmt=True), 3600),
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("1e9", 0),
        ("٣", 0),
        ("Mon, 99 Foo 2026 00:00:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float) -> None:
    assert push.retry_after(value, START) == seconds


@given(st.text())
def test_whatever_retry_after_says_is_bounded(value: str) -> None:
    assert 0 <= push.retry_after(value, START) <= push.LONGEST_WAIT


# ------------------------------------------------------------------------------------- as a process

PROGRAM = """
import sys, types
module = types.ModuleType("metis_sentinel.snapshot")
module.take = lambda root="/", dropped=0: {"id": "0" * 32, "node": "titan-13"}
sys.modules["metis_sentinel.snapshot"] = module
from metis_sentinel.__main__ import main
main()
"""
LOADED = "from metis_sentinel import __main__; import sys; print(*sys.modules)"


def start(*arguments: object, program: str = PROGRAM) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_an_interval_at_once(tmp_path: Path, number: int) -> None:
    with start("--interval", "12h", "--out", tmp_path, "--print") as program:
        assert program.stdout is not None
        assert json.loads(program.stdout.readline())["node"] == "titan-13"
        program.send_signal(number)
        assert program.communicate(timeout=60) == (b"", b"")
    assert program.returncode == 0
    assert all(name.endswith("Z.json") for name in files(tmp_path))


IN_A_FINALIZER = f"""
import os, time
class Late:
    def __del__(self):
        os.write(1, b"here\\n")
        time.sleep(600)
{PROGRAM.replace("{", "Late() and {", 1)}
"""


def test_a_signal_ends_it_also_where_exceptions_are_lost() -> None:
    with start("--interval", "12h", program=IN_A_FINALIZER) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"here\n"
        program.send_signal(signal.SIGTERM)
        assert program.communicate(timeout=60) == (b"", b"")
    assert program.returncode == 0


IN_A_FILE = f"""
import os, signal
real = os.fsync
def fsync(descriptor):
    os.kill(os.getpid(), signal.SIGTERM)
    real(descriptor)
os.fsync = fsync
{PROGRAM}
"""


def test_a_file_that_a_signal_meets_half_written_becomes_whole(tmp_path: Path) -> None:
    with start("--interval", "12h", "--out", tmp_path, program=IN_A_FILE) as program:
        assert program.communicate(timeout=60) == (b"", b"")
    assert program.returncode == 0
    (file,) = files(tmp_path)
    assert json.loads((tmp_path / file).read_bytes())["node"] == "titan-13"


@pytest.mark.parametrize("option", [[], ["--help"], ["--version"], ["--schema"]], ids=str)
def test_who_cannot_print_says_so_in_one_line(option: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        argv = [sys.executable, "-c", PROGRAM, *option]
        said = subprocess.run(argv, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False)
    assert said.returncode == 1
    assert said.stderr == b"metis-sentinel: cannot print: no space left on device\n"


def test_wrong_usage_has_its_code_where_nobody_listens() -> None:
    words = [sys.executable, "-c", PROGRAM, "--bogus"]
    assert subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", *words], cwd=ROOT, check=False).returncode == 2


def test_a_look_without_a_service_loads_neither_http_nor_tls() -> None:
    said = subprocess.run([sys.executable, "-I", "-c", LOADED], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    loaded = set(said.stdout.decode().split())
    assert "metis_sentinel.rounds" in loaded
    assert not loaded & {
        "dataclasses",
        "email",
        "http.client",
        "socket",
        "ssl",
        "subprocess",
        "urllib.request",
    }


def test_one_file_is_the_whole_program(tmp_path: Path) -> None:
    made = tmp_path / "metis-sentinel.pyz"
    subprocess.run(["make", "sentinel", f"SENTINEL={made}"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    wanted = {"--version": f"metis-sentinel {metis_sentinel.__version__}\n", "--schema": SCHEMA.read_text()}
    for option, text in wanted.items():
        said = subprocess.run([made, option], cwd=tmp_path, stdout=subprocess.PIPE, check=True)
        assert said.stdout.decode() == text
    said = subprocess.run([made], cwd=tmp_path, stdout=subprocess.PIPE, check=True)
    assert parse(said.stdout).node
