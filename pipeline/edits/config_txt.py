"""config.txt of a Raspberry Pi's firmware: settings in sections that hold for some boards or for all.

Source: https://www.raspberrypi.com/documentation/computers/config_txt.html#conditional-filters.
"""

from __future__ import annotations

from .lines import Arguments, joined, lines

FOR_ALL = "[all]"


def config_txt(text: str, arguments: Arguments, _path: str) -> str:
    """Set `name` to `value` for all boards: at the end, where the firmware lets it win."""
    kept, section = [], FOR_ALL
    for line in lines(text):
        word = line.strip()
        if word.startswith("["):
            section = word.lower()
        if section != FOR_ALL or word.partition("=")[0].rstrip() != arguments["name"]:
            kept.append(line)
    filters = [] if section == FOR_ALL else [FOR_ALL]
    return joined([*kept, *filters, f"{arguments['name']}={arguments['value']}"])
