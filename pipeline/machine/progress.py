"""How long work tells where it stands: the port that the pipeline uses, and its adapters for people.

On a terminal there are bars with bytes, rate and time left; elsewhere one quiet line when a step ends.
Results go to stdout and are not this module's concern; everything here goes to stderr.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from ..amounts import mib

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress as Bars

Advance = Callable[[int], None]
"""Called with the number of bytes done since the last call."""


class Reporter(Protocol):
    """Tells a person how work goes on."""

    def step(self, label: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Show a step while the block runs; `total` is in bytes, None where it is not known."""

    def note(self, line: str) -> None:
        """Say one line that is worth keeping."""


class QuietReporter:
    """One line for each step that took a while, for logs."""

    WORTH_A_LINE = 1.0
    """Seconds; a shorter step is not worth a line in a log."""

    def __init__(self, stream: TextIO | None = None) -> None:
        # doit's report in JSON takes sys.stderr for itself: keep the one of the process.
        self._stream = stream or sys.__stderr__ or sys.stderr
        self._lock = threading.Lock()

    @contextmanager
    def step(self, label: str, total: int | None = None) -> Iterator[Advance]:
        """Time the block and say how long it took."""
        started = time.monotonic()
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count

        yield advance
        seconds = time.monotonic() - started
        if seconds >= self.WORTH_A_LINE:
            size = f", {mib(done, 0)}" if done else ""
            self.note(f"{label} ({seconds:.1f} s{size})")

    def note(self, line: str) -> None:
        """Write the line as it is."""
        with self._lock:
            self._stream.write(f"{line}\n")
            self._stream.flush()


class TerminalReporter:
    """Bars on a terminal; several steps of parallel tasks stand below each other."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.__stderr__
        self._lock = threading.Lock()
        self._bars: Bars | None = None
        self._running = 0

    @contextmanager
    def step(self, label: str, total: int | None = None) -> Iterator[Advance]:
        """Show a bar while the block runs; without a total it only shows that something goes on."""
        with self._lock:
            bars = self._bars or self._make_bars()
            self._bars = bars
            if self._running == 0:
                bars.start()
            self._running += 1
        bar = bars.add_task(label, total=total)
        try:
            yield lambda count: bars.advance(bar, count)
        finally:
            bars.remove_task(bar)
            with self._lock:
                self._running -= 1
                if self._running == 0:
                    bars.stop()

    def note(self, line: str) -> None:
        """Print the line above the bars."""
        bars = self._bars or self._make_bars()
        bars.console.print(line, markup=False, highlight=False)

    def _make_bars(self) -> Bars:
        from rich import progress
        from rich.console import Console
        from rich.text import Text

        class WithTotal(progress.ProgressColumn):
            """Another column, for steps whose size is known: of the others it has nothing to say."""

            def __init__(self, column: progress.ProgressColumn) -> None:
                super().__init__()
                self._column = column

            def render(self, task: progress.Task) -> RenderableType:
                return Text() if task.total is None else self._column.render(task)

        return progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}", markup=False),
            progress.TimeElapsedColumn(),
            WithTotal(progress.BarColumn()),
            WithTotal(progress.DownloadColumn(binary_units=True)),
            WithTotal(progress.TransferSpeedColumn()),
            WithTotal(progress.TimeRemainingColumn()),
            console=Console(file=self._stream, force_terminal=True),
            transient=True,
            # What is printed while bars run must reach stdout.
            redirect_stdout=False,
            redirect_stderr=False,
        )
