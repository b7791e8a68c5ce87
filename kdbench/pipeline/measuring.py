"""The measuring stage: the files that passed the parity gate through the harness, and the record of it all."""

from collections.abc import Iterator
from datetime import UTC, datetime

from kdbench import environment, records
from kdbench.measure.harness import Protocol, Subject, TestSet, measure
from kdbench.pipeline.exporting import Exported
from kdbench.pipeline.material import Material
from kdbench.progress import Progress
from kdbench.recipe import Recipe
from kdbench.records import Measurement, RunRecord, Warned
from kdbench.run_folder import RunFolder


def measure_all(
    recipe: Recipe,
    exports: list[Exported],
    material: Material,
    folder: RunFolder,
    progress: Progress,
    command: str,
) -> RunRecord:
    """Measure every model that passed the parity gate, and write the record and the samples."""
    admitted = {export.card.id for export in exports if export.refused is None}
    subjects = [
        Subject(
            card=export.card,
            path=folder.model(export.card.id),
            facts=export.facts,
            teacher=next((parent for parent in export.card.parents if parent in admitted), None),
            # Latency does not depend on the weights: one seed's models stand for all.
            timed=export.job.seed == recipe.seeds[0],
        )
        for export in exports
        if export.refused is None
    ]
    test = material.dataset.test
    assert test is not None, "a loader that was asked for the test part gives it or says why not"
    protocol = Protocol(**recipe.measure.model_dump())
    here = environment.fingerprint()
    findings = measure(
        subjects, TestSet(test.images, test.labels, material.dataset.classes), protocol, folder.workspace, progress
    )
    record = RunRecord(
        kind="run",
        name=recipe.name,
        title=recipe.title,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        recipe=recipe.resolved(),
        recipe_hash=recipe.hash(),
        protocol=recipe.measure.model_dump(mode="json"),
        environment=here,
        models=tuple(export.card for export in exports),
        measurements=(*_own_findings(exports), *findings.measurements),
        pairs=tuple(findings.pairs),
        warnings=(*environment.stability(here), *findings.warnings, *_refusals(exports)),
    )
    folder.write_samples(findings.samples)
    record.write(folder.record)
    return record


def _own_findings(exports: list[Exported]) -> Iterator[Measurement]:
    """Yield what training and export found out, and the reason where a model went no further."""
    for export in exports:
        yield export.parity
        if export.card.training is not None:
            yield records.measured(export.card.id, "training_s", export.card.training.seconds, n=1, source="wall clock")
        if export.refused is not None:
            for metric in ("top1", "top5", "latency_p50_ns", "size_bytes", "macs", "energy_j"):
                yield records.missing(export.card.id, metric, export.refused, status="invalid")


def _refusals(exports: list[Exported]) -> Iterator[Warned]:
    for export in exports:
        if export.refused is not None:
            yield Warned(
                code="parity_failed",
                message=f"not measured: {export.refused}",
                remedy="check the network for operations that differ between training and export",
                model=export.card.id,
            )
