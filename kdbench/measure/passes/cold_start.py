"""The cold-start pass: the times of loading, of the first call, and of a call once the process is warm."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from kdbench import statistics
from kdbench.measure.context import PASSES, Context, Expected, Pass, expected_of
from kdbench.measure.runner import ProcessResults
from kdbench.measure.same_graph import GraphGroups
from kdbench.measure.timed import ONNXRUNTIME, TimedModel, TimingConfig, axes_of, timed_runtimes
from kdbench.results.findings import Failure, Findings, estimated_across_runs
from kdbench.results.metrics import metric
from kdbench.results.records import Axes, measured
from kdbench.statistics import RunSpread
from kdbench.worker.jobs import ColdStartJob

PROCESSES = 6  # the fewest whose extremes hold the median with 95 % confidence
_METRICS = ("load_ns", "first_run_ns", "steady_run_ns")
_SOURCE = "onnxruntime, median of {} fresh processes, files in the page cache"
_STARTS = ("load_ns", "first_run_ns")  # of other runtimes


@PASSES.register("cold start")
class ColdStartPass(Pass):
    """Medians of PROCESSES fresh processes for each graph in onnxruntime, the models taking turns."""

    order = 40

    def expected(self, context: Context) -> Iterator[Expected]:
        """Yield the metrics of every timed model."""
        for model in context.timed:
            yield from expected_of([model], _METRICS, _axes(context.config, model), ONNXRUNTIME)

    def weight(self, context: Context) -> float:
        """Return the estimated seconds of the processes."""
        return 0.7 * sum(GraphGroups.of(context).shares(PROCESSES).values())

    def run(self, context: Context) -> Findings:
        """Measure; `protocol` holds how long importing the runtime took, which does not depend on the model."""
        config = context.config
        jobs = {
            model.id: ColdStartJob(model=context.jobs[model.id], provider=config.provider, threads=config.threads[0])
            for model in context.ready
        }
        same_graph = GraphGroups.of(context)
        alone = context.runner.run_in_turns(jobs, same_graph.shares(PROCESSES), context.progress)
        results = same_graph.pooled(alone, {id_: id_ for id_ in jobs})
        shared = {id_: same_graph.shared_with(id_, results.results) for id_ in results.results}
        return cold_start_findings(context.ready, results, alone, config, shared)


def cold_start_findings(
    models: Sequence[TimedModel],
    results: ProcessResults,
    alone: ProcessResults,
    config: TimingConfig,
    shared: Mapping[str, str] = MappingProxyType({}),
) -> Findings:
    """Return the medians over the processes in `results`, by model.

    `alone` holds each model's own processes, without those of models of the same graph; `shared` names these models, by
    id, for the sources of the numbers.
    """
    medians = [
        (m, id_, statistics.median(results.values(m.id, id_)))
        for m in models
        if m.id in results.results
        for id_ in _METRICS
    ]
    measurements = tuple(
        estimated_across_runs(
            m.id,
            id_,
            time,
            RunSpread(metric(id_).run_to_run),
            axes=_axes(config, m),
            source=_SOURCE.format(len(results.results[m.id])) + shared.get(m.id, ""),
        )
        for m, id_, time in medians
    )
    failures = tuple(Failure(id_, reason) for id_, reason in results.failed.items())
    findings = Findings(measurements, failures=failures)
    if not results.results:
        return findings
    import_ns = np.median(np.concatenate([alone.values(id_, "import_ns") for id_ in alone.results]))
    return findings + Findings(protocol={"cold_start_processes": PROCESSES, "runtime_import_ns": float(import_ns)})


@PASSES.register("other runtimes")
class OtherStartsPass(Pass):
    """The start of each other runtime with each model, as measured when the runtime was admitted."""

    order = 50

    def expected(self, context: Context) -> Iterator[Expected]:
        """Yield the times of every other runtime."""
        for runtime in (runtime for runtime in timed_runtimes(context.config) if runtime != ONNXRUNTIME):
            axes = context.axes(batch=1, runtime=runtime)
            yield from expected_of(context.timed, _STARTS, axes, runtime)

    def run(self, context: Context) -> Findings:
        """Report the starts."""
        measurements = []
        timed = timed_runtimes(context.config)
        for (runtime, id_), start in ((key, start) for key, start in context.starts.items() if key[0] in timed):
            axes = context.axes(batch=1, runtime=runtime)
            source = f"{runtime}, one fresh process; with the compiler's existing cache on disk"
            for start_metric, ns in zip(_STARTS, (start.load_ns, start.first_run_ns), strict=True):
                measurements.append(measured(id_, start_metric, ns, axes=axes, n=1, source=source))
        facts = {"runtimes": dict(context.runtime_facts)} if context.runtime_facts else {}
        return Findings(tuple(measurements), protocol=facts)


def _axes(config: TimingConfig, model: TimedModel) -> Axes:
    return axes_of(config, batch=model.fixed_batch or 1)
