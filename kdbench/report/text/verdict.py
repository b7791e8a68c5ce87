"""A run judged against a target: as a table, and as one paragraph for readers who do not know the harness."""

from collections.abc import Callable, Container, Sequence
from dataclasses import replace

from kdbench import units
from kdbench.report.axes import format_axes
from kdbench.report.cells import Cell, Number, Text, sentence
from kdbench.report.table import DASH, Column, Row, Table, finished
from kdbench.report.text.warning_titles import warning_title
from kdbench.results.metrics import metric as declared
from kdbench.results.metrics import pair_of
from kdbench.results.verdicts import OVERALLS, Criterion, ModelVerdict, Verdict

_SIDES = {"max": "≤", "min": "≥", "max_drop_vs_teacher": "≤", "max_negative_flips": "≤", "min_ratio_vs_teacher": "≥"}
_EXAMPLES = "The limits of this target are examples: replace them with your own before you rely on the verdict."
_OUTCOMES = (
    "PASS: the whole interval is within the limit. MARGINAL: the interval includes the limit. UNKNOWN: there is no "
    "reliable value."
)
_IN_FULL = 5  # models with a row for each criterion; others have one row each
_WORST = ("FAIL", "MARGINAL", "UNKNOWN", "PASS")
_HEADS = ("Model", "Criterion", "Limit", "Measured", "Outcome", "What is missing")


def verdict_table(verdict: Verdict) -> Table:
    """Return every candidate against every criterion: the best first, then by verdict.

    The first row is the device, which is the same for all. Each candidate after the first few has a single row.
    """
    common = _common_axes(verdict)
    device = next(criterion for criterion in verdict.nearest.criteria if criterion.rule == "device")
    ordered = sorted(verdict.models, key=lambda model: (OVERALLS.index(model.overall), model.model != verdict.best))
    reason = _reason_and_remedy(device)
    device_row = ("all", "Device", verdict.title, verdict.measured_on, device.outcome, reason)
    rows = [
        Row(tuple(map(Text, device_row))),
        *(
            _row(model, criterion, common, device.remedy)
            for model in ordered[:_IN_FULL]
            for criterion in _without_device(model.criteria)
        ),
        *(_short_row(model) for model in ordered[_IN_FULL:]),
    ]
    columns = [Column(head, numeric=head in {"Limit", "Measured"}) for head in _HEADS]
    if not any(row.cells[-1].text for row in rows):
        columns, rows = columns[:-1], [Row(row.cells[:-1]) for row in rows]
    short = "The last models have one row each: `kdbench ready --model NAME` shows all criteria."
    notes = [
        _OUTCOMES,
        *([f"All at {format_axes(common)}."] if common else []),
        *([short] if len(ordered) > _IN_FULL else []),
    ]
    return finished(f"Readiness for {verdict.title}", columns, rows, notes)


def _common_axes(verdict: Verdict) -> dict[str, str | int]:
    """Return provider and threads if all criteria that have them share them."""
    all_axes = [criterion.axes for model in verdict.models for criterion in model.criteria]
    values = {axis: {axes[axis] for axes in all_axes if axis in axes} for axis in ("threads", "provider")}
    return {axis: shared.pop() for axis, shared in values.items() if len(shared) == 1}


def verdict_sentence(verdict: Verdict) -> str:
    """Return one paragraph, model names in backticks: the verdict, its model, what is missing, and the machine."""
    nearest = verdict.nearest
    sentences = [f"{verdict.overall} for {verdict.title}: {_reason(verdict, nearest)}."]
    if missing := _missing(nearest.missing):
        model = "" if len(verdict.models) == 1 else f" for `{nearest.model}`"
        sentences.append(f"Missing{model}: {missing}.")
    stated = {criterion.remedy for criterion in nearest.missing if criterion.rule == "device"}
    optional = [c for c in nearest.criteria if not c.required and c.outcome != "PASS" and c.remedy not in stated]
    if unmet := _missing(optional):
        sentences.append(f"Not required and not passed: {unmet}.")
    sentences.append(f"Measured on {verdict.measured_on}.")
    if verdict.cautions:
        device = f"Warnings of the device `{verdict.device}`"
        opening = device if verdict.device else "The run has warnings; see its report"
        sentences.append(f"{opening}: {', '.join(dict.fromkeys(map(warning_title, verdict.cautions)))}.")
    return " ".join([*sentences, *([_EXAMPLES] if verdict.example else [])])


def _reason(verdict: Verdict, nearest: ModelVerdict) -> str:
    """Return the verdict's reason, without a full stop."""
    name, count = f"`{nearest.model}`", len(verdict.models)
    required = [criterion for criterion in _without_device(nearest.criteria) if criterion.required]
    equal = sum(model.overall == verdict.overall for model in verdict.models)
    if verdict.overall == "READY":
        required_text = f"all {len(required)} required criteria" if len(required) > 1 else "the required criterion"
        meets = f"{name} meets {required_text}"
        if equal > 1:
            return f"{meets} and is the best of {equal} that do"
        return f"{meets}, as the only one of {count} models" if count > 1 else meets
    if verdict.overall == "NOT READY":
        if count == 1:
            return f"{name} fails a required criterion"
        return f"each of the {count} models fails a required criterion; {name} is closest"
    meets = f"meets {sum(criterion.outcome == 'PASS' for criterion in required)} of {len(required)} required criteria"
    if count == 1:
        return f"{name} {meets} and fails none"
    return f"{equal} of {count} models may be ready; {name}, the closest, {meets}"


def _missing(criteria: Sequence[Criterion]) -> str:
    """Return what is missing, grouped by remedy: `Latency p50 (batch 1, 4 threads): 22 % too slow`."""
    by_remedy: dict[str, list[Criterion]] = {}
    for criterion in sorted(criteria, key=lambda criterion: _WORST.index(criterion.outcome)):
        by_remedy.setdefault(criterion.remedy or criterion.reason, []).append(criterion)
    return "; ".join(f"{', '.join(map(_titled, same))}: {_brief_reason(same[0])}" for same in by_remedy.values())


def _titled(criterion: Criterion) -> str:
    axes = format_axes(_axes_without(criterion, {"provider"}))
    return f"{title(criterion)}{f' ({axes})' if axes else ''}"


def title(criterion: Criterion) -> str:
    """Return the title of a criterion: its metric, drop or ratio."""
    if criterion.rule == "device":
        return "Device"
    if criterion.rule in {"max", "min"}:
        return declared(criterion.metric).title
    if criterion.rule == "max_negative_flips":
        return declared("negative_flips").title
    if (pair := pair_of(criterion.metric)) is not None:
        return pair.title
    kind = "drop" if criterion.rule == "max_drop_vs_teacher" else "ratio"
    return f"{declared(criterion.metric).title} {kind}"


def limit_text(criterion: Criterion) -> str:
    """Return a criterion's limit with its side: `≤ 20 ms`, `≥ 1.5×`; empty for the device."""
    if criterion.limit is None:
        return ""
    in_points = criterion.unit == "points"
    chosen = units.points_allowed(criterion.limit) if in_points else units.chosen(_writer(criterion)(criterion.limit))
    return f"{_SIDES[criterion.rule]} {chosen}"


def _writer(criterion: Criterion) -> Callable[[float], str]:
    """Return what writes a criterion's number and limit: different ones differently."""
    write = _rounding_writer(criterion)
    if criterion.value is None or criterion.limit is None:
        return write
    return units.distinct(write, criterion.value, criterion.limit)


def _rounding_writer(criterion: Criterion) -> Callable[[float], str]:
    if criterion.rule in {"max", "min"}:
        return declared(criterion.metric).text
    if criterion.rule == "max_negative_flips":
        return declared("negative_flips").text
    return units.points if criterion.rule == "max_drop_vs_teacher" else units.ratio


def _without_device(criteria: Sequence[Criterion]) -> list[Criterion]:
    """Return the criteria that depend on the model."""
    return [criterion for criterion in criteria if criterion.rule != "device"]


def _short_row(model: ModelVerdict) -> Row:
    """Return a single row for a model: how many criteria it meets, its verdict, and those it does not meet."""
    required = [criterion for criterion in _without_device(model.criteria) if criterion.required]
    unmet = [criterion for criterion in required if criterion.outcome != "PASS"]
    met = Text(f"{len(required) - len(unmet)} of {len(required)} required")
    missing = Text(", ".join(f"{title(criterion)}: {criterion.outcome}" for criterion in unmet))
    return Row((Text(model.model, code=True), met, Text(""), DASH, Text(model.overall), missing))


def _row(model: ModelVerdict, criterion: Criterion, hidden: Container[str], device_remedy: str) -> Row:
    """Return a criterion's row; `device_remedy` is that of the device's row, which is not repeated in full."""
    at = format_axes(_axes_without(criterion, hidden), ", ")
    names = (Text(model.model, code=True), Text(f"{title(criterion)}{at}"), Text(limit_text(criterion)))
    outcome = Text(criterion.outcome if criterion.required else f"{criterion.outcome} (not required)")
    shared = device_remedy and criterion.remedy == device_remedy
    missing = sentence(device_remedy) if shared else _reason_and_remedy(criterion)
    return Row((*names, _measured(criterion), outcome, Text(missing)))


def _axes_without(criterion: Criterion, hidden: Container[str]) -> dict[str, str | int]:
    return {axis: value for axis, value in criterion.axes.items() if axis not in hidden}


def _measured(criterion: Criterion) -> Cell:
    if criterion.value is None:
        return DASH
    plus_minus = declared(criterion.metric).plus_minus if criterion.rule in {"max", "min"} else None
    cell = Number(_writer(criterion), criterion.value, criterion.interval, plus_minus=plus_minus)
    return replace(cell, evidence=criterion.evidence or "measured")


def _reason_and_remedy(criterion: Criterion) -> str:
    """Return why a criterion did not pass, beyond value and limit, and the remedy: for a table's cell."""
    if criterion.outcome != "UNKNOWN":
        return sentence(criterion.remedy)
    return f"{sentence(criterion.reason)} {sentence(criterion.remedy)}".strip()


def _brief_reason(criterion: Criterion) -> str:
    """Return why a criterion did not pass, for use within a sentence."""
    if criterion.outcome != "UNKNOWN" or not criterion.remedy:
        return criterion.remedy or criterion.reason
    return f"{criterion.remedy} ({criterion.reason})"
