"""What is asked for by its source is verified, fetched once, and never asked for again."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import random
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import pytest

from pipeline.cache.store import Store
from pipeline.errors import MetisError, MismatchError, RefusedError, SourceError, UsageError
from pipeline.golden import schemes
from pipeline.golden.debian import source as debian
from pipeline.golden.fetch import Fetched, fetched
from pipeline.golden.file import FileSource
from pipeline.golden.schemes import Scheme
from pipeline.golden.source import Source, Wanted
from pipeline.golden.terms import Environment, Terms
from pipeline.inventory.read import Inventory
from pipeline.machine.progress import QuietReporter, Reporter
from pipeline.secret import Secret
from tests.integration.web import Answer, Headers, Web, publish, serving
from tests.support.fetching import means
from tests.support.waiting import PATIENCE

BODY = random.Random(2).randbytes(200_000)  # the same in each process
SHA256 = hashlib.sha256(BODY).hexdigest()
ANOTHER = hashlib.sha256(b"another").hexdigest()


class Lab:
    """An inventory folder, a cache, and what was said meanwhile."""

    def __init__(self, folder: Path, notes: io.StringIO | None = None) -> None:
        self.folder = folder
        self.notes = notes or io.StringIO()
        self.reporter = QuietReporter(self.notes)
        self.store = Store(folder / "cache", self.reporter)

    def golden(
        self,
        source: str,
        sha256: str | None,
        *mirrors: str,
        offline: bool = False,
        limit: int = len(BODY),
    ) -> Fetched:
        with_these = means(self.folder, self.store.root, self.reporter, offline=offline, limit=limit)
        return fetched(Wanted(source, sha256, "amd64", mirrors), with_these)

    def leftovers(self) -> list[str]:
        """The files of the cache that are not locks."""
        files = (path for path in self.store.root.rglob("*") if path.is_file())
        return [path.name for path in files if path.parent.name != "locks"]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    (tmp_path / "x.img").write_bytes(BODY)
    return Lab(tmp_path)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as web:
        web.script = lambda _, asked: publish(BODY, asked)
        yield web


def test_a_golden_is_fetched_into_the_store(lab: Lab, web: Web) -> None:
    assert lab.golden(web.url, SHA256) == Fetched(lab.store.path(SHA256), SHA256)
    assert lab.store.path(SHA256).read_bytes() == BODY
    assert sorted(lab.leftovers()) == [SHA256, f"{SHA256}.json"]


def test_a_golden_that_is_here_needs_no_network(lab: Lab, web: Web) -> None:
    first = lab.golden(web.url, SHA256)
    assert lab.golden(web.url, SHA256.upper(), offline=True) == first
    assert len(web.asked) == 1


def test_one_file_under_two_addresses_is_fetched_once(lab: Lab, web: Web) -> None:
    assert lab.golden(f"{web.url}?mirror=1", SHA256) == lab.golden("file:nowhere.img", SHA256)


def test_a_golden_that_rotted_is_fetched_again(lab: Lab, web: Web) -> None:
    lab.golden(web.url, SHA256).path.write_bytes(b"rot")
    assert lab.golden(web.url, SHA256).path.read_bytes() == BODY
    assert "rotted in the cache" in lab.notes.getvalue()


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_a_golden_with_the_wrong_hash_never_enters(lab: Lab, web: Web, scheme: str) -> None:
    source = web.url if scheme == "http" else "file:x.img"
    with pytest.raises(MismatchError) as caught:
        lab.golden(source, ANOTHER)
    line = str(caught.value)
    assert source in line
    assert SHA256 in line
    assert ANOTHER in line
    assert lab.leftovers() == []


def chunked(body: bytes) -> Answer:
    data = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return Answer(body=data, headers={"Transfer-Encoding": "chunked", "Content-Length": "", "ETag": '"1"'})


@pytest.mark.parametrize("kind", ["length", "chunks", "file"])
def test_a_golden_over_the_limit_leaves_nothing(lab: Lab, web: Web, kind: str) -> None:
    if kind == "chunks":
        web.script = lambda *_: chunked(BODY)
    source, shown = ("file:x.img",) * 2 if kind == "file" else (f"{web.url}?token=hunter2", f"{web.url}?…")
    with pytest.raises(MetisError) as caught:
        lab.golden(source, SHA256, limit=len(BODY) - 1)
    size = "more than 199999 bytes" if kind == "chunks" else "200000 bytes, more than 199999"
    assert str(caught.value).startswith(f"{shown} has {size}: raise card.max_size in cluster.yaml")
    assert type(caught.value).exit_code == 1
    assert lab.leftovers() == []
    assert not list((lab.store.root / "partial").glob("*"))


def test_what_arrived_under_a_higher_limit_is_not_gone_on_with(lab: Lab, web: Web) -> None:
    part = lab.store.partial(SHA256) / "golden"
    part.write_bytes(BODY)
    part.with_name("golden.json").write_text(
        f'{{"name": "{web.url}", "total": {len(BODY)}, "validator": "1"}}'
    )
    with pytest.raises(MetisError, match="has 200000 bytes, more than 1000: raise"):
        lab.golden(web.url, SHA256, limit=1000)
    assert lab.leftovers() == []


def test_a_golden_that_is_not_there_leaves_nothing(lab: Lab, web: Web) -> None:
    web.script = lambda *_: Answer(404)
    with pytest.raises(SourceError, match="answered 404 Not Found"):
        lab.golden(web.url, SHA256)
    assert lab.leftovers() == []


def test_a_download_that_a_power_cut_damaged_is_fetched_once_more(lab: Lab, web: Web) -> None:
    """A journal may keep a file's length and lose its bytes: they read as zeros after the restart."""
    part = lab.store.partial(SHA256) / "golden"
    part.write_bytes(bytes(1000))
    tag = publish(BODY, {}).headers["ETag"].replace('"', '\\"')
    part.with_name("golden.json").write_text(
        f'{{"name": "{web.url}", "total": {len(BODY)}, "validator": "{tag}"}}'
    )
    assert lab.golden(web.url, SHA256).path.read_bytes() == BODY
    assert [asked.get("Range") for asked in web.asked] == ["bytes=1000-", None]


def test_offline_says_what_is_missing_and_what_to_do(lab: Lab, web: Web) -> None:
    with pytest.raises(
        SourceError, match=r"x\.img\.xz is not in the cache .*: run once without METIS_OFFLINE"
    ):
        lab.golden(web.url, SHA256, offline=True)
    assert web.asked == []


def test_a_file_on_this_machine_is_no_network(lab: Lab) -> None:
    assert lab.golden("file:x.img", SHA256, offline=True).sha256 == SHA256


def test_an_inventory_in_one_file_starts_from_its_folder(lab: Lab) -> None:
    (lab.folder / "lab.yaml").write_text("")
    lab.folder = Inventory(lab.folder / "lab.yaml").root
    assert lab.golden("file:x.img", SHA256).sha256 == SHA256


@pytest.mark.parametrize(
    ("source", "sha256", "error", "words"),
    [
        ("ftp://host/x", SHA256, UsageError, "'ftp' is of no known kind: a source begins with file:, http:"),
        ("/x.img", SHA256, UsageError, "is of no known kind"),
        ("", SHA256, UsageError, "is of no known kind"),
        ("file:x.img", None, UsageError, "has no sha256"),
        ("file:x.img", "../../etc/passwd", UsageError, "is not a SHA-256"),
        ("https://user:hunter2@host/x", SHA256, RefusedError, "holds credentials"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    lab: Lab, source: str, sha256: str | None, error: type[MetisError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        lab.golden(source, sha256)
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for building packages; what is built grows with each build."""
    suites: list[str] = []

    def build(suite: str, target: Path, _: Reporter, arch: str = "amd64") -> None:
        assert arch == "amd64"
        suites.append(suite)
        target.write_bytes(BODY + bytes(len(suites)))

    monkeypatch.setattr(debian, "build", build)
    return suites


def test_a_source_is_told_of_the_environment_what_its_scheme_declares_and_no_more(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Environment] = []

    def opened(source: str, terms: Terms) -> Source:
        told.append(terms.environment)
        return FileSource(source.replace("own:", "file:"), terms.folder)

    monkeypatch.setattr(schemes, "SCHEMES", {"own": Scheme(opened, ("OWN_TOKEN", "OWN_USER"))})
    said = {"OWN_TOKEN": Secret("mine"), "VAULT_TOKEN": Secret("another's")}
    these = means(lab.folder, lab.store.root, environment=said)
    assert fetched(Wanted("own:x.img", SHA256, "amd64"), these).sha256 == SHA256
    assert {frozenset(one.items()) for one in told} == {frozenset({("OWN_TOKEN", Secret("mine"))})}
    assert "mine" not in repr(these)


def test_a_debian_golden_is_built_once_and_then_known_by_its_recipe(lab: Lab, built: list[str]) -> None:
    first = lab.golden("debian:bookworm", None)
    assert lab.golden("debian:bookworm", None, offline=True) == first
    assert built == ["bookworm"]
    assert first.sha256 == hashlib.sha256(BODY + bytes(1)).hexdigest()


def test_a_debian_golden_that_rotted_is_built_again(lab: Lab, built: list[str]) -> None:
    lab.golden("debian:bookworm", None).path.write_bytes(b"rot")
    assert lab.golden("debian:bookworm", None).sha256 == hashlib.sha256(BODY + bytes(2)).hexdigest()
    assert lab.golden("debian:bookworm", None, offline=True).path.is_file()


def test_a_debian_golden_takes_a_network(lab: Lab, built: list[str]) -> None:
    with pytest.raises(SourceError, match="debian:bookworm is not in the cache"):
        lab.golden("debian:bookworm", None, offline=True)
    assert built == []


class Notes(io.StringIO):
    """Tells another process when it is said that somebody is waited for."""

    def __init__(self, waits: Event) -> None:
        super().__init__()
        self._waits = waits

    def write(self, text: str) -> int:
        if "waiting for process" in text:
            self._waits.set()
        return super().write(text)


def ask(folder: Path, url: str, said: Path, both: tuple[Barrier, Event] | None = None) -> None:
    lab = Lab(folder)
    if both:
        ready, waits = both
        lab = Lab(folder, Notes(waits))
        ready.wait()
    lab.golden(url, SHA256)
    said.write_text(lab.notes.getvalue())


def test_two_processes_that_want_one_golden_download_it_once(lab: Lab, web: Web) -> None:
    spawn = multiprocessing.get_context("spawn")
    said, ready, waits = [lab.folder / name for name in ("one", "two")], spawn.Barrier(2), spawn.Event()

    def answer(_number: int, asked: Headers) -> Answer:
        assert waits.wait(PATIENCE), "the other asks too, or does not wait"
        return publish(BODY, asked)

    web.script = answer
    both = [spawn.Process(target=ask, args=(lab.folder, web.url, path, (ready, waits))) for path in said]
    for process in both:
        process.start()
    for process in both:
        process.join(PATIENCE)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(web.asked) == 1
    words = [f"waiting for process {other.pid}, which is fetching {web.url}" for other in reversed(both)]
    assert any(word in path.read_text() for word, path in zip(words, said, strict=True))


def test_a_download_killed_in_the_middle_is_gone_on_with(lab: Lab, web: Web) -> None:
    web.script = lambda number, asked: publish(BODY, asked, silence=0 if number else 20)
    killed = multiprocessing.get_context("spawn").Process(
        target=ask, args=(lab.folder, web.url, lab.folder / "said")
    )
    killed.start()
    part = lab.store.root / "partial" / SHA256 / "golden"
    while not part.exists() or part.stat().st_size == 0:
        assert killed.is_alive()
        time.sleep(0.01)
    killed.kill()
    killed.join()
    assert lab.store.find(SHA256) is None
    assert lab.golden(web.url, SHA256).path.read_bytes() == BODY
    assert web.asked[1]["Range"].startswith("bytes=")


# ------------------------------------------------------------------------------------------- offline


def test_offline_no_mirror_on_the_web_is_asked(lab: Lab, web: Web) -> None:
    with pytest.raises(SourceError):
        lab.golden("file:nowhere.img", SHA256, web.url, offline=True)
    assert web.asked == []


def test_offline_a_mirror_on_this_machine_serves(lab: Lab, web: Web) -> None:
    assert lab.golden(web.url, SHA256, "file:x.img", offline=True).sha256 == SHA256
    assert web.asked == []


def test_a_golden_that_is_built_here_comes_from_no_mirror(
    lab: Lab, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing says what it must be, so that nobody else may bring it."""

    def build(*_: object, **__: object) -> None:
        raise SourceError("the archive is away")

    monkeypatch.setattr(debian, "build", build)
    with pytest.raises(SourceError, match="the archive is away"):
        lab.golden("debian:bookworm", None, web.url)
    assert (web.asked, lab.leftovers()) == ([], [])
