"""What a node has of secrets: its own over the shared, its identity made once, and what images depend on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from pipeline.errors import MetisError, RefusedError, SecretError, SourceError
from pipeline.model import SecretRef
from pipeline.secret import Secret
from pipeline.secrets.forms import reveal_all
from pipeline.secrets.keyring import Keyring
from pipeline.secrets.password import SALT
from pipeline.secrets.plain import plain_folder
from pipeline.secrets.source import CLUSTER, ConflictError, SecretSource, Stored
from pipeline.secrets.survey import survey
from pipeline.secrets.twins import UNIQUE
from pipeline.secrets.used import UNKNOWN, UsedSecrets
from tests.support import race

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


def hidden(values: Mapping[str, str]) -> dict[str, Secret]:
    return {name: Secret(text) for name, text in values.items()}


class Memory:
    """A source in memory that notes what was asked of it; `rival` writes just before the first change."""

    name = "memory"

    def __init__(
        self,
        values: Mapping[str, str],
        *,
        shared: Mapping[str, str] | None = None,
        rival: Mapping[str, str] | None = None,
    ) -> None:
        self.documents = {NODE: hidden(values), CLUSTER: hidden(shared or {})}
        self.numbers = {owner: 1 for owner, document in self.documents.items() if document}
        self.rival = hidden(rival or {})
        self.changes: list[set[str]] = []
        self.asked: list[set[str]] = []
        self.reads: list[str] = []

    @property
    def values(self) -> dict[str, Secret]:
        return self.documents[NODE]

    def place(self, owner: str) -> str:
        return f"memory/{owner}"

    def versions(self, owners: Iterable[str]) -> Mapping[str, str]:
        self.asked.append(set(owners))
        return {owner: self._version(owner) for owner in self.asked[-1]}

    def read(self, owner: str) -> Stored:
        self.reads.append(owner)
        return Stored(dict(self.documents.get(owner, {})), self._version(owner))

    def put(self, owner: str, changes: Mapping[str, Secret], version: str) -> None:
        if self.rival:
            self.write(owner, self.rival)
            self.rival = {}
        if version != self._version(owner):
            raise ConflictError("changed", "again")
        self.changes.append(set(changes))
        self.write(owner, changes)

    def known(self, owner: str) -> Mapping[str, Secret]:
        return self.documents.get(owner, {})

    def write(self, owner: str, changes: Mapping[str, Secret]) -> None:
        self.documents.setdefault(owner, {}).update(changes)
        self.numbers[owner] = self.numbers.get(owner, 0) + 1

    def _version(self, owner: str) -> str:
        return str(self.numbers.get(owner, ""))


@pytest.fixture
def key(tmp_path: Path) -> UsedSecrets:
    return UsedSecrets(tmp_path / "artifacts", makes_key=True)


def ring(source: SecretSource, nodes: Iterable[str] = (NODE,)) -> Keyring:
    """A keyring of whoever only looks."""
    return Keyring(source, nodes, UsedSecrets(Path("/nowhere/at/all"), makes_key=False))


# ---------------------------------------------------------------------------------- own and shared


@pytest.mark.parametrize(
    ("own", "shared", "expected"),
    [
        ({}, {}, {}),
        ({"a": "1"}, {}, {"a": "1"}),
        ({}, {"a": "2"}, {"a": "2"}),
        ({"a": "1"}, {"a": "2", "b": "3"}, {"a": "1", "b": "3"}),
        ({SALT: "own"}, {"ssh_password": "x"}, {SALT: "own", "ssh_password": "x"}),
    ],
)
def test_a_nodes_own_secrets_win_over_those_that_all_share(
    own: dict[str, str], shared: dict[str, str], expected: dict[str, str]
) -> None:
    assert ring(Memory(own, shared=shared)).read(NODE).values == hidden(expected)


def test_what_all_share_is_read_once() -> None:
    source = Memory({}, shared={"a": "1"})
    keyring = ring(source)
    for node in (NODE, "titan-14", NODE):
        keyring.read(node)
    assert source.reads.count(CLUSTER) == 1


@pytest.mark.parametrize("name", sorted(UNIQUE))
def test_an_identity_is_never_shared(name: str) -> None:
    source = Memory({}, shared={name: "hunter2"})
    with pytest.raises(
        SecretError, match=f"memory/{CLUSTER} has {name}, which no two nodes may share"
    ) as caught:
        ring(source).read(NODE)
    assert "hunter2" not in str(caught.value)


# -------------------------------------------------------------------------------- what images hold

MADE = {"a": "1", "b": "2"}
REFS = (SecretRef("a"), SecretRef("c", "registries", optional=True))


@pytest.mark.parametrize(
    ("own", "shared", "is_same"),
    [
        (MADE, {}, True),
        ({"a": "1", "b": "other"}, {}, True),
        ({"a": "1"}, {}, True),
        ({"b": "2"}, {"a": "1"}, True),
        ({**MADE, "d": "new"}, {"d": "new", "b": "x"}, True),
        ({"a": "other"}, {}, False),
        ({**MADE, "c": ""}, {}, False),
        (MADE, {"c": "3"}, False),
        ({"b": "2"}, {"a": "other"}, False),
    ],
    ids=str,
)
def test_an_image_depends_on_the_values_that_it_uses_and_on_no_others(
    own: dict[str, str], shared: dict[str, str], is_same: bool, key: UsedSecrets
) -> None:
    before = Keyring(Memory(MADE), [NODE], key).used(NODE, REFS)
    after = Keyring(Memory(own, shared=shared), [NODE], key).used(NODE, REFS)
    assert (before == after) == is_same
    assert before.keys() == {"memory"}


def test_what_images_depend_on_says_nothing_without_its_key(tmp_path: Path) -> None:
    one, other = (UsedSecrets(tmp_path / name, makes_key=True) for name in ("one", "two"))
    values = hidden({"a": "hunter2"})
    assert one.digest(["a"], values) != other.digest(["a"], values)
    assert one.digest(["a"], values) == UsedSecrets(tmp_path / "one", makes_key=False).digest(["a"], values)
    assert re.fullmatch("[0-9a-f]{32}", one.digest(["a"], values))
    assert (tmp_path / "one/secrets-key").stat().st_mode & 0o777 == 0o600


def test_who_only_looks_makes_no_key_and_finds_no_image_current(tmp_path: Path) -> None:
    assert UsedSecrets(tmp_path / "none", makes_key=False).digest([], {}) == UNKNOWN
    assert not (tmp_path / "none").exists()


def test_a_key_that_cannot_be_made_is_one_line() -> None:
    with pytest.raises(MetisError, match=r"cannot write /proc/nobody/artifacts/secrets-key: "):
        UsedSecrets(Path("/proc/nobody/artifacts"), makes_key=True).digest([], {})


def test_a_key_that_others_may_read_or_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    UsedSecrets(folder, makes_key=True).digest([], {})
    (folder / "secrets-key").chmod(0o644)
    with pytest.raises(RefusedError, match="chmod 0600"):
        UsedSecrets(folder, makes_key=True).digest([], {})
    (folder / "secrets-key").chmod(0o600)
    (folder / "secrets-key").write_bytes(b"short")
    with pytest.raises(MetisError, match="is not a key of 32 bytes: remove it"):
        UsedSecrets(folder, makes_key=True).digest([], {})


@pytest.mark.parametrize(
    ("own", "shared", "versions"),
    [
        ({"a": "1"}, {}, {"node": "1"}),
        ({"a": "1"}, {"a": "2", "b": "3"}, {"node": "1"}),
        ({}, {"a": "2"}, {"node": "", "cluster": "1"}),
    ],
)
def test_what_was_read_for_an_image_says_its_versions(
    own: dict[str, str], shared: dict[str, str], versions: dict[str, str]
) -> None:
    revealed = ring(Memory(own, shared=shared)).revealed(NODE, [SecretRef("a")])
    assert revealed.versions == {"source": "memory", **versions}


# ------------------------------------------------------------------------------------ what changed


def test_all_nodes_that_are_expected_are_looked_at_together_and_once() -> None:
    source = Memory({})
    keyring = ring(source)
    keyring.expect([NODE, "titan-14"])
    for node in ("titan-14", NODE, NODE):
        keyring.seen(node)
    assert source.asked == [{CLUSTER, NODE, "titan-14"}]
    assert not source.reads
    keyring.seen("titan-15")
    assert source.asked[1:] == [{"titan-15"}]


@pytest.mark.parametrize("owner", [NODE, CLUSTER])
def test_another_run_sees_whatever_changed(owner: str) -> None:
    source = Memory({})
    before = ring(source).seen(NODE)
    assert ring(source).seen(NODE) == before
    source.write(owner, hidden({"a": "hunter2"}))
    assert ring(source).seen(NODE) != before


def test_what_changes_after_it_was_read_for_an_image_is_seen_by_the_next_run() -> None:
    source = Memory({"a": "1"}, shared={"b": "1"})
    keyring = ring(source)
    keyring.revealed(NODE, [SecretRef("a"), SecretRef("extra.machine_id", "machine-id")])
    assert keyring.seen(NODE) == ring(source).seen(NODE), "what it has made itself is no change"
    source.write(NODE, hidden({"a": "2"}))
    assert keyring.seen(NODE) != ring(source).seen(NODE)


class Gone(Memory):
    """Out of reach."""

    def versions(self, owners: Iterable[str]) -> Mapping[str, str]:
        super().versions(owners)
        raise SourceError("memory is gone")

    def read(self, owner: str) -> Stored:
        super().read(owner)
        raise SourceError("memory is gone")


def test_a_source_out_of_reach_is_asked_once_and_not_for_every_node() -> None:
    source = Gone({})
    keyring = ring(source)
    for node in (NODE, "titan-14"):
        with pytest.raises(SourceError, match="memory is gone"):
            keyring.seen(node)
    assert len(source.asked) == 1


class Denied(Memory):
    """Tells no versions."""

    def versions(self, owners: Iterable[str]) -> Mapping[str, str]:
        del owners
        return {}


def test_where_versions_are_denied_images_are_made_all_the_same() -> None:
    source = Denied({"a": "1"})
    with pytest.raises(SourceError, match=f"the version of memory/{NODE} cannot be told"):
        ring(source).seen(NODE)
    assert ring(source).revealed(NODE, [SecretRef("a")]).reveal(SecretRef("a")) == b"1"


# ----------------------------------------------------------------------------------- reading alone


def test_secrets_that_are_only_read_are_not_made() -> None:
    source = Memory({"a": "1"})
    reveal = ring(source).as_they_are(NODE)
    assert reveal(SecretRef("a")) == b"1"
    with pytest.raises(SecretError, match=r"extra\.machine_id of titan-13 is missing"):
        reveal(IDENTITY[0])
    assert not source.changes
    assert source.reads.count(NODE) == 1


def test_reading_what_is_out_of_reach_asks_once() -> None:
    source = Gone({})
    reveal = ring(source).as_they_are(NODE)
    for _ in range(3):
        with pytest.raises(SourceError, match="memory is gone"):
            reveal(TOKEN)
    assert len(source.reads) == 1


# ---------------------------------------------------------------------------------------- identity


def test_all_that_is_missing_is_made_at_once_and_fits_its_forms() -> None:
    source = Memory({})
    ring(source).revealed(NODE, IDENTITY)
    assert source.changes == [{ref.name for ref in IDENTITY}]
    contents = {
        (ref.name, ref.form): text.decode()
        for ref, text in zip(IDENTITY, reveal_all(IDENTITY, NODE, source.values).values(), strict=True)
    }
    machine_id = contents["extra.machine_id", "machine-id"]
    assert machine_id[12] == "4", "machine-id(5) is a UUID of version 4"
    assert re.fullmatch(r"[0-9a-f]{32}\n", contents["extra.node_password", "node-password"])
    name = contents["extra.iscsi_initiator", "initiator-name"]
    assert re.fullmatch(r"InitiatorName=iqn\.1993-08\.org\.debian:01:[0-9a-f]{12}\n", name)


def test_what_was_made_is_said_by_who_made_it_and_by_nobody_else() -> None:
    source = Memory({}, rival={"extra.machine_id": "ab" * 16})
    made = ring(source).revealed(NODE, IDENTITY).made
    assert set(made) == {ref.name for ref in IDENTITY} - {"extra.machine_id"}
    assert ring(source).revealed(NODE, IDENTITY).made == ()


def test_what_is_there_stays_and_what_is_not_needed_is_not_made() -> None:
    source = Memory({"extra.machine_id": "mine"})
    ring(source).revealed(NODE, [SecretRef("extra.machine_id"), SecretRef("extra.node_password")])
    assert source.changes == [{"extra.node_password"}]
    assert source.values["extra.machine_id"] == Secret("mine")
    ring(source).revealed(NODE, [SecretRef("extra.machine_id")])
    assert len(source.changes) == 1


def test_no_two_nodes_are_alike() -> None:
    one, other = Memory({}), Memory({})
    for source in (one, other):
        ring(source).revealed(NODE, IDENTITY)
    assert all(one.values[name] != other.values[name] for name in one.values)


@pytest.mark.parametrize(
    ("password", "expected"),
    [(None, set()), ("hunter2", {SALT}), (f"$6$abc${'x' * 86}", set())],
)
def test_a_salt_is_made_for_a_password_that_is_not_a_hash(password: str | None, expected: set[str]) -> None:
    source = Memory({"ssh_password": password} if password else {"other": "x"})
    ring(source).revealed(NODE, [PASSWORD])
    assert source.values.keys() & {SALT} == expected
    assert SALT not in source.values or re.fullmatch(r"[./0-9A-Za-z]{16}", source.values[SALT].reveal())


def test_a_shared_password_gets_a_salt_of_each_nodes_own() -> None:
    source = Memory({}, shared={"ssh_password": "hunter2"})
    ring(source).revealed(NODE, [PASSWORD])
    assert source.values.keys() == {SALT}


def test_all_that_only_an_operator_has_is_named_and_nothing_is_made() -> None:
    source = Memory({})
    with pytest.raises(SecretError) as caught:
        ring(source).revealed(NODE, [*IDENTITY, TOKEN, SecretRef("extra.wifi")])
    assert str(caught.value) == (
        "titan-13 has no k3s_token, extra.wifi: "
        "put it into memory/titan-13 with `metis secrets set --node titan-13 NAME`"
    )
    assert source.changes == []


BUILT = {"source": "memory", "node": "3"}


@pytest.mark.parametrize("values", [{}, {"k3s_token": f"K10{'ab' * 32}::node:x"}], ids=["nothing", "a token"])
@pytest.mark.parametrize(
    ("before", "known"),
    [(BUILT, {}), ({**BUILT, "source": "other"}, {}), ({}, {"extra.machine_id": "ab" * 16})],
    ids=["an image", "an image from elsewhere", "a copy"],
)
def test_who_had_an_identity_gets_no_other_one(
    values: dict[str, str], before: dict[str, str], known: dict[str, str]
) -> None:
    """The folder is not mounted, VAULT_ADDR is another one, the document was wiped out."""

    class Emptied(Memory):
        def known(self, owner: str) -> Mapping[str, Secret]:
            return hidden(known) if owner == NODE else super().known(owner)

    source = Emptied(values)
    with pytest.raises(RefusedError) as caught:
        ring(source).revealed(NODE, [*IDENTITY, TOKEN], before)
    assert str(caught.value).startswith("titan-13 had an identity, and there is none in memory/titan-13: ")
    assert source.changes == []
    found = survey(ring(source), NODE, IDENTITY, before)
    assert {item.state for item in found} == {"missing"}
    assert {str(item.fault) for item in found} == {str(caught.value)}


@pytest.mark.parametrize(
    ("values", "before"),
    [
        ({}, {}),
        ({}, {"source": "memory", "node": ""}),
        ({"extra.machine_id": "ab" * 16}, BUILT),
    ],
    ids=["a new node", "one whose image had nothing of its own", "one that lacks a part"],
)
def test_who_had_none_or_lacks_a_part_gets_it(values: dict[str, str], before: dict[str, str]) -> None:
    source = Memory(values)
    ring(source).revealed(NODE, IDENTITY, before)
    assert {ref.name for ref in IDENTITY} == source.values.keys()


def test_what_was_another_nodes_is_no_identity_that_was_lost() -> None:
    """A document that was copied for a new node, and emptied when a build said so: its copy is left."""

    class Copied(Memory):
        def known(self, owner: str) -> Mapping[str, Secret]:
            return hidden({"extra.machine_id": "ab" * 16}) if owner == NODE else super().known(owner)

    source = Copied({})
    source.write("titan-14", hidden({"extra.machine_id": "ab" * 16}))
    ring(source, [NODE, "titan-14"]).revealed(NODE, IDENTITY)
    assert {ref.name for ref in IDENTITY} == source.values.keys()


def test_who_was_faster_wins() -> None:
    source = Memory({}, rival={"extra.machine_id": "ab" * 16})
    ring(source).revealed(NODE, IDENTITY)
    assert source.values["extra.machine_id"] == Secret("ab" * 16)
    assert source.changes == [{ref.name for ref in IDENTITY} - {"extra.machine_id"}]


def test_who_never_gets_a_turn_gives_up() -> None:
    class Busy(Memory):
        def put(self, owner: str, changes: Mapping[str, Secret], version: str) -> None:
            raise ConflictError("changed", "again")

    with pytest.raises(SourceError, match="change all the time"):
        ring(Busy({})).revealed(NODE, [SecretRef("extra.node_password")])


def test_processes_that_start_together_end_with_one_identity(tmp_path: Path) -> None:
    race.one_identity(
        "from pipeline.secrets.plain import plain_folder as source", str(tmp_path / "secrets"), NODE
    )


# ----------------------------------------------------------------------------------------- survey


def states(source: SecretSource, *refs: SecretRef) -> dict[str, str]:
    return {item.name: item.state for item in survey(ring(source), NODE, refs)}


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
    assert source.changes == []


def test_what_a_build_would_fail_with_is_a_fault_that_shows_no_value() -> None:
    source = Memory({"k3s_token": "hunter2"})
    (token, other) = survey(ring(source), NODE, [TOKEN, SecretRef("extra.wifi")])
    assert token.fault is not None
    assert other.fault is not None
    assert str(other.fault) == (
        "titan-13 has no extra.wifi: "
        "put it into memory/titan-13 with `metis secrets set --node titan-13 extra.wifi`"
    )
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
    (token,) = survey(ring(source), NODE, [SecretRef("k3s_token", form)])
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
    (out_of_reach,) = survey(ring(plain_folder(folder / "file")), NODE, [TOKEN])
    assert (out_of_reach.state, out_of_reach.fault) == ("not checked", None)
    assert "cannot be read: not a directory: name another folder" in out_of_reach.detail
    folder.chmod(0o755)
    (refused,) = survey(ring(plain_folder(folder)), NODE, [TOKEN])
    assert refused.state == "not checked"
    assert isinstance(refused.fault, RefusedError)


# ------------------------------------------------------------------------------------------ twins


def test_what_two_nodes_have_alike_is_a_fault_of_both(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    source = plain_folder(folder)
    for node in ("one", "two"):
        source.put(node, {name: Secret("hunter2") for name in (*UNIQUE, SALT, "k3s_token")}, "")
    source.put("three", {name: Secret("hunter3") for name in UNIQUE}, "")
    (folder / "broken.yaml").touch(mode=0o600)
    (folder / "broken.yaml").write_text("hunter2: [")
    keyring = ring(source, ["one", "two", "three", "broken", "nobody"])
    for name in UNIQUE:
        fault = keyring.twin("one", name, {name: Secret("hunter2\n")})
        assert fault is not None
        assert fault.exit_code == 2
        assert str(fault).startswith(f"{name} of one is that of two too: take it out of {folder}/one.yaml")
        assert keyring.twin("three", name, {name: Secret("hunter3")}) is None
    for name in (SALT, "k3s_token"):
        assert keyring.twin("one", name, {name: Secret("hunter2")}) is None


def test_who_carries_out_what_another_run_began_makes_nothing(tmp_path: Path) -> None:
    """A worker with the wrong place for its secrets would give the node a second identity."""
    source = Memory({})
    used = UsedSecrets(tmp_path, makes_key=True)
    with pytest.raises(MetisError, match="is missing"):
        Keyring(source, (), used).revealed_as_they_are(NODE, IDENTITY)
    assert source.changes == []
    made = Keyring(source, (NODE,), used).revealed(NODE, IDENTITY)
    found = Keyring(source, (), used).revealed_as_they_are(NODE, IDENTITY)
    assert found.used == made.used
    assert [found.reveal(ref) for ref in IDENTITY] == [made.reveal(ref) for ref in IDENTITY]
