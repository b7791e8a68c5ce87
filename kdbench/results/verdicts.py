"""Verdicts: the models of a run judged by a target's criteria."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from kdbench.files import storage
from kdbench.results.cards import Evidence
from kdbench.results.records import Interval
from kdbench.results.run_folder import RunFolder
from kdbench.results.values import StoredValue
from kdbench.user_input.validation import Value

Outcome = Literal["PASS", "FAIL", "MARGINAL", "UNKNOWN"]
"""Of one criterion. MARGINAL: the interval straddles the limit. UNKNOWN: there is no reliable number."""

Overall = Literal["READY", "NOT READY", "INCONCLUSIVE"]
OVERALLS: tuple[Overall, ...] = ("READY", "INCONCLUSIVE", "NOT READY")
"""The best first."""

Rule = Literal["max", "min", "max_drop_vs_teacher", "max_negative_flips", "min_ratio_vs_teacher", "device"]

_EXIT_CODES: dict[Overall, int] = {"READY": 0, "NOT READY": 1, "INCONCLUSIVE": 2}


class Criterion(Value):
    """One limit of a target, and whether one model meets it.

    `value` and `limit` are in `unit`: the metric's, or that of the comparison with the teacher, by the rule. For the
    rule `device`, `metric` is "device" and there are no numbers. `reason` explains the outcome and `remedy` says what
    would turn it into PASS; both are empty for a PASS.
    """

    metric: str
    rule: Rule
    outcome: Outcome
    limit: float | None = None
    unit: str = ""
    axes: dict[str, str | int] = Field(default_factory=dict)
    required: bool = True
    value: float | None = None
    interval: Interval | None = None
    n: int | None = None
    evidence: Evidence | None = None
    reason: str = ""
    remedy: str = ""


class ModelVerdict(Value):
    """One model against a target's criteria, in the target's order."""

    model: str
    overall: Overall
    criteria: tuple[Criterion, ...]

    @property
    def missing(self) -> tuple[Criterion, ...]:
        """The required criteria without a PASS, which keep the model from being READY."""
        return tuple(c for c in self.criteria if c.required and c.outcome != "PASS")


class Verdict(StoredValue):
    """A run judged by a target: every candidate's verdict, and the best model that is READY.

    `example` says that the target's numbers are only examples. `record_hash` is the content hash of the judged record;
    reports show a verdict only with that state of the record. `measured_on` is the machine in words, `device` its name
    where it is a device whose results were merged into the record; `cautions` are the codes of that machine's warnings.
    """

    file_kind = "verdict"
    hint = "judge the run again"

    schema_version: Literal[1] = Field(default=1, alias="schema")
    target: str
    title: str
    example: bool = False
    run: str
    record_hash: str
    created: str
    overall: Overall
    best: str | None = None
    models: tuple[ModelVerdict, ...] = Field(min_length=1)
    measured_on: str = ""
    device: str = ""
    cautions: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ready = [m.model for m in self.models if m.overall == "READY"]
        if not (self.best in ready if ready else self.best is None):
            raise ValueError(f"best is {self.best!r}, ready are {ready}")
        return self

    @property
    def outcome(self) -> Overall:
        """READY, NOT READY or INCONCLUSIVE: `overall` by its other name."""
        return self.overall

    @property
    def nearest(self) -> ModelVerdict:
        """The best model, else the first with the fewest FAILs, then the fewest other missing criteria."""

        def rank(model: ModelVerdict) -> tuple[bool, int, int]:
            fails = sum(criterion.outcome == "FAIL" for criterion in model.missing)
            return model.model != self.best, fails, len(model.missing)

        return min(self.models, key=rank)

    @property
    def exit_code(self) -> int:
        """0 READY, 1 NOT READY, 2 INCONCLUSIVE."""
        return _EXIT_CODES[self.overall]


def write_verdicts(verdicts: Sequence[Verdict], folder: RunFolder) -> list[Path]:
    """Write verdicts to a run's folder, replacing earlier ones on the same targets; return their paths.

    Raises StorageError.
    """
    if verdicts:
        storage.make_folder(folder.verdicts)
    for verdict in verdicts:
        verdict.write(folder.verdict(verdict.target))
    return [folder.verdict(verdict.target) for verdict in verdicts]
