"""The hash by which a k3s token knows its cluster's certificates.

Source: hashCA in k3s's pkg/clientaccess/token.go. Of one certificate it is the SHA-256 of the PEM text, to
the byte; of several, that of the root, in DER, which vouches for the first. That one stays when the others
are renewed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.S)
_MOST = 32
"""Certificates of a bundle that are looked at; a cluster has one to three."""


def ca_hash(pem: bytes) -> str:
    """The hash of certificates in PEM, as 64 hex digits; raises ValueError where there is none to read."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.x509 import (
        DuplicateExtension,
        InvalidVersion,
        UnsupportedGeneralNameType,
        load_pem_x509_certificate,
    )

    blocks = _BLOCK.findall(pem)
    if not 0 < len(blocks) <= _MOST:
        raise ValueError("no certificates")
    try:
        certificates = [load_pem_x509_certificate(block) for block in blocks]
        root = _root(certificates[0], certificates[1:]) if len(certificates) > 1 else None
    except (DuplicateExtension, InvalidVersion, UnsupportedAlgorithm, UnsupportedGeneralNameType):
        raise ValueError("certificates of a kind that nobody reads") from None
    return hashlib.sha256(pem if root is None else root).hexdigest()


def _root(first: Certificate, others: Sequence[Certificate]) -> bytes | None:
    """The root that vouches for a certificate, in DER; None where the others lead to none.

    Breadth first, each certificate once: bundles may lead in circles.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    waiting, left = [first], list(others)
    while waiting:
        current = waiting.pop(0)
        for issuer in [each for each in left if _vouches(each, current)]:
            if _is_root(issuer):
                return issuer.public_bytes(Encoding.DER)
            left.remove(issuer)
            waiting.append(issuer)
    return None


def _vouches(issuer: Certificate, certificate: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.x509 import BasicConstraints, ExtensionNotFound

    try:
        certificate.verify_directly_issued_by(issuer)
        return issuer.extensions.get_extension_for_class(BasicConstraints).value.ca
    except (ValueError, TypeError, InvalidSignature, ExtensionNotFound):
        return False


def _is_root(certificate: Certificate) -> bool:
    """As k3s tells: it names no key that vouches for it, or its own."""
    from cryptography.x509 import AuthorityKeyIdentifier, ExtensionNotFound, SubjectKeyIdentifier

    extensions = certificate.extensions
    try:
        by = extensions.get_extension_for_class(AuthorityKeyIdentifier).value.key_identifier
    except ExtensionNotFound:
        return True
    try:
        own = extensions.get_extension_for_class(SubjectKeyIdentifier).value.digest
    except ExtensionNotFound:
        own = None
    return not by or by == own
