"""How the environment says which cluster is meant: files of KUBECONFIG, or the account of a pod."""

from __future__ import annotations

import base64
import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pipeline.cluster.client import connected
from pipeline.cluster.port import Cluster
from pipeline.errors import MetisError, RefusedError, SourceError, UsageError
from pipeline.machine import process
from tests.support import kube
from tests.support.apiserver import ApiServer, api_server

CANARY = "canary-token-of.metis"
NODE = "titan-13"


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with api_server() as server:
        server.put(kube.node(NODE))
        yield server


@pytest.fixture
def words(server: ApiServer, tmp_path: Path) -> dict[str, Any]:
    """What a good file has, to be spoiled."""
    read: dict[str, Any] = yaml.safe_load(server.kubeconfig(tmp_path).read_text())
    return read


def written(folder: Path, words: Any, name: str = "config") -> Path:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(words if isinstance(words, str) else yaml.safe_dump(words))
    return file


def reached(kubeconfig: str | Path) -> Cluster:
    cluster = connected({"KUBECONFIG": str(kubeconfig)})
    assert cluster is not None
    assert cluster.node(NODE) is not None
    return cluster


@pytest.mark.parametrize(
    "environment", [{}, {"KUBECONFIG": ""}, {"KUBERNETES_SERVICE_HOST": "192.0.2.1"}, {"HOME": "/"}], ids=str
)
def test_where_nothing_says_which_cluster_there_is_none(environment: dict[str, str], tmp_path: Path) -> None:
    assert connected(environment, tmp_path) is None


def test_a_cluster_is_called_by_its_address(server: ApiServer, tmp_path: Path) -> None:
    assert reached(server.kubeconfig(tmp_path)).name == server.url


def test_paths_count_from_the_folder_of_their_file(
    server: ApiServer, words: dict[str, Any], tmp_path: Path
) -> None:
    written(tmp_path, server.authority.read_text(), "ca.crt")
    written(tmp_path, f"{CANARY}\n", "token")
    words["clusters"][0]["cluster"] = {"server": server.url, "certificate-authority": "../ca.crt"}
    words["users"][0]["user"] = {"tokenFile": "../token"}
    reached(written(tmp_path / "inner", words))


def test_a_certificate_says_who_asks_and_its_key_is_left_nowhere(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    file = server.kubeconfig_with_certificate(tmp_path, "with-a-certificate")
    for _ in range(2):  # the library remembers where it has put what it has seen
        reached(file)
        assert server.requests[-1].user == "with-a-certificate"
        assert not list(scratch.iterdir())


def test_a_certificate_may_be_in_files(server: ApiServer, words: dict[str, Any], tmp_path: Path) -> None:
    file = server.kubeconfig_with_certificate(tmp_path, "in-files")
    data = yaml.safe_load(file.read_text())["users"][0]["user"]
    for key in ("client-certificate", "client-key"):
        written(tmp_path, base64.b64decode(data[f"{key}-data"]).decode(), f"{key}.pem")
    named = {"client-certificate": "client-certificate.pem", "client-key": "client-key.pem"}
    words["users"][0]["user"] = named
    reached(written(tmp_path, words))
    assert server.requests[-1].user == "in-files"


def test_this_machine_itself_is_asked_without_a_proxy(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://192.0.2.1:3128")
    reached(server.kubeconfig(tmp_path))


# --------------------------------------------------------------------------------------- several files


def parts(words: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: words[name] for name in names}


def test_several_files_are_one(words: dict[str, Any], tmp_path: Path) -> None:
    first = written(tmp_path, parts(words, "current-context", "clusters"), "first")
    second = written(tmp_path, parts(words, "contexts", "users"), "second")
    reached(os.pathsep.join(["", str(first), str(tmp_path / "not-there"), str(second)]))


def test_of_what_two_files_name_alike_the_first_counts(words: dict[str, Any], tmp_path: Path) -> None:
    good = written(tmp_path, words, "good")
    words["users"][0]["user"] = {"token": "other"}
    words["current-context"] = "other"
    bad = written(tmp_path, words, "bad")
    reached(os.pathsep.join([str(good), str(bad)]))


# ----------------------------------------------------------------------------------------- what is refused

BROKEN = {
    "no-yaml": f"users: [{CANARY}\n\t:",
    "no-map": f"- {CANARY}",
    "empty": "",
    "binary": "\0\1",
    "deep": "[" * 1500,
    "alias-of-itself": "&a {clusters: *a, current-context: lab, contexts: *a}",
    "huge": "#" * (1 << 20) + "\n{}",
    "no-context": {"clusters": []},
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_no_kubeconfig_is_told_in_a_line(text: Any, tmp_path: Path) -> None:
    refused(written(tmp_path, text), UsageError)


def refused(file: Path, kind: type[MetisError]) -> str:
    with pytest.raises(MetisError) as raised:
        connected({"KUBECONFIG": str(file)})
    assert type(raised.value) is kind
    text = str(raised.value)
    assert len(text.splitlines()) == 1
    assert str(file) in text
    assert CANARY not in f"{text} {raised.value!r}"
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    return text


@pytest.mark.parametrize(
    ("cluster", "kind", "says"),
    [
        ({"server": None}, UsageError, "no address of a server"),
        ({"server": ["https://192.0.2.5"]}, UsageError, "server is no text"),
        ({"server": "192.0.2.5:6443"}, UsageError, "no address of a server"),
        ({"server": f"https://me:{CANARY}@192.0.2.5"}, UsageError, "no address of a server"),
        ({"server": f"https://192.0.2.5/?token={CANARY}"}, UsageError, "no address of a server"),
        ({"server": "https://192.0.2.5:99999"}, UsageError, "no address of a server"),
        ({"server": "https://192.0.2.5/\nx"}, UsageError, "no address of a server"),
        ({"server": "file:///etc/passwd"}, UsageError, "no address of a server"),
        ({"server": "http://192.0.2.5:6443"}, RefusedError, "in the clear"),
        ({"insecure-skip-tls-verify": True}, RefusedError, "whoever answers would get the token"),
        ({"certificate-authority": "not-there"}, UsageError, "not there"),
        ({"certificate-authority-data": "abc"}, UsageError, "no base64"),
        ({"certificate-authority-data": base64.b64encode(b"none").decode()}, UsageError, "that are none"),
        ({"sell-my-data": "yes"}, UsageError, "sell-my-data"),
    ],
    ids=str,
)
def test_a_cluster_that_cannot_be_used_is_told_in_a_line(
    words: dict[str, Any], tmp_path: Path, cluster: dict[str, Any], kind: type[MetisError], says: str
) -> None:
    if "certificate-authority" in cluster:
        del words["clusters"][0]["cluster"]["certificate-authority-data"]
    words["clusters"][0]["cluster"] |= cluster
    assert says in refused(written(tmp_path, words), kind)


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ({"exec": {"command": "touch", "args": [CANARY]}}, "exec"),
        ({"auth-provider": {"name": "oidc"}}, "auth-provider"),
        ({"username": "admin", "password": CANARY}, "password"),
        ({"token": CANARY, "as": "admin"}, '"as"'),
        ({"token": f"{CANARY}\nX-Other: 1"}, "a token that is none"),
        ({"token": f"{CANARY}ä"}, "a token that is none"),
        ({"token": [CANARY]}, "token is no text"),
        ({"tokenFile": "not-there"}, "no such file"),
        ({"client-certificate-data": "abc", "client-key-data": "abc"}, "no base64"),
        ({"client-certificate-data": "bm9uZQ==", "client-key-data": "bm9uZQ=="}, "that are none"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_user_that_cannot_be_used_is_told_in_a_line(
    words: dict[str, Any], tmp_path: Path, user: dict[str, Any], says: str
) -> None:
    words["users"][0]["user"] = user
    assert says in refused(written(tmp_path, words), UsageError)


@pytest.mark.parametrize("key", ["contexts", "clusters", "users"])
@pytest.mark.parametrize("value", [None, [], {}, ["x"], [{"name": "lab"}], [{"name": "lab", "cluster": "x"}]])
def test_what_the_context_means_must_be_there(
    words: dict[str, Any], tmp_path: Path, key: str, value: Any
) -> None:
    words[key] = value
    refused(written(tmp_path, words), UsageError)


def test_the_password_of_a_locked_key_is_not_asked_for(words: dict[str, Any], tmp_path: Path) -> None:
    pem = tmp_path / "client.pem"
    process.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -passout pass:x -subj /CN=metis "
        f"-keyout {pem} -out {pem}.crt".split()
    )
    words["users"][0]["user"] = {"client-certificate": f"{pem}.crt", "client-key": str(pem)}
    assert "locked" in refused(written(tmp_path, words), UsageError)


def test_files_that_are_all_not_there_are_told(tmp_path: Path) -> None:
    assert "nothing is there" in refused(tmp_path / "not-there", UsageError)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "is a directory" in refused(tmp_path, UsageError)


# ---------------------------------------------------------------------------------------------- in a pod


@pytest.fixture
def account(server: ApiServer, tmp_path: Path) -> Path:
    written(tmp_path, server.authority.read_text(), "ca.crt")
    written(tmp_path, CANARY, "token")
    return tmp_path


def in_cluster(server: ApiServer) -> dict[str, str]:
    host, _, port = server.url.removeprefix("https://").partition(":")
    return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}


def test_a_pod_is_known_by_its_account(server: ApiServer, account: Path) -> None:
    cluster = connected(in_cluster(server), account)
    assert cluster is not None
    assert cluster.node(NODE) is not None


def test_a_kubeconfig_goes_before_the_account_of_a_pod(
    server: ApiServer, account: Path, tmp_path: Path
) -> None:
    with api_server() as other:
        named = {"KUBECONFIG": str(other.kubeconfig(tmp_path)), **in_cluster(server)}
        cluster = connected(named, account)
        assert cluster is not None
        assert cluster.name == other.url


@pytest.fixture
def a_minute_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the library looks at the clock again, after the account was read."""
    now = datetime.datetime.now() + datetime.timedelta(minutes=2)
    later = SimpleNamespace(datetime=SimpleNamespace(now=lambda: now), timedelta=datetime.timedelta)
    monkeypatch.setattr("kubernetes.config.incluster_config.datetime", later)


def test_the_token_of_a_pod_is_read_anew(
    server: ApiServer, account: Path, request: pytest.FixtureRequest
) -> None:
    cluster = connected(in_cluster(server), account)
    assert cluster is not None
    written(account, server.token("metis-2"), "token")
    request.getfixturevalue("a_minute_later")
    cluster.node(NODE)
    assert server.requests[-1].user == "metis-2"


@pytest.mark.parametrize("text", [None, "", f"{CANARY}\r\nX-Other: 1"], ids=["gone", "empty", "two-lines"])
def test_a_pods_token_that_is_none_any_more_is_told_in_a_line(
    server: ApiServer, account: Path, request: pytest.FixtureRequest, text: str | None
) -> None:
    cluster = connected(in_cluster(server), account)
    assert cluster is not None
    written(account, text or "", "token")
    if text is None:
        (account / "token").unlink()
    request.getfixturevalue("a_minute_later")
    with pytest.raises(SourceError) as raised:
        cluster.node(NODE)
    assert raised.value.__suppress_context__
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize(("file", "text"), [("ca.crt", ""), ("ca.crt", "none"), ("token", "")])
def test_an_account_that_is_not_whole_is_told_in_a_line(
    server: ApiServer, account: Path, file: str, text: str
) -> None:
    written(account, text, file)
    with pytest.raises(UsageError, match=str(account)):
        connected(in_cluster(server), account)
