"""The results of a run for experiment trackers, from its record: one tracked run per model. It needs no torch."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kdbench.distill.tracker import Parameter, TrackedModel, opened, require_trackers
from kdbench.distill.trackers import TRACKERS
from kdbench.errors import InputError
from kdbench.progress import Progress
from kdbench.results.cards import ModelCard
from kdbench.results.records import Measurement, Pair, RunRecord
from kdbench.results.run_folder import RunFolder

_CARD_KEYS = {"role", "name", "architecture", "bits", "seed", "file", "sha256", "parameters", "opset"}


def require_loggers(names: Sequence[str], place: str = "--log ") -> None:
    """Raise InputError as `require_trackers`; `place` is the text before the name in the user's command."""
    require_trackers(names, TRACKERS, place)


def log_results(record: RunRecord, folder: RunFolder, names: Sequence[str], progress: Progress) -> None:
    """Log the measured values of every model and the facts of the run to the trackers called `names`.

    Trackers write their files to the run's folder. Raises InputError if a tracker fails; the record stays complete.
    """
    key = record.hash() if names else ""
    for card in record.models if names else ():
        parameters = facts_of(record, card)
        models = {
            name: TrackedModel(card.id, record.name, folder.tracking / name, key, parameters)
            for name in dict.fromkeys(names)
        }
        values = values_of(record, card.id) | ratios_of(record, card.id)
        try:
            with opened(models, TRACKERS, progress) as trackers:
                for tracker in trackers:
                    tracker.begin(())
                    tracker.results(values)
        except InputError as error:
            raise InputError(error.message, f"{error.hint}; the results are in {folder.path}") from error
        if failed := next((tracker for tracker in trackers if tracker.failed), None):
            message = f"{failed.name} did not log the results of {card.id}: {failed.problem}"
            raise InputError(message, f"check its settings; the results are in {folder.path}")


def facts_of(record: RunRecord, card: ModelCard) -> dict[str, Parameter]:
    """Return the facts of a model, its run and its machine by dotted keys; unset ones are left out."""
    environment = record.environment.model_dump(mode="json", include={"host", "libraries"})
    model = card.model_dump(mode="json", include=_CARD_KEYS)
    facts = {"command": record.command, "created": record.created, "model": model, "protocol": record.protocol}
    return dict(flat({**facts, **environment}))


def values_of(record: RunRecord, model: str) -> dict[str, float]:
    """Return a model's measured values by metric and axes: `top1`, `latency_p50_ns/threads-1`."""
    measured = (m for m in record.measurements if m.model == model)
    return {_name(m.metric, m): m.value for m in measured if m.value is not None}


def ratios_of(record: RunRecord, model: str) -> dict[str, float]:
    """Return a model's ratios to its teachers: `latency_ratio/teacher-big/threads-1`."""
    pairs = (pair for pair in record.pairs if pair.student == model)
    return {_name(f"{p.metric}/teacher-{p.teacher}", p): p.value for p in pairs if p.value is not None}


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Parameter]]:
    """Yield the values of nested tables by dotted keys; lists are JSON, and empty values are left out."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        elif value not in (None, [], ""):
            yield f"{prefix}{key}", value if isinstance(value, str | int | float) else json.dumps(value)


def _name(metric: str, finding: Measurement | Pair) -> str:
    axes = (f"{axis}-{value}" for axis, value in finding.axes.items())
    return re.sub(r"[^\w./ -]", "_", "/".join([metric, *axes]))
