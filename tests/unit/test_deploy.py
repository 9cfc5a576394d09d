"""What is put onto the machine that runs Metis at night, and onto nodes, read by systemd itself."""

from __future__ import annotations

import json
import re
import shlex
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from click.testing import CliRunner

from metis_sentinel import options as of_the_sentinel
from pipeline.cli import cli
from pipeline.machine import process
from tests.support import systemd
from tests.support.documented import Command, steps

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy/systemd"
PAGE = (ROOT / "docs/systemd.md").read_text("utf-8")
SERVICE, SENTINEL, SERVE = "metis-nightly.service", "metis-sentinel.service", "metis-serve.service"
WORKER = "metis-worker.service"
each_service = pytest.mark.parametrize("service", [SERVICE, SENTINEL, SERVE, WORKER])
each_builder = pytest.mark.parametrize("service", [SERVICE, SERVE, WORKER])
DEBIAN = "metis-debian.conf"
DRIVERS = {"sd": "sd_mod", "mmc": "mmc_block"}
"""The kernel's modules that bring kinds of disks into /proc/devices."""
FORBIDDING = frozenset(
    "LockPersonality MemoryDenyWriteExecute NoNewPrivileges PrivateDevices ProtectClock ProtectHostname "
    "ProtectKernelLogs ProtectKernelModules ProtectKernelTunables ProtectProc RestrictAddressFamilies "
    "RestrictNamespaces RestrictRealtime RestrictSUIDSGID SystemCallArchitectures SystemCallFilter".split()
)
"""What keeps set-uid programs from becoming root (systemd.exec(5), NoNewPrivileges=), or blind."""


def values(service: str, setting: str) -> list[str]:
    """The words of all lines of a setting."""
    lines = re.findall(rf"^{setting}=(.*)$", (DEPLOY / service).read_text(), re.M)
    return [word for line in lines for word in line.split()]


def started(service: str) -> list[str]:
    """The command that a service starts."""
    return values(service, "ExecStart")


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


def exposed(root: Path, service: str, drop_in: str = "", *options: str) -> str:
    """What systemd says of how far a service is shut in; `drop_in` is a file that changes it."""
    systemd.put(root / "etc/systemd/system" / service, (DEPLOY / service).read_text())
    if drop_in:
        systemd.put(root / f"etc/systemd/system/{service}.d" / drop_in, (DEPLOY / drop_in).read_text())
    done = process.run(
        ["systemd-analyze", "security", "--offline=true", f"--root={root}", *options, service], check=False
    )
    return done.out.decode()


def told(*, column: int) -> dict[str, str]:
    """What the page has of each unit in a column of its table of exposures."""
    rows = re.findall(r"^\| `(\S+)` \| (\d\.\d) \| (\S+) \|", PAGE, re.M)
    return {row[0]: row[column] for row in rows}


@each_service
def test_the_exposure_that_systemd_counts_is_the_one_that_we_tell(tmp_path: Path, service: str) -> None:
    """Of 10; what is below 2.5 it calls well."""
    last_line = exposed(tmp_path, service).splitlines()[-1]
    assert f": {told(column=1)[service]} OK" in last_line
    assert float(told(column=1)[service]) < 2.5


@each_builder
def test_what_goldens_of_debian_cost_is_told(tmp_path: Path, service: str) -> None:
    last_line = exposed(tmp_path, service, DEBIAN).splitlines()[-1]
    assert f": {told(column=2)[service]} MEDIUM" in last_line


@each_builder
def test_for_goldens_of_debian_nothing_is_left_that_forbids_newuidmap(tmp_path: Path, service: str) -> None:
    found = json.loads(exposed(tmp_path, service, DEBIAN, "--json=short"))
    held = {each["name"].partition("=")[0] for each in found if each["set"]}
    assert {"ProtectSystem", "ProtectHome"} <= held
    assert held & FORBIDDING == set()


@each_builder
def test_drivers_of_the_kinds_of_disks_that_a_service_may_open_are_loaded_first(service: str) -> None:
    """systemd.resource-control(5), DeviceAllow=: a kind that is not known at the start is left out."""
    kinds = [
        word.removeprefix("block-") for word in values(service, "DeviceAllow") if word.startswith("block-")
    ]
    wanted = {f"modprobe@{DRIVERS[kind]}.service" for kind in kinds}
    assert wanted <= set(values(service, "Wants"))
    assert wanted <= set(values(service, "After"))


FOLDERS = """
import guestfs, tempfile
asked = guestfs.GuestFS(python_return_dict=True)
print(tempfile.gettempdir(), asked.get_tmpdir(), asked.get_cachedir(), asked.get_sockdir(), sep="\\n")
"""


def test_what_goes_on_when_its_service_has_ended_uses_nothing_that_ended_with_it(tmp_path: Path) -> None:
    """systemd.exec(5): PrivateTmp= takes /tmp and /var/tmp away, RuntimeDirectory= what is not preserved."""
    assert values(SERVE, "KillMode") == ["process"]
    lasting = {"/var/cache": values(SERVE, "CacheDirectory")}
    if values(SERVE, "RuntimeDirectoryPreserve") == ["yes"]:
        lasting["/run"] = values(SERVE, "RuntimeDirectory")
    for place, names in lasting.items():
        for name in names:
            (tmp_path / place[1:] / name).mkdir(parents=True)
    named = dict(word.split("=", 1) for word in values(SERVE, "Environment"))
    ours = {name: f"{tmp_path}{value}" for name, value in named.items() if name in process.ALLOWED}
    # To root libguestfs gives other folders.
    asking = ["unshare", "--map-user=1000", "/usr/bin/python3", "-c", FOLDERS]
    said = process.run(asking, extra_environment=ours).out.decode().splitlines()
    assert len(said) == 4
    assert [folder for folder in said if not folder.startswith(f"{tmp_path}/")] == []


def test_users_of_a_namespace_may_enter_where_goldens_of_debian_are_made() -> None:
    assert values(SERVE, "CacheDirectoryMode") in ([], ["0755"])


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


def installing() -> list[str]:
    """The commands of the page, those on nodes as they are there."""
    lines = [step.text.partition(" #")[0].strip() for step in steps(PAGE) if isinstance(step, Command)]
    return [command for line in lines for command in line.removeprefix("ssh titan-13 ").split(" && ")]


def test_whoever_installs_it_need_be_nobody_in_particular() -> None:
    """But root for what changes the machine."""
    others = ("make sentinel", "scp ", "udevadm info ", "openssl rand ")
    assert [each for each in installing() if not each.startswith(("sudo ", *others))] == []


def test_what_root_has_made_is_given_to_the_user_of_the_service() -> None:
    """The folder is another user's, who may not become root; packages are installed by root alone."""
    commands = installing()
    (making,) = (place for place, command in enumerate(commands) if " make " in command)
    assert commands[making + 1].startswith("sudo chown -R metis: ")


def test_the_user_of_the_services_has_ids_for_a_namespace() -> None:
    """useradd(8) gives a user of the system none by itself, and mmdebstrap(1) wants some."""
    (making,) = (shlex.split(command) for command in installing() if " useradd " in command)
    assert "--add-subids-for-system" in making
    assert making[-1] == "metis"


def installed() -> dict[str, str]:
    """What root puts where, with the mode where one is said."""
    found = {}
    for words in map(shlex.split, installing()):
        if words[:2] in (["sudo", "install"], ["sudo", "cp"]):
            mode = words[words.index("-m") + 1] if "-m" in words else ""
            for name in words[2:-1]:
                place = words[-1]
                found[place + Path(name).name if place.endswith("/") else place] = mode
    return found


@pytest.mark.parametrize("name", sorted(file.name for file in DEPLOY.iterdir()))
def test_each_file_is_installed(name: str) -> None:
    places = ("/etc/systemd/system/", "/etc/udev/rules.d/", f"/etc/systemd/system/{SERVICE}.d/")
    assert any(fnmatch(f"{place}{name}", pattern) for place in places for pattern in installed())


@pytest.mark.parametrize("unit", [SERVE, WORKER, "metis-nightly.timer", "metis-sentinel.timer"])
def test_each_unit_is_started_now_and_with_the_machine(unit: str) -> None:
    assert f"sudo systemctl enable --now {unit}" in installing()
    assert "[Install]" in (DEPLOY / unit).read_text()


@each_service
def test_what_a_unit_reads_is_made_and_is_root_s_alone(service: str) -> None:
    wanted = [word.removeprefix("-") for word in values(service, "EnvironmentFile")]
    wanted += [word for word in started(service) if word.startswith("/etc/")]
    assert wanted
    assert {file: installed().get(file) for file in wanted} == dict.fromkeys(wanted, "0600")


@each_builder
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
