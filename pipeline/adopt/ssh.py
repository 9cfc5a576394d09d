"""Reading files of a live node as root, over one connection of ssh(1).

ssh finds the node, its host key and the operator's key as it always does. Nothing but the destination is in
arguments, and what comes back is a stranger's: it is bounded, and taken only in the form that was asked for.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import MetisError, SourceError
from ..machine import process
from .items import MAX_BYTES
from .source import Live

CONNECT_LIMIT, LIMIT = 15, 120.0
"""Seconds for the connection, and for all."""
ROOM = 2 << 20
"""Bytes that may come back: all files at their longest, and what a shell says as it starts."""

_BEGIN, _END = "metis: begin", "metis: end"
_OPTIONS = (
    "BatchMode=yes",
    f"ConnectTimeout={CONNECT_LIMIT}",
    "ServerAliveInterval=10",
    "ClearAllForwardings=yes",
    "ControlMaster=no",  # a connection that is open already is used, and none is left behind
    "ControlPersist=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
)
_AS_ROOT = "sh -c 'if [ \"$(id -u)\" -eq 0 ]; then exec sh -s; else exec sudo -n sh -s; fi'"
"""One that all shells read alike; what root is to do comes through its input."""
_NO_TOOLS = 78
SCRIPT = f"""\
for tool in head base64 tr; do command -v $tool >/dev/null || exit {_NO_TOOLS}; done
echo '{_BEGIN}'
for file in {{files}}; do
    [ -f "$file" ] || continue
    printf '%s ' "$file"
    head -c {MAX_BYTES + 1} "$file" | base64 | tr -d '\\n'
    echo
done
echo '{_END}'
"""
_PASSED_ON = ("SSH_AUTH_SOCK", "KRB5CCNAME")
"""Where ssh finds keys that are not files."""
_SSH_FAILED = 255
_FAULTS = {
    "Host key verification failed": (
        "shows a host key that ssh does not know",
        "connect once with ssh and compare the key, or see known_hosts",
    ),
    "Permission denied (": (
        "lets nobody in with your keys",
        "try it with ssh first; agents and keys are used",
    ),
    "Could not resolve hostname": ("is no name that this machine knows", "give the address"),
    "Connection refused": ("refuses connections", "see that sshd runs there, and on which port"),
    "timed out": ("does not answer", "see that it is up, and the way to it"),
    "No route to host": ("cannot be reached from here", "see that it is up, and the way to it"),
    "Network is unreachable": ("cannot be reached from here", "see the network of this machine"),
}
"""What ssh says, and what is said of the node; what the node itself says is not repeated."""


def read(live: Live, paths: Sequence[str], config: Path | None = None) -> Mapping[str, bytes]:
    """The regular files that a node has of these paths, each cut off after MAX_BYTES and one.

    `config` is a file for ssh -F. Raises SourceError where the node cannot be reached, does not let us be
    root, or answers otherwise.
    """
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    script = SCRIPT.format(files=" ".join(paths)).encode()
    try:
        said = process.run(
            arguments(live, config),
            stdin=script,
            timeout=LIMIT,
            check=False,
            extra_environment=environment,
            limit=ROOM,
        )
    except MetisError as error:
        raise SourceError(f"{live}: {error.message}", error.hint) from None
    if said.code != 0:
        raise _fault(live, said)
    return parsed(said.out, paths, live)


def arguments(live: Live, config: Path | None) -> list[str]:
    """The whole command; the destination stands behind `--`, so that it is never an option."""
    words = ["ssh", *(["-F", str(config.absolute())] if config else [])]
    words += [word for option in _OPTIONS for word in ("-o", option)]
    words += ["-p", str(live.port)] if live.port else []
    return [*words, "--", live.destination, _AS_ROOT]


def parsed(out: bytes, paths: Sequence[str], live: Live) -> dict[str, bytes]:
    """The files in what a node said. Raises SourceError for anything that was not asked for."""
    wrong = SourceError(f"{live} does not answer as it should", "see what its shell says at login")
    lines = out.decode("ascii", errors="replace").split("\n")
    asked = lines[lines.index(_BEGIN) + 1 :] if _BEGIN in lines else []
    if _END not in asked:
        raise wrong
    found: dict[str, bytes] = {}
    for line in asked[: asked.index(_END)]:
        path, _, encoded = line.partition(" ")
        if path not in paths or path in found:
            raise wrong
        try:
            content = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise wrong from None
        found[path] = content
    return found


def _fault(live: Live, said: process.Finished) -> SourceError:
    if said.code == _NO_TOOLS:
        return SourceError(f"{live} lacks head, base64 or tr", "copy its files, and name the folder")
    if said.code != _SSH_FAILED:
        return SourceError(
            f"{live} lets nobody be root without a password",
            "let the user run `sudo -n sh`, or adopt from root@…, a card or a copy",
        )
    text = said.err.decode(errors="replace")
    what, hint = next(
        (about for words, about in _FAULTS.items() if words in text),
        ("cannot be reached with ssh", "try it with ssh first, which says why"),
    )
    return SourceError(f"{live} {what}", hint)
