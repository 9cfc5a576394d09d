"""Which scheduler is spoken to, and how: never in the clear to another machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from dask import config
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import MetisError, RefusedError, UsageError
from pipeline.scheduler.access import PATIENCE, VARIABLES, Certificates, SchedulerAccess, scheduler_access
from pipeline.scheduler.extra import distributed, security

TLS = "tls://dask.example:8786"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """The variables of three files that are there."""
    for name in VARIABLES:
        (tmp_path / name).touch()
    return {name: name for name in VARIABLES}


def read(folder: Path, address: str, **more: str) -> SchedulerAccess | None:
    return scheduler_access({"METIS_SCHEDULER": address, **more}, folder)


def test_without_a_scheduler_all_is_made_here() -> None:
    assert scheduler_access({}, Path("/")) is None
    assert scheduler_access({"METIS_SCHEDULER": ""}, Path("/")) is None


def test_over_tls_relative_files_count_from_the_folder(tmp_path: Path, files: dict[str, str]) -> None:
    own = Certificates(*(tmp_path / name for name in VARIABLES))
    assert read(tmp_path, TLS, **files) == SchedulerAccess(TLS, own, PATIENCE)


@pytest.mark.parametrize("missing", VARIABLES)
def test_over_tls_no_certificate_may_be_missing(tmp_path: Path, files: dict[str, str], missing: str) -> None:
    with pytest.raises(UsageError, match=f"{missing} is not set"):
        read(tmp_path, TLS, **{**files, missing: ""})
    with pytest.raises(UsageError, match=f"{missing} is .*/nowhere, which is no file"):
        read(tmp_path, TLS, **{**files, missing: "nowhere"})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "[::1]"])
def test_this_machine_may_be_spoken_to_in_the_clear(tmp_path: Path, host: str) -> None:
    assert read(tmp_path, f"tcp://{host}:8786") == SchedulerAccess(f"tcp://{host}:8786")


@pytest.mark.parametrize(
    "host", ["192.0.2.7", "dask.example", "0.0.0.0", "[2001:db8::7]", "localhost.example"]
)
def test_another_machine_is_not(tmp_path: Path, files: dict[str, str], host: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read(tmp_path, f"tcp://{host}:8786", **files)
    assert caught.value.exit_code == 3


def test_who_insists_speaks_to_another_machine_in_the_clear(tmp_path: Path) -> None:
    insisting = {"METIS_SCHEDULER_INSECURE": "1"}
    found = read(tmp_path, "tcp://192.0.2.7:8786", **insisting)
    assert found == SchedulerAccess("tcp://192.0.2.7:8786")
    assert not found.is_local
    with pytest.raises(UsageError, match="METIS_SCHEDULER_INSECURE"):
        read(tmp_path, "tcp://192.0.2.7:8786", METIS_SCHEDULER_INSECURE="perhaps")


@pytest.mark.parametrize(
    "address",
    [
        "dask.example:8786",
        "tls://dask.example",
        "tls://:8786",
        "tls://dask.example:port",
        "tls://dask.example:99999",
        "tls://dask.example:8786/",
        "tls://dask.example:8786?x=1",
        "tls://user:word@dask.example:8786",
        "tcp://127.0.0.1:8786 ",
        "ws://127.0.0.1:8786",
        "inproc://127.0.0.1/1/1",
        "tls://[::1:8786",
    ],
)
def test_what_is_no_address_of_a_scheduler_is_refused(
    tmp_path: Path, files: dict[str, str], address: str
) -> None:
    with pytest.raises(UsageError, match="METIS_SCHEDULER is"):
        read(tmp_path, address, **files)


@given(st.text())
def test_whatever_is_said_is_an_address_or_an_error_in_one_line(text: str) -> None:
    said = ""
    try:
        found = scheduler_access({"METIS_SCHEDULER": text}, Path("/"))
    except MetisError as error:
        said = str(error)
    else:
        assert found is None or found.address == text
    assert "\n" not in said


@pytest.mark.parametrize("wait", ["0", "-1", "1.5", "soon", "9999999"])
def test_how_long_to_wait_is_a_number_of_seconds(tmp_path: Path, wait: str) -> None:
    with pytest.raises(UsageError, match="METIS_SCHEDULER_WAIT"):
        read(tmp_path, "tcp://localhost:1", METIS_SCHEDULER_WAIT=wait)
    assert read(tmp_path, "tcp://localhost:1", METIS_SCHEDULER_WAIT="7") == SchedulerAccess(
        "tcp://localhost:1", None, 7
    )


def test_files_that_are_no_certificates_are_told_of(tmp_path: Path, files: dict[str, str]) -> None:
    access = read(tmp_path, TLS, **files)
    assert access is not None
    with pytest.raises(UsageError, match=", ".join(VARIABLES)):
        security(access.certificates)


def test_where_dask_is_told_to_encrypt_nobody_is_spoken_to_in_the_clear() -> None:
    with (
        config.set({"distributed.comm.require-encryption": True}),
        pytest.raises(RefusedError, match="tls://"),
    ):
        security(None)


def test_without_dask_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"install metis\[dask\]"):
        distributed()
