"""Model cards for the Hugging Face Hub: a README for each model, whose head has the results as a `model-index`."""

from pathlib import Path
from typing import Any

from kdbench import extras
from kdbench.characters import one_line
from kdbench.files import storage
from kdbench.report import FORMATS, Content
from kdbench.report.cells import portable
from kdbench.report.model_groups import ModelGroup, dataset, is_distilled, model_groups, network, teacher_of
from kdbench.report.numbers import number
from kdbench.report.table import Table, finished
from kdbench.report.tables.summary import ratios, summary
from kdbench.report.text import markdown, method
from kdbench.results.metrics import metric as declared
from kdbench.results.records import RunRecord
from kdbench.results.records.index import once_per_record

# The Hub's names of metrics; the others are only in the card's tables.
_METRIC_TYPES = {"top1": "accuracy", "top5": "accuracy", "balanced_accuracy": "accuracy"} | {
    id_: id_ for id_ in ("mse", "rmse", "mae", "r2")
}
_ORDERS = {"NCHW": "image", "NHWC": "image"}


@FORMATS.register("hub-card")
def write(content: Content, folder: Path) -> list[Path]:
    """Write a README for the Hugging Face Hub for each model, `hub-cards/MODEL.md`.

    Raises InputError without huggingface_hub.
    """
    cards = storage.make_folder(folder / "hub-cards")
    paths = []
    for group in model_groups(content.host):
        paths.append(cards / f"{group.cards[0].id}.md")
        storage.write_text(paths[-1], card(content.host, group))
    return paths


def card(record: RunRecord, group: ModelGroup) -> str:
    """Return the card of a model, or of the seeds of one, as Markdown with a head of YAML."""
    first, teacher = group.cards[0], teacher_of(record, group)
    kept = {group.label, teacher}
    tables = [table for whole in _tables(record) if (table := _rows_of(whole, kept)).rows]
    return "\n\n".join([
        f"---\n{_head(record, group)}\n---",
        f"# {markdown.prose(group.label)}",
        markdown.prose(_description(group, teacher)),
        *(part for table in tables for part in (f"## {markdown.prose(table.title)}", markdown.table(table))),
        "## Measured on",
        markdown.table(_machine(record)),
        "## Files",
        f"- {markdown.code(first.file)}, SHA-256 {markdown.code(first.sha256)}",
        "kdbench measured it by",
        markdown.code_block(portable(record.command), "sh"),
    ]) + "\n"  # fmt: skip


@once_per_record
def _tables(record: RunRecord) -> list[Table]:
    return [summary(record), ratios(record)]


def _description(group: ModelGroup, teacher: str | None) -> str:
    first = group.cards[0]
    if first.variant is not None:
        model = f"`{first.variant.of}` compressed by `{first.variant.method}`"
    elif first.training is not None:
        training = first.training
        model = f"{network(group)}, trained for {training.epochs} epochs with the objective {training.objective}"
    else:
        model = network(group)
    relation = f"distilled from `{teacher}`" if is_distilled(group) else f"compared with `{teacher}`"
    return f"{model}{f'; {relation}' if teacher else ''}. {first.parameters:,} parameters, ONNX opset {first.opset}."


def _rows_of(table: Table, labels: set[str | None]) -> Table:
    """Return the rows of the models `labels`, with their own footnotes."""
    return finished(table.title, table.columns, [row for row in table.rows if row.cells[0].text in labels], table.notes)


def _machine(record: RunRecord) -> Table:
    """Return what is known of the machine and of the libraries; the protocol is in the report."""
    known = method.environment(record)
    rows = [
        row for row in known.rows if row.cells[1].text != "unknown" and not row.cells[0].text.startswith("protocol")
    ]
    return finished(known.title, known.columns, rows)


def _data_set(record: RunRecord) -> str | None:
    """Return the public name of the data set; None for the user's own files."""
    name = one_line((dataset(record) or "").split(":")[0])
    return name if name and name not in {"folder", "npz"} else None


def _head(record: RunRecord, group: ModelGroup) -> str:
    """Return the YAML of the head, by the Hub's own library."""
    extras.require("hub", "the format hub-card")
    from huggingface_hub import EvalResult, ModelCardData

    first = group.cards[0]
    data = _data_set(record)
    kind = _ORDERS.get(first.layout, "tabular")
    task = f"{kind}-{'regression' if first.targets else 'classification'}"
    results = [
        EvalResult(
            task_type=task,
            dataset_type=data or "test",
            dataset_name=data or one_line(f"test set {str(record.protocol.get('test_set_sha256', ''))[:12]}").strip(),
            dataset_split="test",
            metric_type=type_,
            metric_name=declared(id_).title,
            metric_value=value,
        )
        for id_, type_ in _METRIC_TYPES.items()
        if (value := number(record, group, id_).value) is not None
    ]
    values: dict[str, Any] = {
        "model_name": group.label,
        "library_name": "onnx",
        "pipeline_tag": task,
        "tags": ["onnx", "kdbench", *(["knowledge-distillation"] if is_distilled(group) else []), *_compression(group)],
    }
    if results:
        values["eval_results"] = results
    if data and results:
        values["datasets"] = [data]
    return str(ModelCardData(**values).to_yaml()).strip()


def _compression(group: ModelGroup) -> list[str]:
    first = group.cards[0]
    tags = [one_line(first.variant.method)] if first.variant is not None else []
    return [
        *tags,
        *(["pruned"] if first.pruned is not None else []),
        *(["quantized"] if first.bits is not None else []),
    ]
