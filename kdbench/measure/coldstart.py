"""Load time and first run: what a process pays before the first answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kdbench.measure.jobs import JobModel
from kdbench.measure.process import WorkerError, run_job
from kdbench.measure.protocol import Findings, Portion, Protocol, Subject
from kdbench.records import Measurement, measured, missing

PROCESSES = 3
_METRICS = ("load_ns", "first_run_ns")


def cold_start_findings(
    subjects: Sequence[Subject],
    models: Mapping[str, JobModel],
    protocol: Protocol,
    folder: Path,
    progress: Portion,
) -> Findings:
    """Return the medians of PROCESSES fresh processes for each subject, the subjects taking turns."""
    times: dict[str, list[tuple[int, int]]] = {s.id: [] for s in subjects}
    failed: dict[str, str] = {}
    threads = protocol.threads[0]
    for turn in range(PROCESSES * len(subjects)):
        id_ = subjects[turn % len(subjects)].id
        progress.step(turn, PROCESSES * len(subjects))
        if id_ in failed:
            continue
        job = {
            "probe": "coldstart",
            "models": [models[id_].to_json()],
            "provider": protocol.provider,
            "threads": threads,
        }
        try:
            result = run_job(job, folder, progress, threads=threads)
        except WorkerError as error:
            failed[id_] = error.message
            continue
        failed |= result["errors"]
        if id_ not in failed:
            times[id_].append((result["load_ns"], result["first_run_ns"]))
    found: list[Measurement] = []
    for s in subjects:
        batch = s.facts.fixed_batch or 1
        at: dict[str, str | int] = {"provider": protocol.provider, "threads": threads, "batch": batch}
        if s.id in failed:
            found += [missing(s.id, metric, failed[s.id], status="error", axes=at) for metric in _METRICS]
            continue
        source = "onnxruntime, fresh processes, files in the page cache"
        found += [
            measured(s.id, metric, value, axes=at, n=PROCESSES, source=source)
            for metric, value in zip(_METRICS, np.median(times[s.id], axis=0).tolist(), strict=True)
        ]
    return Findings(tuple(found))
