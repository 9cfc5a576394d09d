"""`metis`: the commands for people and scripts, on the same graph as `doit`.

Results go to stdout, progress and errors to stderr. The exit code is that of the error (see `errors`).
Flags become environment variables before anything else looks, so that the graph sees them too.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import traceback
from collections.abc import Sequence

import click

from .commands.adopt import adopt
from .commands.boot import boot
from .commands.burn import burn
from .commands.cache import cache
from .commands.cards import cards
from .commands.config import config
from .commands.export import export
from .commands.facts import facts
from .commands.golden import golden
from .commands.history import history
from .commands.image import image
from .commands.init import init
from .commands.nightly import nightly
from .commands.options import Commands
from .commands.plan import plan
from .commands.preflight import preflight
from .commands.push import push
from .commands.reconcile import reconcile
from .commands.secrets import secrets
from .commands.serve import gui, serve
from .commands.status import status
from .commands.verify import verify
from .commands.watch import watch
from .commands.worker import worker
from .errors import MetisError, UsageError, known
from .machine.hardening import end_as_by_ctrl_c
from .machine.system import system

OF_FINISHED_IMAGES = frozenset("burn cards gui history serve status".split())
"""What works where nothing is built."""
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended; SIGTERM is as good here


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="--debug, anywhere, shows tracebacks. Exit codes: 0 done, 1 failed, 2 wrong usage, inventory or "
    "secret, 3 refused for safety, 4 a hash or an identity did not match, 5 a source could not be reached.",
)
@click.version_option(package_name="metis")
@click.pass_context
def cli(context: click.Context) -> None:
    """Recovery cards for lab nodes, from a declared inventory."""
    name = context.invoked_subcommand
    if not (system().BUILDS or name in OF_FINISHED_IMAGES):
        raise UsageError(f"metis {name} is not to be had on {system().NAME}", "run it where images are built")


for command in (
    init,
    plan,
    config,
    image,
    verify,
    boot,
    cards,
    burn,
    adopt,
    secrets,
    serve,
    gui,
    status,
    golden,
    cache,
    push,
    export,
    nightly,
    worker,
    facts,
    watch,
    preflight,
    reconcile,
    history,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `metis`; the one place that turns errors into lines and exit codes."""
    system().leave_no_cores()
    end_as_by_ctrl_c()
    # Else the end looks for cycles in all there is, which takes as long as the start.
    atexit.register(gc.freeze)
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--debug" in words:
        os.environ["METIS_DEBUG"] = "1"
    try:
        cli.main([word for word in words if word != "--debug"], prog_name="metis", standalone_mode=False)
    except click.exceptions.Exit as leaving:
        sys.exit(leaving.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; nothing half-made counts as done", err=True)
        sys.exit(INTERRUPTED)
    except (MetisError, OSError) as raised:
        if os.environ.get("METIS_DEBUG", "0").lower() not in {"", "0", "false", "no", "off"}:
            traceback.print_exc()
        failure = known(raised)
        for line in str(failure).splitlines():
            click.echo(f"metis: {line}", err=True)
        sys.exit(failure.exit_code)
