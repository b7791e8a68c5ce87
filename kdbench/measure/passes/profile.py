"""The profile pass: where the time of a call goes, layer by layer. A profiled call is slower than a timed one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdbench import units
from kdbench.errors import KdbenchError, MeasurementError, StorageError
from kdbench.macs.onnx_origin import Origin, named, origins, untraced
from kdbench.measure.bench_model import BenchModel
from kdbench.measure.context import PASSES, Context, Pass
from kdbench.results.findings import Findings
from kdbench.results.records import Axes, Diagnostic, Layer
from kdbench.worker.jobs import ProfileJob

_REMEDY = "the other measurements do not depend on it"
_OVERHEAD = 1.25  # nodes that take this many times their call: half of a short node is the profiler


@PASSES.register("layers")
class ProfilePass(Pass):
    """The layers of each model with their times, at batch 1 (a fixed batch at its own) and the first thread count.

    It runs only if configured. A model that cannot be profiled has a warning instead of layers.
    """

    order = 90

    def weight(self, context: Context) -> float:
        """Return the estimated seconds of the processes."""
        return 3.5 * len(context.ready) if context.config.profile and context.config.provider == "cpu" else 0.0

    def run(self, context: Context) -> Findings:
        """Profile each model in a separate process."""
        if not context.config.profile:
            return Findings()
        if context.config.provider != "cpu":
            message = "on a GPU onnxruntime's profile shows when work was queued, not how long it took"
            warning = Diagnostic(code="no_profile", message=message, remedy="profile with --provider=cpu")
            return Findings(warnings=(warning,))
        jobs = {model.id: _job(model, context, number) for number, model in enumerate(context.ready)}
        results = context.runner.run_in_turns(jobs, 1, context.progress)
        findings = Findings()
        for model in context.ready:
            job = jobs[model.id]
            try:
                if model.id in results.failed:
                    raise MeasurementError(results.failed[model.id])
                known = origins(model.path, Path(job.optimised), context.jobs[model.id].shape)
            except StorageError:
                raise
            except KdbenchError as error:
                message = f"no times by layer: {error.message}"
                warning = Diagnostic(code="no_profile", message=message, remedy=_REMEDY, model=model.id)
                findings += Findings(warnings=(warning,))
                continue
            (result,) = results.results[model.id]
            layers = _layers(model.id, result["nodes"], known, context.axes(batch=job.batch))
            findings += Findings(layers=layers, warnings=overhead_warnings(model.id, result))
        calls = {id_: processes[0]["calls"] for id_, processes in results.results.items()}
        return findings + Findings(protocol={"profiled_calls": calls} if calls else {})


def _job(model: BenchModel, context: Context, number: int) -> ProfileJob:
    # onnxruntime numbers nodes that have no name.
    file = named(model.path, context.folder / f"named-{number}.onnx")
    return ProfileJob(
        model=replace(context.jobs[model.id], path=str(file)),
        provider=context.config.provider,
        threads=context.config.threads[0],
        batch=model.facts.fixed_batch or 1,
        optimised=str(context.folder / f"optimised-{number}.onnx"),
    )


def overhead_warnings(model: str, result: Mapping[str, Any]) -> tuple[Diagnostic, ...]:
    """Return a warning if the nodes' times together exceed a call without the profiler by more than `_OVERHEAD`."""
    nodes_ns = sum(node["time_ns"] for node in result["nodes"])
    if nodes_ns <= _OVERHEAD * result["call_ns"]:
        return ()
    times = f"{units.time(nodes_ns)} under the profiler, a whole call without it {units.time(result['call_ns'])}"
    message = f"the nodes take {times}: the shares of short nodes are mostly the profiler's own cost"
    remedy = "for layers this small, compare MACs instead"
    return (Diagnostic(code="profile_overhead", message=message, remedy=remedy, model=model),)


def _layers(
    model: str, nodes: Sequence[Mapping[str, Any]], known: Mapping[str, Origin], axes: Axes
) -> tuple[Layer, ...]:
    """Return the nodes in the order in which they ran, each as the layer of the file that it stands for."""
    total_ns = sum(node["time_ns"] for node in nodes)
    sources = [known.get(node["name"]) or untraced(node["name"], node["operator"]) for node in nodes]
    return tuple(
        Layer(
            model=model,
            name=origin.layer,
            operator=node["operator"],
            macs=origin.macs,
            time_ns=node["time_ns"],
            time_share=node["time_ns"] / total_ns if total_ns else None,
            axes=dict(axes),
            reason=origin.reason or None,
        )
        for node, origin in zip(nodes, sources, strict=True)
    )
