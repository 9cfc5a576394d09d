"""The service of a lab, real but for its process, and a client that speaks as its proxy does."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from pipeline.service.options import Options, members, network
from pipeline.service.service import Service
from tests.support.lab import Lab
from tests.support.serving import served

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
    trust = ssl.create_default_context(cafile=certificate)

    def make(options: Options) -> Service:
        return Service(options, {**os.environ, **lab.variables({})}, lab.root)

    with served(options, make, certificate) as service:
        url = f"{'https' if certificate else 'http'}://127.0.0.1:{service.options.port}"
        with httpx.Client(base_url=url, timeout=60, verify=trust, headers=SIGNED_IN) as client:
            yield Served(url, service, client, trust)
