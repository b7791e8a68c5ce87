"""CSV fields that a spreadsheet shows unchanged, on one line, and never evaluates as formulas."""

import re

from kdbench.characters import one_line

# What a spreadsheet interprets as a formula, also after blanks and quotes, and with full-width signs.
_FORMULA = re.compile(r"[\s'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"-|[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def field(value: object) -> object:
    """Return a value as a field: text on one line, with an apostrophe before what looks like a formula: `'=1+1`."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
