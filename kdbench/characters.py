r"""Characters that are unsafe to display: they control the program that displays them, or mislead the reader.

Names and messages come from files, so any character may be in them. Control characters change a terminal's state and
are forbidden in XML. Direction marks change the order in which text is shown, and invisible characters make two names
look alike. Half of a surrogate pair cannot be encoded. Each is shown as its code instead, such as `\x1b` or `\u202e`.

Every format escapes text in one place, which uses this one: `report.text.markdown` for Markdown, `report.render.html`
for HTML, `report.render.spreadsheet` for CSV, `report.render.junit` for XML, `report.figures.drawing` for figures,
`cli.console` for the terminal and logs, and `files.storage.json_text` for JSON.
"""

from __future__ import annotations

import re

_LINE_ENDS = "\n\v\f\r\x85\u2028\u2029"
_UNSAFE = "".join(
    (
        "\\x00-\\x08\\x0e-\\x1f\\x7f-\\x84\\x86-\\x9f",  # controls, without the line ends and the tab
        "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069",  # direction marks
        "\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f",  # invisible characters
        "\ud800-\udfff\ufdd0-\ufdef",  # halves of surrogate pairs; code points that are not characters
        "".join(f"{chr(0x10000 * plane + 0xFFFE)}{chr(0x10000 * plane + 0xFFFF)}" for plane in range(17)),
    )
)
_ANY_UNSAFE = re.compile(f"[{_UNSAFE}{_LINE_ENDS}]")
_BUT_LINE_FEEDS = re.compile(f"[{_UNSAFE}{_LINE_ENDS.replace(chr(10), '')}]")
# What a CI system that reads a log takes for a command: a line of GitHub's begins with `::name`, perhaps after blanks;
# its older form `##[name]`, Azure's `##vso[name]` and TeamCity's `##teamcity[name` may be anywhere.
_COMMAND = re.compile(r"^[^\S\n]*(:)(?=:[^\n]*::)|(#)(?=#\w*\[)", re.MULTILINE)
_BREAK = re.compile(rf"(?<![ \t])[ \t]*[{_LINE_ENDS}][\s{_LINE_ENDS}]*|\t")


def visible(text: str) -> str:
    r"""Return text with each unsafe character as its code; line feeds and tabs stay: `a\x1b[31m` for a coloured `a`."""
    return _BUT_LINE_FEEDS.sub(_code, text)


def one_line(text: str) -> str:
    r"""Return `visible` text on one line: each line break with the blanks around it, and each tab, as one space."""
    return _ANY_UNSAFE.sub(_code, _BREAK.sub(" ", text))


def for_log(text: str) -> str:
    r"""Return `visible` text in which CI systems that read it find no command: `\x3a:error::a` for `::error::a`."""
    return without_commands(visible(text))


def without_commands(text: str, code: str = r"\x{:02x}") -> str:
    r"""Return text with the first character of each command to a CI system as its `code`: `\x3a:error::a`."""
    if "::" not in text and "##" not in text:
        return text
    return _COMMAND.sub(lambda match: match[0][:-1] + code.format(ord(match[0][-1])), text)


def shortened(text: str, length: int) -> str:
    """Return the first `length` characters of a longer text and an ellipsis: `abc…`."""
    return text if len(text) <= length else f"{text[:length]}…"


def escaped(json: str) -> str:
    r"""Return JSON with each unsafe character in its strings as an escape, `\\u001b`: the same value."""
    if json.replace("\n", "").isprintable():  # much faster; no unsafe character is printable
        return json
    return _BUT_LINE_FEEDS.sub(lambda match: _utf_16(match[0]), json)


def is_plain(text: str) -> bool:
    """Whether text has no unsafe character and no line end: what a name needs."""
    return _ANY_UNSAFE.search(text) is None


def _utf_16(character: str) -> str:
    """Return the escapes of a character's one or two code units."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))


def _code(match: re.Match[str]) -> str:
    point = ord(match[0])
    return f"\\x{point:02x}" if point <= 0xFF else f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"
