"""First starts that would make the node another one, as systemctl and a shell see them on the card."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.edits.table import apply
from pipeline.machine import process
from pipeline.model import Edit, Entry, Remove, Symlink
from pipeline.render.concerns import CONCERNS
from tests.support.rendering import FOLDER, node_of_case, program

UNITS = {
    "armbian-firstrun.service": "multi-user.target",
    "armbian-ramlog.service": "sysinit.target",
    "armbian-resize-filesystem.service": "basic.target",
    "getty@.service": "getty.target",
    "NetworkManager-wait-online.service": "network-online.target",
    "NetworkManager.service": "multi-user.target",
    "regenerate_ssh_host_keys.service": "multi-user.target",
    "rpi-resize.service": "sysinit.target",
    "ssh.service": "multi-user.target",
    "sshswitch.service": "multi-user.target",
    "systemd-networkd-wait-online.service": "network-online.target",
    "systemd-networkd.service": "multi-user.target",
    "userconfig.service": "multi-user.target",
}
"""Units as the packages of the systems bring them."""
OFF_IN_IMAGES = {"ssh.service", "getty@.service", "NetworkManager-wait-online.service"}


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """The root of an image with all of these units, enabled unless an image has them disabled."""
    shipped = tmp_path / "usr/lib/systemd/system"
    shipped.mkdir(parents=True)
    for unit, target in UNITS.items():
        shipped.joinpath(unit).write_text(f"[Service]\nExecStart=/bin/true\n[Install]\nWantedBy={target}\n")
        if unit not in OFF_IN_IMAGES:
            process.run([program("systemctl", "systemd"), f"--root={tmp_path}", "enable", unit])
    return tmp_path


def put(entries: tuple[Entry, ...], root: Path) -> None:
    """Put links in, and take away what is to be removed."""
    for entry in entries:
        path = root / entry.path.removeprefix("/")
        if isinstance(entry, Remove | Symlink) and entry.side == "root":
            path.unlink(missing_ok=True)
        if isinstance(entry, Symlink):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(entry.target)


def states(root: Path) -> dict[str, str]:
    """What systemctl says of each unit."""
    instances = [unit.replace("@.", "@tty1.") for unit in UNITS]
    argv = [program("systemctl", "systemd"), f"--root={root}", "is-enabled", *instances]
    said = process.run(argv, check=False).out.decode().split()
    return dict(zip(UNITS, said, strict=True))


def test_raspberry_pi_os_makes_no_keys_asks_for_no_user_and_opens_its_doors(golden: Path) -> None:
    put(CONCERNS["quirks"].render(node_of_case(FOLDER / "quirks/raspios")), golden)
    found = states(golden)
    masked = ("regenerate_ssh_host_keys", "rpi-resize", "sshswitch", "userconfig")
    assert [found[f"{name}.service"] for name in masked] == ["masked"] * 4
    assert found["ssh.service"] == found["getty@.service"] == "enabled"


def test_armbian_makes_no_keys_grows_nothing_and_keeps_its_logs_on_disk(golden: Path) -> None:
    put(CONCERNS["quirks"].render(node_of_case(FOLDER / "quirks/armbian")), golden)
    found = states(golden)
    names = ("armbian-firstrun", "armbian-ramlog", "armbian-resize-filesystem")
    assert [found[f"{name}.service"] for name in names] == ["disabled"] * 3


@pytest.mark.parametrize(
    ("case", "manager", "other"),
    [("static", "systemd-networkd", "NetworkManager"), ("raspios", "NetworkManager", "systemd-networkd")],
)
def test_what_has_the_interfaces_is_enabled_and_waited_for(
    golden: Path, case: str, manager: str, other: str
) -> None:
    put(CONCERNS["network"].render(node_of_case(FOLDER / "network" / case)), golden)
    found = states(golden)
    assert found[f"{manager}.service"] == found[f"{manager}-wait-online.service"] == "enabled"
    assert found[f"{other}-wait-online.service"] == "disabled"


# --------------------------------------------------------------------------------------- assignments

NEW = {"ENABLED": "false", "SIZE": "50M"}
EXAMPLES = {
    "the value changes in its place": ("# a\nENABLED=true\nSIZE=5\n#\n", "# a\nENABLED=false\nSIZE=50M\n#\n"),
    "what is missing comes at the end": ("A=1\n", "A=1\nENABLED=false\nSIZE=50M\n"),
    "a file that is not there": ("", "ENABLED=false\nSIZE=50M\n"),
    "a second value would win": ("SIZE=1\nENABLED=true\nSIZE=2\n", "SIZE=50M\nENABLED=false\n"),
    "spaces and export": (" ENABLED=true\nexport SIZE=1", "ENABLED=false\nSIZE=50M\n"),
    "what only looks alike": (
        "#ENABLED=true\nNOT_ENABLED=1\nENABLED\n",
        "#ENABLED=true\nNOT_ENABLED=1\nENABLED\nENABLED=false\nSIZE=50M\n",
    ),
}


@pytest.mark.parametrize(("old", "new"), EXAMPLES.values(), ids=EXAMPLES.keys())
def test_an_assignment_stands_once_with_its_value(old: str, new: str) -> None:
    assert apply("assignments", old.encode(), NEW, "/etc/default/x").decode() == new


lines = st.lists(
    st.sampled_from(["ENABLED=true", "export SIZE=1", " SIZE = 2", "#SIZE=3", "", "A=ENABLED=", "\r"])
)


@given(lines, st.sampled_from(["", "\n"]))
def test_assigning_twice_is_assigning_once_and_other_lines_stay(old: list[str], end: str) -> None:
    once = apply("assignments", ("\n".join(old) + end).encode(), NEW, "/etc/default/x")
    assert apply("assignments", once, NEW, "/etc/default/x") == once
    kept = [line for line in old if line in {"#SIZE=3", "A=ENABLED=", "\r"}]
    assert [line for line in once.decode().split("\n") if line in kept] == kept


@settings(max_examples=20)
@given(lines)
def test_a_shell_reads_the_new_values(old: list[str]) -> None:
    text = apply("assignments", "\n".join(old).encode(), NEW, "/etc/default/x")
    said = process.run(["/bin/sh"], stdin=text + b'printf "%s %s" "$ENABLED" "$SIZE"')
    assert said.out == b"false 50M"


def test_the_settings_of_armbian_say_that_keys_stay_and_logs_are_on_disk() -> None:
    entries = CONCERNS["quirks"].render(node_of_case(FOLDER / "quirks/armbian"))
    edits = {entry.path: entry for entry in entries if isinstance(entry, Edit)}
    made = {
        path: apply(edit.edit, b"ENABLED=true\nSIZE=50M\n", dict(edit.arguments), path)  # type: ignore[arg-type]
        for path, edit in edits.items()
    }
    assert made == {
        "/etc/default/armbian-ramlog": b"ENABLED=false\nSIZE=50M\n",
        "/etc/default/armbian-firstrun": b"ENABLED=true\nSIZE=50M\nOPENSSHD_REGENERATE_HOST_KEYS=false\n",
    }
    assert [edit.optional for edit in edits.values()] == [False, True]
