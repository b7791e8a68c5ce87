"""The measuring stage: measure the exported files with the harness, and assemble the record of the run."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from kdbench.machine import fingerprint
from kdbench.measure.bench_model import BenchModel, Refusal, TestSet, network_of
from kdbench.measure.energy.training import training_energy
from kdbench.measure.harness import measure
from kdbench.progress import Progress
from kdbench.recipe import Recipe
from kdbench.results import records
from kdbench.results.cards import ModelCard, teacher_behind
from kdbench.results.records import Diagnostic, Measurement, RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.files.kernels import kernel_findings
from kdbench.workflows.stages.export import Exported
from kdbench.workflows.stages.results import assemble_record
from kdbench.workflows.study.analyses import analyses_of
from kdbench.workflows.study.closed_form import closed_form_errors
from kdbench.workflows.study.pretrained_teachers import test_images
from kdbench.workflows.study.run_data import RunData


def measure_all(
    recipe: Recipe,
    exports: list[Exported],
    run_data: RunData,
    folder: RunFolder,
    progress: Progress,
    command: str,
    *,
    timed: Collection[str] | None = None,
    workspace: Path | None = None,
) -> tuple[RunRecord, Mapping[str, np.ndarray]]:
    """Measure every model; return the run's record and the raw samples.

    For a model that failed the parity gate, the record has the reason in place of every number. `timed` are the ids of
    the models to time, by default those of the first seed; `workspace` is a folder for temporary files.
    """
    cards = {export.card.id: export.card for export in exports}
    if timed is None:  # latency does not depend on the weights: one seed's models represent all
        timed = {export.card.id for export in exports if export.job.of_seed == recipe.seeds[0]}
    timed = timed if recipe.measure.times else ()
    models = [_bench_model(export, cards, folder, timed=export.card.id in timed) for export in exports]
    test = run_data.dataset.test
    assert test is not None, "loaders return the requested parts or raise"
    in_geometry = test_images([export.form for export in exports if export.form is not None], recipe, run_data)
    jobs = [export.job for export in exports if export.card.variant is None]
    compressed = {export.card.id: export.job.id for export in exports if export.card.variant is not None}
    analyses = analyses_of(recipe, jobs, run_data, in_geometry.keys(), compressed)
    environment = fingerprint.fingerprint()
    test_set = TestSet(test.inputs, test.labels, run_data.dataset.known_classes, in_geometry, hashes_inputs=True)
    findings = measure(models, test_set, recipe.measure, workspace or folder.workspace, progress, analyses)
    findings += kernel_findings(models, recipe.measure)
    findings = replace(
        findings,
        measurements=(
            *_training_and_parity(exports, recipe.measure.country),
            *findings.measurements,
            *closed_form_errors(jobs, run_data, folder),
        ),
        warnings=(*findings.warnings, *_parity_warnings(exports)),
    )
    record = assemble_record(
        findings,
        recipe.measure,
        environment,
        [export.card for export in exports],
        kind="run",
        name=recipe.name,
        title=recipe.title,
        command=command,
        recipe=recipe,
    )
    return record, findings.samples


def _bench_model(export: Exported, cards: Mapping[str, ModelCard], folder: RunFolder, *, timed: bool) -> BenchModel:
    """Return an exported model for the harness; `cards` are those of all models of the run, by id."""
    card, path = export.card, folder.model(export.card.id)
    refusal = None
    if export.refused is not None:
        refusal = Refusal(export.refused, status="unavailable" if export.is_finite else "invalid")
    return BenchModel(
        card=card,
        path=path,
        facts=export.facts,
        teacher=next((parent for parent in card.parents if parent in cards), None),
        behind=teacher_behind(card, cards),
        timed=timed,
        network=network_of(card if card.weights else None, path),
        class_map=None if export.form is None else export.form.classes,
        refusal=refusal,
    )


def _training_and_parity(exports: list[Exported], country: str | None) -> Iterator[Measurement]:
    """Yield the measurements of training and export."""
    for export in exports:
        if export.parity is not None:
            yield export.parity
        if export.card.training is not None:
            yield records.measured(export.card.id, "training_s", export.card.training.seconds, n=1, source="wall clock")
            yield from training_energy(export.card, country)


def _parity_warnings(exports: list[Exported]) -> Iterator[Diagnostic]:
    for export in exports:
        if export.refused is not None:
            yield Diagnostic(
                code="parity_failed",
                message=f"not measured: {export.refused}",
                remedy="check the network for operations that differ between training and export",
                model=export.card.id,
            )
