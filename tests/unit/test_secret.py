"""A secret shows itself to nobody who does not mean it, and a program that holds one leaves no core."""

from __future__ import annotations

import ast
import copy
import dataclasses
import hmac
import inspect
import io
import json
import logging
import pickle
import pprint
import reprlib
import resource
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.pretty import pretty_repr
from rich.traceback import Traceback

from pipeline.machine import durable, process
from pipeline.secret import MASK, Secret
from pipeline.secrets.source import Stored
from pipeline.secrets.vault.access import VaultAccess
from tests.support.lab import REPOSITORY

VALUE = "hunter2-is-unlike-any-other-text"
SECRET = Secret(VALUE)
ACCESS = VaultAccess("https://vault.example", "", None, SECRET, "role", SECRET, 10.0)

BOOM = "nothing came of it"


def failing(secret: Secret) -> None:
    """Raise with a secret, and a few things that hold it, among the locals."""
    held = {"token": secret}
    listed, access = [secret], ACCESS
    raise RuntimeError(BOOM, held, listed, access)


def fell() -> RuntimeError:
    """What comes out of it."""
    try:
        failing(SECRET)
    except RuntimeError as error:
        return error
    raise AssertionError


def logged() -> str:
    """What a log of all levels and ways says."""
    stream = io.StringIO()
    logger = logging.Logger("a test's own")
    logger.addHandler(logging.StreamHandler(stream))
    logger.error("%s %r", SECRET, SECRET)
    logger.error("%(token)s", {"token": SECRET})
    logger.error(SECRET)
    logger.error("fell", exc_info=fell())
    return stream.getvalue()


def rich_traceback() -> str:
    error = fell()
    stream = io.StringIO()
    shown = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
    Console(file=stream, width=200).print(shown)
    return stream.getvalue()


def pytest_traceback() -> str:
    return str(pytest.ExceptionInfo.from_exception(fell()).getrepr(showlocals=True, style="long"))


SHOWN: Mapping[str, Callable[[], str]] = {
    "str": lambda: str(SECRET),
    "repr": lambda: repr(SECRET),
    "ascii": lambda: ascii(SECRET),
    "f-string": lambda: f"{SECRET}",
    "f-string with a conversion": lambda: f"{SECRET!r:>40} {SECRET!s:.9} {SECRET=}",
    "format with a width": lambda: f"{SECRET:>60}",
    "format of a string": lambda: f"{SECRET:s}{SECRET:.3}",
    "str.format": lambda: "{0} {token!r} {0:^50}".format(SECRET, token=SECRET),  # noqa: UP032
    "percent": lambda: "%s %r %a" % (SECRET, SECRET, SECRET),  # noqa: UP031
    "a list": lambda: str([SECRET, (SECRET,), {SECRET}]),
    "a dict": lambda: str({"token": SECRET, SECRET: "token"}),
    "a namespace": lambda: str(SimpleNamespace(token=SECRET)),
    "a dataclass": lambda: f"{ACCESS} {ACCESS!r} {Stored({'k3s_token': SECRET}, '7')}",
    "dataclasses.asdict": lambda: str(dataclasses.asdict(ACCESS)),
    "dataclasses.astuple": lambda: str(dataclasses.astuple(ACCESS)),
    "dataclasses.replace": lambda: str(dataclasses.replace(ACCESS, address="")),
    "pprint": lambda: pprint.pformat({"token": SECRET, "all": [ACCESS]}),
    "reprlib": lambda: reprlib.repr([SECRET]),
    "rich": lambda: pretty_repr({"token": SECRET, "all": [ACCESS]}),
    "json with a default": lambda: json.dumps([SECRET, ACCESS], default=str),
    "copies": lambda: repr([copy.copy(SECRET), copy.deepcopy([SECRET, ACCESS])]),
    "dir": lambda: " ".join(dir(SECRET)),
    "documentation": lambda: str(inspect.getdoc(SECRET)),
    "a signature's default": lambda: str(inspect.signature(lambda token=SECRET: token)),
    "an exception": lambda: f"{fell()} {fell()!r}",
    "a traceback": lambda: "".join(traceback.format_exception(fell())),
    "a traceback with locals": lambda: "".join(
        traceback.TracebackException.from_exception(fell(), capture_locals=True).format()
    ),
    "rich's traceback with locals": rich_traceback,
    "pytest's traceback with locals": pytest_traceback,
    "logging": logged,
}


@pytest.mark.parametrize("way", SHOWN)
def test_a_secret_masks_itself(way: str) -> None:
    shown = SHOWN[way]()
    assert VALUE not in shown
    assert VALUE[:8] not in shown
    assert MASK in shown or way in {"dir", "documentation"}


WRITTEN: Mapping[str, Callable[[Any], object]] = {
    "json": json.dumps,
    "json as a key": lambda it: json.dumps({it: 1}),
    "json of ours": durable.as_json,
    "json of ours, within": lambda it: durable.as_json({"nodes": [{"token": it}]}),
    "yaml": yaml.dump,
    "yaml, safe": yaml.safe_dump,
    **{f"pickle {number}": partial(pickle.dumps, protocol=number) for number in range(6)},
    "pickle within": lambda it: pickle.dumps({"token": [it]}),
    "its state": lambda it: it.__getstate__(),
    "reduce": lambda it: it.__reduce__(),
    "reduce of a protocol": lambda it: it.__reduce_ex__(2),
    "vars": vars,
    "its dictionary": lambda it: it.__dict__,
    "join": lambda it: "".join([it]),
    "addition": lambda it: "token=" + it,
    "bytes": bytes,
    "iteration": list,
    "an item": lambda it: it[0],
    "a length": len,
    "an order": lambda it: sorted([it, Secret("a")]),
    "a number": int,
    "a literal": ast.literal_eval,
    "a file": lambda it: io.StringIO().write(it),
    "a program's arguments": lambda it: process.run(["true", it]),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_what_would_write_a_secret_down_fails_and_does_not_show_it(way: str) -> None:
    with pytest.raises((TypeError, AttributeError, ValueError, yaml.YAMLError)) as caught:
        WRITTEN[way](SECRET)
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert VALUE not in "".join(told.format()) + repr(caught.value.args)


def test_it_is_given_to_those_who_mean_it() -> None:
    assert SECRET.reveal() == VALUE


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_secrets_are_equal_when_their_texts_are(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) is (one == other)
    assert Secret(one) == Secret(one)
    assert hash(Secret(one)) == hash(Secret(one))


def test_secrets_are_compared_in_a_time_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert Secret("one") != Secret("other")
    assert compared == [(b"one", b"other")]


@pytest.mark.parametrize("other", [VALUE, VALUE.encode(), None, MASK])
def test_a_secret_is_equal_to_no_text(other: object) -> None:
    assert other != SECRET


# ---------------------------------------------------------------------------------------- cores

CRASH = "import os; os.kill(os.getpid(), 11)"
CHILD = [sys.executable, "-c", CRASH]
STARTS: Mapping[str, str] = {
    "metis": "import pipeline.cli; pipeline.cli.main(['config', '--help'])",
    "doit": "import dodo",
}
"""What each door does, up to where work would begin."""
ONE = "import sys\ntry:\n  {start}\nexcept SystemExit: pass\n"
LIMITS = "print(open('/proc/self/limits').read())"


def behind(start: str, tail: str, folder: Path) -> process.Finished:
    """Go through a door in a child that dumps cores as large as they get, and do a thing."""
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if most in {0, 1}:
        pytest.skip("this process may leave no cores, so nobody sees who prevents it")
    limits = ["sh", "-c", 'ulimit -S -c "$(ulimit -H -c)"; cd "$0"; exec "$@"', str(folder)]
    return process.run(
        [*limits, sys.executable, "-c", ONE.format(start=start) + tail],
        check=False,
        extra_environment={"METIS_ARTIFACTS": str(folder / "artifacts"), "PYTHONPATH": str(REPOSITORY)}
        | {"METIS_INVENTORY": str(REPOSITORY)},
    )


def core_limits(said: bytes) -> set[str]:
    """Both limits for cores, of what LIMITS prints."""
    row = next(line for line in said.decode().splitlines() if line.startswith("Max core file size"))
    return set(row.split()[4:6])


@pytest.mark.parametrize("door", STARTS)
@pytest.mark.parametrize("who", ["itself", "its children"])
def test_no_core_is_left_behind_a_door(door: str, who: str, tmp_path: Path) -> None:
    tail = LIMITS
    if who == "its children":
        tail = (
            "from pipeline.machine import process; "
            "print(process.run(['cat', '/proc/self/limits']).out.decode())"
        )
    assert core_limits(behind(STARTS[door], tail, tmp_path).out) <= {"0", "1"}


@pytest.mark.parametrize("door", STARTS)
@pytest.mark.parametrize("who", ["itself", "its children"])
def test_a_crash_leaves_no_core(door: str, who: str, tmp_path: Path) -> None:
    tail = (
        CRASH
        if who == "itself"
        else f"from pipeline.machine import process; process.run({CHILD!r}, check=False)"
    )
    ended = behind(STARTS[door], tail, tmp_path)
    assert ended.code == (0 if who == "its children" else -11), ended
    assert {file.name for file in tmp_path.iterdir()} <= {"artifacts"}


def test_a_crash_would_leave_one_without_it(tmp_path: Path) -> None:
    """In its folder, unless this machine gives cores to a program or keeps them in one place (core(5))."""
    assert not core_limits(behind("pass", LIMITS, tmp_path).out) & {"0", "1"}
    assert behind("pass", CRASH, tmp_path).code == -11
    is_elsewhere = Path("/proc/sys/kernel/core_pattern").read_text().startswith(("|", "/"))
    assert bool([*tmp_path.iterdir()]) != is_elsewhere
