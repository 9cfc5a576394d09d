"""`metis preflight` against a cluster's API: what it says of each state, what it asks, and what it mends."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tests.support.apiserver import ApiServer
from tests.support.apiserver_faults import Answer, fails, says
from tests.support.kube import Object, bootstrap_token_secret, node, password_secret, root_ca
from tests.support.lab import Lab, Report
from tests.support.netns import Network
from tests.support.preflight import (
    ELSEWHERE,
    IN_SECRETS,
    LIVING,
    MEMBER,
    RIGHTS,
    SECRET,
    TOKEN,
    a_server,
    agent,
    declare,
    declared,
    gone,
    has_secrets,
    keep,
)
from tests.unit.test_node_password import hashed


@pytest.fixture
def lab(tmp_path: Path, net: Network, server: ApiServer) -> Lab:
    return declared(tmp_path, net, server)


def preflight(lab: Lab, name: str, *words: str, **extra: str) -> Report:
    report = lab.metis("preflight", "--node", name, *words, **extra)
    assert "Traceback" not in report.err, report
    assert not has_secrets(report.out + report.err), report
    return report


def verdicts(report: Report) -> dict[str, str]:
    """What is not ok, by the name of its check."""
    return {
        each["check"]: each["verdict"] for each in json.loads(report.out)["checks"] if each["verdict"] != "ok"
    }


def asked(server: ApiServer) -> set[str]:
    return {request.subject for request in server.requests if request.resource}


# ---------------------------------------------------------------------------------------- the states

OF_AGENTS = {"list nodes/", f"get secrets/{SECRET}", "get configmaps/kube-root-ca.crt"}
OF_SERVERS = {"list nodes/", "get configmaps/kube-root-ca.crt"}
Change = Callable[[Lab, ApiServer], object]
BOOTSTRAP = "0123456789abcdef"
RELEASE = "https://github.com/k3s-io/k3s/releases/download/v1.33.2%2Bk3s1/k3s-arm64"
BROUGHT = f"files: [{{path: /usr/local/bin/k3s, source: '{RELEASE}', sha256: {'0' * 64}, mode: '0755'}}]\n"


def put(*objects: Object) -> Change:
    return lambda _lab, server: [server.put(each) for each in objects]


def remove(kind: str, name: str, namespace: str = "") -> Change:
    return lambda _lab, server: server.remove(kind, name, namespace)


def with_bootstrap(expires: datetime | None, *, known: str = BOOTSTRAP, **data: str | None) -> Change:
    def change(lab: Lab, server: ApiServer) -> None:
        keep(lab, server, "titan-13", f"abc123.{BOOTSTRAP}", IN_SECRETS)
        server.put(bootstrap_token_secret("abc123", known, expires, **data))

    return change


def with_bootstrap_for_now(lab: Lab, server: ApiServer) -> None:
    with_bootstrap(datetime.now(UTC) + timedelta(minutes=30))(lab, server)


def burned(name: str, at: str) -> Change:
    """A receipt of a burn, as `metis burn` leaves it, of a server of the inventory."""

    def change(lab: Lab, _server: ApiServer) -> None:
        folder = lab.artifacts / "burns"
        folder.mkdir(parents=True, exist_ok=True)
        about = {"node": name, "at": at, "verdict": "read back and the same", "image": {"id": "0"}}
        (folder / f"{name}-20261128T000000Z.json").write_text(json.dumps(about))

    return change


def both(*changes: Change) -> Change:
    return lambda lab, server: [change(lab, server) for change in changes]


@dataclass(frozen=True)
class Case:
    """A node in a state: what is not ok, words of the table, and what was asked beyond what always is."""

    node: str
    change: Change
    verdicts: dict[str, str]
    words: str
    asked: frozenset[str] = frozenset()

    @property
    def code(self) -> int:
        return 3 if "refused" in self.verdicts.values() else 0


TOKEN_ASKED = frozenset({"get secrets/bootstrap-token-abc123"})
CASES = {
    "agent, NotReady as nobody hears it": Case(
        "titan-13", put(), {}, "the Node is not Ready since 2026-11-20"
    ),
    "agent, silent": Case("titan-13", put(), {}, "nobody answers at 192.0.2.13"),
    "agent, absent": Case("titan-13", remove("Node", "titan-13"), {}, "the cluster has no such Node"),
    "agent, NotReady by its own word": Case(
        "titan-13", put(agent("False")), {"twin": "refused"}, "which its kubelet says itself"
    ),
    "agent, Ready": Case("titan-13", put(agent("True")), {"twin": "refused"}, "shut the node down"),
    "agent, alive elsewhere": Case(
        "titan-13", put(agent(address=LIVING)), {"twin": "refused"}, "a machine answers at 192.0.2.14"
    ),
    "agent, alive where DHCP once put another": Case(
        "titan-13", put(agent(address=LIVING), node("titan-15", address=LIVING)), {}, "nobody answers at"
    ),
    "agent, of no known address": Case(
        "titan-17",
        put(),
        {"twin": "unsure"},
        "an address that nobody knows cannot be tried",
    ),
    "agent, out of reach": Case(
        "titan-17", put(node("titan-17", ready="Unknown", address=ELSEWHERE)), {"twin": "unsure"}, ELSEWHERE
    ),
    "agent, not known by a password": Case(
        "titan-13", remove("Secret", SECRET, "kube-system"), {}, "takes the first that it is shown"
    ),
    "agent, known by another password": Case(
        "titan-13",
        put(password_secret("titan-13", hashed("another"))),
        {"node password": "refused"},
        f"delete the Secret kube-system/{SECRET}: --fix does it",
    ),
    "agent, without a password": Case(
        "titan-13",
        lambda lab, server: keep(lab, server, "titan-13", f"node:{TOKEN}"),
        {"node password": "refused"},
        "a new one would be made",
    ),
    "agent, known by rubbish": Case(
        "titan-13",
        put(password_secret("titan-13", "$1:00:99:99:9:\x1b[2J")),
        {"node password": "unsure"},
        "cannot be compared",
    ),
    "agent, whose server is down": Case(
        "titan-13",
        put(a_server("titan-0a", "192.0.2.7", "Unknown")),
        {"peer": "unsure"},
        "bring it up, or name another in k3s.server: titan-0b",
    ),
    "agent, too new": Case(
        "titan-13",
        lambda lab, _server: declare(lab, version="v1.32.0+k3s1"),
        {"version": "refused"},
        "an agent is never newer than its servers",
    ),
    "agent, too old": Case(
        "titan-13",
        lambda lab, _server: declare(lab, version="v1.27.0+k3s1"),
        {"version": "refused"},
        "at most 3",
    ),
    "agent, with a k3s that its class brings": Case(
        "titan-13",
        lambda lab, _server: declare(lab, klass=f"arch: arm64\nos: debian\n{BROUGHT}"),
        {"version": "refused"},
        "the card has v1.33.2+k3s1, and the servers run v1.31.4+k3s1",
    ),
    "agent, of no known version": Case(
        "titan-13", lambda lab, _server: declare(lab, version="unknown"), {"version": "unsure"}, "targets.k3s"
    ),
    "token, for a while": Case(
        "titan-13", with_bootstrap(datetime(2999, 1, 1, tzinfo=UTC)), {}, "expires 2999-01-01", TOKEN_ASKED
    ),
    "token, not for long": Case(
        "titan-13", with_bootstrap_for_now, {}, "put the card in before", TOKEN_ASKED
    ),
    "token, for good": Case("titan-13", with_bootstrap(None), {}, "does not expire", TOKEN_ASKED),
    "token, expired": Case(
        "titan-13",
        with_bootstrap(datetime(2026, 1, 1, tzinfo=UTC)),
        {"token": "refused"},
        "expired 2026-01-01 00:00 UTC",
        TOKEN_ASKED,
    ),
    "token, of another secret": Case(
        "titan-13",
        with_bootstrap(None, known="f" * 16),
        {"token": "refused"},
        "k3s token create",
        TOKEN_ASKED,
    ),
    "token, for signing alone": Case(
        "titan-13",
        with_bootstrap(None, usage_bootstrap_authentication=None),
        {"token": "refused"},
        "lets no node in",
        TOKEN_ASKED,
    ),
    "token, gone": Case(
        "titan-13",
        both(with_bootstrap(None), remove("Secret", "bootstrap-token-abc123", "kube-system")),
        {"token": "refused"},
        "does not know any more",
        TOKEN_ASKED,
    ),
    "CA, changed": Case(
        "titan-13", put(root_ca("-----BEGIN nothing")), {"CA": "unsure"}, "certificates cannot be read"
    ),
    "CA, of another cluster": Case(
        "titan-0c",
        lambda lab, server: keep(lab, server, "titan-0c", f"server:{TOKEN}", ca_hash="ab" * 32),
        {"CA": "refused"},
        "the token is of another cluster",
    ),
    "server, out of etcd": Case("titan-0c", put(), {}, f"k3s took {MEMBER} out of etcd"),
    "server, still in etcd": Case(
        "titan-0c",
        put(gone()),
        {"etcd member": "refused"},
        "so that k3s takes titan-0c-0a1b2c3d out of etcd: --fix does it",
    ),
    "server, on its way out of etcd": Case(
        "titan-0c", put(gone(remove="true")), {"etcd member": "refused"}, "wait until k3s has done it"
    ),
    "server, absent": Case(
        "titan-0c", remove("Node", "titan-0c"), {"etcd member": "unsure", "quorum": "ok"}, "ETCDCTL_CACERT"
    ),
    "server, without quorum": Case(
        "titan-0c",
        put(gone(), a_server("titan-0b", "192.0.2.8", "Unknown")),
        {"etcd member": "refused", "quorum": "refused", "peer": "unsure"},
        "1 of 3 members are up without this node, and 2 are needed",
    ),
    "server, whose peer is down": Case(
        "titan-0c",
        put(a_server("titan-0a", "192.0.2.7", "False"), a_server("titan-0d", "192.0.2.9")),
        {"peer": "refused"},
        "k3s.server is 192.0.2.7, and titan-0a there is not Ready",
    ),
    "server, too new": Case(
        "titan-0c",
        lambda lab, _server: declare(lab, version="v1.33.1+k3s1"),
        {"version": "refused"},
        "runs v1.31.4",
    ),
    "server, of a cluster without etcd": Case(
        "titan-0c",
        put(*(node(name, role="server", address="192.0.2.7") for name in ("titan-0a", "titan-0b"))),
        {"datastore": "refused", "quorum": "refused"},
        "see that KUBECONFIG is of the right cluster",
    ),
    "server, while another is on its way": Case(
        "titan-0c",
        both(
            burned("titan-0b", "2026-11-28T00:00:00+00:00"),
            put(a_server("titan-0b", "192.0.2.8", "Unknown"), a_server("titan-0d", "192.0.2.9")),
        ),
        {"one at a time": "refused", "peer": "unsure"},
        "not back yet: titan-0b (burned 2026-11-28 00:00 UTC)",
    ),
    "server, while another has come back": Case(
        "titan-0c",
        burned("titan-0b", "2026-11-19T00:00:00+00:00"),
        {},
        "no other server's card is on its way",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_state_has_its_verdict_and_nothing_is_changed(lab: Lab, server: ApiServer, name: str) -> None:
    case = CASES[name]
    case.change(lab, server)
    report = preflight(lab, case.node, "--json")
    expected = {check: verdict for check, verdict in case.verdicts.items() if verdict != "ok"}
    assert verdicts(report) == expected, report
    assert report.code == case.code, report
    own = (
        OF_SERVERS if case.node == "titan-0c" else {word.replace("titan-13", case.node) for word in OF_AGENTS}
    )
    assert asked(server) == own | case.asked
    shown = preflight(lab, case.node)
    assert case.words in " ".join(shown.out.split())
    assert shown.code == case.code
    if case.code:
        refusing = ", ".join(check for check, verdict in expected.items() if verdict == "refused")
        assert set(refusing.split(", ")) == set(
            shown.err.partition(" yet: ")[2].partition(":")[0].split(", ")
        )
        assert shown.err.count("\n") == 1
    assert not server.changes


# ---------------------------------------------------------------------------------- what cannot be seen


def granted(folder: Path, *kept: str) -> Path:
    """The rights to read, of which only these resources are left."""
    file = folder / "rights.yaml"
    documents = [
        each for each in yaml.safe_load_all(RIGHTS.read_text()) if each["kind"] in {"Role", "ClusterRole"}
    ]
    for document in documents:
        document["rules"] = [rule for rule in document["rules"] if set(rule["resources"]) & set(kept)]
    file.write_text(yaml.safe_dump_all(documents))
    return file


@pytest.mark.parametrize(
    ("kept", "unseen"),
    [
        (["nodes", "secrets"], ["CA"]),
        (["nodes", "configmaps"], ["node password"]),
        (["secrets", "configmaps"], ["twin", "peer", "version"]),
        (["configmaps"], ["twin", "node password", "peer", "version"]),
    ],
)
def test_what_the_account_may_not_see_is_unsure_and_says_what_helps(
    lab: Lab, server: ApiServer, tmp_path: Path, kept: list[str], unseen: list[str]
) -> None:
    server.grant(granted(tmp_path, *kept))
    report = preflight(lab, "titan-13", "--json")
    assert report.code == 0, report
    assert verdicts(report) == dict.fromkeys(unseen, "unsure")
    if unseen != ["version"]:
        assert "grant what deploy/kubernetes/rights/preflight names" in preflight(lab, "titan-13").out


def test_an_account_that_may_see_nothing_is_an_error(lab: Lab, server: ApiServer, tmp_path: Path) -> None:
    server.grant(granted(tmp_path))
    report = preflight(lab, "titan-13")
    assert (report.code, report.out) == (5, "")
    assert report.err.count("\n") == 1


def test_an_account_that_expired_is_an_error(lab: Lab, server: ApiServer) -> None:
    server.fail("*", fails(401), times=100)
    report = preflight(lab, "titan-13")
    assert (report.code, report.out) == (5, "")
    assert "401" in report.err


def test_secrets_out_of_reach_are_unsure(lab: Lab) -> None:
    report = preflight(
        lab,
        "titan-13",
        "--json",
        METIS_SECRETS="vault",
        VAULT_ADDR="http://127.0.0.1:9",
        VAULT_TOKEN="canary",
    )
    assert report.code == 0, report
    assert verdicts(report) == dict.fromkeys(["node password", "token"], "unsure")


def test_a_cluster_that_does_not_answer_is_an_error(lab: Lab, server: ApiServer) -> None:
    server.stop()
    report = preflight(lab, "titan-13")
    assert (report.code, report.out) == (5, "")
    assert server.url in report.err
    assert report.err.count("\n") == 1


@pytest.mark.parametrize("what", ["nodes/", f"secrets/{SECRET}", "configmaps/kube-root-ca.crt"])
def test_a_cluster_that_fails_is_an_error(lab: Lab, server: ApiServer, what: str) -> None:
    server.fail(f"* {what}", fails(500), times=100)
    report = preflight(lab, "titan-13")
    assert (report.code, report.out) == (5, "")
    assert report.err.count("\n") == 1


def test_without_a_cluster_it_is_said_how_to_name_one(lab: Lab) -> None:
    report = preflight(lab, "titan-13", KUBECONFIG="")
    assert (report.code, report.out) == (2, "")
    assert "KUBECONFIG" in report.err


@pytest.mark.parametrize("kubeconfig", [True, False])
def test_a_node_of_no_cluster_has_nothing_to_ask(lab: Lab, server: ApiServer, kubeconfig: bool) -> None:
    report = preflight(lab, "titan-jh", **({} if kubeconfig else {"KUBECONFIG": ""}))
    assert report.code == 0
    assert "nothing to check" in report.out
    assert not server.requests
    assert json.loads(preflight(lab, "titan-jh", "--json").out)["checks"] == []


def test_a_node_that_nobody_declared_is_an_error(lab: Lab) -> None:
    report = preflight(lab, "titan-99")
    assert report.code == 2
    assert "titan-99" in report.err


# ----------------------------------------------------------------------------------- one server alone


def test_the_api_of_a_lone_server_may_be_down(lab: Lab, server: ApiServer) -> None:
    declare(lab, datastore="sqlite")
    server.stop()
    report = preflight(lab, "titan-0c")
    assert report.code == 0, report
    assert "the cluster's API does not answer, and nobody answers at 192.0.2.12" in report.out


def test_a_lone_server_whose_api_answers_is_alive(lab: Lab, server: ApiServer) -> None:
    declare(lab, datastore="sqlite")
    for name in ("titan-0a", "titan-0b", "titan-0c"):
        server.remove("Node", name)
    report = preflight(lab, "titan-0c", "--json")
    assert report.code == 3
    assert verdicts(report) == {"twin": "refused"}


@pytest.mark.parametrize("answer", [fails(302), says(b"<html>hello")], ids="elsewhere strange".split())
def test_a_lone_server_that_gives_any_answer_is_not_taken_for_dead(
    lab: Lab, server: ApiServer, answer: Answer
) -> None:
    declare(lab, datastore="sqlite")
    file = lab.inventory / "nodes/titan-0c.yaml"
    file.write_text(re.sub("interface: eth0, address: [0-9./]+", "dhcp: true", file.read_text()))
    server.fail("*", answer, times=100)
    report = preflight(lab, "titan-0c")
    assert (report.code, report.out) == (5, "")
