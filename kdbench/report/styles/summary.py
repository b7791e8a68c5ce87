"""The tables of Ahad, "Knowledge Distillation Techniques: Analysis and Comparison"."""

from dataclasses import replace

from kdbench.report.cells import Cell, Number, Text
from kdbench.report.figures.accuracy import training_curves
from kdbench.report.model_groups import ModelGroup, is_distilled, model_groups
from kdbench.report.numbers import number
from kdbench.report.styles import STYLES, Layout, shown
from kdbench.report.table import Column, Field, Row, Table, finished, metric_field, model_table
from kdbench.report.tables.fidelity import examples, mismatches
from kdbench.report.tables.summary import summary as summary_table
from kdbench.report.tables.training import converged, convergence
from kdbench.results.records import Axes, RunRecord

_HEADS = {
    "Top-1": "Top-1 Accuracy",
    "Top-5": "Top-5 Accuracy",
    "Avg. latency": "Avg. Latency",
    "Model size": "Model Size",
    "Energy / run": "Energy / Run",
    "MACs / batch": "MACs / Batch",
}
_COMPARED = range(2, 7)  # numbers of students that fit side by side, one column each
_STANDARDIZED = {
    "Model": "Setup",
    "KL to teacher": "KL Divergence (ORIGINAL)",
    "KL, standardized": "KL Divergence (STANDARDIZED)",
    "Rank correlation": "Ranking Correlation (Spearman)",
    "Prediction": "Prediction Correctness",
    "Sample": "Sample",
}
_DIFFERENCES = (
    "Differences from the study: the teacher has a row, numbers have intervals, sizes are of the ONNX file in decimal "
    "units (there MiB of a PyTorch file), and MACs exclude normalisation and pooling (there they are thop's: "
    "`kdbench macs MODEL --convention thop`)."
)


@STYLES.register("summary")
def summary(record: RunRecord) -> Layout:
    """Accuracy, latency, size, energy and MACs of every model, methods side by side (after Ahad)."""
    full = _with_heads(summary_table(record), _HEADS)
    tables = (
        replace(full, title="Quantitative Analysis Summary", notes=(*full.notes, _DIFFERENCES)),
        _comparison(record, full),
        replace(mismatches(record), title="Mismatch Cases"),
        _standardization(record),
        _sub_students(record),
    )
    after = 'Ahad, "Knowledge Distillation Techniques: Analysis and Comparison"'
    return Layout(after, shown(tables), (training_curves,))


def _with_heads(table: Table, heads: dict[str, str]) -> Table:
    """Return the table with the study's heads."""
    return replace(table, columns=tuple(replace(c, head=heads.get(c.head, c.head)) for c in table.columns))


def _comparison(record: RunRecord, full: Table) -> Table:
    """Return the distilled students, one column each, without the size and with the epoch of convergence."""
    distilled = [group for group in model_groups(record) if group.role == "student" and is_distilled(group)]
    labels = {group.label for group in distilled}
    kept = full.select([index for index, column in enumerate(full.columns) if column.head != "Model Size"])
    chosen = [row for row in kept.rows if row.cells[0].text in labels]
    rows = [Row(tuple(map(_unmarked, row.cells)), ranking="students") for row in chosen]
    compared = finished("", kept.columns, rows)
    body = [
        *(
            Row((Text(column.head), *(row.cells[index] for row in compared.rows)))
            for index, column in enumerate(compared.columns[1:], 1)
        ),
        Row((Text("Convergence Speed"), *map(_convergence, distilled))),
    ]
    heads = (Column("Metric", numeric=False), *(Column(group.label) for group in distilled))
    note = f"Convergence: {convergence(record)}. Bold: the best of its row."
    shown_rows = tuple(body) if len(distilled) in _COMPARED else ()
    return Table("Quantitative Comparison Table", heads, shown_rows, (note,), compared.footnotes)


def _unmarked(cell: Cell) -> Cell:
    """Return a cell as it was before its table was finished."""
    return replace(cell, best=False, mark=None) if isinstance(cell, Number) else cell


def _convergence(student: ModelGroup) -> Text:
    run = student.cards[0].training
    return Text("–") if run is None else Text(f"epoch {converged(run)} of {run.epochs}")


def _standardization(record: RunRecord) -> Table:
    """Return samples on which standardized logits rank the students correctly, and raw ones do not."""
    table = examples(record)
    heads = [column.head for column in table.columns]
    table = _with_heads(table.select([heads.index(head) for head in _STANDARDIZED]), _STANDARDIZED)
    words = {"right": "CORRECT", "wrong": "WRONG"}

    def cell(shown: Cell) -> Cell:
        return replace(shown, text=words.get(shown.text, shown.text)) if isinstance(shown, Text) else shown

    rows = tuple(replace(row, cells=tuple(map(cell, row.cells))) for row in table.rows)
    return replace(table, title="Logit Standardization", rows=rows)


def _sub_students(record: RunRecord) -> Table:
    """Return the students next to the one that is fused from several; nothing if there is none."""
    students = [group for group in model_groups(record) if group.role != "teacher"]
    fused = any(group.cards[0].architecture == "fused" for group in students)

    def parameters(group: ModelGroup, _: Axes) -> Number:
        size = number(record, group, "size_bytes")
        return replace(number(record, group, "parameters"), aside=size.text if size.value is not None else "")

    fields = [
        Field(Column("Parameter Count (Size)"), parameters),
        *(metric_field(record, f"top{k}", head=_HEADS[f"Top-{k}"], unit="") for k in (1, 5)),
    ]
    return model_table("Comparison Table", students if fused else [], fields)
