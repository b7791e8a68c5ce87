"""A table in the columns of MLCommons' inference summaries: a row for each model and scenario.

It serves to compare numbers with published ones in one spreadsheet. It is not a submission: it does not follow MLPerf's
rules on models, data, run length and audits.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from kdbench.files import storage
from kdbench.report import FORMATS, Content
from kdbench.report.cells import portable
from kdbench.report.model_groups import dataset
from kdbench.report.render.spreadsheet import field
from kdbench.results.cards import ModelCard
from kdbench.results.records import Measurement, RunRecord

_FILE = "mlperf.csv"
_HEADS = (
    "SystemName", "Model", "Dataset", "Scenario", "Result", "Units", "Accuracy", "host_processor_model_name",
    "host_processor_core_count", "host_memory_capacity", "accelerator_model_name", "framework", "operating_system",
    "threads", "batch", "interval_low", "interval_high", "compliance",
)  # fmt: skip
# The mode of kdbench, MLPerf's scenario, and its result: the 90th percentile of single calls, the 99th of arriving
# queries, the rate offline.
_SCENARIOS = (
    ("stream", "SingleStream", "latency_p90_ns", "Latency (ns)"),
    ("server", "Server", "latency_p99_ns", "Latency (ns)"),
    ("offline", "Offline", "max_throughput_per_s", "Samples/s"),
)


@FORMATS.register("mlperf")
def write(content: Content, folder: Path) -> list[Path]:
    """Write results in the columns of MLPerf's summaries, `mlperf.csv`."""
    storage.write_text(folder / _FILE, table(content.host))
    return [folder / _FILE]


def table(record: RunRecord) -> str:
    """Return the CSV: SingleStream's 90th percentile, Server's 99th, and the Offline throughput of each model."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_HEADS)
    for card in record.models:
        for mode, scenario, metric, units in _SCENARIOS:
            for result in _results(record, card, mode, metric):
                writer.writerow(map(field, _row(record, card, scenario, units, result)))
    return stream.getvalue()


def _results(record: RunRecord, card: ModelCard, mode: str, metric: str) -> Iterator[Measurement]:
    """Yield the results of a scenario that have a number: single calls and arriving queries are at batch 1."""
    for result in record.measurement_index.of(card.id, metric):
        single = mode == "offline" or result.axes.get("batch") == 1
        if result.axes.get("mode", "stream") == mode and single and result.value is not None:
            yield result


def _row(record: RunRecord, card: ModelCard, scenario: str, units: str, result: Measurement) -> Iterator[object]:
    host, libraries = record.environment.host, record.environment.libraries
    runtime = str(result.axes.get("runtime", "onnxruntime"))
    top1 = record.find(card.id, "top1")
    interval = result.interval
    yield from (
        host.get("board") or host.get("cpu"),
        card.id,
        portable(dataset(record) or ""),
        scenario,
        result.value,
        units,
    )
    yield None if top1 is None or top1.value is None else 100 * top1.value
    yield from (host.get("cpu"), host.get("cores_physical"), host.get("memory_bytes"), host.get("gpu"))
    yield f"{runtime} {libraries.get(runtime, '')}".strip()
    yield from (host.get("os"), result.axes.get("threads"), result.axes.get("batch"))
    yield from (None, None) if interval is None else (interval.low, interval.high)
    yield "not an MLPerf submission"
