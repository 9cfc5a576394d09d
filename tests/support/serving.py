"""A real service on loopback, in a thread of its own, as `metis serve` listens and ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import uvicorn

from pipeline.service.app import guarded
from pipeline.service.listening import server_settings
from pipeline.service.options import Options, checked
from pipeline.service.service import Service
from pipeline.service.serving import Server, bound


@contextmanager
def served(
    options: Options,
    make: Callable[[Options], Service],
    certificate: Path | None = None,
    lifespan: Literal["on", "off"] = "on",
) -> Iterator[Service]:
    """Serve what `make` makes while the block runs: it is given the options with the port that was had.

    With a certificate it is over TLS. Without its lifespan nothing goes on in the background: jobs wait.
    """
    with closing(bound(replace(options, port=0))) as listener:
        port = listener.getsockname()[1]
        here = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        service = make(checked(replace(options, port=port, public_url=options.public_url or here)))
        settings = server_settings(service.options) | {"lifespan": lifespan}
        config = uvicorn.Config(
            guarded(service), log_config=None, **settings, ssl_certfile=certificate, ssl_keyfile=certificate
        )
        server = Server(config, service)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield service
        finally:
            server.should_exit = True
            thread.join()
