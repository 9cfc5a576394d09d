"""The last line of defence for logs: what looks like a secret is masked, though Metis says none. Pure."""

from __future__ import annotations

import re

from ..secret import MASK

_LOOKS_SECRET = re.compile(
    r"""
      K10[0-9a-f]{64}::\S+                                          # k3s tokens
    | \$(?:1|5|6|y|2[aby]|argon2id?)\$\S+                           # hashes of passwords, crypt(5)
    | AGE-SECRET-KEY-1[0-9A-Z]+
    | \bhv[sbr]\.[\w-]{20,}                                         # Vault tokens
    | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*
    | (?<=earer\ )[\w.~+/=-]{8,}                                    # HTTP's Authorization
    | (?<=://)[^\s/@]+(?=@)                                         # user and password of an address
    | (?i:(?<=password=)|(?<=token=)|(?<=secret=)|(?<=secret_id=))[^\s&]+
    """,
    re.X,
)


def redacted(line: str) -> str:
    """The line with everything in it masked that has the form of a secret."""
    return _LOOKS_SECRET.sub(MASK, line)
