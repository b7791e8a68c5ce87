"""JSON that can be written again: finite numbers of at most 64 bits, and text that a file can hold."""

from __future__ import annotations

import json
import re
from typing import Any

_LARGEST = 1e300  # number with decimals
_SHOWN_DIGITS = 20
# Every digit as a zero, every byte that may precede a number as a space: text of one shape is found without a pattern,
# ten times as fast.
_SHAPE = bytes.maketrans(b"0123456789:[,-\t\n\rE", b"0" * 10 + b" " * 7 + b"e")
_NINETEEN_DIGITS, _LARGE_EXPONENT = b" " + b"0" * 19, b"e000"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def plain_json(text: str) -> Any:
    """Return the value of JSON text that can be written again.

    Raises ValueError for text that is not JSON, for a number that is not finite or beyond 64 bits, and for half of a
    surrogate pair, which no file can hold; RecursionError for text that is nested too deeply.
    """
    value = json.loads(text, parse_constant=_refused)
    if is_suspicious(text.encode(errors="surrogatepass")):  # looking at each value would double the time
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if isinstance(one, dict):
                waiting += [*one, *one.values()]
            elif isinstance(one, list):
                waiting += one
            elif isinstance(one, str):
                one.encode()  # raises UnicodeEncodeError, a ValueError
            elif isinstance(one, (int, float)) and not abs(one) < (_LARGEST if isinstance(one, float) else 2**63):
                raise ValueError(f"a number is too large: {str(one)[:_SHOWN_DIGITS]}…")
    return value


def is_suspicious(text: bytes) -> bool:
    """Return whether JSON text may hold something that `plain_json` refuses, NaN and infinities aside.

    That is half of a surrogate pair, or a number of 19 digits or three digits of exponent.
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
    """Return whether there are digits up to `place` that are a number's, and not part of a hash or a word."""
    start = place
    while start >= 0 and shape[start] in b"0.":
        start -= 1
    return start < place and (start < 0 or shape[start] in b" ")


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")
