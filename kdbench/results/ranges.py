"""Messages that differ only in their quantities, as one message with the range of each quantity."""

import re
from collections.abc import Sequence
from itertools import pairwise

# A number with a unit, or one that counts, or a range of them. Others identify something, such as a class, a core or a
# batch size, and parts of a longer quantity such as "1 min 20 s" have no range of their own.
_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_QUANTITY = re.compile(
    rf"(?P<limit>\bup to |\bat least )?(?<![\w.,/–-])(?<!min )(?P<numbers>{_NUMBER}(?: to {_NUMBER})?)"
    r"(?= (?:%|ns|µs|ms|s|kB|MB|GB|of|cores|sessions|pages|casts)(?!\w))"
)


def form_of(message: str) -> tuple[str, ...]:
    """Return a message without the values of its quantities: equal for messages that `with_ranges` can join."""
    places = [0, *(place for match in _QUANTITY.finditer(message) for place in match.span("numbers")), len(message)]
    return tuple(message[start:end] for start, end in [*pairwise(places)][::2])


def with_ranges(messages: Sequence[str]) -> str:
    """Return messages of one form as one: `low to high` for a quantity that differs, for `up to` the highest value.

    >>> with_ranges(["sessions differ by 12 %", "sessions differ by 16 %", "sessions differ by 14 %"])
    'sessions differ by 12 to 16 %'
    """
    values = iter(zip(*([m["numbers"] for m in _QUANTITY.finditer(message)] for message in messages), strict=True))
    return _QUANTITY.sub(lambda match: f"{match['limit'] or ''}{_range(next(values), match['limit'])}", messages[0])


def _range(texts: Sequence[str], limit: str | None) -> str:
    numbers = [number for text in dict.fromkeys(texts) for number in text.split(" to ")]
    low, high = (choose(numbers, key=lambda number: float(number.replace(",", ""))) for choose in (min, max))
    if low == high or limit:
        return low if limit == "at least " else high
    return f"{low} to {high}"
