"""What takes long to make, for tests to which any will do: RSA keys, and what a passphrase has sealed."""

from __future__ import annotations

import base64
from functools import cache

from pipeline.secrets import ssh_keys

BY_PASSPHRASE = base64.b64decode(
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCB4U1ZTRGZEQkMyUkdJdGVZakQyaGtBIDE3CnhvekJBSFBuVFdMaFRt"
    "WVJ3S2I1b3NKcVI5WmhwKzVCWUFHSGFmQll6dFUKLS0tIEIzZ0hSWTJQcFVPak9MTElHamd2OUQwQnVsSUJUWWIva1BqN3ZS"
    "UUpkMEEKaZFL0TLp/IzYrmnLSVUGIn3IxWtqSawArxzfPVU0HWayIOEibw=="
)
"""What age has sealed by a passphrase, which takes a second or more."""


@cache
def rsa(whose: str = "somebody") -> str:
    """An RSA key for SSH, of each owner always the same."""
    del whose
    return ssh_keys.new_rsa()
