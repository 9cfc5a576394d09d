"""What the programs of a node make of its accounts and of what it is known by."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.machine import process
from pipeline.model import Edit, Entry, File, ResolvedNode, SecretRef, Text
from pipeline.render import access, identity
from pipeline.secret import Secret
from pipeline.secrets import identity as made
from pipeline.secrets.forms import reveal
from tests.support.rendering import cases_of, name_of, node_of, node_of_case, program

SECRETS = {name: Secret(make()) for name, make in made.MAKERS.items()}


def put(tmp_path: Path, entries: tuple[Entry, ...]) -> None:
    """Write the files of entries below a folder, as they would lie on the node."""
    for entry in entries:
        if isinstance(entry, File):
            file = tmp_path / entry.path[1:]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"".join(map(content, entry.content)))
            file.chmod(entry.mode)


def content(piece: object) -> bytes:
    match piece:
        case Text(text):
            return text.encode()
        case SecretRef():
            return reveal(piece, "titan-13", SECRETS)
    raise AssertionError(piece)


def test_sshd_takes_the_host_keys(tmp_path: Path) -> None:
    put(tmp_path, identity.render(node_of("class: pi")))
    keys = sorted((tmp_path / "etc/ssh").glob("ssh_host_*_key"))
    assert [key.name for key in keys] == [f"ssh_host_{kind}_key" for kind in ("ecdsa", "ed25519", "rsa")]
    try:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants its empty folder, as systemd makes it
    except PermissionError:
        pytest.skip("sshd wants /run/sshd, which root makes")
    argv = [program("sshd", "openssh-server"), "-T", "-f", "/dev/null"]
    said = process.run([*argv, *(word for key in keys for word in ("-h", str(key)))])
    lines = said.out.decode().splitlines()
    assert [line for line in lines if line.startswith("hostkey ")] == [f"hostkey {key}" for key in keys]
    assert said.err == b""


def test_ssh_keygen_sees_that_the_halves_of_each_key_belong_together(tmp_path: Path) -> None:
    put(tmp_path, identity.render(node_of("class: pi")))
    keygen = program("ssh-keygen", "openssh-client")
    for public in (tmp_path / "etc/ssh").glob("*.pub"):
        line = process.run([keygen, "-y", "-f", public.with_suffix("")]).out.decode().split()
        assert public.read_text().split()[:2] == line[:2]
        assert process.run([keygen, "-lf", public]).code == 0


def test_nothing_of_the_identity_is_in_a_file_that_more_may_read_than_need_it() -> None:
    modes = {
        entry.path: entry.mode for entry in identity.render(node_of("class: pi")) if isinstance(entry, File)
    }
    assert modes["/etc/machine-id"] == 0o444
    assert modes["/etc/iscsi/initiatorname.iscsi"] == 0o600
    assert {mode for path, mode in modes.items() if path.endswith("_key")} == {0o600}


@pytest.mark.parametrize("case", cases_of("access"), ids=name_of)
def test_visudo_takes_each_file_for_sudo(tmp_path: Path, case: Path) -> None:
    put(tmp_path, access.render(node_of_case(case)))
    for file in tmp_path.glob("etc/sudoers.d/*"):
        assert "." not in file.name, "sudo passes over it"
        assert file.stat().st_mode & 0o777 == 0o440
        process.run([program("visudo", "sudo"), "-c", "-f", file])


def sudoers(node: ResolvedNode) -> list[str]:
    return [entry.path for entry in access.render(node) if entry.path.startswith("/etc/sudoers.d")]


def test_who_has_sudo() -> None:
    assert sudoers(node_of("class: pi\nssh: {user: atlas}")) == ["/etc/sudoers.d/metis-atlas"]
    assert sudoers(node_of("class: pi\nssh: {user: atlas, sudo: false}")) == []
    assert sudoers(node_of("class: pi\nssh: {user: root}")) == []


@pytest.mark.parametrize("user", ["root", "atlas"])
def test_the_password_is_a_secret_and_may_be_missing(user: str) -> None:
    edits = [
        entry
        for entry in access.render(node_of(f"class: pi\nssh: {{user: {user}}}"))
        if isinstance(entry, Edit)
    ]
    (shadow,) = (edit for edit in edits if edit.edit == "shadow")
    secret = dict(shadow.arguments)["hash"]
    assert secret == SecretRef("ssh_password", "password-hash", optional=True)
