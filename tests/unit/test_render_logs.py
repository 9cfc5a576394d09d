"""What journald makes of its limits, read by journald itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.machine import process
from pipeline.render import logs
from tests.support.rendering import FOLDER, cases_of, files, node_of, program, rendered

CONF = "/etc/systemd/journald.conf.d/50-metis.conf"
# An instance with a name of its own, in folders that nobody else sees, reads it as the system's would.
JOURNALD = """
for folder in /etc/systemd /run /var/log; do mount -t tmpfs none $folder; done
mkdir -p /etc/systemd/journald@metis.conf.d /run/systemd/journal.metis
cat >/etc/systemd/journald@metis.conf.d/50-metis.conf
SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=debug timeout 1 /usr/lib/systemd/systemd-journald metis 2>&1
"""


def said_of(text: str) -> str:
    """What journald says of a configuration."""
    if os.geteuid() != 0:
        pytest.skip("only root may start a journald")
    unshare = program("unshare", "util-linux")
    said = process.run([unshare, "--mount", "sh", "-c", JOURNALD], stdin=text.encode(), check=False)
    if b"running as PID" not in said.out:
        pytest.skip(f"journald does not start here: {said.last_words}")
    return said.out.decode()


def complaints(said: str) -> list[str]:
    return [line for line in said.splitlines() if "50-metis.conf" in line]


@pytest.mark.parametrize("case", cases_of("logs"), ids=lambda case: case.name)
def test_journald_has_no_complaint(case: Path) -> None:
    assert complaints(said_of(files(rendered(case))[CONF])) == []


def test_journald_would_complain_of_what_it_does_not_know() -> None:
    said = said_of("[Journal]\nSystemMaxUse=20X\nNone=1\n")
    assert len(complaints(said)) == 2


EVERY_KIND = "{SystemMaxUse: 48M, SystemMaxFileSize: 24M, SystemKeepFree: 1048576, SystemMaxFiles: 20}"


def test_journald_keeps_to_the_limits() -> None:
    text = files(logs.render(node_of(f"class: pi\njournald: {EVERY_KIND}")))[CONF]
    assert "max_use=48.0M max_size=24.0M min_size=512.0K keep_free=1.0M n_max_files=20" in said_of(text)


UNITS = ("s", "sec", "min", "h", "day", "week", "month", "year")


def test_journald_knows_all_units_of_time() -> None:
    values = [0, 90, *(f"{number}{unit}" for number in (1, 12) for unit in UNITS)]
    nodes = [node_of(f"class: pi\njournald: {{MaxRetentionSec: {value}}}") for value in values]
    assert complaints(said_of("".join(files(logs.render(node))[CONF] for node in nodes))) == []


def test_every_node_keeps_its_journal_within_limits() -> None:
    lines = files(rendered(FOLDER / "logs/defaults"))[CONF].splitlines()
    assert {"Storage=persistent", "SystemMaxUse=200M"} <= set(lines)
