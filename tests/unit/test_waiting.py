"""Whoever waits for a card gets the one that was inserted meanwhile, once it has settled, and no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.card.cards import Card, Mount
from pipeline.card.waiting import wait_for_card
from pipeline.errors import RefusedError


class NothingMoreError(Exception):
    """The looks are over."""


def card(name: str = "sda", **changes: object) -> Card:
    usual = Card(
        f"/dev/{name}", "disk", 32, serial="1", removable=True, number=f"8:{ord(name[-1])}", sequence="1"
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def wait(looks: Sequence[Sequence[Card]]) -> tuple[Card, int]:
    """What is given, and after how many looks."""
    taken = 0

    def look() -> Sequence[Card]:
        nonlocal taken
        if taken == len(looks):
            raise NothingMoreError
        taken += 1
        return looks[taken - 1]

    return wait_for_card(look, lambda: None, lambda found: found.removable), taken


A, B = card("sda"), card("sdb")
EMPTY = card("sda", size=0)
AGAIN = card("sda", sequence="2")
OLD_KERNEL = card("sda", sequence="")


@pytest.mark.parametrize(
    ("looks", "given_card"),
    [
        ([[], [A], [A]], A),
        ([[A], [A, B], [A, B]], B),
        ([[EMPTY], [EMPTY], [A], [A]], A),
        ([[A], [A], [], [], [A], [A]], A),
        ([[A], [EMPTY], [A], [A]], A),
        ([[A], [AGAIN], [AGAIN]], AGAIN),
        ([[OLD_KERNEL], [], [OLD_KERNEL], [OLD_KERNEL]], OLD_KERNEL),
        (
            [[OLD_KERNEL], [card(sequence="", serial="2")], [card(sequence="", serial="2")]],
            card(sequence="", serial="2"),
        ),
        ([[A], [card(size=64)], [card(size=64)]], card(size=64)),
        ([[], [A], [], [A], [A]], A),
        ([[], [card(serial="")], [A], [A]], A),
        ([[], [A], [B], [B]], B),
        ([[], [card(removable=False), A], [card(removable=False), A]], A),
    ],
)
def test_a_card_that_is_inserted_is_given(looks: list[list[Card]], given_card: Card) -> None:
    assert wait(looks) == (given_card, len(looks))


@pytest.mark.parametrize(
    "looks",
    [
        [[A]] * 5,
        [[]] * 5,
        [[EMPTY]] * 5,
        [[A, B], [B], [B], [B]],
        [[], [A], [], [A], []],
        [[], [A], [B], [A], [B]],
        [[], [card(removable=False)], [card(removable=False)]],
        # udev finds the serial number of what was there a moment later.
        [[card(serial="")], [A], [A], [A]],
        [[card(sequence="", serial="")], [OLD_KERNEL], [OLD_KERNEL], [OLD_KERNEL]],
        [[A], [replace(A, mounts=(Mount("/dev/sda1", "/x"),))], [A], [A]],
    ],
)
def test_what_was_there_or_does_not_settle_is_not_given(looks: list[list[Card]]) -> None:
    with pytest.raises(NothingMoreError):
        wait(looks)


@pytest.mark.parametrize(
    "looks", [[[], [A, B], [A, B]], [[], [A], [A, B]], [[A], [], [A, B], [A, B]], [[EMPTY], [B], [A, B]]]
)
def test_of_several_new_cards_none_is_given(looks: list[list[Card]]) -> None:
    with pytest.raises(RefusedError, match=r"/dev/sda, /dev/sdb: insert one"):
        wait(looks)


SLOTS = {
    name: st.none()
    | st.builds(
        card,
        st.just(name),
        size=st.sampled_from([0, 32, 64]),
        sequence=st.sampled_from(["", "1", "2"]),
        serial=st.sampled_from(["", "1"]),
        removable=st.booleans(),
    )
    for name in ("sda", "sdb", "sdc")
}
LOOKS = st.lists(
    st.fixed_dictionaries(SLOTS).map(lambda slots: [one for one in slots.values() if one]), max_size=9
)


@given(LOOKS)
@example([[A], [A], []])
def test_what_is_given_is_new_settled_meant_and_alone(looks: list[list[Card]]) -> None:
    try:
        found, taken = wait(looks)
    except (NothingMoreError, RefusedError):
        return
    seen = looks[:taken]
    assert found.removable
    assert found.size > 0
    assert found in seen[-1]
    assert found in seen[-2]
    assert taken >= 3
    assert any(found not in earlier for earlier in seen[:-2])
