"""What a worker is asked to make: the two heavy steps of `build` as plain data, without any secret.

Bases and images are made in a private folder of the run that asks, which both see. There they have no name
that anybody looks for: the run alone gives it to one that is whole (`receipts.adopt`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..edits import table as edits
from ..errors import MetisError, RottenError
from ..inject.tree import VERSION
from ..secrets import forms_version

Data = Mapping[str, Any]
PROBE = "probe"
"""A file in the folder of a run, by which workers show that they see it; there until the run is over."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What must be alike where something is made and where it was asked for; in words that people know."""

    metis: str
    dask: str
    injector: str
    versions: str

    @classmethod
    def here(cls, metis: str, dask: str, injector: str) -> Fit:
        """Of this process, where Metis and Dask have these versions."""
        return cls(metis, dask, injector, f"{VERSION}.{edits.VERSION}.{forms_version.VERSION}")

    def differences(self, wanted: Fit) -> str:
        """What is not as it is wanted, with what to do about it; empty where all is."""
        compared = (
            ("Metis", self.metis, wanted.metis, "install the same"),
            ("Dask", self.dask, wanted.dask, "install the same"),
            ("METIS_INJECTOR", self.injector, wanted.injector, "start it with the same"),
            ("what it makes", self.versions, wanted.versions, "install the same Metis"),
        )
        found = [each for each in compared if each[1] != each[2]]
        said = [f"{what} is {here} there and {there} here" for what, here, there, _ in found]
        return f"{', '.join(said)}: {found[0][3]}" if found else ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an order is carried out: folders of the run that asks, by paths that are the same for both.

    `run` is that of the run, there until it is over, and `folder` in it is for what is made. `cache` is the
    run's, and `state` has its key for digests of secrets.
    """

    run: Path
    folder: Path
    cache: Path
    state: Path

    @property
    def blobs(self) -> Path:
        """Where that is by its hash which only the inventory has."""
        return self.run / "blobs"


@dataclass(frozen=True, slots=True)
class BaseOrder:
    """A base that is to be made from the golden with that hash, which may unpack to `size_limit` bytes."""

    place: Place
    wanted: Data
    golden: str
    size_limit: int


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """An image that is to be made from a base, with the secrets that `used` and `versions` tell.

    It is read back where `wanted` says what its base must hold.
    """

    place: Place
    manifest: Data
    base: Path
    used: Mapping[str, str]
    versions: Mapping[str, str]
    wanted: Data | None


Order = BaseOrder | ImageOrder


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an order on a worker: the file that it made, or what went wrong in one line.

    `exit_code` is that of the error, `is_unfit` where this worker cannot carry it out and another one may,
    and `is_rotten` where a golden is not what it was.
    """

    worker: str
    made: Path | None = None
    error: str = ""
    exit_code: int = 0
    is_unfit: bool = False
    is_rotten: bool = False

    @property
    def failure(self) -> MetisError:
        """What went wrong as an error."""
        kind = RottenError if self.is_rotten else MetisError
        failure = kind(f"{self.error} (on worker {self.worker})")
        failure.exit_code = self.exit_code
        return failure
