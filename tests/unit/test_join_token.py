"""Tokens taken apart, and the hash of certificates that they know their cluster by."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cluster.ca_hash import ca_hash
from pipeline.cluster.join_token import JoinToken, parse
from pipeline.secret import Secret

HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (f"K10{HASH}::server:word", JoinToken(HASH, "", "server", Secret("word"))),
        (f"K10{HASH}::server:word\n", JoinToken(HASH, "", "server", Secret("word"))),
        (f"K10{HASH}::node:a:b::c", JoinToken(HASH, "", "node", Secret("a:b::c"))),
        (f"K10{HASH}::abc123.0123456789abcdef", JoinToken(HASH, "abc123", "", Secret("0123456789abcdef"))),
        ("abc123.0123456789abcdef", JoinToken("", "abc123", "", Secret("0123456789abcdef"))),
        ("K10::server:word", JoinToken("", "", "server", Secret("word"))),
        ("node:word", JoinToken("", "", "node", Secret("word"))),
        ("word", JoinToken("", "", "", Secret("word"))),
    ],
)
def test_a_token_is_taken_apart(text: str, parts: JoinToken) -> None:
    assert parse(Secret(text)) == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "K10",
        f"K10{HASH}::",
        f"K10{HASH}::server:",
        f"K10{HASH}::ABC123.0123456789abcdef",
        f"K10{HASH[1:]}::server:word",
        f"K10{HASH.upper()}::server:word",
        "server:",
    ],
)
def test_what_is_no_token_is_refused_without_a_word_of_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^no (hash of a CA|credentials)$"):
        parse(Secret(text))


@given(st.text())
def test_any_text_is_a_token_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert parse(Secret(text)).secret.reveal() in text


# ------------------------------------------------------------------------------------- certificates

NOW = datetime(2026, 11, 1, tzinfo=UTC)


class Authority:
    """A certificate of a name, by itself or by another; it can vouch for others unless it `is_ca` not."""

    def __init__(self, name: str, by: Authority | None = None, *, is_ca: bool = True) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        above = by or self
        key_id = x509.SubjectKeyIdentifier.from_public_key
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(above.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW)
            .not_valid_after(NOW + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(key_id(self.key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                    key_id(above.key.public_key())
                ),
                critical=False,
            )
            .sign(above.key, SHA256())
        )

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def der_hash(self) -> str:
        return hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).hexdigest()


ROOT = Authority("root")
MIDDLE = Authority("middle", ROOT)
SERVER = Authority("server", MIDDLE)
STRANGER = Authority("stranger")
NO_CA = Authority("leaf", ROOT, is_ca=False)
BELOW_NO_CA = Authority("below", NO_CA)


def of_text(pem: bytes) -> str:
    return hashlib.sha256(pem).hexdigest()


@pytest.mark.parametrize(
    ("pem", "digest"),
    [
        (ROOT.pem, of_text(ROOT.pem)),
        (ROOT.pem + b"\n", of_text(ROOT.pem + b"\n")),
        (b"words before\n" + ROOT.pem, of_text(b"words before\n" + ROOT.pem)),
        (SERVER.pem + MIDDLE.pem + ROOT.pem, ROOT.der_hash),
        (SERVER.pem + ROOT.pem + STRANGER.pem + MIDDLE.pem, ROOT.der_hash),
        (SERVER.pem + STRANGER.pem, of_text(SERVER.pem + STRANGER.pem)),
        (SERVER.pem + MIDDLE.pem, of_text(SERVER.pem + MIDDLE.pem)),
        (BELOW_NO_CA.pem + NO_CA.pem + ROOT.pem, of_text(BELOW_NO_CA.pem + NO_CA.pem + ROOT.pem)),
    ],
    ids="one newline words chain mixed stranger rootless through-no-CA".split(),
)
def test_certificates_have_the_hash_that_k3s_gives_them(pem: bytes, digest: str) -> None:
    assert ca_hash(pem) == digest


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"<html>",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n\xff\n-----END CERTIFICATE-----\n",
        ROOT.pem * 33,
    ],
    ids="nothing page rubbish binary many".split(),
)
def test_what_holds_no_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ca_hash(pem)
