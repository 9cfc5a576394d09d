"""Which adapter tells how work goes on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from .journal import JournalReporter
from .progress import QuietReporter, Reporter, TerminalReporter


def reporter(environment: Mapping[str, str]) -> Reporter:
    """A journal where METIS_JOURNAL names one, else what fits where stderr goes."""
    if journal := environment.get("METIS_JOURNAL"):
        return JournalReporter(Path(journal))
    stream = sys.__stderr__
    return TerminalReporter() if stream is not None and stream.isatty() else QuietReporter()
