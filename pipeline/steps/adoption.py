"""From the files of a node that is already there to its secrets: looked at whole, then stored at once or not.

What is kept is what the node's cards will carry, so each value must fit its form before anything is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..adopt.items import HOST_NAME_PATH, ITEMS, Item, host_name, value_of
from ..boot.guest import fingerprint
from ..errors import (
    MetisError,
    MismatchError,
    RefusedError,
    SecretError,
    SeveralErrors,
    SourceError,
    as_one,
    one_line,
)
from ..model import SecretRef
from ..secret import Secret
from ..secrets import forms
from ..secrets.keyring import TRIES, Keyring
from ..secrets.source import ConflictError
from ..secrets.ssh_keys import public_line
from ..tables import columns

State = Literal["not found", "found", "kept already", "differs", "stored", "replaced"]
DONE: Mapping[State, State] = {"found": "stored", "differs": "replaced"}
"""What an item is once it was written."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one item; `fingerprint` is that of a host key, which everyone may know."""

    item: str
    path: str
    state: State
    remark: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Adoption:
    """What came of adopting a node's identity from a source; `place` is where its secrets are.

    `remark` is about the source as a whole. `other_node` is the node whose host name it has, empty where
    that is nobody else's or does not matter.
    """

    node: str
    source: str
    place: str
    findings: Sequence[Finding]
    remark: str = ""
    other_node: str = ""

    @property
    def error(self) -> MetisError | None:
        """Why nothing was stored, where something should have been."""
        if self.other_node and any(finding.state in DONE for finding in self.findings):
            return RefusedError(
                f"{self.source} has the host name of {self.other_node}; nothing was stored",
                f"say --node {self.other_node}, or --renamed if it is {self.node} all the same",
            )
        differing = [finding.item for finding in self.findings if finding.state == "differs"]
        if differing:
            return RefusedError(
                f"{self.place} has another {', '.join(differing)} for {self.node}; nothing was stored",
                "say --replace if the one in the source is right",
            )
        if all(finding.state == "not found" for finding in self.findings):
            return MetisError(
                f"{self.source} has nothing of an identity", "name the root of the node's system"
            )
        return None

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "node": self.node,
            "source": self.source,
            "place": self.place,
            "remark": self.remark,
            "items": [asdict(finding) for finding in self.findings],
        }

    def to_text(self) -> str:
        """A line that sums up, and a table with a line for each item."""
        rows = [
            (item.item, item.state, ", ".join(filter(None, (item.fingerprint, item.remark))))
            for item in self.findings
        ]
        lines = [f"  {line}" for line in columns(rows)]
        if self.remark:
            lines.append(f"  {self.remark}")
        return "\n".join([one_line(f"{self.node}: {self.source} -> {self.place}"), *lines])


@dataclass(frozen=True, slots=True)
class Captured:
    """One item as a source has it; `value` is None where it has none."""

    item: Item
    value: Secret | None
    remark: str = ""
    fingerprint: str = ""


def adopt(
    node: str,
    source: str,
    files: Mapping[str, bytes],
    keyring: Keyring,
    hosts: Mapping[str, str],
    *,
    replace: bool,
    renamed: bool,
) -> Adoption:
    """Store what `files`, by path, hold of a node's identity, all of it or nothing.

    `source` is what messages call their origin, and `hosts` has the host name of each node. A source that
    has another node's is only taken where `renamed` says so, and a kept value that differs is only replaced
    where `replace` does (see `Adoption.error`). Raises SecretError where one is not what a card can carry or
    another node's, MismatchError where a public half is another key's, and what the secrets' source raises.
    """
    captured = examine(node, source, files)
    found = {about.item.name: about.value for about in captured if about.value is not None}
    _refuse_twins(node, source, found, keyring)
    place = keyring.source.place(node)
    remark, other = _named(node, files.get(HOST_NAME_PATH, b""), hosts)
    other = "" if renamed else other
    written: dict[str, State] = {}
    for _ in range(TRIES):
        # As for a build, and again after a write: copies are made of what is read, for days without Vault.
        stored = keyring.read(node).own
        findings = [_compared(about, stored.values, written) for about in captured]
        wanted = {finding.item: finding.state for finding in findings if finding.state in DONE}
        if not wanted or other or ("differs" in wanted.values() and not replace):
            return Adoption(node, source, place, findings, remark, other)
        with suppress(ConflictError):
            keyring.source.put(node, {name: found[name] for name in wanted}, stored.version)
            written |= {name: DONE[state] for name, state in wanted.items()}
    raise SourceError(f"the secrets of {node} change all the time", "run again")


def _named(node: str, content: bytes, hosts: Mapping[str, str]) -> tuple[str, str]:
    """What is to be said of a source's own host name, and the other node that has it, if one has.

    A name that no node has is not shown: who knows which file it is from.
    """
    name = host_name(content)
    if not name or name == hosts.get(node):
        return "", ""
    other = next((other for other, theirs in hosts.items() if theirs == name), "")
    if other:
        return f"its {HOST_NAME_PATH} is that of {other}", other
    return f"its {HOST_NAME_PATH} has another name than {node}: make sure that it is this node's", ""


def examine(node: str, source: str, files: Mapping[str, bytes]) -> list[Captured]:
    """Each item as the files have it; raises one error with all that is wrong."""
    captured: list[Captured] = []
    errors: list[MetisError] = []
    for item in ITEMS:
        try:
            captured.append(_captured(node, source, item, files))
        except MetisError as error:
            errors.append(error)
    if errors:
        raise as_one(errors)
    return captured


def _captured(node: str, source: str, item: Item, files: Mapping[str, bytes]) -> Captured:
    if item.path not in files:
        return Captured(item, None)
    where = f"{item.path} of {source}"
    try:
        value = value_of(item, files[item.path])
    except ValueError as error:
        raise SecretError(f"{where} cannot be adopted as {item.name}: {error}", "see what is in it") from None
    if value.text is None:
        return Captured(item, None, value.remark)
    secret = Secret(value.text)
    try:
        forms.reveal(SecretRef(item.name, item.form), node, {item.name: secret})
    except SecretError as error:
        raise SecretError(f"{where}: {error.message}", error.hint) from None
    if not item.public:
        return Captured(item, secret, value.remark)
    line = public_line(value.text)
    _check_public(where, item, line, files.get(item.public, b""))
    return Captured(item, secret, value.remark, fingerprint(line))


def _check_public(where: str, item: Item, line: str, content: bytes) -> None:
    """Raise MismatchError where the file of the public half is another key's; an empty one is nobody's."""
    words = content.decode(errors="replace").split()
    if words and words[:2] != line.split():
        raise MismatchError(
            f"{item.public} is not the public half of {where}",
            "see which of them is the node's with `ssh-keyscan`, and take the other away",
        )


def _refuse_twins(node: str, source: str, found: Mapping[str, Secret], keyring: Keyring) -> None:
    """Raise where the source is another node's: two nodes with one identity are none."""
    twins = [twin for name in found if (twin := keyring.twin(node, name, found))]
    if twins:
        raise SeveralErrors(_others(twins, source))


def _others(twins: Sequence[MetisError], source: str) -> Iterator[SecretError]:
    for twin in twins:
        yield SecretError(twin.message, f"nothing was stored; see whose {source} is")


def _compared(about: Captured, kept: Mapping[str, Secret], written: Mapping[str, State]) -> Finding:
    """An item beside what is kept; `written` says how those came there that are ours by now."""
    name, path = about.item.name, about.item.path
    if about.value is None:
        return Finding(name, path, "not found", about.remark)
    state: State = "found"
    if name in kept:
        same = kept[name].reveal().strip() == about.value.reveal().strip()
        state = written.get(name, "kept already") if same else "differs"
    remark = about.remark
    if state == "differs" and about.item.public:
        remark = f"kept is {_fingerprint(kept[name])}"
    return Finding(name, path, state, remark, about.fingerprint)


def _fingerprint(key: Secret) -> str:
    """The fingerprint of a private key, whatever is kept as one."""
    with suppress(ValueError):
        return fingerprint(public_line(key.reveal()))
    return "no key"
