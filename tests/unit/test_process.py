"""Children end with us, tell why they failed, and never see our secrets."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.machine import posix, process
from pipeline.machine.hardening import forget_credentials
from pipeline.machine.process import FilterError, ToolError
from tests.support.waiting import PATIENCE, wait_for_words, wait_until


def through(argv: list[str], chunks: list[bytes]) -> bytes:
    with process.piped(argv, chunks) as out:
        return out.read()


def test_a_filter_gets_every_chunk_and_gives_what_it_makes_of_them() -> None:
    assert through(["tr", "a", "b"], [b"a" * 100_000] * 20) == b"b" * 2_000_000


def test_a_filter_that_talks_much_on_stderr_does_not_hang() -> None:
    talk = "head -c 1000000 /dev/zero | tr '\\0' e >&2; cat"
    assert through(["sh", "-c", talk], [b"x"]) == b"x"


def test_a_filter_that_fails_says_why() -> None:
    with pytest.raises(ToolError, match="sh failed: out of luck"):
        through(["sh", "-c", "echo first >&2; echo out of luck >&2; exit 3"], [b"x" * 1_000_000])


def test_a_filter_that_is_to_be_silent_has_failed_where_it_complains() -> None:
    with (
        pytest.raises(process.FilterError, match="sh failed: the end is missing"),
        process.piped(["sh", "-c", "echo the end is missing >&2; cat"], [b"x"], silent=True) as out,
    ):
        out.read()


def test_a_program_with_a_limit_is_heard_to_its_end_where_it_keeps_to_it() -> None:
    said = process.run(["sh", "-c", "cat; echo why >&2; exit 3"], stdin=b"x" * 9, check=False, limit=9)
    assert (said.code, said.out, said.err) == (3, b"x" * 9, b"why\n")


@pytest.mark.parametrize("stream", [1, 2])
def test_a_program_that_talks_without_end_is_ended(stream: int) -> None:
    with pytest.raises(ToolError, match="sh said more than 1000 bytes"):
        process.run(["sh", "-c", f"cat /dev/zero >&{stream}"], limit=1000)


def test_a_program_with_a_limit_has_its_time_too() -> None:
    for script in ("sleep 60", "exec >&- 2>&-; sleep 60"):
        with pytest.raises(ToolError, match="did not end within"):
            process.run(["sh", "-c", script], limit=1000, timeout=0.2)


def test_what_goes_wrong_with_the_chunks_is_raised_where_the_filter_was_started() -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise OSError(5, "the medium is worn out")

    with pytest.raises(OSError, match="worn out"), process.piped(["cat"], broken()) as out:
        out.read()


def poured(
    argv: list[str],
    source: Path,
    into: Path,
    largest: int = 1 << 30,
    beside: Callable[[], bool] = lambda: False,
) -> bytes:
    with source.open("rb") as given, into.open("wb") as sink:
        process.poured(argv, given.fileno(), sink.fileno(), largest, beside)
    return into.read_bytes()


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """What a filter reads by itself."""
    (tmp_path / "given").write_bytes(b"a" * 2_000_000)
    return tmp_path / "given"


def test_a_filter_reads_and_writes_files_by_itself_while_we_do_other_work(
    tmp_path: Path, given: Path
) -> None:
    left = [True, True, False]
    slowly = ["sh", "-c", "sleep 0.2; tr a b"]
    assert poured(slowly, given, tmp_path / "file", beside=lambda: left.pop(0) if left else False)
    assert not left
    assert (tmp_path / "file").read_bytes() == b"b" * 2_000_000


def test_a_filter_that_writes_to_a_file_and_fails_says_why(tmp_path: Path, given: Path) -> None:
    with pytest.raises(FilterError, match="sh failed: out of luck"):
        poured(["sh", "-c", "echo out of luck >&2; exit 3"], given, tmp_path / "file")


def test_a_filter_cannot_make_its_file_longer_than_it_may(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large"):
        poured(["cat"], Path("/dev/zero"), tmp_path / "file", 1 << 20)
    assert (tmp_path / "file").stat().st_size <= 1 << 20


def test_a_filter_that_cannot_write_is_an_error_of_the_medium(given: Path) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        poured(["cat"], given, Path("/dev/full"))


def test_a_filter_is_ended_when_the_work_beside_it_goes_wrong(tmp_path: Path, given: Path) -> None:
    def fail() -> bool:
        raise OSError(5, "the medium is worn out")

    with pytest.raises(OSError, match="worn out"):
        poured(["sleep", "600"], given, tmp_path / "file", beside=fail)


def test_a_filter_is_gone_when_its_block_fails() -> None:
    before = set(threading.enumerate())

    def fail() -> None:
        with process.piped(["sleep", "60"], itertools.repeat(bytes(1 << 16))):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["no-such-program"], "no-such-program is not installed"),
        (["/etc/passwd"], "cannot start /etc/passwd"),
    ],
)
def test_a_program_that_cannot_start_is_one_line(argv: list[str], words: str) -> None:
    with pytest.raises(ToolError, match=words):
        process.run(argv)


def test_a_child_does_not_see_secrets_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs.secret")
    assert b"hvs.secret" not in process.run(["env"]).out


def is_free(lock: Path) -> bool:
    """Whether nobody holds a lock any more: who holds it has ended with whoever inherited it."""
    with lock.open("wb") as file:
        return posix.lock(file.fileno())


def holding(lock: Path) -> str:
    """What a shell runs to have a child that holds a lock for long, and says that it does."""
    return f"(flock 9; echo up; sleep 3600) 9>{lock} & wait"


def test_a_child_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"sh did not end within 0.3 s"):
        process.run(["sh", "-c", holding(tmp_path / "lock")], timeout=0.3)
    wait_until(lambda: is_free(tmp_path / "lock"))


def test_a_child_in_the_background_runs_for_as_long_as_its_block(tmp_path: Path) -> None:
    with process.background(["sh", "-c", "echo up; exec sleep 60"], tmp_path / "log") as child:
        wait_until(lambda: (tmp_path / "log").read_text() == "up\n", child)
        assert not child.wait(0.2)
    assert not child.is_running


def test_a_child_in_the_background_is_gone_with_what_it_started_when_its_block_fails(tmp_path: Path) -> None:
    log, lock = tmp_path / "log", tmp_path / "lock"

    def fail() -> None:
        with process.background(["sh", "-c", holding(lock)], log) as child:
            wait_for_words(log, b"up", child)
            assert not is_free(lock)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    wait_until(lambda: is_free(lock))


def test_a_child_that_a_thread_waits_for_is_gone_when_we_end_without_the_thread(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, threading; from pipeline.machine import process\n"
        "from tests.support.waiting import wait_until\n"
        "words = ['sh', '-c', 'echo $$ > begun; mv begun pid; exec sleep 600']\n"
        "threading.Thread(target=process.run, args=[words], daemon=True).start()\n"
        "wait_until(pathlib.Path('pid').exists)\n"
        "raise KeyboardInterrupt\n"
    )
    path = {"PYTHONPATH": str(Path(__file__).parents[2])}
    process.run([sys.executable, "-c", code], cwd=tmp_path, check=False, extra_environment=path)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_child_in_the_background_is_gone_when_we_are_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, pathlib; from pipeline.machine import process\n"
        "log = pathlib.Path('log')\n"
        "words = ['flock', '--no-fork', 'lock', 'sh', '-c', 'echo up; exec sleep 3600']\n"
        "with process.background(words, log) as child:\n"
        "    while not log.read_bytes(): child.wait(0.01)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = {"PYTHONPATH": str(Path(process.__file__).parents[2])}
    ended = process.run([sys.executable, "-c", code], cwd=tmp_path, check=False, extra_environment=path)
    assert (ended.code, (tmp_path / "log").read_text()) == (-9, "up\n")
    wait_until(lambda: is_free(tmp_path / "lock"))


def test_a_child_is_started_while_another_thread_forgets_what_logs_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Allowed(frozenset[str]):
        def __contains__(self, name: object) -> bool:  # asked for each name, as threads may alternate
            forget_credentials([])
            return super().__contains__(name)

    monkeypatch.setattr(process, "ALLOWED", Allowed(process.ALLOWED))
    monkeypatch.setenv("VAULT_TOKEN", "hvs.secret")
    assert "VAULT_TOKEN" not in process.environment()


def test_a_child_in_the_background_says_why_it_ended(tmp_path: Path) -> None:
    with process.background(["sh", "-c", "echo no luck >&2; exit 3"], tmp_path / "log") as child:
        assert child.wait(PATIENCE)
        assert child.last_words == "no luck"


def test_a_program_for_the_background_that_is_missing_is_one_line(tmp_path: Path) -> None:
    words = ["no-such-program"]
    with pytest.raises(ToolError, match="is not installed"), process.background(words, tmp_path / "log"):
        pass


ECHO = "import sys\nfor line in sys.stdin: print(line.strip() * 2, flush=True)"


def test_a_conversation_goes_on_line_by_line() -> None:
    with process.conversing("echo", [sys.executable, "-c", ECHO]) as child:
        for line in (b"one", b"", "zwölf".encode(), b"x" * 300_000):
            assert child.ask(line, timeout=60, limit=1 << 20) == line * 2


@pytest.mark.parametrize(
    ("code", "limit", "timeout", "said"),
    [
        ("raise SystemExit('no more')", 100, 60, "^the child ended: no more$"),
        ("import os; os.kill(os.getpid(), 11)", 100, 60, "^the child ended: exit code -11$"),
        ("print('x' * 1000)", 100, 60, "^the child said more than 100 bytes$"),
        ("input(); input()", 100, 0.2, "^the child did not answer in time$"),
    ],
    ids=["ended", "crashed", "too much", "too late"],
)
def test_a_conversation_ends_with_a_line_whatever_the_child_does(
    code: str, limit: int, timeout: float, said: str
) -> None:
    with (
        process.conversing("the child", [sys.executable, "-c", code]) as child,
        pytest.raises(process.ToolError, match=said),
    ):
        child.ask(b"well?", timeout=timeout, limit=limit)
