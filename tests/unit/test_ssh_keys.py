"""Host keys in all formats that sshd reads: what is whole is taken, what is not is told and not shown."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SecretError
from pipeline.machine import process
from pipeline.model import SecretRef
from pipeline.secret import Secret
from pipeline.secrets import ssh_keys
from pipeline.secrets.forms import reveal
from tests.support import keys
from tests.support.rendering import program

BEGIN, END = "-----BEGIN OPENSSH PRIVATE KEY-----\n", "-----END OPENSSH PRIVATE KEY-----\n"
KEYS, OTHERS = (
    {"ed25519": ssh_keys.new_ed25519(), "ecdsa": ssh_keys.new_ecdsa(), "rsa": keys.rsa(whose)}
    for whose in ("somebody", "another")
)


def keygen(folder: Path, kind: str, *options: str) -> tuple[str, str]:
    """A private key and the line of its public half, as ssh-keygen makes them."""
    key = folder / f"{kind}-{len(list(folder.iterdir()))}"
    passphrase = [] if "-N" in options else ["-N", ""]
    words = ["-q", "-t", kind, "-f", str(key), *options, *passphrase]
    process.run([program("ssh-keygen", "openssh-client"), *words])
    return key.read_text(), Path(f"{key}.pub").read_text()


def blob(text: str) -> bytes:
    return base64.b64decode(ssh_keys.public_line(text).split()[1])


def body(text: str) -> bytes:
    return base64.b64decode(text.removeprefix(BEGIN).removesuffix(END))


def armoured(content: bytes, begin: str = BEGIN, end: str = END) -> str:
    return begin + base64.encodebytes(content).decode() + end


@pytest.mark.parametrize(
    ("kind", "options", "first"),
    [
        ("ed25519", [], "BEGIN OPENSSH PRIVATE KEY"),
        ("ecdsa", [], "BEGIN OPENSSH PRIVATE KEY"),
        ("rsa", [], "BEGIN OPENSSH PRIVATE KEY"),
        ("rsa", ["-b", "2048", "-m", "PEM"], "BEGIN RSA PRIVATE KEY"),
        ("rsa", ["-b", "2048", "-m", "PKCS8"], "BEGIN PRIVATE KEY"),
        ("ecdsa", ["-b", "256", "-m", "PEM"], "BEGIN EC PRIVATE KEY"),
        ("ecdsa", ["-b", "384", "-m", "PEM"], "BEGIN EC PRIVATE KEY"),
        ("ecdsa", ["-b", "521", "-m", "PKCS8"], "BEGIN PRIVATE KEY"),
    ],
)
def test_every_format_that_sshd_reads_gives_the_public_half_and_is_kept_bit_for_bit(
    tmp_path: Path, kind: str, options: list[str], first: str
) -> None:
    private, public = keygen(tmp_path, kind, *options)
    assert first in private.splitlines()[0]
    assert ssh_keys.public_line(private).split() == public.split()[:2]
    values = {"it": Secret(private)}
    assert reveal(SecretRef("it", "private-key"), "titan-13", values) == private.encode()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_key_with_another_s_public_half_is_found_wherever_it_comes_from(kind: str) -> None:
    """Both the clear and the private part name the other key, as whoever mixes up two files would not."""
    own, other = blob(KEYS[kind])[-32:], blob(OTHERS[kind])[-32:]
    mixed = armoured(body(KEYS[kind]).replace(own, other))
    if kind == "ecdsa":
        own, other = blob(KEYS[kind])[-64:-32], blob(OTHERS[kind])[-64:-32]
        mixed = armoured(body(mixed).replace(own, other))
    refused_as_halves(mixed)


def test_an_rsa_key_with_another_s_public_half_is_found() -> None:
    own, other = blob(KEYS["rsa"])[-384:], blob(OTHERS["rsa"])[-384:]
    with pytest.raises(ValueError, match="no private key"):  # whoever reads it sees that no number fits
        ssh_keys.public_line(armoured(body(KEYS["rsa"]).replace(own, other)))


def refused_as_halves(text: str) -> None:
    with pytest.raises(ssh_keys.HalvesError):
        ssh_keys.public_line(text)
    with pytest.raises(SecretError, match="it of titan-13 is not a private key that matches its own public"):
        reveal(SecretRef("it", "private-key"), "titan-13", {"it": Secret(text)})


def test_an_ec_key_in_pem_with_another_s_public_half_is_refused() -> None:
    key, other = (load_ssh_private_key(text.encode(), None) for text in (KEYS["ecdsa"], OTHERS["ecdsa"]))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(other, ec.EllipticCurvePrivateKey)
    der = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    mixed = der.replace(blob(KEYS["ecdsa"])[-65:], blob(OTHERS["ecdsa"])[-65:])
    assert mixed != der
    begin, end = ("-----" + f"{word} EC PRIVATE KEY-----\n" for word in ("BEGIN", "END"))
    ssh_keys.public_line(armoured(der, begin, end))
    with pytest.raises(ValueError, match="no private key"):
        ssh_keys.public_line(armoured(mixed, begin, end))


def pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_what_sshd_does_not_read_is_no_host_key(tmp_path: Path) -> None:
    rsa_options = ["-b", "2048", "-N", "hunter2"]
    wrong = {
        "nothing": "",
        "words": "hunter2",
        "a public half": ssh_keys.public_line(KEYS["rsa"]),
        "cut off": KEYS["rsa"][:400],
        "something before it": f"hunter2\n{KEYS['ed25519']}",
        "no key inside": armoured(b"openssh-key-v1\0hunter2"),
        "a curve that OpenSSH has not": pem(ec.generate_private_key(ec.SECP256K1())),
        "ed25519 in PKCS 8": pem(ed25519.Ed25519PrivateKey.generate()),
        "DSA": pem(dsa.generate_private_key(1024)),
        "a passphrase": keygen(tmp_path, "ed25519", "-N", "hunter2")[0],
        "a passphrase on PEM": keygen(tmp_path, "rsa", *rsa_options, "-m", "PEM")[0],
        "a passphrase on PKCS 8": keygen(tmp_path, "rsa", *rsa_options, "-m", "PKCS8")[0],
        "a certificate": "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n",
    }
    for what, text in wrong.items():
        with pytest.raises(ValueError, match=r"(?i)key|curve") as caught:
            ssh_keys.public_line(text)
        assert "hunter2" not in str(caught.value), what
        with pytest.raises(SecretError, match="is not a private key that sshd reads without a passphrase"):
            reveal(SecretRef("it", "private-key"), "titan-13", {"it": Secret(text)})


@given(st.integers(0, len(KEYS["ed25519"]) - 1), st.characters(max_codepoint=0x2FF))
def test_a_key_with_a_changed_letter_is_the_same_key_or_none(at: int, letter: str) -> None:
    try:
        line = ssh_keys.public_line(KEYS["ed25519"][:at] + letter + KEYS["ed25519"][at + 1 :])
    except ValueError:
        return
    assert line == ssh_keys.public_line(KEYS["ed25519"])
