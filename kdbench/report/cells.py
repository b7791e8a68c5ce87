"""The cells of a report's tables: words, or a number with its interval; and how both are written as text.

A cell holds its text. A format decides only how to set it: bold, code, a footnote mark.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial

from kdbench import units
from kdbench.results.cards import Evidence
from kdbench.results.records import Interval, Status

SHORT = 32  # longest reason, in characters, that a cell shows in full
_MAX_NAMES, _FEW_NAMES = 40, 12  # in one sentence
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_NUMBER_AND_UNIT = re.compile(r"([+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?)(\D*)")


@dataclass(frozen=True)
class Text:
    """A cell of words; `code` for a model's name."""

    text: str
    code: bool = False


@dataclass(frozen=True)
class Number:
    """A cell with a number and its interval, or the reason why there is none.

    `write` formats the value. `plus_minus`, if given, formats the value with the half-width of its interval, which then
    has no brackets. An estimate is rounded and has no interval. `aside` qualifies the value ("batch 8"). A number that
    is not `comparable` with the others of its column is shown but never the best. Numbers with the same `network` are
    in one runtime, of networks that differ in the weights only, on which they do not depend. `mark` is the number of
    its footnote.
    """

    write: Callable[[float], str]
    value: float | None = None
    interval: Interval | None = None
    status: Status = "ok"
    evidence: Evidence = "measured"
    reason: str = ""
    hint: str = ""
    aside: str = ""
    comparable: bool = True
    network: str | None = None
    best: bool = False
    mark: int | None = None
    plus_minus: Callable[[float, float], str] | None = None

    @cached_property
    def text(self) -> str:
        """The value as text, or `n/a (reason)`; in brackets only the interval of an unstable number, which needs it."""
        if self.value is None:
            return f"n/a ({shortened(self.reason)})"
        asides = [self.aside, "unstable" if self.status == "unstable" else ""]
        text = f"{self.plain} {self._bracketed if self.status == 'unstable' else ''}".rstrip()
        if self.evidence == "estimated":
            text, asides = f"~{text}", ["est.", *asides]
        return " ".join([text, *(f"({aside})" for aside in asides if aside)])

    @cached_property
    def plain(self) -> str:
        """The value as text without asides; empty if there is no value."""
        if self.value is None:
            return ""
        if self.evidence == "estimated":
            return roughly(self.value, self.write)
        if self.plus_minus is not None and self._half_width is not None:
            return self.plus_minus(self.value, self._half_width)
        return self.write(self.value)

    @property
    def interval_text(self) -> str:
        """The interval as `[low, high]`; empty if there is none or if `text` includes it."""
        return "" if self.status == "unstable" else self._bracketed

    @cached_property
    def _bracketed(self) -> str:
        hidden = self.evidence == "estimated" or self._half_width is not None
        if self.value is None or self.interval is None or hidden:
            return ""
        return bracketed(self.value, self.interval, self.write)

    @property
    def with_interval(self) -> str:
        """The text followed by the interval."""
        return f"{self.text} {self.interval_text}".rstrip()

    @property
    def _half_width(self) -> float | None:
        """Half the interval, to write after `±`; None if `plus_minus` is None or the value is not in the middle."""
        if self.value is None or self.interval is None or self.plus_minus is None:
            return None
        below, above = self.value - self.interval.low, self.interval.high - self.value
        return (below + above) / 2 if math.isclose(below, above, rel_tol=1e-3) else None

    @property
    def footnote(self) -> str:
        """The text of this cell's footnote; empty if the cell is complete without one."""
        reason = "" if self.shows_reason else sentence(self.reason)
        return f"{reason} {sentence(self.hint)}".strip() if self.reason else ""

    @property
    def shows_reason(self) -> bool:
        """Whether the cell itself shows the full reason why there is no number."""
        return self.value is None and self.reason == shortened(self.reason)

    @property
    def superscript(self) -> str:
        """The footnote's mark."""
        return "" if self.mark is None else str(self.mark).translate(_SUPERSCRIPTS)

    @property
    def competes(self) -> bool:
        """Whether the number may be the best: present, not an estimate, and comparable."""
        return self.value is not None and self.evidence != "estimated" and self.comparable

    def mapped(self, change: Callable[[float], float], write: Callable[[float], str]) -> "Number":
        """Return the number with a monotonic `change` to value and bounds, formatted by `write` without `±`."""
        value, interval = None if self.value is None else change(self.value), self.interval
        if interval is not None:
            low, high = sorted((change(interval.low), change(interval.high)))
            interval = Interval(low=low, high=high, level=interval.level)
        return replace(self, write=write, value=value, interval=interval, plus_minus=None)


Cell = Text | Number


def complement(cell: Number) -> Number:
    """Return 1 - a share, such as the error of an accuracy."""
    return cell.mapped(lambda share: 1 - share, cell.write)


def percent(share: Number) -> Number:
    """Return a share in per cent, for a head with `(%)`: `67.60`."""
    return share.mapped(lambda value: 100.0 * value, partial(units.fixed, decimals=2))


def millions(count: Number) -> Number:
    """Return a count in millions, for a head with `(M)`: `97.44`."""
    return count.mapped(lambda value: 1e-6 * value, units.two_decimals_or_more)


def quotient(above: Cell, below: Cell) -> Number | None:
    """Return one number over another that was measured at another time; its bounds follow from both intervals.

    None if one of them is not a number, or `below` is zero.
    """
    if not isinstance(above, Number) or not isinstance(below, Number) or above.value is None or not below.value:
        return None
    bounds = None
    if above.interval is not None and below.interval is not None and below.interval.low > 0:
        low, high = above.interval.low / below.interval.high, above.interval.high / below.interval.low
        bounds = Interval(low=low, high=high)
    return Number(units.ratio, above.value / below.value, bounds, comparable=False)


def listed(labels: Iterable[str]) -> str:
    """Return the names of models for a sentence, or the first of many and the number of the others."""
    names = [f"`{label}`" for label in labels]
    more = len(names) - _FEW_NAMES if len(names) > _MAX_NAMES else 0
    return f"{', '.join(names[:_FEW_NAMES])} and {more:,} more" if more else ", ".join(names)


def shortened(reason: str) -> str:
    """Return the reason, or the part of its first clause that fits into a cell."""
    reason = " ".join(reason.split())
    if len(reason) <= SHORT:
        return reason
    clause = re.split(r"[:;,(]\s?|\. | - | – ", reason, maxsplit=1)[0].strip()
    if " " in clause and len(clause) <= SHORT:  # a single word, such as "RAPL", is no reason
        return clause
    return f"{reason[: SHORT - 1].rsplit(' ', 1)[0]}…"


def sentence(text: str) -> str:
    """Return `text` with a full stop and a capital letter, unless it begins with a name: `student-kd`, `teacher: …`."""
    text = " ".join(text.split())
    if re.match(r"[a-z]+([ ,;.']|$)", text):
        text = text[0].upper() + text[1:]
    return text if not text or text[-1] in ".!?" else f"{text}."


def roughly(value: float, write: Callable[[float], str]) -> str:
    """Write a value with two significant digits: `12 mJ`, `3.1×`."""
    text = write(float(f"{value:.1e}"))
    parts = _NUMBER_AND_UNIT.fullmatch(text)
    return f"{units.significant(float(parts[1].replace(',', '')), 2)}{parts[2]}" if parts else text


def bracketed(value: float, interval: Interval, write: Callable[[float], str]) -> str:
    """Write an interval: `[5.1, 5.5]`, without the unit if both bounds have the unit of the value."""
    ends = [units.bound(write, end, value) for end in (interval.low, interval.high)]
    middle, low, high = (_NUMBER_AND_UNIT.fullmatch(text) for text in (write(value), *ends))
    if middle and low and high and middle[2] == low[2] == high[2]:
        return f"[{low[1]}, {high[1]}]"
    return f"[{', '.join(ends)}]"


# Kernel interfaces have the same names on every machine, and reasons such as "/sys/class/powercap is empty" need them.
# The look-behind excludes URLs, relative paths and words such as "images/s".
_ABSOLUTE = re.compile(r"(?<![\w./~-])(?!/(?:sys|proc|dev)/)(?:/[\w.@+~-]+)+/([\w.@+~-]+)/?")
_WINDOWS = re.compile(r"(?<!\w)[A-Za-z]:\\(?:[^\s\\\"']+\\)*([^\s\\\"']+)")


def portable(text: str) -> str:
    """Return `text` with every absolute path shortened to its last part."""
    return _WINDOWS.sub(r"\1", _ABSOLUTE.sub(r"\1", text))
