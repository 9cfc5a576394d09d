"""Runs the service until it is told to end: one process, behind one socket."""

from __future__ import annotations

import gc
import os
import resource
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import uvicorn

from ..errors import MetisError, UsageError, reason_of
from ..machine import durable
from .app import guarded
from .listening import CONNECTIONS, server_settings
from .options import TOKENS, Options
from .service import Service

LOCK = "service.lock"
ANY_PORT = ":0"
FILES = 4 * CONNECTIONS
"""That may be open at once: connections, what is read for them, pipes of children."""


def serve(options: Options, told: Callable[[str], None]) -> None:
    """Serve the lab that the environment names; `told` is given the address once somebody listens there.

    Raises MetisError where another service has the same artifacts, or the address cannot be had.
    """
    with bound(options) as listening:
        options = at_port(options, listening.getsockname()[1])
        service = Service(options, _environment(os.environ), Path.cwd())
        durable.make_private(service.artifacts.root)
        with durable.locked(service.artifacts.state / LOCK, _refuse):
            config = uvicorn.Config(guarded(service), log_config=None, **server_settings(options))
            _allow_files()
            # What is there by now stays: no search for garbage need walk through it while somebody waits.
            gc.collect()
            gc.freeze()
            told(options.public_url)
            with suppress(KeyboardInterrupt):  # uvicorn has ended well by then, and raises the signal again
                Server(config, service).run(sockets=[listening])


class Server(uvicorn.Server):
    """Ends what goes on for as long as a browser likes, instead of waiting for it."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what listens, then all connections."""
        self._service.events.close()
        await super().shutdown(sockets)


def _allow_files() -> None:
    """Have room for as many connections as we take, and files beside them; usual is a thousand for all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def bound(options: Options) -> socket.socket:
    """The socket, had before anything else is begun. Raises UsageError where it cannot be had.

    What is sent goes at once: with Nagle's algorithm a body would wait until its head is acknowledged, 40 ms
    on Linux, and asyncio turns that off only for sockets that it has made itself.
    """
    host = options.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.bind((host, options.port))
        listening.listen()  # who is told the address may ask at once
    except OSError as error:
        listening.close()
        where = f"{options.host}:{options.port}"
        raise UsageError(
            f"cannot listen at {where}: {reason_of(error)}", "name another with --port"
        ) from None
    return listening


def at_port(options: Options, port: int) -> Options:
    """The options with the port that was had, where any would do."""
    if options.port:
        return options
    public_url = options.public_url
    if public_url.endswith(ANY_PORT):
        public_url = f"{public_url.removesuffix(ANY_PORT)}:{port}"
    return replace(options, port=port, public_url=public_url)


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What commands in children get: all but the tokens of the service itself."""
    return {name: value for name, value in environment.items() if name not in TOKENS.values()}


def _refuse(holder: str) -> None:
    raise MetisError(
        f"{holder} serves these artifacts already", "end it first, or name others with --artifacts"
    )
