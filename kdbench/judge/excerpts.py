"""The excerpt of a record that a history needs: small enough to keep thousands, and fast to read again."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, TypeAdapter
from pydantic_core import from_json

from kdbench.files import storage
from kdbench.files.plain_json import is_suspicious
from kdbench.results.metrics import METRICS, PAIR_METRICS
from kdbench.results.records import SCHEMA_VERSION, Environment, Measurement, Pair, RunRecord
from kdbench.results.records.devices import of_host
from kdbench.results.run_folder import RunFolder
from kdbench.user_input.validation import Value

Finding = Measurement | Pair

MAIN = ("top1", "rmse", "latency_p50_ns", "latency_ratio", "size_bytes")
"""The metrics that a history shows by default."""

_KNOWN = METRICS.keys() | PAIR_METRICS.keys()
_MEASUREMENTS = TypeAdapter(list[Measurement])
_PAIRS = TypeAdapter(list[Pair])


def _adapter(metric: str) -> TypeAdapter[Any]:
    return _PAIRS if metric in PAIR_METRICS else _MEASUREMENTS


def _to_json(metric: str, findings: list[Any]) -> str:
    return _adapter(metric).dump_json(findings, exclude_defaults=True).decode()


class Excerpt(Value):
    """A record without its cards, layers and settings.

    `models` has names by id, `metrics` those that the record has, `results` the measurements or pairs of some of them
    as JSON: of the sixty metrics of a record a history shows five.
    """

    kind: Literal["run", "bench"]
    name: str
    created: str
    command: str
    environment: Environment
    test_set: str | None = None
    models: dict[str, str]
    metrics: tuple[str, ...]
    results: dict[str, str] = Field(repr=False)

    @classmethod
    def read(cls, file: Path, metrics: Collection[str]) -> Self:
        """Return the excerpt of the record `file`, with the results of `metrics`; raises InputError.

        What the excerpt keeps is checked as `RunRecord.read` does; the rest of the record is not, which is most of it.
        """
        excerpt = cls._from_json(RunFolder.of(file).record, metrics)
        return excerpt if excerpt is not None else cls.of(RunRecord.read(file), metrics)

    @classmethod
    def _from_json(cls, file: Path, metrics: Collection[str]) -> Self | None:
        """Return the excerpt of a record without devices; None where `RunRecord.read` has to read or refuse it."""
        try:
            storage.require_text(file)
            content = from_json(file.read_bytes(), allow_inf_nan=False)
            if content["schema"] != SCHEMA_VERSION or content.get("devices"):
                return None
            excerpt = cls._from_content(content, metrics)
            kept = excerpt.model_dump_json(exclude={"results"}), *excerpt.results.values()
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None
        return None if any(is_suspicious(text.encode()) for text in kept) else excerpt

    @classmethod
    def _from_content(cls, content: dict[str, Any], metrics: Collection[str]) -> Self:
        """Return the excerpt of a record's JSON values; raise ValueError, LookupError or TypeError for invalid ones."""
        measurements, pairs = content["measurements"], content.get("pairs", ())
        models = {card["id"]: card["name"] for card in content["models"]}
        measured = dict.fromkeys(result["metric"] for result in (*measurements, *pairs))
        used = {m["model"] for m in measurements} | {pair[role] for pair in pairs for role in ("teacher", "student")}
        if len(models) != len(content["models"]) or not used <= models.keys() or not measured.keys() <= _KNOWN:
            raise ValueError("a model is missing or listed twice, or a metric is unknown")
        results = {}
        for metric in measured.keys() & metrics:
            findings = pairs if metric in PAIR_METRICS else measurements
            valid = _adapter(metric).validate_python([item for item in findings if item["metric"] == metric])
            results[metric] = _to_json(metric, valid)
        test_set = content.get("protocol", {}).get("test_set_sha256")
        return cls(
            **{key: content[key] for key in ("kind", "name", "created", "command", "environment")},
            test_set=None if test_set is None else str(test_set),
            models=models,
            metrics=tuple(measured),
            results=results,
        )

    @classmethod
    def of(cls, record: RunRecord, metrics: Collection[str] | None = None) -> Self:
        """Return the excerpt of a record without devices, with the results of `metrics`; by default of all metrics."""
        record = of_host(record)
        results: tuple[Finding, ...] = (*record.measurements, *record.pairs)
        findings: dict[str, list[Finding]] = {}
        for finding in results:
            findings.setdefault(finding.metric, []).append(finding)
        kept = findings if metrics is None else findings.keys() & metrics
        test_set = record.protocol.get("test_set_sha256")
        return cls(
            kind=record.kind,
            name=record.name,
            created=record.created,
            command=record.command,
            environment=record.environment,
            test_set=None if test_set is None else str(test_set),
            models={card.id: card.name for card in record.models},
            metrics=tuple(findings),
            results={metric: _to_json(metric, findings[metric]) for metric in kept},
        )

    def has(self, metrics: Collection[str]) -> bool:
        """Return whether the excerpt has the results of all those `metrics` that the record has."""
        return all(metric in self.results for metric in metrics if metric in self.metrics)

    def findings(self, metric: str) -> list[Finding]:
        """Return the measurements or pairs of a metric; raises pydantic.ValidationError for invalid JSON text."""
        if metric not in self.results:
            return []
        return [*_adapter(metric).validate_json(self.results[metric])]
