"""Is a model ready for a device? A run held against a target, one criterion at a time.

A required FAIL settles it: whatever is not known would not help. Only where every required criterion is a PASS is a
model READY; all else is INCONCLUSIVE. A run on another machine says nothing of the target's times and energies, so that
it can show a model to be NOT READY, and never READY.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from kdbench.judge.bounds import LimitCheck, Reading, check_limit, weakness
from kdbench.judge.candidates import candidates
from kdbench.judge.criteria import Limit
from kdbench.judge.device import differences, machine_in_words, machine_name
from kdbench.judge.relative import read
from kdbench.judge.target import Target
from kdbench.results.cards import ModelCard
from kdbench.results.metrics import metric as declared
from kdbench.results.records import Diagnostic, RunRecord
from kdbench.results.verdicts import OVERALLS, Criterion, ModelVerdict, Overall, Verdict

# The machine was not as it is when it works undisturbed: its times and energies are those of another state. A clock
# that was slowed leaves memory as it is.
INVALIDATING = {"throttled": "the machine throttled itself", "swapping": "memory was fetched from disk"}


def judge(record: RunRecord, target: Target, models: Sequence[str] | None = None) -> Verdict:
    """Return how the record's candidates stand to the target; `models` names those to judge, by id or name.

    Without names these are all models but the teachers, of several seeds the one that was timed. Raises InputError
    for a name that the record does not have.
    """
    trial = _Trial(record, target)
    judged = tuple(trial.of(card) for card in candidates(record, models))
    return Verdict(
        target=target.name,
        title=target.in_words,
        example=target.example,
        run=record.title or record.name,
        record_hash=record.hash(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        overall=_of_run(judged),
        best=trial.best([model.model for model in judged if model.overall == "READY"]),
        models=judged,
        measured_on=machine_in_words(record),
        cautions=tuple(dict.fromkeys(warned.code for warned in record.warnings)),
    )


@dataclass(frozen=True)
class _Trial:
    """One record before one target."""

    record: RunRecord
    target: Target

    @cached_property
    def elsewhere(self) -> str:
        """In what the record's machine is another than the target's; empty where it is the target's."""
        return "; ".join(differences(self.record, self.target.device))

    def of(self, card: ModelCard) -> ModelVerdict:
        criteria = (self._device(), *(self._criterion(card, limit) for limit in self.target.limits))
        return ModelVerdict(model=card.id, overall=_of_model(criteria), criteria=criteria)

    def best(self, ready: Sequence[str]) -> str | None:
        """Return the first of `ready` by the metrics that the target prefers; what cannot be relied on comes last."""

        def rank(model: str) -> list[tuple[bool, float]]:
            return [self._rank(model, metric) for metric in self.target.prefer]

        return min(ready, key=rank, default=None)

    def _rank(self, model: str, metric: str) -> tuple[bool, float]:
        limit = next((each for each in self.target.limits if each.metric == metric), None)
        found = read(
            self.record,
            self.record.cards[model],
            Limit(metric, "min", 0.0, limit.axes if limit else {}),
            self.target.device,
        )
        if found.value is None or found.status != "ok" or found.evidence != "measured":
            return True, 0.0
        return False, -found.value if declared(metric).higher_is_better else found.value

    def _device(self) -> Criterion:
        here = machine_in_words(self.record)
        if not self.elsewhere:
            asked = f"measured on {here}" if self.target.device.named else f"any machine counts: measured on {here}"
            return Criterion(metric="device", rule="device", outcome="PASS", reason=asked)
        return Criterion(
            metric="device",
            rule="device",
            outcome="UNKNOWN",
            reason=f"measured on {machine_name(self.record)}, not on {self.target.in_words}: {self.elsewhere}",
            remedy=f"measure on {self.target.in_words}",
        )

    def _criterion(self, card: ModelCard, limit: Limit) -> Criterion:
        found = read(self.record, card, limit, self.target.device)
        standing = self._foreign(limit) or self._disturbed(card, found) or _stand(found, limit)
        return Criterion(
            metric=limit.metric,
            rule=limit.rule,
            outcome=standing.outcome,
            limit=limit.value,
            unit=found.of.unit,
            axes=dict(found.axes or limit.axes),
            required=limit.required,
            value=found.value,
            interval=found.interval,
            n=found.n,
            evidence=None if found.value is None else found.evidence,
            reason=standing.reason,
            remedy=standing.remedy,
        )

    def _foreign(self, limit: Limit) -> LimitCheck | None:
        """Return UNKNOWN for what another machine says nothing of."""
        if not self.elsewhere or not limit.held_against.hardware_dependent:
            return None
        here, there = machine_name(self.record), self.target.in_words
        return LimitCheck("UNKNOWN", f"measured on {here}, not on {there}", f"measure on {there}")

    def _disturbed(self, card: ModelCard, found: Reading) -> LimitCheck | None:
        """Return UNKNOWN for what was taken while the machine was not itself."""
        if not found.of.hardware_dependent or weakness(found, "estimated") is not None:
            return None
        codes = INVALIDATING.keys() - ({"throttled"} if found.of.unit == "bytes" else set())
        warned = next((w for w in self.record.warnings if w.code in codes and _about(w, card)), None)
        if warned is None:
            return None
        return LimitCheck("UNKNOWN", f"{INVALIDATING[warned.code]}: {warned.message}", warned.remedy)


def _about(warned: Diagnostic, card: ModelCard) -> bool:
    return warned.model in {None, card.id}


def _stand(found: Reading, limit: Limit) -> LimitCheck:
    return check_limit(found, limit.side, limit.value, weakest=limit.evidence)


def _of_model(criteria: Sequence[Criterion]) -> Overall:
    outcomes = {criterion.outcome for criterion in criteria if criterion.required}
    if "FAIL" in outcomes:
        return "NOT READY"
    return "READY" if outcomes == {"PASS"} else "INCONCLUSIVE"


def _of_run(models: Sequence[ModelVerdict]) -> Overall:
    """Return the run's verdict: one model that is ready is enough, and one that might be leaves it open."""
    found: set[Overall] = {model.overall for model in models}
    return next(overall for overall in OVERALLS if overall in found)
