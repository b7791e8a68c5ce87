"""Compare two records: every gated metric of every model that both have.

A change counts if it is both significant and large (`deltas.classify`). A number that is missing, estimated or
from another machine is inconclusive, never a pass.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kdbench import units
from kdbench.files.cycles import cycle_collection_paused
from kdbench.judge.compare.deltas import Delta, NotComparable, classify, uncertainty
from kdbench.judge.compare.matching import (
    RUNTIMES,
    Match,
    MatchedModels,
    align,
    describe_axes,
    match_models,
    other_software,
)
from kdbench.judge.compare.strategies import REMEASURE, MetricPair, RecordPair, delta_of, separate
from kdbench.judge.compare.thresholds import Thresholds, metrics_to_compare
from kdbench.results.comparisons import CHANGES, Change, ComparedMetric, Comparison
from kdbench.results.metrics import Metric
from kdbench.results.records import RunRecord
from kdbench.results.records.devices import of_host
from kdbench.results.samples import Samples
from kdbench.user_input.hints import as_recipe_keys

_ALL_DEFAULTS = Thresholds()


@cycle_collection_paused()
def compare(
    base: RunRecord,
    new: RunRecord,
    *,
    models: Mapping[str, str] | None = None,
    metrics: Sequence[str] = (),
    thresholds: Thresholds = _ALL_DEFAULTS,
    base_samples: Samples | None = None,
    new_samples: Samples | None = None,
) -> Comparison:
    """Return what changed from `base` to `new`, on their hosts.

    `models` names the models to compare, as base's name: new's name; by default all that match. `metrics` are ids; by
    default DEFAULT_METRICS, energies only if they were measured. With the raw samples of both records, accuracies are
    compared image by image. Raises InputError for unknown models and metrics.
    """
    base, new = of_host(base), of_host(new)
    records = RecordPair(base, new, base_samples or {}, new_samples or {})
    matched = match_models(base.models, new.models, models)
    compared = compare_matches(records, matched.pairs, metrics, thresholds)
    return Comparison(
        base=describe_record(base),
        new=describe_record(new),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        overall=worst_change(compared.rows, matched.lost),
        rows=compared.rows,
        lost=matched.lost,
        added=matched.added,
        notes=(*_notes_on_records(records), *notes_on_teachers(matched), *compared.notes),
    )


@dataclass(frozen=True)
class Rows:
    """The rows of a comparison, and its notes."""

    rows: tuple[ComparedMetric, ...] = ()
    notes: tuple[str, ...] = ()


def compare_matches(
    records: RecordPair, matches: Iterable[Match], metrics: Sequence[str] = (), thresholds: Thresholds = _ALL_DEFAULTS
) -> Rows:
    """Compare the metrics of every match.

    Raises InputError for a metric that cannot be compared, and for a threshold of a metric that is not compared.
    """
    declared = metrics_to_compare(metrics, thresholds)
    rows: list[ComparedMetric] = []
    notes: list[str] = []
    for match in matches:
        for metric in declared:
            compared = _compare_metric(records, match, metric, thresholds, by_name=bool(metrics))
            rows += compared.rows
            notes += compared.notes
    absent = [metric.id for metric in declared if metric.id not in {row.metric for row in rows}] if metrics else []
    notes += [f"{id_}: neither has a number" for id_ in absent]
    return Rows(tuple(rows), tuple(dict.fromkeys(notes)))


def notes_on_teachers(matched: MatchedModels) -> Iterator[str]:
    """Name the teachers that only the base has. They are not candidates, so they gate nothing."""
    if matched.teachers:
        yield f"only in the base, and not candidates: {', '.join(matched.teachers)}"


def worst_change(rows: Iterable[ComparedMetric], lost: Sequence[str]) -> Change:
    """Return the worst outcome of the rows; a lost model, or no row at all, is inconclusive."""
    outcomes: set[Change] = {row.outcome for row in rows} | ({"inconclusive"} if lost else set())
    return next((change for change in CHANGES if change in outcomes), "inconclusive")


def describe_record(record: RunRecord) -> str:
    """Describe a record: `digits of 2025-06-01T12:00:00+00:00, kdbench 0123abc, on AMD EPYC …`."""
    commit = record.environment.git_commit
    version = f", kdbench {commit[:7]}" if commit else ""
    return f"{record.name} of {record.created}{version}, on {describe_machine(record)}"


def describe_machine(record: RunRecord) -> str:
    """Describe the machine of a record: `AMD EPYC, onnxruntime 1.22.0`."""
    host, libraries = record.environment.host, record.environment.libraries
    runtimes = [f"{name} {libraries[name]}" for name in RUNTIMES if name in libraries]
    return ", ".join([str(host.get("cpu") or "an unknown processor"), *runtimes])


def _compare_metric(
    records: RecordPair, match: Match, metric: Metric, thresholds: Thresholds, *, by_name: bool
) -> Rows:
    aligned, notes = align(records.base, records.new, match, metric.id, records.ids_in_new)
    measurements = [m for pair in aligned for m in pair if m.value is not None]
    if not by_name and metric.metered and aligned and all(m.evidence == "estimated" for m in measurements):
        return Rows(notes=(f"{metric.id} is estimated, and decides nothing",))
    pairs = [MetricPair(records, match, metric, base, new) for base, new in aligned]
    rows = tuple(_row(pair, delta_of(pair), thresholds.of(metric)) for pair in pairs)
    return Rows(rows, (*(f"{match.new.id}: {note}" for note in notes), *_notes_on_anchors(pairs, rows)))


def _row(pair: MetricPair, delta: Delta | NotComparable, threshold: float) -> ComparedMetric:
    common = {
        "base_model": pair.match.base.id,
        "new_model": pair.match.new.id,
        "metric": pair.metric.id,
        "axes": pair.new.axes,
        "unit": pair.metric.unit,
        "base": pair.base.value,
        "new": pair.new.value,
        "threshold": threshold,
    }
    if isinstance(delta, NotComparable):
        remeasured = pair.records.side_by_side and delta.remedy == REMEASURE
        remedy = "" if remeasured else delta.remedy
        return ComparedMetric(**common, outcome="inconclusive", reason=delta.reason, remedy=remedy)
    outcome = classify(delta, pair.metric, threshold)
    uncertain = outcome == "inconclusive"
    return ComparedMetric(
        **common,
        change=delta.value,
        interval=delta.interval,
        n=delta.n,
        way=delta.strategy,
        anchor=delta.anchor,
        outcome=outcome,
        reason=uncertainty(delta, pair.metric) if uncertain else delta.note,
        remedy=_remedy(pair, delta) if uncertain else "",
    )


def _remedy(pair: MetricPair, delta: Delta) -> str:
    if pair.metric.sampled:
        if delta.strategy == "paired":
            return "give it a longer --budget"
        if delta.strategy == "separate":
            return REMEASURE
        longer = "give both runs a longer --budget"
        recipes = all(record.recipe is not None for record in (pair.records.base, pair.records.new))
        return f"{REMEASURE}, or {as_recipe_keys(longer) if recipes else longer}"
    if pair.metric.hardware_dependent:
        scatters = "it does not repeat well enough: allow a larger change with --threshold"
        return scatters if delta.strategy == "paired" else REMEASURE
    has_samples = (pair.correct or pair.squared_errors) is not None
    if delta.strategy == "paired" or has_samples or pair.metric.id not in {"top1", "mse", "rmse"}:
        return "score more test images"
    return "keep samples.npz next to both records: a comparison image by image has a narrower interval"


def _notes_on_records(records: RecordPair) -> Iterator[str]:
    names = records.base.name, records.new.name
    if names[0] != names[1] and {records.base.kind, records.new.kind} == {"run"}:
        yield f"two studies: {names[0]} and {names[1]}"
    if records.other_machine:
        yield f"another machine: {records.other_machine}"
    if software := other_software(records.base, records.new):
        yield f"other software versions, which may be the cause: {software}"


def _notes_on_anchors(pairs: Sequence[MetricPair], rows: Sequence[ComparedMetric]) -> Iterator[str]:
    """Report unchanged files whose times changed: the machine changed."""
    for pair, row in zip(pairs, rows, strict=True):
        if row.way != "anchored" or row.anchor != row.new_model:
            continue
        delta = separate(pair)
        if isinstance(delta, Delta) and classify(delta, pair.metric, row.threshold) in {"regressed", "improved"}:
            yield (
                f"{row.new_model}: {pair.metric.title.lower()}{describe_axes(row.axes)} of the same file differs by "
                f"{units.change(delta.value)}: the state of the machine differed"
            )
