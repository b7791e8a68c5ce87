"""Compare two records: every metric that is gated, of every model that both have.

Significance and size are both required (`comparing.rule`); what is missing, unstable, estimated or of another machine
is inconclusive, never a pass.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kdbench import units
from kdbench.judge.comparing.machines import RUNTIMES, other_software
from kdbench.judge.comparing.matching import Match, Matched, match
from kdbench.judge.comparing.occasions import in_words, measured_at_all, occasions
from kdbench.judge.comparing.rule import outcome, uncertainty
from kdbench.judge.comparing.shifts import Delta, NotComparable
from kdbench.judge.comparing.thresholds import Thresholds, asked
from kdbench.judge.comparing.ways import REMEASURE, MetricPair, Records, Samples, answers_are_kept, change, unaided
from kdbench.results.comparisons import CHANGES, Change, Compared, Comparison
from kdbench.results.metrics import Metric
from kdbench.results.records import RunRecord

_ALL_DEFAULTS = Thresholds()


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
    """Return what changed from `base` to `new`.

    `models` names those to compare (base's name: new's); by default all that match. `metrics` are ids; by default
    DEFAULT_METRICS, of which energies only where they were measured. Samples are those beside the records: with them
    accuracies are compared image by image. Raises InputError for models and metrics that are not there.
    """
    records = Records(base, new, base_samples or {}, new_samples or {})
    matched = match(base.models, new.models, models)
    found = compared(records, matched.pairs, metrics, thresholds)
    return Comparison(
        base=described(base),
        new=described(new),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        overall=overall(found.rows, matched.lost),
        rows=found.rows,
        lost=matched.lost,
        added=matched.added,
        notes=(*_of_the_records(records), *left_out(matched), *found.notes),
    )


@dataclass(frozen=True)
class Findings:
    """The rows of a comparison, and what must be said beside them."""

    rows: tuple[Compared, ...] = ()
    notes: tuple[str, ...] = field(default=())


def compared(
    records: Records, matches: Iterable[Match], metrics: Sequence[str] = (), thresholds: Thresholds = _ALL_DEFAULTS
) -> Findings:
    """Return every metric of every match.

    Raises InputError for a metric that cannot be compared, and for a threshold of one that is not.
    """
    compared_by = asked(metrics, thresholds)
    rows: list[Compared] = []
    notes: list[str] = []
    for pair in matches:
        for metric in compared_by:
            found = _of_metric(records, pair, metric, thresholds, by_name=bool(metrics))
            rows += found.rows
            notes += found.notes
    absent = [metric.id for metric in compared_by if metric.id not in {row.metric for row in rows}] if metrics else []
    notes += [f"{id_}: neither has a number" for id_ in absent]
    return Findings(tuple(rows), tuple(dict.fromkeys(notes)))


def left_out(matched: Matched) -> Iterator[str]:
    """Name the teachers that only the base has: they are no candidates, and gate nothing."""
    if matched.teachers:
        yield f"the base's alone, and no candidates: {', '.join(matched.teachers)}"


def overall(rows: Iterable[Compared], lost: Sequence[str]) -> Change:
    """Return the worst outcome of all; of no rows, and of models that were lost, nothing is known."""
    found: set[Change] = {row.outcome for row in rows} | ({"inconclusive"} if lost else set())
    return next((each for each in CHANGES if each in found), "inconclusive")


def described(record: RunRecord) -> str:
    """Return which record it is, in words: `digits of 2025-06-01T12:00:00+00:00, kdbench 0123abc, on AMD EPYC …`."""
    commit = record.environment.git_commit
    return f"{record.name} of {record.created}{f', kdbench {commit[:7]}' if commit else ''}, on {machine_of(record)}"


def machine_of(record: RunRecord) -> str:
    """Return where a record was taken, in words: `AMD EPYC, onnxruntime 1.22.0`."""
    host, libraries = record.environment.host, record.environment.libraries
    runtimes = [f"{name} {libraries[name]}" for name in RUNTIMES if name in libraries]
    return ", ".join([str(host.get("cpu") or "an unknown processor"), *runtimes])


def _of_metric(records: Records, pair: Match, metric: Metric, thresholds: Thresholds, *, by_name: bool) -> Findings:
    found = occasions(records.base, records.new, pair, metric.id)
    if not by_name and found.both and metric.metered and not measured_at_all(found.both):
        return Findings(notes=(f"{metric.id} is estimated, and gates nothing",))
    questions = [MetricPair(records, pair, metric, before, after) for before, after in found.both]
    rows = tuple(_row(question, change(question), thresholds.of(metric)) for question in questions)
    notes = (*(f"{pair.new.id}: {where}" for where in found.only), *_moved(questions, rows))
    return Findings(rows, notes)


def _row(question: MetricPair, found: Delta | NotComparable, threshold: float) -> Compared:
    known = {
        "base_model": question.match.base.id,
        "new_model": question.match.new.id,
        "metric": question.metric.id,
        "axes": question.new.axes,
        "unit": question.metric.unit,
        "base": question.base.value,
        "new": question.new.value,
        "threshold": threshold,
    }
    if isinstance(found, NotComparable):
        remedy = found.remedy
        if question.records.together and remedy == REMEASURE:
            remedy = ""
        return Compared(**known, outcome="inconclusive", reason=found.reason, remedy=remedy)
    of_change = {
        "change": found.value,
        "interval": found.interval,
        "n": found.n,
        "way": found.way,
        "anchor": found.anchor,
    }
    told = outcome(found, question.metric, threshold)
    if told != "inconclusive":
        return Compared(**known, **of_change, outcome=told, reason=found.note)
    reason = uncertainty(found, question.metric)
    return Compared(**known, **of_change, outcome=told, reason=reason, remedy=_remedy(question, found))


def _remedy(question: MetricPair, found: Delta) -> str:
    """Return what would make an interval narrower."""
    if question.metric.sampled:
        if found.way == "paired":
            return "give it a longer --budget"
        return REMEASURE if found.way == "separate" else f"{REMEASURE}, or give both runs a longer --budget"
    if question.metric.hardware_dependent:
        return "it repeats no better than that: allow it more with --threshold" if found.way == "paired" else REMEASURE
    if found.way == "paired" or question.metric.id != "top1" or answers_are_kept(question):
        return "score more test images"
    return "keep samples.npz beside both records: the same images tell more than two samples of them"


def _of_the_records(records: Records) -> Iterator[str]:
    names = records.base.name, records.new.name
    if names[0] != names[1] and {records.base.kind, records.new.kind} == {"run"}:
        yield f"two studies: {names[0]} and {names[1]}"
    if records.other_machine:
        yield f"another machine: {records.other_machine}"
    if software := other_software(records.base, records.new):
        yield f"other software, which may be a cause: {software}"


def _moved(questions: Sequence[MetricPair], rows: Sequence[Compared]) -> Iterator[str]:
    """Say where a model that is the same in both took another time: so did the machine."""
    for question, row in zip(questions, rows, strict=True):
        if row.way != "anchored" or row.anchor != row.new_model:
            continue
        found = unaided(question)
        if isinstance(found, Delta) and outcome(found, question.metric, row.threshold) in {"regressed", "improved"}:
            yield (
                f"{row.new_model}: {question.metric.title.lower()}{in_words(row.axes)} of the same file differs by "
                f"{units.change(found.value)}: the machine was in another state"
            )
