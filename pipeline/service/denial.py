"""What a request is refused with. Pure."""

from __future__ import annotations


class Denial(Exception):  # noqa: N818 - it is an answer, and no fault of ours
    """A request that goes no further: its status, what is wrong, and what to do.

    Neither text repeats anything of the request. `retry_after` are seconds, where there is a use in waiting.
    """

    def __init__(self, status: int, what: str, hint: str = "", *, retry_after: int = 0) -> None:
        super().__init__(status, what)
        self.status = status
        self.what = what
        self.hint = hint
        self.retry_after = retry_after
