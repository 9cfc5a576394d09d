"""The real service in a process of its own, for a small lab: `with serving(lab) as service:`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.machine import process
from tests.support.lab import Lab
from tests.support.ports import kept_port
from tests.support.waiting import PATIENCE


@dataclass(slots=True)
class Running:
    """A service that may be ended, killed and begun anew at the same address; `flags` are metis serve's."""

    lab: Lab
    port: int
    flags: Sequence[str]
    url: str = field(default="", init=False)
    """Where it is, without a slash at the end."""
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        """Its process, also after its end."""
        assert self._child is not None
        return self._child.pid

    @property
    def log(self) -> str:
        """What it said, of all its beginnings."""
        return self._log.read_text(errors="replace")

    @property
    def _log(self) -> Path:
        return self.lab.root / "service.log"

    def start(self) -> None:
        """Begin it, and wait until it says where it is: who connects from then on is served."""
        words = ["serve", "--json", "--port", str(self.port), *self.flags]
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [self.lab.programs / "metis", *words],
                cwd=self.lab.folder,
                env=process.environment(self.lab.variables({})),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,
            )
        self.url = self._told()

    def _told(self) -> str:
        assert self._child is not None
        assert self._child.stdout is not None
        said = b""
        while not said.endswith(b"}\n"):
            line = self._child.stdout.readline()
            assert line, self.log
            said += line
        self._child.stdout.close()
        return str(json.loads(said)["url"])

    def stop(self) -> int:
        """Ask it to end, as systemd does, and give its exit code."""
        assert self._child is not None
        self._child.send_signal(signal.SIGTERM)
        return self._child.wait(PATIENCE)

    def kill(self) -> None:
        """End it as a power cut does; its jobs go on."""
        assert self._child is not None
        self._child.kill()
        self._child.wait()

    def kill_group(self) -> None:
        """The same with all that is in its process group, as a shell's `kill -9 %1` does."""
        os.killpg(self.pid, signal.SIGKILL)
        self.kill()


@contextmanager
def serving(lab: Lab, *flags: str | Path) -> Iterator[Running]:
    """Have a service while the block runs; what it is told beside `--no-auth` are `flags`."""
    with kept_port() as port:
        running = Running(lab, port, ["--no-auth", *map(str, flags)])
        try:
            running.start()
            yield running
        finally:
            running.kill()
