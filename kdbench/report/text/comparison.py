"""A comparison of two runs: its table, its verdict in a sentence, and a comment for a pull request."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from kdbench import units
from kdbench.files.cycles import cycle_collection_paused
from kdbench.report.axes import format_axes
from kdbench.report.cells import Cell, Number, Text
from kdbench.report.table import Column, Row, Table, finished, numbered, words
from kdbench.report.text.markdown import prose
from kdbench.report.text.markdown import table as markdown_table
from kdbench.results.comparisons import CHANGES, Change, ComparedMetric, Comparison
from kdbench.results.metrics import METRICS
from kdbench.results.records import Axes, Status

SYMBOLS: dict[Change, str] = {"regressed": "✗", "improved": "✓", "same": "✓", "inconclusive": "?"}
_SPECIFIC = {"batch", "beside", "class", "target"}  # axes that are always written with the metric
_USUAL: Axes = {"provider": "cpu"}  # not written
_NAMED, _LISTED = 3, 8  # most results in a sentence, and models in a list
# GitHub refuses a comment of more than 65,536 characters, and the caller may add to it; rows have about 150.
_MAX_COMMENT, _MAX_ROWS = 60_000, 200
_VERBS: dict[Change, str] = {
    "regressed": "got worse",
    "inconclusive": "could not be judged, and none is known to be worse",
    "improved": "got better, and none is worse by more than its threshold",
}
_RULE = (
    "Regressed: the interval of the change excludes zero and the change is worse than the threshold. Improved: the "
    "same in the other direction. Same: a change worse than the threshold is ruled out. Inconclusive: everything else; "
    "a value that is missing, estimated, measured on another machine or too uncertain never passes."
)
_STRATEGIES = {
    "exact": "Counted: both values are exact.",
    "paired": "Side by side: in interleaved sessions on one machine. Image by image: predictions for the same images.",
    "anchored": (
        "Relative to a model: each value is divided by that of a model whose file is the same in both runs, so that "
        "changes of the machine cancel; the change is then not the ratio of the two values shown."
    ),
    "separate": (
        "Separate: two values with their own intervals; intervals of stored times include another 4 % per run for the "
        "run-to-run variation of one machine."
    ),
}
_STRATEGY_NAMES = {"exact": "counted", "paired": "side by side", "separate": "separate"}


def comparison_table(comparison: Comparison) -> Table:
    """Return one row for each result, the worst outcomes first, with the reasons in footnotes."""
    rows = sorted(comparison.rows, key=lambda row: CHANGES.index(row.outcome))
    numbers = map(Column, ("Base", "New", "Change", "Threshold"))
    columns = [*words("Outcome", "Model", "Metric"), *numbers, *words("Compared")]
    common = _common_axes(rows)
    at = format_axes(common, " at ")
    body = [Row(tuple(_cells(row, common))) for row in rows]
    return finished(f"What changed{at}", columns, body, [at and f"Measured{at}."])


def sentence(comparison: Comparison) -> str:
    """Return the verdict in a sentence or two."""
    lost = [f"Missing models: {_listed(comparison.lost)}."] if comparison.lost else []
    return " ".join([_outcome(comparison), *lost])


def _outcome(comparison: Comparison) -> str:
    rows = comparison.rows
    if not rows:
        return "Nothing changed: the files are the same." if comparison.identical else "Nothing to compare."
    compared = f"Of {_counted(len(rows), 'value')} of {_counted(len({row.new_model for row in rows}), 'model')}"
    worst = min((row.outcome for row in rows), key=CHANGES.index)  # the rows are all there is if a model was lost
    if worst == "same":
        return f"{compared}, none is worse by more than its threshold."
    matches = [row for row in rows if row.outcome == worst]
    named = "; ".join(map(_result_text, matches[:_NAMED]))
    more = f"; and {len(matches) - _NAMED} more" if len(matches) > _NAMED else ""
    return f"{compared}, {len(matches)} {_VERBS[worst]}: {named}{more}."


def verdict_line(comparison: Comparison) -> str:
    """Return the overall outcome and its reason: `✗ REGRESSED: Of 12 values ...`."""
    return f"{SYMBOLS[comparison.overall]} {comparison.overall.upper()}: {sentence(comparison)}"


def remarks(comparison: Comparison) -> list[str]:
    """Return the remarks on models, machines, software and measurements that belong to the table."""
    select = "A missing model never passes; if that is intended, select the others with --model."
    lines = (
        (f"Identical files, not measured: {_listed(comparison.identical)}.", comparison.identical),
        (f"Missing in the new run: {_listed(comparison.lost)}. {select}", comparison.lost),
        (f"New, not compared: {_listed(comparison.added)}.", comparison.added),
    )
    notes = [f"{note[0].upper() if note.split()[0].isalpha() else note[0]}{note[1:]}." for note in comparison.notes]
    return [*(line for line, models in lines if models), *notes]


@cycle_collection_paused()
def markdown(comparison: Comparison) -> str:
    """Return a comment for a pull request: the verdict, the table, and how to read it folded away.

    Of a table that is too long for a comment, it has the first rows: those with the worst outcomes.
    """
    table, count = comparison_table(comparison), min(len(comparison.rows), _MAX_ROWS)
    while len(text := _comment(comparison, _first(table, count))) > _MAX_COMMENT and count > 1:
        count = max(min(count * _MAX_COMMENT // len(text), count - 1), 1)
    return text


def _first(table: Table, count: int) -> Table:
    """Return the first `count` rows of a table, and a note on the others."""
    if count >= len(table.rows):
        return table
    rows, footnotes = numbered(table.rows[:count])
    note = f"Shown are {count:,} of {len(table.rows):,} values, the worst outcomes first. The command's output has all."
    return replace(table, rows=rows, footnotes=footnotes, notes=(note, *table.notes))


def _comment(comparison: Comparison, table: Table) -> str:
    remarked = remarks(comparison)
    below = "\n".join(f"- {prose(remark)}" for remark in remarked)
    parts = [
        f"### {SYMBOLS[comparison.overall]} kdbench: {comparison.overall}",
        prose(sentence(comparison)),
        markdown_table(replace(table, notes=(*table.notes, *remarked))) if table.shown else below,
        _folded("How to read this", [_RULE, *explanations(comparison)]),
        _folded("What was compared", [f"Base: {comparison.base}", f"New: {comparison.new}", _when(comparison)]),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def explanations(comparison: Comparison) -> list[str]:
    """Return the explanations of the strategies in the table."""
    used = {row.way for row in comparison.rows}
    return [text for strategy, text in _STRATEGIES.items() if strategy in used]


def metric_text(row: ComparedMetric, hidden: Axes = _USUAL) -> str:
    """Return the metric and its axes, without those in `hidden`: `Latency p50, batch 1, 1 thread`."""
    axes = {key: value for key, value in row.axes.items() if (key, value) not in hidden.items()}
    return f"{METRICS[row.metric].title}{format_axes(axes, ', ')}"


def model_text(row: ComparedMetric) -> str:
    """Return the model's name, or both names if they differ."""
    return row.new_model if row.base_model == row.new_model else f"{row.base_model} → {row.new_model}"


def change_text(row: ComparedMetric) -> str:
    """Return the change with its interval: `+5.2 % [+1.1, +9.3]`, `-0.30 points`; empty without one."""
    cell = _change(row)
    unit = " points" if row.in_points else ""
    return f"{cell.plain}{unit} {cell.interval_text}".strip() if cell.value is not None else ""


def _common_axes(rows: Sequence[ComparedMetric]) -> Axes:
    """Return the axes that all results with axes share, without those in `_SPECIFIC`."""
    first, *others = [row.axes for row in rows if row.axes] or [{}]
    shared = {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
    return {key: value for key, value in shared.items() if key not in _SPECIFIC}


def _cells(row: ComparedMetric, hidden: Axes) -> Iterator[Cell]:
    write = METRICS[row.metric].text
    yield Text(f"{SYMBOLS[row.outcome]} {row.outcome}")
    yield Text(model_text(row), code=True)
    yield Text(metric_text(row, hidden))
    yield Text("–" if row.base is None else write(row.base))
    yield Text("–" if row.new is None else write(row.new))
    yield _change(row)
    yield Text(units.tolerance(row.threshold, in_points=row.in_points))
    yield Text(_strategy_text(row))


def _change(row: ComparedMetric) -> Number:
    write, reason = units.points if row.in_points else units.change, "" if _is_same_file(row) else row.reason
    status: Status = "ok" if row.change is not None else "unavailable"
    return Number(write, row.change, row.interval, status, reason=reason, hint=row.remedy)


def _strategy_text(row: ComparedMetric) -> str:
    if _is_same_file(row):
        return "the same file"
    if row.way == "paired" and row.in_points:
        return "image by image"
    return f"relative to {row.anchor}" if row.way == "anchored" else _STRATEGY_NAMES.get(row.way or "", "–")


def _is_same_file(row: ComparedMetric) -> bool:
    return row.anchor == row.new_model


def _result_text(row: ComparedMetric) -> str:
    change = change_text(row)
    return f"{model_text(row)}, {metric_text(row)}{f': {change}' if change else ''}"


def _listed(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return ", ".join([*names[:_LISTED], *more])


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _when(comparison: Comparison) -> str:
    machine = f" on {comparison.machine}" if comparison.machine else ""
    source = f"measured side by side{machine}" if comparison.remeasured else "from stored records"
    return f"Compared: {comparison.created}, {source}"


def _folded(title: str, paragraphs: list[str]) -> str:
    body = "\n\n".join(prose(paragraph) for paragraph in paragraphs)
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"
