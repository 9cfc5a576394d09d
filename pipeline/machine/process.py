"""The only place that starts a child process, all ways in one file, so that nobody has to look for another.

A child gets an environment by allowlist, so that a secret in ours never reaches it; its errors come
back as one line.
"""

from __future__ import annotations

import atexit
import errno
import os
import selectors
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, cast

from ..errors import MetisError
from .durable import private
from .system import system

# What programs need to find themselves, their temporary space and the network; LIBGUESTFS_* and the
# proxies are set by operators on purpose.
ALLOWED = frozenset(
    "HOME LANG LC_ALL LOGNAME PATH TERM TMPDIR TZ USER XDG_CACHE_HOME XDG_RUNTIME_DIR "
    "http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY SOURCE_DATE_EPOCH".split()
)
# Without these, programs of Windows do not find themselves.
ALLOWED |= frozenset("APPDATA COMSPEC LOCALAPPDATA PATHEXT SYSTEMROOT TEMP TMP USERPROFILE WINDIR".split())
ALLOWED_PREFIXES = ("LIBGUESTFS_", "SUPERMIN_")
LAST_WORDS = 300
PIPE = 64 << 10
"""Bytes that a pipe holds (pipe(7))."""
_WIDE = 1 << 20
"""Bytes; no pipe of an ordinary user may be wider (proc_sys_fs(5), pipe-max-size)."""
_PAUSE = 0.05
"""Seconds between looks at a filter that works by itself."""
_WAITED_FOR: set[subprocess.Popen[bytes]] = set()
_ENDING = threading.Event()
_OF_THE_MEDIUM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


@dataclass(frozen=True, slots=True)
class Finished:
    """A child that ended: its exit code, or the negative number of the signal that ended it."""

    code: int
    out: bytes
    err: bytes

    @property
    def last_words(self) -> str:
        """The last line of the child's stderr, for an error message."""
        lines = self.err.decode(errors="replace").strip().splitlines()
        return lines[-1].strip()[:LAST_WORDS] if lines else f"exit code {self.code}"


class ToolError(MetisError):
    """A program that is missing, failed or took too long."""


class FilterError(ToolError):
    """A filter that ended with another code than 0, or complained: mostly for what it was given."""


def _missing(program: str | Path) -> ToolError:
    return ToolError(
        f"{program} is not installed",
        "install the package that has it, or in a clone run `make setup`",
    )


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that children get: the allowed part of ours, a plain locale with UTF-8, and `extra`.

    The folders of mkfs and sfdisk, which an ordinary user's PATH leaves out, come last on it.
    """
    # Only of what is kept the value is looked up: another thread may just be taking out what logs in.
    kept = {
        name: os.environ[name] for name in os.environ if name in ALLOWED or name.startswith(ALLOWED_PREFIXES)
    }
    path = os.pathsep.join([kept.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return {**kept, "PATH": path, "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", **(extra or {})}


def run(
    argv: Sequence[str | Path],
    *,
    stdin: bytes = b"",
    timeout: float | None = None,
    check: bool = True,
    extra_environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    limit: int | None = None,
    terminal: bool = True,
) -> Finished:
    """Run a program to its end and return what it said.

    `timeout` is in seconds; when it passes, the child and everything that it started are killed. `limit` is
    in bytes of each output, for a program that passes on what a stranger says. Without a `terminal` a program
    finds none, on which it would ask, and wait for ever. Raises ToolError when the program is missing, takes
    too long, says more than that, or (with `check`) ends with another code than 0.
    """
    with _started(argv, extra_environment, cwd, terminal=terminal) as child:
        try:
            out, err = (
                child.communicate(stdin, timeout)
                if limit is None or not system().CAN_WATCH_PIPES
                else _communicate(str(argv[0]), child, stdin, timeout, limit)
            )
        except subprocess.TimeoutExpired:
            raise ToolError(f"{argv[0]} did not end within {timeout:g} s") from None
    if limit is not None and max(len(out), len(err)) > limit:
        raise ToolError(f"{argv[0]} said more than {limit} bytes")
    finished = Finished(child.returncode, out, err)
    if check and finished.code != 0:
        raise ToolError(f"{argv[0]} failed: {finished.last_words}")
    return finished


def _communicate(
    name: str, child: subprocess.Popen[bytes], stdin: bytes, timeout: float | None, limit: int
) -> tuple[bytes, bytes]:
    """As Popen.communicate, with an end to what is kept; `stdin` is what a pipe takes at once (pipe(7))."""
    assert child.stdin is not None
    deadline = None if timeout is None else time.monotonic() + timeout
    with suppress(BrokenPipeError):
        child.stdin.write(stdin)
        child.stdin.close()
    said = [bytearray(), bytearray()]
    with selectors.DefaultSelector() as selector:
        for stream, kept in zip((child.stdout, child.stderr), said, strict=True):
            assert stream is not None
            selector.register(stream, selectors.EVENT_READ, kept)
        while selector.get_map():
            ready = selector.select(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if not ready:
                raise subprocess.TimeoutExpired(child.args, timeout or 0)
            for key, _ in ready:
                chunk = os.read(key.fd, min(limit, PIPE))
                if not chunk:
                    selector.unregister(key.fileobj)
                key.data.extend(chunk)
                if len(key.data) > limit:
                    raise ToolError(f"{name} said more than {limit} bytes")
    child.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
    return bytes(said[0]), bytes(said[1])


@contextmanager
def piped(
    argv: Sequence[str | Path],
    chunks: Iterable[bytes],
    *,
    extra_environment: Mapping[str, str] | None = None,
    silent: bool = False,
) -> Iterator[IO[bytes]]:
    """Send `chunks` through a filter and yield its stdout, which the block reads to the end.

    A thread takes the chunks, and no more of them once the filter stops reading; it has ended when the block
    is left. Raises FilterError when the filter fails, or complains though it is to be `silent`, ToolError
    when it is missing, and what `chunks` raised.
    """
    # Nobody reads stderr while the filter runs: into a pipe, a talkative filter would wait for ever.
    with TemporaryFile() as complaints, _started(argv, extra_environment, None, complaints.fileno()) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        _widen(child.stdin)
        _widen(child.stdout)
        feeder = _Feeder(chunks, child.stdin)
        feeder.start()
        try:
            yield child.stdout
            child.stdout.close()
        except BaseException:
            _kill(child)
            raise
        finally:
            feeder.join()
        if feeder.error is not None:
            raise feeder.error
        code = child.wait()
        complaints.seek(0)
        said = Finished(code, b"", complaints.read())
        if code != 0 or (silent and said.err):
            raise FilterError(f"{argv[0]} failed: {said.last_words}")


def poured(
    argv: Sequence[str | Path], source: int, sink: int, largest: int, beside: Callable[[], bool]
) -> None:
    """Have a filter read one open file and write another by itself, which saves us all that passes through.

    `beside` is called until the filter ends, at once again where it says that it has more to do; what it
    raises ends the filter. It cannot write past `largest` bytes of a file (prlimit(1), RLIMIT_FSIZE): OSError
    says EFBIG then, and else what the filter says of a file that cannot be written. Raises FilterError when
    the filter fails, ToolError when it is missing.
    """
    _check_installed(argv[0])
    words = ["prlimit", f"--fsize={largest}:{largest}", "--", *argv]
    with (
        TemporaryFile() as complaints,
        _started(words, None, None, complaints.fileno(), sink, source) as child,
    ):
        with _end_of(child) as is_over:
            while not is_over(0 if beside() else _PAUSE):
                pass
        code = child.wait()
        complaints.seek(0)
        said = Finished(code, b"", complaints.read()).last_words
    if code == -signal.SIGXFSZ:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    if code != 0:
        for number in _OF_THE_MEDIUM:
            if os.strerror(number) in said:  # a child's locale is C, as is that of ours
                raise OSError(number, os.strerror(number))
        raise FilterError(f"{argv[0]} failed: {said}")


@contextmanager
def _end_of(child: subprocess.Popen[bytes]) -> Iterator[Callable[[float], bool]]:
    """Waits for the end of a child for so many seconds at most, and wakes at once (pidfd_open(2))."""
    handle = os.pidfd_open(child.pid)
    try:
        with selectors.DefaultSelector() as waiting:
            waiting.register(handle, selectors.EVENT_READ)
            yield lambda seconds: bool(waiting.select(seconds))
    finally:
        os.close(handle)


def _widen(pipe: IO[bytes]) -> None:
    """Let a pipe hold as much as a chunk has, where the kernel lets us: then both its ends are woken less."""
    with suppress(ImportError, OSError):  # Windows has no fcntl
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _WIDE)


class Conversation:
    """A child that answers each line with a line; what it complains of is for the error when it ends."""

    def __init__(self, name: str, child: subprocess.Popen[bytes], complaints: IO[bytes]) -> None:
        self._name = name
        self._child = child
        self._complaints = complaints
        self._heard = bytearray()

    def ask(self, line: bytes, *, timeout: float, limit: int) -> bytes:
        """The answer to a line, both without their ends; `timeout` is in seconds, `limit` in bytes.

        Raises ToolError where the child ends, takes too long or says more: there is no asking it again.
        """
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):
            self._child.stdin.write(line + b"\n")
            self._child.stdin.flush()
        deadline = time.monotonic() + timeout
        while b"\n" not in self._heard:
            self._listen(deadline, limit)
        answer, _, rest = self._heard.partition(b"\n")
        self._heard = bytearray(rest)
        return bytes(answer)

    def _listen(self, deadline: float, limit: int) -> None:
        assert self._child.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise ToolError(f"{self._name} did not answer in time")
        chunk = os.read(self._child.stdout.fileno(), PIPE)
        if not chunk:
            code = self._child.wait()
            self._complaints.seek(0)
            raise ToolError(f"{self._name} ended: {Finished(code, b'', self._complaints.read()).last_words}")
        self._heard += chunk
        if len(self._heard) > limit:
            raise ToolError(f"{self._name} said more than {limit} bytes")


@contextmanager
def conversing(name: str, argv: Sequence[str | Path]) -> Iterator[Conversation]:
    """Run a program that is asked and answers in lines for as long as the block runs.

    `name` is what messages call it. Raises ToolError when it is missing.
    """
    with TemporaryFile() as complaints, _started(argv, None, None, complaints.fileno()) as child:
        yield Conversation(name, child, complaints)


class Background:
    """A child that runs beside us; it has no input, and what it says goes to a file."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        self._child = child
        self._log = log

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._child.poll() is None

    @property
    def last_words(self) -> str:
        """The last line that it said, else its exit code."""
        return Finished(self._child.returncode or 0, b"", self._log.read_bytes()).last_words

    def wait(self, timeout: float) -> bool:
        """Wait at most so many seconds for its end, and say whether it came."""
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End it at once, with everything that it started."""
        _kill(self._child)


@contextmanager
def background(
    argv: Sequence[str | Path], log: Path, *, extra_environment: Mapping[str, str] | None = None
) -> Iterator[Background]:
    """Run a program for as long as the block runs; both its outputs go to `log`, which starts empty.

    It ends with the thread that started it too, even where that is killed (setpriv(1), --pdeathsig). Raises
    ToolError when the program is missing.
    """
    _check_installed(argv[0], extra_environment)
    words = ["setpriv", "--pdeathsig", "KILL", "--", *argv]
    with (
        log.open("wb") as sink,
        _started(words, extra_environment, None, sink.fileno(), sink.fileno()) as child,
    ):
        assert child.stdin is not None
        child.stdin.close()
        yield Background(child, log)


class _Beside(subprocess.Popen[bytes]):
    """Outlives us on purpose, also where nobody looks after it any more: nothing to warn of."""

    def __del__(self, *_: object) -> None:
        pass


class Detached:
    """A child that outlives us; while we live we learn of its end."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self.pid = child.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._child.poll() is None


def detached(
    argv: Iterable[str | Path], log: Path, *, extra_environment: Mapping[str, str] | None = None
) -> Detached:
    """Start a program by its path that goes on when we end, in a session of its own (setsid(2)).

    It has no input, and both its outputs are added to `log`, which only we can read. Raises ToolError where
    it cannot be started.
    """
    words = [os.fspath(word) for word in argv]
    try:
        with open(log, "ab", opener=private) as sink:
            child = _Beside(
                words,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=environment(extra_environment),
                start_new_session=True,
                creationflags=system().WITHOUT_WINDOW,
            )
    except OSError as error:
        raise ToolError(f"cannot start {words[0]}: {error.strerror}") from None
    return Detached(child)


def opened(file: Path) -> bool:
    """Have a file opened with the program for its kind, where the system does that itself, as Windows."""
    start: Callable[[Path], None] | None = getattr(os, "startfile", None)
    try:
        if start is not None:
            start(file)
    except OSError:  # no program is for it
        return False
    return start is not None


def end_session(leader: int, *, at_once: bool = False) -> None:
    """Ask the leader of a session to end as by Ctrl-C, or kill all that is in its session.

    Where nobody can be asked (`System.CAN_ASK`) that does nothing.
    """
    if leader <= 1:
        raise ValueError(leader)  # kill(2) would mean our own group, or all there is
    system().end(leader, at_once=at_once)


def end_orphans(leader: int) -> None:
    """Kill what is left of a session whose leader has ended, so that its work is really over."""
    if leader > 1:
        system().end_rest(leader)


def kill_started_with(word: str) -> None:
    """Kill the children that are waited for here and have `word` as an argument."""
    for child in tuple(_WAITED_FOR):
        if word in cast("list[str]", child.args):
            _kill(child)


class _Feeder(threading.Thread):
    """Writes chunks to a filter; keeps what went wrong for the thread that waits."""

    def __init__(self, chunks: Iterable[bytes], sink: IO[bytes]) -> None:
        super().__init__(name="feeder", daemon=True)
        self._chunks = chunks
        self._sink = sink
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            for chunk in self._chunks:
                if not self._give(chunk):
                    break
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
            self.error = error
        finally:
            with suppress(OSError):
                self._sink.close()

    def _give(self, chunk: bytes) -> bool:
        """Write one chunk; False when the filter has closed its end, whose reason its exit code tells."""
        try:
            self._sink.write(chunk)
        except BrokenPipeError:
            return False
        return True


@contextmanager
def _started(
    argv: Sequence[str | Path],
    extra_environment: Mapping[str, str] | None,
    cwd: Path | None,
    stderr: int = subprocess.PIPE,
    stdout: int = subprocess.PIPE,
    stdin: int = subprocess.PIPE,
    *,
    terminal: bool = True,
) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a process group of its own, which is gone when the block is left.

    Without a `terminal` it is in a session of its own too, which has none.
    """
    words = [os.fspath(word) for word in argv]
    try:
        child = subprocess.Popen(  # noqa: S603 - argv is a list, no shell takes part
            words,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment(extra_environment),
            cwd=cwd,
            process_group=0 if terminal else None,
            start_new_session=not terminal,
        )
    except FileNotFoundError:
        raise _missing(words[0]) from None
    except OSError as error:
        raise ToolError(f"cannot start {words[0]}: {error.strerror}") from None
    _WAITED_FOR.add(child)
    try:
        if _ENDING.is_set():
            _kill(child)
        yield child
    finally:
        _WAITED_FOR.discard(child)
        _kill(child)
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


@atexit.register
def _end_with_us() -> None:
    """Kill what is still waited for: by threads that are not, so that they get nowhere any more.

    After Ctrl-C in a run of several tasks at once the others would go on, and what they started with them.
    """
    _ENDING.set()
    for child in tuple(_WAITED_FOR):
        _kill(child)


def _check_installed(program: str | Path, extra_environment: Mapping[str, str] | None = None) -> None:
    """Raise ToolError for a program that another one would start, and not find."""
    if shutil.which(program, path=environment(extra_environment)["PATH"]) is None:
        raise _missing(program)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End a child that still runs, with everything that it started."""
    if child.poll() is None:
        system().end_group(child.pid)
        child.wait()
