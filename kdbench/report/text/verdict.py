"""How a run stands to a target, as a table and as one paragraph that needs no knowledge of the harness."""

from collections.abc import Callable, Container, Sequence

from kdbench import units
from kdbench.report.axes import format_axes
from kdbench.report.cells import Cell, Number, Text, sentence
from kdbench.report.table import Column, Row, Table, finished
from kdbench.results.metrics import Metric, pair_of
from kdbench.results.metrics import metric as declared
from kdbench.results.verdicts import OVERALLS, Criterion, ModelVerdict, Verdict

_NONE = Text("–")
_SIDES = {"max": "≤", "min": "≥", "max_drop_vs_teacher": "≤", "min_ratio_vs_teacher": "≥"}
_EXAMPLES = "The target's numbers are examples: put your own in their place before you rely on this."
_OUTCOMES = (
    "PASS: the whole interval keeps to the limit. MARGINAL: it straddles it. UNKNOWN: there is no number, or one that "
    "cannot be relied on."
)
_IN_FULL = 5  # models with a row for each criterion: of a sweep's dozens, nobody reads more
_HEADS = ("Model", "Criterion", "Limit", "Measured", "Outcome", "What is missing")


def verdict_table(verdict: Verdict) -> Table:
    """Return every candidate against every criterion: the best first, then what else is ready, then what lacks least.

    The first row is the device's, which is the same for all of them. Of many candidates those after the first few have
    one row each.
    """
    shared = _shared_axes(verdict)
    device = next(criterion for criterion in verdict.nearest.criteria if criterion.rule == "device")
    ordered = sorted(verdict.models, key=lambda each: (OVERALLS.index(each.overall), each.model != verdict.best))
    rows = [
        _device(verdict, device),
        *(
            _row(model, criterion, shared, device.remedy)
            for model in ordered[:_IN_FULL]
            for criterion in _own(model.criteria)
        ),
        *(_in_short(model) for model in ordered[_IN_FULL:]),
    ]
    heads: tuple[str, ...] = _HEADS
    if not any(row.cells[-1].text for row in rows):
        heads, rows = _HEADS[:-1], [Row(row.cells[:-1]) for row in rows]
    columns = [Column(head, numeric=head in {"Limit", "Measured"}) for head in heads]
    short = "The last models have one row each: `kdbench ready --model NAME` shows all of theirs."
    notes = [
        _OUTCOMES,
        *([f"All at {format_axes(shared)}."] if shared else []),
        *([short] if len(ordered) > _IN_FULL else []),
    ]
    return finished(f"Readiness for {verdict.title}", columns, rows, notes)


def _shared_axes(verdict: Verdict) -> dict[str, str | int]:
    """Return provider and threads where they are the same wherever there are any: they need not be told each time."""
    taken = [criterion.axes for model in verdict.models for criterion in model.criteria]
    values = {axis: {axes[axis] for axes in taken if axis in axes} for axis in ("threads", "provider")}
    return {axis: found.pop() for axis, found in values.items() if len(found) == 1}


_WORST = ("FAIL", "MARGINAL", "UNKNOWN", "PASS")


def verdict_sentence(verdict: Verdict) -> str:
    """Return one paragraph, model names in backticks: the verdict, which model, what is missing, where measured."""
    nearest = verdict.nearest
    said = [f"{verdict.overall} for {verdict.title}: {_FINDINGS[verdict.overall](verdict, nearest)}."]
    if missing := _lacks(nearest.missing):
        said.append(f"What is missing{'' if len(verdict.models) == 1 else f' of `{nearest.model}`'}: {missing}.")
    told = {criterion.remedy for criterion in nearest.missing if criterion.rule == "device"}
    wanted = [c for c in nearest.criteria if not c.required and c.outcome != "PASS" and c.remedy not in told]
    if open_ := _lacks(wanted):
        said.append(f"Not required, and no PASS: {open_}.")
    said.append(f"Measured on {verdict.measured_on}.")
    if verdict.cautions:
        said.append(f"The run has warnings, told in its report: {', '.join(verdict.cautions)}.")
    return " ".join([*said, *([_EXAMPLES] if verdict.example else [])])


def _ready(verdict: Verdict, nearest: ModelVerdict) -> str:
    others = [model.model for model in verdict.models if model.overall == "READY" and model.model != nearest.model]
    meets = f"`{nearest.model}` meets {_all_required(nearest)}"
    if not others:
        return f"{meets}, {_alone(verdict)}" if len(verdict.models) > 1 else meets
    return f"{meets} and is the best of {len(others) + 1} that do"


def _alone(verdict: Verdict) -> str:
    return f"the only one of {len(verdict.models)} models"


def _not_ready(verdict: Verdict, nearest: ModelVerdict) -> str:
    if len(verdict.models) == 1:
        return f"`{nearest.model}` misses what is required"
    return f"each of the {len(verdict.models)} models misses something that is required; `{nearest.model}` lacks least"


def _open(verdict: Verdict, nearest: ModelVerdict) -> str:
    required = [criterion for criterion in _own(nearest.criteria) if criterion.required]
    met = sum(criterion.outcome == "PASS" for criterion in required)
    meets = f"meets {met} of {len(required)} required criteria"
    if len(verdict.models) == 1:
        return f"`{nearest.model}` {meets} and is not known to miss one"
    still = sum(model.overall == "INCONCLUSIVE" for model in verdict.models)
    return f"{still} of {len(verdict.models)} models may be ready; `{nearest.model}`, which lacks least, {meets}"


_FINDINGS: dict[str, Callable[[Verdict, ModelVerdict], str]] = {
    "READY": _ready,
    "NOT READY": _not_ready,
    "INCONCLUSIVE": _open,
}


def _all_required(model: ModelVerdict) -> str:
    count = sum(criterion.required for criterion in _own(model.criteria))
    return f"all {count} required criteria" if count > 1 else "the required criterion"


def _lacks(criteria: Sequence[Criterion]) -> str:
    """Say what is missing, criteria with one remedy together: `Latency p50 at batch 1, 4 threads: 22 % too slow`."""
    together: dict[str, list[Criterion]] = {}
    for criterion in sorted(criteria, key=lambda criterion: _WORST.index(criterion.outcome)):
        together.setdefault(criterion.remedy or criterion.reason, []).append(criterion)
    return "; ".join(f"{', '.join(map(_named, alike))}: {_in_brief(alike[0])}" for alike in together.values())


def _named(criterion: Criterion) -> str:
    axes = format_axes(_told(criterion, {"provider"}))
    return f"{title(criterion)}{f' ({axes})' if axes else ''}"


def title(criterion: Criterion) -> str:
    """Return what a criterion is about: a metric's title, or the drop's or ratio's."""
    if criterion.rule == "device":
        return "Device"
    if criterion.rule in {"max", "min"}:
        return declared(criterion.metric).title
    if (pair := pair_of(criterion.metric)) is not None:
        return pair.title
    kind = "drop" if criterion.rule == "max_drop_vs_teacher" else "ratio"
    return f"{declared(criterion.metric).title} {kind}"


def limit_text(criterion: Criterion) -> str:
    """Return a criterion's limit with its side: `≤ 20 ms`, `≥ 1.5×`; empty for the device's."""
    if criterion.limit is None:
        return ""
    in_points = criterion.unit == "points"
    chosen = units.points_allowed(criterion.limit) if in_points else units.chosen(_writer(criterion)(criterion.limit))
    return f"{_SIDES[criterion.rule]} {chosen}"


def _writer(criterion: Criterion) -> Callable[[float], str]:
    if criterion.rule in {"max", "min"}:
        return declared(criterion.metric).text
    return units.points if criterion.rule == "max_drop_vs_teacher" else units.ratio


def _plus_minus(criterion: Criterion) -> Metric | None:
    return declared(criterion.metric) if criterion.rule in {"max", "min"} else None


def _device(verdict: Verdict, criterion: Criterion) -> Row:
    told = ("all", "Device", verdict.title, verdict.measured_on, criterion.outcome, _why(criterion))
    return Row(tuple(Text(text) for text in told))


def _own(criteria: Sequence[Criterion]) -> list[Criterion]:
    """Return a model's criteria without the device's."""
    return [criterion for criterion in criteria if criterion.rule != "device"]


def _in_short(model: ModelVerdict) -> Row:
    """Return the one row of a model: how many criteria it meets, its verdict, and which it does not meet."""
    required = [criterion for criterion in _own(model.criteria) if criterion.required]
    lacking = [criterion for criterion in required if criterion.outcome != "PASS"]
    cells = (
        Text(model.model, code=True),
        Text(f"{len(required) - len(lacking)} of {len(required)} required"),
        Text(""),
        _NONE,
        Text(model.overall),
        Text(", ".join(f"{title(criterion)}: {criterion.outcome}" for criterion in lacking)),
    )
    return Row(cells)


def _row(model: ModelVerdict, criterion: Criterion, aside: Container[str], of_device: str) -> Row:
    """Return a criterion's row; what the device's row says already, `of_device` being its remedy, is not said again."""
    at = format_axes(_told(criterion, aside), ", ")
    cells = (
        Text(model.model, code=True),
        Text(f"{title(criterion)}{at}"),
        Text(limit_text(criterion)),
        _measured(criterion),
        Text(criterion.outcome if criterion.required else f"{criterion.outcome} (not required)"),
        Text(sentence(of_device) if of_device and criterion.remedy == of_device else _why(criterion)),
    )
    return Row(cells)


def _told(criterion: Criterion, aside: Container[str]) -> dict[str, str | int]:
    return {axis: value for axis, value in criterion.axes.items() if axis not in aside}


def _measured(criterion: Criterion) -> Cell:
    if criterion.value is None:
        return _NONE
    of = _plus_minus(criterion)
    return Number(
        _writer(criterion),
        criterion.value,
        criterion.interval,
        evidence=criterion.evidence or "measured",
        plus_minus=of.plus_minus if of else None,
    )


def _why(criterion: Criterion) -> str:
    """Say why a criterion is no PASS, as far as number and limit do not, and what would help: for a table's cell."""
    if criterion.outcome != "UNKNOWN":
        return sentence(criterion.remedy)
    return f"{sentence(criterion.reason)} {sentence(criterion.remedy)}".strip()


def _in_brief(criterion: Criterion) -> str:
    """Say the same within a sentence."""
    if criterion.outcome != "UNKNOWN" or not criterion.remedy:
        return criterion.remedy or criterion.reason
    return f"{criterion.remedy} ({criterion.reason})"
