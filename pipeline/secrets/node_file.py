"""One node's secrets as YAML: read strictly, and added to without losing what its author wrote.

A map with `ssh_password`, `k3s_token`, `cloud_init` and the map `extra`; all values are texts. No message
repeats anything of the file, since whatever stands in a wrong place may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import InventoryError, MetisError, SecretError
from ..inventory.document import Document, parse
from ..secret import Secret
from .quoting import quoted

FIELDS = ("ssh_password", "k3s_token", "cloud_init")
EXTRA = "extra"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def values_of(content: bytes, file: str) -> dict[str, Secret]:
    """The secrets by name (`k3s_token`, `extra.machine_id`).

    `file` is what errors call it; they name it and a line, and nothing of what is in it.
    """
    return _values(_document(content, file))


def with_changes(content: bytes, changes: Mapping[str, Secret], file: str) -> bytes:
    """The file with secrets added or replaced; its lines and comments stay where that can be.

    `content` may be empty. Where a value is replaced, or lines cannot simply be put between (`extra: {…}` on
    one line), the whole is written anew. Raises SecretError where that would not be read again as it is.
    """
    document = _document(content, file) if content else None
    before = _values(document) if document else {}
    wanted = {**before, **changes}
    added = b"" if before.keys() & changes.keys() else _inserted(content, document, changes)
    for text in (added, _written(wanted)):
        if text and _holds(text, wanted, file):
            return text
    raise SecretError(
        f"{file} cannot hold {', '.join(sorted(filter(is_name, changes)))}",
        "one has a name that no secret has, or characters that no text has, such as NUL",
    )


def is_name(name: str) -> bool:
    """Whether a secret may be called so: one of FIELDS, or `extra.` and a word."""
    above, _, inner = name.rpartition(".")
    return name in FIELDS or (above == EXTRA and _NAME.fullmatch(inner) is not None)


def _holds(text: bytes, wanted: Mapping[str, Secret], file: str) -> bool:
    try:
        return values_of(text, file) == wanted
    except MetisError:
        return False


def _document(content: bytes, file: str) -> Document:
    try:
        return parse(content, file)
    except InventoryError as error:
        line = error.problems[0].line
    raise _wrong(file, line, "this is not a map of names and texts in YAML")


def _values(document: Document) -> dict[str, Secret]:
    found: dict[str, Secret] = {}
    for name, value in document.data.items():
        if name == EXTRA and isinstance(value, Mapping):
            for inner, text in value.items():
                found[f"{EXTRA}.{inner}"] = _secret(document, (EXTRA, inner), text)
        elif name == EXTRA and value is not None:
            raise _wrong(document.file, document.line((name,)), "extra is not a map of names and texts")
        elif name in FIELDS:
            found[name] = _secret(document, (name,), value)
        elif name != EXTRA:
            expected = f"expected one of {', '.join(FIELDS)} and {EXTRA}"
            raise _wrong(document.file, document.line((name,)), f"a name that no secret has, {expected}")
    return found


def _secret(document: Document, path: tuple[str, ...], value: object) -> Secret:
    line = document.line(path)
    if not _NAME.fullmatch(path[-1]):
        raise _wrong(document.file, line, "a name may have letters, digits, _ and -, and 64 of them at most")
    if not isinstance(value, str):
        raise _wrong(document.file, line, "the value is no text: put it in quotes, or leave it out")
    return Secret(value)


def _wrong(file: str, line: int, what: str) -> SecretError:
    where = f"{file}:{line}" if line else file
    return SecretError(f"{where}: {what}", "look there; the line is not shown, as it may be secret")


# ---------------------------------------------------------------------------------------- adding


def _inserted(content: bytes, document: Document | None, missing: Mapping[str, Secret]) -> bytes:
    lines = content.decode("utf-8-sig").removesuffix("\n").split("\n") if content else []
    rows = [(name.rpartition("."), quoted(value.reveal())) for name, value in missing.items()]
    inner = [f"{name}: {text}" for (above, _, name), text in rows if above == EXTRA]
    others = document.data.get(EXTRA) if document else None
    if document and others:
        first = lines[document.line((EXTRA, next(iter(others)))) - 1]
        indent = first[: len(first) - len(first.lstrip(" "))]
        at = document.line((EXTRA,))  # of the next line, since lines count from 1
        lines[at:at] = [f"{indent}{line}" for line in inner]
    elif inner:
        lines += [f"{EXTRA}:", *(f"  {line}" for line in inner)]
    lines += [f"{name}: {text}" for (above, _, name), text in rows if not above]
    return "".join(f"{line}\n" for line in lines).encode()


def _written(values: Mapping[str, Secret]) -> bytes:
    """The whole file, all values in quotes: what PyYAML takes for a text, our own reader may not."""
    prefix = f"{EXTRA}."
    rows = [f"{name}: {quoted(values[name].reveal())}" for name in FIELDS if name in values]
    rows.append(f"{EXTRA}:")
    rows += [
        f"  {name.removeprefix(prefix)}: {quoted(value.reveal())}"
        for name, value in values.items()
        if name.startswith(prefix)
    ]
    return "".join(f"{row}\n" for row in rows).encode()
