"""Who signed a file, by real keys: what gpg and minisign made is told from what they did not."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import MetisError, MismatchError, UsageError
from pipeline.golden.trust import minisign, openpgp, signatures
from pipeline.machine import process
from tests.support import signing
from tests.support.scripts import stand_in
from tests.support.signing import DATA, LATER, LONG_AGO, Keys

NAME = "https://example.org/x.img.xz"
HTML = b"<!DOCTYPE html>\n<html><title>404 Not Found</title></html>\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    with signing.making(tmp_path_factory.mktemp("signed")) as made:
        yield made


def refusal(keys: Keys, made: bytes, keyring: Path, file: Path | None = None) -> str:
    """What is said of a signature that is not good."""
    with pytest.raises(MismatchError) as caught:
        signatures.verify(file or keys.file, NAME, made, keyring)
    line = str(caught.value)
    assert NAME in line
    assert line.isprintable()
    assert caught.value.hint
    assert caught.value.exit_code == 4
    return line


@pytest.fixture
def another(tmp_path: Path) -> Path:
    file = tmp_path / "-another"
    file.write_bytes(DATA[:-1])
    return file


# --------------------------------------------------------------------------------------- OpenPGP: good


@pytest.mark.parametrize("armoured_keyring", [False, True], ids=["keyring", "armoured keyring"])
@pytest.mark.parametrize("armoured", [False, True], ids=["signature", "armoured signature"])
def test_a_good_signature_tells_whose_it_is(keys: Keys, armoured: bool, armoured_keyring: bool) -> None:
    made = keys.sign("good", *(["--armor"] if armoured else []))
    keyring = keys.keyring("other", "good", armour=armoured_keyring)
    assert signatures.verify(keys.file, NAME, made, keyring) == keys.fingerprint("good")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_armour_has_words_around_it_and_headers_in_it(keys: Keys, end: bytes) -> None:
    """Publishers write both keys of theirs into one file, with a line about each."""
    files = [keys.keyring(key, armour=True).read_bytes() for key in ("other", "good")]
    text = b"\n".join(
        b"our key:\n%s" % file.replace(b"BLOCK-----\n", b"BLOCK-----\nComment: a\n") for file in files
    )
    keyring = keys.folder / "published.asc"
    keyring.write_bytes(text.replace(b"Comment: a\n\n\n", b"Comment: a\n\n").replace(b"\n", end))
    made = keys.sign("good", "--armor").replace(b"\n", end)
    assert signatures.verify(keys.file, NAME, made, keyring) == keys.fingerprint("good")


@pytest.mark.parametrize("start", [b"\xc2", b"\xc2\xff\0\0\0", b"\x89\0", b"\x8a\0\0\0"], ids=bytes.hex)
def test_a_packet_s_length_is_written_in_any_way(keys: Keys, start: bytes) -> None:
    """What gpg writes itself is the shortest form of the older two (RFC 9580, 4.2)."""
    made = start + keys.sign("good")[1:]
    assert signatures.verify(keys.file, NAME, made, keys.keyring("good")) == keys.fingerprint("good")


@pytest.mark.parametrize(
    ("start", "size"), [(b"\xc2\xc0\0", 192), (b"\xc2\xc1\x01", 449), (b"\xc2\xbf", 191)]
)
def test_a_packet_is_as_long_as_it_says(start: bytes, size: int) -> None:
    assert openpgp.signatures(start + bytes(size))
    for wrong in (size - 1, size + 1):
        with pytest.raises(ValueError, match=r"cut off|none of OpenPGP"):
            openpgp.signatures(start + bytes(wrong))


def test_a_key_below_another_is_told_by_the_one_above(keys: Keys) -> None:
    made = keys.sign("twofold")
    assert signatures.verify(keys.file, NAME, made, keys.keyring("twofold")) == keys.fingerprint("twofold")


@pytest.mark.parametrize("order", [("good", "other"), ("other", "good")], ids="+".join)
def test_a_stranger_s_signature_beside_a_good_one_does_no_harm(keys: Keys, order: tuple[str, str]) -> None:
    made = b"".join(keys.sign(key) for key in order)
    assert signatures.verify(keys.file, NAME, made, keys.keyring("good")) == keys.fingerprint("good")


def test_a_good_signature_outlives_one_of_an_older_key(keys: Keys) -> None:
    made = keys.sign("ended", *LONG_AGO) + keys.sign("good")
    assert signatures.verify(keys.file, NAME, made, keys.keyring("ended", "good")) == keys.fingerprint("good")


def test_a_key_that_ended_unused_does_no_harm(keys: Keys) -> None:
    keyring = keys.keyring("ended", "revoked", "good")
    assert signatures.verify(keys.file, NAME, keys.sign("good"), keyring) == keys.fingerprint("good")


def test_nothing_of_the_user_counts_or_is_written(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gnupg").mkdir(mode=0o700)
    for name in ("trustedkeys.gpg", "pubring.gpg"):
        shutil.copy(keys.keyring("other"), tmp_path / ".gnupg" / name)
    (tmp_path / ".gnupg/gpgv.conf").write_text("ignore-time-conflict\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = sorted(tmp_path.rglob("*"))
    assert "not in" in refusal(keys, keys.sign("other"), keys.keyring("good"))
    assert sorted(tmp_path.rglob("*")) == before


# ---------------------------------------------------------------------------------------- OpenPGP: bad


def test_other_bytes_do_not_match(keys: Keys, another: Path) -> None:
    line = refusal(keys, keys.sign("good"), keys.keyring("good"), another)
    assert f"by {keys.fingerprint('good')[-16:]} does not match" in line


def test_a_bad_signature_beside_a_good_one_refuses(keys: Keys, another: Path) -> None:
    bad = keys.gpg("--local-user", "good", "--output", "-", "--detach-sign", "--", another)
    for made in (keys.sign("good") + bad, bad + keys.sign("good")):
        assert "does not match" in refusal(keys, made, keys.keyring("good"))


def test_the_key_of_a_stranger_is_named(keys: Keys) -> None:
    keyring = keys.keyring("good")
    line = refusal(keys, keys.sign("other"), keyring)
    assert f"signed by {keys.fingerprint('other')[-16:]}, which is not in {keyring}" in line


def test_an_expired_key_is_named(keys: Keys) -> None:
    line = refusal(keys, keys.sign("ended", *LONG_AGO), keys.keyring("good", "ended"))
    assert f"signed by {keys.fingerprint('ended')}, which has expired" in line


def test_an_expired_signature_is_not_good_any_more(keys: Keys) -> None:
    made = keys.sign("twofold", *LONG_AGO, "--default-sig-expire", "1d")
    line = refusal(keys, made, keys.keyring("twofold"))
    assert f"the signature of {NAME} by {keys.fingerprint('twofold')} has expired" in line


def test_a_revoked_key_signs_no_more(keys: Keys) -> None:
    made = (keys.folder / "revoked.sig").read_bytes()
    line = refusal(keys, made, keys.keyring("revoked"))
    assert f"signed by {keys.fingerprint('revoked')}, which was revoked" in line
    assert signatures.verify(keys.file, NAME, made, keys.folder / "before.gpg")


@pytest.mark.parametrize("digest", ["MD5", "SHA1", "RIPEMD160"])
def test_a_hash_that_can_be_forged_is_no_good(keys: Keys, digest: str) -> None:
    made = keys.sign("good", "--digest-algo", digest)
    assert "can be forged" in refusal(keys, made, keys.keyring("good"))


def test_a_key_from_the_future_means_a_clock_that_is_wrong(keys: Keys) -> None:
    line = refusal(keys, keys.sign("unborn", *LATER), keys.keyring("unborn"))
    assert "cannot be checked" in line
    assert "check the clock" in line


def test_a_signature_over_a_text_is_not_over_the_bytes(keys: Keys) -> None:
    assert "leaves its line ends open" in refusal(keys, keys.sign("good", "--textmode"), keys.keyring("good"))


def test_a_signature_over_a_key_is_not_over_the_file(keys: Keys) -> None:
    keyring = keys.keyring("good")
    own = keyring.read_bytes()
    for _ in ("the key", "its name"):
        own = own[2 + own[1] :]
    assert "cannot be checked" in refusal(keys, own, keyring)


@pytest.mark.parametrize("version", [b"\x03", b"\x06"], ids=["3", "6"])
def test_a_signature_of_another_version_is_refused(keys: Keys, version: bytes) -> None:
    made = keys.sign("good")
    assert refusal(keys, made[:2] + version + made[3:], keys.keyring("good"))


def no_signatures(keys: Keys) -> dict[str, tuple[bytes, str]]:
    """What may lie where a signature should be, and what is said of it."""
    good, armoured = keys.sign("good"), keys.sign("good", "--armor")
    by_good = ("--local-user", "good", "--output", "-")
    message = keys.gpg(*by_good, "--sign", keys.file)
    return {
        "nothing": (b"", "it is empty"),
        "blanks": (b" \n\n", "it is empty"),
        "web page": (HTML, "it is a web page"),
        "text": (b"Not Found\n", "it is none of OpenPGP"),
        "bytes": (b"\xff" * 1000, "it is cut off"),
        "garbage in armour": (b"-----BEGIN PGP SIGNATURE-----\n\n?\n", "its armour is damaged"),
        "image": (DATA, "it is none of OpenPGP"),
        "huge": (good.ljust(signatures.LARGEST + 1, b"\0"), "it is larger than"),
        "many": (good * (openpgp.MOST + 1), "more than 16 signatures"),
        "half": (good[: len(good) // 2], "it is cut off"),
        "half in armour": (armoured[: armoured.rindex(b"=")].rstrip()[:-4], "it is cut off"),
        "more behind it": (good + b"\n[GNUPG:] GOODSIG\n", "it is none of OpenPGP"),
        "clearsigned": (keys.gpg(*by_good, "--clearsign", keys.file), "no detached signature"),
        "message": (message, "it is a message"),
        "message that is plain": (keys.gpg(*by_good, "-z", "0", "--sign", keys.file), "other things"),
        "message in armour": (keys.gpg(*by_good, "--armor", "--sign", keys.file), "it is none of OpenPGP"),
        "signature and message": (good + message, "it is a message"),
        "literal": (keys.gpg("--output", "-", "-z", "0", "--store", keys.file), "other things"),
        "key": (keys.keyring("good").read_bytes(), "other things"),
        "of minisign": (keys.mini_sign("mine"), "it is none of OpenPGP"),
    }


def test_what_is_no_signature_is_called_so(keys: Keys) -> None:
    keyring = keys.keyring("good")
    for case, (made, words) in no_signatures(keys).items():
        line = refusal(keys, made, keyring)
        assert f"what should sign {NAME} is no signature" in line, case
        assert words in line, case


def smuggler(key_id: str, words: str) -> bytes:
    """A signature packet by hand (RFC 9580, 5.2.3) whose maker calls itself something that it should not."""
    user = words.encode()
    length = len(user) + 1
    made = b"\x05\x02\x7f\xff\xff\xff"  # in 2038: a key must be older than what it signs
    hashed = made + bytes([(length - 192 >> 8) + 192, length - 192 & 0xFF, 28]) + user
    issuer = b"\x09\x10" + bytes.fromhex(key_id)
    number = b"\x01\x00" + b"\xff" * 32
    body = b"\x04\x00\x16\x08" + len(hashed).to_bytes(2, "big") + hashed
    body += len(issuer).to_bytes(2, "big") + issuer + b"\0\0" + number * 2
    return b"\x89" + len(body).to_bytes(2, "big") + body


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\0", " "])
@pytest.mark.parametrize("claimed", ["good", "other"])
def test_no_signature_speaks_in_gpgv_s_name(keys: Keys, claimed: str, end: str) -> None:
    fingerprint = keys.fingerprint("good")
    lines = ["NEWSIG", f"GOODSIG {fingerprint[-16:]} good"]
    lines += [f"VALIDSIG {fingerprint} 2026-01-01 1767225600 0 4 0 22 8 00 {fingerprint}"]
    words = "".join(f"{end}[GNUPG:] {line}" for line in lines) + end
    made = smuggler(keys.fingerprint(claimed)[-16:], words)
    said = refusal(keys, made, keys.keyring("good"))
    assert ("does not match" if claimed == "good" else "not in") in said


GOOD_ID = "0123456789ABCDEF"
GOOD = f"GOODSIG {GOOD_ID} somebody"
PROOF = "VALIDSIG {0} 2026-01-01 1767225600 0 4 0 22 8 00 {0}".format("A" * 24 + GOOD_ID)
ODD = {
    "a verdict of no signature": [GOOD, PROOF],
    "no verdict": ["NEWSIG"],
    "a proof alone": ["NEWSIG", PROOF],
    "a verdict without proof": ["NEWSIG", GOOD],
    "two verdicts": ["NEWSIG", GOOD, f"BADSIG {GOOD_ID} somebody", PROOF],
    "two proofs": ["NEWSIG", GOOD, PROOF, PROOF],
    "a proof of a bad one": ["NEWSIG", f"BADSIG {GOOD_ID} somebody", PROOF],
    "a proof that is cut off": ["NEWSIG", GOOD, PROOF[:-20]],
    "a key that is none": ["NEWSIG", "GOODSIG somebody", PROOF],
    "no key": ["NEWSIG", "GOODSIG", PROOF],
    "an error without reason": ["NEWSIG", f"ERRSIG {GOOD_ID} 22 8 00"],
}


def told(keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: int = 0) -> str:
    """What becomes of the words of a program that calls itself gpgv."""
    stand_in(tmp_path / "tools", "gpgv", f"cat <<'EOF'\n{text}\nEOF\nexit {code}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}:/usr/bin:/bin")
    return signatures.verify(keys.file, NAME, keys.sign("good"), keys.keyring("good"))


@pytest.mark.parametrize("lines", ODD.values(), ids=ODD.keys())
def test_a_gpgv_that_speaks_oddly_is_not_believed(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    with pytest.raises(MetisError, match="what it should not"):
        told(keys, tmp_path, monkeypatch, "\n".join(f"[GNUPG:] {line}" for line in lines))


def test_a_gpgv_that_says_more_than_its_status_is_not_believed(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(f"[GNUPG:] {line}" for line in ["NEWSIG", GOOD, PROOF])
    assert told(keys, tmp_path, monkeypatch, text) == "A" * 24 + GOOD_ID
    with pytest.raises(MetisError, match="what it should not"):
        told(keys, tmp_path, monkeypatch, f"an image\n{text}")
    with pytest.raises(process.ToolError, match="gpgv failed"):
        told(keys, tmp_path, monkeypatch, text, code=139)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_signature_is_refused_or_good_still(keys: Keys, data: st.DataObject) -> None:
    """What is not signed of a signature may change, so some are good still."""
    made = bytearray((keys.folder / "revoked.sig").read_bytes())
    made[data.draw(st.integers(0, len(made) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(MismatchError):
        signatures.verify(keys.file, NAME, bytes(made), keys.folder / "before.gpg")


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x88", b"\xc2", b"-----BEGIN PGP SIGNATURE-----\n\n"])
)
def test_garbage_is_refused_at_worst(garbage: bytes, start: bytes) -> None:
    for read in (openpgp.keys, openpgp.signatures, minisign.key, minisign.signature):
        with suppress(ValueError):
            read(start + garbage)


# ------------------------------------------------------------------------------------------- minisign


@pytest.mark.parametrize("kind", [[], ["-l"]], ids=["hashed", "old"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_a_good_signature_of_minisign_tells_the_key_s_id(keys: Keys, kind: list[str], end: bytes) -> None:
    keyring = keys.folder / "published.pub"
    keyring.write_bytes(keys.mini("mine").read_bytes().replace(b"\n", end))
    made = keys.mini_sign("mine", *kind).replace(b"\n", end)
    assert signatures.verify(keys.file, NAME, made, keyring) == mini_id(keys, "mine")


def mini_id(keys: Keys, key: str) -> str:
    """The id as minisign itself writes it into the comment."""
    return keys.mini(key).read_text().splitlines()[0].rpartition(" ")[2]


@pytest.mark.parametrize("kind", [[], ["-l"]], ids=["hashed", "old"])
def test_other_bytes_do_not_match_a_signature_of_minisign(keys: Keys, another: Path, kind: list[str]) -> None:
    line = refusal(keys, keys.mini_sign("mine", *kind), keys.mini("mine"), another)
    assert f"by {mini_id(keys, 'mine')} does not match" in line


def test_a_comment_that_was_altered_does_not_match(keys: Keys) -> None:
    made = keys.mini_sign("mine", "-t", "version 1").replace(b"version 1", b"version 2")
    assert "does not match" in refusal(keys, made, keys.mini("mine"))


def test_the_key_of_a_stranger_is_named_by_its_id(keys: Keys) -> None:
    line = refusal(keys, keys.mini_sign("theirs"), keys.mini("mine"))
    assert f"signed by {mini_id(keys, 'theirs')}, which is not in {keys.mini('mine')}" in line


def test_a_large_file_is_not_read_into_memory(keys: Keys, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(minisign.WHOLE + 1)
    line = refusal(keys, keys.mini_sign("mine", "-l"), keys.mini("mine"), tmp_path / "large")
    assert "into memory" in line


def test_what_is_no_signature_of_minisign_is_called_so(keys: Keys) -> None:
    good = keys.mini_sign("mine")
    lines = good.splitlines(keepends=True)
    for made, words in {
        b"": "it is empty",
        HTML: "it is a web page",
        keys.sign("good"): "it is none of minisign",
        keys.sign("good", "--armor"): "it is none of minisign",
        keys.mini("mine").read_bytes(): "it is none of minisign",
        b"".join(lines[:2]): "it is none of minisign",
        b"".join([*lines[:3], lines[3][:40], b"\n"]): "it is none of minisign",
        b"".join([lines[0], lines[1].lower(), *lines[2:]]): "it is none of minisign",
        good.ljust(signatures.LARGEST + 1): "it is larger than",
    }.items():
        assert f"is no signature: {words}" in refusal(keys, made, keys.mini("mine"))


# -------------------------------------------------------------------------------------------- keyrings


def test_what_is_no_keyring_is_named(keys: Keys, tmp_path: Path) -> None:
    secret = keys.gpg("--export-secret-keys", "good")
    public, mine = keys.keyring("good").read_bytes(), keys.mini("mine").read_bytes()
    keyring = tmp_path / "keyring"
    for content in (
        b"",
        HTML,
        b"\xff" * 100,
        secret,
        public[:-1],
        keys.sign("good"),
        (keys.home / "pubring.kbx").read_bytes(),
        keys.keyring("good", armour=True).read_bytes()[:-100],
        mine[:-10],
        mine.splitlines()[0],
        mine + mine,
        (keys.folder / "mine.key").read_bytes(),
        keys.mini_sign("mine"),
    ):
        keyring.write_bytes(content)
        assert f"{keyring} is no keyring: it" in unusable(keys, keyring)


def unusable(keys: Keys, keyring: Path) -> str:
    with pytest.raises(UsageError) as caught:
        signatures.verify(keys.file, NAME, keys.sign("good"), keyring)
    assert caught.value.exit_code == 2
    assert "gpg --export" in caught.value.hint
    return str(caught.value)


def test_a_keyring_that_cannot_be_read_is_named(keys: Keys, tmp_path: Path) -> None:
    assert f"keyring {tmp_path / 'none'}: no such file" in unusable(keys, tmp_path / "none")
    assert f"keyring {tmp_path}: is a directory" in unusable(keys, tmp_path)


def test_a_keyring_without_end_is_none(keys: Keys) -> None:
    assert "it is larger than" in unusable(keys, Path("/dev/zero"))


# ----------------------------------------------------------------------------------- files and programs


@pytest.mark.parametrize("program", ["gpgv", "minisign"])
def test_a_program_that_is_missing_is_named(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    made, keyring = (
        (keys.sign("good"), keys.keyring("good"))
        if program == "gpgv"
        else (keys.mini_sign("mine"), keys.mini("mine"))
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(process.ToolError, match=f"{program} is not installed"):
        signatures.verify(keys.file, NAME, made, keyring)


def test_a_file_that_is_not_there_is_not_called_a_mismatch(keys: Keys, tmp_path: Path) -> None:
    for made, keyring in (
        (keys.sign("good"), keys.keyring("good")),
        (keys.mini_sign("mine"), keys.mini("mine")),
    ):
        with pytest.raises(FileNotFoundError):
            signatures.verify(tmp_path / "none", NAME, made, keyring)
