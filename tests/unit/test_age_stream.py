"""Streams that age seals and opens: bytes come back as they were, and errors as they happened."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import MismatchError, SourceError, UsageError
from pipeline.secrets import age_stream
from pipeline.secrets.age_keys import AgeKeys
from tests.support.keys import BY_PASSPHRASE

KEY = pyrage.x25519.Identity.generate()
OTHER = pyrage.x25519.Identity.generate()


def sealed(content: bytes, *keys: Any) -> bytes:
    into = io.BytesIO()
    age_stream.seal(io.BytesIO(content), into, [key.to_public() for key in keys or (KEY,)])
    return into.getvalue()


def unsealed(content: bytes, *keys: Any) -> bytes:
    into = io.BytesIO()
    age_stream.unseal(io.BytesIO(content), into, keys or (KEY,))
    return into.getvalue()


@given(st.integers(0, 3 << 16), st.integers(1, 3))
def test_bytes_of_any_length_come_back_for_each_recipient(size: int, count: int) -> None:
    content = os.urandom(size)
    keys = [KEY, *(pyrage.x25519.Identity.generate() for _ in range(count - 1))]
    text = sealed(content, *keys)
    assert all(unsealed(text, key) == content for key in keys)
    assert pyrage.decrypt(text, [KEY]) == content


WHOLE = sealed(bytes(1 << 17))


@given(st.data())
def test_what_was_cut_or_altered_is_noticed(data: st.DataObject) -> None:
    text = bytearray(WHOLE)
    place = data.draw(st.integers(0, len(text) - 1))
    if data.draw(st.booleans()):
        del text[place:]
    else:
        text[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(age_stream.UnopenedError):
        unsealed(bytes(text))


class Endless(io.RawIOBase):
    """A header of age's that has no end."""

    def __init__(self) -> None:
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        start = b"" if self.given else b"age-encryption.org/v1\n-> X25519 "
        self.given += size
        return (start + b"A" * size)[:size]

    def seek(self, place: int, _whence: int = 0) -> int:
        return place


def test_a_header_without_end_is_not_taken_into_memory() -> None:
    endless = Endless()
    with pytest.raises(age_stream.UnopenedError):
        age_stream.unseal(endless, io.BytesIO(), [KEY])  # type: ignore[arg-type]
    assert endless.given <= age_stream.LONGEST_HEADER


class Broken(io.BytesIO):
    """A file that breaks somewhere in the middle."""

    def __init__(self, content: bytes, error: BaseException) -> None:
        super().__init__(content)
        self.left = 1 << 17
        self.error = error

    def _count(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise self.error

    def read(self, size: int | None = -1) -> bytes:
        self._count(size or 0)
        return super().read(size)

    def write(self, data: Any) -> int:
        self._count(len(data))
        return len(data)


BREAKS: dict[str, Callable[[BaseException], None]] = {
    "sealing, read": lambda error: age_stream.seal(
        Broken(bytes(1 << 20), error), io.BytesIO(), [KEY.to_public()]
    ),
    "sealing, written": lambda error: age_stream.seal(
        io.BytesIO(bytes(1 << 20)), Broken(b"", error), [KEY.to_public()]
    ),
    "opening, read": lambda error: age_stream.unseal(
        Broken(sealed(bytes(1 << 20)), error), io.BytesIO(), [KEY]
    ),
    "opening, written": lambda error: age_stream.unseal(
        io.BytesIO(sealed(bytes(1 << 20))), Broken(b"", error), [KEY]
    ),
}


@pytest.mark.parametrize("where", BREAKS)
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_what_a_stream_raises_is_raised_as_it_was(where: str, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        BREAKS[where](error)
    assert caught.value is error


# ------------------------------------------------------------------------------------------- whose


@pytest.mark.parametrize(
    "text",
    ["", "age1", str(KEY), f"{KEY.to_public()}x", "ssh-ed25519 AAAA", "\udcff"],
    ids=["nothing", "a beginning", "a private key", "too long", "of SSH", "no text"],
)
def test_who_is_no_recipient_is_counted_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        age_stream.recipients([str(KEY.to_public()), text], "--encrypt-to")
    assert "number 2" in str(caught.value)
    assert not text or text not in str(caught.value).replace("age1…", "")


@pytest.fixture
def keys(tmp_path: Path) -> AgeKeys:
    file = tmp_path / "age.key"
    file.touch(0o600)
    file.write_text(f"{KEY}\n")
    return AgeKeys(file, tuple, makes_key=False)


def test_a_file_for_our_key_is_opened(keys: AgeKeys) -> None:
    into = io.BytesIO()
    keys.unseal(io.BytesIO(sealed(b"image", OTHER, KEY)), into, "one.img")
    assert into.getvalue() == b"image"


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (sealed(b"image", OTHER), SourceError, "sealed for other keys"),
        (BY_PASSPHRASE, SourceError, "sealed by a passphrase"),
        (sealed(b"image")[:-1], MismatchError, "cut short or altered"),
        (b"image", MismatchError, "cut short or altered"),
        (b"", MismatchError, "cut short or altered"),
    ],
    ids=["others", "a passphrase", "cut", "not sealed", "empty"],
)
def test_a_file_that_does_not_open_says_why(
    keys: AgeKeys, content: bytes, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        keys.unseal(io.BytesIO(content), io.BytesIO(), "one.img")
    assert str(caught.value).startswith("one.img ")


def test_without_a_key_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no age key"):
        AgeKeys(tmp_path / "none", tuple, makes_key=False).unseal(io.BytesIO(b""), io.BytesIO(), "one.img")
