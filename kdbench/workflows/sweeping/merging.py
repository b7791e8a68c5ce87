"""One record of all parts of a sweep, as if the models had been measured in one run.

Each number comes from the part that its model belongs to. Models have the ids of the current plan, also if their part
was measured under other ids. Raw call times stay in the folders of the parts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kdbench.files import storage
from kdbench.files.cycles import cycle_collection_paused
from kdbench.results.cards import ModelCard
from kdbench.results.metrics import metrics_in
from kdbench.results.ranges import form_of, with_ranges
from kdbench.results.records import Diagnostic, Layer, Measurement, Pair, RunRecord
from kdbench.results.samples import Samples, correct_key, read_samples, squared_error_key
from kdbench.workflows.sweeping.existing import PartFolder
from kdbench.workflows.sweeping.plan import Part, SweepPlan
from kdbench.workflows.sweeping.relative import METRIC

_MACHINE_FACTS = ("board", "cpu", "cores_logical", "memory_bytes")
_GAINS = metrics_in("gain")

Measured = Sequence[tuple[Part, PartFolder]]
"""The measured parts and the folders of their results."""


@dataclass
class _Collected:
    """The content of the parts' records, collected part by part."""

    cards: dict[str, ModelCard] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    besides: set[tuple[object, ...]] = field(default_factory=set)  # the measurements of a model beside another one
    pairs: list[Pair] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    warnings: dict[tuple[object, ...], list[Diagnostic]] = field(default_factory=dict)  # alike ones
    samples: dict[str, Any] = field(default_factory=dict)
    drift: list[float] = field(default_factory=list)
    hosts: set[tuple[Any, ...]] = field(default_factory=set)
    first: RunRecord | None = None

    def add(self, plan: SweepPlan, part: Part, folder: PartFolder) -> None:
        """Add what one part measured about its own models."""
        record = RunRecord.read(folder.record)
        ids = dict(zip(storage.read_json(folder.ids, "list of models")["models"], part.model_ids, strict=True))
        own_ids = {old for old, new in ids.items() if new in set(part.models)}
        if self.first is None or (part.timed and not self.first.protocol.get("sessions_taken")):
            self.first = record
        host = record.environment.host
        self.hosts.add(tuple(host.get(fact) for fact in _MACHINE_FACTS))
        for card in record.models:
            if card.id in own_ids:
                self.cards[ids[card.id]] = _card(card, ids, plan)
        self._add_measurements(_renamed(m, ids) for m in record.measurements if _is_own(m, own_ids))
        self.pairs += [_pair(pair, ids) for pair in record.pairs if pair.student in own_ids]
        self.layers += [
            layer.model_copy(update={"model": ids[layer.model]}) for layer in record.layers if layer.model in own_ids
        ]
        self.add_warnings(w for w in record.warnings if w.model is None or w.model in own_ids)
        self._add_samples(read_samples(folder.samples), own_ids, ids)
        reference = next((old for old, new in ids.items() if new == plan.reference), None)
        latency = record.find(reference, "latency_p50_ns") if reference is not None and part.timed else None
        if latency is not None and latency.value is not None:
            self.drift.append(latency.value)

    def _add_measurements(self, measurements: Iterable[Measurement]) -> None:
        for one in measurements:
            if "beside" in one.axes:  # the parts of both models may have it
                key = one.model, one.metric, frozenset(one.axes.items())
                if key in self.besides:
                    continue
                self.besides.add(key)
            self.measurements.append(one)

    def add_warnings(self, warnings: Iterable[Diagnostic]) -> None:
        """Add the warnings of one part."""
        for warning in warnings:
            key = warning.model, warning.code, warning.remedy, form_of(warning.message)
            self.warnings.setdefault(key, []).append(warning)

    def joined_warnings(self) -> Iterator[Diagnostic]:
        """Yield the warnings; those that differ only in quantities, as many parts may have, are one."""
        for alike in self.warnings.values():
            yield alike[0].model_copy(update={"message": with_ranges([warning.message for warning in alike])})

    def _add_samples(self, samples: Samples, own_ids: set[str], ids: Mapping[str, str]) -> None:
        for old in own_ids:
            for key in (correct_key, squared_error_key):
                if key(old) in samples:
                    self.samples[key(ids[old])] = samples[key(old)]


@cycle_collection_paused()
def merged(plan: SweepPlan, measured: Measured, failed: Mapping[str, str], command: str) -> tuple[RunRecord, Samples]:
    """Return the record of a sweep, and the samples behind its scores; `failed` has the reasons for missing models."""
    collected = _Collected()
    for part, folder in measured:
        collected.add(plan, part, folder)
    first, recipe = collected.first, plan.recipe
    assert first is not None, "something was measured"
    order = {id_: number for number, id_ in enumerate((*(job.id for job in plan.jobs), *collected.cards))}
    timed = sum(bool(part.timed) for part, _ in measured)
    record = RunRecord(
        kind="run",
        name=recipe.name,
        title=recipe.title,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        recipe=recipe.published(),
        recipe_hash=recipe.hash(),
        protocol={**first.protocol, **_protocol(collected, plan, timed)},
        environment=first.environment,
        models=tuple(sorted(collected.cards.values(), key=lambda card: order[card.id])),
        measurements=tuple(
            # Several parts are several runs: only the interval with the variation between runs compares them.
            m.model_copy(update={"within_run": None}) if timed > 1 and m.within_run is not None else m
            for m in collected.measurements
            if timed > 1 or m.metric != METRIC
        ),
        pairs=tuple(collected.pairs),
        layers=tuple(collected.layers),
        warnings=(*collected.joined_warnings(), *_about_parts(collected), *_missing(failed)),
    )
    return record, collected.samples


def _protocol(collected: _Collected, plan: SweepPlan, timed: int) -> dict[str, Any]:
    if timed < 2:
        return {}
    facts: dict[str, Any] = {"timed_parts": timed, "reference": plan.reference}
    if collected.drift:
        least, most = min(collected.drift), max(collected.drift)
        facts["reference_p50"] = {"least_ns": least, "most_ns": most}
    return facts


def _about_parts(collected: _Collected) -> Iterator[Diagnostic]:
    if len(collected.hosts) > 1:
        message = f"the parts of the sweep were measured on {len(collected.hosts)} machines"
        remedy = "compare times relative to the model that all parts share, or measure on one machine"
        yield Diagnostic(code="several_machines", message=message, remedy=remedy)


def _missing(failed: Mapping[str, str]) -> Iterator[Diagnostic]:
    for id_, reason in failed.items():
        message = f"{id_} is missing: {reason}"
        yield Diagnostic(code="point_failed", message=message, remedy="resume the sweep to try again")


def _card(card: ModelCard, ids: Mapping[str, str], plan: SweepPlan) -> ModelCard:
    """Return a card with the names and axes of the current plan."""
    id_ = ids[card.id]
    job = plan.by_id.get(id_)
    entry = job.entry if job is not None else plan.variant_of[id_]
    update: dict[str, Any] = {"id": id_, "name": entry.name, "family": entry.family, "axes": entry.axes}
    update["parents"] = tuple(ids.get(parent, parent) for parent in card.parents)
    if job is not None:
        update["teachers"] = tuple(teacher.id for teacher in job.teachers) if job.learns else ()
    if card.id != id_:
        update["file"] = card.file.replace(f"{card.id}.onnx", f"{id_}.onnx")
        if card.weights is not None:
            update["weights"] = card.weights.replace(f"/{card.id}/", f"/{id_}/")
        if card.variant is not None:
            update["variant"] = card.variant.model_copy(update={"of": ids.get(card.variant.of, card.variant.of)})
        if card.pruned is not None:
            update["pruned"] = card.pruned.model_copy(update={"of": ids.get(card.pruned.of, card.pruned.of)})
    return card.model_copy(update=update)


def _is_own(measurement: Measurement, own_ids: set[str]) -> bool:
    """Return whether a part provides a measurement: of an own model, or of what a companion has beside one.

    A companion's gain over an own model comes from the part of the companion: that part has all of its baselines.
    """
    beside = measurement.axes.get("beside") in own_ids and measurement.metric not in _GAINS
    return measurement.model in own_ids or beside


def _renamed(measurement: Measurement, ids: Mapping[str, str]) -> Measurement:
    update: dict[str, Any] = {}
    if ids[measurement.model] != measurement.model:
        update["model"] = ids[measurement.model]
    beside = measurement.axes.get("beside")
    if isinstance(beside, str) and ids.get(beside, beside) != beside:
        update["axes"] = {**measurement.axes, "beside": ids[beside]}
    return measurement.model_copy(update=update) if update else measurement


def _pair(pair: Pair, ids: Mapping[str, str]) -> Pair:
    names = {"teacher": ids[pair.teacher], "student": ids[pair.student]}
    return pair if names == {"teacher": pair.teacher, "student": pair.student} else pair.model_copy(update=names)
