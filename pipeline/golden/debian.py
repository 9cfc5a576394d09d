"""The `debian:<suite>` source: a small image that boots, made from Debian packages.

It lets a newcomer build a first card without a registry or a published image. mmdebstrap(1) installs the
packages, in a user namespace where we are not root; nothing is mounted on the host, and what comes out is
a tar. Here it becomes a disk: a FAT that the firmware reads, and an ext4 root which is the last partition,
so that it can grow. For amd64 that is a GPT and an ESP with systemd-boot, kernel and initrd; for arm64 it is
what a Raspberry Pi 3 or 4 starts from: an MBR and the FAT as Debian's raspi-firmware fills it.

Verifying and unpacking published images is in the modules beside this one; caching is in `cache.store`. The
recipe is data: its hash is what the cache knows the image by, because the packages have no hash of their own.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from ..errors import MetisError, MismatchError, SourceError, UsageError
from ..inventory.formats import DEBIAN_SUITE
from ..machine import process
from ..machine.durable import PART, out_of_room
from ..machine.progress import Reporter

VERSION = 1
"""Raised when this code makes another image from the same recipe."""

MIB = 1 << 20
SECTOR = 512
START = MIB
"""Where the first partition starts; everything is aligned to this."""

BACKUP_GPT = MIB
"""Kept free at the end for the backup of the partition table."""

ENTRIES = "debian"
"""What kernel-install(8) names this system's boot entries by; without it, by a machine-id that changes."""

MIRROR = "METIS_DEBIAN_MIRROR"
_ROLLING = frozenset({"sid", "unstable", "testing", "experimental"})
"""Suites without a pocket for updates."""
# Neither blanks nor a password: the address is an argument of a child and stays in the image.
_ARCHIVE = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/+-]*)?")
_DEBIAN_TARGET = re.compile(r"Debian [a-z]+(?P<pocket>|-updates|-security) (?P<uri>\S+)")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what the image holds, apart from what the archive has today.

    Sizes are in bytes. The partitions' types are as sfdisk(8) takes them, a GPT root's from the Discoverable
    Partitions Specification.
    """

    packages: tuple[str, ...]
    components: tuple[str, ...]
    """The parts of the archive that the packages come from."""
    early_files: Mapping[str, tuple[int, str]]
    """Like `files`, but there before the packages are, whose installation they steer."""
    files: Mapping[str, tuple[int, str]]
    """Path in the root file system: mode and content; owned by root."""
    links: Mapping[str, str]
    hooks: tuple[str, ...]
    """Shell lines for mmdebstrap(1), run once the packages and the files are there; `$1` is the root."""
    dpkg_options: tuple[str, ...]
    slack: int
    """Room that is left free in the root, beside a quarter of what is in it for the file system itself."""
    cmdline: str
    """How the kernel is started, where the loader's entry is ours to write."""
    table: Literal["gpt", "dos"]
    fat_type: str
    fat_label: str
    fat_size: int
    root_type: str
    root_label: str
    loader: tuple[str, str] | None
    """The boot loader in the root file system and its name on the ESP; None where packages fill the FAT."""


_CLOUD_INIT = """\
# Without a data source named here cloud-init looks for metadata services for minutes.
datasource_list: [NoCloud, None]
# The locales package is not installed.
locale: "false"
# An obsolete kind that sshd(8) no longer reads would be made too.
ssh_genkeytypes: [rsa, ecdsa, ed25519]
"""

_NO_WAIT = """\
# A node whose cable is out must still come up.
[Service]
ExecStart=
ExecStart=/usr/lib/systemd/systemd-networkd-wait-online --any --timeout=30
"""

_HOSTS = """\
127.0.0.1\tlocalhost
127.0.1.1\tgolden

::1\tlocalhost ip6-localhost ip6-loopback
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""

_PACKAGES = (
    "ca-certificates cloud-init dbus dosfstools e2fsprogs fdisk initramfs-tools iproute2 kmod netplan.io "
    "openssh-server sudo systemd systemd-resolved systemd-sysv udev"
)

_FILES: Mapping[str, tuple[int, str]] = {
    "etc/cloud/cloud.cfg.d/90_metis.cfg": (0o644, _CLOUD_INIT),
    "etc/hostname": (0o644, "golden\n"),
    "etc/hosts": (0o644, _HOSTS),
    "etc/systemd/system/systemd-networkd-wait-online.service.d/metis.conf": (0o644, _NO_WAIT),
    # Empty, not "uninitialized": that would run the first-boot presets and questions (machine-id(5)).
    "etc/machine-id": (0o444, ""),
}

_LINKS = {"etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf"}

_HOOKS = (
    'chroot "$1" systemctl enable systemd-networkd systemd-resolved ssh',
    # the second is what the host uses for name resolution
    'rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/.resolv.conf.*.bak',
)

_DPKG_OPTIONS = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)


def _fstab(root: str, fat: str, folder: str, options: str) -> tuple[int, str]:
    """The mode and content of an fstab(5) for these labels, with the FAT at `folder`."""
    lines = f"LABEL={root} / ext4 errors=remount-ro 0 1\nLABEL={fat} {folder} vfat {options} 0 2\n"
    return 0o644, lines


_CMDLINE = "root=LABEL=rootfs rw console=tty0 console=ttyS0,115200"

_AMD64 = Recipe(
    packages=(*_PACKAGES.split(), "linux-image-cloud-amd64", "systemd-boot", "systemd-boot-efi"),
    components=("main",),
    early_files={},
    files={
        **_FILES,
        "etc/fstab": _fstab("rootfs", "ESP", "/boot/efi", "umask=0077,nofail"),
        # where kernel-install(8) puts the entry of a later kernel, in the same form as ours
        "etc/kernel/cmdline": (0o644, f"{_CMDLINE}\n"),
        "etc/kernel/entry-token": (0o644, f"{ENTRIES}\n"),
    },
    links=_LINKS,
    hooks=(*_HOOKS, 'mkdir -p "$1"/boot/efi'),
    dpkg_options=_DPKG_OPTIONS,
    slack=192 * MIB,
    cmdline=_CMDLINE,
    table="gpt",
    fat_type="U",
    fat_label="ESP",
    fat_size=256 * MIB,
    root_type="4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
    root_label="rootfs",
    loader=("usr/lib/systemd/boot/efi/systemd-bootx64.efi", "BOOTX64.EFI"),
)

_PI_FIRMWARE = "boot/firmware"
"""Where the FAT of a Raspberry Pi is mounted, and raspi-firmware puts what belongs on it."""

_PI_DEFAULTS = """\
ROOTPART=LABEL=RASPIROOT
CONSOLES="ttyS1,115200 tty0"
CMA=0
"""

_PI_MODULES = """\
#!/bin/sh
# What is needed to find the root: on the card or a USB disk of a Raspberry Pi, or in a virtual machine.
[ "$1" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules ext4 mmc_block sdhci_iproc bcm2835 sdhci_brcmstb \\
    raspberrypi_hwmon gpio_raspberrypi_exp regulator_fixed gpio_regulator clk_raspberrypi bcm2835_dma \\
    reset_raspberrypi pcie_brcmstb xhci_pci usb_storage uas sd_mod \\
    virtio_pci virtio_mmio virtio_blk virtio_scsi
"""

_ARM64 = Recipe(
    packages=(*_PACKAGES.split(), "linux-image-arm64", "raspi-firmware"),
    components=("main", "non-free-firmware"),
    early_files={
        # All modules would make the initrd ten times as large, and an emulated build many minutes longer.
        "etc/initramfs-tools/conf.d/metis": (0o644, "MODULES=list\n"),
        "etc/initramfs-tools/hooks/metis": (0o755, _PI_MODULES),
    },
    files={
        **_FILES,
        "etc/fstab": _fstab("RASPIROOT", "RASPIFIRM", f"/{_PI_FIRMWARE}", "nofail"),
        "etc/default/raspi-firmware": (0o644, _PI_DEFAULTS),
    },
    links=_LINKS,
    hooks=(*_HOOKS, 'DEB_MAINT_PARAMS=configure chroot "$1" /etc/kernel/postinst.d/z50-raspi-firmware'),
    dpkg_options=_DPKG_OPTIONS,
    slack=192 * MIB,
    cmdline="",
    table="dos",
    fat_type="c",
    fat_label="RASPIFIRM",
    fat_size=256 * MIB,
    root_type="83",
    root_label="RASPIROOT",
    loader=None,
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({"amd64": _AMD64, "arm64": _ARM64})
"""By architecture as Debian names it."""


def recipe_key(suite: str, arch: str = "amd64") -> str:
    """The SHA-256 (hex) of all that decides what `build` makes, so that a cache can name the image by it.

    Raises UsageError for what cannot be built.
    """
    recipe = _recipe(suite, arch)
    whole = json.dumps([VERSION, suite, arch, asdict(recipe)], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


def build(suite: str, target: Path, reporter: Reporter, arch: str = "amd64") -> None:
    """Write a sparse raw image of a Debian suite to `target` (mode 0600).

    The caller makes `target` final. The packages come from `METIS_DEBIAN_MIRROR`, else from the archive of
    Debian that the host itself uses. On failure neither `target` nor a temporary folder is left. Raises
    UsageError for what cannot be built, SourceError where the archive cannot be reached or does not have
    the suite, MismatchError where its signature does not hold, MetisError for a full disk and all else.
    """
    recipe = _recipe(suite, arch)
    name = f"debian:{suite}"
    try:
        with tempfile.TemporaryDirectory(prefix=f".{suite}-", suffix=PART, dir=target.parent) as folder:
            work = Path(folder)
            with reporter.step(f"{name}: installing packages"):
                tar = _install(recipe, suite, arch, work)
            with reporter.step(f"{name}: making the image"):
                _assemble(recipe, tar, work, target)
    except BaseException as error:
        with suppress(OSError):
            target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise out_of_room(target, error) from error
        raise


def _recipe(suite: str, arch: str) -> Recipe:
    if not DEBIAN_SUITE.fullmatch(suite):
        raise UsageError(f"{suite!r} is not a suite of Debian", "name one as in debian:bookworm")
    if arch not in RECIPES:
        known = ", ".join(RECIPES)
        raise UsageError(f"debian:{suite} cannot be built for {arch}", f"there is a recipe for {known}")
    return RECIPES[arch]


# ----------------------------------------------------------------------------------------- packages


def _sources(suite: str, components: Sequence[str] = ("main",)) -> list[str]:
    """Where mmdebstrap(1) takes packages from; nothing for its own default."""
    mirror = os.environ.get(MIRROR, "")
    if not mirror:
        return _host_sources(suite, components)
    if not _ARCHIVE.fullmatch(mirror):
        raise UsageError(f"{MIRROR} is not the address of an archive", "set it to http(s)://host/path")
    return [mirror]


def _host_sources(suite: str, components: Sequence[str]) -> list[str]:
    """The host's own archives of Debian, with the suite in place of the host's.

    What other publishers offer to the host has no place in an image. Nothing where apt knows of no Debian
    archive: it is another distribution, or its lists were never fetched.
    """
    listed = process.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(RELEASE) $(REPO_URI)", "Created-By: Packages"],
        check=False,
    )
    trust = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    found = []
    for line in listed.out.decode(errors="replace").splitlines():
        match = _DEBIAN_TARGET.fullmatch(line)
        if match and not (match["pocket"] and suite in _ROLLING) and _ARCHIVE.fullmatch(match["uri"]):
            found.append(f"deb {trust}{match['uri']} {suite}{match['pocket']} {' '.join(components)}")
    return list(dict.fromkeys(found))


def bootstrap(suite: str, tar: Path, options: Iterable[str], components: Sequence[str] = ("main",)) -> None:
    """Run mmdebstrap(1) for a root file system as a tar; nothing is mounted on the host, nothing left behind.

    Raises the errors of `build`.
    """
    command = ["unshare", "--mount", "--", "mmdebstrap", "--mode=unshare"] if _root() else ["mmdebstrap"]
    argv: Words = [*command, "--format=tar", *options, suite, tar, *_sources(suite, components)]
    with _scratch() as scratch:
        problem = f"cannot install the packages of debian:{suite}"
        _run(argv, problem, extra_environment={"TMPDIR": os.fspath(scratch)})


def _install(recipe: Recipe, suite: str, arch: str, work: Path) -> Path:
    """Install the recipe's packages and files, and give the root file system as a tar."""
    tar, early, config = (work / f"{name}.tar" for name in ("root", "early", "config"))
    _write_config(recipe.early_files, {}, early)
    _write_config(recipe.files, recipe.links, config)
    hooks = (_unpacks(config), *recipe.hooks)
    options = [
        "--variant=minbase",
        f"--architectures={arch}",
        f"--components={','.join(recipe.components)}",
        f"--include={','.join(recipe.packages)}",
        *(f"--dpkgopt={option}" for option in recipe.dpkg_options),
        f"--essential-hook={_unpacks(early)}",
        *(f"--customize-hook={hook}" for hook in hooks),
    ]
    bootstrap(suite, tar, options, recipe.components)
    return tar


def _unpacks(tar: Path) -> str:
    """The hook of mmdebstrap(1) that unpacks a tar into the root file system."""
    return f"tar-in {shlex.quote(os.fspath(tar))} /"


def _root() -> bool:
    """Whether we are root; mmdebstrap(1) then makes no user namespace, and its mounts may reach the host."""
    return os.geteuid() == 0


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder that the users in mmdebstrap's namespace can enter; gone with all in it at the end.

    Only they may remove what they own, and after a kill nobody else does.
    """
    folder = Path(tempfile.mkdtemp(prefix="metis-debian-"))
    try:
        folder.chmod(0o1777)
        yield folder
    finally:
        left = list(folder.iterdir())
        if left and not _root():
            process.run(["mmdebstrap", "--unshare-helper", "rm", "-rf", *left], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _write_config(files: Mapping[str, tuple[int, str]], links: Mapping[str, str], target: Path) -> None:
    """Write files and links as a tar, so that they get their owner inside the namespace."""
    with tarfile.open(target, "w") as tar:
        for path, (mode, text) in files.items():
            member = tarfile.TarInfo(path)
            member.mode, member.size, member.mtime = mode, len(text.encode()), time.time()
            tar.addfile(member, io.BytesIO(text.encode()))
        for path, goal in links.items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname, member.mtime = tarfile.SYMTYPE, goal, time.time()
            tar.addfile(member)


# -------------------------------------------------------------------------------------------- image


def _assemble(recipe: Recipe, tar: Path, work: Path, target: Path) -> None:
    """Make the disk: partitions, the FAT, and the root from the tar."""
    tree, owners = work / "tree", work / "owners"
    tree.mkdir()
    problem = "cannot make the root file system"
    # fakeroot(1) remembers the owners that an ordinary user cannot give to the unpacked files. It loses
    # extended attributes: no package here has capabilities, and the journal's ACL is set anew at boot.
    unpack: Words = ["tar", "--extract", "--preserve-permissions"]
    _run(["fakeroot", "-s", owners, "--", *unpack, "--directory", tree, "--file", tar], problem)
    fat, root = START, START + recipe.fat_size
    size = -(-(tar.stat().st_size * 5 // 4 + recipe.slack) // MIB) * MIB
    tar.unlink()
    partitions = [(fat, recipe.fat_size, recipe.fat_type), (root, size, recipe.root_type)]
    _partition(target, recipe.table, root + size + BACKUP_GPT, partitions)
    _make_fat(recipe, _uefi_files(recipe, tree) if recipe.loader else _pi_files(tree), target, fat)
    _empty(tree / _PI_FIRMWARE)
    label = recipe.root_label
    make: Words = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-d", tree, "-E", f"offset={root}"]
    _run(["fakeroot", "-i", owners, "--", *make, target, f"{size // 1024}k"], problem)


def _empty(folder: Path) -> None:
    """Take out what lies where the FAT will be mounted; the folder, if there is one, stays."""
    for path in folder.glob("*"):
        path.unlink()


def _partition(target: Path, table: str, size: int, partitions: Iterable[tuple[int, int, str]]) -> None:
    """Make a sparse disk of `size` bytes; a partition is its start, size and type (sfdisk(8))."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.truncate(size)
    script = f"label: {table}\n"
    for start, length, kind in partitions:
        script += f"start={start // SECTOR}, size={length // SECTOR}, type={kind}\n"
    _run(["sfdisk", "--quiet", target], "cannot partition the image", stdin=script.encode())


FatFiles = Mapping[str, Path | str]
"""What goes onto the FAT: by its path there a file, or a text."""


def _uefi_files(recipe: Recipe, tree: Path) -> FatFiles:
    """The boot loader, the kernel and its entry for an ESP, as kernel-install(8) lays them out."""
    assert recipe.loader is not None
    kernels = sorted((tree / "boot").glob("vmlinuz-*"))
    if not kernels:
        raise MetisError("the packages brought no kernel", "this is an error in Metis: please report it")
    release = kernels[-1].name.removeprefix("vmlinuz-")
    folder = f"{ENTRIES}/{release}"
    entry = (
        f"title Debian\nsort-key debian\nversion {release}\noptions {recipe.cmdline}\n"
        f"linux /{folder}/linux\ninitrd /{folder}/initrd.img-{release}\n"
    )
    program, name = recipe.loader
    return {
        f"EFI/BOOT/{name}": tree / program,
        f"EFI/systemd/{Path(program).name}": tree / program,
        "loader/loader.conf": "timeout 0\n",
        f"loader/entries/{ENTRIES}-{release}.conf": entry,
        f"{folder}/linux": kernels[-1],
        f"{folder}/initrd.img-{release}": tree / "boot" / f"initrd.img-{release}",
    }


def _pi_files(tree: Path) -> FatFiles:
    """What raspi-firmware and the kernel's hooks have put where the FAT is mounted."""
    folder = tree / _PI_FIRMWARE
    files = {file.name: file for file in folder.iterdir() if file.is_file()}
    missing = [name for name in ("config.txt", "cmdline.txt") if name not in files]
    if missing:
        raise MetisError(
            f"the packages brought no {missing[0]}", "this is an error in Metis: please report it"
        )
    return files


def _make_fat(recipe: Recipe, files: FatFiles, target: Path, offset: int) -> None:
    """Make the FAT with these files."""
    start, kib = str(offset // SECTOR), str(recipe.fat_size // 1024)
    disk = f"{target}@@{offset}"
    folders = {parent.as_posix() for path in files for parent in Path(path).parents} - {"."}
    problem = "cannot make the FAT"
    # Left to itself mkfs.vfat(8) looks at the whole file, and makes too few clusters for what is a FAT32.
    words = ["-F", "32", "-s", "2", "-n", recipe.fat_label, "-h", start, f"--offset={start}"]
    _run(["mkfs.vfat", *words, target, kib], problem)
    if folders:
        _run(["mmd", "-i", disk, *(f"::{path}" for path in sorted(folders))], problem)
    for path, content in files.items():
        source, data = ("-", content.encode()) if isinstance(content, str) else (content, b"")
        _run(["mcopy", "-i", disk, source, f"::{path}"], problem, stdin=data)


# ------------------------------------------------------------------------------------------- errors

_REASONS: tuple[tuple[str, type[MetisError], str], ...] = (
    (r"No space left on device|Disk quota exceeded", MetisError, "free some space, or set TMPDIR"),
    (r"NO_PUBKEY|BADSIG|KEYEXPIRED|EXPKEYSIG|is not signed|Hash Sum mismatch", MismatchError, ""),
    (
        r"neither be executed natively nor via qemu|cannot find /usr/bin/qemu-\S+-static|install arch-test",
        MetisError,
        "install qemu-user-static, binfmt-support and arch-test",
    ),
    (r"does not have a Release file", SourceError, f"check the name of the suite, or set {MIRROR}"),
    (r"Failed to fetch|Unable to fetch|Could not (?:resolve|connect)", SourceError, f"or set {MIRROR}"),
)
"""What the tools say, what it means and what to do; the first that is found counts."""


Words = list[str | Path]


def _run(
    argv: Words, problem: str, *, stdin: bytes = b"", extra_environment: Mapping[str, str] | None = None
) -> None:
    """Run a tool; what it says when it fails becomes one line that begins with `problem`."""
    finished = process.run(argv, stdin=stdin, check=False, extra_environment=extra_environment)
    if finished.code == 0:
        return
    said = finished.err.decode(errors="replace")
    for pattern, kind, hint in _REASONS:
        match = re.search(f"^.*(?:{pattern}).*$", said, re.MULTILINE)
        if match:
            raise kind(f"{problem}: {_plain(match[0])}", hint)
    first = re.search(r"^(?:E: |dpkg: error).*$", said, re.MULTILINE)
    raise MetisError(f"{problem}: {_plain(first[0] if first else finished.last_words)}")


def _plain(line: str) -> str:
    return line.removeprefix("E: ").strip()[: process.LAST_WORDS]
