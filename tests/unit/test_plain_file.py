"""Plain files as cards: opened alone, with the right size, and written however much the system takes."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.card.cards import Card
from pipeline.card.engine import write_card
from pipeline.card.image import open_image
from pipeline.card.linux import LinuxOpener
from pipeline.card.medium import buffer
from pipeline.errors import MetisError, RefusedError
from pipeline.machine.progress import QuietReporter
from tests.support.cards import plan_of, wrong

SIZE = (2 << 20) + 512 * 5
BODY = random.Random(3).randbytes(SIZE)
QUIET = QuietReporter(io.StringIO())


def never(path: str) -> Card:
    raise AssertionError(f"{path} is no device")


OPENER = LinuxOpener(never)


def card_at(path: Path, size: int = SIZE) -> Card:
    return Card(str(path), "file", size)


@pytest.fixture(params=["disk", "memory"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """One where direct transfers work, as a rule, and one where they do not."""
    with TemporaryDirectory(dir="/dev/shm" if request.param == "memory" else tmp_path) as folder:
        yield Path(folder) / "card.img"


@pytest.fixture
def held(file: Path) -> Path:
    file.write_bytes(bytes(SIZE))
    return file


def test_a_burn_to_a_file_that_is_not_there_makes_it(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "titan-13.img"
    path.write_bytes(BODY)
    places = [(0, 1 << 20), (1 << 20, (1 << 20) + 4096), ((2 << 20) - 4096, 2 << 20), (2 << 20, SIZE)]
    plan = plan_of(BODY, places, SIZE)
    with open_image(path) as image, OPENER.open(card_at(file)) as medium:
        write_card(image, plan, medium, name="card", reporter=QUIET)
    assert not wrong(plan, file.read_bytes())
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_made_is_removed_after_a_failure(file: Path) -> None:
    with pytest.raises(KeyboardInterrupt), OPENER.open(card_at(file)):
        raise KeyboardInterrupt
    assert not file.exists()


def test_a_file_that_was_there_stays_after_a_failure(held: Path) -> None:
    with pytest.raises(KeyboardInterrupt), OPENER.open(card_at(held)):
        raise KeyboardInterrupt
    assert held.read_bytes() == bytes(SIZE)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.integers(0, SIZE - 1), st.integers(1, 300000), st.booleans()), min_size=1, max_size=6
    ),
    grain=st.sampled_from([1, 512, 4096]),
)
def test_what_is_written_anywhere_is_read_again(
    held: Path, steps: list[tuple[int, int, bool]], grain: int
) -> None:
    model = bytearray(held.read_bytes())
    with OPENER.open(card_at(held)) as medium:
        for offset, length, is_aligned in steps:
            start = offset // grain * grain
            end = min(SIZE, start + -(-length // grain) * grain)
            shift = 0 if is_aligned else 1
            data = buffer(end - start + shift)[shift:]
            data[:] = BODY[: len(data)]
            medium.write(start, data)
            model[start:end] = data
            medium.sync()
            into = buffer(end - start)
            medium.read(start, into)
            assert into == data
    assert held.read_bytes() == model


def test_a_write_is_continued_where_the_system_took_a_part(
    held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, chance = os.pwrite, random.Random(4)
    monkeypatch.setattr(
        os, "pwrite", lambda file, data, at: whole(file, data[: chance.randint(1, 100000)], at)
    )
    data = buffer(SIZE)
    data[:] = BODY
    with OPENER.open(card_at(held)) as medium:
        medium.write(0, data)
    assert held.read_bytes() == BODY


def test_a_write_that_gets_nowhere_fails(held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    with OPENER.open(card_at(held)) as medium, pytest.raises(OSError, match="nothing more"):
        medium.write(0, buffer(4096))


def test_a_read_behind_the_end_fails(held: Path) -> None:
    with OPENER.open(card_at(held)) as medium, pytest.raises(OSError, match="nothing more"):
        medium.read(SIZE - 512, buffer(4096))


def test_two_burns_do_not_write_to_one_file(held: Path) -> None:
    with (
        OPENER.open(card_at(held)),
        pytest.raises(RefusedError, match="another burn"),
        OPENER.open(card_at(held)),
    ):
        pass
    with OPENER.open(card_at(held)):
        pass


@pytest.mark.parametrize("size", [SIZE - 512, SIZE + 512])
def test_a_file_of_another_size_than_it_was_found_with_is_refused(held: Path, size: int) -> None:
    with pytest.raises(RefusedError, match="not the card any more"), OPENER.open(card_at(held, size)):
        pass
    assert held.stat().st_size == SIZE


def test_a_link_that_was_put_in_a_files_place_is_not_followed(held: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(held.read_bytes())
    card = card_at(held)
    held.unlink()
    held.symlink_to(other)
    with pytest.raises(RefusedError, match="not the card any more"), OPENER.open(card):
        pass


@pytest.mark.parametrize("size", [0, -1])
def test_a_file_without_a_size_is_refused(file: Path, size: int) -> None:
    with pytest.raises(RefusedError), OPENER.open(card_at(file, size)):
        pass
    assert not file.exists()


@pytest.mark.parametrize("what", ["folder", "pipe", "device", "link to nothing", "below a file"])
def test_what_is_no_file_is_refused_in_words(tmp_path: Path, what: str) -> None:
    path = tmp_path / "card.img"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path = Path("/dev/null")
    elif what == "link to nothing":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.write_bytes(b"")
        path = path / "card.img"
    with pytest.raises(MetisError), OPENER.open(card_at(path)):
        pass
    assert not (tmp_path / "nowhere").exists()


def test_a_file_cannot_pass_for_a_device(held: Path) -> None:
    card = Card(str(held), "disk", SIZE, number="8:0")
    with pytest.raises(RefusedError, match="is no disk"), LinuxOpener(lambda _: card).open(card):
        pass
