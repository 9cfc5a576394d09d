"""Debian's packages as a root file system in a tar: mmdebstrap(1) installs them.

It works in a user namespace where we are not root, and nothing is mounted on the host. The packages come from
`METIS_DEBIAN_MIRROR`, else from the archives of Debian that the host itself uses.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...errors import UsageError
from ...machine import process
from .recipe import Recipe
from .tools import MIRROR, Words, run

_ROLLING = frozenset({"sid", "unstable", "testing", "experimental"})
"""Suites without a pocket for updates."""
# Neither blanks nor a password: the address is an argument of a child and stays in the image.
_ARCHIVE = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/+-]*)?")
_DEBIAN_TARGET = re.compile(r"Debian [a-z]+(?P<pocket>|-updates|-security) (?P<uri>\S+)")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def archives(suite: str, components: Sequence[str] = ("main",)) -> list[str]:
    """Where mmdebstrap(1) takes packages from; nothing for its own default."""
    mirror = os.environ.get(MIRROR, "")
    if not mirror:
        return _host_sources(suite, components)
    if not _ARCHIVE.fullmatch(mirror):
        raise UsageError(f"{MIRROR} is not the address of an archive", "set it to http(s)://host/path")
    return [mirror]


def _host_sources(suite: str, components: Sequence[str]) -> list[str]:
    """The host's own archives of Debian, with the suite in place of the host's.

    What other publishers offer to the host has no place in an image. Nothing where apt knows of no Debian
    archive: it is another distribution, or its lists were never fetched.
    """
    listed = process.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(RELEASE) $(REPO_URI)", "Created-By: Packages"],
        check=False,
    )
    trust = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    found = []
    for line in listed.out.decode(errors="replace").splitlines():
        match = _DEBIAN_TARGET.fullmatch(line)
        if match and not (match["pocket"] and suite in _ROLLING) and _ARCHIVE.fullmatch(match["uri"]):
            found.append(f"deb {trust}{match['uri']} {suite}{match['pocket']} {' '.join(components)}")
    return list(dict.fromkeys(found))


def bootstrap(suite: str, tar: Path, options: Iterable[str], components: Sequence[str] = ("main",)) -> None:
    """Run mmdebstrap(1) for a root file system as a tar; nothing is mounted on the host, nothing left behind.

    Raises the errors of `tools.run`.
    """
    command = ["unshare", "--mount", "--", "mmdebstrap", "--mode=unshare"] if _root() else ["mmdebstrap"]
    argv: Words = [*command, "--format=tar", *options, suite, tar, *archives(suite, components)]
    with _scratch() as scratch:
        problem = f"cannot install the packages of debian:{suite}"
        run(argv, problem, extra_environment={"TMPDIR": os.fspath(scratch)})


def install(recipe: Recipe, suite: str, arch: str, work: Path) -> Path:
    """Install the recipe's packages and files, and give the root file system as a tar."""
    tar, early, config = (work / f"{name}.tar" for name in ("root", "early", "config"))
    _write_config(recipe.early_files, {}, early)
    _write_config(recipe.files, recipe.links, config)
    hooks = (_unpacks(config), *recipe.hooks)
    options = [
        "--variant=minbase",
        f"--architectures={arch}",
        f"--components={','.join(recipe.components)}",
        f"--include={','.join(recipe.packages)}",
        *(f"--dpkgopt={option}" for option in recipe.dpkg_options),
        f"--essential-hook={_unpacks(early)}",
        *(f"--customize-hook={hook}" for hook in hooks),
    ]
    bootstrap(suite, tar, options, recipe.components)
    return tar


def _unpacks(tar: Path) -> str:
    """The hook of mmdebstrap(1) that unpacks a tar into the root file system."""
    return f"tar-in {shlex.quote(os.fspath(tar))} /"


def _root() -> bool:
    """Whether we are root; mmdebstrap(1) then makes no user namespace, and its mounts may reach the host."""
    return os.geteuid() == 0


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder that the users in mmdebstrap's namespace can enter; gone with all in it at the end.

    Only they may remove what they own, and after a kill nobody else does.
    """
    folder = Path(tempfile.mkdtemp(prefix="metis-debian-"))
    try:
        folder.chmod(0o1777)
        yield folder
    finally:
        left = list(folder.iterdir())
        if left and not _root():
            process.run(["mmdebstrap", "--unshare-helper", "rm", "-rf", *left], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _write_config(files: Mapping[str, tuple[int, str]], links: Mapping[str, str], target: Path) -> None:
    """Write files and links as a tar, so that they get their owner inside the namespace."""
    with tarfile.open(target, "w") as tar:
        for path, (mode, text) in files.items():
            member = tarfile.TarInfo(path)
            member.mode, member.size, member.mtime = mode, len(text.encode()), time.time()
            tar.addfile(member, io.BytesIO(text.encode()))
        for path, goal in links.items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname, member.mtime = tarfile.SYMTYPE, goal, time.time()
            tar.addfile(member)
