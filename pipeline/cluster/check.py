"""What a check comes to: a verdict, what was found, what to do, and what Metis can mend itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import one_line
from .evidence import Unseen
from .port import Handle, Node

Verdict = Literal["ok", "unsure", "refused"]
"""Only what is refused keeps a card from being written; what is unsure an operator should look at."""


LONGEST = 300
"""Characters that are shown of what was found; an annotation of a stranger may have 256 KiB."""


def plain(text: str) -> str:
    """Words for a terminal, with those of others in them: it obeys none, and they do not fill it."""
    return one_line(text, LONGEST)


@dataclass(frozen=True, slots=True)
class ForgetPassword:
    """Delete the Secret that a node's password is held to, if it is still the one that was looked at."""

    node: str
    handle: Handle

    def __str__(self) -> str:
        return f"delete the Secret kube-system/{self.node}.node-password.k3s"


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Have k3s take a node's member out of etcd, if the Node is still as it was looked at."""

    node: Node
    member: str

    def __str__(self) -> str:
        return plain(f"mark the Node {self.node.name}, so that k3s takes {self.member} out of etcd")


Mend = ForgetPassword | RemoveMember


@dataclass(frozen=True, slots=True)
class Check:
    """One question, and what came of it. `advice` is empty where nothing is to be done."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""
    mend: Mend | None = None


def unsure(name: str, unseen: Unseen) -> Check:
    """The check of something that could not be looked at."""
    return Check(name, "unsure", unseen.why, unseen.advice)
