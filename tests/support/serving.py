"""A real server on loopback, in a thread of its own, as `metis serve` listens."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import uvicorn

from pipeline.service.listening import server_settings
from pipeline.service.options import Options


@contextmanager
def served(options: Options, make: Callable[[Options], Any]) -> Iterator[Options]:
    """Serve an application while the block runs; `make` gets the options with the port that was had.

    The socket listens before the thread starts, so that whoever comes at once waits for an answer.
    """
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        options = replace(options, port=port, public_url=options.public_url or f"http://127.0.0.1:{port}")
        settings = server_settings(options) | {"lifespan": "off"}
        server = uvicorn.Server(uvicorn.Config(make(options), log_config=None, **settings))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield options
        finally:
            server.should_exit = True
            thread.join()
