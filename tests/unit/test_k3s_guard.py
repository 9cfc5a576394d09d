"""The guard before k3s on a server: a peer that speaks TLS is real, the node around it is a folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.machine import process
from pipeline.render import k3s
from pipeline.render.assets import asset
from tests.support.peer import Certificates, Peer, make_certificates, serving, sha256
from tests.support.rendering import files, node_of, program

TOOLS = "sh sed grep cat cut sort tail tr timeout mktemp rm sha256sum base64".split()
OWN = "192.0.2.13"
PEER = "192.0.2.7"
SECRET = "server:hunter2"
REFUSED = "metis: k3s must not start here: "


# -------------------------------------------------------------------------------------------- the peer


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def peer(certificates: Certificates) -> Iterator[Peer]:
    with serving(certificates) as peer:
        yield peer


# -------------------------------------------------------------------------------------------- the node


@dataclass
class Node:
    """A server's card: the guard, config.yaml as it is rendered, the programs that it has, and its disk."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.programs.mkdir()
        (self.folder / "tmp").mkdir()
        for tool in (*TOOLS, "curl"):
            self.add(tool)
        self.write(
            "bin/ip", f"#!/bin/sh\necho '2: eth0    inet {OWN}/24 brd 192.0.2.255 scope global eth0'\n", 0o755
        )
        self.resolve(PEER)
        self.write("k3s-guard", asset("k3s-guard").text, 0o755)

    @property
    def programs(self) -> Path:
        return self.folder / "bin"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def add(self, tool: str) -> None:
        (self.programs / tool).symlink_to(program(tool, "curl" if tool == "curl" else "coreutils"))

    def resolve(self, *addresses: str) -> None:
        """Make every name stand for these addresses, for the guard but not for who fetches."""
        lines = "".join(f"{address}  STREAM peer\\n" for address in addresses)
        self.write("bin/getent", f"#!/bin/sh\nprintf '{lines}'\n", 0o755)

    def configure(self, server: str = f"https://{PEER}:6443", more: str = "") -> None:
        """Write config.yaml as it is rendered for a server, with this folder's paths."""
        node = node_of(f"class: pi\nk3s: {{role: server, server: 'https://{PEER}:6443'}}\n")
        text = files(k3s.render(node))["/etc/rancher/k3s/config.yaml"]
        text = text.replace(f"https://{PEER}:6443", server)
        text = text.replace(k3s.TOKEN_FILE, str(self.folder / "join-token"))
        self.write("config.yaml", f"{text}data-dir: {self.data}\n{more}")

    def token(self, certificate_hash: str) -> None:
        self.write("join-token", f"K10{certificate_hash}::{SECRET}\n")

    def guard(self, *words: str) -> process.Finished:
        extra = {
            "K3S_CONFIG_FILE": str(self.folder / "config.yaml"),
            "PATH": str(self.programs),
            "TMPDIR": str(self.folder / "tmp"),
            **self.environment,
        }
        ended = process.run(
            [self.folder / "k3s-guard", *words], extra_environment=extra, check=False, timeout=60
        )
        assert SECRET.encode() not in ended.out + ended.err
        assert list((self.folder / "tmp").iterdir()) == []
        return ended

    def passes(self, kind: str = "etcd") -> None:
        ended = self.guard(kind)
        assert (ended.code, ended.out, ended.err) == (0, b"", b"")

    def is_refused(self, reason: str, *words: str) -> None:
        ended = self.guard(*(words or ("etcd",)))
        assert ended.code == 1
        (line,) = ended.err.decode().splitlines()
        assert line.startswith(REFUSED)
        assert reason in line


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(tmp_path)
    node.configure()
    node.token("0" * 64)
    return node


@pytest.fixture
def joining(node: Node, peer: Peer) -> Node:
    """A node that may join its peer."""
    node.configure(peer.url)
    node.token(sha256(peer.answer))
    return node


# ----------------------------------------------------------------------------------- joining a cluster


@pytest.mark.parametrize(("tool", "package"), [("curl", "curl"), ("wget", "wget"), ("python3", "python3")])
def test_a_peer_of_the_tokens_cluster_is_joined_with_whatever_can_fetch(
    joining: Node, tool: str, package: str
) -> None:
    (joining.programs / "curl").unlink()
    # A shim that chooses among several Pythons needs more than there is.
    found = sys.executable if tool == "python3" else program(tool, package)
    (joining.programs / tool).symlink_to(Path(found).resolve())
    joining.passes()
    joining.token("0" * 64)
    joining.is_refused("another hash")


def test_nothing_that_can_fetch_is_no_way_around(joining: Node) -> None:
    (joining.programs / "curl").unlink()
    joining.is_refused("none of curl, wget and python3 is installed")


def test_a_peer_of_another_cluster_is_not_joined(joining: Node) -> None:
    joining.token(sha256(b"another cluster"))
    joining.is_refused("is of another cluster than the token")


def test_a_slash_at_the_end_of_the_address_does_no_harm(joining: Node, peer: Peer) -> None:
    joining.configure(f"{peer.url}/")
    joining.passes()


def test_one_certificate_is_hashed_as_the_file_that_it_is(joining: Node, peer: Peer) -> None:
    joining.token(peer.certificates.der_hash("root"))
    joining.is_refused("another hash")


def test_of_a_chain_the_root_is_hashed(joining: Node, peer: Peer) -> None:
    peer.answer = peer.certificates.pem("server") + peer.certificates.pem("root")
    joining.token(peer.certificates.der_hash("root"))
    joining.passes()
    joining.token(peer.certificates.der_hash("server"))
    joining.is_refused("another hash")


def test_a_chain_without_a_newline_at_its_end_is_read_to_the_end(joining: Node, peer: Peer) -> None:
    peer.answer = peer.certificates.pem("server") + peer.certificates.pem("root").rstrip(b"\n")
    joining.token(peer.certificates.der_hash("root"))
    joining.passes()


@pytest.mark.parametrize(
    "answer", [b"", b"-----END x\n-----END x\n", b"-----BEGIN x\n\x00\xff%\n-----END x\n" * 3]
)
def test_what_is_no_certificate_is_of_no_cluster(joining: Node, peer: Peer, answer: bytes) -> None:
    peer.answer = answer
    joining.is_refused("another hash")


def test_an_answer_without_end_does_not_fill_the_card(joining: Node, peer: Peer) -> None:
    peer.answer = b"x" * 10**7
    joining.is_refused("no answer from https://localhost")


def test_a_peer_that_is_down_is_waited_for(node: Node, peer: Peer) -> None:
    node.configure("https://localhost:1")
    node.is_refused("no answer from https://localhost:1/cacerts: curl: (7)")


def test_a_peer_that_is_no_k3s_server_is_not_joined(joining: Node, peer: Peer) -> None:
    joining.configure(more=f"# else a path\nserver: {peer.url}/somewhere\n")
    joining.is_refused("no answer from")


def test_the_token_is_no_argument_of_any_program(joining: Node) -> None:
    for tool in (*TOOLS, "curl"):
        if tool != "sh":
            real = (joining.programs / tool).resolve()
            (joining.programs / tool).unlink()
            script = f'#!/bin/sh\necho {tool} "$@" >>{joining.folder}/log\nexec {real} "$@"\n'
            joining.write(f"bin/{tool}", script, 0o755)
    joining.passes()
    said = (joining.folder / "log").read_text()
    assert "curl" in said
    assert SECRET not in said


# ------------------------------------------------------------------------------------------- itself


@pytest.mark.parametrize("address", [OWN, "127.0.0.1", "127.0.1.1", "::1", "0.0.0.0"])
def test_a_node_does_not_join_itself(joining: Node, address: str) -> None:
    joining.resolve(PEER, address)
    joining.is_refused("is this node itself")


def test_an_address_that_is_only_like_its_own_is_another(joining: Node) -> None:
    joining.resolve("192.0.2.130", "192.0.2.1", "192x0x2x13")
    joining.passes()


@pytest.mark.parametrize("name", [OWN, f"[{OWN}]"])
def test_an_address_that_cannot_be_resolved_is_compared_as_it_is(node: Node, name: str) -> None:
    (node.programs / "getent").unlink()
    node.configure(more=f"server: https://{name}:6443\n")
    node.is_refused("is this node itself")


def test_the_addresses_of_a_node_are_also_known_without_ip(node: Node) -> None:
    (node.programs / "ip").unlink()
    node.write("bin/hostname", "#!/bin/sh\necho '192.0.2.13 2001:db8::5 '\n", 0o755)
    node.resolve("2001:db8::5")
    node.is_refused("is this node itself")


# --------------------------------------------------------------------------------------------- token


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("hunter2", "holds no token that begins with K10"),
        (f"K10{'0' * 64}", "holds no token that begins with K10"),
        (f"K10{'0' * 64}::", "holds no token that begins with K10"),
        (f"K10::{SECRET}", "without the hash"),
        (f"K10{'0' * 63}::{SECRET}", "without the hash"),
        (f"K10{'0' * 63}F::{SECRET}", "without the hash"),
        (f"K10{'0' * 63}.::{SECRET}", "without the hash"),
        ("", "is empty"),
    ],
)
def test_a_token_must_name_its_cluster(joining: Node, token: str, reason: str) -> None:
    joining.write("join-token", token)
    joining.is_refused(reason)


def test_a_token_needs_no_newline_at_its_end(joining: Node, peer: Peer) -> None:
    joining.write("join-token", f"K10{sha256(peer.answer)}::{SECRET}")
    joining.passes()


def test_there_must_be_a_token(joining: Node) -> None:
    (joining.folder / "join-token").unlink()
    joining.is_refused("names no file that can be read")


# ------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    "line",
    [
        "cluster-init: true",
        "cluster-init: false",
        '"cluster-init": true',
        "{cluster-init: true}",
        "cluster-reset: true",
    ],
)
@pytest.mark.parametrize("file", ["config.yaml", "config.yaml.d/90.yaml", "config.yaml.d/a b.yml"])
def test_a_new_cluster_is_never_made(node: Node, line: str, file: str) -> None:
    (node.data / "server/db/etcd/member/wal").mkdir(parents=True)
    node.passes()
    config = node.folder / file
    node.write(file, f"{config.read_text() if config.exists() else ''}{line}\n")
    node.is_refused("cluster-init or cluster-reset, which makes a new cluster", "etcd")
    node.is_refused("cluster-init or cluster-reset, which makes a new cluster", "external")


def test_a_comment_may_speak_of_it(joining: Node, peer: Peer) -> None:
    joining.configure(peer.url, more="  # cluster-init: true\n")
    joining.write("config.yaml.d/README", "cluster-init: true\n")
    joining.passes()


@pytest.mark.parametrize(
    "name", ["K3S_CLUSTER_INIT", "K3S_CLUSTER_RESET", "K3S_TOKEN", "K3S_DATASTORE_ENDPOINT"]
)
def test_the_environment_may_not_say_so_either(node: Node, name: str) -> None:
    node.environment[name] = SECRET
    node.is_refused("the environment sets", "external")


@pytest.mark.parametrize(
    "line",
    ["server: ''", "'server': ''", "token+: a", "{token-file: /a", "data-dir : /a", "datastore-endpoint: a"],
)
def test_k3s_must_read_what_was_checked(joining: Node, line: str) -> None:
    joining.passes()
    joining.write("config.yaml.d/50.yaml", f"debug: true\n{line}\n")
    joining.is_refused("sets one of server|token|token-file|data-dir|datastore-endpoint")


def test_other_settings_may_be_laid_over(joining: Node) -> None:
    joining.write("config.yaml.d/50.yaml", "tls-san: [server.example]\nserver-like: a\n")
    joining.passes()


@pytest.mark.parametrize("server", ["", "''", "http://192.0.2.7:6443", "https://"])
def test_without_a_server_nothing_is_joined(node: Node, server: str) -> None:
    node.configure(more=f"server: {server}\n")
    node.is_refused("names no server to join")


@pytest.mark.parametrize("form", ["'{}'", '"{}"', "{}  # the first one", "{}   "])
def test_a_value_is_read_as_yaml_may_write_it(joining: Node, peer: Peer, form: str) -> None:
    joining.configure(more=f"server: {form.format(peer.url)}\n")
    joining.passes()


def test_without_a_configuration_nothing_starts(node: Node) -> None:
    (node.folder / "config.yaml").unlink()
    node.is_refused("cannot read", "external")


@pytest.mark.parametrize("words", [(), ("raft",)], ids=["none", "unknown"])
def test_the_kind_of_data_must_be_one_that_is_known(node: Node, words: tuple[str, ...]) -> None:
    ended = node.guard(*words)
    assert ended.code == 1
    assert ended.err.decode().startswith(f"{REFUSED}expected etcd, sqlite or external")


# ---------------------------------------------------------------------------------------------- data


def wal(node: Node) -> None:
    (node.data / "server/db/etcd/member/wal").mkdir(parents=True)


def database(node: Node) -> None:
    node.write("data/server/db/state.db", "SQLite format 3")


def empty_database(node: Node) -> None:
    node.write("data/server/db/state.db", "")


def removed_member(node: Node) -> None:
    wal(node)
    node.write("data/server/db/etcd/tombstone", "")


@pytest.mark.parametrize(("kind", "make"), [("etcd", wal), ("sqlite", database)])
def test_a_server_with_its_data_asks_nobody(node: Node, kind: str, make: Callable[[Node], None]) -> None:
    make(node)
    (node.folder / "join-token").unlink()
    node.passes(kind)


@pytest.mark.parametrize(
    ("kind", "make"), [("sqlite", wal), ("sqlite", empty_database), ("sqlite", lambda _: None)]
)
def test_a_lone_server_without_its_database_does_not_start(
    node: Node, kind: str, make: Callable[[Node], None]
) -> None:
    make(node)
    node.is_refused("the database of the cluster is not there", kind)


@pytest.mark.parametrize("make", [database, removed_member], ids=["sqlite", "tombstone"])
def test_data_that_k3s_would_not_use_is_none(joining: Node, make: Callable[[Node], None]) -> None:
    make(joining)
    joining.passes()
    joining.token("0" * 64)
    joining.is_refused("another hash")


def test_the_folder_for_data_may_come_from_the_environment(node: Node) -> None:
    wal(node)
    node.configure("https://localhost:1")
    config = (node.folder / "config.yaml").read_text()
    node.write("config.yaml", config.replace(f"data-dir: {node.data}\n", ""))
    node.is_refused("no answer")
    node.environment["K3S_DATA_DIR"] = str(node.data)
    node.passes()


def test_with_an_external_datastore_there_is_no_peer_to_ask(node: Node) -> None:
    node.configure(more='datastore-endpoint: "postgres://u@192.0.2.9/k3s"\n')
    (node.folder / "join-token").unlink()
    node.passes("external")


@pytest.mark.parametrize("line", ["", 'datastore-endpoint: ""\n', "datastore-endpoint: sqlite:///a\n"])
def test_an_external_datastore_must_be_named(node: Node, line: str) -> None:
    node.configure(more=line)
    node.is_refused("names no datastore-endpoint outside of this node", "external")


def test_no_datastore_is_taken_for_another(joining: Node, peer: Peer) -> None:
    joining.configure(peer.url, more="datastore-endpoint: mysql://192.0.2.9\n")
    joining.is_refused("has a datastore-endpoint, and the cluster's datastore is etcd")


# --------------------------------------------------------------------------------------------- style


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_every_shell_can_run_it(joining: Node, shell: str) -> None:
    (joining.programs / "sh").unlink()
    (joining.programs / "sh").symlink_to(program(shell, shell))
    text = (joining.folder / "k3s-guard").read_text()
    joining.write("k3s-guard", text.replace("#!/bin/sh", f"#!{joining.programs}/sh", 1), 0o755)
    joining.passes()
