"""Speaking with a node that boots, over SSH and with nobody else than the node.

The key is made for one boot. The host keys are those that the node must have: with others nothing is said.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import MetisError
from ..machine import process

HOST = "127.0.0.1"
_GREETING = b"SSH-"
_POLL = 0.5
_ATTEMPT = 30.0
"""Seconds for one attempt; an emulated machine takes a few for its handshake."""
_FAILED = 255
"""What ssh(1) ends with when it did not come to run the command."""
KINDS = ("ed25519", "rsa", "ecdsa")


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time that one boot must not pass; `limit` is its seconds, for messages."""

    end: float
    limit: float

    @classmethod
    def after(cls, limit: float) -> Deadline:
        """The deadline that many seconds from now."""
        return cls(time.monotonic() + limit, limit)

    @property
    def left(self) -> float:
        """Seconds until then, at least a moment."""
        return max(0.1, self.end - time.monotonic())

    @property
    def has_passed(self) -> bool:
        """Whether it is over."""
        return time.monotonic() >= self.end


class LateError(MetisError):
    """The node did not come up, or did not answer, in its time."""


class GoneError(MetisError):
    """The machine ended while it was waited for."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A node that is reached at a port of this host as `user`; `folder` holds the key and the host keys."""

    user: str
    port: int
    folder: Path

    @property
    def key(self) -> Path:
        """The private key of this boot; the public one lies beside it."""
        return self.folder / "key"

    def make_key(self) -> str:
        """Make the key of this boot, and give the line of its public half."""
        process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "metis-boot", "-f", self.key])
        return self.key.with_suffix(".pub").read_text("ascii")

    def trust(self, keys: Iterable[str]) -> None:
        """Make these the only host keys that are accepted, given as the public keys' lines."""
        lines = "".join(f"[{HOST}]:{self.port} {key}\n" for key in keys)
        self._known_hosts.write_text(lines, "ascii")

    def wait_for_greeting(self, deadline: Deadline, is_running: Callable[[], bool]) -> None:
        """Wait until an SSH server speaks; raises LateError, and GoneError once the machine has ended."""
        while not self._greets():
            if not is_running():
                raise GoneError("the machine ended before its SSH server answered")
            if deadline.has_passed:
                raise LateError(
                    f"no SSH server answered within {deadline.limit:g} s", "allow more with --timeout"
                )
            time.sleep(_POLL)

    def _greets(self) -> bool:
        # QEMU takes every connection at once, and ends it where nobody listens in the machine.
        try:
            with socket.create_connection((HOST, self.port), timeout=_ATTEMPT) as connection:
                return connection.recv(len(_GREETING)) == _GREETING
        except OSError:
            return False

    def host_keys(self, deadline: Deadline) -> Mapping[str, str]:
        """The host keys that the node shows, by kind, as `type base64`; what it has not is left out."""
        found: dict[str, str] = {}
        words = ["ssh-keyscan", "-4", "-T", f"{_ATTEMPT:.0f}", "-p", str(self.port)]
        for kind in KINDS:
            said = process.run([*words, "-t", kind, HOST], check=False, timeout=deadline.left + _ATTEMPT)
            lines = [line.split() for line in said.out.decode("ascii", "replace").splitlines()]
            keys = [" ".join(line[1:3]) for line in lines if line and not line[0].startswith("#")]
            if keys:
                found[kind] = keys[0]
        return found

    def run(self, command: str, deadline: Deadline, stdin: bytes = b"") -> str:
        """Run a command on the node and give what it says, trying again while the node lets nobody in.

        Raises LateError when the time is over.
        """
        while True:
            try:
                done = process.run(
                    [*self._ssh, command],
                    stdin=stdin,
                    check=False,
                    timeout=deadline.left + _ATTEMPT,
                    cwd=self.folder,
                )
            except process.ToolError:
                raise LateError(
                    f"the node did not answer within {deadline.limit:g} s", "allow more with --timeout"
                ) from None
            if done.code != _FAILED:
                return done.out.decode(errors="replace")
            if deadline.has_passed:
                raise LateError(
                    f"{self.user} could not log in within {deadline.limit:g} s ({done.last_words})",
                    "the user may be missing, or sshd_config may forbid it or read no drop-ins",
                )
            time.sleep(_POLL)

    @property
    def _known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def _ssh(self) -> list[str]:
        # Names within the folder: ssh would expand % and blanks in a path.
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": f"{_ATTEMPT:.0f}",
            "GlobalKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "LogLevel": "ERROR",
            "PreferredAuthentications": "publickey",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": self._known_hosts.name,
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", *words, "-i", self.key.name, "-p", str(self.port), "-l", self.user, HOST]


def fingerprint(key: str) -> str:
    """The SHA-256 fingerprint of a public key's line, as ssh-keygen(1) prints it; `none` for no key."""
    words = key.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (IndexError, binascii.Error):
        return "none"
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
