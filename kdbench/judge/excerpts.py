"""What a history needs of a record: small enough to keep thousands of them, and fast to read again."""

from collections.abc import Collection
from typing import Self

from pydantic import Field, TypeAdapter

from kdbench.results.metrics import PAIR_METRICS
from kdbench.results.records import Environment, Measurement, Pair, RunRecord
from kdbench.results.records.devices import of_host
from kdbench.validation import Value

Finding = Measurement | Pair

MAIN = ("top1", "rmse", "latency_p50_ns", "latency_ratio", "size_bytes")
"""The metrics that a history shows by default."""

_MEASUREMENTS = TypeAdapter(list[Measurement])
_PAIRS = TypeAdapter(list[Pair])


class Excerpt(Value):
    """A record without its cards, layers and settings.

    `models` has names by id, `metrics` those that the record has, `results` the measurements or pairs of some of them
    as JSON: of the sixty metrics of a record a history shows five.
    """

    kind: str
    name: str
    created: str
    command: str
    environment: Environment
    test_set: str | None = None
    models: dict[str, str]
    metrics: tuple[str, ...]
    results: dict[str, str] = Field(repr=False)

    @classmethod
    def of(cls, record: RunRecord, metrics: Collection[str] | None = None) -> Self:
        """Return the excerpt of a record, with the results of `metrics`, or of all of them; none of devices."""
        record = of_host(record)
        measured = dict.fromkeys(result.metric for result in (*record.measurements, *record.pairs))
        kept = measured if metrics is None else measured.keys() & metrics
        measurements: dict[str, list[Measurement]] = {}
        pairs: dict[str, list[Pair]] = {}
        for measurement in record.measurements:
            if measurement.metric in kept:
                measurements.setdefault(measurement.metric, []).append(measurement)
        for pair in record.pairs:
            if pair.metric in kept:
                pairs.setdefault(pair.metric, []).append(pair)
        results = {metric: _MEASUREMENTS.dump_json(of, exclude_defaults=True) for metric, of in measurements.items()}
        results |= {metric: _PAIRS.dump_json(of, exclude_defaults=True) for metric, of in pairs.items()}
        test_set = record.protocol.get("test_set_sha256")
        return cls(
            kind=record.kind,
            name=record.name,
            created=record.created,
            command=record.command,
            environment=record.environment,
            test_set=None if test_set is None else str(test_set),
            models={card.id: card.name for card in record.models},
            metrics=tuple(measured),
            results={metric: content.decode() for metric, content in results.items()},
        )

    def has(self, metrics: Collection[str]) -> bool:
        """Return whether it has the results of those of `metrics` that the record has."""
        return all(metric in self.results for metric in metrics if metric in self.metrics)

    def findings(self, metric: str) -> list[Finding]:
        """Return the measurements or pairs of a metric; raises pydantic.ValidationError for text that holds none."""
        if metric not in self.results:
            return []
        adapter = _PAIRS if metric in PAIR_METRICS else _MEASUREMENTS
        return [*adapter.validate_json(self.results[metric])]
