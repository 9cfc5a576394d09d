"""The words of Metis as frozen values: what the inventory resolves to, and what a manifest is made of.

Both in one file, as a concern of `render` goes from the one to the other, and every step speaks of both;
nothing here reads, writes or decides. How a value comes to be is in `inventory.resolve` (from YAML) and in
`render` (entries); how entries become one manifest is in `manifest`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Side = Literal["boot", "root"]
"""The file system of an image that an entry belongs to: FAT at the firmware, or the root."""
SIDES: tuple[Side, ...] = ("boot", "root")

Settings = Mapping[str, Any]
"""A part of an inventory after merging: nested read-only mappings, tuples and scalars (see `freeze`)."""


def freeze(value: object) -> Any:  # noqa: ANN401 - the shape is the schema's to know
    """Give plain YAML data as read-only mappings and tuples, all the way down."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: freeze(item) for key, item in value.items()})
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(freeze(item) for item in value)
    return value


def thaw(value: object) -> Any:  # noqa: ANN401 - the inverse of freeze
    """Give back plain dicts and lists, as YAML and JSON writers want them."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [thaw(item) for item in value]
    return value


# ---------------------------------------------------------------------------------------- inventory


@dataclass(frozen=True, slots=True)
class Origin:
    """The place in the inventory that a value came from; `line` counts from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Signature:
    """A detached signature and whose it must be.

    `keyring` is a file of public keys within the inventory; `source` is None where the artifact of a registry
    has the signature in it.
    """

    keyring: str
    source: str | None = None


@dataclass(frozen=True, slots=True)
class DeclaredGolden:
    """A class's golden as declared.

    `sha256` is of the file as published; a `debian:` source has none, its recipe is its key. `mirrors` have
    the same file. `sums` is where the publisher lists hashes; then the `signature` is of that list, else of
    the golden. `headroom` is the number of bytes by which the base is grown.
    """

    source: str
    sha256: str | None
    headroom: int
    mirrors: tuple[str, ...] = ()
    sums: str | None = None
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class Overlay:
    """A folder of files to lay over one side of the image; `folder` is relative to the inventory."""

    layer: str
    side: Side
    folder: str


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that is fetched once, checked by its hash and put into a base or an image."""

    path: str
    source: str
    sha256: str
    mode: int
    mirrors: tuple[str, ...] = ()

    @property
    def entry(self) -> File:
        """What puts it there, out of the cache."""
        return File(self.path, (Blob(self.sha256, f"{CACHED}{self.sha256}"),), self.mode)


@dataclass(frozen=True, slots=True)
class Layer:
    """One class or node of the chain: its file, its overlays and the earlier paths that it may replace.

    `line` is where it starts in its file.
    """

    name: str
    file: str
    overlays: tuple[Overlay, ...]
    replaces: frozenset[str]
    line: int = 1


@dataclass(frozen=True, slots=True)
class ResolvedClass:
    """A class with everything that it extends merged in, parents first in `layers`."""

    name: str
    layers: tuple[Layer, ...]
    arch: str
    os: str
    golden: DeclaredGolden | None
    labels: Mapping[Side, str]
    """Labels of the file systems that the class names; a side that is not here is found by content."""
    files: tuple[RemoteFile, ...]
    settings: Settings
    origins: Mapping[tuple[str, ...], Origin] = field(compare=False)


@dataclass(frozen=True, slots=True)
class ResolvedNode:
    """A node: its class and its own values, merged and checked.

    `settings` holds a part for each concern (`settings["network"]`), in the form of that concern's schema.
    `cluster` is cluster.yaml. `origins` maps the keys that lead to a value to where it came from.
    """

    name: str
    klass: ResolvedClass
    layer: Layer
    settings: Settings
    cluster: Settings
    origins: Mapping[tuple[str, ...], Origin] = field(compare=False)

    @property
    def hostname(self) -> str:
        """The node's host name: as declared, else the file's name."""
        return str(self.settings.get("hostname", self.name))

    def origin(self, dotted: str) -> Origin:
        """Where the value at a dotted path, or the nearest thing above or below it, came from."""
        by_name = {".".join(path): origin for path, origin in self.origins.items()}
        parts = dotted.split(".")
        for end in range(len(parts), 0, -1):
            prefix = ".".join(parts[:end])
            if prefix in by_name:
                return by_name[prefix]
            below = [origin for name, origin in by_name.items() if name.startswith(f"{prefix}.")]
            if below:
                return below[0]
        return Origin(self.layer.file, self.layer.line)


# ----------------------------------------------------------------------------------------- manifest


@dataclass(frozen=True, slots=True)
class Text:
    """Literal content."""

    text: str


CACHED = "cache:"
"""How a blob says that it lies in the cache and not in the inventory."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Content that stays where it is until it is applied, named by its hash.

    `source` is a path relative to the inventory, or CACHED and the hash for a fetched file.
    """

    sha256: str
    source: str


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Content that is one of the node's secrets, read from its source when it is applied and never before.

    `name` is the field there (`k3s_token`, `extra.machine_id`); `form` names what is made of its value (see
    `secrets.forms`). An optional one may be missing: its form says what stands there then.
    """

    name: str
    form: str = "text"
    optional: bool = False


Reveal = Callable[[SecretRef], bytes]
"""Gives what a secret stands for, in its form; raises MetisError, without the value, where it cannot."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """All of a file's content, a JSON document of exactly `size` bytes (3 or more) that is written only when
    the image is on its card; until then it is blank."""

    size: int

    @property
    def blank(self) -> bytes:
        """An empty document: what an image has there."""
        return b"{}".ljust(self.size - 1) + b"\n"


@dataclass(frozen=True, slots=True)
class ImageFact:
    """A value that only the image itself has, known when it is applied: see `raw.disk.facts`."""

    name: str


Piece = Text | Blob | SecretRef | Reserved
Value = str | SecretRef | ImageFact


@dataclass(frozen=True, slots=True)
class File:
    """A regular file; its content is the pieces, one after another."""

    path: str
    content: tuple[Piece, ...]
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    side: Side = "root"


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory with exactly this mode and owner; parents that nobody names are made 0755 root.

    In an `immutable` one nobody can make anything, root included (chattr(1), i): a mount point that must not
    be written to while nothing is mounted there.
    """

    path: str
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"
    side: Side = "root"
    immutable: bool = False


@dataclass(frozen=True, slots=True)
class Symlink:
    """A symbolic link; `target` is what it holds, never followed by us."""

    path: str
    target: str
    side: Side = "root"


@dataclass(frozen=True, slots=True)
class Remove:
    """A path that must not be there: a file, a link, or a directory with all that is in it."""

    path: str
    side: Side = "root"


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a file that the golden brings, by a function of `edits` named `edit`.

    The file keeps its mode and owner; applied twice, the function changes nothing more. Where the golden has
    `preferred`, that file is changed instead. A file that is not there counts as empty (and becomes
    private where a secret goes in), and is left alone where the edit is `optional`.
    """

    path: str
    edit: str
    arguments: tuple[tuple[str, Value], ...] = ()
    side: Side = "root"
    preferred: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Needs:
    """A path that must be there when all else is in: what other entries lead to, and only a golden brings.

    `package` is what Debian calls the package that has it. Without what is `optional` an image is made all
    the same, and who makes it is warned: it may come to the node in another way.
    """

    path: str
    package: str
    side: Side = "root"
    optional: bool = False


Entry = File | Directory | Symlink | Remove | Edit | Needs
Renderer = Callable[[ResolvedNode], tuple[Entry, ...]]

Fault = tuple[str, str]
"""The dotted path of a value (`network.gateway`) and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry and the layer that it comes from (`network`, `class atlas-agent`, `node titan-13`)."""

    entry: Entry
    layer: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that is done to one image, in the order of paths; `id` is the hash of its content."""

    subject: str
    entries: tuple[Placed, ...]
    id: str
