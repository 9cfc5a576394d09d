"""`metis serve`: the page on which operators build, flash and watch."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import artifacts_folder, common, set_flags, take_flags

if TYPE_CHECKING:
    from ..service.options import Options

PORT = 8080


@click.command()
@common
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option(
    "--port", type=int, default=PORT, show_default=True, help="Where to listen; 0 for any that is free."
)
@click.option(
    "--no-auth",
    is_flag=True,
    help="Let everybody on this machine in as admin, and nobody else: loopback only.",
)
@click.option(
    "--public-url",
    default="",
    metavar="URL",
    help="How browsers reach it: https://metis.example, for example.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="HOST",
    help="Another name that it is reached by.",
)
@click.option(
    "--trusted-proxy",
    "proxies",
    multiple=True,
    metavar="NETWORK",
    help="Who is believed when it says in headers who asks: an address, or a network such as 10.42.0.0/16.",
)
@click.option("--user-header", metavar="NAME", help="Where the proxy says the user.")
@click.option("--email-header", metavar="NAME", help="Where it says the email address.")
@click.option("--groups-header", metavar="NAME", help="Where it says the groups, with commas between.")
@click.option("--name-header", metavar="NAME", help="Where it says the name to show; it decides nothing.")
@click.option("--admin-group", "admin_groups", multiple=True, metavar="GROUP", help="Who may do everything.")
@click.option("--admin-user", "admin_users", multiple=True, metavar="USER", help="The same, one by one.")
@click.option(
    "--maintenance-group",
    "maintenance_groups",
    multiple=True,
    metavar="GROUP",
    help="Who may build, burn and watch.",
)
@click.option(
    "--maintenance-user", "maintenance_users", multiple=True, metavar="USER", help="The same, one by one."
)
@click.option(
    "--sentinel-token-file",
    metavar="FILE",
    help="What sentinels send along with snapshots (METIS_SENTINEL_TOKEN).",
)
@click.option(
    "--watch-token-file", metavar="FILE", help="What asks for a look at all nodes brings (METIS_WATCH_TOKEN)."
)
@click.option("--metrics-token-file", metavar="FILE", help="What a Prometheus brings (METIS_METRICS_TOKEN).")
@click.option("--api-token-file", metavar="FILE", help="What scripts bring to /api/v1 (METIS_API_TOKEN).")
@click.option(
    "--card-files",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="The plain files in this folder stand for cards: for tests, and labs without a reader.",
)
def serve(as_json: bool, **more: Any) -> None:  # noqa: ANN401 - what the service is told, and the flags of all
    """Serve a page on which operators build, flash and watch, and /api/v1 for scripts.

    Whoever signs in is told by a proxy's headers, such as oauth2-proxy's. With --no-auth it is for this
    machine alone.
    """
    from ..service.serving import serve as run

    set_flags(take_flags(more))
    run(options_of(more), lambda url: _say(url, as_json=as_json))


def _say(url: str, *, as_json: bool) -> None:
    from .options import print_json

    if as_json:
        print_json({"url": url})
    else:
        click.echo(f"serving {url}", err=True)


@click.command()
@common
@click.option(
    "--port", type=int, default=0, help="Where to listen on this machine; any that is free without it."
)
@click.option("--no-browser", is_flag=True, help="Print the link, and open nothing.")
def gui(port: int, no_browser: bool, as_json: bool, **flags: str | None) -> None:
    """Serve the page to this machine alone, and open it in the browser.

    The link signs in once, and only the browser that opens it: another user of this machine sees nothing.
    """
    from ..machine.desktop import open_in_browser
    from ..secret import Secret
    from ..service.options import Options, checked
    from ..service.serving import serve as run
    from ..steps.artifacts import Artifacts

    set_flags(flags)
    token, state = secrets.token_urlsafe(32), Artifacts(artifacts_folder()).state

    def told(url: str) -> None:
        link = f"{url}/?token={token}"
        if no_browser or not open_in_browser(link, state / "gui.html", state / "gui.log"):
            _say(link, as_json=as_json)
        else:
            click.echo("opened in the browser; Ctrl-C ends it", err=True)

    run(checked(Options(port=port, no_auth=True, gui_token=Secret(token))), told)


def options_of(given: dict[str, Any]) -> Options:
    """What the flags say, checked. Raises UsageError for what must not be served."""
    from ..service import private_files
    from ..service.options import TOKENS, Headers, Options, checked, members, network, tokens

    parts = {"user": "user", "email": "email", "groups": "groups", "shown": "name"}
    named = {part: given[f"{flag}_header"] for part, flag in parts.items() if given[f"{flag}_header"]}
    files = {purpose: given[f"{purpose}_token_file"] for purpose in TOKENS if given[f"{purpose}_token_file"]}
    return checked(
        Options(
            host=given["host"],
            port=given["port"],
            no_auth=given["no_auth"],
            trusted_proxies=tuple(map(network, given["proxies"])),
            headers=Headers(**named),
            admin=members(given["admin_groups"], given["admin_users"]),
            maintenance=members(given["maintenance_groups"], given["maintenance_users"]),
            allowed_hosts=frozenset(given["allowed_hosts"]),
            public_url=given["public_url"],
            tokens=tokens(os.environ, files, private_files.token),
            card_files=str(given["card_files"].absolute()) if given["card_files"] else "",
        )
    )
