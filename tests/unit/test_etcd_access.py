"""How etcd is reached, as the environment says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cluster.etcd import Access, access
from pipeline.errors import UsageError

FOLDER = Path("/lab")
FILES = {"ETCDCTL_CACERT": "ca.crt", "ETCDCTL_CERT": "client.crt", "ETCDCTL_KEY": "/keys/client.key"}
OPEN = Access(Path("/lab/ca.crt"), Path("/lab/client.crt"), Path("/keys/client.key"))


@pytest.mark.parametrize(
    "environment", [{}, dict.fromkeys(FILES, ""), {"ETCDCTL_ENDPOINTS": "192.0.2.1", "ETCDCTL_API": "3"}]
)
def test_without_certificates_etcd_is_not_asked(environment: dict[str, str]) -> None:
    assert access(environment, FOLDER) is None


@pytest.mark.parametrize(
    ("text", "endpoints"),
    [
        (None, ()),
        ("", ()),
        (" , ", ()),
        ("https://192.0.2.11:2379, 192.0.2.12:2379", ("https://192.0.2.11:2379", "192.0.2.12:2379")),
        ("https://[fd00::1]:2379,fd00::2,titan-7.lab", ("https://[fd00::1]:2379", "fd00::2", "titan-7.lab")),
    ],
)
def test_files_and_endpoints_are_those_of_etcdctl(text: str | None, endpoints: tuple[str, ...]) -> None:
    said = FILES if text is None else {**FILES, "ETCDCTL_ENDPOINTS": text}
    found = access(said, FOLDER)
    assert found == Access(OPEN.ca, OPEN.cert, OPEN.key, endpoints)


@pytest.mark.parametrize("left_out", FILES)
def test_a_part_of_the_certificates_is_an_error(left_out: str) -> None:
    for environment in ({**FILES, left_out: ""}, {k: v for k, v in FILES.items() if k != left_out}):
        with pytest.raises(UsageError, match=f"^{left_out} missing"):
            access(environment, FOLDER)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://192.0.2.11:2379",
        "unix:///run/etcd",
        "https://user@192.0.2.11",
        "https://192.0.2.11/v3",
        "https://192.0.2.11?a",
        "192.0.2.11:0",
        "192.0.2.11:x",
        "192.0.2.11:65536",
        "[fd00::1",
        "two words",
        "\x1b[2J",
        "https://",
    ],
)
def test_an_endpoint_that_is_none_is_an_error(endpoint: str) -> None:
    with pytest.raises(UsageError) as caught:
        access({**FILES, "ETCDCTL_ENDPOINTS": f"192.0.2.12,{endpoint}"}, FOLDER)
    assert str(caught.value).startswith("ETCDCTL_ENDPOINTS has ")
    assert str(caught.value).isprintable()
