"""Is a model ready for a device? Judge a run against a target, one criterion at a time.

A required FAIL settles it: no unknown would help. A model is READY only where every required criterion is a PASS;
everything else is INCONCLUSIVE. A run on another machine says nothing of the target's times and energies, so it can
show that a model is NOT READY, and never that it is READY.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from kdbench.judge.candidates import candidates
from kdbench.judge.criteria import Limit
from kdbench.judge.device import differences, machine_in_words, machine_name
from kdbench.judge.limits import LimitCheck, Reading, check_limit, reliability_problem
from kdbench.judge.readings import read
from kdbench.judge.target import Target
from kdbench.results.cards import ModelCard
from kdbench.results.metrics import metric as declared
from kdbench.results.records import RunRecord
from kdbench.results.verdicts import OVERALLS, Criterion, ModelVerdict, Overall, Verdict

# Diagnostics that make times and energies those of another state of the machine. A slowed clock leaves memory as it is.
INVALIDATING = {"throttled": "the machine throttled itself", "swapping": "memory was fetched from disk"}


def judge(record: RunRecord, target: Target, models: Sequence[str] | None = None) -> Verdict:
    """Return the verdict on the record's candidates; `models` names those to judge, by id or name.

    Without names these are all models but the teachers, of several seeds the one that was timed. Raises InputError
    for a name that the record does not have.
    """
    case = _Case(record, target)
    verdicts = tuple(case.judge_model(card) for card in candidates(record, models))
    return Verdict(
        target=target.name,
        title=target.in_words,
        example=target.example,
        run=record.title or record.name,
        record_hash=record.hash(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        overall=_overall(verdicts),
        best=case.best([verdict.model for verdict in verdicts if verdict.overall == "READY"]),
        models=verdicts,
        measured_on=machine_in_words(record),
        cautions=tuple(dict.fromkeys(diagnostic.code for diagnostic in record.warnings)),
    )


@dataclass(frozen=True)
class _Case:
    """A record and the target that it is judged against."""

    record: RunRecord
    target: Target

    @cached_property
    def device_differences(self) -> str:
        """How the record's machine differs from the target's; empty where it does not."""
        return "; ".join(differences(self.record, self.target.device))

    def judge_model(self, card: ModelCard) -> ModelVerdict:
        criteria = (self._device_criterion(), *(self._criterion(card, limit) for limit in self.target.limits))
        return ModelVerdict(model=card.id, overall=_overall_of_model(criteria), criteria=criteria)

    def best(self, ready: Sequence[str]) -> str | None:
        """Return the first of `ready` by the metrics that the target prefers; unreliable numbers rank last."""

        def ranks(model: str) -> list[tuple[bool, float]]:
            return [self._rank(model, metric) for metric in self.target.prefer]

        return min(ready, key=ranks, default=None)

    def _rank(self, model: str, metric: str) -> tuple[bool, float]:
        limit = next((limit for limit in self.target.limits if limit.metric == metric), None)
        reading = read(
            self.record,
            self.record.cards[model],
            Limit(metric, "min", 0.0, limit.axes if limit else {}),
            self.target.device,
        )
        if reading.value is None or reading.status != "ok" or reading.evidence != "measured":
            return True, 0.0
        return False, -reading.value if declared(metric).higher_is_better else reading.value

    def _device_criterion(self) -> Criterion:
        machine = machine_in_words(self.record)
        if not self.device_differences:
            condition = "" if self.target.device.is_restricted else "any machine counts: "
            reason = f"{condition}measured on {machine}"
            return Criterion(metric="device", rule="device", outcome="PASS", reason=reason)
        here, there = machine_name(self.record), self.target.in_words
        return Criterion(
            metric="device",
            rule="device",
            outcome="UNKNOWN",
            reason=f"measured on {here}, not on {there}: {self.device_differences}",
            remedy=f"measure on {there}",
        )

    def _criterion(self, card: ModelCard, limit: Limit) -> Criterion:
        reading = read(self.record, card, limit, self.target.device)
        check = (
            self._other_machine(limit)
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
            remedy=check.remedy,
        )

    def _other_machine(self, limit: Limit) -> LimitCheck | None:
        """Return UNKNOWN for a number that another machine says nothing about."""
        if not self.device_differences or not limit.checked_metric.hardware_dependent:
            return None
        here, there = machine_name(self.record), self.target.in_words
        return LimitCheck("UNKNOWN", f"measured on {here}, not on {there}", f"measure on {there}")

    def _disturbed(self, card: ModelCard, reading: Reading) -> LimitCheck | None:
        """Return UNKNOWN for a number that was measured while the machine was disturbed."""
        if not reading.metric.hardware_dependent or reliability_problem(reading, "estimated") is not None:
            return None
        codes = INVALIDATING.keys() - ({"throttled"} if reading.metric.unit == "bytes" else set())
        about_model = (d for d in self.record.warnings if d.code in codes and d.model in {None, card.id})
        diagnostic = next(about_model, None)
        if diagnostic is None:
            return None
        return LimitCheck("UNKNOWN", f"{INVALIDATING[diagnostic.code]}: {diagnostic.message}", diagnostic.remedy)


def _overall_of_model(criteria: Sequence[Criterion]) -> Overall:
    outcomes = {criterion.outcome for criterion in criteria if criterion.required}
    if "FAIL" in outcomes:
        return "NOT READY"
    return "READY" if outcomes == {"PASS"} else "INCONCLUSIVE"


def _overall(verdicts: Sequence[ModelVerdict]) -> Overall:
    """Return the run's verdict: one READY model is enough, and one INCONCLUSIVE model leaves it open."""
    return next(overall for overall in OVERALLS if any(verdict.overall == overall for verdict in verdicts))
