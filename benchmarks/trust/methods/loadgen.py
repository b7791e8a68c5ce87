"""MLPerf LoadGen in its SingleStream scenario on one model: the next query is issued when the last one is answered.

`python -m benchmarks.trust.methods.loadgen JOB.json` prints LoadGen's own median, as JSON: `[p50_ns]`. The query is
answered in the thread that issues it, so that nothing but the call and LoadGen's own work is on its clock. That thread
alone is kept to the job's cores: LoadGen's logging thread would take the core from the model several times a second.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlperf_loadgen

from benchmarks.trust.methods.loaded import loaded
from kdbench.errors import MeasurementError
from kdbench.machine.cores import pin
from kdbench.worker.loads import Calls

_WARM_UP_S = 0.25
_MIN_QUERIES = 100  # its early stopping needs 64
_P50, _VALIDITY, _REASON = "result_50.00_percentile_latency_ns", "result_validity", "result_invalid_reason"


def p50_ns(calls: Calls, seconds: float, folder: Path, cores: Sequence[int] | None = None) -> float:
    """Let LoadGen issue queries for `seconds` from `cores`, its logs in `folder`; return the median it reports.

    Raises MeasurementError if LoadGen calls its own run invalid.
    """
    fastest_ns = _warmed_up(calls)
    run, arguments = calls.run, calls.arguments

    def issue(queries: Sequence[Any]) -> None:
        nonlocal cores
        if cores:
            pin(cores)  # this thread; LoadGen has started its own by now
            cores = None
        for query in queries:
            run(*arguments[query.index])
            mlperf_loadgen.QuerySamplesComplete([mlperf_loadgen.QuerySampleResponse(query.id, 0, 0)])

    system = mlperf_loadgen.ConstructSUT(issue, _nothing)
    library = mlperf_loadgen.ConstructQSL(len(arguments), len(arguments), _nothing, _nothing)
    mlperf_loadgen.StartTestWithLogSettings(system, library, _settings(seconds, fastest_ns), _logs(folder))
    mlperf_loadgen.DestroyQSL(library)
    mlperf_loadgen.DestroySUT(system)
    return reported((folder / "mlperf_log_detail.txt").read_text(encoding="utf-8"))


def reported(log: str) -> float:
    """Return the median in ns from the text of LoadGen's detailed log."""
    lines = (line.removeprefix(":::MLLOG ") for line in log.splitlines() if line.startswith(":::MLLOG "))
    results = {entry["key"]: entry["value"] for entry in map(json.loads, lines)}
    if results.get(_VALIDITY) != "VALID":
        raise MeasurementError(f"LoadGen calls its run invalid: {results.get(_REASON, 'for no reason it gives')}")
    return float(results[_P50])


def _warmed_up(calls: Calls) -> int:
    """Call for _WARM_UP_S and return the fastest call's time in ns."""
    fastest, turn = sys.maxsize, 0
    end = time.perf_counter() + _WARM_UP_S
    while turn < 2 or time.perf_counter() < end:
        begin = time.perf_counter_ns()
        calls.run(*calls.arguments[turn % len(calls.arguments)])
        fastest = min(fastest, time.perf_counter_ns() - begin)
        turn += 1
    return fastest


def _settings(seconds: float, expected_ns: int) -> Any:
    settings = mlperf_loadgen.TestSettings()
    settings.scenario = mlperf_loadgen.TestScenario.SingleStream
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = int(seconds * 1000)
    settings.min_query_count = _MIN_QUERIES
    # Queries are drawn beforehand, as many as would fill the time at this latency: too few end the run early.
    settings.single_stream_expected_latency_ns = expected_ns
    return settings


def _logs(folder: Path) -> Any:
    output = mlperf_loadgen.LogOutputSettings()
    output.outdir = str(folder)
    output.copy_summary_to_stdout = False
    settings = mlperf_loadgen.LogSettings()
    settings.log_output = output
    settings.enable_trace = False
    return settings


def _nothing(*_: object) -> None:
    """Do nothing: the samples are in memory, and no query is ever held back."""


if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    (model,) = job["models"]
    print(json.dumps([p50_ns(loaded(model), job["seconds"], Path(job["folder"]), job["cores"])]))
