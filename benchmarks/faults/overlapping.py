"""Which spans of time overlap: of tasks, or of the lives of processes."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Span = TypeVar("Span")


def overlaps(
    spans: Iterable[Span], begin: Callable[[Span], float], end: Callable[[Span], float]
) -> Iterator[tuple[Span, Span]]:
    """Yield each of `spans` that begins before an earlier one has ended, preceded by the earlier one that ends last."""
    last = None
    for span in sorted(spans, key=begin):
        if last is not None and end(last) > begin(span):
            yield last, span
        last = span if last is None or end(span) > end(last) else last
