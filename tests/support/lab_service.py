"""The service of a lab, real but for its process: uvicorn in a thread, the guard before the application."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import uvicorn

from pipeline.service.app import guarded
from pipeline.service.listening import server_settings
from pipeline.service.options import Options, checked, members, network
from pipeline.service.service import Service
from pipeline.service.serving import bound
from tests.support.lab import Lab

PROXY = Options(trusted_proxies=(network("127.0.0.1"),), maintenance=members(["ops"], []))
"""People sign in, by a proxy on this machine."""
SIGNED_IN = {"X-Forwarded-User": "ada", "X-Forwarded-Groups": "ops"}


@dataclass
class Served:
    """A service that runs. `client` speaks as its proxy does, for somebody of the role maintenance."""

    url: str
    service: Service
    client: httpx.Client
    trust: ssl.SSLContext

    def wait_for_board(self) -> None:
        """Until the nodes were looked at once: the stream of events says when."""
        with self.client.stream("GET", "/events") as stream:
            for line in stream.iter_lines():  # the first one comes when it listens
                if self.service.board.at is not None or line == "event: board":
                    return


@contextmanager
def serving(lab: Lab, options: Options = PROXY, certificate: Path | None = None) -> Iterator[Served]:
    """Serve a lab while the block runs, at a port of its own; with a certificate over TLS."""
    listener = bound(replace(options, port=0))
    port = listener.getsockname()[1]
    url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
    options = checked(replace(options, port=port, public_url=url))
    service = Service(options, {**os.environ, **lab.variables({})}, lab.root)
    config = uvicorn.Config(
        guarded(service),
        log_config=None,
        **server_settings(options),
        ssl_certfile=certificate,
        ssl_keyfile=certificate,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    trust = ssl.create_default_context(cafile=certificate)
    try:
        with httpx.Client(base_url=url, timeout=60, verify=trust, headers=SIGNED_IN) as client:
            yield Served(url, service, client, trust)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
