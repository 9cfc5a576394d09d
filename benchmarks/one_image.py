"""One image with golden and base ready, beside a script by hand (`peer_one_image`) that does the same.

Both start as a new process, copy the same base, launch one appliance with the same accelerator and drive,
unpack the same tar streams into the same file systems and end with a block map. On top, ours finds out what
has to be done, reads from the image where it goes, syncs the image to the disk, and leaves a receipt.
`python -m benchmarks.one_image FOLDER` runs in a child: it makes the tar streams for the peer.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import MetisError
from pipeline.inject.apply import apply
from pipeline.inject.partitions import exactly
from pipeline.inject.sources import Sources
from pipeline.inject.tree import Places, Tree, Trees
from pipeline.machine import process
from pipeline.manifest import secrets_of
from pipeline.model import Side
from pipeline.raw import disk, sparse
from pipeline.steps.artifacts import bmap_of, receipt_of
from tests.support import goldens
from tests.support.lab import BIN, REPOSITORY, Lab

from .compare import Pair

NAME = "one image"
BOUND = 1.15
NODE = "titan-13"
TIMEOUT = 1200
FILES_IN_OVERLAY = 20
PEER = Path(__file__).with_name("peer_one_image.py")

CLASS = """\
arch: arm64
os: armbian
image: {{source: 'file:{golden}', sha256: {sha256}, headroom: 256M}}
boot_overlay: overlays/pi/boot
root_overlay: overlays/pi/root
cloud_init: seed
"""
NODE_TEXT = """\
class: pi
network: {interface: eth0, address: 192.0.2.13/24, gateway: 192.0.2.254, nameservers: [192.0.2.254]}
k3s:
  role: agent
  server: https://192.0.2.1:6443
  labels: {hardware: rpi4, rack: r1}
  taints: ["dedicated=storage:NoSchedule"]
  flags: {flannel-iface: eth0}
ssh:
  user: root
  authorized_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9oFhcGqpZ0vH1fB9TnWQ2mKQ2YV6vXr0dN8sE7uC4K ops"]
boot_overlay: overlays/own/boot
root_overlay: overlays/own/root
"""


@contextmanager
def prepared() -> Iterator[Pair]:
    """A lab with golden and base ready, and the tar streams for its peer."""
    with tempfile.TemporaryDirectory(prefix="metis-bench-") as folder:
        lab = make(Path(folder))
        build(lab)
        words = child("python", "-m", "benchmarks.one_image", folder, lab=lab).split()
        target = Path(folder, "peer", f"{NODE}.img")
        target.parent.mkdir()
        about = {"accelerator": words[0], "base": _base(lab).stat().st_blocks * 512}
        # The base, the streams and an appliance were read or written just now: both find them in memory.
        yield Pair(NAME, lambda: build(lab), lambda: _by_hand(target, words), about, is_warm=True)


def make(root: Path, class_text: str = "") -> Lab:
    """A lab of one node, of a Raspberry Pi as the lab's inventory has them where no other class is given."""
    lab = Lab(root / "lab", {"METIS_CACHE": str(root / "cache"), "METIS_INJECTOR": "guestfs"})
    lab.write("classes/pi.yaml", class_text or _class_of_a_pi())
    lab.write(f"nodes/{NODE}.yaml", NODE_TEXT)
    lab.write_secrets(NODE, f"k3s_token: K10{'ab' * 32}::node:5ec2e7\n")
    for layer in ("pi", "own"):
        lab.write(f"overlays/{layer}/boot/{layer}.txt", f"{layer}\n")
        for number in range(FILES_IN_OVERLAY):
            lab.write(f"overlays/{layer}/root/etc/{layer}.d/{number}.conf", f"{layer} {number}\n")
    return lab


def _class_of_a_pi() -> str:
    golden = goldens.pi_golden()
    return CLASS.format(golden=golden, sha256=goldens.sha256(golden))


def _base(lab: Lab) -> Path:
    return lab.artifacts / "base" / "pi.img"


def build(lab: Lab) -> None:
    """What an operator does whose image is gone."""
    image = lab.artifacts / f"{NODE}.img"
    for file in (image, bmap_of(image), receipt_of(image)):
        file.unlink(missing_ok=True)
    report = lab.metis("image", "--node", NODE)
    if report.code or not bmap_of(image).is_file():
        raise MetisError(f"not built: {report.err[-500:]}")


def _by_hand(target: Path, words: Sequence[str]) -> None:
    target.unlink(missing_ok=True)
    process.run([BIN / "python", PEER, target, *words], timeout=TIMEOUT)
    if not bmap_of(target).is_file():
        raise MetisError("the script by hand left no block map")


def child(program: str, *arguments: str, lab: Lab) -> str:
    done = process.run(
        [BIN / program, *arguments], cwd=REPOSITORY, extra_environment=lab.variables({}), timeout=TIMEOUT
    )
    return done.out.decode()


# ------------------------------------------------------------------------- in a child: the peer's tars


class Keeping:
    """A tree that keeps the tar stream that it should unpack, and changes nothing else about a tree."""

    def __init__(self, tree: Tree, file: Path) -> None:
        self._tree = tree
        self._file = file
        self.status, self.read, self.read_link = tree.status, tree.read, tree.read_link
        self.sha256 = tree.sha256
        self.list_names, self.remove = tree.list_names, tree.remove
        self.is_immutable, self.set_immutable = tree.is_immutable, tree.set_immutable

    def extract(self, archive: Path) -> None:
        shutil.copyfile(archive, self._file)


def streams(folder: Path) -> list[str]:
    """Make the tar streams that go into the node's image; give the peer's words."""
    from pipeline.lab.lab import Lab as Composed

    lab = Composed.from_environment()
    base, scratch = lab.artifacts.base("pi"), folder / "scratch.img"
    places = Places(**json.loads(receipt_of(base).read_bytes())["places"])
    sparse.copy(base, scratch)
    layout = disk.with_own_ids(scratch, NODE)
    facts = disk.facts(layout, places.root, places.boot)
    with lab.injector().open(scratch, layout, exactly(places)) as trees:
        files: dict[Side, Path] = {"boot": folder / "boot.tar", "root": folder / "root.tar"}
        assert trees.boot is not None
        keeping = Trees(places, Keeping(trees.root, files["root"]), Keeping(trees.boot, files["boot"]))
        manifest = lab.manifest(NODE)
        sources = Sources(lab.open_blob, lab.keyring.revealed(NODE, secrets_of(manifest)).reveal, facts)
        apply(manifest, keeping, sources, folder)
    scratch.unlink()
    return [
        str(base),
        lab.appliance.accelerator(),
        f"{places.boot}:{files['boot']}",
        f"{places.root}:{files['root']}",
    ]


if __name__ == "__main__":
    print(*streams(Path(sys.argv[1])))
