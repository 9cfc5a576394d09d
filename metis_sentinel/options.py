"""What may be asked of `metis-sentinel`, on the command line and in the environment."""

from __future__ import annotations

import argparse
import pkgutil
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import __version__
from .errors import say
from .history import Limits

SPOOL = "/var/lib/metis-sentinel/spool"
_SECONDS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60}
_LONGEST = 10 * 365 * 24 * 60 * 60
_MOST = 100_000
_ABOUT = """\
Read facts on this node: its system, packages, mounts, disks, and the files that Metis put there. Without
--out and --push they are printed as JSON. It starts no program, changes nothing that it reads, and reads no
secret.
"""
_MORE = """\
exit codes: 0 done; 1 failed; 2 wrong usage; 5 the service could not be reached: the snapshot is in the spool
"""
_TEXTS = {"-h --help": "this help", "--version": "the version", "--schema": "the JSON Schema of a snapshot"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        say(f"{message}: see metis-sentinel --help")
        raise SystemExit(2)


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> argparse.Namespace:
    """What was asked; `text` is what is to be printed, and nothing else done, empty for a look.

    Raises SystemExit, of code 2 after a line on stderr, for what cannot be understood.
    """
    parser = _Parser(
        "metis-sentinel",
        description=_ABOUT,
        epilog=_MORE,
        allow_abbrev=False,
        add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, text in _TEXTS.items():
        parser.add_argument(*name.split(), action="store_true", help=f"print {text}, and end")
    for title, options in _options(environment).items():
        group = parser.add_argument_group(title)
        for name, about in options.items():
            group.add_argument(name, **about)
    asked, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(_unknown(unknown))
    asked.text = _text(parser, asked)
    return asked


def _unknown(words: Sequence[str]) -> str:
    """What is wrong with words that are no options. What may be a secret's value is not shown."""
    names = [found[0] for found in map(re.compile("--[a-z][a-z-]*").match, words) if found]
    return (
        f"there is no option {' '.join(names)}" if names else "there are only options, and no other arguments"
    )


def _text(parser: _Parser, asked: argparse.Namespace) -> bytes:
    if asked.help:
        return parser.format_help().encode()
    if asked.version:
        return f"metis-sentinel {__version__}\n".encode()
    return (pkgutil.get_data("metis_sentinel", "snapshot.schema.json") or b"") if asked.schema else b""


def _options(environment: Mapping[str, str]) -> dict[str, dict[str, dict[str, Any]]]:
    def given(name: str, default: str | None = None) -> str | None:
        return environment.get(name) or default

    limits = Limits()
    return {
        "what is read": {
            "--root": {"metavar": "DIR", "default": "/", "help": "the root of the node (/)"},
            "--interval": {
                "metavar": "TIME",
                "type": duration,
                "help": "go on, with a snapshot each TIME: 90s, 5m, 12h; else one is taken",
            },
            "--print": {"action": "store_true", "help": "print snapshots in spite of --out and --push"},
        },
        "history": {
            "--out": {
                "metavar": "DIR",
                "type": Path,
                "default": given("METIS_SENTINEL_OUT"),
                "help": "keep snapshots in DIR/<node>/<UTC time>.json (METIS_SENTINEL_OUT)",
            },
            "--keep": {
                "metavar": "N",
                "type": number,
                "default": limits.keep,
                "help": f"no more than N of them ({limits.keep})",
            },
            "--max-age": {
                "metavar": "TIME",
                "type": duration,
                "default": limits.max_age,
                "help": "none that is older, but for the newest ten: 12h, 30d (30d)",
            },
        },
        "delivery": {
            "--push": {
                "metavar": "URL",
                "default": given("METIS_SENTINEL_PUSH"),
                "help": "send snapshots to the service at this https URL (METIS_SENTINEL_PUSH)",
            },
            "--token-file": {
                "metavar": "FILE",
                "type": Path,
                "help": "holds the token that the service asks for; read anew each time",
            },
            "--ca": {
                "metavar": "FILE",
                "type": Path,
                "help": "certificates that the service's is trusted by (those of the system)",
            },
            "--spool": {
                "metavar": "DIR",
                "type": Path,
                "default": given("METIS_SENTINEL_SPOOL", SPOOL),
                "help": f"where snapshots wait for the service (METIS_SENTINEL_SPOOL, {SPOOL})",
            },
            "--spool-keep": {
                "metavar": "N",
                "type": number,
                "default": 1000,
                "help": "no more than N wait; the oldest are dropped, and counted (1000)",
            },
        },
    }


def duration(text: str) -> int:
    """Seconds of a text such as 90s, 15m, 12h or 30d; raises argparse's error for others."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 1 <= seconds <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90s, 15m, 12h or 30d")
    return seconds


def number(text: str) -> int:
    """How many files are kept; raises argparse's error for no number, or one beyond sense."""
    count = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
    if not 1 <= count <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MOST}")
    return count
