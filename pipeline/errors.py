"""The exceptions of Metis, as one tree.

    MetisError              exit 1   what, where and what to do, in one line
    ├── SeveralErrors                 several of these, each in its own line
    ├── UsageError          exit 2   options or environment that cannot be used together
    ├── InventoryError      exit 2   the inventory is invalid; holds every problem that was found
    ├── SecretError         exit 2   a node's secret is missing, or not what it must be
    ├── RefusedError        exit 3   refused for safety
    ├── MismatchError       exit 4   a hash, a signature or a read-back did not match
    │   └── RottenError              a file of the cache is not what it was when it was verified
    └── SourceError         exit 5   a network, registry or secret source could not be reached

Only the command line and the task graph turn them into exit codes and lines of text. Some have kinds of their
own, which the callers of one module tell apart:

    MetisError              BusyError, ToolError (FilterError), TooLargeError, TooLongError, NoTableError,
                            LateError, GoneError, LostError, NotExactError
    SeveralErrors           UnknownNeedsError
    SourceError             AbsentError, DeniedError, ConflictError, ForbiddenError, ChangedError,
                            NoQuorumError, UnreachableError
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def one_line(text: str, most: int | None = None) -> str:
    """Give a text as one line, with what a terminal would obey or could not show written as an escape.

    Where there is a `most`, it is cut to so many characters.
    """
    words = " ".join(text.split())
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in words)
    return line if most is None else cut(line, most)


def cut(text: str, most: int) -> str:
    """Give a text of at most so many characters, the last of them an ellipsis where there was more."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


class MetisError(Exception):
    """Something that the person at the keyboard can act on.

    `message` says what went wrong and where; `hint` says what to do next.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return one_line(f"{self.message}: {self.hint}" if self.hint else self.message)


def reason_of(error: OSError) -> str:
    """What the operating system says of an error, as words within a line."""
    return (error.strerror or str(error)).lower()


def from_os(error: OSError) -> MetisError:
    """An error of the operating system that nobody expected, in one line."""
    what = reason_of(error)
    return MetisError(f"{error.filename}: {what}" if error.filename else what)


def known(error: MetisError | OSError) -> MetisError:
    """An error as one of ours: as it is, or what the operating system says in one line."""
    return from_os(error) if isinstance(error, OSError) else error


def about(subject: str, error: MetisError | OSError) -> MetisError:
    """The same error, said of something; with its exit code."""
    cause = known(error)
    said = MetisError(str(cause) if str(cause).startswith(f"{subject}:") else f"{subject}: {cause}")
    said.exit_code = cause.exit_code
    return said


class UsageError(MetisError):
    """Options or environment variables that make no sense together."""

    exit_code = 2


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in an inventory file.

    `path` is the dotted path of the value in the document, empty for the document as a whole; `line`
    counts from 1 and is 0 where the file as a whole is meant.
    """

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        what = f"{self.path}: {self.message}" if self.path else self.message
        return one_line(f"{where}: {what}")


class InventoryError(MetisError):
    """An invalid inventory: every problem that was found, one line each."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("; ".join(map(str, self.problems)))

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class SecretError(MetisError):
    """A secret that a node needs and has not, or that is not what it must be; never with its value."""

    exit_code = 2


def common_exit_code(errors: Iterable[MetisError]) -> int:
    """The exit code that all of the errors share, else that of a plain failure."""
    codes = {error.exit_code for error in errors}
    return codes.pop() if len(codes) == 1 else MetisError.exit_code


class SeveralErrors(MetisError):  # noqa: N818 - it is many
    """What went wrong with several nodes, a line each; the exit code is theirs if they share one."""

    def __init__(self, errors: Iterable[MetisError]) -> None:
        found = tuple(errors)
        self.lines = tuple(dict.fromkeys(line for error in found for line in str(error).splitlines()))
        super().__init__("; ".join(self.lines))
        self.exit_code = common_exit_code(found)

    def __str__(self) -> str:
        return "\n".join(self.lines)


def as_one(errors: Sequence[MetisError]) -> MetisError:
    """One error for all: the only one as it is."""
    return errors[0] if len(errors) == 1 else SeveralErrors(errors)


class RefusedError(MetisError):
    """Refused because going on could lose data or leak a secret."""

    exit_code = 3


class MismatchError(MetisError):
    """A hash, signature or read-back that is not what it must be."""

    exit_code = 4


class RottenError(MismatchError):
    """A cached file that changed on its medium; fetched again, it is whole."""


class SourceError(MetisError):
    """A source outside this machine that could not be reached or did not answer as it should."""

    exit_code = 5
