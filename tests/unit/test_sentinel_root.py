"""Reading beneath a root: links end there, what is no file is not opened, and what is private not either."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metis_sentinel.private import is_private
from metis_sentinel.root import PrivateError, Root
from tests.support.hosts import add, link

SECRET = "a secret"


@contextmanager
def opened(folder: Path) -> Iterator[Root]:
    root = Root(str(folder))
    try:
        yield root
    finally:
        root.close()


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/etc/there", "/link"),
        ("etc/there", "/link"),
        ("../../../etc/there", "/link"),
        ("/../etc/./there", "/link"),
        ("/etc", "/link/there"),
        ("/etc/", "/link//there"),
        ("/etc/other", "/link"),
    ],
)
def test_a_link_is_followed_within_the_root(tmp_path: Path, target: str, path: str) -> None:
    add(tmp_path, "/etc/there", "here")
    link(tmp_path, "/etc/other", "there")
    link(tmp_path, "/link", target)
    with opened(tmp_path) as root:
        assert root.read(path, 100) == b"here"


def test_no_link_leads_out_of_the_root(tmp_path: Path) -> None:
    outside = add(tmp_path, "/outside", SECRET)
    (tmp_path / "root").mkdir()
    link(tmp_path / "root", "/absolute", str(outside))
    link(tmp_path / "root", "/relative", "../outside")
    with opened(tmp_path / "root") as root:
        for path in ("/absolute", "/relative", "/../outside", "/.././../outside"):
            with pytest.raises(FileNotFoundError):
                root.read(path, 100)


def _loop(root: Path) -> None:
    link(root, "/x", "/y")
    link(root, "/y", "x")


def _socket(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(root, os.O_PATH)
        server.bind(f"/proc/self/fd/{folder}/x")
        os.close(folder)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        pytest.param(lambda root: None, "No such file", id="missing"),
        pytest.param(_loop, "Too many levels", id="loop"),
        pytest.param(lambda root: os.mkfifo(root / "x"), "no regular file", id="fifo"),
        pytest.param(_socket, "no regular file", id="socket"),
        pytest.param(lambda root: (root / "x").mkdir(), "no regular file", id="folder"),
        pytest.param(lambda root: link(root, "/x", "/"), "no regular file", id="root"),
        pytest.param(lambda root: add(root, "/x", "x" * 101), "more than 100 bytes", id="long"),
        pytest.param(lambda root: os.truncate(add(root, "/x", ""), 1 << 40), "more than 100", id="vast"),
        pytest.param(lambda root: link(root, "/x", "y/" * 2000), "No such file", id="deep"),
    ],
)
def test_what_cannot_be_read_is_an_error(tmp_path: Path, make: Callable[[Path], object], why: str) -> None:
    make(tmp_path)
    with opened(tmp_path) as root, pytest.raises(OSError, match=why) as caught:
        root.read("/x", 100)
    assert caught.value.filename == "/x"


@pytest.mark.parametrize(
    ("path", "private"),
    [
        ("/etc/shadow", True),
        ("/etc/gshadow-", True),
        ("/etc/shadow.bak", True),
        ("/etc/gshadow+", True),
        ("/etc/security/opasswd", True),
        ("/var/lib/kubelet/pki/kubelet-client-current.pem", True),
        ("/etc/pki/tls/private/x", True),
        ("/boot/firmware/TLS.KEY", True),
        ("/srv/store.p12", True),
        ("/etc/dropbear/dropbear_ed25519_host_key", True),
        ("/etc/rancher", True),
        ("/etc/rancher/k3s/k3s.yaml", True),
        ("/etc/ranchers", False),
        ("/var/lib/rancher/k3s/server/token", True),
        ("/var/lib/rancher/k3s/data/current/bin/runc", False),
        ("/etc/ssl/private/x", True),
        ("/etc/ssl/certs/ca.crt", False),
        ("/etc/ssl/certs/ca.pem", True),
        ("/srv/ca.pem", False),
        ("/root/.ssh/authorized_keys", True),
        ("/home/a/.ssh/config", True),
        ("/etc/ssh/ssh_host_rsa_key", True),
        ("/etc/ssh/ssh_host_rsa_key.pub", False),
        ("/srv/id_ed25519", True),
        ("/srv/tls.key", True),
        ("/etc/passwd", False),
    ],
)
def test_secrets_are_known_by_their_paths(path: str, private: bool) -> None:
    assert is_private(path) == private


def _hard(root: Path, of: str) -> None:
    os.link(f"{root}{of}", root / "alias")


CASES = {
    "by its path": ("/etc/shadow", "/etc/shadow", None),
    "with dots": ("/etc/shadow", "/etc/../etc/./shadow", None),
    "through a link": ("/etc/shadow", "/alias", lambda root: link(root, "/alias", "/etc/shadow")),
    "through a hard link": ("/etc/shadow", "/alias", lambda root: _hard(root, "/etc/shadow")),
    "in a folder": ("/etc/rancher/k3s/k3s.yaml", "/etc/rancher/k3s/k3s.yaml", None),
    "in a folder, through a link": (
        "/etc/rancher/k3s/k3s.yaml",
        "/alias/k3s/k3s.yaml",
        lambda root: link(root, "/alias", "etc/rancher"),
    ),
    "in a folder, through a link into it": (
        "/etc/rancher/k3s/k3s.yaml",
        "/alias",
        lambda root: link(root, "/alias", "etc/rancher/k3s/k3s.yaml"),
    ),
    "in a folder, through a hard link": (
        "/etc/rancher/k3s/k3s.yaml",
        "/alias",
        lambda root: _hard(root, "/etc/rancher/k3s/k3s.yaml"),
    ),
    "of a home": (
        "/home/a/.ssh/known_hosts",
        "/alias/known_hosts",
        lambda root: link(root, "/alias", "/home/a/.ssh"),
    ),
    "of the host": (
        "/etc/ssh/ssh_host_rsa_key",
        "/alias",
        lambda root: _hard(root, "/etc/ssh/ssh_host_rsa_key"),
    ),
    "where its folder is a link": (
        "/mnt/disk/server/token",
        "/mnt/disk/server/token",
        lambda root: link(root, "/var/lib/rancher/k3s", "/mnt/disk"),
    ),
    "where it is a link": ("/mnt/real", "/mnt/real", lambda root: link(root, "/etc/shadow", "../mnt/real")),
}


@pytest.mark.parametrize(("secret", "path", "make"), CASES.values(), ids=CASES)
def test_a_secret_is_not_opened(
    tmp_path: Path, secret: str, path: str, make: Callable[[Path], None] | None
) -> None:
    add(tmp_path, secret, SECRET)
    if make:
        make(tmp_path)
    with opened(tmp_path) as root, pytest.raises(PrivateError):
        root.read(path, 100)


@pytest.mark.parametrize("path", ["/etc/rancher", "/alias", "/etc/rancher/k3s"])
def test_a_folder_of_secrets_is_not_listed(tmp_path: Path, path: str) -> None:
    add(tmp_path, "/etc/rancher/k3s/config.yaml", SECRET)
    link(tmp_path, "/alias", "/etc/rancher")
    with opened(tmp_path) as root, pytest.raises(PrivateError):
        root.listed(path, 10)


def test_a_secret_of_another_root_is_not_opened_here(tmp_path: Path) -> None:
    add(tmp_path, "/one/etc/shadow", SECRET)
    add(tmp_path, "/two/etc/passwd", "")
    os.link(tmp_path / "one/etc/shadow", tmp_path / "two/alias")
    with opened(tmp_path / "one") as one:
        two = Root(str(tmp_path / "two"), one.identities)
        with pytest.raises(PrivateError):
            two.read("/alias", 100)
        two.close()


def test_a_strict_look_opens_neither_a_link_nor_a_file_of_two_names(tmp_path: Path) -> None:
    add(tmp_path, "/file", "x")
    link(tmp_path, "/link", "file")
    with opened(tmp_path) as root:
        with root.opened("/file", strict=True):
            pass
        with pytest.raises(OSError, match="no regular file"), root.opened("/link", strict=True):
            pass
        _hard(tmp_path, "/file")
        with pytest.raises(PrivateError), root.opened("/file", strict=True):
            pass


def test_what_is_replaced_while_it_is_opened_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, "/file", "x")
    real = os.open

    def slow(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "file":
            add(tmp_path, "/other", SECRET).replace(tmp_path / "file")
        return real(path, flags, mode, dir_fd=dir_fd)

    with opened(tmp_path) as root:
        monkeypatch.setattr(os, "open", slow)
        with pytest.raises(OSError, match="was replaced"):
            root.read("/file", 100)


def test_a_list_has_a_bound(tmp_path: Path) -> None:
    for number in range(20):
        add(tmp_path, f"/many/{number}", "")
    with opened(tmp_path) as root:
        assert len(root.listed("/many", 7)) == 7
        assert len(root.listed("/many", 100)) == 20
