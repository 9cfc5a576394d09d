"""What people see while work goes on, on a terminal and in a log."""

from __future__ import annotations

import io
import re

import pytest

from pipeline.machine.progress import QuietReporter, TerminalReporter


def seen(stream: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


def test_a_log_gets_no_line_for_a_step_that_took_no_time() -> None:
    stream = io.StringIO()
    with QuietReporter(stream).step("copying", 10) as advance:
        advance(10)
    assert stream.getvalue() == ""


def test_a_log_gets_a_line_with_time_and_size_for_a_step_that_took_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(QuietReporter, "WORTH_A_LINE", 0.0)
    stream = io.StringIO()
    with QuietReporter(stream).step("copying") as advance:
        advance(3 << 20)
    assert re.fullmatch(r"copying \(0\.\d s, 3 MiB\)\n", stream.getvalue())


def test_a_step_that_fails_gets_no_line_in_a_log() -> None:
    stream = io.StringIO()
    with pytest.raises(ZeroDivisionError), QuietReporter(stream).step("copying"):
        raise ZeroDivisionError
    assert stream.getvalue() == ""


def test_a_terminal_shows_bytes_rate_and_time_of_a_step_whose_size_is_known() -> None:
    stream = io.StringIO()
    with TerminalReporter(stream).step("copying", 8 << 20) as advance:
        advance(2 << 20)
    assert re.search(r"copying .*/8\.0 MiB", seen(stream))


def test_a_terminal_shows_no_made_up_bytes_of_a_step_whose_size_is_not_known() -> None:
    stream = io.StringIO()
    with TerminalReporter(stream).step("installing"):
        pass
    assert "installing" in seen(stream)
    assert "bytes" not in seen(stream)


def test_what_looks_like_markup_is_shown_as_it_is() -> None:
    stream = io.StringIO()
    reporter = TerminalReporter(stream)
    reporter.note("[bold]not markup[/bold]")
    assert "[bold]not markup[/bold]" in stream.getvalue()
