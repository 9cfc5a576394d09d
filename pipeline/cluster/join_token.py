"""The tokens that k3s nodes join with, taken apart. Pure.

Source: parseToken in k3s's pkg/clientaccess/token.go, and https://docs.k3s.io/cli/token. The secure form is
`K10<hash of the CA>::<credentials>`; the credentials are `<user>:<password>`, or `<id>.<secret>` of a
bootstrap token. The short form has the credentials alone, or a password alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..secret import Secret

_PREFIX = "K10"
_HASH = re.compile(r"[0-9a-f]{64}")
_BOOTSTRAP = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A token's parts.

    `ca_hash` is empty in the short form, which trusts any server. `bootstrap_id` is empty where it is no
    bootstrap token: such a token never expires. `secret` is the password, or the bootstrap token's secret.
    """

    ca_hash: str
    bootstrap_id: str
    user: str
    secret: Secret


def parse(token: Secret) -> JoinToken:
    """Take a token apart; raises ValueError, which says nothing of it, for what k3s would not read."""
    text = token.reveal().removesuffix("\n")
    ca_hash, credentials = "", text
    if text.startswith(_PREFIX):
        before, colons, after = text.removeprefix(_PREFIX).partition("::")
        ca_hash, credentials = (before, after) if colons else ("", before)
    elif ":" not in text and not _BOOTSTRAP.fullmatch(text):
        credentials = f":{text}"
    if ca_hash and not _HASH.fullmatch(ca_hash):
        raise ValueError("no hash of a CA")
    if match := _BOOTSTRAP.fullmatch(credentials):
        return JoinToken(ca_hash, match[1], "", Secret(match[2]))
    user, _, password = credentials.partition(":")
    if not password:
        raise ValueError("no credentials")
    return JoinToken(ca_hash, "", user, Secret(password))
