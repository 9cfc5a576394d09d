"""What is to be made once is, also where two threads ask for it at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import cast

from pipeline.inject.appliance import Appliance
from pipeline.inject.auto import AutoInjector
from pipeline.lab.injectors import INJECTORS
from pipeline.machine.once import once, shared_property

BESIDE = 0.2
"""Seconds that another thread has for making the same; they pass where none can."""


class Making:
    """Makes something new each time, and takes so long that another thread may do so too."""

    def __init__(self) -> None:
        self.has_begun, self.has_begun_again = threading.Event(), threading.Event()

    def __call__(self) -> object:
        if self.has_begun.is_set():
            self.has_begun_again.set()
        self.has_begun.set()
        self.has_begun_again.wait(BESIDE)
        return SimpleNamespace(launch=None)


def both(making: Making, ask: Callable[[], object]) -> list[object]:
    """What two threads are given, of which the second one asks while it is made for the first."""
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(ask)
        assert making.has_begun.wait(30)
        second = threads.submit(ask)
        return [first.result(), second.result()]


def test_a_function_makes_it_once() -> None:
    making = Making()
    first, second = both(making, once(making))
    assert first is second


def test_a_property_is_made_once() -> None:
    making = Making()

    class Lab:
        tools = shared_property(lambda _self: making())

    lab = Lab()
    first, second = both(making, lambda: lab.tools)
    assert first is second is lab.tools


def test_images_that_the_quick_injector_refuses_at_the_same_time_share_the_other_one() -> None:
    """Each one of its own would launch an appliance for itself, and take memory for it."""
    making = Making()
    auto = INJECTORS["auto"](lambda: cast(Appliance, making()), lambda _line: None)
    assert isinstance(auto, AutoInjector)
    first, second = both(making, auto.second)
    assert first is second
