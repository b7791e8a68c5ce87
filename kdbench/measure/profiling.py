"""Where the time of a call goes, layer by layer: a pass of its own, for a profiled call is slower than a timed one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdbench import units
from kdbench.errors import KdbenchError
from kdbench.machine.cores import choose_cores
from kdbench.macs.onnx_origin import Origin, named, origins, untraced
from kdbench.measure.bench_model import BenchModel
from kdbench.progress import SubProgress
from kdbench.recipe.measure import Measure
from kdbench.results.findings import Findings
from kdbench.results.records import Diagnostic, Layer
from kdbench.worker.fresh import in_turns
from kdbench.worker.jobs import JobModel

_REMEDY = "the other measurements do not depend on it"
_OVERHEAD = 1.25  # nodes that take that many times the call they are part of are half profiler where they are short


def profile_findings(
    subjects: Sequence[BenchModel],
    models: Mapping[str, JobModel],
    config: Measure,
    folder: Path,
    progress: SubProgress,
) -> Findings:
    """Return the layers of each subject with their times, at batch 1 (a fixed batch at its own) and the first threads.

    Nothing unless the protocol asks for it. A model that cannot be profiled has a warning instead of layers.
    """
    if not config.profile:
        return Findings()
    if config.provider != "cpu":
        what = "on a GPU onnxruntime's profile shows when work was handed over, not how long it took"
        return Findings(warnings=(Diagnostic(code="no_profile", message=what, remedy="profile with --provider cpu"),))
    threads = config.threads[0]
    jobs = {s.id: _job(s, models[s.id], config, folder, number) for number, s in enumerate(subjects)}
    cores = choose_cores(config.cores, config.threads)
    told = in_turns(jobs, 1, folder, progress, threads=threads, cores=cores)
    found = Findings()
    for subject in subjects:
        job = jobs[subject.id]
        if subject.id in told.failed:
            found += _without(subject, told.failed[subject.id])
            continue
        (result,) = told.results[subject.id]
        try:
            known = origins(subject.path, Path(job["optimised"]), models[subject.id].shape)
        except KdbenchError as error:
            found += _without(subject, error.message)
            continue
        axes = {key: job[key] for key in ("provider", "threads", "batch")}
        layers = _layers(subject.id, result["nodes"], known, axes)
        found += Findings(layers=layers, warnings=overhead_warnings(subject.id, result))
    calls = {id_: results[0]["calls"] for id_, results in told.results.items()}
    return found + Findings(protocol={"profiled_calls": calls} if calls else {})


def _job(subject: BenchModel, model: JobModel, config: Measure, folder: Path, number: int) -> dict[str, Any]:
    # A node that has no name would be called by a number of the runtime's own.
    file = named(subject.path, folder / f"named-{number}.onnx")
    return {
        "probe": "profile",
        "models": [replace(model, path=str(file)).to_json()],
        "provider": config.provider,
        "threads": config.threads[0],
        "batch": subject.facts.fixed_batch or 1,
        "optimised": str(folder / f"optimised-{number}.onnx"),
    }


def _without(subject: BenchModel, reason: str) -> Findings:
    warning = Diagnostic(code="no_profile", message=f"no times by layer: {reason}", remedy=_REMEDY, model=subject.id)
    return Findings(warnings=(warning,))


def overhead_warnings(model: str, result: Mapping[str, Any]) -> tuple[Diagnostic, ...]:
    """Return a warning where timing the nodes took a good part of their times."""
    nodes_ns = sum(node["time_ns"] for node in result["nodes"])
    if nodes_ns <= _OVERHEAD * result["call_ns"]:
        return ()
    message = (
        f"profiled, its nodes take {units.time(nodes_ns)}, unprofiled, a whole call takes "
        f"{units.time(result['call_ns'])}: the shares of short nodes are the profiler's"
    )
    return (
        Diagnostic(
            code="profile_overhead", message=message, remedy="of layers this small, compare the MACs", model=model
        ),
    )


def _layers(
    model: str, nodes: Sequence[Mapping[str, Any]], known: Mapping[str, Origin], axes: Mapping[str, str | int]
) -> tuple[Layer, ...]:
    """Return the nodes that ran, in their order, each as the layer of the file that it stands for."""
    total_ns = sum(node["time_ns"] for node in nodes)
    found = []
    for node in nodes:
        name, operator = node["name"], node["operator"]
        origin = known.get(name) or untraced(name, operator)
        found.append(
            Layer(
                model=model,
                name=origin.layer,
                operator=operator,
                macs=origin.macs,
                time_ns=node["time_ns"],
                time_share=node["time_ns"] / total_ns if total_ns else None,
                axes=dict(axes),
                reason=origin.reason or None,
            )
        )
    return tuple(found)
