"""Images for tests, made once and kept in the user's cache folder.

Two are small enough to be made in a blink and have just what a build looks at; they serve tests that run
many builds. Two are made of real Debian packages; they take a network and a minute or two. How a machine is
booted from an image is in `machine`.

An image is keyed by its recipe: who changes the recipe gets a new image, and nobody an old one by mistake.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.golden import fetch
from pipeline.golden.debian import packages as debian_packages
from pipeline.golden.source import Wanted
from pipeline.machine import process
from tests.support.fetching import means

MIB = 1 << 20
SECTOR = 512


def cache_folder() -> Path:
    """Where test images are kept between runs: `$XDG_CACHE_HOME/metis-tests`, else `~/.cache/metis-tests`."""
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(home) / "metis-tests"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def store_folder() -> Path:
    """A METIS_CACHE that is kept between runs, for goldens that take minutes to make."""
    return cache_folder() / "store"


def sha256(path: Path) -> str:
    """The hash of a file, as `METIS_IMAGE_<CLASS>_SHA256` takes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached(name: str, recipe: object, make: Callable[[Path], None]) -> Path:
    """The image that `make` writes for this recipe: made by whoever comes first, awaited by all others."""
    key = hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]
    stem, dot, endings = name.partition(".")
    target = cache_folder() / f"{stem}-{key}{dot}{endings}"
    with _alone(target):
        if not target.exists():
            part = target.with_name(f".{target.name}.part")
            part.unlink(missing_ok=True)
            try:
                make(part)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
    return target


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# ----------------------------------------------------------------------------------------- partitions

Table = Literal["gpt", "mbr"]
TYPES = {
    "gpt": {"boot": "U", "root": "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"},
    "mbr": {"boot": "c", "root": "83"},
}
"""Partition types by the side they hold (sfdisk(8))."""


def partition(image: Path, table: Table, parts: Iterable[tuple[str, int]]) -> list[int]:
    """Make a sparse disk with partitions of (type, size in MiB) in this order; give their byte offsets."""
    parts = list(parts)
    offsets = [MIB * (1 + sum(size for _, size in parts[:index])) for index in range(len(parts))]
    script = [f"label: {'dos' if table == 'mbr' else 'gpt'}"]
    for offset, (kind, size) in zip(offsets, parts, strict=True):
        script.append(f"start={offset // SECTOR}, size={size * MIB // SECTOR}, type={TYPES[table][kind]}")
    with image.open("wb") as file:
        file.truncate(MIB * (2 + sum(size for _, size in parts)))
    process.run(["sfdisk", "--quiet", image], stdin="\n".join(script).encode())
    return offsets


def make_fat(image: Path, offset: int, size: int, label: str, files: dict[str, str]) -> None:
    """Put a FAT file system of `size` MiB with these files at a byte offset of an image."""
    kib = str(size * MIB // 1024)
    process.run(
        [
            "mkfs.vfat",
            "-F",
            "16",
            "-s",
            str(max(1, size // 16)),
            "-n",
            label,
            f"--offset={offset // SECTOR}",
            image,
            kib,
        ]
    )
    for name, text in files.items():
        process.run(["mcopy", "-i", f"{image}@@{offset}", "-", f"::{name}"], stdin=text.encode())


# ------------------------------------------------------------------------------------- small images

OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm\nID=debian\n'
DHCP_EVERYWHERE = """\
network:
  version: 2
  renderer: networkd
  ethernets:
    all-eth-interfaces:
      match:
        name: "e*"
      dhcp4: yes
      dhcp6: yes
"""
CMDLINE = "console=serial0,115200 console=tty1 root=LABEL={root} rootfstype=ext4 fsck.repair=yes rootwait\n"
BOOT_LINE = "LABEL={boot} /boot/firmware vfat defaults 0 2\n"
CONFIG = "# For more options see the firmware's documentation.\narm_64bit=1\nenable_uart=1\n"

LINKS = {
    "bin": "usr/bin",
    "lib": "usr/lib",
    "sbin": "usr/sbin",
    "etc/os-release": "../usr/lib/os-release",
    "etc/mtab": "../proc/self/mounts",
    "var/run": "/run",
}
FOLDERS = {
    # each after its parent, so that no mode is left to the umask
    **dict.fromkeys("usr usr/bin usr/lib usr/lib/systemd usr/lib/systemd/system usr/sbin".split(), 0o755),
    **dict.fromkeys("usr/local usr/local/bin boot boot/firmware dev home mnt run".split(), 0o755),
    **dict.fromkeys("etc etc/cloud etc/netplan etc/ssh etc/ssh/sshd_config.d".split(), 0o755),
    **dict.fromkeys("etc/systemd etc/systemd/system".split(), 0o755),
    **dict.fromkeys("var var/lib var/lib/cloud var/log".split(), 0o755),
    "etc/sudoers.d": 0o750,
    "proc": 0o555,
    "root": 0o700,
    "sys": 0o555,
    "tmp": 0o1777,
}
FILES: dict[str, tuple[int, int, str]] = {
    # path: mode, group, content; the user is always root
    "usr/lib/os-release": (0o644, 0, OS_RELEASE),
    "etc/fstab": (0o644, 0, "LABEL={root} / ext4 defaults 0 1\n"),
    "etc/group": (0o644, 0, "root:x:0:\nsudo:x:27:\nshadow:x:42:\nnogroup:x:65534:\n"),
    "etc/gshadow": (0o640, 42, "root:*::\nsudo:*::\nshadow:*::\nnogroup:*::\n"),
    "etc/hostname": (0o644, 0, "golden\n"),
    "etc/hosts": (0o644, 0, "127.0.0.1\tlocalhost\n127.0.1.1\tgolden\n::1\tlocalhost ip6-localhost\n"),
    "etc/machine-id": (0o444, 0, ""),
    "etc/passwd": (
        0o644,
        0,
        "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    "etc/shadow": (0o640, 42, "root:*:19700:0:99999:7:::\nnobody:*:19700:0:99999:7:::\n"),
    "etc/netplan/10-dhcp-all-interfaces.yaml": (0o600, 0, DHCP_EVERYWHERE),
    "usr/bin/true": (0o755, 0, "#!/bin/sh\n"),
    "usr/lib/systemd/systemd-networkd": (0o755, 0, "#!/bin/sh\n"),
    "usr/sbin/NetworkManager": (0o755, 0, "#!/bin/sh\n"),
    "usr/sbin/netplan": (0o755, 0, "#!/bin/sh\n"),
}


@dataclass(frozen=True)
class Tiny:
    """What a small image is made of; `boot` is a FAT's label, or None for an image without one.

    Each label in `roots` gives an ext4 file system that looks like an operating system's root. Without any,
    the image has one ext4 file system with nothing in it, labelled `data`.
    """

    table: Table = "gpt"
    boot: str | None = None
    roots: tuple[str, ...] = ("rootfs",)
    size: int = 16
    """MiB of each ext4 file system."""


def tiny_golden(
    *, table: Table = "gpt", boot: str | None = None, roots: tuple[str, ...] = ("rootfs",), size: int = 16
) -> Path:
    """A raw image of 18 MiB whose only file system is an ext4 root (see `Tiny` for what may be asked for)."""
    return _tiny(Tiny(table, boot, roots, size))


def tiny_pi_golden(
    *,
    table: Table = "mbr",
    boot: str | None = "RPICFG",
    roots: tuple[str, ...] = ("armbi_root",),
    size: int = 16,
) -> Path:
    """A raw image of 26 MiB laid out like a Raspberry Pi's: MBR, FAT at /boot/firmware, ext4 root."""
    return _tiny(Tiny(table, boot, roots, size))


TINY_FAT_MIB = 8


def _tiny(tiny: Tiny) -> Path:
    recipe = ("tiny", 1, tiny, LINKS, FOLDERS, FILES, CMDLINE, CONFIG)
    return cached("tiny.img", recipe, lambda image: _make_tiny(image, tiny))


def _make_tiny(image: Path, tiny: Tiny) -> None:
    boots = [("boot", TINY_FAT_MIB)] if tiny.boot else []
    labels = tiny.roots or ("data",)
    offsets = partition(image, tiny.table, [*boots, *(("root", tiny.size) for _ in labels)])
    if tiny.boot:
        files = {"cmdline.txt": CMDLINE.format(root=labels[0]), "config.txt": CONFIG}
        make_fat(image, offsets.pop(0), TINY_FAT_MIB, tiny.boot, files)
    for label, offset in zip(labels, offsets, strict=True):
        with tempfile.TemporaryDirectory() as scratch:
            tree = Path(scratch, "tree")
            tree.mkdir(mode=0o755)
            if tiny.roots:
                _plant(tree, label, tiny.boot)
            _make_ext4(image, offset, tiny.size, label, tree)


def _plant(tree: Path, root: str, boot: str | None) -> None:
    for path, mode in FOLDERS.items():
        folder = tree / path
        folder.mkdir()
        folder.chmod(mode)
    for path, (mode, _, text) in FILES.items():
        file = tree / path
        file.write_text(text.replace("{root}", root))
        file.chmod(mode)
    for path, target in LINKS.items():
        (tree / path).symlink_to(target)
    if boot:
        with (tree / "etc/fstab").open("a") as fstab:
            fstab.write(BOOT_LINE.format(boot=boot))


def _make_ext4(image: Path, offset: int, size: int, label: str, tree: Path) -> None:
    """Put a tree into an ext4 file system; all of it is root's, whoever we are."""
    words: list[str | Path] = [
        "-q",
        "-t",
        "ext4",
        "-L",
        label,
        "-d",
        tree,
        "-E",
        f"offset={offset},root_owner=0:0",
    ]
    process.run(["mke2fs", *words, image, f"{size}M"])
    commands = []
    for path in tree.rglob("*"):
        name = path.relative_to(tree).as_posix()
        group = FILES[name][1] if name in FILES else 0
        commands += [f"sif /{name} uid 0", f"sif /{name} gid {group}"]
    debugfs(image, offset, *commands)


def debugfs(image: Path, offset: int, *commands: str) -> None:
    """Change an ext file system at a byte offset of an image by the commands of debugfs(8)."""
    words = ["debugfs", "-w", "-f", "-", f"{image}?offset={offset}"]
    said = process.run(words, stdin="\n".join(commands).encode())
    # It ends with 0 whatever happens; its banner is one line of stderr.
    assert len(said.err.splitlines()) == 1, said.err.decode()


# ------------------------------------------------------------------------------ real Debian packages

SUITE = "bookworm"


def debian_golden(arch: Literal["amd64", "arm64"] = "amd64") -> Path:
    """The raw image that `debian:bookworm` stands for; builds find it in the same store.

    For a foreign architecture it is built under emulation, which takes ten minutes once.
    """
    if arch != "amd64":
        _let_the_kernel_emulate()
    found = fetch.fetched(Wanted(f"debian:{SUITE}", None, arch), means(Path(), store_folder()))
    return found.path


def _let_the_kernel_emulate() -> None:
    """Register emulators (binfmt-support) where no init has done so, as in a container; only root may."""
    if os.geteuid() == 0 and not Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists():
        process.run("mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc".split(), check=False)
        process.run("update-binfmts --enable qemu-aarch64".split(), check=False)


PI_PACKAGES = (
    "base-files base-passwd bash coreutils iproute2 login netplan.io openssh-server passwd sudo systemd "
    "systemd-sysv udev".split()
)
PI_OPTIONS = (
    # unpacked only: maintainer scripts would need emulation, and many minutes
    "--variant=extract",
    "--architectures=arm64",
    "--skip=check/qemu",
    f"--include={','.join(PI_PACKAGES)}",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    '--setup-hook=for name in bin lib sbin; do mkdir -p "$1/usr/$name"; ln -s "usr/$name" "$1/$name"; done',
)
PI_FAT_MIB = 64
PI_ROOT_MIB = 512
PI_BOOT, PI_ROOT = "RPICFG", "armbi_root"
PI_USERS = {"systemd-network": 998, "systemd-resolve": 997, "sshd": 100}
"""What the maintainer scripts of our packages would have added to the masters of base-passwd."""


def pi_golden() -> Path:
    """An arm64 image laid out like a Raspberry Pi's, as `.img.xz`; it has the files but was never set up."""
    recipe = ("pi", 1, PI_OPTIONS, PI_FAT_MIB, PI_ROOT_MIB, PI_USERS, CMDLINE, CONFIG, FILES, LINKS)
    return cached("pi.img.xz", recipe, _make_pi)


def _make_pi(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        tree, tar, image = Path(scratch, "tree"), Path(scratch, "root.tar"), Path(scratch, "image")
        debian_packages.bootstrap(SUITE, tar, PI_OPTIONS)
        _complete(tar)
        boot, root = partition(image, "mbr", [("boot", PI_FAT_MIB), ("root", PI_ROOT_MIB)])
        files = {"cmdline.txt": CMDLINE.format(root=PI_ROOT), "config.txt": CONFIG}
        make_fat(image, boot, PI_FAT_MIB, PI_BOOT, files)
        tree.mkdir()
        script = (
            'tar --extract --preserve-permissions --directory "$1" --file "$2"\n'
            f'mke2fs -q -F -t ext4 -L {PI_ROOT} -d "$1" -E offset={root} "$3" {PI_ROOT_MIB}M\n'
        )
        process.run(["fakeroot", "--", "sh", "-ec", script, "sh", tree, tar, image])
        process.run(["xz", "-1", "-T0", image])
        Path(f"{image}.xz").replace(target)


def _complete(tar: Path) -> None:
    """Add to a tar what maintainer scripts and Armbian's build would have added; the later member counts."""
    with tarfile.open(tar, "r:") as members:
        users, groups = (
            _member(members, f"./usr/share/base-passwd/{name}.master") for name in ("passwd", "group")
        )
    for name, number in PI_USERS.items():
        users += f"{name}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n"
        groups += f"{name}:x:{number}:\n"
    texts = {
        "etc/passwd": users.replace(":*:", ":x:"),
        "etc/group": groups.replace(":*:", ":x:"),
        "etc/shadow": "".join(f"{line.split(':')[0]}:*:19700:0:99999:7:::\n" for line in users.splitlines()),
        "etc/gshadow": "".join(f"{line.split(':')[0]}:*::\n" for line in groups.splitlines()),
        "etc/fstab": FILES["etc/fstab"][2].format(root=PI_ROOT) + BOOT_LINE.format(boot=PI_BOOT),
    }
    taken = ("etc/hostname", "etc/hosts", "etc/machine-id", "etc/netplan/10-dhcp-all-interfaces.yaml")
    with tarfile.open(tar, "a") as members:
        folder = tarfile.TarInfo("./boot/firmware")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        members.addfile(folder)
        for path in (*texts, *taken):
            mode, group, text = FILES[path]
            data = texts.get(path, text).encode()
            member = tarfile.TarInfo(f"./{path}")
            member.mode, member.gid, member.size = mode, group, len(data)
            members.addfile(member, io.BytesIO(data))


def _member(members: tarfile.TarFile, name: str) -> str:
    file = members.extractfile(name)
    assert file is not None
    return file.read().decode()
