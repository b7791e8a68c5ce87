"""Reading JSON whose values can be written again: finite numbers of at most 64 bits, and text that UTF-8 can encode."""

from __future__ import annotations

import json
import re
from typing import Any

_LARGEST = 1e300  # number with decimals
_SHOWN_DIGITS = 20
# Replaces every digit by 0 and every byte that may precede a number by a space, so that long numbers are found by
# searching for plain text, ten times faster than by a regular expression.
_SHAPE = bytes.maketrans(b"0123456789:[,-\t\n\rE", b"0" * 10 + b" " * 7 + b"e")
_NINETEEN_DIGITS, _LARGE_EXPONENT = b" " + b"0" * 19, b"e000"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def plain_json(text: str) -> Any:
    """Return the value of JSON text that can be written again.

    Raises ValueError for text that is not JSON, for a number that is not finite or exceeds 64 bits, and for half of a
    surrogate pair, which UTF-8 cannot encode; RecursionError for text that is nested too deeply.
    """
    value = json.loads(text, parse_constant=_refused)
    if is_suspicious(text.encode(errors="surrogatepass")):  # checking each value always would double the time
        pending = [value]
        while pending:
            item = pending.pop()
            if isinstance(item, dict):
                pending += [*item, *item.values()]
            elif isinstance(item, list):
                pending += item
            elif isinstance(item, str):
                item.encode()  # raises UnicodeEncodeError, a ValueError
            elif isinstance(item, (int, float)) and not abs(item) < (_LARGEST if isinstance(item, float) else 2**63):
                raise ValueError(f"a number is too large: {str(item)[:_SHOWN_DIGITS]}…")
    return value


def is_suspicious(text: bytes) -> bool:
    """Return whether JSON text may contain something that `plain_json` refuses, apart from NaN and infinities.

    It looks for surrogates, numbers with 19 or more digits, and exponents with three or more digits.
    """
    if b"\\u" in text and _SURROGATE.search(text):
        return True
    shape = text.translate(_SHAPE, b"+")
    if _NINETEEN_DIGITS in shape:
        return True
    place = -1
    while (place := shape.find(_LARGE_EXPONENT, place + 1)) >= 0:
        if _ends_number(shape, place - 1):
            return True
    return False


def _ends_number(shape: bytes, place: int) -> bool:
    """Return whether a number ends at `place`, not a hash or a word that has digits there."""
    start = place
    while start >= 0 and shape[start] in b"0.":
        start -= 1
    return start < place and (start < 0 or shape[start] in b" ")


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")
