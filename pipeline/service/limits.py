"""How much anybody may ask for: requests in time, and bytes of a body. Pure.

What a request line and its headers may have is said in `asked`, and by the server for what has not come whole
(`listening`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from ..facts.snapshot import LARGEST
from .asked import Asked, address
from .denial import Denial

BODY = 64 << 10
"""Bytes of a form, or of a document for the API."""
BODIES = {"/internal/sentinel/snapshot": LARGEST}
"""Bytes of what may be larger, by its path: a snapshot, as large as those that are read from files."""
ROOM = 8 * LARGEST
"""Bytes of larger bodies at once, each until it is answered: what is made of one takes several times that."""
SECONDS = 15.0
"""From the first byte of a body to its last."""
_A_WHILE = 5
"""Seconds after which there is room again, as a rule."""
MOST = 4096
"""Buckets at once: whoever was not seen for longest is forgotten, and starts with a full one."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests in a second, and how many may come at once."""

    each_second: float
    at_once: int


READING = Rate(500, 1000)
ACTING = Rate(10, 100)
STRANGERS = Rate(5, 60)
"""Of those who are refused: who tries names and tokens is soon told to wait."""
DELIVERING = Rate(50, 500)
"""Of what sentinels and other services send with a token, all nodes of a lab together."""


class Buckets:
    """A bucket of tokens for each who asks: a request takes one, and time fills it again.

    `clock` gives seconds that only go forward.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float], most: int = MOST) -> None:
        self._rate = rate
        self._clock = clock
        self._most = most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def take(self, who: str) -> None:
        """Take one. Raises Denial where there is none, with the seconds after which there is one."""
        now = self._clock()
        left, since = self._left.pop(who, (float(self._rate.at_once), now))
        left = min(self._rate.at_once, left + (now - since) * self._rate.each_second)
        taken = left >= 1
        self._left[who] = (left - taken, now)
        while len(self._left) > self._most:
            self._left.popitem(last=False)
        if not taken:
            wait = int((1 - left) / self._rate.each_second) + 1
            raise Denial(429, "too many requests", "wait a little", retry_after=wait)


class Room:
    """Bytes that larger bodies may have together; those of forms are too few to be counted."""

    def __init__(self, most: int = ROOM) -> None:
        self._left = most

    def take(self, request: Asked) -> int:
        """Have room for the body of a request, and say how much. Raises Denial where others have it."""
        largest = largest_body(request.path)
        size = largest if request.declared is None else min(request.declared, largest)
        size = size if size > BODY else 0
        if size > self._left:
            raise Denial(503, "too much is sent at once", "wait a little", retry_after=_A_WHILE)
        self._left -= size
        return size

    def give_back(self, size: int) -> None:
        """Leave to others what was taken."""
        self._left += size


def place(client: str) -> str:
    """Where a client is, for counting: of IPv6 the network, as each has 2**64 addresses (RFC 6177)."""
    found = address(client)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found) >> 64 << 64, 64)))
    return client


def largest_body(path: str) -> int:
    """Bytes that a body sent there may have."""
    return BODIES.get(path, BODY)


def check_size(request: Asked, size: int) -> None:
    """Refuse a body that is larger than what is taken there. Raises Denial."""
    if size > (largest := largest_body(request.path)):
        raise Denial(413, "the request is too large", f"send at most {largest >> 10} KiB")
