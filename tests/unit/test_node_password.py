"""k3s's hash of a node's password, made anew; one of a stranger costs nothing."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cluster.node_password import matches
from pipeline.secret import Secret


def hashed(password: str, *, n: int = 15, r: int = 8, p: int = 1, salt: str = "00ff11ee22dd33cc") -> str:
    """A hash as CreateHash of k3s's pkg/authenticator/hash/scrypt.go writes it."""
    key = hashlib.scrypt(
        password.encode(), salt=bytes.fromhex(salt), n=1 << n, r=r, p=p, maxmem=1 << 28, dklen=64
    )
    return f"$1:{salt}:{n}:{r}:{p}:{base64.b64encode(key).decode().rstrip('=')}"


@pytest.mark.parametrize(
    ("shown", "is_same"),
    [("0123456789abcdef" * 2, True), ("0123456789abcdef" * 2 + "\n", True), ("another", False), ("", False)],
)
def test_a_password_is_told_from_others(shown: str, is_same: bool) -> None:
    assert matches(Secret(hashed("0123456789abcdef" * 2)), Secret(shown)) == is_same


GOOD = hashed("word", n=10)
_, SALT, _N, _R, _P, KEY = GOOD.split(":")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "word",
        GOOD + "\n",
        GOOD.replace("$1", "$2"),
        f"$1:{SALT}:40:8:1:{KEY}",
        f"$1:{SALT}:20:99:1:{KEY}",
        f"$1:{SALT}:99:99:9:{KEY}",
        f"$1:{SALT}:0:8:1:{KEY}",
        f"$1:{SALT}:10:0:1:{KEY}",
        f"$1:{SALT}:10:8:0:{KEY}",
        f"$1:{SALT}:-1:8:1:{KEY}",
        f"$1:0:10:8:1:{KEY}",
        f"$1:{SALT}:10:8:1:{KEY[:21]}",
        f"$1:{SALT}:10:8:1:{KEY}=",
        f"$1:{SALT}:10:8:1:{KEY[:-1]}",
        f"$1:{SALT}:10:8:1:{'A' * 129}",
        f"$1:{'00' * 65}:10:8:1:{KEY}",
    ],
)
def test_a_hash_that_is_none_or_costs_too_much_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(no hash of k3s|a hash that costs too much)$"):
        matches(Secret(text), Secret("word"))


@given(st.text(alphabet="$1:0123456789abcdefA+/=-\n", max_size=120))
def test_any_text_is_a_hash_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert not matches(Secret(text), Secret("word"))
