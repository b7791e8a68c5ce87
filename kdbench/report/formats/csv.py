"""`report.csv`: every measurement and pair in tidy long form, one row each, numbers in their declared units.

`layers.csv`, beside it: every layer of a profile, one row each. In a style: `report-STYLE.csv`, its first table as it
is shown, with value, low and high of each number, and `report-STYLE-2.csv` and so on for the others.
"""

import csv
import io
from pathlib import Path

from kdbench import storage
from kdbench.report import FORMATS, Content
from kdbench.report.layers import layers_csv
from kdbench.report.tabular import table_csv
from kdbench.results.metrics import metric
from kdbench.results.records import Measurement, Pair, RunRecord

_BEFORE = ("run", "model", "name", "role", "seed", "teacher", "metric")
_AFTER = ("value", "unit", "low", "high", "level", "status", "n", "evidence", "source", "reason", "hint")
_USUAL_AXES = ("provider", "threads", "batch")  # always there, so that files of different records can be joined


@FORMATS.register("csv")
def write(content: Content, folder: Path) -> list[Path]:
    """Write `report.csv`, and `layers.csv` where layers were profiled, or the style's tables; return their paths."""
    record = content.record
    if content.style is None:
        texts = {"report.csv": render(record), **({"layers.csv": layers_csv(record)} if record.layers else {})}
    else:
        places = ("", *(f"-{place}" for place in range(2, len(content.tables) + 1)))
        texts = {
            f"{content.stem}{place}.csv": table_csv(table) for place, table in zip(places, content.tables, strict=True)
        }
    for name, text in texts.items():
        storage.write_text(folder / name, text)
    return [folder / name for name in texts]


def render(record: RunRecord) -> str:
    """Return the table as CSV text; an absent value is an empty field, its reason in `reason`.

    Columns: run, model, name, role, seed, teacher (of a pair), metric, one per axis, value, unit, low, high,
    level, status, n, evidence, source, reason, hint.
    """
    findings: list[Measurement | Pair] = [*record.measurements, *record.pairs]
    others = sorted({axis for finding in findings for axis in finding.axes} - set(_USUAL_AXES))
    axes = (*_USUAL_AXES, *others)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=[*_BEFORE, *axes, *_AFTER], lineterminator="\n")
    writer.writeheader()
    writer.writerows(_fields(record, finding, axes) for finding in findings)
    return stream.getvalue()


def _fields(record: RunRecord, finding: Measurement | Pair, axes: tuple[str, ...]) -> dict[str, object]:
    one = finding if isinstance(finding, Measurement) else None
    pair = finding if isinstance(finding, Pair) else None
    card = record.cards[finding.model if isinstance(finding, Measurement) else finding.student]
    interval = finding.interval
    return {
        "run": record.name,
        "model": card.id,
        "name": card.name,
        "role": card.role,
        "seed": card.seed,
        "teacher": pair.teacher if pair else None,
        "metric": finding.metric,
        **{axis: finding.axes.get(axis) for axis in axes},
        "value": finding.value,
        "unit": metric(finding.metric).unit,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "level": interval.level if interval else None,
        "status": finding.status,
        "n": finding.n,
        "evidence": finding.evidence,
        "source": one.source if one else None,
        "reason": finding.reason,
        "hint": one.hint if one else None,
    }
