"""Whatever a server says in its headers, it is understood or ignored, and an error is one clean line."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from pipeline.errors import MetisError
from pipeline.golden import headers, urls
from pipeline.golden.partial import Partial
from pipeline.machine.progress import QuietReporter
from pipeline.wording import masked

BEGINNINGS = ["", "http://", "https://a", "//", "bytes 1-2/", "Sat, 01 Jun 2024 10:00:00 +", '"', "9"]
HOSTILE = st.builds(str.__add__, st.sampled_from(BEGINNINGS), st.text(st.characters(max_codepoint=255)))


@example("Sat, 01 Jun 2024 10:00:00 +2400000000000")
@given(HOSTILE)
def test_a_wait_is_a_number_of_seconds_whatever_is_asked_for(value: str) -> None:
    assert headers.retry_after(value) >= 0


@given(HOSTILE)
def test_a_redirect_leads_to_the_web_or_is_one_printable_line(location: str) -> None:
    try:
        target = urls.redirected("http://host/x", location)
    except MetisError as error:
        shown = str(error)
    else:
        shown = masked(target)
    assert shown.isprintable()


@given(HOSTILE)
def test_a_part_is_taken_for_the_next_one_only_if_it_says_so(value: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder, "golden")
        with Partial(into, "http://host/x", QuietReporter(io.StringIO()), 100) as partial:
            partial.begin('"1"', 100)
            partial.append(b"x")
            told = CaseInsensitiveDict({"Content-Range": value})
            assert headers.continues(told, partial) == (value in {"bytes 1-2/100", "bytes 1-2/*"})


@pytest.mark.parametrize(
    ("told", "length"),
    [
        ({"content-length": "12"}, 12),
        ({"Content-Length": "12", "Transfer-Encoding": "chunked"}, None),
        ({"Content-Length": "-1"}, None),
        ({"Content-Length": "\u00b2"}, None),
        ({}, None),
    ],
)
def test_a_length_is_a_number_or_not_known(told: dict[str, str], length: int | None) -> None:
    assert headers.length(CaseInsensitiveDict(told)) == length
