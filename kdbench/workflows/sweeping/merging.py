"""One record of all parts of a sweep, as if the models had been measured in one run.

Each number comes from the part that its model belongs to. A part that was measured under other ids gives the same
numbers: models have the ids of the present plan. Raw call times stay with their parts.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kdbench.files import storage
from kdbench.files.cycles import cycle_collection_paused
from kdbench.results.cards import ModelCard
from kdbench.results.records import Diagnostic, Layer, Measurement, Pair, RunRecord
from kdbench.results.samples import Samples, correct_key, read_samples, squared_error_key
from kdbench.workflows.sweeping.existing import PartFolder
from kdbench.workflows.sweeping.plan import Part, SweepPlan
from kdbench.workflows.sweeping.relative import METRIC

_OF_A_MACHINE = ("board", "cpu", "cores_logical", "memory_bytes")
_MAX_SAME_CODE = 3  # warnings of one code and remedy that are kept, of all parts

Measured = Sequence[tuple[Part, PartFolder]]
"""The parts with what was measured of them."""


@dataclass
class _Merged:
    """What is collected part by part."""

    cards: dict[str, ModelCard] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    warnings: dict[tuple[str, str, str | None], Diagnostic] = field(default_factory=dict)
    kept: Counter[tuple[str, str]] = field(default_factory=Counter)  # warnings of no model, by code and remedy
    more: Counter[tuple[str, str]] = field(default_factory=Counter)
    samples: dict[str, Any] = field(default_factory=dict)
    drift: list[float] = field(default_factory=list)
    hosts: set[tuple[Any, ...]] = field(default_factory=set)
    first: RunRecord | None = None

    def add(self, plan: SweepPlan, part: Part, folder: PartFolder) -> None:
        """Add what one part measured of its own models."""
        record = RunRecord.read(folder.record)
        ids = dict(zip(storage.read_json(folder.ids, "list of models")["models"], part.model_ids, strict=True))
        of_part = {old for old, new in ids.items() if new in set(part.models)}
        if self.first is None or (part.timed and not self.first.protocol.get("sessions_taken")):
            self.first = record
        host = record.environment.host
        self.hosts.add(tuple(host.get(fact) for fact in _OF_A_MACHINE))
        for card in record.models:
            if card.id in of_part:
                self.cards[ids[card.id]] = _card(card, ids, plan)
        # A companion has numbers that are about an own model: the other side of an example.
        self.measurements += [
            _renamed(m, ids) for m in record.measurements if m.model in of_part or m.axes.get("beside") in of_part
        ]
        self.pairs += [_pair(pair, ids) for pair in record.pairs if pair.student in of_part]
        self.layers += [
            layer.model_copy(update={"model": ids[layer.model]}) for layer in record.layers if layer.model in of_part
        ]
        self._warn(warning for warning in record.warnings if warning.model is None or warning.model in of_part)
        self._sample(read_samples(folder.samples), of_part, ids)
        reference = next((old for old, new in ids.items() if new == plan.reference), None)
        of_reference = record.find(reference, "latency_p50_ns") if reference is not None and part.timed else None
        if of_reference is not None and of_reference.value is not None:
            self.drift.append(of_reference.value)

    def _warn(self, warnings: Iterable[Diagnostic]) -> None:
        for warning in warnings:
            key = warning.code, warning.message, warning.model
            if key in self.warnings:
                continue
            kind = warning.code, warning.remedy
            if warning.model is None and self.kept[kind] >= _MAX_SAME_CODE:
                self.more[kind] += 1
                continue
            self.kept[kind] += warning.model is None
            self.warnings[key] = warning

    def _sample(self, samples: Samples, of_part: set[str], ids: Mapping[str, str]) -> None:
        for old in of_part:
            for key in (correct_key, squared_error_key):
                if key(old) in samples:
                    self.samples[key(ids[old])] = samples[key(old)]


@cycle_collection_paused()
def merged(plan: SweepPlan, measured: Measured, failed: Mapping[str, str], command: str) -> tuple[RunRecord, Samples]:
    """Return the record of a sweep, and the samples behind its scores; `failed` maps models to why they are missing."""
    everything = _Merged()
    for part, of_part in measured:
        everything.add(plan, part, of_part)
    first, recipe = everything.first, plan.recipe
    assert first is not None, "something was measured"
    order = {id_: place for place, id_ in enumerate((*(job.id for job in plan.jobs), *everything.cards))}
    timed = sum(bool(part.timed) for part, _ in measured)
    together = {**first.protocol, **_protocol(everything, plan, timed)}
    record = RunRecord(
        kind="run",
        name=recipe.name,
        title=recipe.title,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        recipe=recipe.published(),
        recipe_hash=recipe.hash(),
        protocol=together,
        environment=first.environment,
        models=tuple(sorted(everything.cards.values(), key=lambda card: order[card.id])),
        measurements=tuple(
            # Parts of one session each are compared by the interval that holds the long run.
            m.model_copy(update={"within_run": None}) if timed > 1 and m.within_run is not None else m
            for m in everything.measurements
            if timed > 1 or m.metric != METRIC
        ),
        pairs=tuple(everything.pairs),
        layers=tuple(everything.layers),
        warnings=(*everything.warnings.values(), *_about_parts(everything), *_missing(failed)),
    )
    return record, everything.samples


def _protocol(everything: _Merged, plan: SweepPlan, timed: int) -> dict[str, Any]:
    if timed < 2:
        return {}
    facts: dict[str, Any] = {"timed_parts": timed, "reference": plan.reference}
    if everything.drift:
        least, most = min(everything.drift), max(everything.drift)
        facts["reference_p50"] = {"least_ns": least, "most_ns": most}
    return facts


def _about_parts(everything: _Merged) -> Iterator[Diagnostic]:
    for (code, remedy), count in everything.more.items():  # reports group by both: it stands below those that are kept
        message = f"{count} more such warnings are in parts/*/record.json"
        yield Diagnostic(code=code, message=message, remedy=remedy)
    if len(everything.hosts) > 1:
        message = f"the parts of the sweep were measured on {len(everything.hosts)} machines"
        remedy = "compare times relative to the model that all parts share, or measure on one machine"
        yield Diagnostic(code="several_machines", message=message, remedy=remedy)


def _missing(failed: Mapping[str, str]) -> Iterator[Diagnostic]:
    for id_, reason in failed.items():
        message = f"{id_} is missing: {reason}"
        yield Diagnostic(code="point_failed", message=message, remedy="resume the sweep to try again")


def _card(card: ModelCard, ids: Mapping[str, str], plan: SweepPlan) -> ModelCard:
    """Return a card as the present plan names the model and its place in the sweep."""
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
