"""What is put onto the machine that runs Metis at night, and onto nodes, read by systemd itself."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from metis_sentinel import options as of_the_sentinel
from pipeline.cli import cli
from pipeline.machine import process
from tests.support import systemd

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy/systemd"
SERVICE, SENTINEL, SERVE = "metis-nightly.service", "metis-sentinel.service", "metis-serve.service"
WORKER = "metis-worker.service"
each_service = pytest.mark.parametrize("service", [SERVICE, SENTINEL, SERVE, WORKER])


def started(service: str) -> list[str]:
    """The command that a service starts."""
    (line,) = re.findall(r"^ExecStart=(.*)$", (DEPLOY / service).read_text(), re.M)
    return str(line).split()


@each_service
def test_systemd_has_nothing_to_say_of_the_units(tmp_path: Path, service: str) -> None:
    timer = service.replace(".service", ".timer")
    units = [name for name in (service, timer) if (DEPLOY / name).exists()]
    systemd.plant(tmp_path, ())
    systemd.put(tmp_path / started(service)[0].lstrip("/"), "", 0o755)
    for name in units:
        systemd.put(tmp_path / "etc/systemd/system" / name, (DEPLOY / name).read_text())
    assert systemd.complaints(tmp_path, *units) == ""


def test_a_slip_in_a_unit_would_be_told(tmp_path: Path) -> None:
    systemd.plant(tmp_path, ())
    systemd.put(tmp_path / "etc/systemd/system" / SERVICE, (DEPLOY / SERVICE).read_text() + "Nicee=1\n")
    said = systemd.complaints(tmp_path, SERVICE)
    assert "Nicee" in said
    assert "not executable" in said


@each_service
def test_the_exposure_that_systemd_counts_is_the_one_that_we_tell(service: str) -> None:
    """Of 10; `--threshold` is ten times that, and 25 the most that is let through."""
    told = dict(re.findall(r"^\| `(\S+)` \| (\d\.\d) \|", (ROOT / "docs/systemd.md").read_text(), re.M))
    done = process.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25", DEPLOY / service], check=False
    )
    last_line = done.out.decode().splitlines()[-1]
    assert done.code == 0, last_line
    assert f": {told[service]} OK" in last_line


def calls(group: str) -> set[str]:
    """The system calls of a group as systemd has it, with those of the groups in it."""
    done = process.run(["systemd-analyze", "syscall-filter", group])
    words = [line.strip() for line in done.out.decode().splitlines() if line.startswith("    ")]
    single = {word for word in words if word[0] not in "@#"}
    return single.union(*(calls(word) for word in words if word[0] == "@"))


def test_the_sentinel_asks_the_kernel_for_nothing_that_its_unit_forbids(tmp_path: Path) -> None:
    """systemd puts @default to each list of what is allowed; what begins with ~ is taken away again."""
    granted, taken = re.findall(r"^SystemCallFilter=(~?@.*)$", (DEPLOY / SENTINEL).read_text(), re.M)
    allowed = calls(granted) - set().union(*map(calls, taken.removeprefix("~").split())) | calls("@default")
    trace = tmp_path / "trace"
    look = [sys.executable, "-m", "metis_sentinel", "--out", str(tmp_path / "history")]
    process.run(["strace", "--follow-forks", f"--output={trace}", *look], cwd=ROOT)
    asked = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.M))
    assert {"openat", "rename"} & asked
    assert asked - allowed == set()


def installing(service: str) -> list[str]:
    """The commands that stand on top of a service."""
    lines = re.findall(r"^#   (.*)$", (DEPLOY / service).read_text(), re.M)
    return [command for line in lines for command in line.split(" && ")]


@each_service
def test_whoever_installs_it_need_be_nobody_in_particular(service: str) -> None:
    commands = installing(service)
    assert commands
    assert [command for command in commands if not command.startswith("sudo ")] == []


def test_what_root_has_made_is_given_to_the_user_of_the_service() -> None:
    """The folder is another user's, who may not become root; packages are installed by root alone."""
    commands = installing(SERVICE)
    (making,) = (place for place, command in enumerate(commands) if " make " in command)
    assert commands[making + 1].startswith("sudo chown -R metis: ")


@pytest.mark.parametrize("service", [SERVICE, SERVE, WORKER])
def test_a_service_starts_a_command_that_there_is(service: str) -> None:
    program, command, *options = started(service)
    assert program.endswith("/.venv/bin/metis")
    helped = CliRunner().invoke(cli, [command, "--help"])
    assert helped.exit_code == 0
    assert {word for word in options if word.startswith("--")} <= set(re.findall(r"--[a-z]+", helped.output))


def test_the_sentinel_understands_what_it_is_started_with() -> None:
    """Without a service in the environment it keeps a history alone."""
    unit = (DEPLOY / SENTINEL).read_text()
    environment = dict(re.findall(r"^(?:Environment=)(\w+)=(.*)$", unit, re.M))
    asked = of_the_sentinel.parse(started(SENTINEL)[1:], environment)
    folder = Path("/var/lib") / re.findall(r"^StateDirectory=(.*)$", unit, re.M)[0]
    assert asked.push is None
    assert folder in asked.out.parents
    assert folder in asked.spool.parents
