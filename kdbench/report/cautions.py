"""The record's warnings as a reader meets them: what has one remedy is said together."""

from dataclasses import dataclass

from kdbench.results.records import RunRecord


@dataclass(frozen=True)
class Caution:
    """One thing to do, and why: `reasons` are pairs of a model's id (None: the whole run) and a message."""

    code: str
    remedy: str
    reasons: tuple[tuple[str | None, str], ...]


def cautions(record: RunRecord) -> list[Caution]:
    """Return the record's warnings, those of one code and remedy together, in the order of their first."""
    together: dict[tuple[str, str], list[tuple[str | None, str]]] = {}
    for warning in record.warnings:
        together.setdefault((warning.code, warning.remedy), []).append((warning.model, warning.message))
    return [Caution(code, remedy, tuple(reasons)) for (code, remedy), reasons in together.items()]
