"""Whatever a card does, a burn that succeeds has put on it what the plan says, and one that fails has left
nothing on it that boots."""

from __future__ import annotations

import hashlib
import io
import os
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.card import verdicts
from pipeline.card.burn_plan import HEAD, BurnPlan, Extent, with_record
from pipeline.card.engine import Written, write_card
from pipeline.card.image import Image, open_image
from pipeline.card.table import Patch
from pipeline.errors import MetisError, MismatchError, RefusedError
from pipeline.machine.progress import QuietReporter
from tests.support.cards import FIRST, Fault, Kind, Memory, ordered, plan_of, wrong

SIZE = 4 << 20
QUIET = QuietReporter(io.StringIO())
BODY = random.Random(5).randbytes(SIZE)
OLD = random.Random(6).randbytes(SIZE)
RECORD = Patch((2 << 20) + 1024, b"{}".ljust(4096))
PLACES = [
    (0, 4096),
    (16384, 1 << 20),
    (1 << 20, 2 << 20),
    (2 << 20, (2 << 20) + 65536),
    ((2 << 20) + 69632, (2 << 20) + 73728),
    (3 << 20, (3 << 20) + 8192),
    ((3 << 20) + 12288, SIZE - 65536),
    (SIZE - 32768, SIZE),
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    path = tmp_path_factory.mktemp("image") / "titan-13.img"
    path.write_bytes(BODY)
    with open_image(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def plan() -> BurnPlan:
    return plan_of(BODY, PLACES, SIZE)


def burn(
    image: Image, plan: BurnPlan, card: Memory, delta: bool = False, record: Patch | None = RECORD
) -> Written:
    return write_card(image, plan, card, name="card", reporter=QUIET, delta=delta, record=record)


def final(image: Image, plan: BurnPlan) -> BurnPlan:
    return with_record(plan, RECORD, image.read)[0]


# ------------------------------------------------------------------------------------- what may go wrong


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    kind: Kind = draw(st.sampled_from(get_args(Kind)))
    if kind in {"stuck", "dead", "weak"}:
        near = st.sampled_from([0, 4095, 4096, HEAD - 1, HEAD, SIZE - 4096, SIZE - 1, RECORD.start])
        return Fault(kind, draw(near | st.integers(0, SIZE - 1)), draw(st.booleans()))
    return Fault(kind, draw(st.integers(0, 40)), draw(st.booleans()))


@st.composite
def plans(draw: st.DrawFn) -> BurnPlan:
    """Any extents on sectors, near each other or not; some hold something else than the image does."""
    cuts = draw(st.lists(st.integers(0, SIZE // 512), min_size=2, max_size=24, unique=True))
    edges = sorted({cut * 512 for cut in cuts} | set(range(0, SIZE + 1, 1 << 20)))
    extents = []
    for start, end in pairwise(edges):
        use = draw(st.sampled_from(["image", "hole", "zeros"]))
        data = bytes(end - start) if use == "zeros" else BODY[start:end]
        if use != "hole":
            digest = hashlib.sha256(data).hexdigest()
            extents.append(Extent(start, end, digest, data if use == "zeros" else None))
    return ordered(extents, SIZE)


def watched(card: Memory, plan: BurnPlan) -> None:
    """Let no first block reach the card before all else is there."""

    def watch(offset: int, data: memoryview) -> None:
        if offset < FIRST and any(data):
            assert not wrong(plan, card.data, FIRST)

    card.watch = watch


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=plans(), fault=faults(), delta=st.booleans(), has_record=st.booleans(), held=st.booleans())
def test_no_fault_makes_a_success_of_a_wrong_card(
    image: Image, plan: BurnPlan, fault: Fault, delta: bool, has_record: bool, held: bool
) -> None:
    covered = any(each.start <= RECORD.start and RECORD.end <= each.end for each in plan.body)
    record = RECORD if has_record and covered else None
    wanted = final(image, plan) if record else plan
    card = Memory(BODY if held else OLD, fault)
    watched(card, _cut(wanted))
    threads = threading.active_count()
    try:
        burn(image, plan, card, delta, record)
    except (MetisError, KeyboardInterrupt):
        if card.writes and not fault.lasts and fault.kind not in {"stuck", "dead"}:
            assert not any(card.data[:HEAD])
        elif fault.kind in {"stuck", "dead"} and fault.at >= FIRST:
            assert not any(card.data[:FIRST])
    else:
        assert not wrong(wanted, card.data)
    assert threading.active_count() == threads
    card.heal()
    burn(image, plan, card, delta, record)
    assert not wrong(wanted, card.data)


def _cut(plan: BurnPlan) -> BurnPlan:
    """The plan with its first block apart, as it is written."""
    first = [each for each in plan.head if each.start < FIRST < each.end]
    data = [BODY[FIRST : each.end] if each.data is None else bytes(each.end - FIRST) for each in first]
    extents = [
        Extent(FIRST, each.end, hashlib.sha256(content).hexdigest())
        for each, content in zip(first, data, strict=True)
    ]
    return replace(plan, head=(*extents, *(each for each in plan.head if each not in first)))


@pytest.mark.parametrize("kind", ["write", "half", "sync", "vanish", "interrupt", "read"])
def test_a_burn_cut_off_at_any_transfer_leaves_nothing_that_boots(
    image: Image, plan: BurnPlan, kind: Kind
) -> None:
    for at in range(60):
        card = Memory(OLD, Fault(kind, at))
        try:
            burn(image, plan, card)
        except (MetisError, KeyboardInterrupt):
            assert not any(card.data[:HEAD])
        else:
            assert not wrong(final(image, plan), card.data)
            if not card.has_failed:
                break


@pytest.mark.parametrize("delta", [False, True])
def test_the_start_of_a_card_is_cleared_before_anything_else(
    image: Image, plan: BurnPlan, delta: bool
) -> None:
    card = Memory(OLD)
    written: list[tuple[int, int, bool]] = []
    card.watch = lambda offset, data: written.append((offset, len(data), any(data)))
    burn(image, plan, card, delta)
    assert written[0] == (0, HEAD, False)


def test_a_card_that_stops_taking_anything_never_got_its_first_block(image: Image, plan: BurnPlan) -> None:
    for at in range(1, 40):
        card = Memory(OLD, Fault("write", at, lasts=True))
        try:
            burn(image, plan, card)
        except MetisError:
            assert not any(card.data[:FIRST]) or card.data[:FIRST] == OLD[:FIRST]


# ------------------------------------------------------------------------------------- cards that are bad


@pytest.mark.parametrize("kind", ["stuck", "dead"])
@pytest.mark.parametrize("at", [0, 5000, HEAD - 1, HEAD, (2 << 20) + 70000, RECORD.start, SIZE - 20000])
def test_a_place_that_keeps_nothing_is_named(image: Image, plan: BurnPlan, kind: Kind, at: int) -> None:
    card = Memory(OLD, Fault(kind, at))
    with pytest.raises(MismatchError, match="is bad: it does not keep what is written at bytes") as caught:
        burn(image, plan, card)
    start, end = str(caught.value).split(" at bytes ")[1].split(":")[0].split(" to ")
    assert int(start) <= at < int(end)


def test_what_is_lost_once_is_written_again(image: Image, plan: BurnPlan) -> None:
    kinds: tuple[Kind, ...] = ("flip", "drop", "weak")
    for kind in kinds:
        card = Memory(OLD, Fault(kind, HEAD if kind == "weak" else 4))
        assert burn(image, plan, card).rewritten > 0
        assert not wrong(final(image, plan), card.data)


def test_a_place_that_can_never_be_read_is_named(image: Image, plan: BurnPlan) -> None:
    with pytest.raises(MismatchError, match=f"is bad: .* at bytes {HEAD} to {2 * HEAD}"):
        burn(image, plan, Memory(OLD, Fault("weak", HEAD, lasts=True)))


@pytest.mark.parametrize("wraps", [True, False])
@pytest.mark.parametrize("real", [1 << 20, 2 << 20])
def test_a_card_that_has_less_than_it_reports_is_recognised(
    image: Image, plan: BurnPlan, real: int, wraps: bool
) -> None:
    card = Memory(OLD, real=real, wraps=wraps)
    with pytest.raises(MismatchError, match=f"reports {SIZE} bytes, but") as caught:
        burn(image, plan, card)
    assert not any(card.data[:HEAD])
    assert len(card.writes) < 12, "it was found before the body was written"
    assert (f"only {real}" in str(caught.value)) == wraps


def test_a_card_that_wraps_round_at_an_odd_place_is_recognised(image: Image, plan: BurnPlan) -> None:
    card = Memory(OLD, real=(2 << 20) + 4096 * 7, wraps=True)
    with pytest.raises(MismatchError):
        burn(image, plan, card)


class MixingUp(Memory):
    """Whoever writes a place again there has something else overwritten."""

    def write(self, offset: int, data: memoryview) -> None:
        if (offset, offset + len(data)) in self.writes and offset > HEAD:
            self.data[HEAD + 10] ^= 4
        super().write(offset, data)


@pytest.mark.parametrize("delta", [True, False])
def test_what_was_right_before_is_read_again_where_something_had_to_be_written_again(
    image: Image, plan: BurnPlan, delta: bool
) -> None:
    held = bytearray(BODY)
    held[3 << 20] ^= 1
    card = MixingUp(bytes(held), Fault("weak", 3 << 20))
    with pytest.raises(MismatchError, match=f"is bad: .* at bytes {HEAD} to {2 * HEAD}"):
        burn(image, plan, card, delta)
    assert not any(card.data[:HEAD])


def test_a_card_of_large_sectors_is_given_nothing_less(image: Image, plan: BurnPlan) -> None:
    for delta in (False, True):
        card = Memory(OLD)
        card.alignment = 4096
        burn(image, plan, card, delta, record=Patch(RECORD.start // 4096 * 4096, RECORD.data))
        assert not wrong(replace(plan, body=plan.body[:1]), card.data)


def test_where_all_behind_a_place_is_bad_the_size_is_told(plan: BurnPlan) -> None:
    bad = plan.body[2:]
    said = str(verdicts.bad_card("card", bad, plan.body, SIZE))
    assert said.startswith(f"card reports {SIZE} bytes, but has only {bad[0].start}")


def test_bad_ranges_are_joined_and_counted() -> None:
    extents = [Extent(at << 20, (at + 1) << 20, "") for at in range(12)]
    bad = [extents[at] for at in (1, 2, 4, 6, 8, 10)]
    said = str(verdicts.bad_card("card", bad, extents, SIZE))
    assert "at bytes 1048576 to 3145728, 4194304 to 5242880, 6291456 to 7340032 and in 2 more places" in said


# -------------------------------------------------------------------------------------------- images


def test_an_image_that_is_not_what_was_planned_never_boots(tmp_path: Path, plan: BurnPlan) -> None:
    for at in (100, HEAD + 1, SIZE - 1):
        path = tmp_path / "changed.img"
        path.write_bytes(BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :])
        card = Memory(OLD)
        with (
            open_image(path) as changed,
            pytest.raises(MismatchError, match="the image is not what its block map says"),
        ):
            burn(changed, plan, card)
        assert not any(card.data[:HEAD])


def test_an_image_that_becomes_shorter_is_told(tmp_path: Path, plan: BurnPlan) -> None:
    path = tmp_path / "short.img"
    path.write_bytes(BODY)
    with open_image(path) as image:
        os.truncate(path, SIZE // 2)
        with pytest.raises(MetisError, match=r"cannot read .*short\.img: it ends at byte"):
            burn(image, plan, Memory(OLD))


def test_an_image_that_is_rebuilt_meanwhile_stays_what_it_was(tmp_path: Path, plan: BurnPlan) -> None:
    path = tmp_path / "titan-13.img"
    path.write_bytes(BODY)
    with open_image(path) as image:
        (tmp_path / "new").write_bytes(bytes(SIZE))
        (tmp_path / "new").rename(path)
        card = Memory(OLD)
        burn(image, plan, card)
        assert not wrong(final(image, plan), card.data)


def test_an_image_is_read_where_nothing_reads_at_an_offset(
    tmp_path: Path, plan: BurnPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    monkeypatch.delattr(os, "preadv")
    path = tmp_path / "titan-13.img"
    path.write_bytes(BODY)
    card = Memory(OLD)
    with open_image(path) as image:
        burn(image, plan, card)
        assert not wrong(final(image, plan), card.data)


def test_an_image_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MetisError, match="no such file"), open_image(tmp_path / "none.img"):
        pass


# ------------------------------------------------------------------------------------- only what differs


def test_a_card_that_holds_it_all_gets_its_ends_and_its_record(image: Image, plan: BurnPlan) -> None:
    card = Memory(OLD)
    burn(image, plan, card)
    card.writes.clear()
    done = burn(image, plan, card, delta=True, record=Patch(RECORD.start, b"[]".ljust(4096)))
    changed = [each for each in plan.body if each.start <= RECORD.start < each.end]
    assert done.skipped == sum(each.size for each in plan.body if each not in changed)
    allowed = [(0, HEAD), (SIZE - 32768, SIZE), *((each.start, each.end) for each in changed)]
    for start, end in card.writes:
        assert any(first <= start and end <= last for first, last in allowed)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.integers(HEAD, SIZE - 70000), max_size=6, unique=True))
def test_only_what_differs_is_written(image: Image, plan: BurnPlan, places: list[int]) -> None:
    data = bytearray(BODY)
    for at in places:
        data[at] ^= 1
    card = Memory(bytes(data))
    done = burn(image, plan, card, delta=True, record=None)
    differ = {each for each in plan.body for at in places if each.start <= at < each.end}
    assert done.skipped == sum(each.size for each in plan.body if each not in differ)
    inner = [place for place in card.writes if HEAD <= place[0] < SIZE - 32768]
    covered = sum(end - start for start, end in inner)
    assert covered == sum(each.size for each in differ)
    assert not wrong(plan, card.data)


def test_what_cannot_be_read_while_comparing_is_written(image: Image, plan: BurnPlan) -> None:
    card = Memory(BODY, Fault("read", 0))
    burn(image, plan, card, delta=True)
    assert not wrong(final(image, plan), card.data)


def test_comparing_writes_nothing(image: Image, plan: BurnPlan) -> None:
    card = Memory(OLD, Fault("interrupt", 0))
    with pytest.raises(KeyboardInterrupt):
        burn(image, plan, card, delta=True)
    assert card.data == OLD
    assert not card.writes


# ---------------------------------------------------------------------------------------- what is told


def test_a_record_is_written_when_the_body_is_there(image: Image, plan: BurnPlan) -> None:
    card = Memory(OLD)
    seen = []

    def watch(offset: int, data: memoryview) -> None:
        if RECORD.data in bytes(data):
            seen.append(offset)
            assert not wrong(replace(plan, head=(), tail=()), card.data)
            assert not any(card.data[:HEAD])

    card.watch = watch
    burn(image, plan, card)
    assert len(seen) == 1
    assert card.data[RECORD.start : RECORD.end] == RECORD.data


def test_what_was_done_is_counted(image: Image, plan: BurnPlan) -> None:
    card = Memory(OLD)
    done = burn(image, plan, card)
    assert done.written == sum(end - start for start, end in card.writes)
    assert done.read_back >= plan.mapped
    assert (done.skipped, done.rewritten) == (0, 0)
    assert list(done.seconds) == ["clearing", "writing", "reading back", "recording", "finishing"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("vanish", 9, lasts=True), "card does not answer any more: insert it again"),
        (Fault("write", 6), "card cannot be written: input/output error"),
    ],
)
def test_what_the_system_says_is_put_in_words(image: Image, plan: BurnPlan, fault: Fault, said: str) -> None:
    with pytest.raises(MetisError, match=said):
        burn(image, plan, Memory(OLD, fault))


def test_a_card_of_another_size_than_planned_is_refused(image: Image, plan: BurnPlan) -> None:
    card = Memory(OLD + bytes(512))
    with pytest.raises(RefusedError):
        burn(image, plan, card)
    assert not card.writes
