"""The measuring stage: the files that passed the parity gate through the harness, and the record of it all."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from kdbench.machine import fingerprint
from kdbench.machine.diagnostics import environment_diagnostics
from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.measure.energy.training import training_energy
from kdbench.measure.harness import measure
from kdbench.measure.network import network_of
from kdbench.progress import Progress
from kdbench.recipe import Recipe
from kdbench.results import records
from kdbench.results.records import Diagnostic, Measurement, RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.analyses import analyses_of
from kdbench.workflows.stages.export import Exported
from kdbench.workflows.stages.quantize import quantization_warnings
from kdbench.workflows.stages.refusing import refused_measurements, refused_pairs
from kdbench.workflows.stages.run_data import RunData


def measure_all(
    recipe: Recipe,
    exports: list[Exported],
    material: RunData,
    folder: RunFolder,
    progress: Progress,
    command: str,
) -> tuple[RunRecord, Mapping[str, np.ndarray]]:
    """Measure every model that passed the parity gate; return the record of the whole run, and the raw samples."""
    admitted = {export.card.id for export in exports if export.refused is None}
    subjects = [
        BenchModel(
            card=export.card,
            path=folder.model(export.card.id),
            facts=export.facts,
            teacher=next((parent for parent in export.card.parents if parent in admitted), None),
            # Latency does not depend on the weights: one seed's models stand for all.
            timed=export.job.of_seed == recipe.seeds[0],
            network=network_of(export.card, folder.model(export.card.id)),
        )
        for export in exports
        if export.refused is None
    ]
    test = material.dataset.test
    assert test is not None, "a loader that was asked for the test part gives it or says why not"
    config = recipe.measure
    analyses = analyses_of(recipe, [export.job for export in exports], material)
    here = fingerprint.fingerprint()
    findings = measure(
        subjects,
        TestSet(test.images, test.labels, material.dataset.known_classes),
        config,
        folder.workspace,
        progress,
        analyses,
    )
    record = RunRecord(
        kind="run",
        name=recipe.name,
        title=recipe.title,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        recipe=_published(recipe),
        recipe_hash=recipe.hash(),
        protocol={**recipe.measure.model_dump(mode="json"), **findings.protocol},
        environment=here,
        models=tuple(export.card for export in exports),
        measurements=(
            *_own_findings(exports, config.country),
            *refused_measurements(exports, config, analyses),
            *findings.measurements,
        ),
        pairs=(*findings.pairs, *refused_pairs(exports, config)),
        layers=findings.layers,
        warnings=(
            *environment_diagnostics(here),
            *findings.warnings,
            *_refusals(exports),
            *quantization_warnings(exports, folder),
        ),
    )
    return record, findings.samples


def _published(recipe: Recipe) -> dict[str, Any]:
    """Return the resolved recipe without the place of the data on this machine: records are published."""
    resolved = recipe.resolved()
    return {**resolved, "data": {**resolved["data"], "root": None}}


def _own_findings(exports: list[Exported], country: str | None) -> Iterator[Measurement]:
    """Yield what training and export found out."""
    for export in exports:
        yield export.parity
        if export.card.training is not None:
            yield records.measured(export.card.id, "training_s", export.card.training.seconds, n=1, source="wall clock")
            yield from training_energy(export.card, country)


def _refusals(exports: list[Exported]) -> Iterator[Diagnostic]:
    for export in exports:
        if export.refused is not None:
            yield Diagnostic(
                code="parity_failed",
                message=f"not measured: {export.refused}",
                remedy="check the network for operations that differ between training and export",
                model=export.card.id,
            )
