"""A golden from a real registry is the one that is pinned, whole, and asked for once, by whoever may."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import random
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline.errors import MetisError, MismatchError, RefusedError, SourceError, UsageError
from pipeline.golden import backoff
from pipeline.golden.asking import Manners
from pipeline.golden.fetch import Fetched, fetched, published
from pipeline.golden.registry import artifact
from pipeline.golden.registry.access import RegistryAccess, Robot
from pipeline.golden.registry.artifact import GOLDEN, Layer
from pipeline.golden.registry.push import Part, push
from pipeline.golden.registry.reference import Reference
from pipeline.golden.registry.registry import Registry
from pipeline.golden.source import Wanted
from pipeline.machine.progress import QuietReporter
from pipeline.secret import Secret
from tests.integration.web import Answer, Web
from tests.integration.web import publish as answer
from tests.integration.web import serving as web_serving
from tests.support import registry as registries
from tests.support.fetching import means
from tests.support.registry import PASSWORD, USER, Between, Server

BODY = random.Random(6).randbytes(1 << 20)
SHA256 = hashlib.sha256(BODY).hexdigest()
NEWER = random.Random(7).randbytes(1 << 19)
REPOSITORY = "metis/rpi4-armbian"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registries.serving(tmp_path_factory.mktemp("registry")) as server:
        publish(server, BODY)
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("registry")
    with registries.serving(folder, certificate=certificate, passwords=True) as server:
        publish(server, BODY)
        yield server


@pytest.fixture
def between(plain: Server) -> Iterator[Between]:
    with registries.between(plain) as relay:
        yield relay


def publish(
    server: Server,
    body: bytes,
    tag: str = "2026-11",
    *,
    title: str = "x.img.xz",
    repository: str = REPOSITORY,
) -> str:
    """Push a golden, and give the digest of its manifest."""
    file = server.storage.parent / "pushed"
    file.write_bytes(body)
    reference = Reference(server.host, repository, tag)
    asked = Registry(server.host, server.access, QuietReporter())
    parts = [Part(file, "application/x-xz", title)]
    return push(GOLDEN, parts, {"dev.metis.os": "armbian"}, reference, asked, QuietReporter()).digest


def publish_manifest(server: Server, content: bytes, tag: str) -> None:
    """Put whatever bytes a registry takes for a manifest under a tag."""
    asked = Registry(server.host, server.access, QuietReporter())
    asked.push_manifest(REPOSITORY, tag, content, artifact.digest_of(content))


def fetch(
    folder: Path, host: str, rest: str = ":2026-11", sha256: str | None = None, *mirrors: str, **more: object
) -> Fetched:
    wanted = Wanted(f"oci://{host}/{REPOSITORY}{rest}", sha256, "arm64", mirrors)
    return fetched(wanted, means(folder, folder / "cache", **more))  # type: ignore[arg-type]


def in_cache(folder: Path) -> list[str]:
    """The files of a cache that are not locks."""
    files = (path for path in (folder / "cache").rglob("*") if path.is_file())
    return sorted(path.name for path in files if path.parent.name != "locks")


# ---------------------------------------------------------------------------------------------- good


def test_a_golden_comes_by_its_tag(plain: Server, tmp_path: Path) -> None:
    assert fetch(tmp_path, plain.host).path.read_bytes() == BODY


def test_a_golden_comes_by_its_digest_whatever_the_tag_says(plain: Server, tmp_path: Path) -> None:
    digest = publish(plain, BODY)
    assert fetch(tmp_path, plain.host, f":no-such-tag@{digest}").sha256 == SHA256


def test_a_golden_that_is_pinned_and_here_needs_no_network(plain: Server, tmp_path: Path) -> None:
    fetch(tmp_path, plain.host)
    assert fetch(tmp_path, "127.0.0.1:1", sha256=SHA256, offline=True).path.read_bytes() == BODY


def test_what_is_published_can_be_asked_without_fetching_it(plain: Server, tmp_path: Path) -> None:
    digest = publish(plain, BODY)
    found = published(
        Wanted(f"oci://{plain.host}/{REPOSITORY}:2026-11", None, "arm64"), means(tmp_path, tmp_path)
    )
    assert (found.sha256, found.reference and found.reference.digest) == (SHA256, digest)


def test_equal_goldens_are_equal_artifacts(plain: Server) -> None:
    assert publish(plain, BODY, "one") == publish(plain, BODY, "two")


def test_a_golden_pushed_by_somebody_else_is_taken_if_it_is_the_only_file(
    plain: Server, tmp_path: Path
) -> None:
    layer = {"mediaType": "application/octet-stream", "digest": f"sha256:{SHA256}", "size": len(BODY)}
    config = {
        "mediaType": "application/vnd.unknown.config.v1+json",
        "digest": artifact.digest_of(b"{}"),
        "size": 2,
    }
    manifest = {"schemaVersion": 2, "mediaType": artifact.MANIFEST, "config": config, "layers": [layer]}
    publish_manifest(plain, json.dumps(manifest, indent=3).encode(), "by-others")
    assert fetch(tmp_path, plain.host, ":by-others").sha256 == SHA256


# ---------------------------------------------------------------------------------------------- breaks


def test_only_what_is_missing_is_asked_for_again(
    between: Between, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty downloads, each cut once at a random place, by processes that know nothing of each other."""
    monkeypatch.setattr(backoff, "FIRST", 0.01)
    places = random.Random(20)
    for number in range(20):
        between.heads.clear()
        cut = places.randrange(1, len(BODY))
        between.cuts = [cut]
        assert fetch(tmp_path / str(number), between.host, sha256=SHA256).path.read_bytes() == BODY
        first, second = between.of_blobs()
        assert "Range:" not in first
        assert f"Range: bytes={cut}-\r\n" in second, (cut, second)


def test_a_mirror_goes_on_where_the_first_host_broke_off(
    plain: Server, between: Between, tmp_path: Path
) -> None:
    between.cuts = [400_000, 0, 0, 0, 0, 0]
    second = f"oci://{plain.host}/{REPOSITORY}:2026-11"
    with registries.between(plain) as mirror:
        second = f"oci://{mirror.host}/{REPOSITORY}:2026-11"
        found = fetch(tmp_path, between.host, ":2026-11", SHA256, second)
        assert found.path.read_bytes() == BODY
        assert "Range: bytes=400000-\r\n" in mirror.of_blobs()[0]


def test_a_mirror_is_asked_when_the_first_host_is_not_there(
    plain: Server, tmp_path: Path, closed_port: int
) -> None:
    found = fetch(
        tmp_path,
        f"127.0.0.1:{closed_port}",
        ":2026-11",
        SHA256,
        f"oci://{plain.host}/{REPOSITORY}:2026-11",
    )
    assert found.sha256 == SHA256


def ask(folder: Path, host: str) -> None:
    fetch(folder, host)


def test_two_processes_that_want_one_golden_download_it_once(between: Between, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=ask, args=(tmp_path, between.host)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(between.of_blobs()) == 1


# ---------------------------------------------------------------------------------------------- hostile


def test_a_tag_that_was_moved_is_refused(plain: Server, tmp_path: Path) -> None:
    publish(plain, BODY, "moved")
    publish(plain, NEWER, "moved")
    with pytest.raises(MismatchError, match=f"but {SHA256} is pinned: see who moved the tag"):
        fetch(tmp_path, plain.host, ":moved", SHA256)
    assert in_cache(tmp_path) == []


@pytest.mark.parametrize("title", ["/etc/passwd", "../../x.img", "..", "a/b", "a\\b", "x\x1b[2J", "x" * 256])
def test_a_title_that_leads_elsewhere_is_refused(plain: Server, tmp_path: Path, title: str) -> None:
    publish(plain, BODY, "titled", title=title)
    with pytest.raises(MismatchError, match="has a file whose title leads elsewhere"):
        fetch(tmp_path, plain.host, ":titled")
    assert in_cache(tmp_path) == []


@pytest.mark.parametrize("change", ["other bytes", "shorter", "longer"])
def test_a_blob_that_is_not_what_its_manifest_says_is_refused(
    plain: Server, tmp_path: Path, change: str
) -> None:
    body = random.Random(change).randbytes(100_000)
    publish(plain, body, "damaged")
    blob = plain.blob(artifact.digest_of(body))
    blob.write_bytes({"other bytes": body[:-1] + b"!", "shorter": body[:-1], "longer": body + b"!"}[change])
    with pytest.raises(MismatchError, match="the registry sends a file"):
        fetch(tmp_path, plain.host, ":damaged")
    assert in_cache(tmp_path) == []


def test_a_manifest_that_is_not_what_its_digest_says_is_refused(plain: Server, tmp_path: Path) -> None:
    digest = publish(plain, random.Random(8).randbytes(1000), "changed")
    kept = plain.blob(digest)
    other = plain.blob(publish(plain, BODY))
    shutil.copy(other, kept)
    with pytest.raises(MismatchError, match="sends another manifest"):
        fetch(tmp_path, plain.host, f"@{digest}")
    assert in_cache(tmp_path) == []


HOSTILE = {
    "no JSON": b"<html>",
    "a list": b"[]",
    "no layers": b'{"schemaVersion": 2}',
    "layers of another kind": b'{"layers": {"a": 1}}',
    "a layer without a digest": b'{"layers": [{"size": 1}]}',
    "a digest of another kind": b'{"layers": [{"digest": "md5:00", "size": 1}]}',
    "a digest that is a path": b'{"layers": [{"digest": "sha256:../../x", "size": 1}]}',
    "a size below nothing": json.dumps({"layers": [{"digest": f"sha256:{SHA256}", "size": -1}]}).encode(),
    "a size that is a word": json.dumps({"layers": [{"digest": f"sha256:{SHA256}", "size": "1"}]}).encode(),
    "a title that is a number": json.dumps(
        {"layers": [{"digest": f"sha256:{SHA256}", "size": 1, "annotations": {artifact.TITLE: 1}}]}
    ).encode(),
    "no file": b'{"layers": []}',
    "several files": json.dumps({"layers": [{"digest": f"sha256:{SHA256}", "size": 1}] * 2}).encode(),
    "many files": json.dumps({"layers": [{"digest": f"sha256:{SHA256}", "size": 1}] * 1000}).encode(),
    "an index": b'{"manifests": [], "layers": []}',
    "depth": b'{"layers": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_manifest_that_is_none_is_one_line(content: bytes) -> None:
    with pytest.raises(MetisError) as caught:
        artifact.golden_of(artifact.parse(content, "oci://host/x:1", "1", ""), "oci://host/x:1")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("oci://host/x:1")


def test_a_digest_that_the_registry_says_is_compared_too() -> None:
    content = artifact.written(GOLDEN, [Layer(f"sha256:{SHA256}", 1, "x")], {})
    with pytest.raises(MismatchError, match="sends another manifest"):
        artifact.parse(content, "oci://host/x:1", "1", f"sha256:{SHA256}")


# ---------------------------------------------------------------------------------------------- access


def test_a_robot_account_gets_in_by_tls_with_a_private_authority(guarded: Server, tmp_path: Path) -> None:
    assert fetch(tmp_path, guarded.host, access=guarded.access).sha256 == SHA256


def docker_config(folder: Path, **content: object) -> RegistryAccess:
    file = folder / "config.json"
    file.write_text(json.dumps(content))
    return RegistryAccess(docker_config=file)


def with_docker(server: Server, access: RegistryAccess) -> RegistryAccess:
    return RegistryAccess(authority=server.access.authority, docker_config=access.docker_config)


def test_what_docker_login_has_left_gets_in(guarded: Server, tmp_path: Path) -> None:
    import base64

    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    access = docker_config(tmp_path, auths={guarded.host: {"auth": auth}})
    assert fetch(tmp_path, guarded.host, access=with_docker(guarded, access)).sha256 == SHA256


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_a_credential_helper_is_asked_and_told_nothing(
    guarded: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    helper = tmp_path / "docker-credential-lab"
    said = json.dumps({"ServerURL": guarded.host, "Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\nenv > {tmp_path}/seen; cat >> {tmp_path}/seen\necho '{said}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("VAULT_TOKEN", "hunter3")
    content = {key: "lab" if key == "credsStore" else {guarded.host: "lab"}}
    access = docker_config(tmp_path, **content)
    assert fetch(tmp_path, guarded.host, access=with_docker(guarded, access)).sha256 == SHA256
    seen = (tmp_path / "seen").read_text()
    assert guarded.host in seen
    assert "hunter3" not in seen


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{", UsageError),
        ('{"auths": []}', UsageError),
        ('{"auths": {"HOST": {"auth": "&&&hunter2"}}}', UsageError),
        ('{"credsStore": "../../bin/sh"}', UsageError),
        ('{"credsStore": "not-there"}', MetisError),
        ("[]", SourceError),
        ("{}", SourceError),
    ],
)
def test_a_docker_config_that_is_none_is_one_line(
    guarded: Server, tmp_path: Path, content: str, error: type[MetisError]
) -> None:
    (tmp_path / "config.json").write_text(content.replace("HOST", guarded.host))
    access = with_docker(guarded, RegistryAccess(docker_config=tmp_path / "config.json"))
    with pytest.raises(error) as caught:
        fetch(tmp_path, guarded.host, access=access)
    assert "hunter2" not in str(caught.value)


def test_a_wrong_password_is_told_at_once_and_not_shown(guarded: Server, tmp_path: Path) -> None:
    robot = Robot(guarded.host, USER, Secret("hunter2"))
    access = RegistryAccess(authority=guarded.access.authority, robot=robot)
    with pytest.raises(SourceError, match=r"answered 401 Unauthorized .* run `docker login") as caught:
        fetch(tmp_path, guarded.host, access=access)
    assert "hunter2" not in str(caught.value)


def test_a_password_is_for_its_own_registry_only(plain: Server, guarded: Server, tmp_path: Path) -> None:
    with registries.between(plain) as relay:
        fetch(tmp_path, relay.host, access=guarded.access)
        assert not [head for head in relay.heads if "authorization" in head.lower()]


def test_a_certificate_that_nobody_vouches_for_is_refused(guarded: Server, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot be verified: set .*METIS_REGISTRY_CA"):
        fetch(tmp_path, guarded.host, access=RegistryAccess(robot=guarded.access.robot))


def test_an_authority_that_is_none_is_a_usage_error(guarded: Server, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("none")
    with pytest.raises(UsageError, match="is no file of certificates"):
        fetch(tmp_path, guarded.host, access=RegistryAccess(authority=tmp_path / "ca.pem"))


def test_plain_http_is_for_loopback_and_for_those_that_are_named(tmp_path: Path) -> None:
    """The address is this machine's, but not one of loopback."""
    address = registries.own_address()
    with registries.serving(tmp_path / "registry", address=address) as server:
        access = RegistryAccess(insecure=frozenset({server.host}))
        asked = Registry(server.host, access, QuietReporter())
        with pytest.raises(SourceError, match=rf"does not speak TLS: .*--insecure-registry {server.host}"):
            fetch(tmp_path, server.host)
        asked.push_blob(REPOSITORY, artifact.digest_of(b"{}"), written(tmp_path, b"{}"), lambda _: None)
        assert server.blob(artifact.digest_of(b"{}")).read_bytes() == b"{}"


def written(folder: Path, content: bytes) -> Path:
    file = folder / "file"
    file.write_bytes(content)
    return file


def test_a_registry_that_gives_tokens_lets_a_robot_in(certificate: Path, tmp_path: Path) -> None:
    with (
        registries.giving_tokens(certificate) as tokens,
        registries.serving(tmp_path / "registry", tokens=tokens) as server,
    ):
        publish(server, BODY)
        assert fetch(tmp_path, server.host, access=server.access).sha256 == SHA256
        asked = {
            tuple(sorted(scope.split(":")[2].split(","))) for each in tokens.asked for scope in each["scope"]
        }
        assert asked == {("pull",), ("pull", "push")}


def test_a_token_that_ends_during_a_download_is_asked_for_anew(certificate: Path, tmp_path: Path) -> None:
    with (
        registries.giving_tokens(certificate) as tokens,
        registries.serving(tmp_path / "registry", tokens=tokens) as server,
        registries.between(server) as relay,
    ):
        publish(server, BODY)
        relay.cuts = [300_000]
        relay.spoils_after_cut = True
        access = RegistryAccess(robot=Robot(relay.host, USER, Secret(PASSWORD)))
        assert fetch(tmp_path, relay.host, access=access).path.read_bytes() == BODY
        assert ["Range: bytes=300000-" in head for head in relay.of_blobs()] == [False, True, True]


def test_a_password_never_goes_where_tls_ends(certificate: Path, tmp_path: Path) -> None:
    with (
        registries.giving_tokens(certificate) as tokens,
        registries.serving(tmp_path / "registry", certificate=certificate, tokens=tokens) as server,
        pytest.raises(RefusedError, match="wants its password to cross the network in the clear"),
    ):
        fetch(tmp_path, server.host, access=server.access)
    assert tokens.asked == []


def test_a_password_never_goes_to_another_machine_in_the_clear(certificate: Path, tmp_path: Path) -> None:
    """A registry of this machine, which may be asked plainly, names somebody who is not of this machine."""
    with (
        registries.giving_tokens(certificate, registries.own_address()) as tokens,
        registries.serving(tmp_path / "registry", tokens=tokens) as server,
        pytest.raises(RefusedError, match="wants its password to cross the network in the clear"),
    ):
        fetch(tmp_path, server.host, access=server.access)
    assert tokens.asked == []


@pytest.fixture
def web() -> Iterator[Web]:
    with web_serving() as web:
        yield web


MANIFEST = artifact.written(GOLDEN, [Layer(f"sha256:{SHA256}", len(BODY), "x", "x.img.xz")], {})


def test_a_registry_that_greets_everybody_and_asks_later_gets_the_password(web: Web, tmp_path: Path) -> None:
    def script(number: int, asked: Mapping[str, str]) -> Answer:
        path = web.paths[number]
        if path == "/v2/":
            return Answer(200)
        if "Authorization" not in asked:
            return Answer(401, headers={"WWW-Authenticate": 'Basic realm="Registry"'})
        return Answer(body=MANIFEST) if "/manifests/" in path else answer(BODY, asked)

    web.script = script
    host = urlsplit(web.url).netloc
    access = RegistryAccess(robot=Robot(host, USER, Secret(PASSWORD)))
    assert fetch(tmp_path, host, ":1", access=access).sha256 == SHA256
    assert "Authorization" not in web.asked[0]


@pytest.mark.parametrize(
    "challenge",
    [
        "Bearer",
        'Bearer realm=""',
        'Bearer realm="/nowhere"',
        'Bearer realm="file:///etc/passwd"',
        'Bearer realm="http://[",service="\x00"',
        "Negotiate",
        "",
    ],
)
def test_a_challenge_that_is_none_is_one_line(web: Web, tmp_path: Path, challenge: str) -> None:
    headers = {"WWW-Authenticate": challenge.replace("\x00", "")}
    web.script = lambda number, _: Answer(200 if web.paths[number] == "/v2/" else 401, headers=headers)
    host = urlsplit(web.url).netloc
    access = RegistryAccess(robot=Robot(host, USER, Secret(PASSWORD)))
    with pytest.raises((SourceError, RefusedError)) as caught:
        fetch(tmp_path, host, ":1", access=access)
    assert PASSWORD not in str(caught.value)


def test_nothing_for_this_machine_goes_through_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: Web
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", web.url.rpartition("/")[0])
    with registries.serving(tmp_path / "registry", passwords=True) as server:
        publish(server, BODY)
        assert fetch(tmp_path, server.host, access=server.access).sha256 == SHA256
    assert web.asked == []


def test_who_is_not_known_to_a_registry_is_not_told_to_it_by_netrc(
    plain: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login metis password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with registries.between(plain) as relay:
        fetch(tmp_path, relay.host)
        assert not [head for head in relay.heads if "authorization" in head.lower()]


def test_a_connection_that_is_cut_as_it_begins_is_no_reason_to_speak_plainly(tmp_path: Path) -> None:
    address = registries.own_address()
    waits: list[float] = []
    with registries.cutting(address) as cutter:
        access = RegistryAccess(insecure=frozenset({cutter.host}))
        asked = Registry(cutter.host, access, QuietReporter())
        with pytest.raises(SourceError, match="the connection was cut, and 5 tries did not get on"):
            asked.manifest(REPOSITORY, "1", Manners(waits.append))
    assert {said[:1] for said in cutter.said} == {b"\x16"}, cutter.said  # each began with TLS


def test_a_registry_has_one_name_however_it_is_written(plain: Server, tmp_path: Path) -> None:
    host = plain.host.replace("127.0.0.1", "LOCALHOST")
    upper = Server(host, plain.storage)
    assert fetch(tmp_path, host, f":2026-11@{publish(upper, BODY)}").sha256 == SHA256


def test_what_a_power_cut_spoilt_is_fetched_once_more(plain: Server, tmp_path: Path) -> None:
    """A journal may keep a file's length and lose its bytes: they read as zeros after the restart."""
    part = means(tmp_path, tmp_path / "cache").store.partial(SHA256) / "golden"
    part.write_bytes(bytes(1000))
    part.with_name("golden.json").write_text(json.dumps({"name": "", "total": len(BODY), "validator": ""}))
    assert fetch(tmp_path, plain.host, sha256=SHA256).path.read_bytes() == BODY


def test_a_host_that_sends_rubbish_and_breaks_off_spoils_no_mirror(
    plain: Server, web: Web, tmp_path: Path
) -> None:
    rubbish = bytes(len(BODY))
    web.script = lambda _, asked: answer(rubbish, asked, cut=1000)
    mirror = f"oci://{plain.host}/{REPOSITORY}:2026-11"
    wanted = Wanted(web.url, SHA256, "arm64", (mirror, web.url))
    assert fetched(wanted, means(tmp_path, tmp_path / "cache")).path.read_bytes() == BODY


def test_a_golden_for_another_architecture_is_refused(plain: Server, tmp_path: Path) -> None:
    file = written(tmp_path, BODY)
    reference = Reference(plain.host, REPOSITORY, "amd64")
    asked = Registry(plain.host, plain.access, QuietReporter())
    parts = [Part(file, "application/x-xz", "x.img.xz")]
    push(GOLDEN, parts, {artifact.ARCH: "amd64"}, reference, asked, QuietReporter())
    with pytest.raises(MetisError, match="is for amd64, and its class for arm64"):
        fetch(tmp_path, plain.host, ":amd64")
    assert in_cache(tmp_path) == []
