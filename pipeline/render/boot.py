"""How the node starts: kernel options, the size of its root, and a clock that is not in 1970."""

from __future__ import annotations

from collections.abc import Iterator

from ..model import Directory, Edit, Entry, Fault, ImageFact, ResolvedNode, Settings
from .concern import Owned
from .k3s import unit_of
from .systems.table import PI_ARCH, SYSTEMS, starts_by_firmware, system_of
from .units import enabled, script, unit

# The kernels of Raspberry Pi OS start with memory's cgroup off, and without it k3s does not start
# (https://docs.k3s.io/installation/requirements, Raspberry Pi).
CGROUPS = ("cgroup_memory=1", "cgroup_enable=memory")

# What makes an image set itself up at its first start, under a name and with users of its own.
FIRST_RUN = (
    "init=/usr/lib/raspberrypi-sys-mods/firstboot",
    "init=/usr/lib/raspi-config/init_resize.sh",
    "resize",
    "systemd.run",
    "systemd.run_failure_action",
    "systemd.run_success_action",
    "systemd.unit=kernel-command-line.target",
)

# What beats /etc/hostname and /etc/machine-id (kernel-command-line(7)).
IDENTITY = ("systemd.hostname", "systemd.machine_id")

# What beats cloud-init's settings on the root: whether it runs, from which seed, and the network.
CLOUD_INIT = ("cloud-init", "ds=nocloud*", "network-config")

OWNED = Owned(
    keys=dict.fromkeys(
        ("power_state", "package_reboot_if_required", "apt_reboot_if_required"),
        "the node would go down in the middle of its first start, and k3s with it",
    )
)

# Options that nobody adds, by their names.
NOT_TO_ADD = {
    "root": "which is set to the card's own partition",
    "systemd.hostname": "as it would beat the node's own name",
    "systemd.machine_id": "as it would beat the node's own",
    **dict.fromkeys(("cloud-init", "ds", "network-config"), "as it would beat what `cloud_init` says"),
}


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """Edits of the firmware's files, and units that grow the root and set the clock.

    The firmware and its files are a Raspberry Pi's. Other goldens start by a boot loader of their own, whose
    entries name the root by label: they stay as they are.
    """
    return (
        *(_of_firmware(node) if starts_by_firmware(node.klass) else ()),
        script("grow-root"),
        unit("metis-grow-root.service"),
        enabled("metis-grow-root.service", "multi-user.target"),
        script("set-clock"),
        unit("metis-clock.service"),
        enabled("metis-clock.service", "sysinit.target"),
        Directory("/var/lib/metis"),
    )


def check(node: ResolvedNode) -> Iterator[Fault]:
    """Options that are not the operator's to choose, and what this machine or its system does not have."""
    boot: Settings = node.settings.get("boot", {})
    klass = node.klass
    if not starts_by_firmware(klass):
        kind = klass.os if klass.arch == PI_ARCH else klass.arch
        text = f"only a Raspberry Pi's firmware takes it, and the class is of {kind}: leave it out"
        yield from ((f"boot.{key}", text) for key in sorted(boot))
        return
    if "page_size" in boot and not system_of(klass).kernel_4k:
        having = " or ".join(name for name, system in SYSTEMS.items() if system.kernel_4k)
        yield "boot.page_size", f"only {having} has a choice of kernels, found {klass.os}: leave it out"
    cmdline: Settings = boot.get("cmdline", {})
    needed = CGROUPS if unit_of(node) else ()
    for option in cmdline.get("remove", ()):
        if any(option in {each, _name(each)} for each in needed):
            yield "boot.cmdline.remove", f"expected no {option}, as k3s does not start without it"
        if _name(option) == "root":
            yield "boot.cmdline.remove", f"expected no root, {NOT_TO_ADD['root']}"
    for option in cmdline.get("add", ()):
        if _name(option) in NOT_TO_ADD:
            yield "boot.cmdline.add", f"expected no {_name(option)}, {NOT_TO_ADD[_name(option)]}"
        if needed and _disables_memory(option):
            yield "boot.cmdline.add", f"expected no {option}, as k3s does not start with it"


def _of_firmware(node: ResolvedNode) -> Iterator[Entry]:
    boot: Settings = node.settings.get("boot", {})
    cmdline: Settings = boot.get("cmdline", {})
    has_k3s = unit_of(node) is not None
    add = (*(CGROUPS if has_k3s else ()), *cmdline.get("add", ()))
    remove = (
        *FIRST_RUN,
        *IDENTITY,
        *CLOUD_INIT,
        *(("cgroup_disable",) if has_k3s else ()),
        *cmdline.get("remove", ()),
    )
    # Ubuntu 25.10 and later keep what they start from in `current`.
    yield Edit(
        "/cmdline.txt",
        "cmdline",
        (("add", " ".join(add)), ("remove", " ".join(remove)), ("root", ImageFact("root_partuuid"))),
        side="boot",
        preferred="/current/cmdline.txt",
    )
    kernel = system_of(node.klass).kernel_4k
    if "page_size" in boot and kernel:
        yield Edit("/config.txt", "config_txt", (("name", "kernel"), ("value", kernel)), side="boot")


def _disables_memory(option: str) -> bool:
    name, _, controllers = option.partition("=")
    return name == "cgroup_disable" and "memory" in controllers.split(",")


def _name(option: str) -> str:
    return option.partition("=")[0]
