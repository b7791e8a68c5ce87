"""The warnings of a record, grouped by what they mean and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from kdbench.report.text.warning_titles import warning_title
from kdbench.results.ranges import form_of, with_ranges
from kdbench.results.records import Diagnostic, RunRecord
from kdbench.results.records.index import once_per_record

_MAX_REASONS, _FEW_REASONS = 100, 20  # of one group
_MAX_NAMED, _FEW_NAMED = 4, 3  # models of one reason


@dataclass(frozen=True)
class WarningReason:
    """What is wrong with `models`, or, without models, with the whole run."""

    models: tuple[str, ...]
    message: str

    @property
    def named(self) -> tuple[str, ...]:
        """The models to name: all, or the first of many."""
        return self.models if len(self.models) <= _MAX_NAMED else self.models[:_FEW_NAMED]

    @property
    def others(self) -> int:
        """How many models are not named."""
        return len(self.models) - len(self.named)


@dataclass(frozen=True)
class WarningGroup:
    """The warnings of one code and remedy."""

    code: str
    remedy: str
    reasons: tuple[WarningReason, ...]

    @property
    def title(self) -> str:
        """What the code means, in a few words with a capital letter."""
        title = warning_title(self.code)
        return f"{title[:1].upper()}{title[1:]}"


@once_per_record
def grouped_warnings(record: RunRecord) -> list[WarningGroup]:
    """Return the record's warnings grouped by code and remedy, in the order of their first occurrence.

    Warnings that differ only in their model and in quantities are one reason, with the range of each quantity. Of more
    than a hundred reasons the first ones are listed and the others counted.
    """
    groups: dict[tuple[str, str], list[Diagnostic]] = {}
    for warning in record.warnings:
        groups.setdefault((warning.code, warning.remedy), []).append(warning)
    return [WarningGroup(code, remedy, _fewer(_reasons(same))) for (code, remedy), same in groups.items()]


def _reasons(warnings: Sequence[Diagnostic]) -> tuple[WarningReason, ...]:
    alike: dict[tuple[bool, tuple[str, ...]], list[Diagnostic]] = {}
    for warning in warnings:
        alike.setdefault((warning.model is None, form_of(warning.message)), []).append(warning)
    return tuple(
        WarningReason(
            tuple(dict.fromkeys(warning.model for warning in same if warning.model is not None)),
            with_ranges([warning.message for warning in same]),
        )
        for same in alike.values()
    )


def _fewer(reasons: tuple[WarningReason, ...]) -> tuple[WarningReason, ...]:
    """Return all reasons, or the first of many and the number of the others."""
    if len(reasons) <= _MAX_REASONS:
        return reasons
    left = len(reasons) - _FEW_REASONS
    return (*reasons[:_FEW_REASONS], WarningReason((), f"{left:,} more such warnings are in `record.json`"))
