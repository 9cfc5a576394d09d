"""Ends the program at once when SIGTERM or SIGINT asks for it, with no half of a file left.

A thread waits for them. A handler would run only between two steps of Python, so not while a name is looked
up or a disk does not answer; and what it raises is lost where Python ignores exceptions, as in finalizers.
"""

from __future__ import annotations

import _thread
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PATIENCE = 2.0
"""Seconds that a file may take to become whole: its disk may never answer."""
_writing = _thread.allocate_lock()


def end_with(code: int) -> None:
    """From now on a signal ends the program, with this exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    _thread.start_new_thread(_wait, (code,))


@contextmanager
def put_off() -> Iterator[None]:
    """Have the end wait for what the block writes."""
    with _writing:
        yield


def _wait(code: int) -> None:
    signal.sigwait(_SIGNALS)
    _writing.acquire(timeout=_PATIENCE)
    os._exit(code)  # no finalizer of a file that is open may run, nor any that takes long
