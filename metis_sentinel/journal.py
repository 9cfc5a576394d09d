"""What journald keeps, in a folder for each machine, on disk or in memory (systemd-journald.service(8))."""

from __future__ import annotations

from stat import S_ISDIR, S_ISREG

from .host import Host

_FOLDERS = ("/var/log/journal", "/run/log/journal")
_MOST_MACHINES = 100
_MOST_FILES = 10000
_BLOCK = 512
"""Bytes in which stat(2) counts what a file takes."""


def journal_bytes(host: Host) -> int:
    """Bytes that its files take on their file systems. Raises OSError where there are none to be seen."""
    taken, reasons = 0, []
    for folder in _FOLDERS:
        try:
            machines = host.files.listed(folder, _MOST_MACHINES)
        except OSError as error:
            reasons.append(error)
            continue
        for machine, about in machines:
            if S_ISDIR(about.st_mode):
                files = host.files.listed(f"{folder}/{machine}", _MOST_FILES)
                taken += sum(each.st_blocks * _BLOCK for _, each in files if S_ISREG(each.st_mode))
                if len(files) == _MOST_FILES:
                    host.gap("journal_bytes", f"{folder}/{machine}: only {_MOST_FILES} files were counted")
    if len(reasons) == len(_FOLDERS):
        raise reasons[0]
    return taken
