"""Nothing private is opened, by whatever path: an audit hook and strace(1) watch a whole snapshot."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metis_sentinel.private import is_private
from tests.support.hosts import ROOT, SCHEMA, add, host, link, node_json

CHILD = ROOT / "tests/support/sentinel_child.py"
SECRETS = (
    "/etc/shadow",
    "/etc/gshadow-",
    "/etc/rancher/k3s/k3s.yaml",
    "/etc/rancher/node/password",
    "/etc/ssl/private/snakeoil.pem",
    "/etc/ssh/ssh_host_ed25519_key",
    "/root/.ssh/id_ed25519",
    "/home/a/.ssh/authorized_keys",
    "/var/lib/rancher/k3s/server/token",
    "/var/lib/rancher/k3s/server/db/state.db",
    "/srv/tls.key",
)
ALIASES = ("/etc/hostname", "/etc/os-release", "/etc/group", "/run/udev/data/b8:2", "/usr/sbin/runc")
"""What a snapshot reads anyhow, each of them a secret by another name in one way or another."""
VALUE = "the secret itself"


def hostile(root: Path) -> list[str]:
    """A host whose every path leads to secrets; the paths that were made."""
    host(root, {**dict.fromkeys(ALIASES), "/proc/1/mountinfo": "29 1 8:2 / / rw - ext4 /dev/sda2 rw\n"})
    made = [*SECRETS]
    for path in SECRETS:
        add(root, path, VALUE)
    for alias, secret in zip(ALIASES[:2], SECRETS[:2], strict=True):
        Path(f"{root}{alias}").hardlink_to(f"{root}{secret}")
    link(root, "/etc/group", "rancher/k3s/k3s.yaml")
    link(root, "/usr/sbin/runc", "/var/lib/rancher/k3s/server/token")
    Path(f"{root}/run/udev/data").mkdir(parents=True)
    Path(f"{root}/run/udev/data/b8:2").hardlink_to(f"{root}/etc/rancher/k3s/k3s.yaml")
    for number, secret in enumerate(SECRETS):
        link(root, f"/mnt/link{number}", secret)
        link(root, f"/mnt/folder{number}", os.path.dirname(secret))  # noqa: PTH120 - of a host's path
        Path(f"{root}/mnt/hard{number}").hardlink_to(f"{root}{secret}")
        name = secret.rpartition("/")[2]
        made += [f"/mnt/link{number}", f"/mnt/hard{number}", f"/mnt/folder{number}/{name}"]
    add(root, "/etc/metis/node.json", node_json({path: {"sha256": "0" * 64} for path in (*made, *ALIASES)}))
    return made


def _folders(root: Path) -> list[Path]:
    names = ("etc/rancher", "var/lib/rancher/k3s/server", "etc/ssl/private", "root/.ssh", "home/a/.ssh")
    return [root / name for name in names]


def command(root: Path) -> list[str]:
    """Without what this machine has every Python do first (site)."""
    return [sys.executable, "-I", "-S", str(CHILD), str(root), str(ROOT)]


def run(*words: str) -> Any:
    return json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)


def check(did: Any, root: Path) -> None:
    SCHEMA.validate(did["snapshot"])
    assert VALUE not in json.dumps(did["snapshot"])
    private = [root / path[1:] for path in SECRETS]
    private += [inside for folder in _folders(root) for inside in (folder, *folder.rglob("*"))]
    identities = {(path.stat().st_dev, path.stat().st_ino) for path in private}
    assert not identities & set(map(tuple, did["opened"]))
    assert not {path.name for path in private if path.is_file()} & {
        Path(asked).name for asked in did["asked"]
    }
    assert did["started"] == []


def test_an_audit_hook_sees_nothing_private_opened(tmp_path: Path) -> None:
    made = hostile(tmp_path)
    did = run(*command(tmp_path))
    check(did, tmp_path)
    states = {path: did["snapshot"]["files"][path]["state"] for path in made}
    assert set(states.values()) == {"unread", "other"}
    assert {path for path, state in states.items() if state == "other"} == {
        path for path in made if path.startswith("/mnt/link")
    }
    assert len(did["opened"]) > 50
    assert str(tmp_path) in did["asked"]


def test_the_hook_sees_what_is_opened(tmp_path: Path) -> None:
    hostile(tmp_path)
    did = run(*command(tmp_path))
    about = (tmp_path / "etc/machine-id").stat()
    assert [about.st_dev, about.st_ino] in did["opened"]
    assert "machine-id" in did["asked"]


def watched(root: Path, log: Path) -> str:
    """What strace(1) saw of a snapshot: files that were opened, with where they really are, and programs."""
    traced = "trace=open,openat,openat2,execve,execveat,fork,vfork"
    run("strace", "-f", "-y", "-o", str(log), "-e", traced, *command(root))
    return log.read_text()


def opened_in(seen: str) -> set[str]:
    return set(re.findall(r"= \d+<([^>]*)>", seen))


def test_strace_sees_nothing_private_opened_and_nothing_started(tmp_path: Path) -> None:
    made = hostile(tmp_path)
    seen = watched(tmp_path, tmp_path / "strace")
    opened = opened_in(seen)
    assert f"{tmp_path}/etc/metis/node.json" in opened
    assert not [path for path in opened if path.startswith(tuple(map(str, _folders(tmp_path))))]
    assert not opened & {f"{tmp_path}{path}" for path in made}
    tries = {name.rpartition("/")[2] for name in re.findall(r'open(?:at2?)?\((?:[^"]*, )?"([^"]*)"', seen)}
    assert "node.json" in tries
    assert not tries & {path.rpartition("/")[2] for path in (*SECRETS, *made)}
    assert seen.count("exec") == 1
    assert "fork(" not in seen


def test_on_this_machine_nothing_private_is_opened(tmp_path: Path) -> None:
    seen = watched(Path("/"), tmp_path / "strace")
    opened = opened_in(seen)
    assert "/etc/machine-id" in opened
    assert not [path for path in opened if is_private(path)]
    assert seen.count("exec") == 1


BINDS = {
    "a file": ("/etc/shadow", "/etc/machine-id", ""),
    "a folder": ("/etc/rancher", "/mnt/bind", "/k3s/k3s.yaml"),
    "a folder in it": ("/etc/rancher/k3s", "/mnt/bind", "/k3s.yaml"),
    "a file in it": ("/var/lib/rancher/k3s/server/db/state.db", "/mnt/bind.db", ""),
}


@pytest.mark.parametrize(("secret", "at", "inside"), BINDS.values(), ids=BINDS)
def test_what_is_mounted_elsewhere_stays_private(tmp_path: Path, secret: str, at: str, inside: str) -> None:
    hostile(tmp_path)
    point, source = Path(f"{tmp_path}{at}"), Path(f"{tmp_path}{secret}")
    if source.is_dir():
        point.mkdir(parents=True)
    elif not point.exists():
        add(tmp_path, at, "")
    about = {f"{at}{inside}": {"sha256": "0" * 64}}
    add(tmp_path, "/etc/metis/node.json", node_json(about))
    table = f"29 1 8:2 / / rw - ext4 /dev/sda2 rw\n30 29 8:2 {secret} {at} rw - ext4 /dev/sda2 rw\n"
    add(tmp_path, "/proc/1/mountinfo", table)
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]
    shell = shell if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", *shell[1:]]
    did = run(*shell, str(source), str(point), *command(tmp_path))
    check(did, tmp_path)
    assert did["snapshot"]["files"][f"{at}{inside}"]["state"] == "unread"
