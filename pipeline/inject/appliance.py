"""Starting libguestfs's appliance, with KVM where KVM works and without it elsewhere.

A broken KVM shows itself in two ways: QEMU dies at once, or it hangs. So KVM is tried once in a child that
can be killed, and what came out is remembered for this kernel and this QEMU. A launch that hangs all the
same is ended from outside, and the next one goes without KVM.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import MetisError
from ..machine import durable, emulated, posix, process
from ..machine.hardening import forget_credentials
from ..machine.progress import Reporter

if TYPE_CHECKING:
    from guestfs import GuestFS

Accelerator = Literal["kvm", "tcg"]

_PAUSE = 0.2
"""Seconds between looks for a QEMU whose time is over."""
LAUNCH_LIMIT: dict[Accelerator, float] = {"kvm": 60, "tcg": 600}
"""Seconds. With KVM a launch takes a few, and some more when the appliance is built for the first time."""

KVM = Path("/dev/kvm")


@dataclass(frozen=True, slots=True, eq=False)
class Drive:
    """An image file as a drive of an appliance."""

    image: Path
    read_only: bool


class Appliance:
    """Launches appliances; `memory` is the file that remembers which accelerator works here.

    `credentials` are variables that no QEMU gets, beside those of `hardening`.
    `limits` are LAUNCH_LIMIT's, and `kvm` is the device that has to be usable for a trial of KVM.
    """

    def __init__(
        self,
        memory: Path,
        reporter: Reporter,
        credentials: Iterable[str],
        *,
        limits: Mapping[Accelerator, float] = LAUNCH_LIMIT,
        kvm: Path = KVM,
    ) -> None:
        self._memory = memory
        self._reporter = reporter
        self._credentials = credentials
        self._limits = limits
        self._kvm = kvm
        self._lock = threading.Lock()
        self._accelerator: Accelerator | None = None
        self._is_remembered = True

    def launch(self, drives: Sequence[Drive]) -> GuestFS:
        """A running appliance with the drives `/dev/sda`, `/dev/sdb` and so on; close it when done."""
        accelerator = self.accelerator()
        try:
            handle = self._launch(drives, accelerator)
        except MetisError as error:
            if accelerator == "tcg":
                raise
            self._reporter.note(f"{error.message}: trying without KVM")
            handle = self._launch(drives, "tcg")
            self._accelerator, self._is_remembered = "tcg", False
        # Not before: where nothing starts, KVM is not to blame.
        if not self._is_remembered:
            self._remember("tcg")
        return handle

    def accelerator(self) -> Accelerator:
        """What the next launch uses: as the operator says, as remembered, or as a trial shows."""
        with self._lock:
            if self._accelerator is None:
                self._accelerator = self._forced() or self._remembered() or self._try_kvm()
            return self._accelerator

    def _forced(self) -> Accelerator | None:
        settings = os.environ.get("LIBGUESTFS_BACKEND_SETTINGS", "").split(":")
        if "force_tcg" in settings or not os.access(self._kvm, os.R_OK | os.W_OK):
            return "tcg"
        return "kvm" if "force_kvm" in settings else None

    def _try_kvm(self) -> Accelerator:
        with self._reporter.step("trying KVM (once for this kernel and QEMU)"):
            why = _why_not_kvm(self._limits["kvm"])
        if why:
            self._reporter.note(f"KVM does not work here ({why}): the appliance runs without it")
            self._is_remembered = False
            return "tcg"
        self._remember("kvm")
        return "kvm"

    def _remembered(self) -> Accelerator | None:
        try:
            memory = json.loads(self._memory.read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(memory, dict) or memory.get("machine") != _machine():
            return None
        return "kvm" if memory.get("accelerator") == "kvm" else "tcg"

    def _remember(self, accelerator: Accelerator) -> None:
        self._is_remembered = True
        with suppress(MetisError):  # then it is tried again the next time
            durable.write(self._memory, durable.as_json({"machine": _machine(), "accelerator": accelerator}))

    def _launch(self, drives: Sequence[Drive], accelerator: Accelerator) -> GuestFS:
        forget_credentials(self._credentials)
        handle = _handle(accelerator)
        # The cache mode may be unsafe: an image counts only after it is synced and renamed.
        for drive in drives:
            handle.add_drive_opts(
                str(drive.image), format="raw", readonly=drive.read_only, cachemode="unsafe"
            )
        # A drive's name will not do to find this QEMU by: a read-only one gets an overlay in front.
        name = f"metis-{secrets.token_hex(8)}"
        handle.config("-name", name)
        limit = self._limits[accelerator]
        try:
            with _ended_after(limit, name) as ended:
                handle.launch()
        except RuntimeError as error:
            handle.close()
            why = f"no launch within {limit:g} s" if ended.is_set() else _first_line(error)
            raise MetisError(f"the libguestfs appliance did not start ({why})", _hint()) from None
        # With LIBGUESTFS_TRACE=1 an operator sees why there is no appliance; from here on the trace would
        # show what is in the files that are read.
        handle.set_trace(False)
        return handle


def _why_not_kvm(limit: float) -> str:
    """Why a launch with KVM fails, or nothing where it works; `limit` is in seconds."""
    with tempfile.TemporaryDirectory() as scratch:  # a killed launch leaves its files behind
        try:
            trial = process.run(
                [sys.executable, "-m", __name__],
                timeout=limit,
                check=False,
                extra_environment={"LIBGUESTFS_TMPDIR": scratch},
            )
        except process.ToolError:
            return f"no launch within {limit:g} s"
    return trial.last_words if trial.code != 0 else ""


def _machine() -> dict[str, str]:
    """What the trial's result holds for: the running kernel and the QEMU that would be started."""
    named = os.environ.get("LIBGUESTFS_HV") or f"qemu-system-{platform.machine()}"
    emulator = shutil.which(named) or ""
    about = Path(emulator).stat() if emulator else None
    return {
        "kernel": platform.release(),
        "qemu": f"{emulator} {about.st_size} {about.st_mtime_ns}" if about else "",
    }


def _handle(accelerator: Accelerator) -> GuestFS:
    try:
        import guestfs
    except ImportError:
        raise MetisError(
            "libguestfs's Python bindings are missing",
            "install python3-guestfs, and use an environment that sees it (venv --system-site-packages)",
        ) from None
    handle = guestfs.GuestFS(python_return_dict=True)
    handle.set_backend("direct")
    if accelerator == "tcg":
        handle.set_backend_settings(["force_tcg"])
        if platform.machine() == "x86_64":
            handle.config("-cpu", emulated.AMD64)  # of two, QEMU takes the later one, and this is the later
    return handle


@contextmanager
def _ended_after(seconds: float, name: str) -> Iterator[threading.Event]:
    """Kill the QEMU called `name` when the block takes too long; the launch in it then fails.

    It may begin when its time is over already: libguestfs makes its appliance first. What is yielded tells
    whether time was over.
    """
    ended, left = threading.Event(), threading.Event()

    def end() -> None:
        over = left.wait(seconds)
        while not over:
            ended.set()
            posix.kill_children_with(name)
            over = left.wait(_PAUSE)

    watch = threading.Thread(target=end, name="launch", daemon=True)
    watch.start()
    try:
        yield ended
    finally:
        left.set()
        watch.join()


def _first_line(error: RuntimeError) -> str:
    """What went wrong; libguestfs adds how to report it."""
    return str(error).strip().splitlines()[0].removesuffix(".")


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
    try:
        _probe()
    except RuntimeError as error:
        sys.exit(_first_line(error))
