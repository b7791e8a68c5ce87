"""The planes of score against latency, size and energy: each model's position, and the models that dominate it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property, partial
from statistics import fmean

from kdbench import units
from kdbench.report.axes import format_axes, headline
from kdbench.report.cells import Number
from kdbench.report.dominance import Dominance, Point, Range, dominance, dominances
from kdbench.report.model_groups import ModelGroup, has_metric, model_groups, teacher_of
from kdbench.report.numbers import number
from kdbench.report.scores import score_of
from kdbench.report.tables.energy import energies, energy_ratio, source_text
from kdbench.report.tables.gains import baselines, gain
from kdbench.report.tables.trade_offs import Side, side_of
from kdbench.results.metrics import metric as declared
from kdbench.results.records import Axes, RunRecord
from kdbench.results.records.index import once_per_record


@dataclass(frozen=True)
class PlanePoint:
    """A model in a plane: its cost and its score."""

    group: ModelGroup
    cost: Number
    score: Number


@dataclass(frozen=True)
class Dominated:
    """The label of the model that dominates another one; `unsettled` names what the intervals leave open."""

    by: str
    unsettled: tuple[str, ...]


@dataclass(frozen=True)
class Plane:
    """The score against the cost `name`, which `label` describes on an axis and whose values `write` formats.

    `dominated` has the dominated models by label; the other `models` are the front. `absent` has the missing number of
    each model that has no position, by label.
    """

    name: str
    label: str
    write: Callable[[float], str]
    models: tuple[PlanePoint, ...]
    dominated: Mapping[str, Dominated]
    absent: Mapping[str, Number]

    @cached_property
    def front(self) -> set[str]:
        """The labels of the models that no other one dominates."""
        return {placed.group.label for placed in self.models} - self.dominated.keys()


@dataclass(frozen=True)
class _Cost:
    """A cost: its `metric` at `axes`, the number of a group, and the metric and number of its ratio to its teacher."""

    name: str
    label: str
    write: Callable[[float], str]
    metric: str
    axes: Axes
    of: Callable[[ModelGroup], Number]
    ratio: str
    ratio_of: Callable[[ModelGroup], Number]


@once_per_record
def planes(record: RunRecord) -> Mapping[str, Plane]:
    """Return the planes in which at least two models have a position, by the names `latency`, `size` and `energy`.

    There is no plane of sizes if all files have the same size. Estimates of energy are left out: a front ranks models,
    which estimates do not support.
    """
    costs = (_latency(record), _size(record), _energy(record))
    measured = (_plane(record, cost) for cost in costs if cost is not None)
    return {plane.name: plane for plane in measured if len(plane.models) > 1}


def _numbers(record: RunRecord, metric: str, axes: Axes) -> Callable[[ModelGroup], Number]:
    return lambda group: number(record, group, metric, axes)


def _latency(record: RunRecord) -> _Cost:
    at, ratio = headline(record), "latency_ratio"
    metric, label = "latency_mean_ns", "mean latency of one call"
    write: Callable[[float], str] = units.time
    if has_metric(record, "relative_latency"):  # parts of a sweep, measured one after the other
        metric, write = "relative_latency", units.ratio
        label = f"time of one call relative to {record.protocol.get('reference')}"
    of, ratio_of = (_numbers(record, id_, at) for id_ in (metric, ratio))
    return _Cost("latency", f"{label}{format_axes(at, ', ')}", write, metric, at, of, ratio, ratio_of)


def _size(record: RunRecord) -> _Cost | None:
    id_, ratio = "size_bytes", "size_ratio"
    of, ratio_of = (_numbers(record, metric, {}) for metric in (id_, ratio))
    sizes = [of(group).value for group in model_groups(record)]
    if len({units.size(size) for size in sizes if size is not None}) < 2:
        return None
    return _Cost("size", "model file", units.size, id_, {}, of, ratio, ratio_of)


def _energy(record: RunRecord) -> _Cost | None:
    metered = [m for m in energies(record, "energy_j") if m.value is not None and m.evidence == "measured"]
    if not metered:
        return None
    first = next((m for m in metered if m.axes.get("batch") == 1), metered[0])

    def of(group: ModelGroup) -> Number:
        cell = number(record, group, "energy_j", first.axes)
        return cell if cell.evidence == "measured" else Number(units.energy, reason="an estimate")

    where = {key: value for key, value in first.axes.items() if key != "scope"}
    label = f"gross energy of one inference{format_axes(where, ', ')}; {source_text(first)}"
    ratio_of = partial(energy_ratio, record)
    return _Cost("energy", label, units.energy, "energy_j", first.axes, of, "energy_ratio", ratio_of)


def _plane(record: RunRecord, cost: _Cost) -> Plane:
    score = score_of(record)
    all_models = [
        PlanePoint(group, cost.of(group), number(record, group, score.metric)) for group in model_groups(record)
    ]
    absent = {
        model.group.label: model.cost if model.cost.value is None else model.score
        for model in all_models
        if None in {model.cost.value, model.score.value}
    }
    models = tuple(model for model in all_models if model.group.label not in absent)
    costs = [_cost_range(record, cost, placed) for placed in models]
    if declared(cost.metric).hardware_dependent:
        costs = _shared_by_network(models, costs)
    points = [Point(known, _score_range(record, placed)) for known, placed in zip(costs, models, strict=True)]
    by_model = dominances(points)
    _settle_by_pairs(record, cost, models, points, by_model)
    dominated = {}
    for placed, by in zip(models, by_model, strict=True):
        if by is not None:
            settled = {cost.name: by.cost_settled, score.noun: by.score_settled}
            unsettled = tuple(name for name, is_settled in settled.items() if not is_settled)
            dominated[placed.group.label] = Dominated(models[by.by].group.label, unsettled)
    return Plane(cost.name, cost.label, cost.write, models, dominated, absent)


def _cost_range(record: RunRecord, cost: _Cost, placed: PlanePoint) -> Range:
    """Return a cost with its interval within this run: variation between runs is common to all of its models."""
    value = placed.cost.value
    assert value is not None
    if declared(cost.metric).counted:
        return Range(value, value, value)
    by_seed = (record.find(id_, cost.metric, **cost.axes) for id_ in placed.group.ids)
    first = next((m for m in by_seed if m is not None and m.value is not None), None)
    interval = (first.within_run if first is not None else None) or placed.cost.interval
    return Range(value) if interval is None else Range(value, interval.low, interval.high)


def _shared_by_network(models: Sequence[PlanePoint], costs: Sequence[Range]) -> list[Range]:
    """Return the costs of models, where those of one network have the mean: its time does not depend on the weights."""
    by_network: dict[str | int, list[Range]] = {}
    networks = [placed.group.network or index for index, placed in enumerate(models)]
    for network, cost in zip(networks, costs, strict=True):
        by_network.setdefault(network, []).append(cost)
    means = {
        network: Range(*(fmean(ends) for ends in zip(*map(astuple, equal), strict=True)))
        for network, equal in by_network.items()
    }
    return [means[network] for network in networks]


def _score_range(record: RunRecord, placed: PlanePoint) -> Range:
    value, interval = placed.score.value, placed.score.interval
    assert value is not None
    known = Range(value) if interval is None else Range(value, interval.low, interval.high)
    return known if score_of(record).higher_is_better else known.negated()


def _settle_by_pairs(
    record: RunRecord,
    cost: _Cost,
    models: Sequence[PlanePoint],
    points: Sequence[Point],
    by_model: list[Dominance | None],
) -> None:
    """Settle further differences by the paired comparisons of models with their references, in place.

    The interval of a paired comparison is narrower than those of the two numbers.
    """
    for model, reference, costs, scores in _comparisons(record, cost, models):
        for loser, winner, side in ((model, reference, "worse"), (reference, model, "better")):
            new, known = dominance(points, loser, winner), by_model[loser]
            if new is None or known is None or known.settled:
                continue
            earlier = known if known.by == new.by else new  # a model may be both the teacher and a baseline
            new = replace(
                new,
                cost_settled=earlier.cost_settled or costs == side,
                score_settled=earlier.score_settled or scores == side,
            )
            if new.settled or new.by == known.by:
                by_model[loser] = new


def _comparisons(record: RunRecord, cost: _Cost, models: Sequence[PlanePoint]) -> Iterator[tuple[int, int, Side, Side]]:
    """Yield the indices of a model and of its teacher or baseline, and on which side its cost and its score are."""
    indices = {placed.group.label: index for index, placed in enumerate(models)}
    against = score_of(record).against_teacher
    for index, placed in enumerate(models):
        if (teacher := indices.get(teacher_of(record, placed.group) or "")) is not None:
            costs = side_of(cost.ratio, cost.ratio_of(placed.group))
            yield index, teacher, costs, side_of(against, number(record, placed.group, against))
        for baseline in baselines(record, placed.group):
            if baseline.label in indices:
                scores = side_of("top1_gain", gain(record, placed.group, baseline, "top1_gain"))
                yield index, indices[baseline.label], "unclear", scores
