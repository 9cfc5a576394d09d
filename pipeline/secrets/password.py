"""The form of a password for shadow(5), and the salt that goes with one that is kept in the clear."""

from __future__ import annotations

import re

from ..errors import SecretError
from .crypt import sha512_crypt
from .given import Given

SALT = "extra.ssh_password_salt"
NO_PASSWORD = b"*"
"""What no password matches (shadow(5)); keys still open the door."""
_LIKE_A_HASH = re.compile(r"[!*]*\$[0-9a-z]{1,8}\$|[!*]+\Z")
"""Also what locks an account in shadow(5): nobody means it as a password."""
_HASH = re.compile(
    r"\$6\$(rounds=[1-9][0-9]{3,8}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{86}"
    r"|\$y\$[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{1,86}\$[./0-9A-Za-z]{43}"
)
_UNFIT_IN_PASSWORD = re.compile(r"[\x00-\x1f\x7f:]")
_SALT = re.compile(r"[./0-9A-Za-z]{16}")


def needs_salt(given: Given) -> bool:
    """Whether there is a password that is not a hash yet."""
    return given.is_there and not _LIKE_A_HASH.match(given.text)


def password_hash(given: Given) -> bytes:
    """A password's hash for shadow(5): of SHA-512 with the stored salt, so that it is the same each time.

    A hash (`$6$…`, `$y$…`) is taken as it is; see crypt(5).
    """
    if not given.is_there:
        return NO_PASSWORD
    value = given.text
    if _HASH.fullmatch(value):
        return value.encode()
    if _LIKE_A_HASH.match(value):
        raise given.unfit(
            "a whole hash of crypt(5)",
            "make one with `openssl passwd -6`, give the password, or leave it out: then none fits",
        )
    if not value or _UNFIT_IN_PASSWORD.search(value):
        raise given.unfit("a password: one line, not empty and without a colon", "give its hash instead")
    salt = given.other(SALT)
    if not _SALT.fullmatch(salt):
        raise SecretError(f"{SALT} of {given.node} is not a salt of crypt(5)", "remove it: a new one is made")
    return sha512_crypt(value, salt).encode()
