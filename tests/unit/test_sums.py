"""Lists of hashes: what sha256sum and its kin write is read back, and the rest is one line of words."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.errors import MetisError
from pipeline.golden.trust import sums
from pipeline.machine import process

A, B = "a1" * 32, "b2" * 32
NAME = "x.img.xz"
CLEARSIGNED = f"""\
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA512

{A}  {NAME}
{B}  y.img.xz
-----BEGIN PGP SIGNATURE-----

iHUEARYKAB0WIQTEAyf0bU3asjYooxeLKIMMcnJokQUCaynY1AAKCRCLKIMMcnJo
-----END PGP SIGNATURE-----
"""

NAMES_US = {
    "text": f"{A}  {NAME}\n",
    "binary": f"{A} *{NAME}\n",
    "one blank": f"{A} {NAME}\n",
    "tab": f"{A}\t{NAME}\n",
    "upper case": f"{A.upper()}  {NAME}\n",
    "without a line end": f"{A}  {NAME}",
    "line ends of Windows": f"{B}  y\r\n{A}  {NAME}\r\n",
    "among others": f"{B}  y{NAME}\n{A}  {NAME}\n{B}  {NAME}.asc\n{B}  X.IMG.XZ\n",
    "here": f"{A}  ./{NAME}\n",
    "in a folder": f"{A} */srv/images/{NAME}\n",
    "BSD": f"SHA256 ({NAME}) = {A}\n",
    "BSD, in a folder": f"SHA256 (images/{NAME}) = {A}\r\n",
    "BSD, of several kinds": f"MD5 ({NAME}) = {'c' * 32}\nSHA512 ({NAME}) = {B}{B}\nSHA256 ({NAME}) = {A}\n",
    "openssl": f"SHA256({NAME})= {A}\n",
    "twice the same": f"{A}  {NAME}\n{A} *./{NAME}\nSHA256 ({NAME}) = {A.upper()}\n",
    "comments": f"# Debian\n\n{A}  {NAME}\n\xff\xfe\n",
    "hash alone": f"{A}",
    "hash alone, with a line end": f"\n{A.upper()}\r\n",
    "clearsigned": CLEARSIGNED,
}

NO_ANSWER = {
    "nothing": ("", "are no list"),
    "web page": (f"<html><body>{A}</body></html>", "are no list"),
    "SHA-512": (f"{A}{B}  {NAME}\n", "are no list"),
    "SHA-1": (f"{'c' * 40}  {NAME}\n", "are no list"),
    "no hexadecimal": (f"{'g' * 64}  {NAME}\n", "are no list"),
    "two hashes alone": (f"{A}\n{B}\n", "are no list"),
    "nul bytes": ("\0" * 100, "are no list"),
    "not listed": (f"{A}  y\n", f"do not list {NAME}"),
    "a folder of that name": (f"{A}  {NAME}/y\n", f"do not list {NAME}"),
    "escape without meaning": (f"\\{B}  \\x.img.xz\n{A}  y\n", f"do not list {NAME}"),
    "two hashes": (f"{A}  {NAME}\n{B}  {NAME}\n", "2 different hashes"),
    "two hashes, two forms": (f"{A}  {NAME}\nSHA256 (a/{NAME}) = {B}\n", "2 different hashes"),
}

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20)
HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
FORMS = st.sampled_from(["text", "binary", "bsd"])


def line(name: str, sha256: str, form: str) -> str:
    """As sha256sum(1) of coreutils 9 writes it."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    start = "\\" if escaped != name else ""
    if form == "bsd":
        return f"{start}SHA256 ({escaped}) = {sha256}"
    return f"{start}{sha256} {'*' if form == 'binary' else ' '}{escaped}"


@pytest.mark.parametrize("text", NAMES_US.values(), ids=NAMES_US.keys())
def test_the_hash_of_a_file_is_found(text: str) -> None:
    assert sums.listed(text.encode("latin-1"), NAME) == A


@pytest.mark.parametrize(("text", "words"), NO_ANSWER.values(), ids=NO_ANSWER.keys())
def test_without_one_answer_there_is_none(text: str, words: str) -> None:
    with pytest.raises(MetisError) as caught:
        sums.listed(text.encode(), NAME)
    assert words in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_list_has_an_end() -> None:
    full = f"{A}  {NAME}\n".encode().ljust(sums.LONGEST, b"\n")
    assert sums.listed(full, NAME) == A
    with pytest.raises(MetisError, match="larger than"):
        sums.listed(full + b"\n", NAME)


def test_a_hostile_name_is_shown_escaped() -> None:
    with pytest.raises(MetisError) as caught:
        sums.listed(f"{A}  y\n".encode(), "\x1b[2Jx\udcff")
    assert str(caught.value).isprintable()


@given(st.dictionaries(NAMES, st.tuples(HASHES, FORMS), min_size=1), st.sampled_from(["\n", "\r\n"]))
@example({"(a) = b": (A, "bsd"), " *x": (B, "text"), "a\\\n\r": (A, "binary")}, "\n")
def test_a_list_of_any_names_gives_each_hash_back(made: dict[str, tuple[str, str]], end: str) -> None:
    text = "".join(line(name, sha256, form) + end for name, (sha256, form) in made.items()).encode()
    for name, (sha256, _) in made.items():
        assert sums.listed(text, name) == sha256


@pytest.mark.parametrize("option", ["--text", "--binary", "--tag"])
def test_what_sha256sum_writes_is_read(tmp_path: Path, option: str) -> None:
    names = ["x", " x", "*x", "a b", "a\\b", "a\nb", "ä", "(x) = y", "\\n"]
    for name in names:
        (tmp_path / name).write_text(name)
    written = process.run(["sha256sum", option, "--", *names], cwd=tmp_path).out
    assert {name: sums.listed(written, name) for name in names} == {
        name: process.run(["sha256sum"], stdin=name.encode()).out.decode()[:64] for name in names
    }


BEGINNINGS = [b"", A.encode(), f"{A}  ".encode(), b"SHA256 (", b"\\", f"\\{A} *\\".encode(), b"\n"]


@given(st.lists(st.builds(bytes.__add__, st.sampled_from(BEGINNINGS), st.binary(max_size=40))), NAMES)
def test_garbage_is_answered_with_a_hash_or_a_refusal(parts: list[bytes], name: str) -> None:
    with suppress(MetisError):
        assert len(bytes.fromhex(sums.listed(b"\n".join(parts), name))) == 32
