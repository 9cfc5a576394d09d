"""What a node's files say of its identity: taken as it is, or refused as a whole, and never shown."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adopt import ssh
from pipeline.adopt.items import INITIATOR, ITEMS, MACHINE_ID, MAX_BYTES, PATHS, host_name, value_of
from pipeline.adopt.source import Folder, Image, Live, parse
from pipeline.boot.guest import fingerprint
from pipeline.errors import MetisError, MismatchError, SecretError, SeveralErrors, SourceError, UsageError
from pipeline.inject.beneath import Beneath
from pipeline.inject.folder import FolderTree
from pipeline.inject.tree import Places
from pipeline.machine import process
from pipeline.raw.disk import Disk, Partition
from pipeline.secret import Secret
from pipeline.secrets import ssh_keys
from pipeline.secrets.keyring import Keyring
from pipeline.secrets.plain import plain_folder
from pipeline.secrets.source import ConflictError, Stored
from pipeline.secrets.used import UsedSecrets
from pipeline.steps import capture
from pipeline.steps.adoption import Adoption, adopt, examine
from pipeline.steps.capture import Tools, root_by_content

KEY, OTHER_KEY = ssh_keys.new_ed25519(), ssh_keys.new_ed25519()
KEY_PATH = "/etc/ssh/ssh_host_ed25519_key"
PUBLIC = f"{ssh_keys.public_line(KEY)} root@old\n"
ID, OTHER_ID = "0123456789abcdef" * 2, "fedcba9876543210" * 2
IQN = "iqn.1993-08.org.debian:01:5ec2e75ec2e7"
FILES = {
    "/etc/machine-id": f"{ID}\n".encode(),
    KEY_PATH: KEY.encode(),
    f"{KEY_PATH}.pub": PUBLIC.encode(),
    "/etc/rancher/node/password": b"hunter2password\n",
    "/etc/iscsi/initiatorname.iscsi": f"## no changes here\n\nInitiatorName={IQN}\n".encode(),
}
FOUND = {
    "extra.machine_id": ID,
    "extra.ssh_host_ed25519_key": KEY,
    "extra.node_password": "hunter2password",
    "extra.iscsi_initiator": IQN,
}
SECRETS = ("hunter2", ID, OTHER_ID, IQN, KEY.splitlines()[3])


def test_the_items_are_those_that_a_node_s_image_carries_under_the_same_names() -> None:
    assert {item.name for item in ITEMS} == {
        "extra.machine_id",
        "extra.ssh_host_ed25519_key",
        "extra.ssh_host_ecdsa_key",
        "extra.ssh_host_rsa_key",
        "extra.node_password",
        "extra.iscsi_initiator",
    }


# ------------------------------------------------------------------------------------ bytes to values


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (f"InitiatorName={IQN}\n", IQN),
        (f"InitiatorName={IQN}", IQN),
        (f"# InitiatorName=iqn.old\n\n  InitiatorName = {IQN} \nInitiatorAlias=a\n", IQN),
        (f"InitiatorName={IQN}\nInitiatorName={IQN}\n", IQN),
        ("GenerateName=yes\n", None),
        ("", None),
    ],
)
def test_an_initiator_name_is_found_among_comments(content: str, value: str | None) -> None:
    assert value_of(INITIATOR, content.encode()).text == value


@pytest.mark.parametrize("content", ["hunter2\n", "# nothing\n", f"InitiatorName={IQN}\nInitiatorName=b\n"])
def test_a_file_without_one_initiator_name_is_refused_and_not_shown(content: str) -> None:
    with pytest.raises(ValueError, match="InitiatorName=") as caught:
        value_of(INITIATOR, content.encode())
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n", b"uninitialized\n", b"uninitialized"])
def test_a_machine_id_that_is_none_yet_counts_as_not_found(content: bytes) -> None:
    value = value_of(MACHINE_ID, content)
    assert value.text is None
    assert value.remark


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_none_or_refused(content: bytes) -> None:
    for item in ITEMS:
        try:
            value = value_of(item, content)
        except ValueError:
            continue
        assert value.text is None or value.text in content.decode()


# ------------------------------------------------------------------------------------------ examining


def values(files: Mapping[str, bytes]) -> dict[str, str]:
    return {
        about.item.name: about.value.reveal() for about in examine("titan-13", "/old", files) if about.value
    }


def test_everything_that_is_there_is_found_as_it_is() -> None:
    assert values(FILES) == FOUND
    assert values({}) == {}


def test_an_empty_file_counts_as_not_found_as_a_power_cut_leaves_it() -> None:
    assert values(dict.fromkeys(FILES, b"")) == {}


def test_a_key_without_its_public_half_or_with_an_empty_one_is_taken() -> None:
    for files in ({KEY_PATH: KEY.encode()}, {KEY_PATH: KEY.encode(), f"{KEY_PATH}.pub": b"\n"}):
        assert values(files) == {"extra.ssh_host_ed25519_key": KEY}


@pytest.mark.parametrize(
    "public",
    [pytest.param(ssh_keys.public_line(OTHER_KEY), id="whole"), "hunter2", "ssh-ed25519", "\0"],
)
def test_a_public_half_of_another_key_is_a_mismatch(public: str) -> None:
    with pytest.raises(
        MismatchError, match=rf"^{KEY_PATH}\.pub is not the public half of {KEY_PATH} of /old"
    ):
        values({**FILES, f"{KEY_PATH}.pub": public.encode()})


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/etc/machine-id", b"hunter2\n"),
        ("/etc/machine-id", b"0" * 32),
        ("/etc/machine-id", b"\xff" * 32),
        ("/etc/machine-id", f"{ID}\n{ID}\n".encode()),
        (KEY_PATH, b"hunter2"),
        (KEY_PATH, KEY.encode()[:100]),
        (KEY_PATH, b"\0" * 400),
        (
            "/etc/ssh/ssh_host_rsa_key",
            b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nhunter2\n",
        ),
        ("/etc/rancher/node/password", b"hunter2 hunter2\n"),
        ("/etc/rancher/node/password", b"hunter2\r\n"),
        ("/etc/iscsi/initiatorname.iscsi", b"InitiatorName=hunter2\n"),
        ("/etc/iscsi/initiatorname.iscsi", b"hunter2\n"),
        ("/etc/machine-id", b"a" * (MAX_BYTES + 1)),
    ],
)
def test_what_no_card_could_carry_is_refused_by_item_and_file_and_not_shown(
    path: str, content: bytes
) -> None:
    item = next(item for item in ITEMS if item.path == path)
    with pytest.raises(SecretError, match=f"^{path} of /old.*{item.name}") as caught:
        values({**FILES, path: content})
    assert not [secret for secret in SECRETS if secret in str(caught.value)]
    assert "\n" not in str(caught.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SeveralErrors) as caught:
        values(dict.fromkeys(FILES, b"hunter2 2"))
    assert len(caught.value.lines) == 4
    assert caught.value.exit_code == 2


# ------------------------------------------------------------------------------------------- storing


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return keyring_of(tmp_path)


def keyring_of(folder: Path) -> Keyring:
    source = plain_folder(folder / "secrets")
    return Keyring(source, ["titan-13", "titan-14"], UsedSecrets(folder, makes_key=False))


def kept(keyring: Keyring, node: str = "titan-13") -> dict[str, str]:
    return {name: value.reveal() for name, value in keyring.source.read(node).values.items()}


def keep(keyring: Keyring, node: str, **values: str) -> None:
    changes = {name.replace("extra_", "extra."): Secret(value) for name, value in values.items()}
    keyring.source.put(node, changes, keyring.source.read(node).version)


HOSTS = {"titan-13": "titan-13", "titan-14": "jumphost"}


def adopted(
    keyring: Keyring,
    files: Mapping[str, bytes] = FILES,
    *,
    replace: bool = False,
    renamed: bool = False,
) -> Adoption:
    return adopt("titan-13", "/old", files, keyring, HOSTS, replace=replace, renamed=renamed)


def called(name: bytes) -> dict[str, bytes]:
    """The usual files, of a node with this in its /etc/hostname."""
    return {**FILES, "/etc/hostname": name}


def states(found: Adoption) -> dict[str, str]:
    return {finding.item: finding.state for finding in found.findings}


def test_what_is_found_is_stored_beside_what_is_kept(keyring: Keyring) -> None:
    keep(keyring, "titan-13", ssh_password="hunter3", extra_own="x")
    found = adopted(keyring)
    assert found.error is None
    assert kept(keyring) == {**FOUND, "ssh_password": "hunter3", "extra.own": "x"}
    assert states(found) == {
        **dict.fromkeys(FOUND, "stored"),
        "extra.ssh_host_ecdsa_key": "not found",
        "extra.ssh_host_rsa_key": "not found",
    }


def test_what_is_kept_already_is_left_as_it_is(keyring: Keyring) -> None:
    adopted(keyring)
    before = keyring.source.read("titan-13").version
    found = adopted(keyring)
    assert set(states(found).values()) == {"kept already", "not found"}
    assert found.error is None
    assert keyring.source.read("titan-13").version == before


def test_another_value_is_refused_and_nothing_is_stored_unless_replaced(keyring: Keyring) -> None:
    keep(keyring, "titan-13", extra_machine_id=OTHER_ID, extra_ssh_host_ed25519_key=OTHER_KEY)
    before = kept(keyring)
    found = adopted(keyring)
    assert found.error
    assert found.error.exit_code == 3
    for item in ("extra.machine_id", "extra.ssh_host_ed25519_key"):
        assert states(found)[item] == "differs"
        assert item in str(found.error)
    assert states(found)["extra.node_password"] == "found"
    assert kept(keyring) == before
    shown = found.to_text()
    assert f"{fingerprint(PUBLIC)}, kept is {fingerprint(ssh_keys.public_line(OTHER_KEY))}" in shown
    replaced = adopted(keyring, replace=True)
    assert replaced.error is None
    assert kept(keyring) == FOUND
    assert states(replaced)["extra.machine_id"] == "replaced"
    assert states(replaced)["extra.node_password"] == "stored"


def test_whatever_is_kept_in_place_of_a_key_is_not_shown(keyring: Keyring) -> None:
    keep(keyring, "titan-13", extra_ssh_host_ed25519_key="hunter2")
    found = adopted(keyring)
    assert "kept is no key" in found.to_text()
    assert not [secret for secret in SECRETS if secret in found.to_text() + str(found.error)]


def test_nothing_found_is_an_error_and_stores_nothing(keyring: Keyring, tmp_path: Path) -> None:
    found = adopted(keyring, {"/etc/machine-id": b"uninitialized\n"})
    assert found.error
    assert found.error.exit_code == 1
    assert not (tmp_path / "secrets").exists()


def test_another_node_s_identity_is_refused(keyring: Keyring) -> None:
    keep(keyring, "titan-14", extra_machine_id=f"{ID}\n", extra_node_password="hunter2password")
    for replace in (False, True):
        with pytest.raises(SeveralErrors, match="is that of titan-14 too") as caught:
            adopted(keyring, replace=replace)
        assert caught.value.exit_code == 2
        assert len(caught.value.lines) == 2
        assert not [secret for secret in SECRETS if secret in str(caught.value)]
    assert kept(keyring) == {}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"titan-13\n", "titan-13"),
        (b"TITAN-13.lan.example\n", "titan-13"),
        (b"# comment\n\n  titan-13 \nother\n", "titan-13"),
        (b"titan-13", "titan-13"),
        (b"", ""),
        (b"\n# titan-13\n", ""),
        (b"localhost\n", ""),
        (b"localhost.localdomain\n", ""),
        (b".\n", ""),
        (b"\xff\xfe\n", "\ufffd\ufffd"),
    ],
)
def test_a_host_name_is_read_as_hostname_5_has_it(content: bytes, name: str) -> None:
    assert host_name(content) == name


@pytest.mark.parametrize("name", [b"titan-13\n", b"Titan-13.lan\n", b"\n", b"localhost\n"])
def test_a_source_with_the_node_s_own_name_or_none_needs_no_remark(keyring: Keyring, name: bytes) -> None:
    found = adopted(keyring, called(name))
    assert (found.error, found.remark) == (None, "")
    assert kept(keyring) == FOUND


@pytest.mark.parametrize("replace", [False, True])
def test_a_source_with_another_node_s_host_name_is_refused(keyring: Keyring, *, replace: bool) -> None:
    keep(keyring, "titan-13", extra_machine_id=OTHER_ID)
    found = adopted(keyring, called(b"jumphost.lan\n"), replace=replace)
    assert found.error
    assert found.error.exit_code == 3
    assert str(found.error) == (
        "/old has the host name of titan-14; nothing was stored: "
        "say --node titan-14, or --renamed if it is titan-13 all the same"
    )
    assert kept(keyring) == {"extra.machine_id": OTHER_ID}


def test_a_source_that_was_renamed_is_taken_with_a_remark(keyring: Keyring) -> None:
    found = adopted(keyring, called(b"jumphost\n"), renamed=True)
    assert found.error is None
    assert kept(keyring) == FOUND
    assert found.to_text().splitlines()[-1] == "  its /etc/hostname is that of titan-14"
    assert found.to_data()["remark"] == "its /etc/hostname is that of titan-14"


def test_a_renamed_source_replaces_nothing_by_that_alone(keyring: Keyring) -> None:
    keep(keyring, "titan-13", extra_machine_id=OTHER_ID)
    found = adopted(keyring, called(b"jumphost\n"), renamed=True)
    assert "say --replace" in str(found.error)
    assert kept(keyring) == {"extra.machine_id": OTHER_ID}


def test_what_is_kept_already_is_no_matter_of_host_names(keyring: Keyring) -> None:
    adopted(keyring)
    assert adopted(keyring, called(b"jumphost\n")).error is None


@pytest.mark.parametrize("name", [b"raspberrypi\n", b"hunter2password\n", ID.encode(), b"\x1b[31m\n"])
def test_a_name_that_no_node_has_is_remarked_and_not_shown(keyring: Keyring, name: bytes) -> None:
    """A link can make the node's password its host name."""
    found = adopted(keyring, called(name))
    assert found.error is None
    assert found.remark.startswith("its /etc/hostname has another name than titan-13")
    assert name.decode().strip() not in found.to_text() + json.dumps(found.to_data())


class Contested:
    """A source in which somebody else writes before the first put of ours."""

    def __init__(self, keyring: Keyring, values: Mapping[str, str]) -> None:
        self._inner = keyring.source
        self._values = dict(values)
        self.puts: list[set[str]] = []
        self.name, self.place, self.read = self._inner.name, self._inner.place, self._inner.read
        self.versions, self.known = self._inner.versions, self._inner.known

    def put(self, owner: str, changes: Mapping[str, Secret], version: str) -> None:
        if self._values:
            changes_first = {name: Secret(value) for name, value in self._values.items()}
            self._values = {}
            self._inner.put(owner, changes_first, version)
        self.puts.append(set(changes))
        self._inner.put(owner, changes, version)


def test_all_is_stored_with_one_write_and_a_writer_who_came_first_is_heard(keyring: Keyring) -> None:
    source = Contested(keyring, {"extra.machine_id": ID, "k3s_token": "x"})
    keyring.source = source
    found = adopted(keyring)
    assert states(found)["extra.machine_id"] == "kept already"
    assert source.puts == [set(FOUND), FOUND.keys() - {"extra.machine_id"}]
    assert kept(keyring) == {**FOUND, "k3s_token": "x"}


def test_a_writer_who_came_first_with_another_value_is_not_overwritten(keyring: Keyring) -> None:
    keyring.source = Contested(keyring, {"extra.machine_id": OTHER_ID})
    found = adopted(keyring)
    assert found.error
    assert kept(keyring) == {"extra.machine_id": OTHER_ID}


class Restless:
    """A source whose secrets change whenever somebody looks."""

    name = "restless"

    def place(self, owner: str) -> str:
        return owner

    def versions(self, owners: Iterable[str]) -> Mapping[str, str]:
        return dict.fromkeys(owners, "1")

    def read(self, _owner: str) -> Stored:
        return Stored({}, "1")

    def put(self, _owner: str, _changes: Mapping[str, Secret], _version: str) -> None:
        raise ConflictError("changed")

    def known(self, _owner: str) -> Mapping[str, Secret]:
        return {}


def test_secrets_that_change_all_the_time_are_an_error_in_the_end(keyring: Keyring) -> None:
    keyring.source = Restless()
    with pytest.raises(SourceError, match="change all the time"):
        adopted(keyring)


def test_what_is_shown_names_items_and_fingerprints_and_no_value(keyring: Keyring) -> None:
    found = adopted(keyring)
    said = found.to_text() + json.dumps(found.to_data())
    assert not [secret for secret in SECRETS if secret in said]
    assert fingerprint(PUBLIC) in found.to_text()
    assert {item["item"] for item in found.to_data()["items"]} == {item.name for item in ITEMS}


# --------------------------------------------------------------------------------- what may be named


@pytest.mark.parametrize(
    ("text", "live"),
    [
        ("root@titan-13", Live("titan-13", "root")),
        ("atlas@192.0.2.13", Live("192.0.2.13", "atlas")),
        ("root@[2001:db8::13]", Live("2001:db8::13", "root")),
        ("ssh://titan-13", Live("titan-13")),
        ("ssh://root@titan-13.example:2222/", Live("titan-13.example", "root", 2222)),
        ("ssh://[fe80::1%eth0]:22", Live("fe80::1%eth0", "", 22)),
    ],
)
def test_a_live_node_is_named_as_ssh_does(text: str, live: Live) -> None:
    assert parse(text) == live


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no-such-file",
        "/no/such/file",
        "\0",
        "titan-13",
        "-oProxyCommand=hunter2@titan-13",
        "root@-oProxyCommand=hunter2",
        "ssh://-oProxyCommand=hunter2",
        "ssh://-lroot@titan-13",
        "ssh://root:hunter2@titan-13",
        "ssh://titan-13:0",
        "ssh://titan-13:65536",
        "ssh://titan-13/etc/machine-id",
        "ssh://root@titan-13\n",
        "ssh://root@ti\x1btan",
        "ssh://",
        "root@titan-13:/etc",
        "root@titan 13",
        "root@titan-13;reboot",
        "root@$(reboot)",
        "https://hunter2@titan-13/card.img",
        "file:///card.img",
        "/dev/null",
    ],
)
def test_anything_else_is_wrong_usage_and_is_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_and_images_are_told_from_each_other(tmp_path: Path) -> None:
    image = tmp_path / "root@card.img"
    image.write_bytes(bytes(512))
    assert parse(str(tmp_path)) == Folder(tmp_path)
    assert parse(str(image)) == Image(image)


@pytest.mark.parametrize(
    ("first", "hint"),
    [
        (b"\xfd7zXZ\0", "xz --decompress"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"QFI\xfb", "qemu-img convert"),
    ],
)
def test_an_image_that_is_packed_is_refused_with_how_to_unpack_it(
    tmp_path: Path, first: bytes, hint: str
) -> None:
    file = tmp_path / "card.img"
    file.write_bytes(first + bytes(512))
    with pytest.raises(UsageError, match=hint):
        parse(str(file))


# ------------------------------------------------------------------------------------------ a folder


def planted(root: Path, files: Mapping[str, bytes] = FILES) -> Path:
    for path, content in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root


def read(root: Path) -> dict[str, bytes]:
    with Beneath.folder(root) as beneath:
        return capture.read_tree(FolderTree(beneath, "old"), "old")


def test_a_folder_is_read_and_nothing_but_its_identity(tmp_path: Path) -> None:
    planted(tmp_path, {**called(b"old"), "/etc/ssh/ssh_host_dsa_key": b"x", "/etc/hosts": b"x"})
    assert read(tmp_path) == called(b"old")


def test_links_are_followed_within_the_folder(tmp_path: Path) -> None:
    planted(tmp_path, {"/data/rancher/node/password": b"inner", "/data/id": b"inner-id"})
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/rancher").symlink_to("/data/rancher")
    (tmp_path / "etc/machine-id").symlink_to("../../../../../data/id")
    assert read(tmp_path) == {"/etc/rancher/node/password": b"inner", "/etc/machine-id": b"inner-id"}


@pytest.mark.parametrize("way", ["absolute", "relative", "parent", "proc"])
def test_no_link_leads_out_to_the_host_s_own_files(tmp_path: Path, way: str) -> None:
    outside = planted(tmp_path / "host")
    root = tmp_path / "old"
    (root / "etc").mkdir(parents=True)
    if way == "absolute":
        (root / "etc/machine-id").symlink_to(outside / "etc/machine-id")
    elif way == "relative":
        (root / "etc/machine-id").symlink_to("../../host/etc/machine-id")
    elif way == "parent":
        (root / "etc/rancher").symlink_to(outside / "etc/rancher")
    else:
        (root / "etc/machine-id").symlink_to("/proc/self/root" + str(outside / "etc/machine-id"))
    assert read(root) == {}


def test_a_link_to_the_same_path_on_the_host_leads_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").symlink_to("/etc/machine-id")
    with pytest.raises(SourceError, match="/etc/machine-id of old is a link that leads in a circle: see"):
        read(tmp_path)


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path, kind: str) -> None:
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc/machine-id"
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    with pytest.raises(SecretError, match="/etc/machine-id of old is not a file"):
        read(tmp_path)


def test_a_file_that_goes_on_for_ever_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with (tmp_path / "etc/machine-id").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(SourceError, match=r"^/etc/machine-id of old is 1099511627776 bytes long: see"):
        read(tmp_path)


def test_what_only_root_may_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(tmp_path)

    def deny(_self: FolderTree, path: str) -> bytes:
        raise MetisError(f"{path} of old: Permission denied")

    monkeypatch.setattr(FolderTree, "read", deny)
    with pytest.raises(SourceError, match="Permission denied: run as root"):
        read(tmp_path)


# ------------------------------------------------------------------------------------ which partition


def disk_of(*labels: str) -> Disk:
    parts = [
        Partition(number, number << 20, 1 << 20, "83", "x", "vfat" if label == "fat" else "ext4", label, None)
        for number, label in enumerate(labels, 1)
    ]
    return Disk("dos", 99 << 20, 512, tuple(parts))


class Holding:
    def __init__(self, *roots: int) -> None:
        self._roots = roots

    def has(self, partition: int, _paths: object) -> bool:
        return partition in self._roots


def test_the_root_is_found_by_content_and_only_then_by_label() -> None:
    def never() -> str:
        raise AssertionError("asked for without need")

    assert root_by_content(never)(disk_of("fat", "data", "old"), Holding(3)) == Places(3, None)
    choose = root_by_content(lambda: "armbi_root")
    assert choose(disk_of("fat", "armbi_root", "other"), Holding(2, 3)) == Places(2, None)
    for disk, roots in (
        (disk_of("a", "b"), (1, 2)),
        (disk_of("armbi_root", "b"), ()),
        (disk_of("fat"), (1,)),
    ):
        with pytest.raises(SourceError, match=r"roots? on it.*name the folder"):
            choose(disk, Holding(*roots))


# --------------------------------------------------------------------------------------------- ssh

NODE = Live("titan-13", "root", 2222)


def answer(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_files_come_back_whatever_the_shell_says_before_and_after() -> None:
    out = answer("Welcome", "metis: begin", *(f"{path} {encoded(data)}" for path, data in FILES.items()))
    assert ssh.parsed(out + answer("metis: end", "bye"), PATHS, NODE) == FILES
    assert ssh.parsed(answer("metis: begin", "/etc/machine-id ", "metis: end"), PATHS, NODE) == {
        "/etc/machine-id": b""
    }


@pytest.mark.parametrize(
    "out",
    [
        b"",
        b"\xff\xfe hunter2",
        answer("metis: begin"),
        answer("metis: end", "metis: begin"),
        answer("metis: begin", f"/etc/shadow {encoded(b'hunter2')}", "metis: end"),
        answer("metis: begin", "/etc/machine-id hunter2!", "metis: end"),
        answer("metis: begin", "/etc/machine-id aGk=", "/etc/machine-id aGk=", "metis: end"),
        answer("metis: begin", "hunter2", "metis: end"),
        answer("metis: begin", "/etc/machine-id aGk=").rstrip(),
    ],
)
def test_an_answer_that_was_not_asked_for_is_refused_and_not_shown(out: bytes) -> None:
    with pytest.raises(SourceError, match="ssh://root@titan-13:2222 does not answer as it should") as caught:
        ssh.parsed(out, PATHS, NODE)
    assert "hunter2" not in str(caught.value)


@given(st.binary(max_size=300))
def test_any_answer_is_taken_or_refused(content: bytes) -> None:
    try:
        found = ssh.parsed(b"metis: begin\n" + content + b"\nmetis: end\n", PATHS, NODE)
    except SourceError:
        return
    assert found.keys() <= set(PATHS)


def test_the_destination_can_never_be_an_option(tmp_path: Path) -> None:
    words = ssh.arguments(NODE, tmp_path / "config")
    assert words[:3] == ["ssh", "-F", str(tmp_path / "config")]
    assert words[-4:-1] == ["2222", "--", "root@titan-13"]
    assert "BatchMode=yes" in words
    assert not any("StrictHostKeyChecking" in word for word in words)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'x: Permission denied (publickey).' >&2; exit 255", "lets nobody in with your keys"),
        ("echo 'Host key verification failed.' >&2; exit 255", "shows a host key that ssh does not know"),
        ("echo 'ssh: connect to host x port 22: Connection refused' >&2; exit 255", "refuses connections"),
        ("echo 'hunter2' >&2; exit 255", "cannot be reached with ssh"),
        ("echo 'sudo: a password is required hunter2' >&2; exit 1", "lets nobody be root"),
        ("exit 78", "lacks head, base64 or tr"),
        ("echo hunter2", "does not answer as it should"),
        ("cat /dev/zero", "said more than"),
    ],
)
def test_each_way_to_fail_is_one_line_without_what_the_node_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SourceError, match=rf"^ssh://root@titan-13:2222:? .*{said}") as caught:
        ssh.read(NODE, PATHS)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_host_that_does_not_answer_is_not_reachable(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n    UserKnownHostsFile /dev/null\n")
    with pytest.raises(SourceError, match="refuses connections"):
        ssh.read(Live("127.0.0.1", "root", 1), PATHS, config)


@pytest.mark.parametrize("shell", ["sh", "bash", "dash"])
def test_the_script_gives_the_files_that_are_there(tmp_path: Path, shell: str) -> None:
    """The same lines that a node's root gets, with this test's folder for its root."""
    planted(tmp_path)
    (tmp_path / "etc/ssh/ssh_host_rsa_key").mkdir()
    paths = [f"{tmp_path}{path}" for path in PATHS]
    script = ssh.SCRIPT.format(files=" ".join(paths)).encode()
    out = process.run([shell, "-s"], stdin=script).out
    assert ssh.parsed(out, paths, NODE) == {f"{tmp_path}{path}": data for path, data in FILES.items()}


def test_a_long_file_is_cut_off_where_it_is_too_long(tmp_path: Path) -> None:
    file = tmp_path / "long"
    file.write_bytes(b"x" * (1 << 20))
    out = process.run(["sh", "-s"], stdin=ssh.SCRIPT.format(files=file).encode()).out
    assert len(ssh.parsed(out, [str(file)], NODE)[str(file)]) == MAX_BYTES + 1


def test_a_folder_that_is_gone_cannot_be_opened(tmp_path: Path) -> None:
    tools = Tools(lambda: pytest.fail("no injector is needed"), lambda: None, None)
    with pytest.raises(SourceError, match="no such file or directory"):
        capture.capture(Folder(tmp_path / "gone"), tools)
