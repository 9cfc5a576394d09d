"""Texts written so that a program reads just them, and never a line or a key of its own making."""

from __future__ import annotations

_ASTRAL = 0x10000


def quoted(text: str) -> str:
    """A double-quoted scalar of YAML 1.1, YAML 1.2 and JSON alike.

    All but plain ASCII is escaped: U+2028 ends a line of YAML 1.1, and not of the others.
    """
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char == "\n":
        return "\\n"
    if " " <= char <= "~" and char not in '"\\':
        return char
    # Beyond the first plane, JSON wants two escapes and YAML one; as it stands, all read it.
    return f"\\u{ord(char):04x}" if ord(char) < _ASTRAL else char


def keyfile(text: str) -> str:
    """A value of a GLib key file (gkeyfile.c, g_key_file_parse_value_as_string), as NetworkManager reads it.

    Spaces around a value would be lost if they were not escaped.
    """
    escaped = text.replace("\\", "\\\\").replace("\t", "\\t")
    inner = escaped.strip(" ")
    before = len(escaped) - len(escaped.lstrip(" "))
    return "\\s" * before + inner + "\\s" * (len(escaped) - before - len(inner))
