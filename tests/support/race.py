"""Processes that do the same at the same time, as two people do who build for one node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from subprocess import PIPE, Popen
from sys import executable

from pipeline.machine import process
from pipeline.secrets.identity import MAKERS
from tests.support.lab import REPOSITORY

RUNNERS = 4

_IDENTITY = """
import json, os, sys
from pathlib import Path
from pipeline.model import SecretRef
from pipeline.secrets import identity, keyring, used
{source}
folder, node = Path(sys.argv[1]), sys.argv[2]
ring = keyring.Keyring(source(folder), [], used.UsedSecrets(folder / "artifacts", makes_key=True))
sys.stdin.readline()
revealed = ring.revealed(node, [SecretRef(name) for name in identity.MAKERS])
values = {{name: text.reveal() for name, text in source(folder).read(node).values.items()}}
print(json.dumps([revealed.used, values]))
"""


def together(script: str, *arguments: str, environment: Mapping[str, str] | None = None) -> list[bytes]:
    """What each of some processes prints; the script waits for a line on stdin, and all get it at once."""
    argv = [executable, "-c", script, *arguments]
    children = [
        Popen(argv, stdin=PIPE, stdout=PIPE, cwd=REPOSITORY, env=process.environment(environment))
        for _ in range(RUNNERS)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"go\n")
        child.stdin.flush()
    return [child.communicate()[0] for child in children]


def one_identity(
    source: str, folder: str, node: str, environment: Mapping[str, str] | None = None
) -> Mapping[str, str]:
    """The identity with which all processes end that find none; `source` is code for `source(folder)`."""
    script = _IDENTITY.format(source=source)
    first, *others = map(json.loads, together(script, folder, node, environment=environment))
    assert others == [first] * (RUNNERS - 1)
    identity: Mapping[str, str] = first[1]
    assert identity.keys() == MAKERS.keys()
    return identity
