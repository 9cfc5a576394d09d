"""crypt(3) of the C library, since Python has none any more (PEP 594).

Called in this process: in the arguments or the environment of a program a password could be seen by others.
"""

from __future__ import annotations

import ctypes

from ..errors import MetisError

_LIBRARIES = ("libcrypt.so.1", "libcrypt.so.2")
_ROOM = 1 << 18
"""Bytes for struct crypt_data: glibc's takes 128 KiB, that of libxcrypt 32 KiB."""


def sha512_crypt(password: str, salt: str) -> str:
    """The hash of a password as shadow(5) has it: `$6$<salt>$…`, the same each time for the same salt."""
    setting = f"$6${salt}$"
    room = ctypes.create_string_buffer(_ROOM)
    crypt_r = _library().crypt_r
    crypt_r.restype = ctypes.c_char_p
    crypt_r.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
    found: bytes | None = crypt_r(password.encode(), setting.encode(), room)
    if found is None or not found.startswith(setting.encode()):
        raise MetisError("the C library cannot hash a password", "give its hash: `openssl passwd -6`")
    return found.decode()


def _library() -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise MetisError("no libcrypt on this machine", "install libcrypt1, or give the password's hash")
