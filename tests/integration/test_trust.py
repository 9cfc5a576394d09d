"""What is not signed as its class wants it never becomes a golden, whoever publishes it and however."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipeline.errors import MetisError, MismatchError, SourceError, UsageError
from pipeline.golden.fetch import Fetched, fetched, published
from pipeline.golden.registry.artifact import GOLDEN, SIGNATURE_TYPES
from pipeline.golden.registry.push import Part, push
from pipeline.golden.registry.reference import Reference
from pipeline.golden.registry.registry import Registry
from pipeline.golden.source import Wanted
from pipeline.machine.progress import QuietReporter
from pipeline.model import Signature
from tests.integration.web import Answer, Web, publish, serving
from tests.support import registry as registries
from tests.support import signing
from tests.support.fetching import means
from tests.support.registry import Server
from tests.support.signing import Keys

BODY = random.Random(9).randbytes(100_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    with signing.making(tmp_path_factory.mktemp("signed")) as made:
        made.file.write_bytes(BODY)
        yield made


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registries.serving(tmp_path_factory.mktemp("registry")) as server:
        yield server


@dataclass
class Publisher:
    """A web server with files by name, a keyring of the inventory, and a cache."""

    web: Web
    files: dict[str, bytes]
    folder: Path

    @property
    def keyring(self) -> Path:
        return self.folder / "keys.gpg"

    def at(self, name: str) -> str:
        return self.web.url.replace("x.img.xz", name)

    def wanted(self, kind: str, sha256: str | None = SHA256) -> Wanted:
        """The golden, signed itself or by a list of hashes."""
        of = {"file": "x.img.xz.asc", "list": "SHA256SUMS.gpg"}[kind]
        return Wanted(
            self.web.url,
            sha256,
            "arm64",
            sums=self.at("SHA256SUMS") if kind == "list" else None,
            signature=Signature("keys.gpg", self.at(of)),
        )

    def fetch(self, wanted: Wanted, *, offline: bool = False) -> Fetched:
        return fetched(wanted, means(self.folder, self.folder / "cache", offline=offline))

    def in_cache(self) -> list[str]:
        files = (path for path in (self.folder / "cache").rglob("*") if path.is_file())
        return [path.name for path in files if path.parent.name != "locks"]


@pytest.fixture
def publisher(keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """Whoever publishes the golden well, by the key `good`."""
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as web:
        made = Publisher(web, {"x.img.xz": BODY}, tmp_path)
        made.keyring.write_bytes(keys.keyring("good").read_bytes())
        sign(made, keys, "good")

        def script(number: int, asked: Mapping[str, str]) -> Answer:
            body = made.files.get(web.paths[number].rpartition("/")[2])
            return Answer(404) if body is None else publish(body, asked)

        web.script = script
        yield made


def sign(publisher: Publisher, keys: Keys, key: str, *words: str, sha256: str = SHA256) -> None:
    """Publish signatures of the golden and of a list of its hash."""
    listed = publisher.folder / "SHA256SUMS"
    listed.write_text(f"{OTHER}  y.img.xz\n{sha256} *x.img.xz\n")
    publisher.files["x.img.xz.asc"] = keys.sign(key, "--armor", *words)
    publisher.files["SHA256SUMS"] = listed.read_bytes()
    publisher.files["SHA256SUMS.gpg"] = keys.sign(key, *words, file=listed)


each_kind = pytest.mark.parametrize("kind", ["file", "list"])


@each_kind
def test_what_is_signed_as_it_must_be_is_fetched(publisher: Publisher, kind: str) -> None:
    assert publisher.fetch(publisher.wanted(kind)).path.read_bytes() == BODY


def test_a_list_that_is_signed_is_as_good_as_a_hash(publisher: Publisher) -> None:
    assert publisher.fetch(publisher.wanted("list", None)).sha256 == SHA256
    found = published(publisher.wanted("list", None), means(publisher.folder, publisher.folder / "cache"))
    assert found.sha256 == SHA256


def test_a_list_without_a_signature_is_understood_too(publisher: Publisher) -> None:
    wanted = replace(publisher.wanted("list", None), signature=None)
    assert publisher.fetch(wanted).sha256 == SHA256


Spoil = Callable[[Publisher, Keys], object]


def _swap(publisher: Publisher, _: Keys) -> None:
    """Each is a good signature, of the other file."""
    one, other = "x.img.xz.asc", "SHA256SUMS.gpg"
    publisher.files[one], publisher.files[other] = publisher.files[other], publisher.files[one]


def _take_away(publisher: Publisher, _: Keys) -> None:
    del publisher.files["x.img.xz.asc"], publisher.files["SHA256SUMS.gpg"]


def _fill(content: bytes) -> Spoil:
    def fill(publisher: Publisher, _: Keys) -> None:
        publisher.files.update({"x.img.xz.asc": content, "SHA256SUMS.gpg": content})

    return fill


def _expired_key(publisher: Publisher, keys: Keys) -> None:
    publisher.keyring.write_bytes(keys.keyring("ended").read_bytes())
    sign(publisher, keys, "ended", *signing.LONG_AGO)


def _revoked_key(publisher: Publisher, keys: Keys) -> None:
    publisher.keyring.write_bytes(keys.keyring("revoked").read_bytes())
    publisher.files["x.img.xz.asc"] = publisher.files["SHA256SUMS.gpg"] = (
        keys.folder / "revoked.sig"
    ).read_bytes()


SPOILT: Mapping[str, Spoil] = {
    "a signature of something else": _swap,
    "no signature": _take_away,
    "an empty signature": _fill(b""),
    "a web page": _fill(b"<html>404</html>"),
    "a signature without end": _fill(b"x" * (2 << 20)),
    "another key": lambda publisher, keys: sign(publisher, keys, "other"),
    "an expired key": _expired_key,
    "a revoked key": _revoked_key,
    "an expired signature": lambda publisher, keys: sign(
        publisher, keys, "twofold", "--default-sig-expire", "1d", *signing.LONG_AGO
    ),
    "a weak hash": lambda publisher, keys: sign(publisher, keys, "good", "--digest-algo", "SHA1"),
}


@each_kind
@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_what_is_not_signed_as_it_must_be_is_refused_and_not_kept(
    publisher: Publisher, keys: Keys, kind: str, spoil: Spoil
) -> None:
    spoil(publisher, keys)
    with pytest.raises(MismatchError) as caught:
        publisher.fetch(publisher.wanted(kind))
    assert "\n" not in str(caught.value)
    assert publisher.in_cache() == []


def test_a_list_that_names_another_hash_than_the_one_that_is_pinned_is_refused(
    publisher: Publisher, keys: Keys
) -> None:
    sign(publisher, keys, "good", sha256=OTHER)
    with pytest.raises(MismatchError, match=f"lists {OTHER} for x.img.xz, but {SHA256} is pinned"):
        publisher.fetch(publisher.wanted("list"))
    assert publisher.in_cache() == []


def test_a_list_that_does_not_name_the_file_is_refused(publisher: Publisher, keys: Keys) -> None:
    with pytest.raises(MetisError, match=r"z\.img"):
        publisher.fetch(replace(publisher.wanted("list", None), source=publisher.at("z.img")))
    assert publisher.in_cache() == []


def test_a_signature_is_wanted_of_what_another_class_has_fetched_without_one(
    publisher: Publisher, keys: Keys
) -> None:
    publisher.fetch(Wanted(publisher.web.url, SHA256, "arm64"))
    sign(publisher, keys, "other")
    with pytest.raises(MismatchError, match=r"keys\.gpg"):
        publisher.fetch(publisher.wanted("file"))


@each_kind
def test_what_was_proven_once_is_proven_again_without_a_network(publisher: Publisher, kind: str) -> None:
    first = publisher.fetch(publisher.wanted(kind))
    asked = len(publisher.web.asked)
    assert publisher.fetch(publisher.wanted(kind), offline=True) == first
    assert len(publisher.web.asked) == asked


@each_kind
def test_a_key_that_left_the_keyring_proves_nothing_any_more(
    publisher: Publisher, keys: Keys, kind: str
) -> None:
    publisher.fetch(publisher.wanted(kind))
    publisher.keyring.write_bytes(keys.keyring("other").read_bytes())
    for offline in (True, False):
        with pytest.raises(MismatchError):
            publisher.fetch(publisher.wanted(kind), offline=offline)


@each_kind
def test_what_was_signed_anew_by_a_new_key_is_proven_by_that(
    publisher: Publisher, keys: Keys, kind: str
) -> None:
    publisher.fetch(publisher.wanted(kind))
    publisher.keyring.write_bytes(keys.keyring("other").read_bytes())
    sign(publisher, keys, "other")
    publisher.fetch(publisher.wanted(kind))
    publisher.fetch(publisher.wanted(kind), offline=True)


def test_offline_a_signature_that_is_not_here_cannot_be_judged(publisher: Publisher) -> None:
    publisher.fetch(Wanted(publisher.web.url, SHA256, "arm64"))
    with pytest.raises(SourceError, match=r"what proves .* is not in the cache, and METIS_OFFLINE is set"):
        publisher.fetch(publisher.wanted("file"), offline=True)


def test_a_keyring_that_is_not_there_is_a_usage_error(publisher: Publisher) -> None:
    publisher.keyring.unlink()
    with pytest.raises(UsageError, match=r"keys\.gpg"):
        publisher.fetch(publisher.wanted("file"))
    assert not (publisher.folder / "cache/sha256").exists()


# ------------------------------------------------------------------------------------- in a registry


def push_signed(server: Server, folder: Path, tag: str, signatures: Mapping[str, bytes]) -> Wanted:
    """Publish the golden with these signatures, by their media types."""
    (folder / "golden").write_bytes(BODY)
    parts = [Part(folder / "golden", "application/x-xz", "x.img.xz")]
    for number, (kind, content) in enumerate(signatures.items()):
        file = folder / f"signature-{number}"
        file.write_bytes(content)
        parts.append(Part(file, kind, f"x.img.xz.{number}"))
    reference = Reference(server.host, "metis/signed", tag)
    asked = Registry(server.host, server.access, QuietReporter())
    push(GOLDEN, parts, {}, reference, asked, QuietReporter())
    return Wanted(str(reference), None, "arm64", signature=Signature("keys.gpg"))


@pytest.mark.parametrize("kind", ["pgp", "minisign"])
def test_a_signature_in_the_artifact_counts(
    publisher: Publisher, keys: Keys, registry: Server, tmp_path: Path, kind: str
) -> None:
    if kind == "minisign":
        publisher.keyring.write_bytes(keys.mini("mine").read_bytes())
    made = keys.mini_sign("mine") if kind == "minisign" else keys.sign("good")
    wanted = push_signed(registry, tmp_path, kind, {SIGNATURE_TYPES[kind]: made})
    assert publisher.fetch(wanted).sha256 == SHA256
    assert publisher.fetch(replace(wanted, sha256=SHA256), offline=True).sha256 == SHA256


@pytest.mark.parametrize("case", ["none", "other key", "garbage"])
def test_an_artifact_that_is_not_signed_as_it_must_be_is_refused(
    publisher: Publisher, keys: Keys, registry: Server, tmp_path: Path, case: str
) -> None:
    signatures = {"none": {}, "other key": {SIGNATURE_TYPES["pgp"]: keys.sign("other")}, "garbage": {}}
    signatures["garbage"] = {SIGNATURE_TYPES["pgp"]: b"garbage"}
    wanted = push_signed(registry, tmp_path, "refused", signatures[case])
    with pytest.raises(MismatchError):
        publisher.fetch(wanted)
    assert publisher.in_cache() == []


def test_an_artifact_with_several_signatures_is_ambiguous(
    publisher: Publisher, keys: Keys, registry: Server, tmp_path: Path
) -> None:
    both = {SIGNATURE_TYPES["pgp"]: keys.sign("good"), SIGNATURE_TYPES["minisign"]: keys.mini_sign("mine")}
    with pytest.raises(MetisError, match="has 2 signatures"):
        publisher.fetch(push_signed(registry, tmp_path, "both", both))
    assert not (publisher.folder / "cache/sha256").exists()


def test_a_mirror_brings_the_signature_along_when_its_registry_is_away(
    publisher: Publisher, keys: Keys, registry: Server, tmp_path: Path, closed_port: int
) -> None:
    wanted = push_signed(registry, tmp_path, "mirror", {SIGNATURE_TYPES["pgp"]: keys.sign("good")})
    away = wanted.source.replace(registry.host, f"127.0.0.1:{closed_port}")
    found = publisher.fetch(replace(wanted, source=away, sha256=SHA256, mirrors=(wanted.source,)))
    assert found.sha256 == SHA256


def test_offline_a_signature_on_this_machine_is_judged(
    publisher: Publisher, keys: Keys, tmp_path: Path
) -> None:
    (tmp_path / "x.img").write_bytes(BODY)
    (tmp_path / "x.sig").write_bytes(keys.sign("good"))
    wanted = Wanted("file:x.img", SHA256, "arm64", signature=Signature("keys.gpg", "file:x.sig"))
    assert publisher.fetch(wanted, offline=True).sha256 == SHA256
    (tmp_path / "SHA256SUMS").write_text(f"{SHA256}  x.img\n")
    listed = Wanted("file:x.img", None, "arm64", sums="file:SHA256SUMS")
    assert publisher.fetch(listed, offline=True).sha256 == SHA256


def test_tasks_that_look_at_one_list_at_once_do_not_disturb_each_other(publisher: Publisher) -> None:
    """Each with means of its own, as several processes have them."""
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            wanted = [publisher.wanted("list", None)] * 4
            assert {each.sha256 for each in pool.map(publisher.fetch, wanted)} == {SHA256}
            shutil.rmtree(publisher.folder / "cache")
