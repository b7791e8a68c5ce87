"""A figure of a series: one artist of each kind, however many points, gaps and changes there are."""

from matplotlib.axes import Axes
from report.figures.svg_words import words

from kdbench.report.figures.history import draw_series
from kdbench.results.histories import Change, Level, Point, Series
from kdbench.results.records import Interval


def series(points: int, changes: int) -> Series:
    """A series with a gap in each tenth place, a point that does not count after it, and changes of growing size."""
    made = []
    for place in range(points):
        value = None if place % 10 == 0 else 1000.0 + place
        bounds = Interval(low=value - 5, high=value + 5) if value else None
        reason = "" if place % 10 > 1 else "an estimate"
        made.append(Point(run=f"r{place}", created="2026-01-01T00:00:00", value=value, interval=bounds, reason=reason))
    steps = [
        Change(at=5 + 2 * n, change=1.1 + n / 100, interval=Interval(low=1.0, high=1.5), better=n % 2 == 0)
        for n in range(changes)
    ]
    levels = [Level(first=2 * n, last=2 * n + 1, value=1000.0 + n) for n in range(changes)]
    return Series(
        model="m",
        metric="latency_p50_ns",
        unit="ns",
        relative=True,
        points=tuple(made),
        changes=tuple(steps),
        levels=tuple(levels),
    )


def drawn(of: Series):
    texts = [f"change {place}" for place in range(len(of.changes))]
    return draw_series(of, 1, "a title", [point.run for point in of.points], texts)


def test_the_calls_to_matplotlib_do_not_grow_with_the_points(monkeypatch) -> None:
    calls = []

    def counting(name):
        draw = getattr(Axes, name)
        monkeypatch.setattr(Axes, name, lambda self, *args, **kw: calls.append(name) or draw(self, *args, **kw))

    for name in ("plot", "errorbar", "axvline", "axvspan", "add_collection", "annotate"):
        counting(name)
    counts = []
    for points, changes in ((60, 20), (240, 20)):
        calls.clear()
        drawn(series(points, changes))
        counts.append(len(calls))
    assert counts[0] == counts[1] < 40


def test_the_largest_changes_have_a_text() -> None:
    figure = drawn(series(100, 30))
    shown = {text for text in words(figure.svg) if text.startswith("change ")}
    assert shown == {f"change {place}" for place in range(6, 30)}
    assert "describes 6 more, smaller changes" in figure.caption
    assert "more, smaller" not in drawn(series(100, 3)).caption


def test_intervals_gaps_and_points_that_do_not_count_are_drawn() -> None:
    svg = drawn(series(40, 1)).svg
    assert svg.count("fill: #ffffff") > 4  # hollow points, beside the background
    assert svg.count("opacity: 0.12") == 4
