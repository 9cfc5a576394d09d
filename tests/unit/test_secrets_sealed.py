"""Sealed files of secrets: nothing of them is on disk in the clear, and what lies there so is refused."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, Popen, run

import pytest

from pipeline.errors import MetisError, MismatchError, RefusedError, SecretError, SourceError
from pipeline.machine import durable, process
from pipeline.secret import Secret
from pipeline.secrets import seal as sealing
from pipeline.secrets.age_keys import AgeKeys
from pipeline.secrets.documents import Documents
from pipeline.secrets.node_file import values_of
from pipeline.secrets.plain import plain_folder
from pipeline.secrets.seal import Report
from pipeline.secrets.sealed import sealed_folder
from pipeline.secrets.source import CLUSTER, NOTHING, ConflictError
from tests.support import race
from tests.support.keys import BY_PASSPHRASE
from tests.support.rendering import program

NODE = "titan-13"
VALUES = {"ssh_password": Secret("hunter2"), "extra.node_password": Secret("hunter3")}
TEXT = "ssh_password: hunter2 # as it was\nextra:\n  node_password: hunter3\n"


def keys(folder: Path, *recipients: str) -> AgeKeys:
    return AgeKeys(folder.parent / "age.key", lambda: recipients, makes_key=True)


def source(folder: Path, *recipients: str) -> Documents:
    return sealed_folder(folder, keys(folder, *recipients))


def seal(folder: Path, *recipients: str) -> Report:
    def waits(_holder: str) -> None:
        raise AssertionError

    return sealing.seal(folder, keys(folder, *recipients), waits)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one node in it."""
    made = tmp_path / "secrets"
    source(made).put(NODE, VALUES, "")
    return made


def put_plain(folder: Path, owner: str = NODE, text: str = TEXT) -> Path:
    file = folder / f"{owner}.yaml"
    file.touch(mode=0o600)
    file.write_text(text)
    return file


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


# --------------------------------------------------------------------------------- read and written


def test_what_is_put_is_read_again_and_private(folder: Path) -> None:
    found = source(folder).read(NODE)
    assert found.values == VALUES
    assert source(folder).versions([NODE, "other"]) == {NODE: found.version, "other": ""}
    assert source(folder).read("other") == NOTHING
    assert (folder / f"{NODE}.age").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert names(folder) == {".lock", f"{NODE}.age"}


def test_the_others_stay_when_one_is_replaced(folder: Path) -> None:
    one = source(folder)
    one.put(NODE, {"ssh_password": Secret("new"), "k3s_token": Secret("a\nb")}, one.read(NODE).version)
    changed = {"ssh_password": Secret("new"), "k3s_token": Secret("a\nb")}
    assert one.read(NODE).values == {**VALUES, **changed}


def test_nothing_is_put_over_what_changed_meanwhile(folder: Path) -> None:
    one = source(folder)
    stale = one.read(NODE).version
    one.put(NODE, {"k3s_token": Secret("x")}, stale)
    before = one.read(NODE)
    with pytest.raises(ConflictError):
        one.put(NODE, {"k3s_token": Secret("y")}, stale)
    assert one.read(NODE) == before


def test_no_value_is_ever_on_disk_in_the_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also not while a file is written: what `durable` is given is sealed."""
    written: list[bytes] = []
    settle = durable.settle

    def spying(part: Path, target: Path) -> None:
        written.append(part.read_bytes())
        settle(part, target)

    monkeypatch.setattr(durable, "settle", spying)
    folder = tmp_path / "secrets"
    source(folder).put(NODE, VALUES, "")
    source(folder).put(NODE, {"k3s_token": Secret("hunter4")}, source(folder).read(NODE).version)
    seal(folder)
    left = [file.read_bytes() for file in folder.rglob("*") if file.is_file()]
    assert len(written) == 3
    assert not [content for content in (*written, *left) if b"hunter" in content or b"k3s" in content]


def test_age_itself_opens_a_node_and_seals_one(folder: Path) -> None:
    age = program("age", "age")
    file, key = folder / f"{NODE}.age", folder.parent / "age.key"
    opened = run([age, "-d", "-i", key, file], stdout=PIPE, check=True).stdout
    assert values_of(opened, "x") == VALUES
    other = folder / "other.age"
    other.touch(mode=0o600)
    run([age, "-e", "-a", "-i", key, "-o", other], input=TEXT.encode(), check=True)
    assert source(folder).read("other").values == VALUES


def test_what_two_operators_share_each_can_open_and_change(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    two = AgeKeys(tmp_path / "two.key", tuple, makes_key=True)
    two.sealed(b"")
    recipient = two.file.read_text().split("public key: ")[1].split("\n")[0]
    source(folder, recipient).put(NODE, VALUES, "")
    theirs = sealed_folder(folder, two)
    assert theirs.read(NODE).values == VALUES
    theirs.put(NODE, {"k3s_token": Secret("x")}, theirs.read(NODE).version)
    with pytest.raises(SourceError, match="sealed for other keys"):
        source(folder).read(NODE)  # whom their cluster.yaml does not name


def test_no_other_key_is_made_for_a_folder_whose_key_was_lost(folder: Path) -> None:
    (folder.parent / "age.key").unlink()
    for ask in (lambda: source(folder).put("other", VALUES, ""), lambda: seal(folder)):
        with pytest.raises(SourceError, match=r"there is no age key at .*age\.key, and .*secrets was sealed"):
            ask()
    assert names(folder) == {".lock", f"{NODE}.age"}
    assert not (folder.parent / "age.key").exists()


# ----------------------------------------------------------------------------------- what is bad


def change(spoil: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(spoil(file.read_bytes()))


def link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def for_another(text: bytes) -> Callable[[bytes], bytes]:
    import pyrage

    return lambda _: pyrage.encrypt(text, [pyrage.x25519.Identity.generate().to_public()])


BAD: dict[str, tuple[Callable[[Path], object], type[MetisError], str]] = {
    "cut short": (change(lambda content: content[:-1]), MismatchError, "is cut short or altered"),
    "empty": (change(lambda _: b""), MismatchError, "is cut short or altered"),
    "altered": (change(lambda content: content[:-1] + b"\0"), MismatchError, "is cut short or altered"),
    "in the clear": (change(lambda _: TEXT.encode()), MismatchError, "is cut short or altered"),
    "another's": (change(for_another(b"hunter2")), SourceError, "is sealed for other keys than those of"),
    "by a passphrase": (change(lambda _: BY_PASSPHRASE), SourceError, "is sealed by a passphrase"),
    "huge": (lambda file: os.truncate(file, 2 << 20), RefusedError, "is larger than 1 MiB"),
    "open to others": (lambda file: file.chmod(0o644), RefusedError, "run `chmod 0600"),
    "in an open folder": (lambda file: file.parent.chmod(0o755), RefusedError, "run `chmod 0700"),
    "a link": (link, RefusedError, "is a link"),
    "a pipe": (pipe, RefusedError, "is not a regular file"),
}


@pytest.mark.parametrize(("spoil", "kind", "line"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_one_line_that_shows_nothing_of_it_and_stays_as_it_is(
    folder: Path, spoil: Callable[[Path], object], kind: type[MetisError], line: str
) -> None:
    version = source(folder).read(NODE).version
    file = folder / f"{NODE}.age"
    spoil(file)
    before = os.lstat(file)
    asks: list[Callable[[], object]] = [
        lambda: source(folder).read(NODE),
        lambda: source(folder).put(NODE, {"k3s_token": Secret("x")}, version),
    ]
    for ask in asks:
        with pytest.raises(kind, match=line) as caught:
            ask()
        assert "hunter" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert kind is RefusedError or caught.value.__context__ is None, "a traceback would show it"
    assert source(folder).known(NODE) == {}
    assert os.lstat(file).st_ino == before.st_ino
    assert os.lstat(file).st_mtime_ns == before.st_mtime_ns


def test_what_is_sealed_and_no_document_is_said_with_its_line(folder: Path) -> None:
    (folder / f"{NODE}.age").write_bytes(keys(folder).sealed(b"ssh_password: x\nhunter2"))
    with pytest.raises(SecretError, match=rf"{NODE}\.age:\d: ") as caught:
        source(folder).read(NODE)
    assert "hunter2" not in str(caught.value)


# ------------------------------------------------------------------------------ two at once

SEALED = """
from pipeline.secrets import age_keys, sealed
def source(folder):
    keys = age_keys.AgeKeys(folder.parent / "config/age.key", tuple, makes_key=True)
    return sealed.sealed_folder(folder, keys)
"""


def test_processes_that_start_together_end_with_one_key_and_one_identity(tmp_path: Path) -> None:
    race.one_identity(SEALED, str(tmp_path / "secrets"), "titan-13")


# ------------------------------------------------------------------------------ in the clear


@pytest.mark.parametrize("owner", [NODE, CLUSTER, "new"])
def test_a_plain_file_is_refused_and_not_passed_over(folder: Path, owner: str) -> None:
    """Beside a sealed one, and where there is none: a new identity would be made."""
    put_plain(folder, owner)
    one = source(folder)
    asks: list[Callable[[], object]] = [
        lambda: one.read(owner),
        lambda: one.put(owner, {"k3s_token": Secret("x")}, ""),
    ]
    for ask in asks:
        with pytest.raises(
            RefusedError, match=rf"/{owner}\.yaml lies in the clear: run `metis secrets seal`"
        ):
            ask()
    assert one.versions([owner, "other"]) == {"other": ""}
    assert one.known(owner) == {}
    assert names(folder) == {".lock", f"{NODE}.age", f"{owner}.yaml"}


def test_versions_of_many_nodes_take_one_listing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[Path] = []
    listing = os.listdir

    def counting(path: Path) -> list[str]:
        listed.append(path)
        return listing(path)

    monkeypatch.setattr(os, "listdir", counting)
    assert len(source(folder).versions(f"node-{number}" for number in range(1000))) == 1000
    assert len(listed) == 1


# ------------------------------------------------------------------------------------ sealing


def test_what_lay_in_the_clear_is_sealed_with_its_comments_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    plain_folder(folder).put(CLUSTER, {"k3s_token": Secret("hunter4")}, "")
    put_plain(folder)
    assert seal(folder) == Report((CLUSTER, NODE), (), ())
    assert names(folder) == {".lock", f"{CLUSTER}.age", f"{NODE}.age"}
    assert source(folder).read(NODE).values == VALUES
    assert source(folder).read(CLUSTER).values == {"k3s_token": Secret("hunter4")}
    assert keys(folder).opened((folder / f"{NODE}.age").read_bytes(), "x") == TEXT.encode()
    assert (folder / f"{NODE}.age").stat().st_mode & 0o777 == 0o600


def test_what_is_sealed_is_sealed_anew_for_the_present_recipients(folder: Path) -> None:
    two = AgeKeys(folder.parent / "two.key", tuple, makes_key=True)
    two.sealed(b"")
    recipient = two.file.read_text().split("public key: ")[1].split("\n")[0]
    assert seal(folder, recipient) == Report((), (NODE,), ())
    assert sealed_folder(folder, two).read(NODE).values == source(folder).read(NODE).values == VALUES
    assert seal(folder) == Report((), (NODE,), ())
    with pytest.raises(SourceError, match="sealed for other keys"):
        sealed_folder(folder, two).read(NODE)


def test_where_there_is_nothing_nothing_is_made(tmp_path: Path) -> None:
    assert seal(tmp_path / "none") == Report((), (), ())
    assert names(tmp_path) == set()


def test_one_bad_file_hinders_no_other_and_stays(folder: Path) -> None:
    put_plain(folder, "bad", "hunter2: [")
    put_plain(folder, "open").chmod(0o644)
    put_plain(folder, "good")
    put_plain(folder, NODE, "ssh_password: other\n")
    (folder / "cut.age").write_bytes(b"age-encryption.org/v1\n")
    (folder / "cut.age").chmod(0o600)
    before = names(folder)
    report = seal(folder)
    assert (report.sealed, report.renewed) == (("good",), ())
    lines = [str(error) for error in report.errors]
    assert len(lines) == 4
    for line, expected in zip(
        lines,
        [
            "bad.yaml:2: this is not a map",
            "cut.age is cut short or altered",
            "open.yaml is open to others",
            f"{NODE}.yaml and {NODE}.age are both there, and differ: remove the one",
        ],
        strict=True,
    ):
        assert expected in line
        assert "hunter" not in line
    assert names(folder) == before - {"good.yaml"} | {"good.age"}


KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline.secrets.age_keys import AgeKeys
from pipeline.secrets.seal import seal
folder, left = Path(sys.argv[1]), int(sys.argv[2])
steps = {"open", "os.rename", "os.remove", "fcntl.flock"}

def step(event, args):
    global left
    if event in steps and str(folder) in str(args) or event == "fcntl.flock":
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(step)
print(*seal(folder, AgeKeys(folder.parent / "age.key", tuple, makes_key=True), print).sealed)
"""
"""Is killed before one of its steps: what it asks the system for, of the folder (PEP 578)."""


def test_after_a_kill_at_any_moment_a_whole_file_is_there_and_the_next_run_finishes(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    for moment in range(100):
        folder = tmp_path / f"killed-{moment}"
        folder.mkdir(mode=0o700)
        put_plain(folder)
        argv = [sys.executable, "-c", KILLED, str(folder), str(moment)]
        ended = run(argv, stdout=PIPE, cwd=root, env=process.environment(), check=False)
        sealed = folder / f"{NODE}.age"
        if sealed.exists():
            assert keys(folder).opened(sealed.read_bytes(), "x") == TEXT.encode()
        else:
            assert (folder / f"{NODE}.yaml").read_text() == TEXT
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL
        report = seal(folder)
        assert (*report.sealed, *report.renewed) == (NODE,)
        assert names(folder) == {".lock", f"{NODE}.age"}
        assert source(folder).read(NODE).values == VALUES
    assert moment > 5


def test_sealing_waits_for_who_writes(folder: Path) -> None:
    told: list[str] = []
    holder = "import sys; from pathlib import Path; from pipeline.machine.durable import locked\n"
    holder += "with locked(Path(sys.argv[1]), print): print('held', flush=True); sys.stdin.readline()"
    argv = [sys.executable, "-c", holder, str(folder / ".lock")]
    root = str(Path(__file__).parents[2])
    with Popen(argv, stdin=PIPE, stdout=PIPE, cwd=root, env=process.environment()) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        stdin = child.stdin

        def waits(who: str) -> None:
            told.append(who)
            stdin.close()

        assert sealing.seal(folder, keys(folder), waits).renewed == (NODE,)
    assert told == [f"process {child.pid}"]
