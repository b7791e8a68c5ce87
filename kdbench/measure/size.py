"""What a model costs whatever it runs on: bytes, parameters, multiply-accumulates."""

from kdbench.errors import KdbenchError
from kdbench.macs.onnx_counter import count_onnx
from kdbench.measure.bench_model import BenchModel
from kdbench.results.findings import Findings
from kdbench.results.records import Measurement, measured, missing

_MACS_SOURCE = "ONNX graph, canonical"


def size_findings(subject: BenchModel, shape: tuple[int, ...]) -> Findings:
    """Return size, weights, parameters and MACs of one subject, for samples of `shape` in its layout."""
    facts = subject.facts
    return Findings(
        (
            measured(subject.id, "size_bytes", facts.size_bytes, source="file system"),
            measured(subject.id, "weight_bytes", facts.weight_bytes, source="ONNX graph"),
            measured(subject.id, "parameters", subject.card.parameters, source="model card"),
            _macs(subject, shape),
        )
    )


def _macs(subject: BenchModel, shape: tuple[int, ...]) -> Measurement:
    try:
        report = count_onnx(subject.path, shape)
    except KdbenchError as error:
        return missing(subject.id, "macs", error.message, status="error", hint=error.hint, source=_MACS_SOURCE)
    if report.uncounted:
        reason = f"operators whose MACs are not known: {', '.join(report.uncounted)}"
        return missing(subject.id, "macs", reason, source=_MACS_SOURCE)
    return measured(subject.id, "macs", report.macs, source=_MACS_SOURCE)
