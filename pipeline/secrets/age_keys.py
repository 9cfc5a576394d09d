"""The age key of whoever runs Metis, and whom else files are sealed for (age-encryption.org/v1)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import InventoryError, MetisError, MismatchError, Problem, SecretError, SourceError
from ..machine.durable import write_once
from . import age_stream, private

VARIABLE = "METIS_AGE_IDENTITY"
_NATIVE = "AGE-SECRET-KEY-1"
_SSH = b"-----BEGIN "
_OTHER_KEY = "No matching keys found"
"""How pyrage begins, when none of our keys is among those a file was sealed for."""
_BY_PASSPHRASE = b"\n-> scrypt "

# Of pyrage, which has no types: its identities and recipients.
Identity = Any
Recipient = Any


class AgeKeys:
    """Seals and opens with the keys of one file: that of age-keygen(1), or an SSH key without passphrase.

    Whatever is sealed is for all `recipients` (those of cluster.yaml, which is only read when something is
    sealed), and always for the own key too. The key is made when it is first needed to seal, unless nothing
    is to be changed. `note` is told where recipients would seal a file so that we cannot open it any more.
    Safe to use from threads.
    """

    def __init__(
        self,
        identity_file: Path,
        recipients: Callable[[], Iterable[str]],
        *,
        makes_key: bool,
        note: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.file = identity_file
        self._recipients = recipients
        self._makes_key = makes_key
        self._note = note
        self._noting = threading.Lock()
        self._is_noted = False

    def is_there(self) -> bool:
        """Whether there is a key; it may still be one that cannot be used."""
        return os.path.lexists(self.file)

    def sealed(self, text: bytes) -> bytes:
        """A text that only the recipients and we can read.

        Raises InventoryError where a recipient is none, and MetisError where our own key cannot be used.
        """
        import pyrage

        others = self._others
        if self._makes_key and not self.is_there():
            self._make()
        self._note_left_out()
        sealed: bytes = pyrage.encrypt(text, [*self._own[1], *others])
        return sealed

    def opened(self, content: bytes, file: str) -> bytes:
        """The text in what age has sealed, armoured or not; `file` is what errors call it.

        Raises SourceError where we have no key to it, and MismatchError where it is not as age left it.
        """
        import pyrage

        identities = self._own[0]
        try:
            text: bytes = pyrage.decrypt(content, identities)
        except pyrage.DecryptError as error:
            why = str(error)
        else:
            return text
        raise self._unopened(
            why,
            content,
            file,
            "or let who can open it add you to age_recipients and run `metis secrets seal`",
        )

    def unseal(self, content: BinaryIO, into: BinaryIO, file: str) -> None:
        """Write the text in what age has sealed for us, whatever its size; raises as `opened` does.

        `content` is a file that can be sought in. What is written before an error was sealed so.
        """
        try:
            age_stream.unseal(content, into, self.identities)
        except age_stream.UnopenedError as error:
            why = str(error)
        else:
            return
        content.seek(0)
        head = content.read(age_stream.LONGEST_HEADER)
        raise self._unopened(why, head, file, "or have it sealed for your key too")

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Our keys; raises SourceError where there are none, and SecretError where they cannot be used."""
        return self._own[0]

    def _unopened(self, why: str, content: bytes, file: str, otherwise: str) -> MetisError:
        """What is wrong with what age did not open, by what it said."""
        # A wrong bit in what is for one key alone looks like another key's: age cannot tell.
        if not why.startswith(_OTHER_KEY):
            return MismatchError(f"{file} is cut short or altered", "put it back from a copy")
        if _BY_PASSPHRASE in content:
            return SourceError(f"{file} is sealed by a passphrase", f"seal it for the key in {self.file}")
        return SourceError(
            f"{file} is sealed for other keys than those of {self.file}",
            f"name the file of its key with {VARIABLE}, {otherwise}",
        )

    # ------------------------------------------------------------------------------------ recipients

    def _note_left_out(self) -> None:
        """Others seal for those who are named and for themselves: whoever is not named is left out."""
        own, others = ({str(key) for key in keys} for keys in (self._own[1], self._others))
        if not others or own & others:
            return
        with self._noting:
            is_first, self._is_noted = not self._is_noted, True
        if is_first:
            key = min((key for key in own if key.startswith("age1")), default="")
            hint = f"add {key}" if key else "make one with age-keygen(1), for no SSH key can be named"
            self._note(
                f"age_recipients of cluster.yaml does not name the key in {self.file}: {hint}; "
                "what somebody else seals is closed to you"
            )

    @cached_property
    def _others(self) -> tuple[Recipient, ...]:
        import pyrage

        found = []
        for index, text in enumerate(self._recipients()):
            try:
                found.append(pyrage.x25519.Recipient.from_str(text))
            except (pyrage.RecipientError, ValueError):  # no UTF-8 is no recipient either
                what = "no age recipient: age-keygen(1) prints it as the public key, age1…"
                problem = Problem("cluster.yaml", 0, f"age_recipients.{index}", what)
            else:
                continue
            raise InventoryError([problem])
        return tuple(found)

    # ------------------------------------------------------------------------------------ own keys

    @cached_property
    def _own(self) -> tuple[tuple[Identity, ...], tuple[Recipient, ...]]:
        """The keys of the file, and the public half of each."""
        hint = f"name your own file with {VARIABLE}"
        found = private.read(self.file, folder_is_private=False, hint=hint)
        if found is None:
            raise SourceError(
                f"there is no age key at {self.file}",
                f"put the key there with which the secrets were sealed, or name its file with {VARIABLE}",
            )
        if found.content.lstrip().startswith(_SSH):
            return self._of_ssh(found.content)
        return self._native(found.content)

    def _native(self, content: bytes) -> tuple[tuple[Identity, ...], tuple[Recipient, ...]]:
        import pyrage

        keys: list[Identity] = []
        for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            with suppress(pyrage.IdentityError):
                keys.append(pyrage.x25519.Identity.from_str(text))
                continue
            raise self._no_key(f"{self.file}:{number}: this is no {_NATIVE}…")
        if not keys:
            raise self._no_key(f"{self.file} has no key in it")
        return tuple(keys), tuple(key.to_public() for key in keys)

    def _of_ssh(self, content: bytes) -> tuple[tuple[Identity, ...], tuple[Recipient, ...]]:
        import pyrage

        from .ssh_keys import public_line

        with suppress(ValueError, pyrage.IdentityError, pyrage.RecipientError):
            public = pyrage.ssh.Recipient.from_str(public_line(content.decode()))
            return (pyrage.ssh.Identity.from_buffer(content),), (public,)
        raise self._no_key(f"{self.file} is no SSH key that age can use (ed25519 or RSA, without passphrase)")

    def _no_key(self, what: str) -> MetisError:
        return SecretError(what, f"name a file as age-keygen makes it with {VARIABLE}")

    def _make(self) -> None:
        """Who comes second takes the key of the first."""
        import pyrage

        key = pyrage.x25519.Identity.generate()
        created = datetime.now(UTC).isoformat(timespec="seconds")
        lines = f"# created: {created}\n# public key: {key.to_public()}\n{key}\n"
        write_once(self.file, lines.encode())
