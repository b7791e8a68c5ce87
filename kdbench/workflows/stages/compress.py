"""The compression stage: the variants of exported models, each as a file with a card."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kdbench.compress import Calibration, Compressor, Source
from kdbench.compress.calibration import CalibrationChoice
from kdbench.errors import InputError, about
from kdbench.measure.bench_model import BenchModel
from kdbench.modelfile.facts import read_facts
from kdbench.progress import Progress
from kdbench.recipe import Recipe, Variant
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.files.compression_samples import calibration_of, held_out_of, require_top1
from kdbench.workflows.files.variants import configured_compressor, make_variant
from kdbench.workflows.stages.export import Exported
from kdbench.workflows.study.run_data import RunData

Calibrations = dict[tuple[str, CalibrationChoice], Calibration]  # by the id of the source


@dataclass(frozen=True)
class Step:
    """A variant of a recipe with its configured method and the choice of its samples."""

    variant: Variant
    method: Compressor
    choice: CalibrationChoice


def compression_plan(recipe: Recipe, run_data: RunData) -> tuple[Step, ...]:
    """Return the variants to make, each after the one it comes from.

    Raises InputError for an unknown method or setting, and for too few training samples, before anything trains.
    """
    steps = tuple(_step(variant, recipe, run_data) for variant in recipe.variants())
    methods = {step.variant.name: step.method for step in steps}
    for step in steps:
        source = methods.get(step.variant.of)
        if source is not None and not source.leaves_float32:
            message = f"variant {step.variant.name!r} is of {step.variant.of!r}, which is already compressed"
            raise InputError(message, "in `of`, name the teacher or student from which it was made")
    return steps


def _step(variant: Variant, recipe: Recipe, run_data: RunData) -> Step:
    choice = CalibrationChoice(count=variant.calibration_count, seed=variant.calibration_seed)
    with about(f"variant {variant.name!r}"):
        method = configured_compressor(variant.method, variant.options)
        if method.calibrated:
            choice.require_enough(len(run_data.train))
        if method.held_out_samples:
            require_top1(run_data.validation, recipe.data.name)
    return Step(variant, method, choice)


def compress_all(
    recipe: Recipe, exports: Sequence[Exported], run_data: RunData, folder: RunFolder, progress: Progress
) -> list[Exported]:
    """Return the variants of exported models, of every seed; a file that was made the same way is kept.

    A model that may not be measured has no variants. Raises InputError for a model that a method does not apply to.
    """
    variants: list[Exported] = []
    steps = compression_plan(recipe, run_data)
    calibrations: Calibrations = {}
    for done, step in enumerate(steps):
        progress.step(done, len(steps), step.variant.name)
        for source in [export for export in (*exports, *variants) if export.card.name == step.variant.of]:
            if source.refused is not None:
                progress.note(f"no {step.variant.name}: {source.card.id} is not measured")
                continue
            variants.append(_compressed(step, source, recipe, run_data, folder, calibrations, progress))
    return variants


def _compressed(
    step: Step,
    source: Exported,
    recipe: Recipe,
    run_data: RunData,
    folder: RunFolder,
    calibrations: Calibrations,
    progress: Progress,
) -> Exported:
    """Return one variant; `calibrations` keeps the inputs of each source, which its variants share."""
    variant, path = step.variant, folder.model(source.card.id)
    form = source.form
    classes = None if form is None else form.classes
    model = BenchModel(card=source.card, path=path, facts=source.facts, class_map=classes)
    target = folder.model(variant.name + source.card.id.removeprefix(source.card.name))
    identity = {
        "name": variant.name,
        "file": str(target.relative_to(folder.path)),
        "family": variant.family,
        "axes": variant.axes,
        "training": None,  # only its source was trained
    }
    with about(f"variant {variant.name!r}"):
        geometry = None if form is None else form.preprocessing.geometry
        calibration = held_out = None
        if step.method.calibrated:
            key = source.card.id, step.choice
            if key not in calibrations:
                calibrations[key] = calibration_of(model, run_data.train, step.choice, recipe.data.name, geometry)
            calibration = calibrations[key]
        if count := step.method.held_out_samples:
            samples = step.choice.of_validation(run_data.validation, count, source.facts.fixed_batch)
            held_out = held_out_of(model, samples, step.choice, recipe.data.name, geometry, seen=False)
        inputs = Source(path, source.facts, calibration, held_out)
        file = make_variant(variant.method, step.method, inputs, model, target, identity=identity, replace=True)
    for warning in file.warnings:
        progress.note(f"{file.card.id}: {warning}")
    if form is not None:
        form.describe(target)
    facts = replace(read_facts(target), layout=source.facts.layout, output=source.facts.output)
    return replace(source, card=file.card, facts=facts, parity=None)
