"""Edits change the one line that they are about, and nothing that the golden says besides."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.edits.table import apply
from pipeline.errors import MetisError

NODE = {"names": "titan-13"}
ATLAS = {"user": "atlas", "uid": "1000", "home": "/home/atlas"}
HASH = "$6$saltsaltsaltsalt$hash"
ARGUMENTS = {
    "hosts": NODE,
    "passwd": ATLAS,
    "group": ATLAS,
    "gshadow": {"user": "atlas"},
    "shadow": {"user": "atlas", "hash": HASH},
}


@dataclass(frozen=True)
class Case:
    edit: str
    old: str
    new: str


CASES = {
    "hosts: the golden's name gives way": Case(
        "hosts",
        "127.0.0.1\tlocalhost\n127.0.1.1\tgolden golden.lan\n::1\tlocalhost\n",
        "127.0.0.1\tlocalhost\n127.0.1.1\ttitan-13\n::1\tlocalhost\n",
    ),
    "hosts: a name comes after localhost": Case(
        "hosts",
        "# hosts\n127.0.0.1 localhost\n192.0.2.1 gateway\n",
        "# hosts\n127.0.0.1 localhost\n127.0.1.1\ttitan-13\n192.0.2.1 gateway\n",
    ),
    "hosts: an empty file gets localhost too": Case(
        "hosts", "", "127.0.0.1\tlocalhost\n127.0.1.1\ttitan-13\n"
    ),
    "hosts: several lines of 127.0.1.1 become one": Case(
        "hosts",
        "127.0.0.1 localhost\n127.0.1.1 a\n  127.0.1.1\tb # c\n",
        "127.0.0.1 localhost\n127.0.1.1\ttitan-13\n",
    ),
    "hosts: addresses and comments that only look alike stay": Case(
        "hosts",
        "127.0.0.1 localhost\n127.0.1.11 other\n#127.0.1.1 off\n",
        "127.0.0.1 localhost\n127.0.1.1\ttitan-13\n127.0.1.11 other\n#127.0.1.1 off\n",
    ),
    "hosts: a last line without its end gets one": Case(
        "hosts", "127.0.0.1 localhost", "127.0.0.1 localhost\n127.0.1.1\ttitan-13\n"
    ),
    "hosts: line ends of DOS, and characters that only Python takes for line ends, stay": Case(
        "hosts",
        "127.0.0.1 localhost\r\n# a\x0cb\x85c\u2028127.0.1.1 d\r\n",
        "127.0.0.1 localhost\r\n127.0.1.1\ttitan-13\n# a\x0cb\x85c\u2028127.0.1.1 d\r\n",
    ),
    "passwd: a user is added at the end": Case(
        "passwd",
        "root:x:0:0:root:/root:/bin/bash\n",
        "root:x:0:0:root:/root:/bin/bash\natlas:x:1000:1000::/home/atlas:/bin/bash\n",
    ),
    "passwd: a user that is there stays as it is": Case(
        "passwd", "atlas:x:1234:100:A:/home/atlas:/bin/zsh\n", "atlas:x:1234:100:A:/home/atlas:/bin/zsh\n"
    ),
    "passwd: a user that is there may come after the one with its number": Case(
        "passwd",
        "pi:x:1000:1000::/home/pi:/bin/sh\natlas:x:1001:1001::/home/atlas:/bin/sh\n",
        "pi:x:1000:1000::/home/pi:/bin/sh\natlas:x:1001:1001::/home/atlas:/bin/sh\n",
    ),
    "passwd: a name that only begins alike is another user": Case(
        "passwd",
        "atlas2:x:999:999::/:/bin/sh\n",
        "atlas2:x:999:999::/:/bin/sh\natlas:x:1000:1000::/home/atlas:/bin/bash\n",
    ),
    "passwd: odd lines are carried along": Case(
        "passwd",
        "+::::::\n\n# comment: 1000\nshort:x\n:x:1:1::/:\n",
        "+::::::\n\n# comment: 1000\nshort:x\n:x:1:1::/:\natlas:x:1000:1000::/home/atlas:/bin/bash\n",
    ),
    "passwd: a line without its end is ended before the user's": Case(
        "passwd",
        "root:x:0:0::/root:/bin/sh",
        "root:x:0:0::/root:/bin/sh\natlas:x:1000:1000::/home/atlas:/bin/bash\n",
    ),
    "passwd: a user hidden behind a form feed is not there": Case(
        "passwd",
        "games:x:5:60:a\x0catlas:x:5:60::/:/bin/sh\n",
        "games:x:5:60:a\x0catlas:x:5:60::/:/bin/sh\natlas:x:1000:1000::/home/atlas:/bin/bash\n",
    ),
    "group: the user's own group is added": Case("group", "root:x:0:\n", "root:x:0:\natlas:x:1000:\n"),
    "group: a group that is there stays, with its members": Case(
        "group", "atlas:x:1000:ann,bob\n", "atlas:x:1000:ann,bob\n"
    ),
    "gshadow: the user's own group is added without a password": Case(
        "gshadow", "root:*::\n", "root:*::\natlas:!::\n"
    ),
    "gshadow: a group that is there stays, with its members": Case(
        "gshadow", "atlas:!:ann:bob\n", "atlas:!:ann:bob\n"
    ),
    "shadow: a user is added with its password": Case(
        "shadow",
        "daemon:*:19700:0:99999:7:::\n",
        f"daemon:*:19700:0:99999:7:::\natlas:{HASH}:19700:0:99999:7:::\n",
    ),
    "shadow: a password of the golden gives way, and what is said of its age stays": Case(
        "shadow", "atlas:$y$j9T$salt$hash:19000:1:90:7:30::\n", f"atlas:{HASH}:19000:1:90:7:30::\n"
    ),
    "shadow: nobody is asked for a new password at the first login": Case(
        "shadow", "atlas:$y$j9T$salt$hash:0:0:99999:7:::\n", f"atlas:{HASH}:19700:0:99999:7:::\n"
    ),
    "shadow: a password that the golden gives root is locked": Case(
        "shadow",
        "root:$y$j9T$salt$hash:0:0:99999:7:::\natlas:!:19000::::::\n",
        f"root:*:19700:0:99999:7:::\natlas:{HASH}:19000::::::\n",
    ),
    "shadow: a user that stands twice has no old password left": Case(
        "shadow",
        "atlas::19000::::::\natlas:x:19000::::::\n",
        f"atlas:{HASH}:19000::::::\natlas:{HASH}:19000::::::\n",
    ),
    "shadow: a name that only begins alike keeps its password": Case(
        "shadow",
        "atlas2:!:19000::::::\nrooty:!:1::::::\n",
        f"atlas2:!:19000::::::\nrooty:!:1::::::\natlas:{HASH}:19700:0:99999:7:::\n",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_edit_gives_the_file_that_is_written_beside_it(case: Case) -> None:
    assert apply(case.edit, case.old.encode(), ARGUMENTS[case.edit], "/etc/x").decode() == case.new


def test_the_password_of_root_is_its_own_where_root_is_the_user() -> None:
    old = b"root:*:0:0:99999:7:::\n"
    new = apply("shadow", old, {"user": "root", "hash": HASH}, "/etc/shadow").decode()
    assert new == f"root:{HASH}:19700:0:99999:7:::\n"


@pytest.mark.parametrize("edit", ["passwd", "group"])
def test_a_number_that_another_has_is_refused_by_name(edit: str) -> None:
    with pytest.raises(MetisError, match=r"/etc/passwd .* gives 1000 to 'pi' already: .* ssh\.uid"):
        apply(edit, b"pi:x:1000:1000::/home/pi:/bin/sh\n", ATLAS, "/etc/passwd")


@pytest.mark.parametrize(
    "line", ["atlas:x:33:33::/var/www:/bin/sh", "atlas:x:33:33::/home/atlas:/usr/sbin/nologin", "atlas"]
)
def test_an_account_that_cannot_log_in_with_keys_at_home_is_refused(line: str) -> None:
    with pytest.raises(
        MetisError, match=r"/etc/passwd of the golden has a 'atlas' already, .*: give ssh\.user"
    ):
        apply("passwd", f"{line}\n".encode(), ATLAS, "/etc/passwd")


def test_what_is_no_text_is_refused_with_its_path() -> None:
    with pytest.raises(MetisError, match="cannot edit /etc/hosts of the golden: it is not UTF-8 text"):
        apply("hosts", b"127.0.0.1 \xff\n", NODE, "/etc/hosts")


def test_an_edit_that_nobody_knows_is_refused_in_one_line() -> None:
    with pytest.raises(MetisError, match="no edit called 'rot13'"):
        apply("rot13", b"", {}, "/etc/hosts")


hosts_words = st.sampled_from(
    ["127.0.0.1", "127.0.1.1", "::1", "localhost", "golden", "#", "\t", " ", "\r", "\x0c", "\u2028", ""]
)
account_fields = st.sampled_from(["atlas", "root", "x", "0", "999", "", "+", "/home/atlas", "\x85", "\r"])
account_lines = st.lists(account_fields, max_size=8).map(":".join)
texts = {
    "hosts": st.lists(st.lists(hosts_words).map(" ".join)),
    # Of atlas, only what passwd does not refuse.
    "passwd": st.lists(
        account_lines.filter(lambda line: line.split(":")[0] != "atlas")
        | st.just("atlas:x:1234:100:A:/home/atlas:/bin/zsh")
    ),
    **dict.fromkeys(("group", "gshadow", "shadow"), st.lists(account_lines)),
}
files = st.sampled_from(sorted(texts)).flatmap(
    lambda edit: st.tuples(st.just(edit), texts[edit], st.sampled_from(["", "\n"]))
)


@given(files)
def test_an_edit_done_twice_is_an_edit_done_once(file: tuple[str, list[str], str]) -> None:
    edit, lines, end = file
    once = apply(edit, ("\n".join(lines) + end).encode(), ARGUMENTS[edit], "/etc/x")
    assert apply(edit, once, ARGUMENTS[edit], "/etc/x") == once


def is_meant(edit: str, line: str) -> bool:
    """Whether an edit may change a line."""
    if edit == "shadow":
        return line.split(":", maxsplit=1)[0] in {"atlas", "root"}
    return edit == "hosts" and line.split()[:1] == ["127.0.1.1"]


@given(files)
def test_all_other_lines_stay_and_keep_their_order(file: tuple[str, list[str], str]) -> None:
    edit, lines, end = file
    new = apply(edit, ("\n".join(lines) + end).encode(), ARGUMENTS[edit], "/etc/x").decode().split("\n")
    others = [line for line in lines if not is_meant(edit, line)]
    remaining = iter(new)
    assert all(line in remaining for line in others), "a line is missing or has moved"
    assert len(new) <= len(lines) + 4  # at most localhost, the name, and the ends of two last lines


@given(files)
def test_the_line_that_was_asked_for_is_there_once(file: tuple[str, list[str], str]) -> None:
    edit, lines, end = file
    new = apply(edit, ("\n".join(lines) + end).encode(), ARGUMENTS[edit], "/etc/x").decode().split("\n")
    if edit == "hosts":
        assert [line for line in new if line.split()[:1] == ["127.0.1.1"]] == ["127.0.1.1\ttitan-13"]
    else:
        before = sum(line.split(":")[0] == "atlas" for line in lines)
        assert sum(line.split(":")[0] == "atlas" for line in new) == max(before, 1)
