"""The tables of Ahad, "Knowledge Distillation Techniques: Analysis and Comparison"."""

from dataclasses import replace

from kdbench.report import rows
from kdbench.report.cells import Cell, Column, Number, Row, Table, Text, finished
from kdbench.report.columns import row
from kdbench.report.figures.curves import training_curves
from kdbench.report.mismatches import examples, mismatches
from kdbench.report.settings import is_taught
from kdbench.report.styles import STYLES, Layout, shown
from kdbench.report.subjects import ModelGroup, number, subjects
from kdbench.report.training import MARGIN, converged
from kdbench.results.records import RunRecord

_HEADS = {
    "Top-1": "Top-1 Accuracy",
    "Top-5": "Top-5 Accuracy",
    "Avg. latency": "Avg. Latency",
    "Model size": "Model Size",
    "Energy / run": "Energy / Run",
    "MACs / batch": "MACs / Batch",
}
_COMPARED = range(2, 7)  # students side by side: one column each, and no more than a page is wide
_STANDARDIZED = {
    "Model": "Setup",
    "KL to teacher": "KL Divergence (ORIGINAL)",
    "KL, standardized": "KL Divergence (STANDARDIZED)",
    "Rank correlation": "Ranking Correlation (Spearman)",
    "Prediction": "Prediction Correctness",
    "Sample": "Sample",
}


@STYLES.register("summary")
def summary(record: RunRecord) -> Layout:
    """Accuracy, latency, size, energy and MACs of every model, methods side by side (after Ahad)."""
    tables = (
        _summary(record),
        _comparison(record),
        replace(mismatches(record), title="Mismatch Cases"),
        _standardization(record),
        _sub_students(record),
    )
    after = 'Ahad, "Knowledge Distillation Techniques: Analysis and Comparison"'
    return Layout(after, shown(tables), (training_curves,))


def _summary(record: RunRecord) -> Table:
    note = (
        "Other than in the study: the teacher has a row, numbers have their intervals, sizes are the ONNX file's in "
        "decimal prefixes (there MiB of a PyTorch file), and MACs leave out normalisation and pooling (there they "
        "are thop's: `kdbench macs MODEL --convention thop`)."
    )
    table = rows.summary(record)
    return replace(_headed(table), title="Quantitative Analysis Summary", notes=(*table.notes, note))


def _headed(table: Table) -> Table:
    """Return the table under the study's heads."""
    return replace(table, columns=tuple(replace(c, head=_HEADS.get(c.head, c.head)) for c in table.columns))


def _comparison(record: RunRecord) -> Table:
    """Return the students that were taught, one column each, the size left out and convergence added."""
    taught = [subject for subject in subjects(record) if subject.role == "student" and is_taught(subject)]
    whole = _headed(rows.summary(record))
    cells = {each.cells[0].text: each.cells for each in whole.rows}
    kept = [index for index, column in enumerate(whole.columns) if column.head not in {"Model", "Model Size"}]
    columns = [Column("Model", numeric=False), *(whole.columns[index] for index in kept)]
    compared = finished(
        "", columns, [row(each, *(_plain(cells[each.label][index]) for index in kept)) for each in taught]
    )
    turned = [
        Row((Text(column.head), *(each.cells[index] for each in compared.rows)))
        for index, column in enumerate(compared.columns)
        if index
    ]
    turned.append(Row((Text("Convergence Speed"), *(_convergence(each) for each in taught))))
    heads = [Column("Metric", numeric=False), *(Column(each.label) for each in taught)]
    note = (
        "Convergence: the first epoch whose validation accuracy is within "
        f"{100 * MARGIN:g} points of the best. Bold: the best of its row."
    )
    body = turned if len(taught) in _COMPARED else []
    return Table("Quantitative Comparison Table", tuple(heads), tuple(body), (note,), compared.footnotes)


def _plain(cell: Cell) -> Cell:
    """Return a cell as it was before its table was finished."""
    return replace(cell, best=False, mark=None) if isinstance(cell, Number) else cell


def _convergence(student: ModelGroup) -> Text:
    run = student.cards[0].training
    return Text("–") if run is None else Text(f"epoch {converged(run)} of {run.epochs}")


def _standardization(record: RunRecord) -> Table:
    """Return samples on which standardized logits rank the students rightly, and raw ones do not."""
    found = examples(record)
    order = [[column.head for column in found.columns].index(head) for head in _STANDARDIZED]
    columns = [replace(found.columns[index], head=_STANDARDIZED[found.columns[index].head]) for index in order]
    words = {"right": "CORRECT", "wrong": "WRONG"}
    body = [
        Row(
            tuple(replace(cell, text=words.get(cell.text, cell.text)) if isinstance(cell, Text) else cell for cell in c)
        )
        for c in ([each.cells[index] for index in order] for each in found.rows)
    ]
    return replace(found, title="Logit Standardization", columns=tuple(columns), rows=tuple(body))


def _sub_students(record: RunRecord) -> Table:
    """Return the students beside one that is made of several; nothing if there is none."""
    students = [subject for subject in subjects(record) if subject.role != "teacher"]
    some = any(subject.cards[0].architecture == "fused" for subject in students)
    heads = ("Model", "Parameter Count (Size)", "Top-1 Accuracy", "Top-5 Accuracy")
    columns = [
        Column(head, better, numeric=index > 0)
        for index, (head, better) in enumerate(zip(heads, (None, None, True, True), strict=True))
    ]
    body = [
        row(each, _parameters(record, each), number(record, each, "top1"), number(record, each, "top5"))
        for each in (students if some else [])
    ]
    return finished("Comparison Table", columns, body)


def _parameters(record: RunRecord, student: ModelGroup) -> Number:
    size = number(record, student, "size_bytes")
    return replace(number(record, student, "parameters"), aside=size.text if size.value is not None else "")
