"""The operator's age key: made once, private, and what is sealed opens only for whom it was meant."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from subprocess import PIPE

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InventoryError, MetisError, MismatchError, RefusedError, SecretError, SourceError
from pipeline.machine import process
from pipeline.secrets import ssh_keys
from pipeline.secrets.age_keys import AgeKeys
from pipeline.settings import Settings
from tests.support import race
from tests.support.rendering import program

FILE = "titan-13.age"
TEXT = b"k3s_token: hunter2\n"


def made(folder: Path, *recipients: str) -> AgeKeys:
    return AgeKeys(folder / "age.key", lambda: recipients, makes_key=True)


def held(folder: Path, content: str | bytes) -> AgeKeys:
    """The keys of a file with this content."""
    file = folder / "held.key"
    file.touch(mode=0o600)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return AgeKeys(file, tuple, makes_key=False)


def public(keys: AgeKeys) -> str:
    keys.sealed(b"")  # makes it
    (line,) = re.findall(r"(?m)^# public key: (age1\S+)$", keys.file.read_text())
    assert isinstance(line, str)
    return line


def age(*options: str | Path, given: bytes = b"", name: str = "age") -> bytes:
    """What a program of age(1) says."""
    return subprocess.run([program(name, "age"), *options], input=given, stdout=PIPE, check=True).stdout


# ------------------------------------------------------------------------------------------ making


def test_the_key_is_made_when_it_is_first_needed_and_never_again(tmp_path: Path) -> None:
    keys = made(tmp_path / "config/metis")
    assert not keys.is_there()
    assert keys.opened(keys.sealed(TEXT), FILE) == TEXT
    content = keys.file.read_bytes()
    assert [path.stat().st_mode & 0o777 for path in (keys.file, keys.file.parent)] == [0o600, 0o700]
    assert [path.name for path in keys.file.parent.iterdir()] == ["age.key"]
    assert made(tmp_path / "config/metis").opened(keys.sealed(TEXT), FILE) == TEXT
    assert keys.file.read_bytes() == content


def test_the_key_is_as_age_keygen_makes_it(tmp_path: Path) -> None:
    keys = made(tmp_path)
    recipient = public(keys)
    created, public_key, secret = keys.file.read_text().splitlines()
    assert re.fullmatch(r"# created: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", created)
    assert public_key == f"# public key: {recipient}"
    assert re.fullmatch(r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}", secret)


def test_who_changes_nothing_makes_no_key(tmp_path: Path) -> None:
    keys = AgeKeys(tmp_path / "none/age.key", tuple, makes_key=False)
    asks: list[Callable[[], bytes]] = [lambda: keys.sealed(TEXT), lambda: keys.opened(b"", FILE)]
    for ask in asks:
        with pytest.raises(SourceError, match=r"no age key at .*/none/age\.key: .*METIS_AGE_IDENTITY"):
            ask()
    assert list(tmp_path.iterdir()) == []


def test_to_open_a_file_no_key_is_made(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no age key at"):
        made(tmp_path / "one").opened(made(tmp_path / "two").sealed(TEXT), FILE)
    assert not (tmp_path / "one").exists()


def test_a_key_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MetisError, match=r"age\.key.*: not a directory") as caught:
        made(tmp_path / "file").sealed(TEXT)
    assert "\n" not in str(caught.value)


RACE = """
import sys
from pathlib import Path
from pipeline.secrets.age_keys import AgeKeys
import pyrage
sys.stdin.readline()
sys.stdout.buffer.write(AgeKeys(Path(sys.argv[1]), tuple, makes_key=True).sealed(b"hunter2"))
"""


def test_processes_that_start_together_end_with_one_key(tmp_path: Path) -> None:
    sealed = race.together(RACE, str(tmp_path / "metis/age.key"))
    keys = AgeKeys(tmp_path / "metis/age.key", tuple, makes_key=False)
    assert [keys.opened(content, FILE) for content in sealed] == [b"hunter2"] * race.RUNNERS


def test_threads_share_the_keys(tmp_path: Path) -> None:
    keys = made(tmp_path)
    opened: list[bytes] = []

    def work() -> None:
        opened.extend(keys.opened(keys.sealed(TEXT), FILE) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == [TEXT] * 80


# ----------------------------------------------------------------------------------------- reading


def mode(name: str, bits: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).chmod(bits)


def link(folder: Path) -> None:
    (folder / "age.key").rename(folder / "elsewhere")
    (folder / "age.key").symlink_to("elsewhere")


def dangling(folder: Path) -> None:
    (folder / "age.key").unlink()
    (folder / "age.key").symlink_to("nowhere")


def pipe(folder: Path) -> None:
    (folder / "age.key").unlink()
    os.mkfifo(folder / "age.key", 0o600)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a key that others may read": (mode("age.key", 0o644), r"run `chmod 0600 .*age\.key`"),
    "a folder that others may write": (mode(".", 0o777), "run `chmod 0755 .*metis`"),
    "a link": (link, "is a link"),
    "a link to nowhere": (dangling, "is a link"),
    "a pipe": (pipe, "is not a regular file"),
    "a huge file": (lambda folder: os.truncate(folder / "age.key", 2 << 20), "is larger than 1 MiB"),
}


@pytest.mark.parametrize(("spoil", "line"), REFUSED.values(), ids=REFUSED.keys())
def test_a_key_that_others_could_have_read_or_given_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], line: str
) -> None:
    folder = tmp_path / "metis"
    content = made(folder).sealed(TEXT)
    spoil(folder)
    asks: list[Callable[[], bytes]] = [
        lambda: made(folder).opened(content, FILE),
        lambda: made(folder).sealed(TEXT),
    ]
    for ask in asks:
        with pytest.raises(RefusedError, match=line):
            ask()


def test_a_key_may_lie_in_a_folder_that_others_may_look_into(tmp_path: Path) -> None:
    content = made(tmp_path).sealed(TEXT)
    tmp_path.chmod(0o755)
    assert made(tmp_path).opened(content, FILE) == TEXT


def identity() -> tuple[str, str]:
    key = pyrage.x25519.Identity.generate()
    return str(key), str(key.to_public())


def test_all_keys_of_a_file_are_tried_and_sealed_for(tmp_path: Path) -> None:
    (one, to_one), (two, to_two) = identity(), identity()
    keys = held(tmp_path, f"# old\n{one}\r\n\n  {two}  \n")
    for recipient in (to_one, to_two):
        content = pyrage.encrypt(TEXT, [pyrage.x25519.Recipient.from_str(recipient)])
        assert keys.opened(content, FILE) == TEXT
    for secret in (one, two):
        assert held(tmp_path, secret).opened(keys.sealed(TEXT), FILE) == TEXT


@pytest.mark.parametrize("make", [ssh_keys.new_ed25519, ssh_keys.new_rsa])
def test_an_ssh_key_is_as_good(tmp_path: Path, make: Callable[[], str]) -> None:
    keys = held(tmp_path, make())
    assert keys.opened(keys.sealed(TEXT), FILE) == TEXT


SECRET, PUBLIC = identity()
NO_KEYS = {
    "nothing": ("", "has no key in it"),
    "comments alone": ("# AGE-SECRET-KEY-1\n", "has no key in it"),
    "half a key": (SECRET[:-1], ":1: this is no AGE-SECRET-KEY-1"),
    "a public key": (PUBLIC, ":1: this is no AGE-SECRET-KEY-1"),
    "bytes": (b"\xff\xfe\x00", ":1: this is no"),
    "a good key and another line": (f"# mine\n{SECRET}\nhunter2\n", ":3: this is no"),
    "an SSH key of a kind that age has not": (ssh_keys.new_ecdsa(), "is no SSH key that age can use"),
    "half an SSH key": ("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n", "is no SSH key that age can use"),
}


@pytest.mark.parametrize(("content", "line"), NO_KEYS.values(), ids=NO_KEYS.keys())
def test_a_file_without_a_key_is_said_in_one_line_and_not_shown(
    tmp_path: Path, content: str | bytes, line: str
) -> None:
    with pytest.raises(SecretError, match=line) as caught:
        held(tmp_path, content).opened(b"", FILE)
    assert caught.value.exit_code == 2
    assert caught.value.__context__ is None
    shown = str(caught.value).replace("AGE-SECRET-KEY-1…", "")
    assert not re.search(r"hunter2|AGE-SECRET|age1", shown)
    assert "\n" not in shown


def test_an_ssh_key_with_a_passphrase_is_refused(tmp_path: Path) -> None:
    keygen = program("ssh-keygen", "openssh-client")
    process.run([keygen, "-q", "-t", "ed25519", "-N", "hunter2", "-f", str(tmp_path / "ssh")])
    with pytest.raises(SecretError, match="without passphrase"):
        AgeKeys(tmp_path / "ssh", tuple, makes_key=True).sealed(TEXT)


KEYS = [SECRET, SECRET.lower(), f" {SECRET}", f"# x\n{SECRET}", ssh_keys.new_ed25519()]


@pytest.mark.parametrize("value", KEYS, ids=["a key", "in lower case", "a space", "a whole file", "of SSH"])
def test_a_key_in_the_place_of_its_file_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(MetisError, match="METIS_AGE_IDENTITY is a key: put it into a file") as caught:
        Settings.from_environment({"METIS_AGE_IDENTITY": value}, Path("/"))
    assert caught.value.exit_code == 2
    assert value.strip()[-20:] not in str(caught.value)


# -------------------------------------------------------------------------------------- recipients


@pytest.mark.parametrize(
    ("own", "named", "line"),
    [
        (SECRET, [], None),
        (SECRET, [PUBLIC], None),
        (SECRET, [identity()[1], PUBLIC], None),
        (f"{identity()[0]}\n{SECRET}", [PUBLIC], None),
        (SECRET, [identity()[1]], f"add {PUBLIC}; what somebody else seals is closed to you"),
        (ssh_keys.new_ed25519(), [PUBLIC], r"make one with age-keygen\(1\), for no SSH key can be named"),
    ],
    ids=["nobody named", "alone", "among others", "one of two keys", "left out", "left out with an SSH key"],
)
def test_whoever_is_no_recipient_is_told_once(
    tmp_path: Path, own: str, named: list[str], line: str | None
) -> None:
    """The next operator to write would take the file away from them."""
    file = held(tmp_path, own).file
    said: list[str] = []
    keys = AgeKeys(file, lambda: named, makes_key=False, note=said.append)
    for _ in range(2):
        assert keys.opened(keys.sealed(TEXT), FILE) == TEXT
    assert len(said) == (line is not None)
    assert line is None or re.search(
        rf"^age_recipients of cluster\.yaml .* {re.escape(str(file))}: .*{line}", said[0]
    )
    assert SECRET not in "".join(said)


def test_all_recipients_open_what_one_has_sealed_and_so_does_who_sealed_it(tmp_path: Path) -> None:
    two, three = made(tmp_path / "two"), made(tmp_path / "three")
    one = made(tmp_path / "one", public(two), public(three))
    content = one.sealed(TEXT)
    assert [keys.opened(content, FILE) for keys in (one, two, three)] == [TEXT] * 3
    with pytest.raises(SourceError):
        one.opened(two.sealed(TEXT), FILE)


NO_RECIPIENTS = {
    "nothing": "",
    "half of one": PUBLIC[:-1],
    "a secret key": SECRET,
    "an SSH key": ssh_keys.public_line(ssh_keys.new_ed25519()),
    "a plugin's": "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
    "no UTF-8": "\udcff",
}


@pytest.mark.parametrize("bad", NO_RECIPIENTS.values(), ids=NO_RECIPIENTS.keys())
def test_a_recipient_that_is_none_is_named_by_its_place(tmp_path: Path, bad: str) -> None:
    keys = made(tmp_path / "config", PUBLIC, bad)
    with pytest.raises(
        InventoryError, match=r"^cluster\.yaml: age_recipients\.1: no age recipient"
    ) as caught:
        keys.sealed(TEXT)
    assert caught.value.exit_code == 2
    assert caught.value.__context__ is None
    assert not bad or bad not in str(caught.value)
    assert not keys.is_there(), "what fails leaves nothing behind"


def test_to_open_no_recipient_is_needed(tmp_path: Path) -> None:
    content = made(tmp_path).sealed(TEXT)
    assert made(tmp_path, "bad").opened(content, FILE) == TEXT


# --------------------------------------------------------------------------------- what is altered


@cache
def specimen() -> tuple[str, bytes, bytes]:
    """A key, and what was sealed for it, as it is and armoured."""
    key = pyrage.x25519.Identity.generate()
    plain, armoured = (pyrage.encrypt(TEXT, [key.to_public()], armored=kind) for kind in (False, True))
    return str(key), plain, armoured


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> AgeKeys:
    return held(tmp_path_factory.mktemp("keys"), specimen()[0])


def refused(keys: AgeKeys, content: bytes) -> MetisError:
    with pytest.raises((MismatchError, SourceError)) as caught:
        keys.opened(content, FILE)
    assert str(caught.value).startswith(f"{FILE} is ")
    assert "\n" not in str(caught.value)
    assert caught.value.__context__ is None
    return caught.value


def test_both_forms_of_age_are_read(keys: AgeKeys) -> None:
    assert [keys.opened(content, FILE) for content in specimen()[1:]] == [TEXT, TEXT]


def test_what_is_cut_short_anywhere_is_altered(keys: AgeKeys) -> None:
    content = specimen()[1]
    for length in range(len(content)):
        assert refused(keys, content[:length]).exit_code == 4, length


@given(st.data())
def test_armour_that_is_cut_short_opens_for_nobody(keys: AgeKeys, data: st.DataObject) -> None:
    whole = specimen()[2].rstrip()
    refused(keys, whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.data())
def test_a_wrong_bit_opens_for_nobody(keys: AgeKeys, data: st.DataObject) -> None:
    """In the part that is for one key alone it looks as if it were another's: then the exit code is 5."""
    content = bytearray(specimen()[1])
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    refused(keys, bytes(content))


def test_a_wrong_bit_in_the_payload_or_its_mac_is_altered(keys: AgeKeys) -> None:
    content = specimen()[1]
    for index in range(content.index(b"\n--- ") + 5, len(content)):
        altered = bytearray(content)
        altered[index] ^= 1
        assert refused(keys, bytes(altered)).exit_code == 4, index


@given(st.binary() | st.binary().map(lambda tail: b"age-encryption.org/v1\n" + tail))
def test_any_bytes_are_refused_in_one_line(keys: AgeKeys, content: bytes) -> None:
    refused(keys, content)


def test_more_than_what_was_sealed_is_altered(keys: AgeKeys) -> None:
    assert refused(keys, specimen()[1] + b"x").exit_code == 4


def test_what_is_for_another_key_says_whose_it_is_not(keys: AgeKeys) -> None:
    error = refused(keys, pyrage.encrypt(TEXT, [pyrage.x25519.Identity.generate().to_public()]))
    assert error.exit_code == 5
    assert f"{FILE} is sealed for other keys than those of {keys.file}: name the file" in str(error)


def test_what_a_passphrase_has_sealed_says_so(keys: AgeKeys) -> None:
    error = refused(keys, pyrage.passphrase.encrypt(TEXT, "hunter2"))
    assert (error.exit_code, "is sealed by a passphrase" in str(error)) == (5, True)


# ------------------------------------------------------------------------------- age(1) of others


def test_age_opens_what_we_seal_and_we_what_it_seals(tmp_path: Path) -> None:
    keys = made(tmp_path)
    recipient = public(keys)
    assert age("-y", keys.file, name="age-keygen").decode().strip() == recipient
    assert age("-d", "-i", keys.file, given=keys.sealed(TEXT)) == TEXT
    for options in ([], ["-a"]):
        assert keys.opened(age("-r", recipient, *options, given=TEXT), FILE) == TEXT


def test_a_key_of_age_keygen_is_taken(tmp_path: Path) -> None:
    age("-o", tmp_path / "age.key", name="age-keygen")
    content = made(tmp_path).sealed(TEXT)
    assert age("-d", "-i", tmp_path / "age.key", given=content) == TEXT


def test_what_is_sealed_shows_nothing_of_the_text(tmp_path: Path) -> None:
    content = made(tmp_path).sealed(TEXT)
    assert TEXT not in content
    assert base64.b64encode(TEXT) not in content
