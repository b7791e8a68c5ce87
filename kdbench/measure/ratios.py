"""Ratios of two known numbers, teacher over student."""

from collections.abc import Iterator, Mapping, Sequence

from kdbench.measure.bench_model import BenchModel, students
from kdbench.results.findings import Findings
from kdbench.results.records import Measurement, Pair

_OF = {"size_ratio": "size_bytes", "macs_ratio": "macs"}


def ratio_findings(subjects: Sequence[BenchModel], measurements: Sequence[Measurement]) -> Findings:
    """Return every student's size and MACs ratio; where a number is missing, the reason it is."""
    by_key = {(m.model, m.metric): m for m in measurements}
    return Findings(pairs=tuple(_ratios(subjects, by_key)))


def _ratios(subjects: Sequence[BenchModel], by_key: Mapping[tuple[str, str], Measurement]) -> Iterator[Pair]:
    for teacher, student in students(subjects):
        for ratio, metric in _OF.items():
            above, below = by_key[teacher.id, metric], by_key[student.id, metric]
            value = above.value / below.value if above.value is not None and below.value else None
            without = above if above.value is None else below
            yield Pair(
                metric=ratio,
                teacher=teacher.id,
                student=student.id,
                value=value,
                status="unavailable" if value is None else "ok",
                reason=f"{without.model}: {without.reason or f'{metric} is 0'}" if value is None else None,
            )
