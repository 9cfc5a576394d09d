"""Block devices whose every transfer goes through a plugin of nbdkit's, as slow or faulty cards need it.

An NBD server (nbdkit) is shown as a file (nbdfuse), and a loop device is made of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.machine import process
from tests.support.waiting import wait_until


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
        wait_until(card.exists, server)
        # Directly, so that no memory stands between the device and the server.
        found = process.run(["losetup", "--find", "--show", "--direct-io=on", card])
        device = found.out.decode().strip()
        stack.callback(process.run, ["losetup", "--detach", device], check=False)
        yield device
