"""Block devices whose every transfer goes through a plugin of nbdkit's, as slow or faulty cards need it.

An NBD server (nbdkit) is shown as a file (nbdfuse), and a loop device is made of that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.machine import process

WAIT = 30.0
"""Seconds for the server to come up."""


@contextmanager
def attached(plugin: Path, folder: Path, **settings: object) -> Iterator[str]:
    """The device while the block runs; the plugin is told the `settings`, and `folder` is for its files."""
    shown = folder / "shown"
    shown.mkdir(exist_ok=True)
    card = shown / "card"
    words = [str(plugin.resolve()), *(f"{name}={value}" for name, value in settings.items())]
    nbdkit = ["nbdkit", "-s", "--exit-with-parent", "python", *words]
    with ExitStack() as stack:
        server = stack.enter_context(
            process.background(["nbdfuse", card, "--command", *nbdkit], folder / "nbdfuse.log")
        )
        stack.callback(process.run, ["fusermount3", "-u", "-z", shown], check=False)
        until = time.monotonic() + WAIT
        while not card.exists():
            assert server.is_running, server.last_words
            assert time.monotonic() < until, server.last_words
            time.sleep(0.01)
        # Directly, so that no memory stands between the device and the server.
        found = process.run(["losetup", "--find", "--show", "--direct-io=on", card])
        device = found.out.decode().strip()
        stack.callback(process.run, ["losetup", "--detach", device], check=False)
        yield device
