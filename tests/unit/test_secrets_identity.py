"""What is missing of a node's identity is made once, and all who share a source end with the same."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from pipeline import process
from pipeline.errors import MetisError, RefusedError
from pipeline.model import SecretRef
from pipeline.secrets import identity
from pipeline.secrets.forms import SALT, reveal_all
from pipeline.secrets.plain import PlainFolder
from pipeline.secrets.secret import Secret
from pipeline.secrets.source import ConflictError, NodeSecrets
from pipeline.secrets.survey import survey
from pipeline.secrets.twins import UNIQUE, Twins

NODE = "titan-13"
PASSWORD = SecretRef("ssh_password", "password-hash", optional=True)
TOKEN = SecretRef("k3s_token", "k3s-token")
IDENTITY = (
    SecretRef("extra.machine_id", "machine-id"),
    SecretRef("extra.node_password", "node-password"),
    SecretRef("extra.iscsi_initiator", "initiator-name"),
    *(
        SecretRef(f"extra.ssh_host_{kind}_key", form)
        for kind in ("ed25519", "ecdsa", "rsa")
        for form in ("private-key", "public-key")
    ),
)


class Memory:
    """A source in memory that notes what was asked of it; `rival` writes just before the first addition."""

    name = "memory"

    def __init__(self, values: Mapping[str, str], rival: Mapping[str, str] | None = None) -> None:
        self.values = {name: Secret(text) for name, text in values.items()}
        self.rival = {name: Secret(text) for name, text in (rival or {}).items()}
        self.additions: list[set[str]] = []

    def place(self, node: str) -> str:
        return f"memory/{node}"

    def version(self, node: str) -> str:
        return str(len(self.values)) if self.values else ""

    def read(self, node: str) -> NodeSecrets:
        return NodeSecrets(dict(self.values), self.version(node))

    def add(self, node: str, missing: Mapping[str, Secret], version: str) -> None:
        self.values.update(self.rival)
        self.rival = {}
        if version != self.version(node):
            raise ConflictError("changed", "again")
        assert not self.values.keys() & missing.keys()
        self.additions.append(set(missing))
        self.values.update(missing)


def test_all_that_is_missing_is_made_at_once_and_fits_its_forms() -> None:
    source = Memory({})
    found = identity.complete(source, NODE, IDENTITY)
    assert source.additions == [{ref.name for ref in IDENTITY}]
    assert found.version == source.version(NODE)
    contents = {
        (ref.name, ref.form): text.decode()
        for ref, text in zip(IDENTITY, reveal_all(IDENTITY, NODE, found.values).values(), strict=True)
    }
    machine_id = contents["extra.machine_id", "machine-id"]
    assert machine_id[12] == "4", "machine-id(5) is a UUID of version 4"
    assert re.fullmatch(r"[0-9a-f]{32}\n", contents["extra.node_password", "node-password"])
    name = contents["extra.iscsi_initiator", "initiator-name"]
    assert re.fullmatch(r"InitiatorName=iqn\.1993-08\.org\.debian:01:[0-9a-f]{12}\n", name)


def test_what_is_there_stays_and_what_is_not_needed_is_not_made() -> None:
    source = Memory({"extra.machine_id": "mine"})
    identity.complete(source, NODE, [SecretRef("extra.machine_id"), SecretRef("extra.node_password")])
    assert source.additions == [{"extra.node_password"}]
    assert source.values["extra.machine_id"] == Secret("mine")
    identity.complete(source, NODE, [SecretRef("extra.machine_id")])
    assert len(source.additions) == 1


def test_no_two_nodes_are_alike() -> None:
    one, other = (identity.complete(Memory({}), NODE, IDENTITY).values for _ in range(2))
    assert all(one[name] != other[name] for name in one)


@pytest.mark.parametrize(
    ("password", "expected"),
    [(None, set()), ("hunter2", {SALT}), (f"$6$abc${'x' * 86}", set()), ("$6$cut", set())],
)
def test_a_salt_is_made_for_a_password_that_is_not_a_hash(password: str | None, expected: set[str]) -> None:
    source = Memory({"ssh_password": password} if password else {"other": "x"})
    found = identity.complete(source, NODE, [PASSWORD])
    assert found.values.keys() & {SALT} == expected
    assert SALT not in found.values or re.fullmatch(r"[./0-9A-Za-z]{16}", found.values[SALT].reveal())


def test_all_that_only_an_operator_has_is_named_and_nothing_is_made() -> None:
    source = Memory({})
    with pytest.raises(MetisError) as caught:
        identity.complete(source, NODE, [*IDENTITY, TOKEN, SecretRef("extra.wifi")])
    assert str(caught.value) == "titan-13 has no k3s_token, extra.wifi: put it into memory/titan-13"
    assert source.additions == []


def test_who_was_faster_wins() -> None:
    source = Memory({}, rival={"extra.machine_id": "theirs"})
    found = identity.complete(source, NODE, IDENTITY)
    assert found.values["extra.machine_id"] == Secret("theirs")
    assert source.additions == [{ref.name for ref in IDENTITY} - {"extra.machine_id"}]


def test_who_never_gets_a_turn_gives_up() -> None:
    class Busy(Memory):
        def add(self, node: str, missing: Mapping[str, Secret], version: str) -> None:
            raise ConflictError("changed", "again")

    with pytest.raises(MetisError, match="change all the time"):
        identity.complete(Busy({}), NODE, [SecretRef("extra.node_password")])


RACE = """
import json, sys
from pathlib import Path
from pipeline.model import SecretRef
from pipeline.secrets import identity
from pipeline.secrets.plain import PlainFolder
sys.stdin.readline()
refs = [SecretRef(name) for name in identity.MAKERS]
found = identity.complete(PlainFolder(Path(sys.argv[1]), may_write=True), "titan-13", refs)
print(json.dumps([found.version, {name: text.reveal() for name, text in found.values.items()}]))
"""


def test_processes_that_start_together_end_with_one_identity(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", RACE, str(tmp_path / "secrets")]
    root = str(Path(__file__).parents[2])
    children = [Popen(argv, stdin=PIPE, stdout=PIPE, cwd=root, env=process.environment()) for _ in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"go\n")
        child.stdin.flush()
    (first, *others) = [json.loads(child.communicate()[0]) for child in children]
    assert first[1].keys() == identity.MAKERS.keys()
    assert others == [first] * 3


# ----------------------------------------------------------------------------------------- survey


ALONE = Twins(Memory({}), [])


def states(source: Memory | PlainFolder, *refs: SecretRef) -> dict[str, str]:
    return {item.name: item.state for item in survey(source, NODE, refs, ALONE)}


def test_each_secret_has_a_state() -> None:
    source = Memory({"extra.machine_id": "ab" * 16, "ssh_password": "hunter2", "extra.node_password": "\n"})
    wanted = (*IDENTITY[:3], PASSWORD, TOKEN, SecretRef("extra.registries", "registries", optional=True))
    assert states(source, *wanted) == {
        "extra.machine_id": "there",
        "extra.node_password": "malformed",
        "extra.iscsi_initiator": "will be made",
        "ssh_password": "there",
        "k3s_token": "missing",
        "extra.registries": "none",
        SALT: "will be made",
    }
    assert source.additions == []


def test_what_a_build_would_fail_with_is_a_fault_that_shows_no_value() -> None:
    source = Memory({"k3s_token": "hunter2"})
    (token, other) = survey(source, NODE, [TOKEN, SecretRef("extra.wifi")], ALONE)
    assert token.fault is not None
    assert other.fault is not None
    assert str(other.fault) == "titan-13 has no extra.wifi: put it into memory/titan-13"
    assert "K10" in token.detail
    assert "hunter2" not in token.detail + str(token.fault) + repr(token)


@pytest.mark.parametrize(
    ("credentials", "form", "remark"),
    [
        ("server:hunter2", "k3s-token", "opens the whole cluster"),
        ("abcdef.0123456789abcdef", "k3s-token", "runs out"),
        ("node:hunter2", "k3s-token", ""),
        ("server:hunter2", "k3s-server-token", ""),
    ],
)
def test_a_token_that_is_more_or_less_than_an_agent_needs_is_remarked(
    credentials: str, form: str, remark: str
) -> None:
    source = Memory({"k3s_token": f"K10{'ab' * 32}::{credentials}"})
    (token,) = survey(source, NODE, [SecretRef("k3s_token", form)], ALONE)
    assert (token.state, token.fault) == ("there", None)
    assert remark in token.detail
    assert bool(token.detail) == bool(remark)
    assert "hunter2" not in token.detail


def test_a_key_is_malformed_when_one_of_its_forms_is() -> None:
    source = Memory({"a": "x y"})
    assert states(source, SecretRef("a", "line"), SecretRef("a", "machine-id")) == {"a": "malformed"}


def test_what_cannot_be_read_is_not_checked_and_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    (folder / "file").touch(mode=0o600)
    (out_of_reach,) = survey(PlainFolder(folder / "file", may_write=False), NODE, [TOKEN], ALONE)
    assert (out_of_reach.state, out_of_reach.fault) == ("not checked", None)
    assert "cannot be read: not a directory: name another folder" in out_of_reach.detail
    folder.chmod(0o755)
    (refused,) = survey(PlainFolder(folder, may_write=False), NODE, [TOKEN], ALONE)
    assert refused.state == "not checked"
    assert isinstance(refused.fault, RefusedError)


# ------------------------------------------------------------------------------------------ twins


def test_what_two_nodes_have_alike_is_a_fault_of_both(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    source = PlainFolder(folder, may_write=True)
    for node in ("one", "two"):
        source.add(node, {name: Secret("hunter2") for name in (*UNIQUE, SALT, "k3s_token")}, "")
    source.add("three", {name: Secret("hunter3") for name in UNIQUE}, "")
    (folder / "broken.yaml").touch(mode=0o600)
    (folder / "broken.yaml").write_text("hunter2: [")
    twins = Twins(source, ["one", "two", "three", "broken", "nobody"])
    for name in UNIQUE:
        fault = twins.fault("one", name, Secret("hunter2\n"))
        assert fault is not None
        assert str(fault).startswith(f"{name} of one is that of two too: take it out of {folder}/one.yaml")
        assert twins.fault("three", name, Secret("hunter3")) is None
    for name in (SALT, "k3s_token"):
        assert twins.fault("one", name, Secret("hunter2")) is None
