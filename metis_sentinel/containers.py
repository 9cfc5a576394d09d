"""Versions of k3s, containerd and runc: their programs are read, never run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from . import gobuild
from .host import Host
from .texts import text

_K3S = ("/usr/local/bin/k3s", "/usr/bin/k3s", "/opt/bin/k3s")
_DATA = "/var/lib/rancher/k3s/data/current/bin"
"""What k3s unpacks when it starts; its own containerd is the same program as k3s there."""
_PROGRAMS = {
    "k3s": _K3S,
    "containerd": (
        f"{_DATA}/containerd",
        *_K3S,
        "/usr/bin/containerd",
        "/usr/local/bin/containerd",
        "/usr/sbin/containerd",
    ),
    "runc": (
        f"{_DATA}/runc",
        *_K3S,
        "/usr/bin/runc",
        "/usr/sbin/runc",
        "/usr/local/bin/runc",
        "/usr/local/sbin/runc",
    ),
}
_MODULES = {
    "containerd": re.compile(r"github\.com/(containerd|k3s-io)/containerd(/v\d+)?"),
    "runc": re.compile(r"github\.com/(opencontainers|k3s-io)/runc"),
}
_PACKAGES = {"containerd": ("containerd", "containerd.io"), "runc": ("runc",)}
_VERSION = re.compile(rb"v1\.\d{1,3}\.\d{1,3}(?:-rc\d{1,3})?\+k3s\d{1,3}")
_SET = re.compile(r"(?:/version\.Version|main\.version)=(\S{1,128}?)['\"\s]")
"""A version that the builder gave the linker, as containerd, runc and k3s do."""
_LARGEST = 512 << 20
_Said = Mapping[str, str]
_seen: dict[tuple[object, ...], _Said] = {}
"""What programs said, for as long as they are as they were: with an interval they are not read each time."""
_MOST_SEEN = 16


def versions(host: Host) -> dict[str, str]:
    """Those that a program tells, by name."""
    found: dict[str, str] = {}
    for name, paths in _PROGRAMS.items():
        for path in paths:
            try:
                said = _program(host, path)
            except FileNotFoundError:
                continue
            except OSError as error:
                host.gap(f"versions: {name}", error)
                continue
            if name in said:
                found[name] = said[name]
                break
    return found


def of_packages(packages: Mapping[str, str]) -> dict[str, str]:
    """Those of containerd and runc as the system's packages."""
    return {
        name: packages[package][:128]
        for name, known in _PACKAGES.items()
        for package in known
        if package in packages
    }


def _program(host: Host, path: str) -> _Said:
    with host.files.opened(path) as descriptor:
        about = os.fstat(descriptor)
        key = (path, about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
        if key not in _seen:
            if len(_seen) >= _MOST_SEEN:
                _seen.clear()
            _seen[key] = said_by(*gobuild.scan(descriptor, _LARGEST, _VERSION))
        return _seen[key]


def said_by(build: gobuild.Build, k3s: list[bytes]) -> _Said:
    """The versions in a program: its own, and those of the modules that are in it."""
    found: dict[str, str] = {}
    given = _SET.search(f"{build.flags} ")
    if k3s:
        most = max(k3s, key=k3s.count)
        is_given = given is not None and "+k3s" in given[1]
        found["k3s"] = text(given[1] if given is not None and is_given else most, 128)
    for name, form in _MODULES.items():
        for module, version in build.modules.items():
            if not form.fullmatch(module):
                continue
            if version.startswith("v") and not version.startswith("v0.0.0-"):
                found[name] = text(version, 128)
            elif given is not None and version == "(devel)":
                found[name] = text(given[1], 128)
    return found
