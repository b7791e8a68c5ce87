"""A run held against a target, as a test asks it."""

from collections.abc import Iterator
from pathlib import Path

from kdbench.judge.readiness import judge
from kdbench.judge.target import load_target, shipped_targets
from kdbench.results.records import RunRecord
from kdbench.results.verdicts import Verdict
from kdbench.testing.judged import Judged
from kdbench.testing.places import Places

_MOST = 8  # lines on what is missing: of many models, they say much the same


def verdict_on(record: RunRecord, places: Places, target: str | Path, model: str | None) -> Verdict:
    """Return the verdict on a record; a target that is no shipped one is a file. Raises InputError for what is not."""
    named = str(target)
    if named.endswith(".toml") and named not in shipped_targets():
        named = str(places.find(named, "target"))
    return judge(record, load_target(named), [model] if model is not None else None)


def held(run: str, verdict: Verdict) -> Judged:
    """Return the verdict on what is called `run` as what became of a bound; what is missing is its reason."""
    ready = verdict.overall == "READY"
    lines = [] if ready else list(_missing(verdict))
    left = [f"… and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    return Judged(
        subject=run,
        what=f"readiness for {verdict.title}",
        found=f"{verdict.overall} ({verdict.best})" if ready else verdict.overall,
        asked="READY",
        outcome=verdict.overall,
        passed=ready,
        reason="\n".join([*lines[:_MOST], *left]),
        remedy="" if ready else "`kdbench ready` shows all criteria in a table",
        numbers={"target": verdict.target, "best": verdict.best, "record_hash": verdict.record_hash},
    )


def _missing(verdict: Verdict) -> Iterator[str]:
    """Write what each model lacks to become READY, and what would give it that."""
    for found in verdict.models:
        for lacking in found.missing:
            remedy = f" ({lacking.remedy})" if lacking.remedy else ""
            yield f"{found.model}: {lacking.metric} {lacking.outcome}: {lacking.reason}{remedy}"
