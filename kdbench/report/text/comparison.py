"""What a comparison says to a person: its table, its verdict in a sentence, and a comment for a pull request."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from kdbench import units
from kdbench.report.axes import format_axes
from kdbench.report.cells import Cell, Number, Text
from kdbench.report.render.markdown import prose
from kdbench.report.render.markdown import table as markdown_table
from kdbench.report.table import Column, Row, Table, finished
from kdbench.results.comparisons import CHANGES, Change, Compared, Comparison
from kdbench.results.metrics import METRICS
from kdbench.results.records import Axes

SYMBOLS: dict[Change, str] = {"regressed": "✗", "improved": "✓", "same": "✓", "inconclusive": "?"}
_TOLD_EACH = {"batch", "beside", "class"}  # axes that are part of what a number is of
_USUAL: Axes = {"provider": "cpu"}  # goes without saying
_NAMED, _LISTED = 3, 8  # so many numbers are named in a sentence, and models in a list
_VERBS: dict[Change, str] = {
    "regressed": "got worse",
    "inconclusive": "could not be judged, and none is known to be worse",
    "improved": "got better, and none is worse by more than its threshold",
}
_RULE = (
    "A number has regressed where the interval of its change excludes no change and the change is worse than the "
    "threshold; improved is the mirror image. It is the same where a change worse than the threshold is ruled out, and "
    "inconclusive in every other case: a number that is missing, unstable, estimated, measured on another machine or too "
    "uncertain never passes."
)
_WAYS = {
    "exact": "Counted: the two numbers are exact.",
    "paired": "Side by side: in interleaved sessions on one machine. Image by image: the answers to the same images.",
    "anchored": (
        "Beside a model: each number stands to that of a model whose file is the same in both runs, so that what the "
        "machine did in between cancels; the change is then not the quotient of the two numbers."
    ),
    "separate": (
        "Apart: two numbers with their own intervals; those of stored times hold another 4 % a run, by which one "
        "machine's times move between runs."
    ),
}
_WAY_NAMES = {"exact": "counted", "paired": "side by side", "separate": "apart"}


def comparison_table(comparison: Comparison) -> Table:
    """Return one row for each number, the worst outcomes first, with why it is what it is in the footnotes."""
    rows = sorted(comparison.rows, key=lambda row: CHANGES.index(row.outcome))
    columns = (
        Column("Outcome", numeric=False),
        Column("Model", numeric=False),
        Column("Metric", numeric=False),
        Column("Base"),
        Column("New"),
        Column("Change"),
        Column("Threshold"),
        Column("Compared", numeric=False),
    )
    shared = _shared_axes(rows)
    at = format_axes(shared, " at ")
    notes = [f"Taken{at}."] if at else []
    return finished(f"What changed{at}", columns, [Row(tuple(_cells(row, shared))) for row in rows], notes)


def sentence(comparison: Comparison) -> str:
    """Return the verdict in a sentence or two."""
    gone = [f"Gone: {_listed(comparison.lost)}."] if comparison.lost else []
    return " ".join([_of_numbers(comparison), *gone])


def _of_numbers(comparison: Comparison) -> str:
    rows = comparison.rows
    if not rows:
        return "Nothing changed: the files are the same." if comparison.identical else "There was nothing to compare."
    of_all = f"Of {_counted(len(rows), 'number')} of {_counted(len({row.new_model for row in rows}), 'model')}"
    worst = min((row.outcome for row in rows), key=CHANGES.index)  # all that is known where a model was lost
    if worst == "same":
        return f"{of_all}, none is worse by more than its threshold."
    found = [row for row in rows if row.outcome == worst]
    named = "; ".join(map(_in_words, found[:_NAMED]))
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"{of_all}, {len(found)} {_VERBS[worst]}: {named}{more}."


def verdict_line(comparison: Comparison) -> str:
    """Return the outcome of all and what it rests on: `✗ REGRESSED: 1 of 12 numbers ...`."""
    return f"{SYMBOLS[comparison.overall]} {comparison.overall.upper()}: {sentence(comparison)}"


def remarks(comparison: Comparison) -> list[str]:
    """Return what must be said beside the table: of models, machines, software and measurements."""
    same = [f"The same file on both sides, not measured: {_listed(comparison.identical)}."]
    gone = [f"Gone, which never passes: {_listed(comparison.lost)}. Where that is meant, name the others with --model."]
    added = [f"New, and compared with nothing: {_listed(comparison.added)}."]
    notes = [f"{note[0].upper() if note.split()[0].isalpha() else note[0]}{note[1:]}." for note in comparison.notes]
    told = ((same, comparison.identical), (gone, comparison.lost), (added, comparison.added))
    return [*(line for lines, models in told for line in lines if models), *notes]


def markdown(comparison: Comparison) -> str:
    """Return a comment for a pull request: the verdict, the table, and how to read it folded away."""
    table, said = comparison_table(comparison), remarks(comparison)
    below = "\n".join(f"- {prose(remark)}" for remark in said)
    parts = [
        f"### {SYMBOLS[comparison.overall]} kdbench: {comparison.overall}",
        prose(sentence(comparison)),
        markdown_table(replace(table, notes=(*table.notes, *said))) if table.shown else below,
        _folded("How to read this", [_RULE, *explanations(comparison)]),
        _folded("What was compared", [f"Base: {comparison.base}", f"New: {comparison.new}", _when(comparison)]),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def explanations(comparison: Comparison) -> list[str]:
    """Return the ways of comparing that the table has, in words."""
    used = {row.way for row in comparison.rows}
    return [text for way, text in _WAYS.items() if way in used]


def metric_in_words(row: Compared, told: Axes = _USUAL) -> str:
    """Return what was measured and where, axes that are `told` already left out: `Latency p50, batch 1, 1 thread`."""
    axes = {key: value for key, value in row.axes.items() if (key, value) not in told.items()}
    return f"{METRICS[row.metric].title}{format_axes(axes, ', ')}"


def model_in_words(row: Compared) -> str:
    """Return which model: one name, or both where they differ."""
    return row.new_model if row.base_model == row.new_model else f"{row.base_model} → {row.new_model}"


def change_in_words(row: Compared) -> str:
    """Return the change with its interval: `+5.2 % [+1.1, +9.3]`, `-0.30 points`; empty without one."""
    cell = _change(row)
    unit = " points" if row.in_points else ""
    return f"{cell.plain}{unit} {cell.interval_text}".strip() if cell.value is not None else ""


def _shared_axes(rows: Sequence[Compared]) -> Axes:
    """Return the axes at which everything was taken that has any, but for those that are told in any case."""
    taken = [row.axes for row in rows if row.axes]
    return {
        key: value
        for axes in taken[:1]
        for key, value in axes.items()
        if key not in _TOLD_EACH and all(other.get(key) == value for other in taken)
    }


def _cells(row: Compared, told: Axes) -> Iterator[Cell]:
    write = METRICS[row.metric].text
    yield Text(f"{SYMBOLS[row.outcome]} {row.outcome}")
    yield Text(model_in_words(row), code=True)
    yield Text(metric_in_words(row, told))
    yield Text("–" if row.base is None else write(row.base))
    yield Text("–" if row.new is None else write(row.new))
    yield _change(row)
    yield Text(units.tolerance(row.threshold, in_points=row.in_points))
    yield Text(_way_in_words(row))


def _change(row: Compared) -> Number:
    write = units.points if row.in_points else units.change
    return Number(
        write,
        row.change,
        row.interval,
        status="ok" if row.change is not None else "unavailable",
        reason="" if _is_same_file(row) else row.reason,
        hint=row.remedy,
    )


def _way_in_words(row: Compared) -> str:
    if _is_same_file(row):
        return "the same file"
    if row.way == "paired" and row.in_points:
        return "image by image"
    return f"beside {row.anchor}" if row.way == "anchored" else _WAY_NAMES.get(row.way or "", "–")


def _is_same_file(row: Compared) -> bool:
    return row.anchor == row.new_model


def _in_words(row: Compared) -> str:
    change = change_in_words(row)
    return f"{model_in_words(row)}, {metric_in_words(row)}{f': {change}' if change else ''}"


def _listed(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else []
    return ", ".join([*names[:_LISTED], *more])


def _counted(n: int, thing: str) -> str:
    return f"{n} {thing}{'' if n == 1 else 's'}"


def _when(comparison: Comparison) -> str:
    where = f" on {comparison.machine}" if comparison.machine else ""
    how = f"measured side by side{where}" if comparison.remeasured else "from stored records"
    return f"Compared: {comparison.created}, {how}"


def _folded(title: str, paragraphs: list[str]) -> str:
    body = "\n\n".join(prose(paragraph) for paragraph in paragraphs)
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"
