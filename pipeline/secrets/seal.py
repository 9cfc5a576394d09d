"""Sealing a whole folder: what still lies there in the clear, and all anew for the present recipients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import MetisError, MismatchError, RefusedError, from_os
from ..machine import durable
from . import private
from .age_keys import AgeKeys
from .folder import PLAIN, SEALED
from .sealed import check_key


@dataclass(frozen=True, slots=True)
class Report:
    """The owners whose plain file was sealed, those whose sealed file was sealed anew, and what failed.

    Whatever failed is as it was.
    """

    sealed: tuple[str, ...]
    renewed: tuple[str, ...]
    errors: tuple[MetisError, ...]


def seal(folder: Path, keys: AgeKeys, waits: Callable[[str], None]) -> Report:
    """Seal all `<owner>.yaml` of a folder and all its `<owner>.age` again; values stay as they are.

    At each moment an owner's secrets are in one whole file at least; after a crash the next run finishes.
    What was plain is removed, which overwrites nothing: a medium may still have it. `waits` is called as in
    `durable.locked`. One bad file hinders no other. Raises SourceError where the folder's key was lost.
    """
    sealed, renewed, errors = [], [], []
    if not folder.is_dir():
        return Report((), (), ())
    try:
        with durable.locked(folder / ".lock", waits):
            check_key(folder, keys)
            durable.remove_left(folder)  # what a kill has left may be in the clear
            plain, closed = _owners(folder, PLAIN), _owners(folder, SEALED)
            for owner in sorted({*plain, *closed}):
                try:
                    if owner in plain:
                        _seal(folder, owner, keys)
                        sealed.append(owner)
                    else:
                        _renew(folder / f"{owner}{SEALED}", keys)
                        renewed.append(owner)
                except MetisError as error:
                    errors.append(error)
    except OSError as error:
        raise from_os(error) from None
    return Report(tuple(sealed), tuple(renewed), tuple(errors))


def _owners(folder: Path, suffix: str) -> list[str]:
    """Whose files there are; what begins with a dot is nobody's, but a lock or not finished."""
    return [
        file.name.removesuffix(suffix) for file in folder.glob(f"*{suffix}") if not file.name.startswith(".")
    ]


def _seal(folder: Path, owner: str, keys: AgeKeys) -> None:
    from .node_file import values_of

    plain, file = folder / f"{owner}{PLAIN}", folder / f"{owner}{SEALED}"
    found = private.read(plain)
    if found is None:
        return
    values = values_of(found.content, str(plain))
    there = private.read(file)
    if there is not None and values_of(keys.opened(there.content, str(file)), str(file)) != values:
        raise RefusedError(
            f"{plain} and {file.name} are both there, and differ", "remove the one that is not right"
        )
    _write(file, found.content, keys)
    plain.unlink()
    durable.sync_folder(folder)


def _renew(file: Path, keys: AgeKeys) -> None:
    found = private.read(file)
    if found is not None:
        _write(file, keys.opened(found.content, str(file)), keys)


def _write(file: Path, text: bytes, keys: AgeKeys) -> None:
    """What cannot be opened again must not take the place of what can."""
    content = keys.sealed(text)
    if keys.opened(content, str(file)) != text:
        raise MismatchError(f"{file} would not be what was sealed", "report it; nothing was changed")
    durable.write(file, content)
