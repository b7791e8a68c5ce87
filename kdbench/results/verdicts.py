"""What judging leaves behind: the verdict on a run, and the comparison of two.

Frozen values like a record: `judge` makes them, `report` turns them into text, CI reads their JSON.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from kdbench import storage
from kdbench.errors import InputError
from kdbench.results.cards import Evidence
from kdbench.results.records import Interval
from kdbench.validation import Value, problem

Outcome = Literal["PASS", "FAIL", "MARGINAL", "UNKNOWN"]
"""Of one criterion. MARGINAL: the interval straddles the limit. UNKNOWN: no number, or one too weak to rely on."""

Overall = Literal["READY", "NOT READY", "INCONCLUSIVE"]
OVERALLS: tuple[Overall, ...] = ("READY", "INCONCLUSIVE", "NOT READY")
"""The best first."""

Rule = Literal["max", "min", "max_drop_vs_teacher", "min_ratio_vs_teacher", "device"]

Change = Literal["regressed", "improved", "same", "inconclusive"]
"""Of one number. A change counts when it is both significant and large; `same`: at worst within the threshold."""

CHANGES: tuple[Change, ...] = ("regressed", "inconclusive", "improved", "same")
"""The worst first."""

Way = Literal["exact", "paired", "anchored", "separate"]
"""How two numbers were compared: counted; side by side; each beside a model that both records have; on their own."""

REMEASURED = "compare"
"""The name of a record that was measured for a comparison alone."""

EXIT_CODES: dict[str, int] = {"READY": 0, "NOT READY": 1, "INCONCLUSIVE": 2} | {
    "improved": 0,
    "same": 0,
    "regressed": 1,
    "inconclusive": 2,
}


class Criterion(Value):
    """One bound of a target, and how one model stands to it.

    `value` and `limit` are in `unit`: the metric's own, or the drop's or ratio's (points, 1) where the rule is relative
    to the teacher. `metric` is what the target asks for; of the rule `device` it is "device", without numbers.
    `reason` says in words why the outcome is what it is, `remedy` what would turn it into PASS; empty for a PASS.
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
        """The required criteria that are no PASS: what is missing to become READY."""
        return tuple(c for c in self.criteria if c.required and c.outcome != "PASS")


class Verdict(Value):
    """A run against a target: every candidate's standing, and the best that passes.

    `example` says that the target's numbers are examples. `record_hash` is the content hash of the record that was
    judged: a verdict of another record, or of an older state of it, is not to be shown beside it. `measured_on` is the
    machine in words, `cautions` are the codes of the record's warnings.
    """

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
    cautions: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ready = [m.model for m in self.models if m.overall == "READY"]
        if (self.best is not None) != bool(ready) or (self.best is not None and self.best not in ready):
            raise ValueError(f"best is {self.best!r}, ready are {ready}")
        return self

    @property
    def nearest(self) -> ModelVerdict:
        """The best model, or else the first of those that lack least: fewest required FAILs, then fewest open ones."""
        best = next((each for each in self.models if each.model == self.best), None)
        return best or min(self.models, key=_lack)

    @property
    def exit_code(self) -> int:
        """0 READY, 1 NOT READY, 2 INCONCLUSIVE."""
        return EXIT_CODES[self.overall]

    def write(self, path: Path) -> None:
        """Write the verdict to `path`, whole or not at all."""
        storage.write_json(path, self.model_dump(mode="json", by_alias=True))

    @classmethod
    def read(cls, path: Path) -> "Verdict":
        """Read a verdict; raises InputError if there is none or it does not hold together."""
        try:
            return cls.model_validate(storage.read_json(path, "verdict"))
        except ValidationError as error:
            raise InputError(
                f"{path} is not a valid verdict: {problem(error).message}", "judge the run again"
            ) from error


def _lack(model: ModelVerdict) -> tuple[int, int]:
    return sum(criterion.outcome == "FAIL" for criterion in model.missing), len(model.missing)


class Compared(Value):
    """One metric of a model before and after.

    `base` and `new` are values in the metric's unit. `change` is new over base, so 1 is no change; for shares, new
    minus base in percentage points, so 0 is none; `interval` is the change's. `threshold` is how much worse the change
    may be, as a positive relative difference, or in points. `anchor` is the model beside which an `anchored` change
    was found: it is then not the quotient of the two values. `reason` says why, where the outcome does not speak for
    itself; `remedy` what would settle it.
    """

    base_model: str
    new_model: str
    metric: str
    axes: dict[str, str | int] = Field(default_factory=dict)
    unit: str
    base: float | None = None
    new: float | None = None
    change: float | None = None
    interval: Interval | None = None
    n: int | None = None
    threshold: float
    way: Way | None = None
    anchor: str = ""
    outcome: Change
    reason: str = ""
    remedy: str = ""

    @property
    def in_points(self) -> bool:
        """Whether the change is a difference in percentage points rather than a ratio."""
        return self.unit == "share"


class Comparison(Value):
    """Two records, or two states of a model measured side by side: what changed.

    `base` and `new` say in words what was compared, such as a run's name and commit. `lost` are models of the base that
    the new one lacks, which makes it inconclusive at best; `added` are new ones, which gate nothing.

    `remeasured` says that both were measured side by side for this comparison; `identical` are then the models whose
    file is the same on both sides, of which nothing was measured, and `machine` says where the others were.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    base: str
    new: str
    created: str
    overall: Change
    remeasured: bool = False
    rows: tuple[Compared, ...]
    identical: tuple[str, ...] = ()
    machine: str = ""
    lost: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 same or better, 1 regressed, 2 inconclusive."""
        return EXIT_CODES[self.overall]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return self.model_dump(mode="json", by_alias=True)
