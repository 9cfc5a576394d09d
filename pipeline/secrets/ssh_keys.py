"""Host keys of sshd(8) in OpenSSH's own format: made, checked, and their public halves."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

if TYPE_CHECKING:
    HostKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

RSA_BITS = 3072
_RSA_EXPONENT = 65537


def new_ed25519() -> str:
    """A new ed25519 key."""
    return _text(ed25519.Ed25519PrivateKey.generate())


def new_ecdsa() -> str:
    """A new ECDSA key on nistp256, as ssh-keygen -A makes it."""
    return _text(ec.generate_private_key(ec.SECP256R1()))


def new_rsa() -> str:
    """A new RSA key of as many bits as ssh-keygen -A gives it."""
    return _text(rsa.generate_private_key(_RSA_EXPONENT, RSA_BITS))


def public_line(text: str) -> str:
    """The public half of a private key, without a comment.

    Raises ValueError, which says nothing of the key, where it is none, is encrypted or of another kind.
    """
    key = _key(text)
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _key(text: str) -> HostKey:
    key: object = None
    with suppress(ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        # To prove that RSA's numbers are primes takes longer than all the rest of a plan.
        loaded = load_ssh_private_key(text.encode(), password=None, unsafe_skip_rsa_key_validation=True)
        if isinstance(loaded, rsa.RSAPrivateKey):
            _check_halves(loaded)
        key = loaded
    if not isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("no private key")
    return key


def _check_halves(key: rsa.RSAPrivateKey) -> None:
    """Raise ValueError or InvalidSignature where sshd could not prove with a key who the node is."""
    message = b"who is there"
    signature = key.sign(message, padding.PKCS1v15(), SHA256())
    key.public_key().verify(signature, message, padding.PKCS1v15(), SHA256())


def _text(key: HostKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
