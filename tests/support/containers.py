"""The containers as `make images` builds them, and run without a daemon.

Their base has the name of the one that the files pin, and is made by mmdebstrap from this machine's mirrors,
so the digest and the day of the archive are left out. All lies in a store of its own. The network is that of
whoever runs it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pipeline.machine import process
from pipeline.machine.process import Finished
from tests.support.goldens import cached
from tests.support.lab import REPOSITORY
from tests.support.rendering import program

FOLDER = REPOSITORY / "deploy/containers"
_LEFT_OUT = ("/usr/share/doc", "/usr/share/man", "/usr/share/info", "/usr/share/locale")
_SUITE = "bookworm"
_SLIM = [f"--dpkgopt={option}" for option in ("force-unsafe-io", *map("path-exclude={}/*".format, _LEFT_OUT))]
"""As Debian's slim image has it: no syncing of each file, no manuals."""
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
"""Whom this machine trusts: packages of Python may come by way of an authority of its own."""
_TIMEOUT = 900.0


@dataclass(frozen=True)
class Container:
    """A container made from an image, and what the image says of it."""

    store: Store
    name: str
    config: dict[str, Any]

    @property
    def root(self) -> Path:
        """Where its files are."""
        return Path(self.store.buildah("mount", self.name).out.decode().strip())

    def started(self, *words: str) -> list[str]:
        """What the image starts, with these arguments in the place of its own."""
        return [*self.config["Entrypoint"], *(words or self.config.get("Cmd") or ())]

    def run(self, *words: str, options: Sequence[str] = (), within: Sequence[str] = ()) -> Finished:
        """Run a program in it, as the image's user unless `options` say otherwise."""
        return self.store.buildah("run", *options, self.name, "--", *words, within=within, check=False)


@dataclass(frozen=True)
class Store:
    """A folder that images and containers lie in."""

    folder: Path

    @cached_property
    def _environment(self) -> dict[str, str]:
        config = self.folder / "storage.conf"
        config.write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{self.folder}/images"\nrunroot = "{self.folder}/run"\n'
        )
        return {"CONTAINERS_STORAGE_CONF": str(config), "BUILDAH_ISOLATION": "chroot"}

    def buildah(self, *words: str, within: Sequence[str] = (), check: bool = True) -> Finished:
        """Run buildah on this store."""
        argv = [*within, program("buildah", "buildah"), *words]
        return process.run(argv, timeout=_TIMEOUT, check=check, extra_environment=self._environment)

    def add_base(self) -> str:
        """Put the base there; gives its name."""
        name, base = argument("metis", "DEBIAN"), self._from("scratch")
        self.buildah("add", base, str(cached("container-base.tar", (_SUITE, _SLIM), _make_base)), "/")
        self.buildah("commit", "--rm", base, name)
        return name

    def make_images(self) -> None:
        """Build both."""
        own = "--pull-never --build-arg DIGEST= --build-arg SNAPSHOT= --build-arg PIP_CERT=/run/authorities"
        flags = f"IMAGE_FLAGS={own} --volume {_AUTHORITIES}:/run/authorities:ro"
        process.run(
            ["make", "images", f"ARCHES={arch()}", flags],
            cwd=REPOSITORY,
            timeout=_TIMEOUT,
            extra_environment=self._environment,
        )

    @contextmanager
    def container(self, image: str, *options: str) -> Iterator[Container]:
        """A container of an image while the block runs."""
        said = json.loads(self.buildah("inspect", "--type", "image", image).out)
        made = Container(self, self._from(*options, image), said["Docker"]["config"])
        try:
            yield made
        finally:
            self.buildah("rm", made.name)

    def _from(self, *words: str) -> str:
        return self.buildah("from", "--pull-never", *words).out.decode().strip()


def argument(image: str, name: str) -> str:
    """What a Containerfile has for a build argument where nobody says otherwise."""
    (found,) = set(re.findall(rf"^ARG {name}=(.*)$", (FOLDER / image / "Containerfile").read_text(), re.M))
    return str(found)


@cache
def arch() -> str:
    """This machine's, in Debian's words."""
    return process.run(["dpkg", "--print-architecture"]).out.decode().strip()


def bytes_taken(root: Path) -> int:
    """What all files beneath a folder take, those with several names once."""
    said = process.run(["du", "--summarize", "--one-file-system", "--block-size=1", root])
    return int(said.out.split()[0])


def _make_base(tar: Path) -> None:
    how = ("--quiet", "--variant=minbase", "--format=tar", *_SLIM)
    process.run(["mmdebstrap", *how, _SUITE, tar], timeout=_TIMEOUT)


def removed(store: Store) -> None:
    """Remove a store with all that lies in it."""
    store.buildah("rm", "--all", check=False)
    shutil.rmtree(store.folder, ignore_errors=True)
