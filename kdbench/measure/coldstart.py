"""Cold start in three numbers: loading, the first call, and the calls a process settles at."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kdbench import statistics
from kdbench.machine.cores import choose_cores
from kdbench.measure.bench_model import BenchModel
from kdbench.progress import SubProgress
from kdbench.recipe.measure import Measure
from kdbench.results.findings import Findings, interval_of
from kdbench.results.records import Measurement, measured, missing
from kdbench.worker.fresh import ProcessResults, in_turns
from kdbench.worker.jobs import JobModel

PROCESSES = 6  # the fewest whose extremes hold the median with 95 % confidence
_METRICS = ("load_ns", "first_run_ns", "steady_run_ns")


def cold_start_findings(
    subjects: Sequence[BenchModel],
    models: Mapping[str, JobModel],
    config: Measure,
    folder: Path,
    progress: SubProgress,
) -> Findings:
    """Return the medians of PROCESSES fresh processes for each subject, the subjects taking turns.

    `protocol` is told how long importing the runtime took, which every process pays whatever the model.
    """
    threads = config.threads[0]
    cores = choose_cores(config.cores, config.threads)
    jobs = {
        s.id: {
            "probe": "coldstart",
            "models": [models[s.id].to_json()],
            "provider": config.provider,
            "threads": threads,
        }
        for s in subjects
    }
    told = in_turns(jobs, PROCESSES, folder, progress, threads=threads, cores=cores)
    found = Findings(tuple(m for s in subjects for m in _measurements(s, told, config)))
    if not told.results:
        return found
    import_ns = np.median(np.concatenate([told.values(id_, "import_ns") for id_ in told.results]))
    return found + Findings(protocol={"cold_start_processes": PROCESSES, "runtime_import_ns": float(import_ns)})


def _measurements(subject: BenchModel, told: ProcessResults, config: Measure) -> list[Measurement]:
    axes: dict[str, str | int] = {
        "provider": config.provider,
        "threads": config.threads[0],
        "batch": subject.facts.fixed_batch or 1,
    }
    if subject.id in told.failed:
        return [missing(subject.id, metric, told.failed[subject.id], status="error", axes=axes) for metric in _METRICS]
    source = f"onnxruntime, median of {PROCESSES} fresh processes, files in the page cache"
    found = []
    for metric in _METRICS:
        e = statistics.median(told.values(subject.id, metric))
        found.append(measured(subject.id, metric, e.value, axes=axes, interval=interval_of(e), n=e.n, source=source))
    return found
