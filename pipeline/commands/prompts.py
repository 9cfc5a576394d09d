"""What the commands ask the person at the keyboard: for a secret, unseen, and whether something is meant."""

from __future__ import annotations

import sys

import click

from ..errors import RefusedError, SecretError, UsageError
from ..secret import Secret
from ..secrets.private import MAX_BYTES


def secret(what: str, *, option: str, from_stdin: bool, twice: bool = False) -> Secret:
    """A secret from a hidden prompt, or all of stdin; the newline after a single line is no part of it.

    `option` is the one that asks for stdin. Raises UsageError where there is nobody to ask, or stdin would
    show what is typed; SecretError for what is empty or no text.
    """
    text: str | None
    try:
        if from_stdin:
            text = _piped(option)
        elif _is_terminal():
            text = click.prompt(what, hide_input=True, confirmation_prompt=twice, err=True)
            text.encode()  # a terminal gives bytes that are no text as half characters
        else:
            raise UsageError("there is no terminal to ask at", f"pipe the value, and say {option}")
    except UnicodeError:
        text = None
    if text is None:
        raise SecretError(f"{what}: what was given is no text in UTF-8", "nothing was stored")
    if not text:
        raise SecretError(f"{what}: what was given is empty", "nothing was stored")
    return Secret(text)


def refuse_unasked(*, yes: bool) -> None:
    """Raise RefusedError where a question could not be asked, before any work is done for it."""
    if not (yes or _is_terminal()):
        raise RefusedError("nothing was changed: there is no terminal to ask at", "say --yes if it is meant")


def confirm(question: str, *, yes: bool, because: str = "") -> None:
    """Ask whether to go on; raises RefusedError for no, and where nobody can be asked.

    `because` says what the question is about, as a sentence without its end.
    """
    try:
        refuse_unasked(yes=yes)
    except RefusedError as error:
        raise RefusedError("; ".join(filter(None, (because, error.message))), error.hint) from None
    if not (yes or click.confirm(". ".join(filter(None, (because, question))), err=True)):
        raise RefusedError("nothing was changed")


def confirm_name(name: str, warning: str, *, yes: bool) -> None:
    """Have a name typed, so that no card is written by a finger that was too fast.

    Raises RefusedError for anything else, and where nobody can be asked.
    """
    refuse_unasked(yes=yes)
    if not yes and click.prompt(f"{warning}; type {name} to go on", err=True).strip() != name:
        raise RefusedError("nothing was changed", f"type {name} if it is meant")


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _piped(option: str) -> str:
    if _is_terminal():
        raise UsageError("stdin is a terminal, which shows what is typed", f"leave {option} out to be asked")
    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise SecretError(f"stdin has more than {MAX_BYTES >> 20} MiB", "secrets are kilobytes")
    text = content.decode()
    return text.removesuffix("\n") if text.count("\n") == 1 else text
