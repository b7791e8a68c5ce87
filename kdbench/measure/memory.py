"""Peak memory of loading and running each model: resident memory, and on a GPU the device's too."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.machine.cores import choose_cores
from kdbench.measure.bench_model import BenchModel, outer_batches, students
from kdbench.measure.staging import null_model
from kdbench.progress import SubProgress
from kdbench.recipe.measure import Measure
from kdbench.results.findings import Findings
from kdbench.results.records import Measurement, Pair, measured, missing
from kdbench.worker.fresh import ProcessResults, in_turns, spread
from kdbench.worker.jobs import JobModel

PROCESSES = 3
# The first call of a shape learns what its activations need; the second takes one block of that size in addition to
# the pieces of the first (onnxruntime's memory pattern); from then on nothing grows.
CALLS = 3
_UNSTABLE_SPREAD, _UNSTABLE_BYTES = 0.1, 1_000_000  # both: a small model's few pages more are no instability
_RESIDENT = ("peak_memory_bytes", "model_memory_bytes")
_Key = tuple[str, int]  # a subject's id and a batch


def memory_findings(
    subjects: Sequence[BenchModel],
    models: Mapping[str, JobModel],
    config: Measure,
    folder: Path,
    progress: SubProgress,
) -> Findings:
    """Return the peak memory of each subject at batch 1 and at the largest batch, a fixed batch at its own only.

    Each is the median of PROCESSES fresh processes, which load one model and nothing else. `protocol` is told what
    such a process holds before the model: interpreter, numpy, the runtime and the inputs of one call, batch 1.
    """
    threads = config.threads[0]
    cores = choose_cores(config.cores, config.threads)
    null = null_model(folder).to_json()
    jobs = {
        (s.id, batch): {
            "probe": "memory",
            "models": [models[s.id].to_json()],
            "provider": config.provider,
            "threads": threads,
            "batch": batch,
            "calls": CALLS,
            "null": null,
        }
        for s in subjects
        for batch in outer_batches(s, config)
    }
    told = in_turns(jobs, PROCESSES, folder, progress, threads=threads, cores=cores)
    measurements = tuple(m for id_, batch in jobs for m in _measurements(id_, batch, told, config))
    pairs = tuple(_ratio(teacher, student, measurements) for teacher, student in students(subjects))
    found = Findings(measurements, pairs)
    if not told.results:
        return found
    smallest = min(told.results, key=lambda key: key[1])
    baseline = float(np.median(told.values(smallest, "baseline_bytes")))
    return found + Findings(protocol={"memory_processes": PROCESSES, "memory_before_the_model_bytes": baseline})


def _measurements(id_: str, batch: int, told: ProcessResults, config: Measure) -> list[Measurement]:
    axes: dict[str, str | int] = {"provider": config.provider, "threads": config.threads[0], "batch": batch}
    key = (id_, batch)
    if key in told.failed:
        metrics = (*_RESIDENT, *(["device_memory_bytes"] if config.provider == "cuda" else []))
        return [missing(id_, metric, told.failed[key], status="error", axes=axes) for metric in metrics]
    peak, baseline = told.values(key, "peak_bytes"), told.values(key, "baseline_bytes")
    since = told.results[key][0]["since"]
    source = (
        f"onnxruntime, high-water mark since {since}, median of {PROCESSES} fresh processes, arena on, {CALLS} calls"
    )
    found = []
    for metric, values in zip(_RESIDENT, (peak, peak - baseline), strict=True):
        apart = spread(values)
        unlike = apart > _UNSTABLE_SPREAD and np.ptp(values) > _UNSTABLE_BYTES
        unstable = f"processes differ by {100 * apart:.0f} %" if unlike else None
        found.append(
            measured(id_, metric, float(np.median(values)), axes=axes, n=len(values), source=source, unstable=unstable)
        )
    return [*found, *([_on_device(id_, axes, told.results[key])] if config.provider == "cuda" else [])]


def _on_device(id_: str, axes: Mapping[str, str | int], results: Sequence[Mapping[str, Any]]) -> Measurement:
    taken = [result["device_bytes"] for result in results if result["device_bytes"] is not None]
    if not taken:
        reason = next(result["device_error"] for result in results)
        return missing(id_, "device_memory_bytes", reason, hint="check nvidia-smi", axes=axes)
    source = next(result["device_source"] for result in results if result["device_source"])
    value = float(np.median(taken))
    return measured(
        id_,
        "device_memory_bytes",
        value,
        axes=axes,
        n=len(taken),
        source=f"{source}, after {CALLS} calls, arena and CUDA context included",
    )


def _ratio(teacher: BenchModel, student: BenchModel, measurements: Sequence[Measurement]) -> Pair:
    """Return teacher over student of the whole process's peak, at the student's smallest batch."""
    of_student, of_teacher = (
        {m.axes["batch"]: m for m in measurements if m.model == who.id and m.metric == "peak_memory_bytes"}
        for who in (student, teacher)
    )
    batch = next(iter(of_student))
    below, above = of_student[batch], of_teacher.get(batch)
    both: dict[str, Any] = {"metric": "memory_ratio", "teacher": teacher.id, "student": student.id, "axes": below.axes}
    if above is None:
        return Pair(value=None, status="unavailable", reason=f"{teacher.card.name}: not taken at batch {batch}", **both)
    if above.value is None or below.value is None:
        without, who = (above, teacher) if above.value is None else (below, student)
        return Pair(value=None, status="unavailable", reason=f"{who.card.name}: {without.reason}", **both)
    shaky = next((m for m in (above, below) if m.status == "unstable"), None)
    if shaky is not None:
        both |= {"status": "unstable", "reason": shaky.reason}
    return Pair(value=above.value / below.value, n=below.n, **both)
