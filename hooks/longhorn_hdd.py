"""Hard disks behind USB for Longhorn: slow to wake, and best read in long strides."""

from pipeline.model import Entry, File, ResolvedNode, Text

RULES = "/etc/udev/rules.d/60-longhorn-hdd.rules"
DISK = 'ACTION=="add|change", SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", ATTR{queue/rotational}=="1"'


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """A rule of udev(7) for the rotating disks of a node that has disks for Longhorn."""
    if not node.settings.get("longhorn", {}).get("disks"):
        return ()
    lines = (
        "# A disk that spins up takes longer than the 30 s after which the kernel would reset it.",
        f'{DISK}, ATTR{{device/timeout}}="180"',
        "# Replicas are read and written in order, and requests are merged before they reach the heads.",
        f'{DISK}, ATTR{{queue/scheduler}}="mq-deadline", ATTR{{queue/read_ahead_kb}}="1024"',
    )
    return (File(RULES, (Text("".join(f"{line}\n" for line in lines)),)),)
