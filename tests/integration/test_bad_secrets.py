"""Bad secrets fail in one line that names node and field and shows no value, and nothing built is touched."""

from __future__ import annotations

import base64
import copy
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ed25519

from pipeline.errors import SourceError
from pipeline.secrets import ssh_keys
from pipeline.secrets.source import CLUSTER
from tests.support import keys
from tests.support.canaries import CA, Planted, keep_in_vault, keep_plain, keep_sealed, make_lab, plant, word
from tests.support.lab import Lab, Report
from tests.support.leaks import Canaries
from tests.support.vault import Answer, Vault, vault_server

Document = dict[str, Any]
WORD = word()
"""In every bad value, and in nothing that is said of it."""
HEX = WORD.removeprefix("canary")


@dataclass
class Built:
    """A lab whose images are built, from documents that a test may change."""

    lab: Lab
    planted: Planted
    search: Canaries
    vault: Vault | None = None

    def keep(self, owner: str, document: Document) -> None:
        """Put another document in the place of an owner's."""
        if self.vault is not None:
            self.vault.put(f"atlas/nodes/{owner}" if owner != CLUSTER else "atlas/cluster", document)
        else:
            self.lab.write_secrets(owner, yaml.safe_dump(document, allow_unicode=True))

    def fails(self, node: str, code: int, *words: str, **extra: str) -> None:
        """A build fails with this code and a line with these words, and changes nothing; as does a plan.

        A plan that cannot read secrets (5) says so, and is a plan nonetheless.
        """
        before = state_of(self.lab)
        built = self.lab.metis("image", "--node", node, "--debug", **extra)
        planned = self.lab.metis("plan", "--node", node, **extra)
        expected = (code, 0 if code == SourceError.exit_code else code)
        assert (built.code, planned.code) == expected, (built, planned)
        assert state_of(self.lab) == before
        assert "Traceback" not in said(planned)
        for line in (only_line(built), only_complaint(planned)):
            assert all(part in line for part in words), (line, words)
        assert self.search.found_in((said(built) + said(planned)).encode(), "") == set()


def said(report: Report) -> str:
    return report.out + report.err


def only_complaint(report: Report) -> str:
    """The one thing that a plan has to complain of."""
    complaints = [line for line in report.err.splitlines() if line.startswith("metis: ")]
    doubts = {line.partition("not checked")[2] for line in report.out.splitlines() if "not checked" in line}
    found = complaints or list(doubts)
    assert len(found) == 1, report
    return found[0]


def only_line(report: Report) -> str:
    """The one line of a build that says what is wrong."""
    assert len(report.failures) == 1, report
    return report.failures[0]


REMEMBERED = {".lock", "history.sqlite3", "history.sqlite3-shm", "history.sqlite3-wal"}
"""The history tells of a build that failed; that it holds no secret is seen in `test_leaks`."""


def state_of(lab: Lab) -> Mapping[str, tuple[int, str]]:
    """How all artifacts look, and what is in them, but for what is remembered between runs."""
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(lab.artifacts.rglob("*"))
        if path.is_file() and ".state" not in path.parts and path.name not in REMEMBERED
    }


def built(
    root: Path, golden: Path, keep: Callable[[Lab, Planted], None], vault: Vault | None = None
) -> Built:
    lab, planted = make_lab(root / "lab", golden), plant()
    keep(lab, planted)
    report = lab.metis("image")
    assert report.code == 0, report
    search = Canaries({**planted.canaries, "the bad value": WORD}, (ssh_keys.new_ed25519(), keys.rsa()))
    return Built(lab, planted, search, vault)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Built:
    return built(tmp_path_factory.mktemp("plain"), tiny_golden, keep_plain)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Built:
    return built(tmp_path_factory.mktemp("sealed"), tiny_golden, keep_sealed)


@pytest.fixture(scope="module")
def in_vault(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Iterator[Built]:
    with ExitStack() as stack:
        vault = stack.enter_context(vault_server())
        root = tmp_path_factory.mktemp("vault")
        yield built(root, tiny_golden, lambda lab, planted: keep_in_vault(lab, planted, vault), vault)


# ---------------------------------------------------------------------------------- values that do not fit


def pem(data: bytes) -> str:
    body = base64.b64encode(data).decode()
    rows = "\n".join(body[start : start + 70] for start in range(0, len(body), 70))
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{rows}\n-----END OPENSSH PRIVATE KEY-----\n"


def bytes_of(key: str) -> bytes:
    return base64.b64decode("".join(key.splitlines()[1:-1]))


def with_another_public_half(key: str) -> str:
    """A key whose private half is another's than its public one."""
    public = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    data = bytes_of(key)
    start = data.index(b"ssh-ed25519") + 15
    return pem(data[:start] + public + data[start + len(public) :])


def encrypted(key: str) -> str:
    """A key whose header says that its private half is behind a passphrase (PROTOCOL.key of OpenSSH)."""
    options = text_of(os.urandom(16)) + (16).to_bytes(4)
    plain = b"openssh-key-v1\0" + text_of(b"none") + text_of(b"none") + text_of(b"")
    header = b"openssh-key-v1\0" + text_of(b"aes256-ctr") + text_of(b"bcrypt") + text_of(options)
    return pem(header + bytes_of(key).removeprefix(plain))


def text_of(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


ED25519 = ssh_keys.new_ed25519()
UNFIT: Mapping[str, tuple[str, str, str | None]] = {
    # node, field, value
    "an agent without a token": ("alpha", "k3s_token", None),
    "a server without a datastore": ("gamma", "extra.datastore_endpoint", None),
    "a server without a token for agents": ("gamma", "extra.agent_token", None),
    "a short token": ("alpha", "k3s_token", WORD),
    "a token cut off": ("alpha", "k3s_token", f"K10{CA[:-1]}::node:{WORD}"),
    "a token of two lines": ("alpha", "k3s_token", f"K10{CA}::node:{WORD}\n{WORD}"),
    "an agent's token for a server": ("gamma", "k3s_token", f"K10{CA}::node:{WORD}"),
    "an empty token": ("alpha", "k3s_token", ""),
    "a machine id in capitals": ("alpha", "extra.machine_id", f"{HEX}ABCDABCD".upper()),
    "a machine id with dashes": ("alpha", "extra.machine_id", f"{HEX[:8]}-{HEX[8:]}-12345678"),
    "a machine id too short": ("alpha", "extra.machine_id", HEX),
    "a machine id of zeros": ("alpha", "extra.machine_id", "0" * 32),
    "a machine id as an image has it": ("alpha", "extra.machine_id", "uninitialized"),
    "a node password of two words": ("alpha", "extra.node_password", f"{WORD} {WORD}"),
    "an initiator in capitals": ("alpha", "extra.iscsi_initiator", f"iqn.2026-01.EXAMPLE:{WORD}"),
    "an initiator with its key": ("alpha", "extra.iscsi_initiator", f"InitiatorName=iqn.2026-01.x:{WORD}"),
    "a host key that is none": ("alpha", "extra.ssh_host_ed25519_key", WORD),
    "a host key cut off": ("alpha", "extra.ssh_host_ed25519_key", ED25519[:250]),
    "a host key with other letters": ("alpha", "extra.ssh_host_rsa_key", keys.rsa().replace("A", "Q")),
    "a host key with a passphrase": ("alpha", "extra.ssh_host_ed25519_key", encrypted(ED25519)),
    "a host key that is a public one": ("alpha", "extra.ssh_host_ed25519_key", f"ssh-ed25519 {WORD} x"),
    "a host key with another public half": (
        "alpha",
        "extra.ssh_host_ed25519_key",
        with_another_public_half(ED25519),
    ),
    "a password of two lines": ("alpha", "ssh_password", f"{WORD}\n{WORD}"),
    "a password with a colon": ("alpha", "ssh_password", f"{WORD}:"),
    "an empty password": ("alpha", "ssh_password", ""),
    "half a hash": ("alpha", "ssh_password", f"$6$salt${WORD}"),
    "a salt that is none": ("alpha", "extra.ssh_password_salt", f"{WORD[:15]}:"),
    "a wireless password too long": ("alpha", "extra.wifi_psk", WORD * 3),
    "user-data that are a script": ("alpha", "cloud_init", f"#!/bin/sh\n{WORD}\n"),
    "user-data that are no YAML": ("alpha", "cloud_init", f"#cloud-config\nruncmd: [{WORD}\n'{WORD}"),
    "user-data that rename the node": ("alpha", "cloud_init", f"#cloud-config\nhostname: {WORD}\n"),
    "user-data with a tag": ("alpha", "cloud_init", f"#cloud-config\nruncmd: !!python/{WORD} x\n"),
    "registries that are no YAML": ("gamma", "extra.registries", f"configs: {{{WORD}"),
    "registries that are something else": ("gamma", "extra.registries", f"{WORD}: {{}}\n"),
    "a datastore of one server": ("gamma", "extra.datastore_endpoint", f"sqlite:///{WORD}"),
}


def changed(document: Mapping[str, object], field: str, value: object) -> Document:
    """A document with another value in one field, or without it."""
    changed: Document = copy.deepcopy(dict(document))
    where = changed
    if field.startswith("extra."):
        where, field = changed["extra"], field.removeprefix("extra.")
    if value is None:
        del where[field]
    else:
        where[field] = value
    return changed


@pytest.mark.slow
@pytest.mark.parametrize("case", UNFIT)
def test_a_value_that_does_not_fit(plain: Built, case: str) -> None:
    node, field, value = UNFIT[case]
    document = plain.planted.documents[node]
    try:
        if field == "k3s_token":
            plain.keep(CLUSTER, changed(plain.planted.documents[CLUSTER], field, None))
        plain.keep(node, changed(document, field, value))
        plain.fails(node, 2, node, field)
    finally:
        plain.keep(node, document)
        plain.keep(CLUSTER, plain.planted.documents[CLUSTER])


IN_JSON: Mapping[str, tuple[str, str, str | None]] = {
    "half a character": ("alpha", "extra.node_password", f"{WORD}\ud800"),
    "half a character in a password": ("alpha", "ssh_password", f"{WORD}\ud800"),
    "half a character in user-data": ("alpha", "cloud_init", f"#cloud-config\nruncmd: ['{WORD}\ud800']\n"),
    "half a character in registries": ("gamma", "extra.registries", f"configs: {{'{WORD}\ud800': {{}}}}\n"),
    "a zero": ("alpha", "extra.wifi_psk", f"{WORD}\0"),
}
"""What YAML cannot say: there a file that tries is no YAML."""
SAID = ("an agent without", "a short", "a host key with another", "a machine id too")
IN_VAULT = {**IN_JSON, **{case: about for case, about in UNFIT.items() if case.startswith(SAID)}}


@pytest.mark.slow
@pytest.mark.parametrize("case", IN_VAULT)
def test_a_value_in_vault_that_does_not_fit(in_vault: Built, case: str) -> None:
    node, field, value = IN_VAULT[case]
    try:
        in_vault.keep(CLUSTER, changed(in_vault.planted.documents[CLUSTER], "k3s_token", None))
        in_vault.keep(node, changed(in_vault.planted.documents[node], field, value))
        in_vault.fails(node, 2, node, field)
    finally:
        in_vault.keep(node, in_vault.planted.documents[node])
        in_vault.keep(CLUSTER, in_vault.planted.documents[CLUSTER])


SHAPES: Mapping[str, Callable[[Document], object]] = {
    "a number": lambda it: changed(it, "k3s_token", 12345678901234),
    "a list": lambda it: changed(it, "k3s_token", [WORD]),
    "a map": lambda it: changed(it, "ssh_password", {WORD: WORD}),
    "extra that is a text": lambda it: {**it, "extra": WORD},
    "extra that is a list": lambda it: {**it, "extra": [WORD]},
    "a map in extra": lambda it: changed(it, "extra.machine_id", {WORD: WORD}),
    "a name that cannot be": lambda it: changed(it, f"extra.{WORD} {WORD}", "x"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_of_another_shape(plain: Built, shape: str) -> None:
    document = plain.planted.documents["alpha"]
    file = plain.lab.secrets / "alpha.yaml"
    try:
        file.write_text(yaml.safe_dump(SHAPES[shape](document)))
        plain.fails("alpha", 2, str(file))
    finally:
        plain.keep("alpha", document)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_a_document_in_vault_of_another_shape(in_vault: Built, shape: str) -> None:
    document = in_vault.planted.documents["alpha"]
    bad = SHAPES[shape](document)
    assert isinstance(bad, dict)
    try:
        in_vault.keep("alpha", bad)
        in_vault.fails("alpha", 2, "atlas/nodes/alpha")
    finally:
        in_vault.keep("alpha", document)


# ------------------------------------------------------------------------------------- sources that fail


def another_key(content: bytes) -> bytes:
    import pyrage

    stranger = pyrage.x25519.Identity.generate().to_public()
    return bytes(pyrage.encrypt(f"k3s_token: {WORD}\n".encode(), [stranger]))


def altered(content: bytes) -> bytes:
    return content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]


FILES: Mapping[str, tuple[Callable[[bytes], bytes], int]] = {
    "for another key": (another_key, 5),
    "cut short": (lambda content: content[:-1], 4),
    "cut in its header": (lambda content: content[:60], 4),
    "altered": (altered, 4),
    "empty": (lambda _: b"", 4),
    "not sealed": (lambda _: f"k3s_token: {WORD}\n".encode(), 4),
}


@pytest.mark.parametrize("what", FILES)
def test_a_sealed_file_that_is(sealed: Built, what: str) -> None:
    change, code = FILES[what]
    file = sealed.lab.root / "sealed/alpha.age"
    before = file.read_bytes()
    try:
        file.write_bytes(change(before))
        sealed.fails("alpha", code, str(file))
    finally:
        file.write_bytes(before)


ECHO = {"errors": [WORD, WORD], "data": {"data": {"k3s_token": WORD}}}
"""What a server may say that has read the secret."""


def destroyed(vault: Vault) -> None:
    vault.destroy("atlas/nodes/alpha")


VAULTS: Mapping[str, tuple[Callable[[Vault], object], int, tuple[str, ...]]] = {
    "sealed": (lambda vault: setattr(vault, "sealed", True), 5, ("sealed",)),
    "gone": (lambda vault: vault.stop(), 5, ("127.0.0.1",)),
    "slow": (lambda vault: vault.answer("kv/", Answer(200, ECHO, delay=5)), 5, ("127.0.0.1",)),
    "dripping": (lambda vault: vault.answer("kv/", Answer(200, ECHO, drip=1)), 5, ()),
    "denying the node": (lambda vault: vault.denied.add("kv/data/atlas/nodes/alpha"), 5, ("alpha",)),
    "denying to log in": (lambda vault: vault.answer("auth/approle", Answer(400, ECHO)), 5, ("127.0.0.1",)),
    "with a deleted version": (lambda vault: vault.delete("atlas/nodes/alpha"), 5, ("alpha",)),
    "with a destroyed version": (destroyed, 5, ("alpha",)),
    "failing": (lambda vault: vault.answer("kv/data/", Answer(500, ECHO)), 5, ("127.0.0.1",)),
    "overrun": (lambda vault: vault.answer("kv/data/", Answer(429, ECHO)), 5, ("127.0.0.1",)),
    "that speaks no JSON": (lambda vault: vault.answer("kv/data/", Answer(200, WORD.encode())), 5, ()),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", VAULTS)
def test_a_vault(in_vault: Built, what: str) -> None:
    vault = in_vault.vault
    assert vault is not None
    change, code, words = VAULTS[what]
    # What is remembered of versions is not enough any more: the node's secrets are to be read.
    in_vault.keep("alpha", changed(in_vault.planted.documents["alpha"], "extra.wifi_psk", f"another {WORD}"))
    try:
        change(vault)
        in_vault.fails("alpha", code, *words, VAULT_CLIENT_TIMEOUT="1")
    finally:
        vault.behave()
        vault.stop()
        vault.start()
        in_vault.keep("alpha", in_vault.planted.documents["alpha"])


@pytest.mark.slow
def test_a_vault_that_somebody_else_writes_all_the_time(in_vault: Built) -> None:
    """What is missing of an identity is stored over nobody's change, and not tried for ever."""
    lab, vault = in_vault.lab, in_vault.vault
    assert vault is not None
    conflict = {"errors": ["check-and-set parameter did not match the current version", WORD]}
    in_vault.keep("alpha", changed(in_vault.planted.documents["alpha"], "extra.machine_id", None))
    before = state_of(lab)
    try:
        vault.answer("(POST|PUT) kv/data/", Answer(400, conflict))
        report = lab.metis("image", "--node", "alpha", "--debug")
        assert report.code == 5
        assert "the secrets of alpha change all the time" in only_line(report)
        assert state_of(lab) == before
        assert in_vault.search.found_in(said(report).encode(), "") == set()
    finally:
        vault.behave()
        in_vault.keep("alpha", in_vault.planted.documents["alpha"])
