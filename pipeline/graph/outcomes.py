"""What came of the tasks of one run of the graph, as doit's report tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcomes:
    """What came of tasks, by their names; a task that could not be tried is in none of them.

    `needs` are the tasks that each one waits for; `done` has how long those took that ran and ended well, in
    seconds; `current` had nothing to do; `failed` has why.
    """

    needs: dict[str, Sequence[str]] = field(default_factory=dict)
    done: dict[str, float] = field(default_factory=dict)
    current: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)

    def expect(self, needs: Mapping[str, Sequence[str]]) -> None:
        """Take up which tasks there are, and what each waits for."""
        self.needs.update(needs)

    def reason(self, task: str) -> str:
        """Why a task failed or was not tried: the first failure among it and what it needs; else nothing."""
        waiting, looked = [task], set[str]()
        while waiting:
            name = waiting.pop()
            if name in self.failed:
                return self.failed[name]
            if name not in looked:
                looked.add(name)
                waiting.extend(reversed(self.needs.get(name, ())))
        return ""
