"""A small lab in a folder of its own, and the commands run on it as a person would run them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.machine import process
from pipeline.model import Reveal
from pipeline.secrets import forms
from pipeline.secrets.plain import plain_folder

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
QUICK_INJECTOR = "loop" if os.geteuid() == 0 else "direct"
"""What tests that need many builds use."""
_LINE = re.compile(r"^(\.|--|!!)\s+(\S+?)(?::\s|$)(.*)")
STATES = {".": "run", "--": "up to date", "!!": "failed"}


@dataclass(frozen=True, slots=True)
class Report:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    def tasks(self, state: str, kind: str = "") -> set[str]:
        """The tasks that doit's report gives a state (run, up to date, failed), of one kind or all."""
        found = (_LINE.match(line) for line in (self.out + self.err).splitlines())
        named = {match[2] for match in found if match and STATES[match[1]] == state}
        return {name for name in named if name.startswith(kind)}

    @property
    def failures(self) -> list[str]:
        """The lines of what failed in itself, not of what was not tried for it."""
        lines = (self.out + self.err).splitlines()
        return [line for line in lines if line.startswith("!!") and not line.startswith("!! not tried")]


@dataclass(slots=True)
class Lab:
    """An inventory and artifacts below one folder; `environment` is what its commands get on top.

    `within` is what runs them elsewhere, as in a network of its own; `programs` has them, and `folder` is
    where they begin.
    """

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    within: tuple[str, ...] = ()
    programs: Path = BIN
    folder: Path = REPOSITORY

    @property
    def inventory(self) -> Path:
        return self.root / "inventory"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def secrets(self) -> Path:
        """The folder of this lab's secrets, which no other lab shares."""
        return self.root / "secrets"

    def write_secrets(self, node: str, text: str) -> Path:
        """Give a node the secrets of a YAML text."""
        self.secrets.mkdir(mode=0o700, exist_ok=True)
        file = self.secrets / f"{node}.yaml"
        file.touch(mode=0o600)
        file.write_text(text)
        return file

    def write(self, path: str, text: str) -> Path:
        """Put a file into the inventory."""
        file = self.inventory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def reveal(self, node: str) -> Reveal:
        """Gives the secrets of a node as an image has them."""
        values = plain_folder(self.secrets).read(node).values
        return lambda ref: forms.reveal(ref, node, values)

    def doit(self, *arguments: str, **extra: str) -> Report:
        return self._run("doit", arguments, extra)

    def metis(self, *arguments: str, **extra: str) -> Report:
        return self._run("metis", arguments, extra)

    def variables(self, extra: Mapping[str, str]) -> dict[str, str]:
        """The environment of this lab's commands."""
        own = {
            "METIS_INVENTORY": str(self.inventory),
            "METIS_ARTIFACTS": str(self.artifacts),
            "METIS_SECRETS": f"plain:{self.secrets}",
        }
        return own | self.environment | dict(extra)

    def _run(self, program: str, arguments: tuple[str, ...], extra: Mapping[str, str]) -> Report:
        done = process.run(
            [*self.within, self.programs / program, *arguments],
            cwd=self.folder,
            check=False,
            timeout=1200,
            extra_environment=self.variables(extra),
        )
        return Report(done.code, done.out.decode(), done.err.decode())

    def leftovers(self) -> list[Path]:
        """What is unfinished below the artifacts."""
        return [
            Path(folder) / name
            for folder, inner, names in os.walk(self.artifacts)
            for name in (*inner, *names)
            if name.endswith(".part")
        ]


def class_text(golden: Path, sha256: str, more: str = "") -> str:
    """A class of amd64 Debian nodes from a golden file."""
    return (
        f"arch: amd64\nos: debian\nimage: {{source: 'file:{golden}', sha256: {sha256}, headroom: 4M}}\n{more}"
    )
