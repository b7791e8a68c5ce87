"""Messages that differ only in their quantities, as one message with the range of each quantity."""

import re
from collections.abc import Sequence

# A number with a unit, or one that counts. Others identify something, such as a class, a core or a batch size, and
# parts of a longer quantity such as "1 min 20 s" have no range of their own.
_QUANTITY = re.compile(
    r"(?P<limit>\bup to |\bat least )?(?<![\w.,/-])(?<!min )(?P<number>\d+(?:,\d{3})*(?:\.\d+)?)"
    r"(?= (?:%|ns|µs|ms|s|kB|MB|GB|of|cores|sessions|pages|casts)(?!\w))"
)


def form_of(message: str) -> str:
    """Return a message without the values of its quantities: equal for messages that `with_ranges` can join."""
    return _QUANTITY.sub(lambda match: f"{match['limit'] or ''}#", message)


def with_ranges(messages: Sequence[str]) -> str:
    """Return messages of one form as one: `low to high` for a quantity that differs, for `up to` the highest value.

    >>> with_ranges(["sessions differ by 12 %", "sessions differ by 16 %", "sessions differ by 14 %"])
    'sessions differ by 12 to 16 %'
    """
    values = iter(zip(*([m["number"] for m in _QUANTITY.finditer(message)] for message in messages), strict=True))
    return _QUANTITY.sub(lambda match: f"{match['limit'] or ''}{_range(next(values), match['limit'])}", messages[0])


def _range(numbers: Sequence[str], limit: str | None) -> str:
    ordered = sorted(set(numbers), key=lambda number: float(number.replace(",", "")))
    if len(ordered) == 1 or limit:
        return ordered[0] if limit == "at least " else ordered[-1]
    return f"{ordered[0]} to {ordered[-1]}"
