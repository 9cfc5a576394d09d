"""Ends exports when their time is over."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from ..errors import MetisError
from ..history.exports import Exports

EVERY = 30.0
"""Seconds: so long a file may be there, which nobody gets any more."""
_LOG = logging.getLogger(__name__)


async def keep_swept(exports: Exports) -> None:
    """Sweep, again and again, until cancelled; what cannot be done now is said and tried again."""
    while True:
        try:
            await asyncio.to_thread(exports.sweep, datetime.now(UTC))
        except (MetisError, OSError) as error:
            _LOG.error("exports that are over may still be there: %s", error)
        await asyncio.sleep(EVERY)
