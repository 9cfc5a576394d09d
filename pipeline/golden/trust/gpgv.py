"""Who made an OpenPGP signature, as gpgv(1) says it on its status lines (GnuPG's doc/DETAILS).

Its exit code does not tell: it is 0 for a key that has expired or was revoked, and 2 for a good signature
beside one by a stranger.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ...errors import MetisError, MismatchError
from ...machine import process

_PREFIX = b"[GNUPG:] "
_SAID = 1 << 20
"""Bytes of each output; a signature takes some hundred, and its notations are by keys of the keyring."""
_ENDED = {0, 1, 2}
_ID = re.compile(r"[0-9A-F]{16}|[0-9A-F]{40}|[0-9A-F]{64}")
_VALID = "VALIDSIG"
_VERDICTS = {"GOODSIG", "BADSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "ERRSIG"}
_UNPROVEN = {"BADSIG", "ERRSIG"}
_BINARY = "00"
"""The form of signatures over bytes as they are; one over a text says nothing of its line ends."""
_WEAK = {"1", "2", "3"}  # MD5, SHA-1 and RIPEMD-160: RFC 9580, 9.5
_STRONG = {"8", "9", "10", "11", "12", "14"}  # SHA-2 and SHA-3
_NO_KEY = "9"  # GPG_ERR_NO_PUBKEY

_OTHER = "check the clock of this machine, else ask the publisher for a signature of another kind"
# What is wrong with a signature, the worst first: what to say of it, and what to do.
_FAULTS = {
    "BADSIG": (
        "the signature by {key} does not match {name}",
        "one of the two is damaged or was altered: fetch both again, and ask the publisher if it stays so",
    ),
    "REVKEYSIG": (
        "{name} is signed by {key}, which was revoked",
        "do not use it: take one that is signed by the publisher's new key",
    ),
    "EXPKEYSIG": (
        "{name} is signed by {key}, which has expired",
        "get the publisher's renewed key, and put it into {keyring}",
    ),
    "EXPSIG": ("the signature of {name} by {key} has expired", "take a newer image, or a newer signature"),
    "weak": (
        "the signature of {name} by {key} is over a hash that can be forged, such as SHA-1",
        "ask the publisher for a signature with SHA-256 or better",
    ),
    "text": (
        "the signature of {name} by {key} is one over a text, which leaves its line ends open",
        "ask the publisher for a signature over the bytes",
    ),
    "ERRSIG": ("the signature of {name} by {key} cannot be checked: {words}", _OTHER),
    "unknown": (
        "{name} is signed by {key}, which is not in {keyring}",
        "see whether the publisher has a new key, and where it is vouched for, before you trust it",
    ),
}


@dataclass(frozen=True, slots=True)
class _Made:
    """One signature: whose it is, and what is wrong with it, of _FAULTS; empty for a good one."""

    key: str
    fault: str


def verify(file: Path, name: str, signatures: bytes, keys: bytes, keyring: Path) -> str:
    """The fingerprint of the key that made the first good one of detached signatures over a file.

    `keys` is what `keyring` holds; both have no armour any more. Raises MismatchError where no signature is
    good, or one of them is over other bytes.
    """
    with tempfile.TemporaryDirectory(prefix="metis-gpgv-") as home:
        made, pinned = Path(home, "signature"), Path(home, "keyring")
        made.write_bytes(signatures)
        pinned.write_bytes(keys)
        options = ["--status-fd", "1", "--homedir", home, "--keyring", str(pinned)]
        said = process.run(["gpgv", *options, "--", made, file.absolute()], check=False, limit=_SAID)
    if said.code not in _ENDED:
        raise process.ToolError(f"gpgv failed: {said.last_words}")
    found = [_made(group) for group in _groups(said.out)]
    if not found:
        first = said.err.decode(errors="replace").partition("\n")[0]
        raise MismatchError(f"the signature of {name} cannot be checked: {first}", _OTHER)
    good = [one.key for one in found if not one.fault]
    order = list(_FAULTS)
    worst = min((one for one in found if one.fault), key=lambda one: order.index(one.fault), default=None)
    if worst and (not good or worst.fault == "BADSIG"):
        known = {"key": worst.key, "name": name, "keyring": keyring, "words": said.last_words}
        raise MismatchError(*(text.format(**known) for text in _FAULTS[worst.fault]))
    return good[0]


def _groups(out: bytes) -> list[dict[str, list[str]]]:
    """The lines that count of each signature, by their keyword; names of users stay escaped (DETAILS)."""
    groups: list[dict[str, list[str]]] = []
    for line in out.split(b"\n")[:-1]:
        if not line.startswith(_PREFIX):
            raise _odd()
        word, *arguments = line.removeprefix(_PREFIX).decode("ascii", "backslashreplace").split(" ")
        if word == "NEWSIG":
            groups.append({})
        elif word in _VERDICTS or word == _VALID:
            if not groups or word in groups[-1]:
                raise _odd()
            groups[-1][word] = arguments
    return groups


def _made(group: dict[str, list[str]]) -> _Made:
    """What the lines of one signature come to; raises MetisError where they do not belong together."""
    verdict, *more = group.keys() - {_VALID} or {""}
    arguments, valid = group.get(verdict, []), group.get(_VALID, [])
    if more or not arguments or not _ID.fullmatch(arguments[0]) or bool(valid) == (verdict in _UNPROVEN):
        raise _odd()
    key = arguments[0]
    if verdict == "BADSIG":
        return _Made(key, verdict)
    if verdict == "ERRSIG":  # id, key's algorithm, hash's, form, time, reason
        if len(arguments) < 6:  # noqa: PLR2004
            raise _odd()
        digest, reason = arguments[2], arguments[5]
        return _Made(key, "unknown" if reason == _NO_KEY else "weak" if digest in _WEAK else verdict)
    # fingerprint, day, time, end, version, reserved, key's algorithm, hash's, form, primary key's fingerprint
    # The id before is what the signature names outside of what it signs; this one is the key's that it took.
    if len(valid) != 10 or not _ID.fullmatch(valid[9]):  # noqa: PLR2004
        raise _odd()
    digest, form, primary = valid[7:]
    fault = "weak" if digest not in _STRONG else "text" if form != _BINARY else ""
    return _Made(primary, fault if verdict == "GOODSIG" else verdict)


def _odd() -> MetisError:
    return MetisError("gpgv says what it should not", "see that it is GnuPG's, of version 2.2 or later")
