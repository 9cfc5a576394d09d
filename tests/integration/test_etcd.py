"""The members of a real etcd, listed as preflight lists them; and what is said where it cannot."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cluster.etcd import Access, members
from pipeline.cluster.etcd_rpc import MAX_BYTES, NoQuorumError
from pipeline.errors import SourceError
from pipeline.machine import process
from tests.support.authority import Authority, pem_of
from tests.support.etcd import NAMES, Etcd, etcd
from tests.support.protobuf import field, listed

ROOT = Path(__file__).parents[2]
SHORT = 1.0
"""Seconds for whoever will not answer anyway."""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """A cluster of one, which no test changes."""
    with etcd(tmp_path_factory.mktemp("one")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def serving(one: Etcd) -> tuple[Path, Path]:
    """What others than etcd serve with."""
    return one.authority.certificate("hostile", "127.0.0.1", "::1", use="server")


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Etcd]:
    with etcd(tmp_path / "three", members=3) as cluster:
        yield cluster


def names(cluster: Etcd, endpoints: Sequence[str] = ()) -> list[str]:
    return [member.name for member in members(endpoints or cluster.endpoints, cluster.access)]


def failure(endpoints: Sequence[str], access: Access, kind: type[SourceError] = SourceError) -> str:
    """The one line of what goes wrong."""
    with pytest.raises(SourceError) as caught:
        members(endpoints, access, SHORT)
    assert type(caught.value) is kind
    line = str(caught.value)
    assert "\n" not in line
    assert "PRIVATE" not in line
    return line


# ------------------------------------------------------------------------------------------- what is


def test_all_members_are_listed_by_name(three: Etcd) -> None:
    found = members(three.endpoints, three.access)
    assert [(each.name, each.addresses) for each in found] == [
        (name, (address,)) for name, address in three.addresses.items()
    ]
    told = three.etcdctl("member", "list")["members"]
    assert {each.name: each.id for each in found} == {each["name"]: each["ID"] for each in told}
    assert not any(each.is_learner for each in found)


@pytest.mark.parametrize("form", ["{}", "{}:2379", "https://{}", "https://{}:2379/", "[::ffff:{}]:2379"])
def test_an_endpoint_is_written_in_any_of_these_ways(one: Etcd, form: str) -> None:
    assert names(one, [form.format(one.endpoints[0])]) == [NAMES[0]]


def test_a_member_that_was_removed_is_gone_whoever_is_asked(three: Etcd) -> None:
    gone = three.follower()
    (id_,) = (each.id for each in members(three.endpoints, three.access) if each.name == gone)
    three.stop(gone)
    three.etcdctl("member", "remove", f"{id_:x}")
    left = [name for name in NAMES if name != gone]
    for name in left:
        assert names(three, [three.addresses[name]]) == left


def test_a_member_that_died_is_still_listed(three: Etcd) -> None:
    three.stop(three.follower())
    assert names(three) == [*NAMES]


def test_a_learner_that_never_started_has_no_name_yet(tmp_path: Path) -> None:
    with etcd(tmp_path) as cluster:
        address = cluster.free_address()
        cluster.etcdctl(
            "member", "add", "titan-9-2c3d4e5f", "--learner", f"--peer-urls=https://{address}:2380"
        )
        learner, voter = members(cluster.endpoints, cluster.access)
    assert (learner.name, learner.addresses, learner.is_learner) == ("", (address,), True)
    assert (voter.name, voter.is_learner) == (NAMES[0], False)


def test_who_does_not_answer_is_passed_over(three: Etcd) -> None:
    dead = three.follower()
    three.stop(dead)
    first = ["nonsense!", three.free_address(), three.addresses[dead]]
    assert names(three, [*first, *three.endpoints]) == [*NAMES]


# ------------------------------------------------------------------------------------- what goes wrong


def test_a_cluster_without_quorum_is_told_from_one_that_is_away(three: Etcd) -> None:
    three.stop(*NAMES[:2])
    line = failure(three.endpoints, three.access, NoQuorumError)
    assert f"etcd at {three.endpoints[2]}:2379 has no quorum" in line
    assert "more than half of its members" in line
    three.stop(NAMES[2])
    assert "nothing answers there" in failure(three.endpoints, three.access)


def of(one: Etcd, pair: tuple[Path, Path]) -> Access:
    """The access with another certificate and its key."""
    return Access(one.access.ca, *pair)


def foreign(one: Etcd, folder: Path) -> Access:
    return of(one, Authority.make(folder, "other").certificate("foreign", use="client"))


def expired(one: Etcd, _: Path) -> Access:
    return of(one, one.authority.certificate("expired", use="client", days=-1))


def of_a_server(one: Etcd, _: Path) -> Access:
    return of(one, one.authority.certificate("server", use="server"))


def wrong_authority(one: Etcd, folder: Path) -> Access:
    return replace(one.access, ca=Authority.make(folder, "other").file)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (foreign, "refuses our certificate: ETCDCTL_CERT and ETCDCTL_KEY must be"),
        (expired, "refuses our certificate: ETCDCTL_CERT and ETCDCTL_KEY must be"),
        (of_a_server, "refuses our certificate: ETCDCTL_CERT and ETCDCTL_KEY must be"),
        (wrong_authority, "has a certificate that cannot be verified: ETCDCTL_CACERT must be"),
    ],
)
def test_a_certificate_that_is_refused_is_told(
    one: Etcd, tmp_path: Path, make: Callable[[Etcd, Path], Access], said: str
) -> None:
    assert f"etcd at {one.endpoints[0]}:2379 {said}" in failure(one.endpoints, make(one, tmp_path))


def test_a_certificate_for_another_address_is_refused(one: Etcd, tmp_path: Path) -> None:
    made = one.authority.certificate("elsewhere", "192.0.2.7", use="server")
    with answering(made, one.authority, {}) as endpoint:
        assert "certificate for other addresses" in failure([endpoint], one.access)


def missing(_: Path) -> None:
    """Leave it out."""


def folder(file: Path) -> None:
    file.mkdir()


def pipe(file: Path) -> None:
    process.run(["mkfifo", file])


def rubbish(file: Path) -> None:
    file.write_bytes(b"\0rubbish")


def huge(file: Path) -> None:
    file.write_bytes(b"#" * (MAX_BYTES + 1))


def another_key(file: Path) -> None:
    file.write_bytes(pem_of(Authority.make(file.parent, "another").key))


def locked_key(file: Path) -> None:
    file.write_bytes(pem_of(Authority.make(file.parent, "another").key, b"hunter2"))


@pytest.mark.parametrize("which", ["ca", "cert", "key"])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (missing, "is not there"),
        (folder, "is no file"),
        (pipe, "is no file"),
        (rubbish, "no "),
        (huge, "is too large"),
        (another_key, "no "),
        (locked_key, "no "),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    one: Etcd, tmp_path: Path, which: str, make: Callable[[Path], None], said: str
) -> None:
    file = tmp_path / "given.pem"
    make(file)
    good = one.access
    ca, cert, key = {"ca": good.ca, "cert": good.cert, "key": good.key, which: file}.values()
    line = failure(one.endpoints, Access(ca, cert, key))
    assert f"{file} " in line
    assert said in line


def test_nobody_to_ask_is_an_error(one: Etcd) -> None:
    assert failure([], one.access).startswith("no endpoint of etcd is known: ")


@pytest.mark.parametrize(
    "endpoint", ["http://192.0.2.1:2379", "unix:/run/etcd", "a b", "\x1b[2J", "[::1", ":0"]
)
def test_what_is_no_endpoint_is_not_asked(one: Etcd, endpoint: str) -> None:
    line = failure([endpoint], one.access)
    assert "is no endpoint of etcd with TLS" in line
    assert line.isprintable()


def test_who_takes_the_connection_and_says_nothing_is_given_up(one: Etcd) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        line = failure([f"127.0.0.1:{silent.getsockname()[1]}"], one.access)
    assert "did not answer in time" in line


def no_tls(connection: socket.socket, _: ssl.SSLContext) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    connection.recv(1 << 10)


def no_grpc(connection: socket.socket, context: ssl.SSLContext) -> None:
    context.wrap_socket(connection, server_side=True).close()


def cut(connection: socket.socket, context: ssl.SSLContext) -> None:
    context.set_alpn_protocols(["h2"])
    context.wrap_socket(connection, server_side=True).close()


@pytest.mark.parametrize(
    ("behave", "said"),
    [
        (no_tls, "does not speak TLS as etcd does"),
        (no_grpc, "speaks no gRPC, so it is no etcd"),
        (cut, "cut the connection, as if it refused our certificate"),
    ],
)
def test_who_is_no_etcd_is_told(
    one: Etcd,
    serving: tuple[Path, Path],
    behave: Callable[[socket.socket, ssl.SSLContext], None],
    said: str,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*serving)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                behave(connection, context)

        thread = threading.Thread(target=answer)
        thread.start()
        line = failure([f"127.0.0.1:{listener.getsockname()[1]}"], one.access)
        thread.join()
    assert said in line


# ------------------------------------------------------------------------------------- hostile answers


STATUS, RANGE, LIST = (
    f"/etcdserverpb.{method}" for method in ("Maintenance/Status", "KV/Range", "Cluster/MemberList")
)
Answers = Mapping[str, bytes | str | None]
"""By method: bytes, or words of an error, or None for silence; what is not named is answered with nothing."""


@contextmanager
def answering(
    certificate: tuple[Path, Path], authority: Authority, answers: Answers, address: str = "127.0.0.1"
) -> Iterator[str]:
    """A server of gRPC that speaks TLS as etcd does and answers what it is told, while the block runs."""
    import grpc

    over = threading.Event()

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(lambda _, context: answer(details.method, context))

    def answer(method: str, context: grpc.ServicerContext) -> bytes:
        said = answers.get(method, b"")
        if said is None:
            over.wait()
            return b""
        if isinstance(said, str):
            context.abort(grpc.StatusCode.UNAVAILABLE, said)
        assert isinstance(said, bytes)
        return said

    pem, key = (file.read_bytes() for file in certificate)
    credentials = grpc.ssl_server_credentials([(key, pem)], authority.file.read_bytes(), True)
    server = grpc.server(ThreadPoolExecutor(4), handlers=[Handler()])
    port = server.add_secure_port(f"{address}:0", credentials)
    server.start()
    try:
        yield f"{address}:{port}"
    finally:
        over.set()
        server.stop(None).wait()


GOOD = listed(field(2, NAMES[0].encode()), field(3, b"https://192.0.2.7:2380"))
STRANGE = "gave an answer that is none of etcd's"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", STRANGE),
        (b"rubbish", STRANGE),
        (GOOD[:-3], STRANGE),
        (field(2, b"\xff" * 9), STRANGE),
        (listed(field(2, b"\xff\xfe")), STRANGE),
        (listed(field(2, b"x" * 301)), STRANGE),
        (GOOD + GOOD, STRANGE),
        (b"".join(listed(id_=number) for number in range(1, 2000)), STRANGE),
        (GOOD + field(15, b"x" * MAX_BYTES), "answers with more than etcd would"),
    ],
    ids="nothing rubbish cut member text name twins thousands large".split(),
)
def test_an_answer_of_no_etcd_is_told(
    one: Etcd, serving: tuple[Path, Path], answer: bytes, said: str
) -> None:
    with answering(serving, one.authority, {LIST: answer}) as endpoint:
        assert f"etcd at {endpoint} {said}" in failure([endpoint], one.access)
        assert names(one, [endpoint, *one.endpoints]) == [NAMES[0]]


def test_what_is_odd_in_an_answer_is_shown_harmless_or_left_out(
    one: Etcd, serving: tuple[Path, Path]
) -> None:
    urls = [b"https://[fd00:0::7]:2380", b"https://[", b"http://\x1b[2J", b"", b"https://titan-7:2380"]
    urls += [b"unix://192.0.2.9", b"https://[::ffff:192.0.2.7]:1", b"https://user:pw@192.0.2.8:99999999/"]
    answer = listed(field(2, b"a\x1b[2J\nb"), *(field(4, url) for url in urls), field(5, 1), field(9, 1))
    with answering(serving, one.authority, {LIST: answer}) as endpoint:
        (member,) = members([endpoint], one.access)
    assert member.name == r"a\x1b[2J b"
    assert member.addresses == ("192.0.2.7", "192.0.2.8", "192.0.2.9", "fd00::7")
    assert member.is_learner


def test_an_endpoint_may_have_an_address_of_ipv6(one: Etcd, serving: tuple[Path, Path]) -> None:
    with answering(serving, one.authority, {LIST: GOOD}, "[::1]") as endpoint:
        (member,) = members([endpoint.replace("::1", "0:0::1")], one.access)
    assert member.addresses == ("192.0.2.7",)


@pytest.mark.parametrize(
    ("answers", "said", "kind"),
    [
        ({STATUS: None}, "did not answer in time", SourceError),
        ({STATUS: "no \x1b[2J" + "x" * 4000}, "failed: ", SourceError),
        ({RANGE: None}, "has no quorum", NoQuorumError),
        (
            {RANGE: "etcdserver: request timed out, possibly due to connection lost"},
            "no quorum",
            NoQuorumError,
        ),
        ({STATUS: "context deadline exceeded"}, "did not answer in time", SourceError),
        ({RANGE: "context deadline exceeded"}, "has no quorum", NoQuorumError),
        ({RANGE: "etcdserver: rpc not supported for learner"}, "not supported for learner", SourceError),
        ({LIST: None}, "did not answer in time", SourceError),
    ],
    ids="silent hostile undecided late silent-by-its-clock undecided-by-its-clock learner halfway".split(),
)
def test_an_etcd_that_fails_is_told(
    one: Etcd, serving: tuple[Path, Path], answers: Answers, said: str, kind: type[SourceError]
) -> None:
    with answering(serving, one.authority, {LIST: GOOD, **answers}) as endpoint:
        line = failure([endpoint], one.access, kind)
    assert f"etcd at {endpoint} " in line
    assert said in line
    assert line.isprintable()
    assert len(line) < 300


ASK = """
import sys
from pathlib import Path
from pipeline.cluster.etcd import Access, members
from pipeline.errors import SourceError
*files, endpoint = sys.argv[1:]
try:
    print(members([endpoint], Access(*map(Path, files)))[0].name)
except SourceError:
    print("failed")
"""


@pytest.mark.parametrize(
    ("make", "port", "said"),
    [
        (None, 2379, NAMES[0]),
        (None, 1, "failed"),
        (foreign, 2379, "failed"),
        (wrong_authority, 2379, "failed"),
    ],
)
def test_grpc_says_nothing_by_itself_and_asks_no_proxy(
    one: Etcd, tmp_path: Path, make: Callable[[Etcd, Path], Access] | None, port: int, said: str
) -> None:
    access = make(one, tmp_path) if make else one.access
    proxies = dict.fromkeys(("https_proxy", "http_proxy", "grpc_proxy"), "http://127.0.0.1:9")
    files = (access.ca, access.cert, access.key)
    words: list[str | Path] = [sys.executable, "-c", ASK, *files, f"{one.endpoints[0]}:{port}"]
    done = process.run(words, cwd=ROOT, extra_environment=proxies)
    assert (done.out.decode().strip(), done.err) == (said, b"")
