"""What is put onto the machine that runs Metis at night, read by systemd itself."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from pipeline.cli import cli
from tests.support import systemd

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICE, TIMER = (f"metis-nightly.{kind}" for kind in ("service", "timer"))


def started() -> list[str]:
    """The command that the service starts."""
    (line,) = re.findall(r"^ExecStart=(.*)$", (DEPLOY / SERVICE).read_text(), re.M)
    return str(line).split()


def test_systemd_has_nothing_to_say_of_the_units(tmp_path: Path) -> None:
    systemd.plant(tmp_path, ())
    systemd.put(tmp_path / started()[0].lstrip("/"), "", 0o755)
    for name in (SERVICE, TIMER):
        systemd.put(tmp_path / "etc/systemd/system" / name, (DEPLOY / name).read_text())
    assert systemd.complaints(tmp_path, SERVICE, TIMER) == ""


def test_a_slip_in_a_unit_would_be_told(tmp_path: Path) -> None:
    systemd.plant(tmp_path, ())
    systemd.put(tmp_path / "etc/systemd/system" / SERVICE, (DEPLOY / SERVICE).read_text() + "Nicee=1\n")
    said = systemd.complaints(tmp_path, SERVICE)
    assert "Nicee" in said
    assert "not executable" in said


def test_whoever_installs_it_need_be_nobody_in_particular() -> None:
    """The folder is another user's, who may not become root; packages are installed by root alone."""
    lines = re.findall(r"^#   (.*)$", (DEPLOY / SERVICE).read_text(), re.M)
    commands = [command for line in lines for command in line.split(" && ")]
    assert commands
    assert [command for command in commands if not command.startswith("sudo ")] == []
    (making,) = (place for place, command in enumerate(commands) if " make " in command)
    assert commands[making + 1].startswith("sudo chown -R metis: ")


def test_the_service_starts_a_command_that_there_is() -> None:
    program, command, *options = started()
    assert program.endswith("/.venv/bin/metis")
    helped = CliRunner().invoke(cli, [command, "--help"])
    assert helped.exit_code == 0
    assert {word for word in options if word.startswith("--")} <= set(re.findall(r"--[a-z]+", helped.output))
