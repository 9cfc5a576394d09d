"""A FAT of an image as a tree, without mounting it: mtools(1) reads and changes it where it lies.

mtools ends well although a file did not fit, takes what follows a colon for another name, writes `ġ` as `g`,
gives the files of a directory that is read, and asks at a terminal about what is for reading only. So names
that it would not take as they are are refused, what it complains of is an error, it gets no terminal, and all
that was written is read back.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..errors import MetisError
from ..machine import process
from .tree import READ_LIMIT, NotExactError, Status, no_room, too_long

_TIMEOUT = 600.0
_LIMIT = 4 << 20
"""Bytes of an answer: the names of all files, which are without end where directories are in each other."""
_CHUNK = 1 << 20
_TOP = "::"
_UNSAYABLE = re.compile(r'[\x00-\x1f\x7f"*:<>?\[\\\]|]|[. ](/|$)')
"""What cannot be in a name, or that mtools would take for something else."""
_SHORT = re.compile(r"[^ .]{1,8}(\.[^ .]{1,3})?")
"""A name that needs no entries for a long one."""
_FULL = ("No free cluster", "No space left", "Disk full")
_EMPTY = b'mdir: File "::" not found'
"""How mdir says that there is nothing at all."""
_ENVIRONMENT = {"HOME": "/nonexistent", "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}
"""No settings of the operator's; odd geometries are usual; times as the appliance has them."""


class FatTree:
    """The port `tree.Tree` on the FAT at a byte offset of `file`; `name` is what messages call it."""

    def __init__(self, file: str, offset: int, name: str, *, read_only: bool) -> None:
        self._place = ["-i", f"{file}@@{offset}"]
        self._name = name
        self._read_only = read_only
        self._paths: Mapping[str, str] | None = None
        self.is_changed = False

    def status(self, path: str) -> Status | None:
        """See `tree.Tree`."""
        found = self._found(path)
        if found is None:
            return None
        return Status("directory" if found.endswith("/") else "file", 0o755, 0, 0)

    def read(self, path: str) -> bytes:
        """See `tree.Tree`."""
        content = bytearray()
        for chunk in self._content(self._file(path)):
            content += chunk
            if len(content) > READ_LIMIT:
                raise too_long(path, len(content))
        return bytes(content)

    def sha256(self, path: str) -> str:
        """See `tree.Tree`."""
        return _digest(self._content(self._file(path)))

    def read_link(self, path: str) -> str:
        """See `tree.Tree`."""
        raise MetisError(f"{path} of {self._name} is not a symbolic link")

    def list_names(self, path: str) -> Sequence[str]:
        """See `tree.Tree`."""
        found = self._found(path)
        if found is None or not found.endswith("/"):
            raise MetisError(f"{path} of {self._name}: Not a directory")
        folder = found.rstrip("/") or "/"
        paths = (each.rstrip("/") for each in self._all().values() if each != "/")
        return [posixpath.basename(each) for each in paths if posixpath.dirname(each) == folder]

    def remove(self, path: str) -> None:
        """See `tree.Tree`."""
        self._refuse_read_only(path)
        found = self._found(path)
        if found is not None:
            self._do("mdeltree" if found.endswith("/") else "mdel", [found.rstrip("/")])
            if self._found(path) is not None:
                raise self._not_exact(f"{path} cannot be removed")

    def extract(self, archive: Path) -> None:
        """See `tree.Tree`."""
        self._refuse_read_only(str(archive))
        with tarfile.open(archive, "r:") as opened:
            members = {f"/{member.name}": member for member in opened}
            files = [path for path, member in members.items() if member.isreg()]
            folders = [path for path, member in members.items() if member.isdir()]
            if len(files) + len(folders) < len(members):
                raise self._not_exact("it is to get what is neither a file nor a directory")
            self._clear(files, folders)
            written: dict[str, str] = {}
            for path in files:
                content = opened.extractfile(members[path])
                assert content is not None
                data = content.read()
                self._do("mcopy", ["-", path], stdin=data, when=int(members[path].mtime))
                written[path] = hashlib.sha256(data).hexdigest()
        listed = {*self._all().values()}
        for path, digest in written.items():
            if path not in listed or _digest(self._content(path)) != digest:
                raise self._not_exact(f"{path} reads back otherwise")

    def is_immutable(self, path: str) -> bool:
        """See `tree.Tree`."""
        return False

    def set_immutable(self, path: str) -> None:
        """See `tree.Tree`."""
        self._refuse_read_only(path)
        raise MetisError(f"{path} of {self._name}: Inappropriate ioctl for device")

    # --------------------------------------------------------------------------------------- inside

    def _all(self) -> Mapping[str, str]:
        """All paths by their folded ones, directories with a slash at the end."""
        if self._paths is None:
            said = self._run("mdir", ["-/", "-a", "-b"], ["/"])
            paths = [line.removeprefix(_TOP) for line in said.splitlines()]
            self._paths = {"/": "/"} | {_folded(path.rstrip("/")): path for path in paths}
            above = {"/", *paths}
            told_apart = len(self._paths) == len(paths) + 1 and all(_folder(path) in above for path in paths)
            if not told_apart or any(_is_changed(name) for path in paths for name in path.split("/")):
                raise self._not_exact("it has names that cannot be told apart")
        return self._paths

    def _found(self, path: str) -> str | None:
        return self._all().get(_folded(path.rstrip("/") or "/"))

    def _file(self, path: str) -> str:
        found = self._found(path)
        if found is None or found.endswith("/"):
            what = "No such file or directory" if found is None else "is not a regular file"
            raise MetisError(f"{path} of {self._name}: {what}")
        return found

    def _clear(self, files: Sequence[str], folders: Sequence[str]) -> None:
        """Make room for files under their names, which count in any case, and make directories."""
        for path in (*files, *folders):
            self._refuse_other_case(path)
        old, there = [self._found(path) for path in files], [self._found(path) for path in folders]
        for path, found in (*zip(files, old, strict=True), *zip(folders, there, strict=True)):
            if found is not None and found.endswith("/") != (path in folders):
                raise MetisError(f"{path} of {self._name}: File exists")
        self._do("mdel", list(filter(None, old)))
        self._do("mmd", [path for path, found in zip(folders, there, strict=True) if found is None])

    def _refuse_read_only(self, path: str) -> None:
        if self._read_only:
            raise MetisError(f"{path} of {self._name}: Read-only file system")

    def _refuse_other_case(self, path: str) -> None:
        """Refuse a name that differs from another one in the case of letters beyond ASCII only."""
        same = {other for other in self._all() if other.casefold() == path.casefold()}
        if same - {_folded(path)}:
            raise self._not_exact(f"{path} is there in another case")

    def _do(self, tool: str, paths: Sequence[str], *, stdin: bytes = b"", when: int | None = None) -> None:
        if paths:
            self._paths = None
            self.is_changed = True
            self._run(tool, [], paths, stdin=stdin, when=when)

    def _run(
        self,
        tool: str,
        options: Sequence[str],
        paths: Sequence[str],
        *,
        stdin: bytes = b"",
        when: int | None = None,
    ) -> str:
        clock = {} if when is None else {"SOURCE_DATE_EPOCH": str(when)}
        try:
            said = process.run(
                [tool, *self._place, *options, *(self._sayable(path) for path in paths)],
                stdin=stdin,
                timeout=_TIMEOUT,
                check=False,
                extra_environment=_ENVIRONMENT | clock,
                limit=None if stdin else _LIMIT,
                terminal=False,
            )
        except process.ToolError as error:
            raise self._not_exact(str(error)) from None
        if any(words.encode() in said.err for words in _FULL):
            raise no_room(self._name)
        if tool == "mdir" and said.err.strip() == _EMPTY:
            return ""
        if said.code != 0 or said.err.strip():
            raise self._not_exact(f"{tool}: {said.last_words}")
        return said.out.decode(errors="surrogateescape")

    def _content(self, path: str) -> Iterator[bytes]:
        words = ["mtype", *self._place, self._sayable(path)]
        try:
            with process.piped(words, (), extra_environment=_ENVIRONMENT, silent=True) as content:
                while chunk := content.read(_CHUNK):
                    yield chunk
        except process.ToolError as error:
            raise self._not_exact(str(error)) from None

    def _not_exact(self, why: str) -> NotExactError:
        return NotExactError(self._name, why)

    def _sayable(self, path: str) -> str:
        if path == "-":
            return path
        if _UNSAYABLE.search(path) or any(map(_is_changed, path.split("/"))):
            raise self._not_exact(f"the name {path!r} cannot be said to mtools")
        return _TOP if path == "/" else f"{_TOP}{path}"


def _is_changed(name: str) -> bool:
    """Whether mtools may write or tell another name: letters of a short one go through a code page."""
    return not name.isascii() and _SHORT.fullmatch(name) is not None


def _folder(path: str) -> str:
    """The path of the directory that has a path, as mdir says both; a name may have slashes and line ends."""
    return "".join(path.rstrip("/").rpartition("/")[:2])


def _folded(path: str) -> str:
    return re.sub("[A-Z]", lambda letter: letter[0].lower(), path)


def _digest(chunks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
