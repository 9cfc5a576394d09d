"""One image beside virt-customize(1), and beside the least that it can take.

Golden and base are ready. `virt-customize` puts the same files into a sparse copy of the same base, and then
`bmaptool create` makes the block map; a copy and its block map are what no way of injecting can avoid.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pipeline.machine import process
from tests.support import goldens
from tests.support.lab import Lab

from . import one_image
from .compare import Comparison, Pair, side_by_side

BOUNDS = {"guestfs": 0.45, "direct": 0.10}
"""Of virt-customize's time, for each injector."""
BOUND_OF_COPY = 1.5
"""Of the time for a sparse copy and its block map, for the direct injector."""
COPIES = 9
"""Runs of a second, where those of virt-customize take half a minute."""
TIMEOUT = 1200
DEBIAN = """\
arch: amd64
os: debian
image: {source: 'debian:bookworm', headroom: 256M}
boot_overlay: overlays/pi/boot
root_overlay: overlays/pi/root
"""
_SETTINGS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"kvm": {}, "tcg": {"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}}
)
"""What our appliance finds out by itself, and virt-customize is told: it fails where KVM is broken."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A lab whose base is ready, and the file that is the peers' copy of that."""

    lab: Lab
    base: Path
    copy: Path
    words: Sequence[str]
    """The accelerator, then a partition and its tar stream for each side: see `one_image.streams`."""

    @property
    def variables(self) -> dict[str, str]:
        """The environment of libguestfs's own programs."""
        return {"LIBGUESTFS_BACKEND": "direct", **_SETTINGS[self.words[0]]}

    def build(self, injector: str) -> None:
        """Make the image by Metis."""
        self.lab.environment["METIS_INJECTOR"] = injector
        one_image.build(self.lab)

    def customize(self, commands: Path) -> None:
        """Make the image by virt-customize."""
        self.copied()
        words: list[str | Path] = ["virt-customize", "--quiet", "--no-network", "-a", self.copy]
        process.run(
            [*words, "--commands-from-file", commands],
            timeout=TIMEOUT,
            extra_environment=self.variables,
        )
        self._describe()

    def fish(self) -> None:
        """Make the image by guestfish, which is told where the file systems are and gets the tar streams."""
        self.copied()
        words: list[str | Path] = ["guestfish", "--format=raw", "-a", self.copy, "run"]
        for stream in self.words[1:]:
            partition, _, tar = stream.partition(":")
            words += f": mount /dev/sda{partition} / : tar-in {tar} / : umount /".split()
        process.run(words, timeout=TIMEOUT, extra_environment=self.variables)
        self._describe()

    def leave_as_it_is(self) -> None:
        """Make a copy of the base with its block map."""
        self.copied()
        self._describe()

    def compared(
        self,
        injector: str,
        peer: Callable[[], None],
        runs: int,
        bound: float | None,
        *,
        name: str,
        briefly: bool = False,
    ) -> Comparison:
        """Time an injector beside a peer; both find the base in memory."""
        about = {"accelerator": self.words[0], "base": self.base.stat().st_blocks * 512}
        pair = Pair(
            f"one image, {injector} : {name}", lambda: self.build(injector), peer, about, is_warm=True
        )
        return side_by_side(pair, runs=runs, bound=bound, briefly=briefly)

    def copied(self) -> None:
        """Make a sparse copy of the base."""
        self.copy.unlink(missing_ok=True)
        process.run(["cp", "--sparse=always", self.base, self.copy], timeout=TIMEOUT)

    def _describe(self) -> None:
        words: list[str | Path] = [
            "bmaptool",
            "--quiet",
            "create",
            "--output",
            f"{self.copy}.bmap",
            self.copy,
        ]
        process.run(words, timeout=TIMEOUT)


@contextmanager
def ready(class_text: str = "") -> Iterator[Bench]:
    """A lab with golden and base ready, of a Raspberry Pi where no other class is given."""
    with tempfile.TemporaryDirectory(prefix="metis-bench-") as folder:
        lab = one_image.make(Path(folder), class_text)
        lab.environment["METIS_INJECTOR"] = "direct"
        if class_text:
            lab.environment["METIS_CACHE"] = str(goldens.store_folder())
            goldens.debian_golden()
        one_image.build(lab)
        words = one_image.child("python", "-m", "benchmarks.one_image", folder, lab=lab).split()
        bench = Bench(lab, Path(words[0]), Path(folder, "peer.img"), words[1:])
        bench.leave_as_it_is()
        yield bench


def measured(runs: int) -> Sequence[Comparison]:
    """Both injectors beside virt-customize, and the direct one beside a copy, of Debian and of a Pi."""
    with ready(DEBIAN) as bench:
        commands = commands_of(bench.words[1:], bench.copy.with_name("commands"))
        found = [
            bench.compared(injector, lambda: bench.customize(commands), runs, bound, name="virt-customize")
            for injector, bound in BOUNDS.items()
        ]
        found.append(bench.compared("guestfs", bench.fish, runs, None, name="guestfish"))
        found.append(beside_a_copy(bench, COPIES))
    with ready() as bench:
        name = "copy and block map, of a Pi"
        return [*found, bench.compared("direct", bench.leave_as_it_is, COPIES, None, name=name)]


def beside_a_copy(bench: Bench, runs: int, *, briefly: bool = False) -> Comparison:
    """The direct injector beside a sparse copy of the base with its block map."""
    name = "copy and block map"
    return bench.compared("direct", bench.leave_as_it_is, runs, BOUND_OF_COPY, name=name, briefly=briefly)


def commands_of(streams: Sequence[str], folder: Path) -> Path:
    """What virt-customize is told so that it puts in what the tar streams hold, the boot's and the root's."""
    folder.mkdir()
    lines: list[str] = []
    for stream, top in zip(streams, ("/boot/efi", ""), strict=True):
        with tarfile.open(stream.partition(":")[2], "r:") as members:
            for member in members:
                path, source = f"{top}/{member.name}", folder / str(len(lines))
                content = members.extractfile(member) if member.isreg() else None
                if member.issym():
                    lines.append(f"link {member.linkname}:{path}")
                    continue
                if content is None:
                    lines.append(f"mkdir {path}")
                else:
                    source.write_bytes(content.read())
                    lines.append(f"upload {source}:{path}")
                if not top:
                    lines.append(f"chmod {member.mode:04o}:{path}")
    commands = folder / "commands"
    commands.write_text("\n".join(lines) + "\n")
    return commands
