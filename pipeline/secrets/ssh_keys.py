"""Host keys of sshd(8): made in OpenSSH's format, checked in all that it reads, and their public halves."""

from __future__ import annotations

import base64
import binascii
import struct
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
    load_pem_private_key,
    load_ssh_private_key,
)

if TYPE_CHECKING:
    HostKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

RSA_BITS = 3072
_RSA_EXPONENT = 65537

_BEGIN, _END = "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\0"
_PEM = tuple(f"-----BEGIN {kind}PRIVATE KEY-----" for kind in ("RSA ", "EC ", ""))
"""What ssh-keygen made before OpenSSH 7.8, and what `-m PKCS8` makes: sshd reads them as well."""


class HalvesError(ValueError):
    """The private half of a key is not that of the public half beside it."""


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

    The key is in OpenSSH's format or, as older ones are, in PEM. Raises HalvesError where its public half is
    another key's, and ValueError where it is none, is encrypted or of another kind; they say nothing of it.
    """
    key = _key(text.strip())
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _key(text: str) -> HostKey:
    # To prove that RSA's numbers are primes takes longer than all the rest of a plan.
    fast = {"unsafe_skip_rsa_key_validation": True}
    key: object = None
    with suppress(ValueError, TypeError, UnsupportedAlgorithm):
        if text.startswith(_BEGIN):
            key = load_ssh_private_key(text.encode(), password=None, **fast)
        elif text.startswith(_PEM):
            key = load_pem_private_key(text.encode(), password=None, **fast)
            if isinstance(key, ed25519.Ed25519PrivateKey):
                key = None  # sshd reads these in its own format alone (until OpenSSH 9.6)
    if isinstance(key, rsa.RSAPrivateKey):
        _check_signature(key)
    if not isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("no private key")
    if text.startswith(_BEGIN) and _stated(text) != _public_blob(key):
        raise HalvesError("the halves are of two keys")
    return key


def _check_signature(key: rsa.RSAPrivateKey) -> None:
    """Raise HalvesError where sshd could not prove with a key who the node is."""
    message = b"who is there"
    with suppress(ValueError, InvalidSignature):
        signature = key.sign(message, padding.PKCS1v15(), SHA256())
        key.public_key().verify(signature, message, padding.PKCS1v15(), SHA256())
        return
    raise HalvesError("the halves are of two keys")


def _stated(text: str) -> bytes:
    """The public half that stands beside the private one (PROTOCOL.key of OpenSSH), which sshd shows.

    Whoever reads the private half makes the public one anew, and does not compare.
    """
    with suppress(ValueError, struct.error):
        body = binascii.a2b_base64(text.removeprefix(_BEGIN).partition(_END)[0])
        at = len(_MAGIC)
        for _ in ("cipher", "kdf", "options of the kdf"):
            at += 4 + struct.unpack_from(">I", body, at)[0]
        at += 4  # the number of keys
        (size,) = struct.unpack_from(">I", body, at)
        return body[at + 4 : at + 4 + size]
    return b""


def _public_blob(key: HostKey) -> bytes:
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(line.split()[1])


def _text(key: HostKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
