"""`metis adopt` as an operator runs it: what the old node had is on its next card, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.machine import process
from pipeline.raw import disk
from pipeline.secrets.plain import plain_folder
from tests.support import blocks, goldens, ports
from tests.support.injectors import SEARCHING
from tests.support.lab import QUICK_INJECTOR, Lab, Report, class_text
from tests.support.rendering import program
from tests.support.vault import vault_server

TOKEN = f"K10{'ab' * 32}::node:hunter2token"
NODE = """\
class: plain
network: {dhcp: true}
k3s: {role: agent, server: 'https://192.0.2.10:6443'}
"""
ID, PASSWORD, IQN = "5ec2e7" * 5 + "aa", "hunter2" * 4, "iqn.1993-08.org.debian:01:5ec2e75ec2e7"
KINDS = {"ed25519": [], "ecdsa": ["-m", "PEM"], "rsa": ["-m", "PEM", "-b", "2048"]}
"""Host keys as an sshd before OpenSSH 7.8 made them, and one as it is made now."""
NAMES = {
    "extra.machine_id",
    "extra.node_password",
    "extra.iscsi_initiator",
    *(f"extra.ssh_host_{kind}_key" for kind in KINDS),
}


@pytest.fixture(scope="module")
def old_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the old node has, by path."""
    folder = tmp_path_factory.mktemp("keys")
    files = {
        "/etc/machine-id": f"{ID}\n".encode(),
        "/etc/rancher/node/password": f"{PASSWORD}\n".encode(),
        "/etc/iscsi/initiatorname.iscsi": f"InitiatorName={IQN}\n".encode(),
    }
    for kind, options in KINDS.items():
        key = folder / kind
        words = ["-q", "-t", kind, "-N", "", "-C", "root@old", "-f", str(key), *options]
        process.run([program("ssh-keygen", "openssh-client"), *words])
        files[f"/etc/ssh/ssh_host_{kind}_key"] = key.read_bytes()
        files[f"/etc/ssh/ssh_host_{kind}_key.pub"] = Path(f"{key}.pub").read_bytes()
    return files


def make_lab(root: Path, golden: Path) -> Lab:
    """alpha is to be adopted; beta is another node."""
    lab = Lab(root, {"METIS_INJECTOR": QUICK_INJECTOR, "METIS_CACHE": str(root / "cache")})
    lab.write("classes/plain.yaml", class_text(golden, goldens.sha256(golden)))
    for node in ("alpha", "beta"):
        lab.write(f"nodes/{node}.yaml", NODE)
        lab.write_secrets(node, f"k3s_token: {TOKEN}\n")
    return lab


@pytest.fixture
def lab(tmp_path: Path, tiny_golden: Path) -> Lab:
    return make_lab(tmp_path / "lab", tiny_golden)


@pytest.fixture
def old_root(tmp_path: Path, old_files: Mapping[str, bytes]) -> Path:
    """The old node's root, mounted somewhere."""
    return planted(tmp_path / "old", old_files)


def planted(root: Path, files: Mapping[str, bytes]) -> Path:
    for path, content in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(content)
    return root


def adopt(lab: Lab, source: object, *words: str, **extra: str) -> Report:
    return lab.metis("adopt", "--node", "alpha", "--from", str(source), *words, **extra)


def states(report: Report) -> dict[str, str]:
    """What a report in JSON says of each item."""
    return {item["item"]: item["state"] for item in json.loads(report.out)["items"]}


def kept(lab: Lab, node: str = "alpha") -> dict[str, str]:
    return {name: value.reveal() for name, value in plain_folder(lab.secrets).read(node).values.items()}


def says_no_secret(*reports: Report) -> None:
    said = "".join(report.out + report.err for report in reports)
    assert not [value for value in (ID, PASSWORD, IQN, TOKEN, "BEGIN ") if value in said]


def in_image(image: Path, path: str) -> bytes:
    root = max(disk.read(image).partitions, key=lambda part: part.size)
    return process.run(["debugfs", "-R", f"cat {path}", f"{image}?offset={root.start}"]).out


def identity_in(image: Path, old: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of an image that `old` has too; a public half without its comment, which is no part of it."""
    found = {path: in_image(image, path) for path in old}
    return {path: plain(path, content) for path, content in found.items()}


def plain(path: str, content: bytes) -> bytes:
    return b" ".join(content.split()[:2]) if path.endswith(".pub") else content


def is_the_old_one(image: Path, old: Mapping[str, bytes]) -> None:
    assert identity_in(image, old) == {path: plain(path, content) for path, content in old.items()}


# --------------------------------------------------------------------------------------- a folder


def test_the_next_card_carries_what_the_old_root_had(
    lab: Lab, old_root: Path, old_files: Mapping[str, bytes]
) -> None:
    first = adopt(lab, old_root, "--json")
    assert first.code == 0, first
    assert states(first) == dict.fromkeys(NAMES, "stored")
    assert kept(lab)["k3s_token"] == TOKEN
    second = adopt(lab, old_root)
    assert second.code == 0, second
    assert second.out.count("kept already") == len(NAMES)
    built = lab.metis("image", "--node", "alpha")
    assert built.code == 0, built
    is_the_old_one(lab.artifacts / "alpha.img", old_files)
    says_no_secret(first, second, built)


def test_what_is_kept_and_differs_is_replaced_on_demand_alone(lab: Lab, old_root: Path) -> None:
    file = lab.write_secrets("alpha", f"k3s_token: {TOKEN}\nextra: {{machine_id: {'0f' * 16}}}\n")
    before = file.read_bytes()
    refused = adopt(lab, old_root, "--debug")
    assert "Traceback" in refused.err
    assert refused.code == 3
    assert "another extra.machine_id for alpha; nothing was stored: say --replace if" in refused.err
    assert file.read_bytes() == before
    replaced = adopt(lab, old_root, "--replace", "--json")
    assert replaced.code == 0, replaced
    assert states(replaced) == {**dict.fromkeys(NAMES, "stored"), "extra.machine_id": "replaced"}
    assert kept(lab)["extra.machine_id"] == ID
    says_no_secret(refused, replaced)


def test_an_adopted_identity_is_one_node_s_alone(lab: Lab, old_root: Path) -> None:
    assert adopt(lab, old_root).code == 0
    before = kept(lab, "beta")
    report = lab.metis("adopt", "--node", "beta", "--from", str(old_root), "--replace")
    assert report.code == 2
    assert "extra.machine_id of beta is that of alpha too: nothing was stored" in report.err
    assert kept(lab, "beta") == before
    says_no_secret(report)


def test_another_node_s_card_is_noticed_by_its_host_name(lab: Lab, old_root: Path) -> None:
    planted(old_root, {"/etc/hostname": b"beta\n"})
    refused = adopt(lab, old_root, "--replace")
    assert refused.code == 3
    assert "has the host name of beta; nothing was stored: say --node beta, or --renamed" in refused.err
    assert kept(lab).keys() == {"k3s_token"}
    taken = adopt(lab, old_root, "--renamed")
    assert taken.code == 0, taken.err
    assert "its /etc/hostname is that of beta" in taken.out
    assert kept(lab).keys() >= NAMES


def test_links_of_a_hostile_root_give_nothing_of_the_host(lab: Lab, tmp_path: Path) -> None:
    root = tmp_path / "old"
    (root / "etc").mkdir(parents=True)
    (root / "etc/ssh").symlink_to("/etc/ssh")
    (root / "etc/machine-id").symlink_to("/etc/machine-id")
    before = kept(lab)
    report = adopt(lab, root)
    assert report.code == 5, report
    assert len(report.err.splitlines()) == 1
    (root / "etc/machine-id").unlink()
    (root / "etc/machine-id").symlink_to("../../../../../../../../etc/hostname")
    (root / "etc/ssh").unlink()
    (root / "etc/ssh").symlink_to(f"{'../' * 20}etc/ssh")
    assert adopt(lab, root).code == 5
    assert kept(lab) == before


def test_what_is_wrong_is_one_line_and_stores_nothing(lab: Lab, old_root: Path, tmp_path: Path) -> None:
    before = kept(lab)
    public = old_root / "etc/ssh/ssh_host_rsa_key.pub"
    good = public.read_bytes()
    public.write_bytes((old_root / "etc/ssh/ssh_host_ecdsa_key.pub").read_bytes())
    mismatch = adopt(lab, old_root)
    public.write_bytes(good)
    (old_root / "etc/machine-id").write_text("hunter2\n")
    malformed = adopt(lab, old_root)
    empty = tmp_path / "empty"
    empty.mkdir()
    packed = tmp_path / "card.img.xz"
    packed.write_bytes(b"\xfd7zXZ\0" + bytes(100))
    zeros = tmp_path / "zeros.img"
    zeros.write_bytes(bytes(1 << 20))
    reports = {
        4: [mismatch],
        2: [
            malformed,
            adopt(lab, packed),
            adopt(lab, "root@-oProxyCommand=x"),
            adopt(lab, tmp_path / "none"),
        ],
        5: [adopt(lab, zeros)],
    }
    for code, found in reports.items():
        for report in found:
            assert report.code == code, report
            assert len(report.err.splitlines()) == 1
            assert report.out == ""
            assert "hunter2" not in report.err
    nothing = adopt(lab, empty)
    assert nothing.code == 1
    assert nothing.out.count("not found") == len(NAMES)
    for words in (["--node", "gamma"], ["--node", "alpha", "--node", "beta"]):
        assert lab.metis("adopt", *words, "--from", str(old_root)).code == 2
    assert kept(lab) == before


def test_secrets_on_disk_may_be_sealed(lab: Lab, old_root: Path, old_files: Mapping[str, bytes]) -> None:
    """The key is made with the first thing that is kept."""
    folder, key = lab.root / "sealed", lab.root / "keys/age.key"
    sealed = {"METIS_SECRETS": f"sealed:{folder}", "METIS_AGE_IDENTITY": str(key)}
    lab.write("nodes/alpha.yaml", "class: plain\nnetwork: {dhcp: true}\n")
    report = adopt(lab, old_root, "--json", **sealed)
    assert report.code == 0, report
    assert set(states(report).values()) == {"stored"}
    assert adopt(lab, old_root, **sealed).out.count("kept already") == len(NAMES)
    assert not [path for path in folder.iterdir() if path.is_file() and ID.encode() in path.read_bytes()]
    built = lab.metis("image", "--node", "alpha", **sealed)
    assert built.code == 0, built
    wanted = {path: content for path, content in old_files.items() if "rancher" not in path}
    is_the_old_one(lab.artifacts / "alpha.img", wanted)


def test_vault_gets_one_new_version_and_a_copy_that_builds_without_it(
    lab: Lab, old_root: Path, old_files: Mapping[str, bytes]
) -> None:
    document = "atlas/nodes/alpha"
    folders = {"XDG_STATE_HOME": str(lab.root / "state"), "XDG_CONFIG_HOME": str(lab.root / "config")}
    with vault_server() as vault:
        before = vault.put(document, {"k3s_token": TOKEN, "extra": {"disk": "x"}})
        environment = {"METIS_SECRETS": "vault", **folders, **vault.environment()}
        report = adopt(lab, old_root, "--json", **environment)
        assert report.code == 0, report
        assert states(report) == dict.fromkeys(NAMES, "stored")
        assert vault.version(document) == before + 1
        kept = vault.get(document)
        assert kept
        assert kept["k3s_token"] == TOKEN
        extra = kept["extra"] if isinstance(kept["extra"], dict) else json.loads(kept["extra"])
        assert {f"extra.{name}" for name in extra} == {*NAMES, "extra.disk"}
        assert extra["machine_id"] == ID
        assert adopt(lab, old_root, **environment).code == 0
        assert vault.version(document) == before + 1
    unreachable = adopt(lab, old_root, **environment)
    assert unreachable.code == 5
    built = lab.metis("image", "--node", "alpha", METIS_OFFLINE="1", **environment)
    assert built.code == 0, built
    is_the_old_one(lab.artifacts / "alpha.img", old_files)
    says_no_secret(report, unreachable, built)


# ---------------------------------------------------------------------------------------- an image


@pytest.mark.parametrize("injector", SEARCHING)
def test_a_card_in_a_block_device_is_read_whatever_its_labels_and_links_are(
    lab: Lab, old_files: Mapping[str, bytes], tmp_path: Path, injector: str
) -> None:
    card = Path(shutil.copy(goldens.tiny_golden(roots=("somewhere",), table="mbr"), tmp_path / "card.img"))
    root = planted(tmp_path / "root", old_files)
    moved = {"/etc/rancher/node/password": "/data/node/password", "/etc/machine-id": "/data/id"}
    commands = [f"mkdir {folder}" for folder in ("/etc/iscsi", "/data", "/data/node")]
    commands += [
        "rm /etc/machine-id",
        "symlink /etc/rancher /data",
        "symlink /etc/machine-id ../../../data/id",
    ]
    commands += [f"write {root}{path} {moved.get(path, path)}" for path in old_files]
    start = disk.read(card).partitions[-1].start
    process.run(["debugfs", "-w", "-f", "-", f"{card}?offset={start}"], stdin="\n".join(commands).encode())
    before = goldens.sha256(card)
    with blocks.read_only(card) as device:
        report = adopt(lab, device, "--json", METIS_INJECTOR=injector)
    assert report.code == 0, report
    assert states(report) == dict.fromkeys(NAMES, "stored")
    assert (kept(lab)["extra.machine_id"], kept(lab)["extra.node_password"]) == (ID, PASSWORD)
    assert goldens.sha256(card) == before


def test_a_golden_that_never_started_has_nothing_to_adopt(lab: Lab, tiny_golden: Path) -> None:
    report = adopt(lab, tiny_golden)
    assert report.code == 1, report
    assert "extra.machine_id" in report.out
    assert "the file is empty" in report.out


# ------------------------------------------------------------------------------------ a live node

USER = "atlas"
SSHD_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
{keys}
AuthorizedKeysFile /etc/authorized_keys
PidFile none
UsePAM no
StrictModes no
PrintMotd no
"""
# What operators have in theirs, some of which keeps a connection open or asks for another command.
SSH_CONFIG = """\
Host *
    HostName 127.0.0.1
    Port {port}
    HostKeyAlias old
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    IdentitiesOnly yes
    IdentityFile {folder}/key
    ControlMaster auto
    ControlPath {folder}/c
    ControlPersist 300
    RemoteCommand false
    RequestTTY force
    ForwardAgent yes
"""
HOST_FILES = "pam.d security pam.conf ld.so.cache ld.so.conf ld.so.conf.d alternatives login.defs".split()
"""What sshd, sudo and a shell read of the host's /etc besides what the node has of its own."""


@dataclass(frozen=True)
class Old:
    """A node that is up, with an /etc of its own; `config` is for ssh, and `etc` may be changed."""

    config: Path
    etc: Path

    def allow(self, sudoers: str) -> None:
        file = self.etc / "sudoers"
        file.unlink(missing_ok=True)
        file.touch(mode=0o440)
        file.write_text(f"root ALL=(ALL) ALL\n{sudoers}\n")


@pytest.fixture
def old_node(tmp_path: Path, old_files: Mapping[str, bytes]) -> Iterator[Old]:
    """A real sshd in a mount namespace, in which /etc is the old node's."""
    sshd = program("sshd", "openssh-server")
    program("sudo", "sudo")
    if os.geteuid() != 0:
        pytest.skip("only root may run a node's sshd")
    etc = planted(tmp_path / "node", old_files) / "etc"
    for name in HOST_FILES:
        if Path("/etc", name).is_dir():
            shutil.copytree(Path("/etc", name), etc / name, symlinks=True)
        elif Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), etc / name)
    process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"])
    keys = "\n".join(f"HostKey /etc/ssh/ssh_host_{kind}_key" for kind in KINDS)
    users = ("root:x:0:0::/root:/bin/sh", "sshd:x:103:65534::/:/bin/false", f"{USER}:x:1500:1500::/:/bin/sh")
    for name, text in {
        "passwd": "".join(f"{user}\n" for user in users),
        "group": f"root:x:0:\nnogroup:x:65534:\n{USER}:x:1500:\n",
        "shadow": f"root:*:19700::::::\nsshd:*:19700::::::\n{USER}:*:19700::::::\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
        "hosts": "127.0.0.1 localhost\n",
        "authorized_keys": (tmp_path / "key.pub").read_text(),
    }.items():
        (etc / name).write_text(text)
        (etc / name).chmod(0o644)
    (etc / "shadow").chmod(0o600)
    etc.chmod(0o755)
    public = old_files["/etc/ssh/ssh_host_ed25519_key.pub"].decode()
    (tmp_path / "known_hosts").write_text(f"old {public}")
    script = (
        'mount --bind "$1" /etc && mount -t tmpfs none /run && mkdir /run/sshd && '
        f"exec {sshd} -D -e -f /etc/sshd_config"
    )
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(etc)]

    def start(port: int) -> AbstractContextManager[process.Background]:
        (etc / "sshd_config").write_text(SSHD_CONFIG.format(port=port, keys=keys))
        (tmp_path / "config").write_text(SSH_CONFIG.format(port=port, folder=tmp_path))
        return process.background(argv, tmp_path / "log")

    with ports.listening(start, tmp_path / "log"):
        yield Old(tmp_path / "config", etc)


@pytest.mark.parametrize("way", ["root@old", "ssh://root@old", f"{USER}@old"])
def test_the_next_card_carries_what_the_live_node_has(
    lab: Lab, old_node: Old, old_files: Mapping[str, bytes], way: str, tmp_path: Path
) -> None:
    old_node.allow(f"{USER} ALL=(root) NOPASSWD: ALL")
    report = adopt(lab, way, "--ssh-config", str(old_node.config), "--json")
    assert report.code == 0, report
    assert states(report) == dict.fromkeys(NAMES, "stored")
    built = lab.metis("image", "--node", "alpha")
    assert built.code == 0, built
    is_the_old_one(lab.artifacts / "alpha.img", old_files)
    says_no_secret(report)
    assert not (tmp_path / "c").exists()  # no connection is left open


def test_what_a_live_node_lacks_is_not_found(lab: Lab, old_node: Old) -> None:
    (old_node.etc / "rancher/node/password").unlink()
    (old_node.etc / "iscsi/initiatorname.iscsi").write_text("GenerateName=yes\n")
    found = states(adopt(lab, "root@old", "--ssh-config", str(old_node.config), "--json"))
    missing = {"extra.node_password", "extra.iscsi_initiator"}
    assert {name for name, state in found.items() if state == "not found"} == missing


def test_each_way_to_be_kept_out_says_what_to_do(lab: Lab, old_node: Old, tmp_path: Path) -> None:
    before = kept(lab)
    config = ["--ssh-config", str(old_node.config)]
    old_node.allow(f"{USER} ALL=(root) ALL")
    told = {"lets nobody be root without a password: let the user run": adopt(lab, f"{USER}@old", *config)}
    known = tmp_path / "known_hosts"
    known_before = known.read_text()
    known.write_text((tmp_path / "key.pub").read_text().replace("ssh-ed25519", "old ssh-ed25519", 1))
    told["shows a host key that ssh does not know"] = adopt(lab, "root@old", *config)
    known.write_text(known_before)
    (old_node.etc / "authorized_keys").write_text("")
    told["lets nobody in with your keys"] = adopt(lab, "root@old", *config)
    told["refuses connections"] = adopt(lab, "ssh://root@old:1", *config)
    for words, report in told.items():
        assert report.code == 5, report
        assert words in report.err
        assert len(report.err.splitlines()) == 1
    says_no_secret(*told.values())
    assert kept(lab) == before
