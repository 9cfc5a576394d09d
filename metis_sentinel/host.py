"""The host that is looked at: its files, its kernel, and what could not be read of them.

The kernel is asked beneath the root where `/proc` is mounted there, else at the live `/proc` and `/sys`: in a
container that sees the host's root, the same kernel answers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from . import mountinfo
from .root import Root
from .texts import shown

_GAPS = 200
_GAP = 1024
_TABLE = 4 << 20
FAILURES = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What reading may raise; it costs one fact, never the snapshot."""


class Host:
    """A host by its root. Raises OSError where that is no folder."""

    def __init__(self, path: str) -> None:
        live = Root("/")
        try:
            self.files = Root(path, live.identities)
            self.is_live = os.path.samestat(self.files.lstat("/")[0], live.lstat("/")[0])
        except OSError:
            live.close()
            raise
        self._live = live
        self.gaps: list[str] = []
        self.kernel = self.files if self.files.has("/proc/version") else live
        self._hide_binds()

    def close(self) -> None:
        """Let go of the root."""
        self.files.close()
        self._live.close()

    def gap(self, what: str, why: BaseException | str) -> None:
        """Keep in words that something could not be read."""
        if len(self.gaps) < _GAPS:
            said = shown(f"{what}: {why if isinstance(why, str) else _reason(why)}", _GAP)
            if said not in self.gaps:
                self.gaps.append(said)

    def mounts(self) -> Sequence[mountinfo.Mounted]:
        """The host's mount table. Raises OSError where only that of a container could be read."""
        try:
            table = self.files.read("/proc/1/mountinfo", _TABLE)
        except OSError:  # others than root may not look there
            if not self.is_live:
                raise FileNotFoundError("mount the host's /proc beneath the root") from None
            table = self.files.read("/proc/self/mountinfo", _TABLE)
        return mountinfo.parse(table)

    def _hide_binds(self) -> None:
        """What is mounted of something private has another path, and another identity than its folder."""
        try:
            points = mountinfo.binds_of(self.mounts(), self.files.is_private)
        except OSError:
            return  # `mounts` is asked again, and says so
        for point in points:
            with suppress(OSError):  # nor would it be found when it is read
                self.files.hide(point)


def _reason(error: BaseException) -> str:
    """Why, without a traceback: of an error of the system its words and the path."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
