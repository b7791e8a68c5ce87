"""What became of one bound: a value that travels with a test's report, from xdist's workers too, and into JUnit XML."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

PROPERTY = "kdbench"  # the name of a report's property that holds one bound, as JSON
NOT_JUDGED = "NOT JUDGED"
_MET = {"PASS", "READY", "same", "improved"}


@dataclass(frozen=True)
class Judged:
    """A bound, and how what was found stands to it.

    `subject` is what was looked at and `what` of it, `found` the number with its interval and `asked` the limit, all in
    words; `numbers` are the same as JSON values. `passed` says whether the test may go on, which after a MARGINAL
    depends on the settings.
    """

    subject: str
    what: str
    found: str
    asked: str
    outcome: str
    passed: bool
    reason: str = ""
    remedy: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether the bound is met: what is only let pass, such as a MARGINAL, is not."""
        return self.outcome in _MET

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        told = f"{self.subject}: {self.what} is {self.found}; {self.asked} is asked for"
        return told if self.outcome in self.found else f"{told}: {self.outcome}"

    @property
    def message(self) -> str:
        """What a failed test says: the line, the reason where that is not in it, and the remedy."""
        reason = "" if self.reason in self.found else self.reason
        hint = f"hint: {self.remedy}" if self.remedy else ""
        return "\n".join(line for line in (self.sentence, reason, hint) if line)

    def to_json(self) -> dict[str, Any]:
        """Return the bound as JSON values: the numbers, and beside them what the words of the other fields are."""
        words = asdict(self)
        return {**words.pop("numbers"), **words}

    def to_property(self) -> tuple[str, str]:
        """Return the bound as a property of its test's report."""
        return PROPERTY, json.dumps(asdict(self), ensure_ascii=False)


def judged_of(properties: Iterable[tuple[str, object]]) -> tuple[Judged, ...]:
    """Return the bounds among a report's properties, in the order in which they were held."""
    return tuple(Judged(**json.loads(str(value))) for name, value in properties if name == PROPERTY)
