"""Real keys of gpg and minisign, and what they sign; some of them have ended, were revoked or are not yet."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.machine import process

DATA = b"an image\r\nas published\n\0" * 100
LONG_AGO = ("--faked-system-time", "20200101T000000")
LATER = ("--faked-system-time", "20370101T000000")


@dataclass(frozen=True, slots=True)
class Keys:
    """A home of gpg with some keys, and what they signed, in one folder with minisign's."""

    home: Path
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "data"

    def gpg(self, *words: str | Path, stdin: bytes = b"") -> bytes:
        options = ["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        argv = ["gpg", "--homedir", self.home, *options, *words]
        return process.run(argv, stdin=stdin, cwd=self.folder).out

    def fingerprint(self, key: str) -> str:
        lines = self.gpg("--with-colons", "--list-keys", key).decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))

    def new(self, key: str, end: str = "0", *words: str) -> None:
        self.gpg(*words, "--quick-generate-key", key, "ed25519", "sign", end)

    def sign(self, key: str, *words: str, file: Path | None = None) -> bytes:
        return self.gpg(*words, "--local-user", key, "--output", "-", "--detach-sign", file or self.file)

    def keyring(self, *keys: str, armour: bool = False) -> Path:
        """A file with the public halves."""
        file = self.folder / "-".join((*keys, "asc" if armour else "gpg"))
        file.write_bytes(self.gpg(*(["--armor"] if armour else []), "--export", *keys))
        return file

    def mini(self, key: str) -> Path:
        return self.folder / f"{key}.pub"

    def mini_sign(self, key: str, *words: str, file: Path | None = None) -> bytes:
        made = self.folder / f"{key}.minisig"
        process.run(
            ["minisign", "-S", *words, "-s", self.folder / f"{key}.key", "-m", file or self.file, "-x", made]
        )
        return made.read_bytes()


@contextmanager
def making(folder: Path) -> Iterator[Keys]:
    """Make the keys in a folder; their agent has ended when the block is left."""
    home = Path(tempfile.mkdtemp(prefix="g", dir="/tmp"))  # gpg-agent's sockets need a short path
    made = Keys(home, folder)
    made.file.write_bytes(DATA)
    try:
        for key in ("good", "other", "revoked", "ended"):
            made.new(key, *(["30d", *LONG_AGO] if key == "ended" else []))
        made.new("twofold", "0", *LONG_AGO)
        made.new("unborn", "0", *LATER)
        made.gpg("--quick-add-key", made.fingerprint("twofold"), "ed25519", "sign")
        revocation = home / "openpgp-revocs.d" / f"{made.fingerprint('revoked')}.rev"
        made.keyring("revoked").rename(made.folder / "before.gpg")
        made.folder.joinpath("revoked.sig").write_bytes(made.sign("revoked"))
        made.gpg("--import", stdin=revocation.read_bytes().replace(b"\n:-----BEGIN", b"\n-----BEGIN"))
        for key in ("mine", "theirs"):
            private = made.folder / f"{key}.key"
            process.run(["minisign", "-G", "-W", "-p", made.mini(key), "-s", private])
        yield made
    finally:
        process.run(["gpgconf", "--homedir", home, "--kill", "all"])
        shutil.rmtree(home, ignore_errors=True)
