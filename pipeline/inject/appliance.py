"""Starting libguestfs's appliance, with KVM where KVM works and without it elsewhere.

A broken KVM shows itself in two ways: QEMU dies at once, or it hangs. So KVM is tried once in a child that
can be killed, and what came out is remembered for this kernel and this QEMU. A launch that hangs all the
same is ended from outside, and the next one goes without KVM.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .. import durable, process
from ..errors import MetisError
from ..progress import Reporter

if TYPE_CHECKING:
    from guestfs import GuestFS

Accelerator = Literal["kvm", "tcg"]

LAUNCH_LIMIT: dict[Accelerator, float] = {"kvm": 60, "tcg": 600}
"""Seconds. With KVM a launch takes a few, and some more when the appliance is built for the first time."""

KVM = Path("/dev/kvm")


class Appliance:
    """Launches appliances; `memory` is the file that remembers which accelerator works here."""

    def __init__(self, memory: Path, reporter: Reporter) -> None:
        self._memory = memory
        self._reporter = reporter
        self._lock = threading.Lock()
        self._accelerator: Accelerator | None = None

    def launch(self, image: Path, *, read_only: bool) -> GuestFS:
        """A running appliance with `image` as its one drive, `/dev/sda`; close it when done."""
        accelerator = self.accelerator()
        try:
            return _launch(image, accelerator, read_only=read_only)
        except MetisError as error:
            if accelerator == "tcg":
                raise
            self._reporter.note(f"the appliance did not start with KVM ({error}); from now on without it")
            self._remember("tcg")
            return _launch(image, "tcg", read_only=read_only)

    def accelerator(self) -> Accelerator:
        """What the next launch uses: as the operator says, as remembered, or as a trial shows."""
        with self._lock:
            if self._accelerator is None:
                self._accelerator = _forced() or self._remembered() or self._try_kvm()
            return self._accelerator

    def _try_kvm(self) -> Accelerator:
        with self._reporter.step("trying KVM (once for this kernel and QEMU)"):
            probe = [sys.executable, "-m", __name__]
            try:
                process.run(probe, timeout=LAUNCH_LIMIT["kvm"])
                found: Accelerator = "kvm"
            except MetisError as error:
                self._reporter.note(f"KVM does not work here ({error}): the appliance runs without it")
                found = "tcg"
        self._remember(found)
        return found

    def _remembered(self) -> Accelerator | None:
        try:
            memory = json.loads(self._memory.read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(memory, dict) or memory.get("machine") != _machine():
            return None
        return "kvm" if memory.get("accelerator") == "kvm" else "tcg"

    def _remember(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        durable.write(self._memory, durable.as_json({"machine": _machine(), "accelerator": accelerator}))


def _forced() -> Accelerator | None:
    settings = os.environ.get("LIBGUESTFS_BACKEND_SETTINGS", "").split(":")
    return "tcg" if "force_tcg" in settings or not os.access(KVM, os.R_OK | os.W_OK) else None


def _machine() -> dict[str, str]:
    """What the trial's result holds for: the running kernel and the QEMU that would be started."""
    emulator = shutil.which(f"qemu-system-{platform.machine()}") or ""
    about = Path(emulator).stat() if emulator else None
    return {
        "kernel": platform.release(),
        "qemu": f"{emulator} {about.st_size} {about.st_mtime_ns}" if about else "",
    }


def _launch(image: Path, accelerator: Accelerator, *, read_only: bool) -> GuestFS:
    handle = _handle(accelerator)
    # The cache mode may be unsafe: an image counts only after it is synced and renamed.
    handle.add_drive_opts(str(image), format="raw", readonly=read_only, cachemode="unsafe")
    try:
        with _ended_after(LAUNCH_LIMIT[accelerator], str(image)):
            handle.launch()
    except RuntimeError as error:
        handle.close()
        raise MetisError(f"the libguestfs appliance did not start: {_first_line(error)}", _hint()) from None
    return handle


def _handle(accelerator: Accelerator) -> GuestFS:
    try:
        import guestfs
    except ImportError:
        raise MetisError(
            "libguestfs's Python bindings are missing", "install python3-guestfs, or run `make setup`"
        ) from None
    handle = guestfs.GuestFS(python_return_dict=True)
    handle.set_backend("direct")
    if accelerator == "tcg":
        handle.set_backend_settings(["force_tcg"])
    return handle


@contextmanager
def _ended_after(seconds: float, drive: str) -> Iterator[None]:
    """Kill the QEMU that holds `drive` when the block takes too long; the launch in it then fails."""
    timer = threading.Timer(seconds, process.kill_children_with, [drive])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _first_line(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[0]


def _hint() -> str:
    kernels = list(Path("/boot").glob("vmlinu*-*"))
    if kernels and not any(os.access(kernel, os.R_OK) for kernel in kernels):
        return (
            "the kernels in /boot cannot be read: `sudo chmod 0644 /boot/vmlinuz-*` (Ubuntu makes them 0600)"
        )
    if not kernels:
        return "there is no kernel in /boot for it: install linux-image-cloud-amd64 or another kernel"
    return "`libguestfs-test-tool` shows why"


def _probe() -> None:
    """Launch an appliance with KVM and shut it down; run as a child by `Appliance`."""
    handle = _handle("kvm")
    handle.add_drive_scratch(1 << 20)
    handle.launch()
    handle.shutdown()


if __name__ == "__main__":
    _probe()
