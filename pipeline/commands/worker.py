"""`metis worker`: makes the bases and images that other machines ask for."""

from __future__ import annotations

import socket

import click

from ..errors import UsageError, one_line
from .options import common, lab_of, print_json, scheduler_option


@click.command()
@common
@scheduler_option
@click.option("--name", help="What messages call it; the host's name without it.")
@click.option(
    "-n", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Make so many at once."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Where the scheduler and who asks reach it; any that is free without it.",
)
def worker(name: str | None, jobs: int, port: int, as_json: bool, **flags: str | None) -> None:
    """Make what runs with the same --scheduler ask for, until the scheduler ends.

    The environment says which injector and which secrets it works with; it needs no inventory. It shares the
    folder for artifacts with who asks.
    """
    lab = lab_of(flags)
    if lab.settings.scheduler is None:
        raise UsageError("no scheduler is named", "say --scheduler tls://HOST:PORT, or set METIS_SCHEDULER")
    called = name or socket.gethostname()
    if called != one_line(called):
        raise UsageError(f"the name {called!r} cannot be shown", "take another --name")

    def ready(address: str) -> None:
        if as_json:
            print_json({"worker": called, "scheduler": address})
        else:
            click.echo(f"worker {called} is ready for {address}")

    from ..lab.worker import at_work
    from ..scheduler.hosting import host

    with at_work(lab.store, lab.reporter):
        host(lab.settings.scheduler, called, jobs, ready, port)
