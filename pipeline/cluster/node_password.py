"""Whether the cluster takes the password that an agent will show it: k3s's hash of it, made anew. Pure.

Source: k3s's pkg/authenticator/hash/scrypt.go. The hash is `$1:<salt, hex>:<log2 N>:<r>:<p>:<key, base64
without padding>`, of scrypt (RFC 7914).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from ..secret import Secret
from .check import Check, ForgetPassword, unsure
from .evidence import Evidence, Unseen
from .port import NodePassword

NAME = "node password"
_HASH = re.compile(
    r"\$1:(?P<salt>(?:[0-9a-f]{2}){1,64}):(?P<n>[0-9]{1,2}):(?P<r>[0-9]{1,2}):(?P<p>[0-9]):"
    r"(?P<key>[A-Za-z0-9+/]{22,128})"
)
_MOST_MEMORY = 256 << 20
"""Bytes that a hash may cost; k3s's take 32 MiB. Whoever may write Secrets must not stop this machine."""


def matches(found: Secret, password: Secret) -> bool:
    """Whether a hash of the cluster is that of a password; raises ValueError for one that cannot be read."""
    match = _HASH.fullmatch(found.reveal())
    if match is None:
        raise ValueError("no hash of k3s")
    n, r, p = int(match["n"]), int(match["r"]), int(match["p"])
    memory = 128 * r * ((1 << n) + p + 2)
    if memory > _MOST_MEMORY or not (n and r and p):
        raise ValueError("a hash that costs too much")
    try:
        key = base64.b64decode(match["key"] + "=" * (-len(match["key"]) % 4), validate=True)
    except ValueError:
        raise ValueError("no hash of k3s") from None
    # A file of k3s ends with a newline, which k3s does not send.
    own = hashlib.scrypt(
        password.reveal().removesuffix("\n").encode(errors="surrogatepass"),
        salt=bytes.fromhex(match["salt"]),
        n=1 << n,
        r=r,
        p=p,
        maxmem=memory + (1 << 20),
        dklen=len(key),
    )
    return hmac.compare_digest(own, key)


def node_password(evidence: Evidence) -> Check:
    """Refused where the cluster holds the agent to another password than the card will have.

    It then answers 403 for good; where it knows none, it takes the first that it is shown.
    """
    known, own = evidence.password, evidence.card.password
    if known is None:
        return Check(NAME, "ok", "the cluster knows none, and takes the first that it is shown")
    for part in (known, own):
        if isinstance(part, Unseen):
            return unsure(NAME, part)
    assert isinstance(known, NodePassword)
    mend = ForgetPassword(evidence.card.node, known.handle)
    try:
        fault = _fault(known.hash, own if isinstance(own, Secret) else None)
    except ValueError as error:
        found = f"the cluster's hash of it cannot be compared: {error}"
        return Check(NAME, "unsure", found, f"look at the Secret, or {mend}")
    if fault:
        return Check(NAME, "refused", fault, f"{mend}: --fix does it", mend)
    return Check(NAME, "ok", "the cluster knows the one that the secrets have")


def _fault(known: Secret, own: Secret | None) -> str:
    if own is None:
        return "the cluster knows one, and the secrets have none: a new one would be made"
    return "" if matches(known, own) else "the cluster knows another than the secrets have"
