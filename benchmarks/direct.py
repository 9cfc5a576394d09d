"""One image without an appliance, beside what people use instead, and beside the least that it can take.

Golden and base are ready, of Debian as it would be installed. `virt-customize` puts the same files into a
sparse copy of the same base, and then `bmaptool create` makes the block map; a copy and its block map are
what no way of injecting can avoid.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.machine import process
from tests.support import goldens

from . import one_image
from .compare import Comparison, Pair, side_by_side

NAME = "one image, direct"
BOUND = 0.10
"""Of virt-customize's time."""
BOUND_OF_COPY = 1.5
"""Of the time for a sparse copy and its block map."""
TIMEOUT = 1200
CLASS = """\
arch: amd64
os: debian
image: {source: 'debian:bookworm', headroom: 256M}
boot_overlay: overlays/pi/boot
root_overlay: overlays/pi/root
"""


def measured(runs: int) -> Sequence[Comparison]:
    """Ours beside virt-customize, and beside a sparse copy with its block map."""
    with tempfile.TemporaryDirectory(prefix="metis-bench-") as folder:
        lab = one_image.make(Path(folder), CLASS)
        lab.environment |= {"METIS_INJECTOR": "direct", "METIS_CACHE": str(goldens.store_folder())}
        goldens.debian_golden()
        one_image.build(lab)
        words = one_image.child("python", "-m", "benchmarks.one_image", folder, lab=lab).split()
        base, target = Path(words[0]), Path(folder, "peer.img")
        boot, root = (Path(word.partition(":")[2]) for word in words[2:])
        commands = _commands(boot, root, Path(folder, "peer"))
        about = {"accelerator": words[1], "base": base.stat().st_blocks * 512}
        pairs = (
            (f"{NAME} : virt-customize", lambda: _customized(base, target, commands), BOUND),
            (f"{NAME} : copy and block map", lambda: _copied(base, target), BOUND_OF_COPY),
        )
        return [
            side_by_side(Pair(name, lambda: one_image.build(lab), peer, about), runs=runs, bound=bound)
            for name, peer, bound in pairs
        ]


def _copied(base: Path, target: Path) -> None:
    _copy(base, target)
    _describe(target)


def _customized(base: Path, target: Path, commands: Path) -> None:
    _copy(base, target)
    words: list[str | Path] = [
        "virt-customize",
        "--quiet",
        "--no-network",
        "-a",
        target,
        "--commands-from-file",
        commands,
    ]
    process.run(words, timeout=TIMEOUT)
    _describe(target)


def _commands(boot: Path, root: Path, folder: Path) -> Path:
    """What virt-customize is told so that it puts in what the tar streams hold."""
    folder.mkdir()
    lines: list[str] = []
    for archive, top in ((root, ""), (boot, "/boot/efi")):
        with tarfile.open(archive, "r:") as members:
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


def _copy(base: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    process.run(["cp", "--sparse=always", base, target], timeout=TIMEOUT)


def _describe(target: Path) -> None:
    process.run(["bmaptool", "--quiet", "create", "--output", f"{target}.bmap", target], timeout=TIMEOUT)
