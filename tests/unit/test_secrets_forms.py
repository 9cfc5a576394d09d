"""What a secret becomes where it is put, and that no error shows what it was."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import MetisError, SeveralErrors
from pipeline.machine import process
from pipeline.model import SecretRef
from pipeline.secret import Secret
from pipeline.secrets import ssh_keys
from pipeline.secrets.forms import FORMS, reveal, reveal_all
from pipeline.secrets.password import SALT
from pipeline.secrets.quoting import keyfile, quoted
from tests.support import keys
from tests.support.rendering import program

CA = "ab" * 32
SALTED = {SALT: Secret("saltsaltsaltsalt")}
KEYS = {
    "ed25519": ssh_keys.new_ed25519(),
    "ecdsa": ssh_keys.new_ecdsa(),
    "rsa": keys.rsa(),
}


def formed(form: str, value: str | None) -> str:
    values = {} if value is None else {"it": Secret(value)}
    return reveal(SecretRef("it", form, optional=True), "titan-13", {**SALTED, **values}).decode()


GOOD = {
    "text": ("a\n b", "a\n b"),
    "line": ("a b", "a b\n"),
    "machine-id": ("0123456789abcdef0123456789abcdef\n", "0123456789abcdef0123456789abcdef\n"),
    "node-password": ("0f" * 16, "0f" * 16 + "\n"),
    "initiator-name": (
        "iqn.1993-08.org.debian:01:0123456789ab",
        "InitiatorName=iqn.1993-08.org.debian:01:0123456789ab\n",
    ),
    "k3s-token": (f"K10{CA}::node:hunter2", f"K10{CA}::node:hunter2\n"),
    "k3s-server-token": (f"K10{CA}::server:hunter2\n", f"K10{CA}::server:hunter2\n"),
    "datastore-endpoint": ('postgres://u:"p@h/db\n', '"postgres://u:\\u0022p@h/db"'),
    "wifi-quoted": (' say "hi" ', '" say \\u0022hi\\u0022 "'),
    "wifi-keyfile": (" a\\b c d ", "\\sa\\\\b c d\\s"),
    "registries": (
        "mirrors: {docker.io: {endpoint: ['https://r.example']}} # ours",
        "mirrors: {docker.io: {endpoint: ['https://r.example']}} # ours\n",
    ),
    "password-hash": (f"$6$abc${'x' * 86}", f"$6$abc${'x' * 86}"),
}


@pytest.mark.parametrize("form", GOOD)
def test_a_value_becomes_what_its_reader_wants(form: str) -> None:
    value, expected = GOOD[form]
    assert formed(form, value) == expected


def test_every_form_but_those_of_keys_and_of_user_data_is_tried_here() -> None:
    assert {*GOOD, "private-key", "public-key", "user-data"} == FORMS.keys()


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("line", "hunter2\nhunter2"),
        ("line", "hunter2\x1b[2J"),
        ("line", "hunter2\u2028hunter2"),
        ("line", ""),
        ("machine-id", "hunter2"),
        ("machine-id", "0" * 32),
        ("machine-id", "0123456789ABCDEF0123456789ABCDEF"),
        ("machine-id", "0123456789abcdef0123456789abcdef\n\n"),
        ("machine-id", "uninitialized"),
        ("node-password", "hunter2 hunter2"),
        ("node-password", "hunter2\r\nX-Header: y"),
        ("node-password", ""),
        ("initiator-name", "hunter2"),
        ("initiator-name", "iqn.1993-08.org.debian:01:x\nInitiatorAlias=hunter2"),
        ("initiator-name", "iqn.1993-13.org.debian"),
        ("initiator-name", f"iqn.1993-08.org.debian:{'a' * 223}"),
        ("k3s-token", "hunter2"),
        ("k3s-token", f"K10{CA}::hunter2"),
        ("k3s-token", f"K10{CA}:server:hunter2"),
        ("k3s-token", f"K10{CA[1:]}::node:hunter2"),
        ("k3s-token", f"K10{CA}::node:hunter2\nserver: https://evil.example"),
        ("k3s-server-token", f"K10{CA}::node:hunter2"),
        ("k3s-server-token", f"K10{CA}::abcdef.0123456789abcdef"),
        ("wifi-keyfile", "hunter2\n[ipv4]"),
        ("wifi-keyfile", "hunter2"),
        ("wifi-quoted", "hunter2ü"),
        ("wifi-quoted", "hunter2" * 10),
        ("registries", "hunter2"),
        ("registries", "mirrors: hunter2"),
        ("registries", "auths: {hunter2: {}}"),
        ("registries", "{}"),
        ("registries", "configs: &a {hunter2: *a}"),
        ("datastore-endpoint", ""),
        ("datastore-endpoint", "hunter2"),
        ("datastore-endpoint", "postgres://"),
        ("datastore-endpoint", "sqlite:///var/lib/hunter2.db"),
        ("datastore-endpoint", "mysql://hunter2@h/db\nserver: x"),
        ("private-key", "hunter2"),
        ("private-key", KEYS["ed25519"].replace("b3Blbn", "hunter2")),
        ("private-key", KEYS["ed25519"][:200]),
        ("public-key", "ssh-ed25519 hunter2"),
        ("password-hash", ""),
        ("password-hash", "hunter2\nroot::0:0:::::"),
        ("password-hash", "hunter2:0"),
        ("password-hash", "hunter2\0"),
        ("password-hash", "$6$salt$hunter2"),
        ("password-hash", f"$6$salt${'x' * 86}:0:0"),
        ("password-hash", "$1$salt$hunter2"),
        ("password-hash", f"!$6$hunter2${'x' * 86}"),
        ("password-hash", "!"),
        ("password-hash", "*"),
    ],
)
def test_a_value_that_would_break_something_is_refused_and_not_shown(form: str, value: str) -> None:
    with pytest.raises(MetisError, match=r"^it of titan-13 is not ") as caught:
        formed(form, value)
    assert "hunter2" not in str(caught.value)
    assert not caught.value.__context__ or "hunter2" not in str(caught.value.__context__)
    assert "\n" not in str(caught.value)


def test_the_short_form_of_a_token_is_refused_with_where_the_long_one_is() -> None:
    with pytest.raises(MetisError, match=r"the form K10.*copy /var/lib/rancher/k3s/server/agent-token of a"):
        formed("k3s-token", "hunter2")
    with pytest.raises(MetisError, match=r"copy /var/lib/rancher/k3s/server/token of a server"):
        formed("k3s-server-token", "hunter2")


@pytest.mark.parametrize("credentials", ["server:hunter2", "node:a:b", "abcdef.0123456789abcdef"])
def test_an_agent_may_have_any_token_in_its_long_form(credentials: str) -> None:
    assert formed("k3s-token", f"K10{CA}::{credentials}") == f"K10{CA}::{credentials}\n"


def test_what_may_be_missing_is_nothing_and_a_password_none_that_matches() -> None:
    assert {form: formed(form, None) for form in ("text", "registries", "password-hash")} == {
        "text": "",
        "registries": "",
        "password-hash": "*",
    }
    with pytest.raises(MetisError, match="it of titan-13 is missing"):
        formed("line", None)


def test_a_form_that_nobody_knows_is_an_error_of_one_line() -> None:
    with pytest.raises(MetisError, match="no form called 'rot13' is known"):
        formed("rot13", "x")


def test_all_that_is_wrong_is_said_at_once() -> None:
    refs = [SecretRef("a", "line"), SecretRef("b", "line"), SecretRef("c")]
    with pytest.raises(SeveralErrors) as caught:
        reveal_all(refs, "titan-13", {"a": Secret("\n\n"), "c": Secret("")})
    assert [line.split(" ")[0] for line in caught.value.lines] == ["a", "b"]


# --------------------------------------------------------------------------------------- passwords


@pytest.mark.parametrize("password", ["hunter2", "pä ss", "$", "a" * 200])
def test_a_password_has_the_hash_that_openssl_gives_it(password: str) -> None:
    argv = [program("openssl", "openssl"), "passwd", "-6", "-salt", "saltsaltsaltsalt", "-stdin"]
    said = process.run(argv, stdin=password.encode() + b"\n")
    assert formed("password-hash", password) == said.out.decode().strip()


def test_a_salt_that_is_none_is_refused_and_not_shown() -> None:
    values = {"it": Secret("hunter2"), SALT: Secret("a$rounds=1$hunter3")}
    with pytest.raises(MetisError, match=f"^{SALT} of titan-13 is not a salt") as caught:
        reveal(SecretRef("it", "password-hash"), "titan-13", values)
    assert "hunter" not in str(caught.value)


# -------------------------------------------------------------------------------------- host keys


@pytest.mark.parametrize("kind", KEYS)
def test_ssh_keygen_reads_a_host_key_and_gives_the_same_public_half(tmp_path: Path, kind: str) -> None:
    keygen = program("ssh-keygen", "openssh-client")
    private, public = tmp_path / "key", tmp_path / "key.pub"
    private.touch(mode=0o600)
    private.write_text(formed("private-key", KEYS[kind].strip()))
    public.write_text(formed("public-key", KEYS[kind]))
    line = process.run([keygen, "-y", "-f", private]).out.decode().split()
    assert public.read_text().split() == [*line[:2], "root@titan-13"]
    shown = process.run([keygen, "-lf", public]).out.decode()
    assert f"({kind.upper()})" in shown
    assert "root@titan-13" in shown
    assert shown.split()[0] == {"ed25519": "256", "ecdsa": "256", "rsa": "3072"}[kind]


def test_a_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key"
    process.run([program("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "hunter2", "-f", key])
    with pytest.raises(MetisError, match="without a passphrase"):
        formed("private-key", key.read_text())


def test_an_rsa_key_whose_halves_do_not_belong_together_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_ssh_private_key,
    )

    key = load_ssh_private_key(KEYS["rsa"].encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    of = key.private_numbers()
    d = of.d + 2
    mixed = rsa.RSAPrivateNumbers(
        of.p, of.q, d, rsa.rsa_crt_dmp1(d, of.p), rsa.rsa_crt_dmq1(d, of.q), of.iqmp, of.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)
    text = mixed.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    with pytest.raises(MetisError, match="is not a private key"):
        formed("private-key", text)


# ---------------------------------------------------------------------------------------- quoting

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"])).map(lambda text: text.replace("\ufeff", ""))


@given(texts | st.sampled_from(["a\nb", "\t", "\x85", "\u2028", "\U0001f600", "off", "{", "'\"\\"]))
def test_a_quoted_text_is_the_same_for_every_reader(text: str) -> None:
    line = quoted(text)
    assert "\n" not in line
    assert json.loads(line) == text
    assert yaml.safe_load(line) == text


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)) | st.just("ä\tß"))
def test_glib_reads_from_a_key_file_what_was_put_in(text: str) -> None:
    assert glib_value(f"[a]\nkey={keyfile(text)}\n[b]\nkey=other\n") == text


def glib_value(document: str) -> str:
    """What GLib, which NetworkManager reads its files with, finds under [a] key."""
    try:
        glib = ctypes.CDLL("libglib-2.0.so.0")
    except OSError:
        pytest.skip("no GLib here")
    glib.g_key_file_new.restype = ctypes.c_void_p
    glib.g_key_file_get_string.restype = ctypes.c_char_p
    file = ctypes.c_void_p(glib.g_key_file_new())
    data = document.encode()
    assert glib.g_key_file_load_from_data(file, data, ctypes.c_size_t(len(data)), 0, None)
    found: bytes = glib.g_key_file_get_string(file, b"a", b"key", None)
    return found.decode()


@pytest.mark.parametrize("value", ["1e3", "1.10", "+5", "on", "0x1f", "'- a'", "null"])
def test_registries_are_for_k3s_to_read_as_their_author_wrote_them(value: str) -> None:
    given = f"configs: {{r.example: {{auth: {{password: {value}}}}}}}"
    assert formed("registries", given) == f"{given}\n"
