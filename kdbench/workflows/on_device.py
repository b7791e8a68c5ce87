"""The workflow of `kdbench bench --on`: measure the models of a run on a device too, and merge the result."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdbench.edge.bundles.checks import require_bundled_runtime
from kdbench.edge.ssh import Remote, Software, measure_on_device, software_of
from kdbench.judge.readiness import judge
from kdbench.judge.target import Target
from kdbench.processes import temporary
from kdbench.progress import Progress
from kdbench.recipe import InputOptions, Measure
from kdbench.results.verdicts import write_verdicts
from kdbench.workflows.bundle import bundle
from kdbench.workflows.merge import merge
from kdbench.workflows.stages.results import RunResults

_PASSED_ON = ("threads", "batch", "budget_s", "precision", "sessions", "energy")


def require_device(remote: Remote, targets: Sequence[Target]) -> Software:
    """Return the versions on the device that `remote` reaches: before minutes of measuring here.

    Raises InputError for a device that cannot be reached, and for a first target that no bundle measures.
    """
    for target in targets[:1]:
        require_bundled_runtime(target)
    return software_of(remote)


def measure_on(
    results: RunResults,
    remote: Remote,
    software: Software,
    *,
    files: Sequence[str | Path] = (),
    inputs: InputOptions | None = None,
    options: Measure | None = None,
    targets: Sequence[Target] = (),
    progress: Progress,
) -> RunResults:
    """Return the results of a run with those of the device that `remote` reaches, judged again on `targets`.

    The fields of `_PASSED_ON` that `options` sets explicitly apply to the device, which has `software`, too. Raises
    InputError for a device that cannot load the models, MeasurementError if the measurement fails there.
    """
    progress.stage("device", 1, 1)
    requested = options or Measure()
    chosen: dict[str, Any] = {
        name: getattr(requested, name) for name in _PASSED_ON if name in requested.model_fields_set
    }
    with temporary.folder() as work_folder:
        bundled = bundle(
            results.folder.path,
            targets[0] if targets else None,
            files=files,
            inputs=inputs,
            options=chosen,
            onnxruntime=software.onnxruntime,
            lower=True,
            out=work_folder / "bundle.zip",
        )
        measure_on_device(remote, bundled.file, bundled.bundle.id, work_folder / "result.zip", progress)
        merged = merge(results.folder.path, work_folder / "result.zip")
    verdicts = tuple(judge(merged.record, target) for target in targets)
    write_verdicts(verdicts, results.folder)
    return replace(results, record=merged.record, verdicts=verdicts)
