"""Is a model ready for a device? Judge a run against a target, one criterion at a time.

A required FAIL makes a model NOT READY, regardless of unknown criteria. A model is READY only if every required
criterion is a PASS; everything else is INCONCLUSIVE. A run on another machine implies nothing about the target's times
and energies: it can show that a model is NOT READY, but never that it is READY.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from kdbench.errors import InputError
from kdbench.files.cycles import cycle_collection_paused
from kdbench.judge.criteria import Limit
from kdbench.judge.device import Device, differences, machine_description, machine_name, remedy
from kdbench.judge.limits import LimitCheck, Reading, check_limit, reliability_problem
from kdbench.judge.readings import read
from kdbench.judge.target import Target
from kdbench.registry import suggestion
from kdbench.results.cards import ModelCard, seed_groups, without_teachers
from kdbench.results.metrics import metric as declared
from kdbench.results.records import Diagnostic, RunRecord
from kdbench.results.records.devices import of_device, of_host
from kdbench.results.verdicts import OVERALLS, Criterion, ModelVerdict, Overall, Verdict
from kdbench.user_input.hints import as_recipe_keys

# Diagnostics that invalidate times and energies. A slowed clock does not change memory.
INVALIDATING = {"throttled": "the machine throttled itself", "swapping": "memory was fetched from disk"}


@cycle_collection_paused()
def judge(record: RunRecord, target: Target, models: Sequence[str] | None = None) -> Verdict:
    """Return the verdict on the record's `candidates`; raises InputError for unknown models."""
    device = _judged_device(record, target)
    view = of_host(record) if device is None else of_device(record, device)
    case = _Case(view, target, on_host=device is None)
    verdicts = tuple(case.judge_model(card) for card in candidates(view, models))
    return Verdict(
        target=target.name,
        title=target.description,
        example=target.example,
        run=record.title or record.name,
        record_hash=record.hash(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        # One READY model is enough, and one INCONCLUSIVE model leaves it open.
        overall=next(overall for overall in OVERALLS if any(verdict.overall == overall for verdict in verdicts)),
        best=case.best([verdict.model for verdict in verdicts if verdict.overall == "READY"]),
        models=verdicts,
        measured_on=machine_description(view),
        device=device or "",
        cautions=tuple(dict.fromkeys(diagnostic.code for diagnostic in view.warnings)),
    )


def _judged_device(record: RunRecord, target: Target) -> str | None:
    """Return the name of the device that a target is judged on; None for the host (`results.devices`).

    That is the device that was measured for the target, if it meets the target's conditions; else the host if it does;
    else the latest device that does. If none does, it is the host, whose metrics of the files still count.
    """
    latest = record.devices[::-1]
    same_target = [device.name for device in latest if device.target == target.name]
    for name in (*same_target, None, *(device.name for device in latest)):
        view = of_host(record) if name is None else of_device(record, name)
        if not differences(view, target.device):
            return name
    return None


def candidates(record: RunRecord, models: Sequence[str] | None = None) -> list[ModelCard]:
    """Return the models to judge: `models`, by id or name, or else all but the teachers, if there are others.

    Of a model that was trained with several seeds, the timed seed counts, or else the first: that file would ship.
    Raises InputError for a name that the record does not have, and for a record without models.
    """
    if not record.models:
        raise InputError("the record has no models to judge", "measure models first: `kdbench bench MODEL…`")
    if models:
        return list({card.id: card for name in models for card in _named(record, name)}.values())
    return _one_per_seed_group(record, without_teachers(record.models))


def _named(record: RunRecord, name: str) -> list[ModelCard]:
    if name in record.cards:
        return [record.cards[name]]
    cards = [card for card in record.models if card.name == name]
    if not cards:
        known = list(dict.fromkeys(word for card in record.models for word in (card.name, card.id)))
        raise InputError(f"the record has no model {name!r}", suggestion(name, known))
    return _one_per_seed_group(record, cards)


def _one_per_seed_group(record: RunRecord, cards: Sequence[ModelCard]) -> list[ModelCard]:
    timed = {m.model for m in record.measurements if m.metric == "latency_p50_ns" and m.value is not None}
    return [next((card for card in group if card.id in timed), group[0]) for group in seed_groups(cards)]


@dataclass(frozen=True)
class _Case:
    """A record, of the host or of a device, and the target that it is judged against."""

    record: RunRecord
    target: Target
    on_host: bool

    @cached_property
    def other_machine(self) -> LimitCheck | None:
        """UNKNOWN for numbers that depend on the machine, where the record's is not the target's device."""
        if not differences(self.record, self.target.device):
            return None
        here, there = machine_name(self.record), self.target.description
        return LimitCheck(
            "UNKNOWN", f"measured on {here}, not on {there}", remedy(self.record, self.target.device, there)
        )

    def judge_model(self, card: ModelCard) -> ModelVerdict:
        criteria = (self._device_criterion, *(self._criterion(card, limit) for limit in self._limits))
        return ModelVerdict(model=card.id, overall=_overall_of_model(criteria), criteria=criteria)

    def best(self, ready: Sequence[str]) -> str | None:
        """Return the first of `ready` by the metrics that the target prefers; unreliable numbers rank last."""
        return min(ready, key=lambda model: [self._rank(model, id_) for id_ in self.target.prefer], default=None)

    def _rank(self, model: str, metric: str) -> tuple[bool, float]:
        axes = next((limit.axes for limit in self._limits if limit.metric == metric), {})
        limit = Limit(metric, "min", 0.0, axes)
        reading = read(self.record, self.record.cards[model], limit, self.target.device)
        if reading.value is None or reliability_problem(reading) is not None:
            return True, 0.0
        return False, -reading.value if declared(metric).higher_is_better else reading.value

    @cached_property
    def _limits(self) -> tuple[Limit, ...]:
        return self.target.limits

    @cached_property
    def _device_criterion(self) -> Criterion:
        if (check := self.other_machine) is not None:
            reason = f"{check.reason}: {'; '.join(differences(self.record, self.target.device))}"
            return Criterion(
                metric="device", rule="device", outcome=check.outcome, reason=reason, remedy=self._adapted(check.remedy)
            )
        condition = "" if self.target.device != Device() else "any machine is accepted: "
        reason = f"{condition}measured on {machine_description(self.record)}"
        return Criterion(metric="device", rule="device", outcome="PASS", reason=reason)

    def _criterion(self, card: ModelCard, limit: Limit) -> Criterion:
        reading = read(self.record, card, limit, self.target.device)
        check = (
            (self.other_machine if limit.checked_metric.hardware_dependent else None)
            or self._disturbed(card, reading)
            or check_limit(reading, limit.side, limit.value, weakest=limit.evidence)
        )
        return Criterion(
            metric=limit.metric,
            rule=limit.rule,
            outcome=check.outcome,
            limit=limit.value,
            unit=reading.metric.unit,
            axes=dict(reading.axes or limit.axes),
            required=limit.required,
            value=reading.value,
            interval=reading.interval,
            n=reading.n,
            evidence=None if reading.value is None else reading.evidence,
            reason=check.reason,
            remedy=self._adapted(check.remedy),
        )

    def _adapted(self, remedy: str) -> str:
        """Return a remedy in the terms of a recipe, if the numbers came from one on this machine."""
        return as_recipe_keys(remedy) if self.record.recipe is not None and self.on_host else remedy

    @cached_property
    def _disturbances(self) -> list[Diagnostic]:
        """The warnings that invalidate numbers: a few, of the machine."""
        return [diagnostic for diagnostic in self.record.warnings if diagnostic.code in INVALIDATING]

    def _disturbed(self, card: ModelCard, reading: Reading) -> LimitCheck | None:
        """Return UNKNOWN if the machine was disturbed when the number was measured."""
        if not reading.metric.hardware_dependent or reliability_problem(reading, "estimated") is not None:
            return None
        codes = INVALIDATING.keys() - ({"throttled"} if reading.metric.unit == "bytes" else set())
        about_model = (d for d in self._disturbances if d.code in codes and d.model in {None, card.id})
        checks = (LimitCheck("UNKNOWN", f"{INVALIDATING[d.code]}: {d.message}", d.remedy) for d in about_model)
        return next(checks, None)


def _overall_of_model(criteria: Sequence[Criterion]) -> Overall:
    outcomes = {criterion.outcome for criterion in criteria if criterion.required}
    if "FAIL" in outcomes:
        return "NOT READY"
    return "READY" if outcomes == {"PASS"} else "INCONCLUSIVE"
