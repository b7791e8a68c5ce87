"""The best points of a search: the chosen values, the goal's number, and the number of each limit."""

from collections.abc import Iterator

from kdbench import units
from kdbench.characters import one_line
from kdbench.report.cells import Cell, Number, Text
from kdbench.report.model_groups import group_of
from kdbench.report.numbers import number
from kdbench.report.scores import score_of
from kdbench.report.table import Column, Row, Table, finished, words
from kdbench.results.metrics import METRICS, metric
from kdbench.results.records import RunRecord
from kdbench.results.searches import SearchPoint, SearchSummary, SearchValue, search_of

MAX_ROWS = 12
_VALIDATED = {"top1", "loss", "rmse"}
_LIMIT_STATUS = {"PASS": "within", "MARGINAL": "not settled", "FAIL": "beyond", "UNKNOWN": "unknown"}


def search(record: RunRecord) -> Table:
    """Return the best points of a record's search; a table without rows if there was none."""
    summary = search_of(record)
    if summary is None:
        return finished("Search", [], [])
    groups, test = group_of(record), score_of(record).metric
    axes = list(dict.fromkeys(key for point in summary.points for key in point.values))
    goal = metric(summary.metric)
    columns = [
        *words("Model", *(key.rpartition(".")[2] for key in axes)),
        Column(_head(summary.metric), goal.higher_is_better, unit=goal.unit),
        *(Column(_head(limit.metric), unit=metric(limit.metric).unit) for limit in summary.limits),
        *([Column("Limits", numeric=False)] if summary.limits else []),
        *([Column(f"Test {METRICS[test].title}", unit=METRICS[test].unit)] if summary.metric in _VALIDATED else []),
    ]
    rows = []
    for point in [point for point in summary.points if point.model in groups][:MAX_ROWS]:
        group = groups[point.model]
        cells: list[Cell] = [Text(group.label, code=True), *(Text(_value(point.values.get(key))) for key in axes)]
        cells.append(_number(summary.metric, point.score))
        cells += [_number(limit.metric, result) for limit, result in zip(summary.limits, point.limits, strict=True)]
        cells += [Text(_LIMIT_STATUS[point.outcome])] if summary.limits else []
        cells += [number(record, group, test)] if summary.metric in _VALIDATED else []
        rows.append(Row(tuple(cells), ranking="within" if point.outcome == "PASS" else None))
    return finished("Search", columns, rows, [search_sentence(record), *_notes(summary)])


def search_sentence(record: RunRecord) -> str:
    """Return the result of a search in a sentence or two; empty without a search."""
    summary = search_of(record)
    if summary is None:
        return ""
    counts = f"{summary.trials} {'trial' if summary.trials == 1 else 'trials'}"
    early = [f"{n} {end}" for n, end in ((summary.pruned, "pruned early"), (summary.failed, "failed")) if n]
    begin = f"Of {counts} for `{summary.goal}`"
    begin += f" ({', '.join(early)})" if early else ""
    groups, points = group_of(record), [point for point in summary.points if point.model in group_of(record)]
    if not points:
        return f"{begin}, none has results."
    best = points[0]
    label, score = groups[best.model].label, _text(summary.metric, best.score)
    if not summary.limits:
        return f"{begin}, the best is `{label}`: {score}."
    within = sum(point.outcome == "PASS" for point in points)
    if within:
        return f"{begin}, {within} {'is' if within == 1 else 'are'} within the limits; the best is `{label}`: {score}."
    if best.outcome == "MARGINAL":
        open_ = sum(point.outcome == "MARGINAL" for point in points)
        return (
            f"{begin}, none is shown to be within the limits. For {open_}, the intervals leave it open; the best of "
            f"them is `{label}`: {score}. A longer measurement may settle it."
        )
    missed = ", ".join(_missed(summary, best))
    return f"{begin}, none is within the limits. The nearest is `{label}`: {score}; {missed}."


def _missed(summary: SearchSummary, point: SearchPoint) -> Iterator[str]:
    for limit, result in zip(summary.limits, point.limits, strict=True):
        if result.outcome != "PASS":
            yield f"{_text(limit.metric, result)} where the limit is `{limit.text}`"


def _notes(summary: SearchSummary) -> Iterator[str]:
    if summary.metric in _VALIDATED:
        yield (
            "The search saw scores of the validation part only. The best of many trials benefits from chance "
            "there; its score on the test part does not."
        )
    if summary.limits:
        yield "A point is within a limit where the whole interval is; not settled: where the interval straddles it."
    if len(summary.points) > MAX_ROWS:
        yield f"{len(summary.points) - MAX_ROWS} more points follow in `record.json` (`protocol.search`)."


def _number(id_: str, result: SearchValue) -> Number:
    declared = metric(id_)
    return Number(declared.text, result.value, result.interval, reason=result.reason, plus_minus=declared.plus_minus)


def _text(id_: str, result: SearchValue) -> str:
    return f"{id_} {_number(id_, result).with_interval}"


def _head(id_: str) -> str:
    title = metric(id_).title
    return f"Validation {title}" if id_ in _VALIDATED else title


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return one_line(units.integer(value) if isinstance(value, int) and not isinstance(value, bool) else str(value))
