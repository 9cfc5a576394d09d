"""One night: coordinators decide, workers make images, and these go to one place.

A discrete-event simulation. What takes time is measured (`costs.json`) or given (`Site`); what waits for
what is modelled here. A worker's core makes one image after the other; the place that they go to (a shared
folder or a registry) has one line in which bytes wait for each other, and one in which requests do. Each
inventory has a coordinator and a place of its own; workers are for all. Images of large nights move in lots:
a million single ones would say the same, and take long to say it.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import simpy

Way = Literal["alone", "shared", "direct"]
"""How files get into an image: an appliance of its own, one for several, or none."""
Travel = Literal["packed", "whole", "differences"]
"""What goes over the line of an image: all that is mapped, packed or not, or what its base does not have."""

IN_ONE_LAUNCH = 8
LOTS = 20_000
"""So many lots at most."""

Steps = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured: seconds of one core, and bytes, for one node or image where nothing else is said."""

    decide: float
    """To load a node's part of the graph and to find out that there is nothing to do."""
    render: float
    """To render a manifest that is stale."""
    send: float
    """To hand an image to a worker, and to take note of it when it is back."""
    copy: float
    """To copy a base, hash what is mapped and leave block map and receipt."""
    launch: float
    in_appliance: float
    """To inject into an image that an appliance has."""
    in_place: float
    """To inject without an appliance."""
    read_back: float
    mapped: float
    packed: float
    """Bytes of an image as they go to the registry."""
    differing: float
    """Bytes of an image that its base does not have."""
    pack: float
    unpack: float
    """Of a golden, to its base."""
    memory: float
    """Bytes of a coordinator for each node."""


@dataclass(frozen=True, slots=True)
class Site:
    """What is given: bytes a second of the place's line and of a worker's, and what the place answers."""

    line: float = 10e9 / 8
    worker_line: float = 1e9 / 8
    requests: float = 1_000.0
    """A second."""
    requests_for_image: int = 6
    cores: int = 4
    """Of a worker."""
    memory: float = 16 * 2**30
    """Bytes of a coordinator."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A night: `changed` of the `nodes` need a new image; `coordinators` have an inventory each."""

    nodes: int
    changed: int
    workers: int
    way: Way
    travel: Travel
    classes: int = 10
    coordinators: int = 1


@dataclass(frozen=True, slots=True)
class Night:
    """What came of it: its length in seconds, and how much of that each resource was busy, from 0 to 1.

    `memory` is the share of a coordinator's memory that its inventory needs: above 1 there is no night.
    """

    seconds: float
    busy: Mapping[str, float]
    memory: float

    @property
    def limit(self) -> str:
        """What runs out first: more of anything else would not make the night shorter."""
        return "memory" if self.memory > 1 else max(self.busy, key=lambda name: self.busy[name])


def simulated(plan: Plan, costs: Costs, site: Site) -> Night:
    """Run one night."""
    return _Run(plan, costs, site).night()


class _Line:
    """What one at a time can use; it knows how long it was in use."""

    def __init__(self, environment: simpy.Environment, capacity: int = 1) -> None:
        self._environment = environment
        self._resource = simpy.Resource(environment, capacity)
        self._capacity = capacity
        self._used = 0.0

    def use(self, seconds: float) -> Steps:
        with self._resource.request() as turn:
            yield turn
            self._used += seconds
            yield self._environment.timeout(seconds)

    def busy(self) -> float:
        return self._used / self._capacity / self._environment.now if self._environment.now else 0.0


class _Run:
    def __init__(self, plan: Plan, costs: Costs, site: Site) -> None:
        self._plan, self._costs, self._site = plan, costs, site
        self._environment = environment = simpy.Environment()
        self._lot = max(1, math.ceil(plan.changed / LOTS))
        if plan.way == "shared" and plan.changed >= IN_ONE_LAUNCH * plan.workers * site.cores:
            self._lot = IN_ONE_LAUNCH * math.ceil(self._lot / IN_ONE_LAUNCH)
        self._waiting = simpy.Store(environment)
        self._coordinators = _Line(environment, plan.coordinators)
        self._deciding = plan.coordinators
        self._cores = 0.0
        self._line, self._answers = (_Line(environment, plan.coordinators) for _ in range(2))

    def night(self) -> Night:
        plan = self._plan
        done = [self._environment.process(self._worker()) for _ in range(plan.workers)]
        for number in range(plan.coordinators):
            self._environment.process(self._coordinator(number))
        self._environment.run(simpy.AllOf(self._environment, done))
        seconds = self._environment.now
        busy = {
            "coordinators": self._coordinators.busy(),
            "workers": self._cores / seconds / plan.workers / self._site.cores,
            "line": self._line.busy(),
            "answers": self._answers.busy(),
        }
        return Night(seconds, busy, self._costs.memory * plan.nodes / plan.coordinators / self._site.memory)

    def _coordinator(self, number: int) -> Steps:
        """Decide on all nodes of an inventory, then hand out what is to be made."""
        plan, costs = self._plan, self._costs
        mine = _part(plan.changed, plan.coordinators, number)
        yield from self._coordinators.use(
            _part(plan.nodes, plan.coordinators, number) * costs.decide + mine * costs.render
        )
        while mine:
            lot = min(self._lot, mine)
            mine -= lot
            yield from self._coordinators.use(lot * costs.send)
            self._waiting.put(lot)
        self._deciding -= 1
        if not self._deciding:
            for _ in range(plan.workers * self._site.cores):
                self._waiting.put(0)

    def _worker(self) -> Steps:
        bases: dict[int, simpy.Event] = {}
        cores = [self._environment.process(self._core(bases)) for _ in range(self._site.cores)]
        yield simpy.AllOf(self._environment, cores)

    def _core(self, bases: dict[int, simpy.Event]) -> Steps:
        turn = 0
        size = self._bytes()
        while lot := (yield self._waiting.get()):
            yield from self._base(bases, turn % self._plan.classes)
            turn += 1
            yield from self._work(lot * self._making(lot))
            yield from self._travel(lot * size, lot * self._site.requests_for_image)

    def _base(self, bases: dict[int, simpy.Event], klass: int) -> Steps:
        """Have the base of a class: the first that needs it on a worker fetches its golden."""
        if klass in bases:
            yield bases[klass]
            return
        bases[klass] = ready = self._environment.event()
        yield from self._travel(self._costs.packed, 1)
        yield from self._work(self._costs.unpack)
        ready.succeed()

    def _making(self, lot: int) -> float:
        costs = self._costs
        launches = math.ceil(lot / IN_ONE_LAUNCH) / lot
        injecting = {
            "alone": costs.launch + costs.in_appliance,
            "shared": costs.launch * launches + costs.in_appliance,
            "direct": costs.in_place,
        }[self._plan.way]
        packing = costs.pack if self._plan.travel == "packed" else 0.0
        return costs.copy + injecting + costs.read_back + packing

    def _bytes(self) -> float:
        costs = self._costs
        sizes = {"packed": costs.packed, "whole": costs.mapped, "differences": costs.differing}
        return sizes[self._plan.travel]

    def _work(self, seconds: float) -> Steps:
        self._cores += seconds
        yield self._environment.timeout(seconds)

    def _travel(self, size: float, requests: int) -> Steps:
        """Through the line, which all share, no faster than the worker's own."""
        shared = size / self._site.line
        yield from self._answers.use(requests / self._site.requests)
        yield from self._line.use(shared)
        yield self._environment.timeout(max(0.0, size / self._site.worker_line - shared))


def _part(whole: int, parts: int, number: int) -> int:
    """Of things that are dealt out evenly, how many the one with this number gets."""
    return whole // parts + (number < whole % parts)
