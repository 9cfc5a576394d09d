"""`metis secrets` at a real terminal: what is typed is not shown, and what is asked is heeded."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.machine.process import run
from pipeline.raw import disk
from pipeline.secrets.age_keys import AgeKeys
from pipeline.secrets.crypt import sha512_crypt
from pipeline.secrets.password import SALT
from pipeline.secrets.plain import plain_folder
from pipeline.secrets.sealed import sealed_folder
from pipeline.secrets.source import CLUSTER
from tests.support import goldens
from tests.support.lab import BIN, QUICK_INJECTOR, REPOSITORY, Lab, Report, class_text
from tests.support.vault import Vault, vault_server

PATIENCE = 120
"""Seconds without a word after which a command is taken to hang."""
TYPED = "kanarienvogel"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
TOKEN = f"K10{'ab' * 32}::node:{TYPED}"


@dataclass(frozen=True)
class Seen:
    """What a terminal showed, and how the command ended."""

    code: int
    screen: str


@dataclass(frozen=True)
class Desk:
    """A lab with the default source of secrets, and a terminal before it."""

    lab: Lab

    def type(self, words: Sequence[str], answers: Sequence[tuple[str, str]]) -> Seen:
        """Run a command and type an answer each time that it has asked."""
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(REPOSITORY)
            program = str(Path(sys.executable).with_name("metis"))
            os.execve(program, [program, "secrets", *words], {**os.environ, **self.lab.environment})
        screen, heard = "", 0
        waiting = list(answers)
        try:
            while more := _read(terminal):
                screen += more
                if waiting and waiting[0][0] in screen[heard:]:
                    heard = len(screen)
                    os.write(terminal, f"{waiting.pop(0)[1]}\n".encode(errors="surrogateescape"))
        finally:
            os.close(terminal)
        assert not waiting, screen
        return Seen(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), screen)

    def values(self, owner: str) -> dict[str, str]:
        state, config = (Path(self.lab.environment[name]) for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"))
        keys = AgeKeys(config / "metis/age.key", tuple, makes_key=False)
        stored = sealed_folder(state / "metis/secrets", keys).read(owner)
        return {name: value.reveal() for name, value in stored.values.items()}


def _read(terminal: int) -> str:
    ready, _, _ = select.select([terminal], [], [], PATIENCE)
    assert ready, "the command hangs"
    try:
        return os.read(terminal, 4096).decode()
    except OSError:  # EIO: the other side is closed (pty(7))
        return ""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    lab = Lab(tmp_path)
    lab.write("classes/pi.yaml", "arch: arm64\nos: debian\nnetwork: {dhcp: true}\nssh: {user: atlas}\n")
    lab.write("nodes/alpha.yaml", "class: pi\nk3s: {role: agent, server: 'https://192.0.2.10:6443'}\n")
    lab.write("nodes/beta.yaml", "class: pi\n")
    lab.environment |= {
        "METIS_INVENTORY": str(lab.inventory),
        "METIS_ARTIFACTS": str(lab.artifacts),
        "METIS_SECRETS": "",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    return Desk(lab)


def test_a_secret_is_typed_unseen_and_kept_sealed(desk: Desk, tmp_path: Path) -> None:
    seen = desk.type(["set", "--cluster", "k3s_token"], [("k3s_token of all nodes: ", TOKEN)])
    assert seen.code == 0
    assert TYPED not in seen.screen
    assert desk.values(CLUSTER) == {"k3s_token": TOKEN}
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in files if TYPED.encode() in file.read_bytes()]
    assert desk.lab.metis("secrets", "status", "--node", "alpha", METIS_SECRETS="").code == 0


def test_a_rotation_asks_whether_it_is_meant_and_for_the_password_twice(desk: Desk) -> None:
    asks = [("[y/N]: ", "y"), ("new password of beta: ", TYPED), ("Repeat for confirmation: ", TYPED)]
    seen = desk.type(["rotate", "--node", "beta", "--item", "ssh-password", "--item", "host-keys"], asks)
    assert seen.code == 0
    assert TYPED not in seen.screen
    assert seen.screen.index("made for the first time: ") < seen.screen.index("[y/N]")
    assert desk.values("beta")["ssh_password"] == TYPED
    assert len(desk.values("beta")) == 5


def test_a_password_that_was_mistyped_is_asked_for_again(desk: Desk) -> None:
    words = ["set", "--node", "beta", "ssh_password"]
    again = ("Repeat for confirmation: ", f"{TYPED}2")
    asks = [("password of beta: ", f"{TYPED}1"), again, ("password of beta: ", f"{TYPED}2"), again]
    seen = desk.type(words, asks)
    assert seen.code == 0
    assert TYPED not in seen.screen
    assert desk.values("beta") == {"ssh_password": f"{TYPED}2"}


@pytest.mark.parametrize("answer", ["n", "", "maybe\nn"])
def test_whoever_does_not_say_yes_keeps_what_is_there(desk: Desk, answer: str) -> None:
    desk.type(["set", "--node", "alpha", "k3s_token"], [("k3s_token of alpha: ", TOKEN)])
    before = desk.values("alpha")
    asks = [("k3s_token of alpha: ", f"{TOKEN}2"), ("Replace it? [y/N]: ", answer)]
    seen = desk.type(["set", "--node", "alpha", "k3s_token"], asks)
    assert seen.code == 3
    assert "metis: nothing was changed" in seen.screen
    assert TYPED not in seen.screen
    seen = desk.type(["rotate", "--node", "alpha"], [("[y/N]: ", answer)])
    assert (seen.code, desk.values("alpha")) == (3, before)


def test_an_end_at_a_question_changes_nothing(desk: Desk) -> None:
    seen = desk.type(["rotate", "--node", "alpha"], [("[y/N]: ", "\x04")])
    assert seen.code == 130
    assert desk.values("alpha") == {}


def test_a_value_with_half_a_character_is_no_text(desk: Desk) -> None:
    """A terminal hands on what was typed byte by byte."""
    desk.lab.environment["LC_ALL"] = "C.UTF-8"
    seen = desk.type(["set", "--node", "alpha", "extra.mine"], [("extra.mine of alpha: ", f"{TYPED}\udcff")])
    assert seen.code == 2
    assert "no text in UTF-8: nothing was stored" in seen.screen
    assert "Traceback" not in seen.screen


# ------------------------------------------------------------------------------------------- Vault


@pytest.fixture
def vault(desk: Desk) -> Iterator[Vault]:
    """Vault in the place of sealed files."""
    with vault_server() as server:
        desk.lab.environment |= {"METIS_SECRETS": "", **server.environment()}
        yield server


def secrets(desk: Desk, *words: str, code: int = 0, **more: str) -> Report:
    ended = desk.lab.metis("secrets", *words, **more)
    assert ended.code == code, ended
    assert TYPED not in ended.out + ended.err
    assert "Traceback" not in ended.err
    return ended


def test_what_is_in_a_folder_moves_to_vault_and_is_told_of_there(desk: Desk, vault: Vault) -> None:
    desk.lab.write_secrets(CLUSTER, f"k3s_token: {TOKEN}\n")
    desk.lab.write_secrets("beta", f"ssh_password: {TYPED}\nextra: {{machine_id: {'cd' * 16}}}\n")
    secrets(desk, "copy", "--from", f"plain:{desk.lab.secrets}")
    assert vault.get("atlas/cluster") == {"k3s_token": TOKEN}
    assert vault.get("atlas/nodes/beta") == {"ssh_password": TYPED, "extra": {"machine_id": "cd" * 16}}
    vault.change("atlas/nodes/beta", {"ssh_password": f"{TYPED}2"})
    alpha, beta = json.loads(secrets(desk, "status", "--json").out)
    assert (alpha["source"], alpha["version"], alpha["cluster"]["version"]) == ("vault", "", "1")
    assert (beta["version"], beta["changed"][:2], beta["age"] >= 0) == ("2", "20", True)
    refused = secrets(desk, "copy", "--from", f"plain:{desk.lab.secrets}", code=3)
    assert "beta has ssh_password with other values: say --replace" in refused.err.replace(" in Vault", "")


def test_a_rotation_is_one_new_version_and_leaves_the_fields_of_others(desk: Desk, vault: Vault) -> None:
    vault.put("atlas/nodes/beta", {"owner": "somebody", "extra": {"machine_id": "cd" * 16}})
    secrets(desk, "rotate", "--node", "beta", "--yes")
    kept = vault.get("atlas/nodes/beta") or {}
    assert (kept["owner"], kept["extra"]["machine_id"]) == ("somebody", "cd" * 16)
    assert len(kept["extra"]) == 4
    offline = secrets(desk, "status", "--node", "beta", "--json", METIS_OFFLINE="1")
    assert json.loads(offline.out)[0]["version"] == "2", "the sealed copy is that of what is on the next card"
    assert json.loads(secrets(desk, "status", "--node", "beta", "--json").out)[0]["version"] == "2"


def test_a_vault_that_denies_one_node_hides_no_other(desk: Desk, vault: Vault) -> None:
    vault.put("atlas/cluster", {"k3s_token": TOKEN})
    vault.denied.add("kv/data/atlas/nodes/beta")
    ended = secrets(desk, "status", code=5)
    assert "beta" in ended.err
    assert ended.err.count("\n") == 1
    assert re.search(r"^  k3s_token +there +of the cluster$", ended.out, re.MULTILINE)
    assert re.search(r"^  extra.machine_id +not checked$", ended.out, re.MULTILINE)


@pytest.mark.parametrize(
    "words", [["status"], ["rotate", "--node", "beta", "--yes"], ["copy", "--from", "plain:{}"]]
)
def test_a_vault_that_is_away_is_said_once(desk: Desk, vault: Vault, words: list[str]) -> None:
    desk.lab.write_secrets("beta", f"ssh_password: {TYPED}\n")
    vault.stop()
    ended = secrets(
        desk, *(word.format(desk.lab.secrets) for word in words), code=5, VAULT_CLIENT_TIMEOUT="2"
    )
    assert vault.address in ended.err


# ------------------------------------------------------------------------------------------- cards


def test_what_is_rotated_is_on_the_next_card_of_that_node_alone(tmp_path: Path, tiny_golden: Path) -> None:
    lab = Lab(tmp_path, {"METIS_INJECTOR": QUICK_INJECTOR, "METIS_CACHE": str(tmp_path / "cache")})
    lab.write("classes/plain.yaml", class_text(tiny_golden, goldens.sha256(tiny_golden)))
    for node in ("alpha", "beta"):
        lab.write(f"nodes/{node}.yaml", "class: plain\nnetwork: {dhcp: true}\nssh: {user: atlas}\n")
        lab.write_secrets(node, "ssh_password: old\n")
    assert lab.metis("image").code == 0
    before = {path: in_image(lab, path) for path in (HOST_KEY, "/etc/shadow", "/etc/machine-id")}
    words = ("rotate", "--node", "alpha", "--password-stdin", "--yes")
    run([BIN / "metis", "secrets", *words], stdin=TYPED.encode(), extra_environment=lab.variables({}))
    assert lab.doit("image").tasks("run", "image:") == {"image:alpha"}
    after = {path: in_image(lab, path) for path in before}
    assert [path for path in before if before[path] == after[path]] == ["/etc/machine-id"]
    values = plain_folder(lab.secrets).read("alpha").values
    assert after[HOST_KEY] == values["extra.ssh_host_ed25519_key"].reveal().encode()
    assert sha512_crypt(TYPED, values[SALT].reveal()).encode() in after["/etc/shadow"]


def in_image(lab: Lab, path: str) -> bytes:
    """A file of alpha's image."""
    image = lab.artifacts / "alpha.img"
    root = max(disk.read(image).partitions, key=lambda part: part.size)
    return run(["debugfs", "-R", f"cat {path}", f"{image}?offset={root.start}"]).out
