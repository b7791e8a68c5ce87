"""How much more accurate a student is than its baselines, such as the same network trained on labels alone."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from kdbench.report.cells import Cell, Number, Text, listed
from kdbench.report.model_groups import (
    ModelGroup,
    entry_of,
    group_of,
    has_one_seed,
    has_seeds,
    is_distilled,
    model_groups,
    settings,
    subtable,
)
from kdbench.report.numbers import mean_over_seeds, number
from kdbench.report.table import DASH, Column, Row, Table, column, finished, note_on_bold
from kdbench.results.metrics import metric as declared
from kdbench.results.metrics import metrics_in
from kdbench.results.records import Interval, Measurement, RunRecord
from kdbench.results.records.index import once_per_record

_GAINS = metrics_in("gain")
_OF_NETWORK = ("model", "weights", "weights_key", "start", "quantize", "prune", "sub_students")
_OF_IMAGES = ("subset", "label_noise", "target_noise")
# Keys of `training` that are not settings of the optimisation; epochs are compared as they were trained.
_OF_EXECUTION = {"epochs", "threads", "device", "devices", "num_nodes", "strategy", "compile", "channels_last"}
_NOTE = (
    "Gain: top-1 or top-5 of the model minus that of its baseline, in percentage points, on the same test samples. The "
    "baseline is the same network trained on the labels of the same images alone, or the other model of a difference "
    "in the study. An interval above 0 shows a gain."
)
_ONE_SEED = (
    "One seed: the intervals cover the choice of test samples. Trainings with another seed may differ by more or less."
)
_NOTE_ON_TIME = (
    "Training time per point: the model's training time{seed} divided by its gain in top-1, where the gain's interval "
    "is above 0; its interval follows from the gain's. Training the teacher and storing its logits are not included."
)


def gains(record: RunRecord) -> Table:
    """Return a row for each model and each of its baselines."""
    columns = [
        Column("Model", numeric=False),
        Column("Baseline", numeric=False),
        *(column(metric, head=f"{declared(metric).title} (points)", unit="") for metric in _GAINS),
        Column("Training time per point"),
    ]
    pairs = [(group, baseline) for group in model_groups(record) for baseline in baselines(record, group)]
    rows = []
    for group, baseline in pairs:
        names = (Text(group.label, code=True), Text(baseline.label, code=True))
        top1, top5 = (gain(record, group, baseline, metric) for metric in _GAINS)
        rows.append(Row((*names, top1, top5, _time_per_point(record, group, top1)), ranking=baseline.label))
    on_time = _NOTE_ON_TIME.format(seed=" with the first seed" if has_seeds(record) else "")
    bold = note_on_bold((baseline.label for _, baseline in pairs), "baseline")
    more = [
        _ONE_SEED if has_one_seed(record) else "",
        bold,
        *_unequal_epochs(record, pairs),
        *_unequal_settings(record, pairs),
        *_unequal_augmentation(record, pairs),
    ]
    return finished("Gain over a baseline", columns, rows, [_NOTE, on_time, *more] if rows else [])


def baselines(record: RunRecord, group: ModelGroup) -> list[ModelGroup]:
    """Return the groups that the accuracy of `group` was compared with, sample by sample, in the record's order."""
    return list(_baselines(record).get(group.ids, {}).values())


@once_per_record
def _baselines(record: RunRecord) -> Mapping[tuple[str, ...], Mapping[tuple[str, ...], ModelGroup]]:
    """Return the baselines of each group by their ids, by the group's ids."""
    of_model = group_of(record)
    found: dict[tuple[str, ...], dict[tuple[str, ...], ModelGroup]] = {}
    for measurement in record.measurement_index.having(_GAINS[0]):
        if (other := of_model.get(str(measurement.axes["beside"]))) is not None:
            found.setdefault(of_model[measurement.model].ids, {})[other.ids] = other
    return found


def on_labels_alone(record: RunRecord, group: ModelGroup) -> list[ModelGroup]:
    """Return those baselines of a distilled student that are the same network, trained on the labels of its images.

    Their augmentation, epochs and settings of the training may differ: see `differences`. Others, from a study's
    differences, may have another network, other images, or weights of another model.
    """
    return [other for other in baselines(record, group) if _is_on_labels_alone(record, group, other)]


def _is_on_labels_alone(record: RunRecord, group: ModelGroup, other: ModelGroup) -> bool:
    return (
        (is_distilled(group) and other.role == "student" and not is_distilled(other))
        and group.network == other.network
        and _conditions(entry_of(record, group)) == _conditions(entry_of(record, other))
    )


def most_accurate_on_labels(record: RunRecord, group: ModelGroup) -> ModelGroup | None:
    """Return the student of highest top-1 with the network and images of `group` that was trained on labels alone.

    Its augmentation and other settings of the training may differ, so it need not be a baseline of `group`.
    """
    valued = [
        (value, other)
        for other in model_groups(record)
        if _is_on_labels_alone(record, group, other) and (value := number(record, other, "top1").value) is not None
    ]
    return max(valued, key=lambda entry: entry[0])[1] if valued else None


def has_same_augmentation(record: RunRecord, group: ModelGroup, other: ModelGroup) -> bool:
    """Return whether the training images of both were changed at random in the same way, as far as the recipe says."""
    ours, theirs = (subtable(entry_of(record, model), "data").get("augment") for model in (group, other))
    return ours == theirs


def differences(record: RunRecord, group: ModelGroup, other: ModelGroup) -> list[str]:
    """Return how the training of `other` differs from that of `group`, apart from its objective, for a sentence.

    Each item continues "trained with": `100 epochs in place of 300`, `` `optimizer.lr` 0.001 in place of 0.01 ``.
    """
    found = []
    if (epochs := _epochs(record, group, other)) is not None:
        ours, others = epochs
        found.append(f"{others} epoch{'' if others == 1 else 's'} in place of {ours}")
    changed = _changed_settings(record, group, other).items()
    found += [f"`{key}` {_value(others)} in place of {_value(ours)}" for key, (ours, others) in changed]
    if not has_same_augmentation(record, group, other):
        found.append("different augmentation of the images")
    return found


def _epochs(record: RunRecord, group: ModelGroup, other: ModelGroup) -> tuple[int, int] | None:
    """Return the numbers of trained epochs of both; None if they are equal or one of them is not known."""
    ours, others = (settings(record, model).epochs for model in (group, other))
    is_head = any(model.cards[0].architecture == "fused" for model in (group, other))  # its epochs are not its parts'
    return None if ours is None or others is None or ours == others or is_head else (ours, others)


def _changed_settings(record: RunRecord, group: ModelGroup, other: ModelGroup) -> dict[str, tuple[Any, Any]]:
    """Return the settings of the training, by key, in which the recipe's entries of both differ: (ours, others').

    Two optimisers, or two schedules, differ by their names only: the same key may mean something else in each.
    """
    ours, others = (subtable(entry_of(record, model), "training") for model in (group, other))
    changed: dict[str, tuple[Any, Any]] = {}
    for key in (key for key in ours if key in others and key not in _OF_EXECUTION and ours[key] != others[key]):
        tables = subtable(ours, key), subtable(others, key)
        if not all(tables):
            changed[key] = (ours[key], others[key])
            continue
        mine, theirs = tables
        inner = ["name"] if mine.get("name") != theirs.get("name") else [k for k in mine if k in theirs]
        changed |= {f"{key}.{k}": (mine.get(k), theirs.get(k)) for k in inner if mine.get(k) != theirs.get(k)}
    return changed


def _value(value: Any) -> str:
    """Return a value of a recipe's key as text."""
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _conditions(entry: Mapping[str, Any]) -> list[Any]:
    """Return what a recipe's entry says about the network, its first weights and its training images."""
    images = subtable(entry, "data")
    return [*(entry.get(key) for key in _OF_NETWORK), *(images.get(key) for key in _OF_IMAGES)]


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
    value, interval = valued[0]
    if trained_again and len(valued) > 1:
        value, interval = mean_over_seeds(valued, declared(metric).value_range)
    cell, seeds = Number(write, value, interval), len(group.cards) if trained_again else len(results)
    return cell if len(valued) == seeds else replace(cell, aside=f"{len(valued)} of {seeds} seeds")


def _time_per_point(record: RunRecord, group: ModelGroup, top1: Number) -> Cell:
    """Return the training time of `group` per point of top-1 gained; a dash unless the gain's interval is above 0."""
    training = number(record, group, "training_s")
    if training.value is None or top1.value is None or top1.interval is None or top1.interval.low <= 0:
        return DASH
    low, high = training.value / top1.interval.high, training.value / top1.interval.low
    return Number(training.write, training.value / top1.value, Interval(low=low, high=high))


def _by_seed(record: RunRecord, group: ModelGroup, baseline: ModelGroup, metric: str) -> Iterator[Measurement]:
    others = set(baseline.ids)
    for card in group.cards:
        yield from (m for m in record.measurement_index.of(card.id, metric) if m.axes.get("beside") in others)


def _unequal_epochs(record: RunRecord, pairs: list[tuple[ModelGroup, ModelGroup]]) -> Iterator[str]:
    """Yield a note that names the pairs whose models were trained for different numbers of epochs, if there are any."""
    by_epochs: dict[tuple[int, str, int], list[str]] = {}
    for group, baseline in pairs:
        if (epochs := _epochs(record, group, baseline)) is not None:
            ours, others = epochs
            by_epochs.setdefault((ours, baseline.label, others), []).append(group.label)
    if by_epochs:
        unequal = [f"{listed(labels)} {n} and `{other}` {m}" for (n, other, m), labels in by_epochs.items()]
        yield f"Trained for different numbers of epochs: {'; '.join(unequal)}."


def _unequal_settings(record: RunRecord, pairs: list[tuple[ModelGroup, ModelGroup]]) -> Iterator[str]:
    """Yield a note on pairs whose models were trained with different settings, by the settings, if there are any."""
    by_settings: dict[tuple[str, str], list[str]] = {}
    for group, baseline in pairs:
        changed = _changed_settings(record, group, baseline).items()
        text = ", ".join(f"`{key}` {_value(ours)} in place of {_value(others)}" for key, (ours, others) in changed)
        if text:
            by_settings.setdefault((text, baseline.label), []).append(group.label)
    if by_settings:
        unequal = [f"{listed(labels)} over `{other}` ({text})" for (text, other), labels in by_settings.items()]
        yield f"A part of these gains may be due to other settings of the training: {'; '.join(unequal)}."


def _unequal_augmentation(record: RunRecord, pairs: list[tuple[ModelGroup, ModelGroup]]) -> Iterator[str]:
    """Yield a note on pairs whose models were trained with different augmentation, by baseline, if there are any."""
    by_baseline: dict[str, list[str]] = {}
    for group, baseline in pairs:
        if not has_same_augmentation(record, group, baseline):
            by_baseline.setdefault(baseline.label, []).append(group.label)
    if by_baseline:
        unequal = "; ".join(f"{listed(labels)} over `{baseline}`" for baseline, labels in by_baseline.items())
        yield f"A part of these gains may be due to another augmentation: {unequal}."
