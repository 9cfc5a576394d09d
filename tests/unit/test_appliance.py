"""How the appliance's accelerator is chosen, remembered and given up."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import signal
import sys
from pathlib import Path

import pytest

from pipeline.errors import MetisError
from pipeline.inject import appliance
from pipeline.inject.appliance import LAUNCH_LIMIT, Accelerator, Appliance, Drive
from pipeline.machine import process
from pipeline.machine.progress import QuietReporter
from tests.support.waiting import PATIENCE

LIMITS: dict[Accelerator, float] = {"kvm": 2, "tcg": 300}


@pytest.fixture
def kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device that looks usable, whatever this machine has."""
    monkeypatch.delenv("LIBGUESTFS_BACKEND_SETTINGS", raising=False)
    device = tmp_path / "kvm"
    device.touch()
    return device


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What would be started as QEMU; here only what is remembered of it counts."""
    program = tmp_path / "qemu"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("LIBGUESTFS_HV", str(program))
    return program


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


def make(tmp_path: Path, said: io.StringIO, kvm: Path) -> Appliance:
    return Appliance(
        tmp_path / "memory.json", QuietReporter(said), ("ANOTHER_TOKEN",), limits=LIMITS, kvm=kvm
    )


def remember(tmp_path: Path, accelerator: str) -> None:
    memory = {"machine": appliance._machine(), "accelerator": accelerator}
    (tmp_path / "memory.json").write_text(json.dumps(memory))


@pytest.mark.parametrize(
    ("settings", "chosen"), [("force_tcg", "tcg"), ("x:force_tcg", "tcg"), ("force_kvm", "kvm")]
)
def test_the_operator_decides(
    settings: str,
    chosen: str,
    tmp_path: Path,
    kvm: Path,
    said: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIBGUESTFS_BACKEND_SETTINGS", settings)
    assert make(tmp_path, said, kvm).accelerator() == chosen
    assert not (tmp_path / "memory.json").exists()


def test_without_the_device_there_is_nothing_to_try(tmp_path: Path, said: io.StringIO) -> None:
    assert make(tmp_path, said, tmp_path / "nothing").accelerator() == "tcg"
    assert said.getvalue() == ""


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("found", ["kvm", "tcg"])
def test_what_is_remembered_holds(found: str, tmp_path: Path, kvm: Path, said: io.StringIO) -> None:
    remember(tmp_path, found)
    assert make(tmp_path, said, kvm).accelerator() == found


@pytest.mark.parametrize("changed", ["kernel", "emulator", "file"])
def test_another_kernel_or_emulator_is_tried_anew(
    changed: str,
    tmp_path: Path,
    kvm: Path,
    emulator: Path,
    said: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remember(tmp_path, "tcg")
    monkeypatch.setattr(appliance, "_why_not_kvm", lambda _limit: "")
    if changed == "kernel":
        monkeypatch.setattr("platform.release", lambda: "7.0")
    elif changed == "emulator":
        emulator.write_text("#!/bin/sh\nexit 0\n")
    else:
        (tmp_path / "memory.json").write_text("[broken")
    assert make(tmp_path, said, kvm).accelerator() == "kvm"
    monkeypatch.undo()
    assert json.loads((tmp_path / "memory.json").read_text())["accelerator"] == "kvm"


@pytest.mark.usefixtures("emulator")
def test_a_failed_trial_is_not_remembered_before_something_else_works(
    tmp_path: Path, kvm: Path, said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appliance, "_why_not_kvm", lambda _limit: "the kernels in /boot cannot be read")
    assert make(tmp_path, said, kvm).accelerator() == "tcg"
    assert "KVM does not work here (the kernels in /boot cannot be read): the app" in said.getvalue()
    assert not (tmp_path / "memory.json").exists()


@pytest.mark.usefixtures("emulator")
def test_a_memory_that_cannot_be_kept_is_no_error(
    tmp_path: Path, kvm: Path, said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appliance, "_why_not_kvm", lambda _limit: "")
    (tmp_path / "memory.json").mkdir()
    assert make(tmp_path, said, kvm).accelerator() == "kvm"


HANGS = """#!{python}
import os, sys, time
if "-kernel" in sys.argv and not any("accel=tcg" in word for word in sys.argv):
    time.sleep(600)
os.execv({real!r}, [{real!r}, *sys.argv[1:]])
"""


@pytest.fixture
def hangs_with_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A QEMU that hangs with KVM as on a broken one: it is there, and nothing comes of it."""
    pytest.importorskip("guestfs")
    real = shutil.which(f"qemu-system-{platform.machine()}")
    if real is None:
        pytest.skip("there is no QEMU")
    program = tmp_path / "qemu-that-hangs"
    program.write_text(HANGS.format(python=sys.executable, real=real))
    program.chmod(0o755)
    monkeypatch.setenv("LIBGUESTFS_HV", str(program))
    return program


@pytest.mark.slow
def test_a_trial_that_hangs_is_ended(
    tmp_path: Path, kvm: Path, hangs_with_kvm: Path, said: io.StringIO
) -> None:
    assert make(tmp_path, said, kvm).accelerator() == "tcg"
    assert "KVM does not work here (no launch within 2 s): the appliance runs without it" in said.getvalue()
    assert running(hangs_with_kvm) == []


@pytest.mark.slow
def test_a_launch_that_hangs_goes_on_without_kvm(
    tmp_path: Path, kvm: Path, hangs_with_kvm: Path, said: io.StringIO, tiny_golden: Path
) -> None:
    remember(tmp_path, "kvm")
    handle = make(tmp_path, said, kvm).launch([Drive(tiny_golden, read_only=True)])
    assert handle.list_devices() == ["/dev/sda"]
    handle.close()
    assert "did not start (no launch within 2 s)" in said.getvalue()
    assert json.loads((tmp_path / "memory.json").read_text())["accelerator"] == "tcg"
    assert running(hangs_with_kvm) == []


def test_an_emulator_that_begins_when_its_time_is_over_is_ended_too() -> None:
    """Before it, libguestfs may make its appliance, which takes long on a busy machine."""
    with appliance._ended_after(0.01, "metis-late") as ended:
        assert ended.wait(PATIENCE)
        late = [sys.executable, "-c", "import time; time.sleep(600)", "metis-late"]
        said = process.run(late, check=False, timeout=60)
    assert said.code == -signal.SIGKILL


@pytest.mark.slow
def test_an_emulator_that_dies_is_one_line(
    tmp_path: Path, said: io.StringIO, tiny_golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("guestfs")
    monkeypatch.setenv("LIBGUESTFS_HV", "/bin/false")
    with pytest.raises(MetisError, match="the libguestfs appliance did not start"):
        make(tmp_path, said, tmp_path / "nothing").launch([Drive(tiny_golden, read_only=True)])


@pytest.mark.slow
def test_why_kvm_does_not_work_is_what_libguestfs_says_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after that is advice on how to report a fault of libguestfs."""
    pytest.importorskip("guestfs")
    monkeypatch.setenv("LIBGUESTFS_HV", "/bin/false")
    with pytest.raises(RuntimeError) as said:
        appliance._probe()
    assert appliance._why_not_kvm(LAUNCH_LIMIT["kvm"]) == appliance._first_line(said.value)


@pytest.mark.slow
def test_an_emulator_is_not_given_what_logs_in_somewhere(
    tmp_path: Path, said: io.StringIO, tiny_golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libguestfs starts it, and with all of our environment."""
    pytest.importorskip("guestfs")
    program = tmp_path / "qemu"
    program.write_text(f"#!/bin/sh\nenv >>{tmp_path}/given\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("LIBGUESTFS_HV", str(program))
    monkeypatch.setenv("VAULT_ADDR", "https://vault.example")
    for name in ("VAULT_TOKEN", "VAULT_SECRET_ID", "METIS_REGISTRY_PASSWORD", "ANOTHER_TOKEN"):
        monkeypatch.setenv(name, "hunter2")
    with pytest.raises(MetisError, match="the libguestfs appliance did not start"):
        make(tmp_path, said, tmp_path / "nothing").launch([Drive(tiny_golden, read_only=True)])
    given = (tmp_path / "given").read_text()
    assert "VAULT_ADDR=https://vault.example" in given
    assert "hunter2" not in given


def running(program: Path) -> list[str]:
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes()
        except OSError:
            continue
        if str(program).encode() in words and int(each.parent.name) != os.getpid():
            found.append(words.decode(errors="replace"))
    return found
