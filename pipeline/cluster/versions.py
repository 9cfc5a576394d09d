"""The versions of k3s, as far as Kubernetes' rules on which go together ask for them. Pure."""

from __future__ import annotations

import re
from urllib.parse import unquote

_MINOR = re.compile(r"v?([0-9]{1,3})\.([0-9]{1,4})(\.[0-9].*)?", re.S)
_RELEASE = re.compile(r"v[0-9]{1,3}\.[0-9]{1,4}\.[0-9]{1,4}(-rc[0-9]{1,3})?\+k3s[0-9]{1,3}")

Minor = tuple[int, int]


def minor_of(version: str) -> Minor | None:
    """Major and minor of a version such as v1.31.4+k3s1; None for what is none."""
    match = _MINOR.fullmatch(version)
    return (int(match[1]), int(match[2])) if match else None


def apart(one: Minor, other: Minor) -> int:
    """How many minor versions one is above the other; another major version is as good as far away."""
    return (one[0] - other[0]) * 1000 + one[1] - other[1]


def in_source(source: str) -> str:
    """The release in the address of a k3s program, as those of its releases have it; empty without one."""
    match = _RELEASE.search(unquote(source))
    return match[0] if match else ""
