"""How much more accurate a student is than its baselines, such as the same network trained on labels alone."""

from collections.abc import Iterator
from dataclasses import replace

from kdbench.report.cells import Number, Text
from kdbench.report.model_groups import ModelGroup, group_of, mean_over_seeds, model_groups, settings
from kdbench.report.table import Column, Row, Table, column, finished
from kdbench.results.metrics import metric as declared
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Measurement, RunRecord

_GAINS = metrics_in("gain")
_NOTE = (
    "Gain: top-1 or top-5 of the model minus that of its baseline, in percentage points, on the same test samples. The "
    "baseline is the same network trained on the labels of the same images alone, or the other model of a difference "
    "in the study. An interval above 0 shows a gain."
)


def gains(record: RunRecord) -> Table:
    """Return a row for each model and each of its baselines."""
    columns = [
        Column("Model", numeric=False),
        Column("Baseline", numeric=False),
        *(column(metric, head=f"{declared(metric).title} (points)", unit="") for metric in _GAINS),
    ]
    pairs = [(group, baseline) for group in model_groups(record) for baseline in baselines(record, group)]
    rows = [
        Row(
            (
                Text(group.label, code=True),
                Text(baseline.label, code=True),
                *(gain(record, group, baseline, metric) for metric in _GAINS),
            ),
            ranking=baseline.label,
        )
        for group, baseline in pairs
    ]
    return finished("Gain over a baseline", columns, rows, [_NOTE, *_unequal_epochs(record, pairs)] if rows else [])


def baselines(record: RunRecord, group: ModelGroup) -> list[ModelGroup]:
    """Return the groups that the accuracy of `group` was compared with, sample by sample, in the record's order."""
    of_model = group_of(record)
    found = {
        other.ids: other
        for measurement in record.measurement_index.having(_GAINS[0])
        if measurement.model in group.ids and (other := of_model.get(str(measurement.axes["beside"]))) is not None
    }
    return list(found.values())


def gain(record: RunRecord, group: ModelGroup, baseline: ModelGroup, metric: str) -> Number:
    """Return a gain of `group` over `baseline`: of several seeds, the mean of the gains of models of the same seed."""
    write, results = declared(metric).text, list(_by_seed(record, group, baseline, metric))
    if not results:
        return Number(write, status="unavailable", reason="not compared on the same samples")
    valued = [(m.value, m.interval) for m in results if m.value is not None]
    first = results[0]
    if not valued:
        return Number(write, status=first.status, reason=first.reason or "")
    trained_again = any(len(models.distinct) > 1 for models in (group, baseline))
    value, interval = mean_over_seeds(valued) if trained_again and len(valued) > 1 else valued[0]
    cell = Number(write, value, interval)
    return cell if len(valued) == len(results) else replace(cell, aside=f"{len(valued)} of {len(results)} seeds")


def _by_seed(record: RunRecord, group: ModelGroup, baseline: ModelGroup, metric: str) -> Iterator[Measurement]:
    for card in group.cards:
        found = (record.find(card.id, metric, beside=other) for other in baseline.ids)
        yield from (measurement for measurement in found if measurement is not None)


def _unequal_epochs(record: RunRecord, pairs: list[tuple[ModelGroup, ModelGroup]]) -> Iterator[str]:
    """Yield a note that names the pairs whose models were trained for different numbers of epochs, if there are any."""
    epochs = [[(group.label, settings(record, group).epochs) for group in pair] for pair in pairs]
    unequal = [
        f"`{name}` {n} and `{other}` {m}" for (name, n), (other, m) in epochs if n is not None and m not in {None, n}
    ]
    if unequal:
        yield f"Trained for different numbers of epochs: {'; '.join(unequal)}."
