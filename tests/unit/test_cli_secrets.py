"""`metis secrets`: names, places and versions are told, values are taken unseen and never shown."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.commands import secret_values
from pipeline.lab.lab import Lab
from pipeline.secret import Secret
from pipeline.secrets.crypt import sha512_crypt
from pipeline.secrets.documents import Documents
from pipeline.secrets.password import SALT
from pipeline.secrets.rotate import ITEMS
from pipeline.secrets.source import CLUSTER, NOTHING, Stored

CANARY = "kanarienvogel"
"""In every value that is given here, and in no output."""
TOKEN = f"K10{'ab' * 32}::node:{CANARY}"
SERVER_TOKEN = f"K10{'ab' * 32}::server:{CANARY}"
PASSWORD = f"{CANARY}1"
SOURCES = ("plain", "sealed")
HOST_KEYS = {f"extra.ssh_host_{kind}_key" for kind in ("ed25519", "ecdsa", "rsa")}

INVENTORY = {
    "classes/pi.yaml": f"arch: arm64\nos: debian\nimage: {{source: 'file:x.img', sha256: {'ab' * 32}}}\n"
    "network: {dhcp: true}\n",
    "nodes/alpha.yaml": "class: pi\nhostname: Alpha-1\nssh: {user: atlas}\n"
    "k3s: {role: agent, server: 'https://192.0.2.10:6443'}\n",
    "nodes/beta.yaml": "class: pi\nssh: {user: atlas}\n",
    "nodes/delta.yaml": "class: pi\nk3s: {role: server, server: 'https://192.0.2.10:6443'}\n",
}


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@dataclass
class Metis:
    """The command in this process; all that it ever said is kept."""

    lab: Path
    _capsys: pytest.CaptureFixture[str]
    _patch: pytest.MonkeyPatch
    said: list[str] = field(default_factory=list)

    def __call__(self, *words: str, stdin: str | bytes = b"", terminal: bool = False) -> Ended:
        content = stdin.encode() if isinstance(stdin, str) else stdin
        given = io.TextIOWrapper(io.BytesIO(content))
        self._patch.setattr(given, "isatty", lambda: terminal)
        self._patch.setattr(sys, "stdin", given)
        self._capsys.readouterr()
        code = 0
        try:
            main(["secrets", *words])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        said = self._capsys.readouterr()
        self.said += [said.out, said.err]
        return Ended(code, said.out, said.err)

    def read(self, owner: str) -> Stored:
        return Lab.from_environment(remembers=False).secret_source.read(owner)

    def values(self, owner: str) -> dict[str, str]:
        return {name: value.reveal() for name, value in self.read(owner).values.items()}

    def put(self, owner: str, **values: str) -> None:
        source = Lab.from_environment().secret_source
        named = {name.replace("extra_", "extra."): Secret(value) for name, value in values.items()}
        source.put(owner, named, source.read(owner).version)

    def write(self, name: str, text: str) -> None:
        file = self.lab / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture(params=SOURCES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def metis(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Metis]:
    """No value is ever told."""
    os.environ["METIS_SECRETS"] = f"{kind}:{tmp_path / 'secrets'}"
    os.environ["METIS_AGE_IDENTITY"] = str(tmp_path / "age.key")
    command = Metis(tmp_path / "lab", capsys, monkeypatch)
    for name, text in INVENTORY.items():
        command.write(name, text)
    monkeypatch.chdir(command.lab)
    yield command
    assert not [text for text in command.said if CANARY in text or "PRIVATE KEY" in text]


only_plain = pytest.mark.parametrize("kind", ["plain"], indirect=True)


def rows(ended: Ended, node: str) -> dict[str, Any]:
    report = next(item for item in ended.data if item["node"] == node)
    return {row["name"]: row for row in report["secrets"]}


# ----------------------------------------------------------------------------------------- status


def test_status_says_what_is_there_where_and_whose_it_is(metis: Metis, tmp_path: Path) -> None:
    metis.put("alpha", ssh_password=PASSWORD, extra_unused="x")
    metis.put(CLUSTER, k3s_token=TOKEN, ssh_password=PASSWORD)
    ended = metis("status", "--node", "alpha", "--json")
    assert (ended.code, ended.err) == (0, "")
    found = {name: (row["state"], row["from"]) for name, row in rows(ended, "alpha").items()}
    assert found["k3s_token"] == ("there", "cluster")
    assert found["ssh_password"] == ("there", "node")
    assert found["extra.machine_id"] == ("will be made", None)
    assert rows(ended, "alpha")["ssh_password"]["hides_shared"]
    report = ended.data[0]
    assert report["unused"] == ["extra.unused"]
    assert report["place"].startswith(str(tmp_path / "secrets/alpha."))
    assert report["version"] == metis.read("alpha").version
    assert report["cluster"]["version"] == rows(ended, "alpha")["k3s_token"]["version"]
    changed = metis.read("alpha").changed
    assert changed is not None
    assert report["changed"] == changed.isoformat(timespec="seconds")
    assert report["age"] >= 0


def test_status_tells_people_the_same(metis: Metis) -> None:
    metis.put("alpha", ssh_password=PASSWORD, extra_unused="x")
    metis.put(CLUSTER, k3s_token=TOKEN, ssh_password=PASSWORD)
    out = metis("status", "--node", "alpha").out
    version = metis.read("alpha").version
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0].startswith("alpha: ")
    assert f", version {version}, " in lines[0]
    assert lines[0].endswith(" old")
    assert lines[1].startswith("shared by all nodes: ")
    assert "k3s_token there of the cluster" in lines
    assert "ssh_password there of the node instead of the shared one" in lines
    assert "kept but not used: extra.unused" in lines


def test_status_makes_nothing(metis: Metis, tmp_path: Path) -> None:
    before = {str(path) for path in tmp_path.rglob("*")}
    metis("status")
    assert {str(path) for path in tmp_path.rglob("*")} == before


def test_what_is_missing_or_wrong_ends_with_2_and_hides_no_other_node(metis: Metis) -> None:
    metis.put("beta", extra_machine_id=CANARY)
    metis.write("nodes/broken.yaml", "class: nothing\n")
    ended = metis("status")
    assert ended.code == 2
    assert [line.split(":")[0] for line in ended.out.splitlines() if not line.startswith(" ") and line] == [
        "alpha",
        "beta",
        "delta",
    ]
    assert "metis: alpha has no k3s_token: put it into " in ended.err
    assert "with `metis secrets set --node alpha k3s_token`" in ended.err
    assert "metis: extra.machine_id of beta is not a machine id" in ended.err
    assert "broken.yaml" in ended.err


def test_what_nobody_can_read_hides_no_other_node(metis: Metis, kind: str, tmp_path: Path) -> None:
    metis.put("alpha", k3s_token=TOKEN)
    metis.put("beta", ssh_password=PASSWORD)
    file = next((tmp_path / "secrets").glob("beta.*"))
    file.write_bytes(b"a: [" if kind == "plain" else file.read_bytes()[:-1])
    ended = metis("status", "--node", "alpha", "--node", "beta", "--json")
    assert ended.code == (2 if kind == "plain" else 4)
    assert ended.err.count("\n") == 1
    assert str(file) in ended.err
    assert rows(ended, "alpha")["k3s_token"]["state"] == "there"
    assert {row["state"] for row in rows(ended, "beta").values()} == {"not checked"}


@only_plain
def test_a_path_for_a_node_is_not_looked_up(metis: Metis, tmp_path: Path) -> None:
    metis.put("beta", ssh_password=PASSWORD)
    (tmp_path / "secrets").rename(tmp_path / "elsewhere")
    ended = metis("status", "--node", "../elsewhere/beta", "--node", "alpha")
    assert ended.code == 2
    assert "../elsewhere/beta.yaml: no such node" in ended.err
    assert ended.out.startswith("alpha: ")


@only_plain
def test_a_folder_that_others_may_read_ends_with_3(metis: Metis, tmp_path: Path) -> None:
    metis.put("beta", ssh_password=PASSWORD)
    (tmp_path / "secrets").chmod(0o755)
    ended = metis("status", "--node", "beta")
    assert ended.code == 3
    assert "beta.yaml, which could not be read" in ended.out


# ----------------------------------------------------------------------------------------- rotate


def test_rotate_makes_host_keys_and_takes_a_password_with_a_new_salt(metis: Metis) -> None:
    metis.put(
        "alpha",
        ssh_password="old",
        extra_ssh_password_salt="a" * 16,
        extra_ssh_host_rsa_key="old",
        extra_machine_id="cd" * 16,
    )
    ended = metis("rotate", "--node", "alpha", "--password-stdin", "--yes", stdin=f"{PASSWORD}\n")
    assert ended.code == 0
    after = metis.values("alpha")
    assert after["ssh_password"] == PASSWORD
    assert after[SALT] != "a" * 16
    assert sha512_crypt(PASSWORD, after[SALT]).startswith("$6$")
    assert all("PRIVATE KEY" in after[name] for name in HOST_KEYS)
    assert after["extra.machine_id"] == "cd" * 16
    assert "extra.node_password" not in after
    assert "new: extra.ssh_host_rsa_key, ssh_password; made for the first time: extra.ssh_" in ended.err
    assert "`metis image --node alpha`" in ended.out
    assert "`ssh-keygen -R alpha-1`" in ended.out


def test_rotate_opens_no_door_that_nobody_asked_for(metis: Metis) -> None:
    ended = metis("rotate", "--node", "beta", "--yes", "--json")
    assert ended.code == 0
    assert set(ended.data[0]["rotated"]) == HOST_KEYS == metis.values("beta").keys()


def test_rotate_of_a_shared_password_gives_the_node_its_own(metis: Metis) -> None:
    metis.put(CLUSTER, ssh_password="old")
    words = ("rotate", "--node", "beta", "--item", "ssh-password", "--password-stdin", "--yes")
    ended = metis(*words, stdin=PASSWORD)
    assert (ended.code, metis.values("beta")["ssh_password"]) == (0, PASSWORD)
    assert "its own instead of the shared: ssh_password" in ended.err
    assert metis.values(CLUSTER) == {"ssh_password": "old"}


def test_a_hash_is_taken_as_it_is_and_needs_no_salt(metis: Metis) -> None:
    hashed = f"$6${CANARY}${'x' * 86}"
    words = ("rotate", "--node", "beta", "--item", "ssh-password", "--password-stdin", "--yes")
    assert metis(*words, stdin=hashed).code == 0
    assert metis.values("beta") == {"ssh_password": hashed}


def test_a_node_password_is_rotated_when_it_is_named_with_what_the_cluster_must_forget(metis: Metis) -> None:
    metis.put("alpha", extra_node_password="old")
    ended = metis("rotate", "--node", "alpha", "--item", "node-password", "--yes")
    assert ended.code == 0
    assert "`kubectl delete secret -n kube-system alpha-1.node-password.k3s`" in ended.out
    assert metis.values("alpha").keys() == {"extra.node_password"}
    assert metis.values("alpha")["extra.node_password"] != "old"


def test_several_nodes_get_several_keys_and_one_password(metis: Metis) -> None:
    words = ("rotate", "--node", "alpha", "--node", "beta", "--node", "beta", "--password-stdin", "--yes")
    assert metis(*words, stdin=PASSWORD).code == 0
    one, other = metis.values("alpha"), metis.values("beta")
    assert {name for name in one if one[name] == other[name]} == {"ssh_password"}


def test_every_item_can_be_named() -> None:
    assert set(secret_values.ITEMS) == ITEMS.keys()


REFUSED_ROTATIONS: dict[str, tuple[Sequence[str], str | bytes, int, str]] = {
    "nobody to ask": (["--node", "alpha"], "y\n", 3, "no terminal to ask at: say --yes"),
    "no such node": (["--node", "titan-99", "--yes"], "", 2, "nodes/titan-99.yaml: no such node"),
    "a path for a node": (["--node", "../alpha", "--yes"], "", 2, "no such node"),
    "one bad node of two": (["--node", "alpha", "--node", "titan-99", "--yes"], "", 2, "no such node"),
    "no such item": (
        ["--node", "alpha", "--item", "everything", "--yes"],
        "",
        2,
        "Invalid value for '--item'",
    ),
    "an item of no card": (
        ["--node", "delta", "--item", "ssh-password", "--yes"],
        "",
        2,
        "carries no ssh-password",
    ),
    "a password for no card": (
        ["--node", "delta", "--password-stdin", "--yes"],
        PASSWORD,
        2,
        "no ssh-password",
    ),
    "a password that is not asked for": (
        ["--node", "alpha", "--item", "host-keys", "--password-stdin", "--yes"],
        PASSWORD,
        2,
        "not among the items",
    ),
    "no password": (
        ["--node", "alpha", "--item", "ssh-password", "--yes"],
        PASSWORD,
        2,
        "say --password-stdin",
    ),
    "an empty password": (["--node", "alpha", "--password-stdin", "--yes"], "\n", 2, "is empty"),
    "a password with a colon": (["--node", "alpha", "--password-stdin", "--yes"], f"{CANARY}:", 2, "a colon"),
    "two lines": (["--node", "alpha", "--password-stdin", "--yes"], f"{CANARY}\n{CANARY}\n", 2, "one line"),
    "half a hash": (["--node", "alpha", "--password-stdin", "--yes"], f"$6${CANARY}", 2, "a whole hash"),
    "no text": (
        ["--node", "alpha", "--password-stdin", "--yes"],
        CANARY.encode() + b"\xff",
        2,
        "no text in UTF-8",
    ),
    "far too much": (
        ["--node", "alpha", "--password-stdin", "--yes"],
        CANARY * 100_000,
        2,
        "more than 1 MiB",
    ),
}


@only_plain
@pytest.mark.parametrize(
    ("words", "stdin", "code", "line"), REFUSED_ROTATIONS.values(), ids=REFUSED_ROTATIONS.keys()
)
@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["", "debug"])
def test_a_rotation_that_cannot_be_meant_changes_nothing(
    metis: Metis, words: Sequence[str], stdin: str | bytes, code: int, line: str, debug: Sequence[str]
) -> None:
    ended = metis("rotate", *words, *debug, stdin=stdin)
    assert ended.code == code
    assert line in ended.err
    assert debug or "Traceback" not in ended.err
    assert metis.read("alpha") == metis.read("delta") == NOTHING


def test_who_wrote_meanwhile_is_not_written_over(metis: Metis, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.commands import prompts

    monkeypatch.setattr(prompts, "confirm", lambda *_, **__: metis.put("alpha", extra_mine=CANARY))
    ended = metis("rotate", "--node", "alpha", "--item", "node-password", "--yes")
    assert ended.code == 5
    assert "was changed meanwhile: run again" in ended.err
    assert metis.values("alpha") == {"extra.mine": CANARY}


@only_plain
def test_what_is_not_kept_in_the_end_is_not_said_to_be(metis: Metis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Documents, "put", lambda *_: None)
    for words in (
        ["rotate", "--node", "alpha", "--item", "node-password", "--yes"],
        ["set", "--node", "alpha", "extra.node_password", "--stdin"],
    ):
        ended = metis(*words, stdin=CANARY)
        assert (ended.code, ended.out) == (4, "")
        assert "alpha.yaml does not have extra.node_password as it was put there" in ended.err


# -------------------------------------------------------------------------------------------- set


def test_a_secret_of_one_node_and_a_shared_one_are_kept_where_they_belong(metis: Metis) -> None:
    assert metis("set", "--cluster", "k3s_token", "--stdin", stdin=f"{SERVER_TOKEN}\n").code == 0
    ended = metis("set", "--node", "alpha", "ssh_password", "--stdin", stdin=f"{PASSWORD}\n")
    assert ended.code == 0
    assert ended.out.startswith("ssh_password of alpha: kept in ")
    assert metis.values(CLUSTER) == {"k3s_token": SERVER_TOKEN}
    assert metis.values("alpha") == {"ssh_password": PASSWORD}


@pytest.mark.parametrize(
    "text", [f"{CANARY}\na: b\n", f"{CANARY}\n\n", f" {CANARY} ", f"{CANARY}\r\nü\u2028\n"]
)
def test_a_value_is_all_of_stdin_but_for_the_newline_of_a_single_line(metis: Metis, text: str) -> None:
    assert metis("set", "--node", "alpha", "extra.mine", "--stdin", stdin=text).code == 0
    assert metis.values("alpha") == {"extra.mine": text}


def test_a_value_is_not_replaced_unasked_and_the_same_is_not_written_again(metis: Metis) -> None:
    def words(*more: str) -> tuple[str, ...]:
        return ("set", "--node", "beta", "ssh_password", "--stdin", *more)

    metis(*words(), stdin=PASSWORD)
    version = metis.read("beta").version
    assert metis(*words("--json"), stdin=PASSWORD).data["changed"] is False
    ended = metis(*words(), stdin="other")
    assert ended.code == 3
    assert "say --yes if it is meant" in ended.err
    assert (metis.read("beta").version, metis.values("beta")) == (version, {"ssh_password": PASSWORD})
    assert metis(*words("--yes"), stdin="other").code == 0
    assert metis.values("beta") == {"ssh_password": "other"}


def test_a_name_that_no_card_needs_is_kept_and_said(metis: Metis) -> None:
    for owner in (["--node", "alpha"], ["--cluster"]):
        ended = metis("set", *owner, "extra.wifi_psk", "--stdin", stdin=CANARY)
        assert ended.code == 0
        assert "is on no card: nothing in the inventory asks for it" in ended.err


def test_a_shared_value_must_fit_those_who_have_none_of_their_own(metis: Metis) -> None:
    words = ("set", "--cluster", "k3s_token", "--stdin")
    ended = metis(*words, stdin=TOKEN)
    assert ended.code == 2
    assert "the shared k3s_token does not fit all who would use it: k3s_token of delta is not" in ended.err
    assert metis.read(CLUSTER) == NOTHING
    metis.put("delta", k3s_token=SERVER_TOKEN)
    metis.write("nodes/broken.yaml", "class: nothing\n")
    ended = metis(*words, stdin=TOKEN)
    assert ended.code == 0
    assert "not checked for 1 nodes whose files are broken" in ended.err


def test_what_is_another_nodes_is_refused(metis: Metis) -> None:
    metis.put("alpha", extra_machine_id="cd" * 16)
    ended = metis("set", "--node", "beta", "extra.machine_id", "--stdin", stdin="cd" * 16)
    assert ended.code == 2
    assert "extra.machine_id of beta is that of alpha too" in ended.err
    assert metis.read("beta") == NOTHING


REFUSED: dict[str, tuple[Sequence[str], str | bytes, int, str]] = {
    "nobody's": (["k3s_token", "--stdin"], TOKEN, 2, "say either --node NODE or --cluster"),
    "everybody's": (["--node", "alpha", "--cluster", "k3s_token"], TOKEN, 2, "say either --node NODE"),
    "no name": (["--node", "alpha", "--stdin"], TOKEN, 2, "Missing argument 'NAME'"),
    "no such name": (
        ["--node", "alpha", "password", "--stdin"],
        TOKEN,
        2,
        "no secret is called so: say ssh_",
    ),
    "a value for a name": (["--node", "alpha", TOKEN], "", 2, "no secret is called so"),
    "a value among the arguments": (
        ["--node", "alpha", "k3s_token", TOKEN, CANARY],
        "",
        2,
        "no value is taken as an argument",
    ),
    "a hostile name": (
        ["--node", "alpha", "extra.a\nk3s_token: x", "--stdin"],
        TOKEN,
        2,
        "no secret is called so",
    ),
    "a long name": (["--node", "alpha", f"extra.{'a' * 65}", "--stdin"], TOKEN, 2, "no secret is called so"),
    "no such node": (["--node", "titan-99", "k3s_token", "--stdin"], TOKEN, 2, "titan-99.yaml: no such node"),
    "all nodes for a node": (["--node", CLUSTER, "k3s_token", "--stdin"], TOKEN, 2, "no such node"),
    "a path for a node": (["--node", "../x", "k3s_token", "--stdin"], TOKEN, 2, "no such node"),
    "a shared identity": (
        ["--cluster", "extra.machine_id", "--stdin"],
        "cd" * 16,
        2,
        "no two nodes may share",
    ),
    "a short token": (
        ["--node", "alpha", "k3s_token", "--stdin"],
        CANARY,
        2,
        "is not a token of the form K10",
    ),
    "an agent's token for a server": (["--node", "delta", "k3s_token", "--stdin"], TOKEN, 2, "::server:"),
    "half a key": (
        ["--node", "alpha", "extra.ssh_host_rsa_key", "--stdin"],
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}\n",
        2,
        "extra.ssh_host_rsa_key of alpha is not a private key",
    ),
    "nothing": (["--node", "alpha", "k3s_token", "--stdin"], "", 2, "is empty"),
    "no text": (["--node", "alpha", "extra.x", "--stdin"], CANARY.encode() + b"\xff", 2, "no text in UTF-8"),
    "no character of a text": (
        ["--node", "alpha", "extra.x", "--stdin"],
        f"{CANARY}\0",
        2,
        "cannot hold extra.x",
    ),
    "far too much": (["--node", "alpha", "extra.x", "--stdin"], CANARY * 100_000, 2, "more than 1 MiB"),
    "nobody to ask": (
        ["--node", "alpha", "k3s_token"],
        TOKEN,
        2,
        "no terminal to ask at: pipe the value, and say --stdin",
    ),
}


@pytest.mark.parametrize(("words", "stdin", "code", "line"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["", "debug"])
@only_plain
def test_a_secret_that_cannot_be_meant_is_not_kept(
    metis: Metis, words: Sequence[str], stdin: str | bytes, code: int, line: str, debug: Sequence[str]
) -> None:
    ended = metis("set", *words, *debug, stdin=stdin)
    assert ended.code == code
    assert line in ended.err
    assert debug or "Traceback" not in ended.err
    for owner in ("alpha", "delta", CLUSTER):
        assert metis.read(owner) == NOTHING


@only_plain
def test_a_text_of_lines_is_not_asked_for_at_a_prompt_of_one(metis: Metis) -> None:
    """Its first line would be kept, and the shell would get the others."""
    ended = metis("set", "--node", "alpha", "cloud_init", terminal=True)
    assert ended.code == 2
    assert "cloud_init has several lines, and a prompt takes one: say `--stdin < FILE`" in ended.err
    assert metis.read("alpha") == NOTHING


@only_plain
def test_what_would_be_replaced_is_said_where_nobody_can_be_asked(metis: Metis) -> None:
    metis.put("alpha", k3s_token=f"{TOKEN}old")
    ended = metis("set", "--node", "alpha", "k3s_token", "--stdin", stdin=TOKEN)
    assert ended.code == 3
    line = "alpha.yaml has k3s_token already; nothing was changed: there is no terminal to ask at: say --yes"
    assert line in ended.err
    assert metis.values("alpha") == {"k3s_token": f"{TOKEN}old"}


@only_plain
def test_what_a_terminal_would_show_is_not_read_from_it(metis: Metis) -> None:
    for words in (
        ["set", "--node", "alpha", "k3s_token", "--stdin"],
        ["rotate", "--node", "alpha", "--password-stdin", "--yes"],
    ):
        ended = metis(*words, terminal=True, stdin=TOKEN)
        assert ended.code == 2
        assert "stdin is a terminal, which shows what is typed: leave --" in ended.err


# ------------------------------------------------------------------------------------ copy and seal


@pytest.fixture
def other(metis: Metis, tmp_path: Path) -> Path:
    """A plain folder with secrets for alpha and for all."""
    folder = tmp_path / "other"
    folder.mkdir(mode=0o700)
    for owner, text in {
        "alpha": f"k3s_token: '{TOKEN}'\nextra: {{machine_id: {'cd' * 16}}}\n",
        CLUSTER: f"ssh_password: {PASSWORD}\n",
        "stranger": f"ssh_password: {PASSWORD}\n",
    }.items():
        file = folder / f"{owner}.yaml"
        file.touch(mode=0o600)
        file.write_text(text)
    return folder


ALPHAS = {"k3s_token": TOKEN, "extra.machine_id": "cd" * 16}


def test_copy_brings_what_the_inventorys_nodes_have_and_again_changes_nothing(
    metis: Metis, other: Path
) -> None:
    ended = metis("copy", "--from", f"plain:{other}")
    assert ended.code == 0
    assert metis.values("alpha") == ALPHAS
    assert metis.values(CLUSTER) == {"ssh_password": PASSWORD}
    assert metis.read("stranger") == NOTHING
    version = metis.read("alpha").version
    again = metis("copy", "--from", f"plain:{other}", "--json")
    assert (again.code, metis.read("alpha").version) == (0, version)
    assert [sorted(item["same"]) for item in again.data if item["same"]] == [["ssh_password"], sorted(ALPHAS)]
    assert (other / "alpha.yaml").is_file()


def test_copy_of_one_node_leaves_the_others(metis: Metis, other: Path) -> None:
    assert metis("copy", "--from", f"plain:{other}", "--node", "alpha").code == 0
    assert (metis.values("alpha"), metis.read(CLUSTER)) == (ALPHAS, NOTHING)


def test_copy_overwrites_nothing_unasked(metis: Metis, other: Path) -> None:
    metis.put("alpha", k3s_token=f"{TOKEN}old", ssh_password="mine")
    ended = metis("copy", "--from", f"plain:{other}")
    assert ended.code == 3
    assert "has k3s_token with other values: say --replace" in ended.err
    assert metis.values("alpha") == {"k3s_token": f"{TOKEN}old", "ssh_password": "mine"}
    assert metis.read(CLUSTER) == NOTHING
    assert metis("copy", "--from", f"plain:{other}", "--replace").code == 0
    assert metis.values("alpha") == {**ALPHAS, "ssh_password": "mine"}


@only_plain
@pytest.mark.parametrize(
    ("origin", "code", "line"),
    [
        (CANARY, 2, "--from is no source of secrets"),
        ("", 2, "--from is no source of secrets"),
        ("vault", 2, "--from is vault, and VAULT_ADDR is not set"),
        ("plain:/dev/null", 5, "--from: there is no folder /dev/null"),
        ("plain:typo", 5, "--from: there is no folder "),
        ("sealed:typo", 5, "--from: there is no folder "),
        ("sealed", 5, "--from: there is no folder "),
    ],
)
def test_copy_from_what_is_no_source_says_so(metis: Metis, origin: str, code: int, line: str) -> None:
    ended = metis("copy", "--from", origin)
    assert line in ended.err
    assert ended.code == code


def test_copy_to_where_the_secrets_are_already_is_no_copy(metis: Metis, kind: str, tmp_path: Path) -> None:
    """Whoever forgot to say where to would believe that they were moved."""
    metis.put("alpha", k3s_token=TOKEN)
    ended = metis("copy", "--from", f"{kind}:{tmp_path / 'secrets'}")
    assert (ended.code, ended.out) == (2, "")
    assert "--from is the place in use: say with METIS_SECRETS where the secrets are to be" in ended.err


@only_plain
def test_copy_from_a_folder_with_nothing_says_so(metis: Metis, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir(mode=0o700)
    ended = metis("copy", "--from", f"plain:{tmp_path / 'none'}")
    assert (ended.code, ended.out) == (0, "")
    assert "nothing to copy" in ended.err


@only_plain
def test_copy_refuses_a_shared_identity(metis: Metis, other: Path) -> None:
    (other / f"{CLUSTER}.yaml").write_text(f"extra: {{machine_id: {'cd' * 16}}}\n")
    ended = metis("copy", "--from", f"plain:{other}")
    assert ended.code == 2
    assert "extra.machine_id, which no two nodes may share" in ended.err
    assert metis.read("alpha") == NOTHING


@only_plain
def test_seal_is_for_sealed_files(metis: Metis) -> None:
    ended = metis("seal")
    assert ended.code == 2
    assert "no sealed files: name their folder: METIS_SECRETS=sealed:DIR" in ended.err


@pytest.mark.parametrize("kind", ["sealed"], indirect=True)
def test_seal_seals_a_folder_of_plain_files(metis: Metis, other: Path) -> None:
    os.environ["METIS_SECRETS"] = f"sealed:{other}"
    assert metis("status", "--node", "alpha").code == 3
    ended = metis("seal")
    assert (ended.code, ended.out) == (0, f"sealed: {CLUSTER}, alpha, stranger\n")
    assert metis.values("alpha") == ALPHAS
    assert not list(other.glob("*.yaml"))
    assert metis("seal", "--json").data == {"sealed": [], "renewed": [CLUSTER, "alpha", "stranger"]}
