"""Compressed variants of a model file: each is a file, made unless it exists already, and its card."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdbench.compress import COMPRESSORS, Calibration, Compressor, Outcome, Source
from kdbench.compress.calibration import CalibrationChoice, labelled_sha256
from kdbench.compress.held_out import HeldOut, Run
from kdbench.data.reading.images import fit_images
from kdbench.errors import InputError, about
from kdbench.evaluate.predictions import label_ranks, not_finite
from kdbench.files import storage
from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.measure.staging import stage
from kdbench.modelfile.facts import read_facts
from kdbench.processes import temporary
from kdbench.results.cards import CalibrationSet, ModelCard, Variant
from kdbench.results.preprocessing import Geometry
from kdbench.results.run_folder import card_path
from kdbench.user_input.validation import validated
from kdbench.worker.inputs import Inputs, prepare
from kdbench.worker.jobs import JobModel

if TYPE_CHECKING:
    from kdbench.data import Split


@dataclass(frozen=True)
class VariantFile:
    """A variant's file and card, and the sizes of the file and of its source; `kept` says that it existed already."""

    path: Path
    card: ModelCard
    kept: bool
    size_bytes: int
    source_bytes: int
    warnings: tuple[str, ...] = ()


def configured_compressor(method: str, settings: Mapping[str, Any] | None = None) -> Compressor:
    """Return a method with settings; raises InputError for unknown names, invalid values and missing libraries."""
    compressor_type = COMPRESSORS.get(method)
    with about(method):
        compressor = validated(
            compressor_type, settings or {}, f"docs/compression.md explains the settings of {method}"
        )
    compressor.require_available()
    return compressor


def calibration_of(
    model: BenchModel, training: "Split", choice: CalibrationChoice, data: str, geometry: Geometry | None = None
) -> Calibration:
    """Return the chosen samples of a training part as the model takes them; `data` is the name of the data set.

    `geometry` is the model's, if it differs from that of `training`.
    """
    samples = choice.of(training, model.facts.fixed_batch)
    images, job = _staged(model, samples, geometry)
    return Calibration.of(prepare(images, job), samples, choice, data)


def held_out_of(
    model: BenchModel,
    samples: "Split",
    choice: CalibrationChoice,
    data: str,
    geometry: Geometry | None = None,
    *,
    seen: bool,
) -> HeldOut:
    """Return a score of files of `model` on labelled samples that `choice` held out; parameters as `calibration_of`.

    `seen` says that the model may have been trained on them. Raises InputError for a regression, which has no top-1.
    """
    from kdbench.worker.probes.logits import batch_size, class_scores, evaluate  # loads onnxruntime

    require_top1(samples, data)
    images, job = _staged(model, samples, geometry)
    inputs = Inputs()

    def correct(run: Run) -> NDArray[np.bool_]:
        try:
            outputs = evaluate(run, inputs.of(images, job), job.fixed_batch, batch_size(job), lambda _: None)
            scores = class_scores(outputs, job)
        except ValueError as error:
            raise InputError(f"{model.id}: {error}", "name the output that holds the logits: --output") from error
        if model.class_map is not None:
            scores = model.class_map.arranged(scores, model.facts.output.scored_as, model.id)
        if (reason := not_finite(scores)) is not None:
            raise InputError(f"{model.id}: {reason} on held-out samples", "check its weights and the preprocessing")
        return np.asarray(label_ranks(scores, samples.labels) == 0)

    known = CalibrationSet(data=data, count=len(samples), seed=choice.seed, sha256=labelled_sha256(samples))
    return HeldOut(correct, known, seen)


def require_top1(samples: "Split", data: str) -> None:
    """Raise InputError for samples of a regression, which have no accuracy."""
    if samples.labels.ndim > 1:
        message = f"max_drop is in points of top-1, but {data} is a regression, which has no top-1"
        raise InputError(message, "set min_snr_db instead, or leave it out")


def _staged(model: BenchModel, samples: "Split", geometry: Geometry | None) -> tuple[NDArray[Any], JobModel]:
    """Return samples in the geometry of `model`, and the job that describes how they become its inputs."""
    fitted = {} if geometry is None else {geometry: fit_images(samples.inputs, geometry)}
    test = TestSet(samples.inputs, samples.labels, in_geometry=fitted)
    with temporary.folder() as folder:
        return test.images_of(model), stage([model], test, folder, seed=0)[model.id]


def make_variant(
    method: str,
    compressor: Compressor,
    source: Source,
    model: BenchModel,
    target: Path,
    *,
    identity: Mapping[str, Any] | None = None,
    replace: bool = False,
) -> VariantFile:
    """Write a variant of `model` and its card to `target`, by `compressor`, which is called `method`.

    `identity` are keys of the card that replace the source's. A file that was made from the same source, by the same
    method, settings, samples and versions is kept. Any other file is an InputError, except with `replace`.
    """
    known = None if source.calibration is None else source.calibration.known
    variant = Variant(
        of=model.id,
        source_sha256=source.facts.sha256,
        method=method,
        settings=compressor.model_dump(mode="json"),
        calibration=known,
        held_out=None if source.held_out is None else source.held_out.known,
        versions=_versions(),
        key="",
    )
    preprocessing = None if known is None or model.card.preprocessing is None else model.card.preprocessing
    hashed = {
        **variant.model_dump(mode="json", exclude={"of", "ranges", "facts"}),
        "revision": compressor.revision,
        "preprocessing": None if preprocessing is None else preprocessing.model_dump(mode="json", exclude={"sources"}),
    }
    variant = variant.model_copy(update={"key": storage.content_hash(hashed)})
    identity = {"id": target.stem, "name": target.stem, "file": target.name, **(identity or {})}
    kept = _existing_or_none(target, variant) if replace else _existing(target, variant)
    if kept is not None and kept.variant is not None:
        card = _card(variant, Outcome(kept.variant.ranges, kept.variant.facts), model, target, identity)
        if card != kept:
            card.write(card_path(target))
        known_facts = {} if card.variant is None else card.variant.facts
        warnings = compressor.warnings_about(source, target, known_facts)
        return VariantFile(target, card, True, target.stat().st_size, source.facts.size_bytes, warnings)
    with storage.replacing(target) as part:
        outcome = compressor.compress(source, part)
        if not replace:
            _existing(target, variant)  # again: another process may have written it meanwhile
        card = _card(variant, outcome, model, part, identity)
        card.write(card_path(target))  # first: a file without a card would count as foreign
    return VariantFile(target, card, False, target.stat().st_size, source.facts.size_bytes, outcome.warnings)


def _versions() -> dict[str, str]:
    import onnx
    import onnxruntime

    return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}


def _existing_or_none(target: Path, variant: Variant) -> ModelCard | None:
    """Return the card of a file that was made the same way; None for any other file, which is replaced."""
    try:
        return _existing(target, variant)
    except InputError:
        return None


def _existing(target: Path, variant: Variant) -> ModelCard | None:
    """Return the card of a file that was made the same way; None if there is no file yet.

    Raises InputError for any other file, so that nothing is overwritten.
    """
    file = card_path(target)
    card = ModelCard.read(file) if file.exists() else None
    hint = "choose another --out or --name, or move it away"
    if card is not None and card.variant is None:
        raise InputError(f"{file} is the card of a model that is not a variant", hint)
    if not target.exists():
        return None
    if card is None or card.variant is None:
        raise InputError(f"{target} exists, but kdbench did not make it by compression", hint)
    if card.sha256 != storage.sha256(target):
        raise InputError(f"{target} was changed after it was made: its card describes another file", hint)
    if card.variant.key == variant.key:
        if card.variant.outcome_sha256 not in {None, _outcome_hash(card.variant)}:
            raise InputError(f"{file} was changed after it was made", hint)
        return card
    old, new = card.variant.model_dump(mode="json"), variant.model_dump(mode="json")
    differences = [text for key, text in _DIFFERENCES.items() if old.get(key) != new.get(key)]
    differing = ", ".join(differences) or "preprocessing or revision of the method"
    raise InputError(f"{target} was made differently ({differing})", hint)


_DIFFERENCES = {
    "source_sha256": "another source file",
    "settings": "other settings",
    "calibration": "other calibration samples",
    "held_out": "other held-out samples",
    "versions": "other versions of onnx or onnxruntime",
}


def _outcome_hash(variant: Variant) -> str:
    return storage.content_hash(variant.model_dump(mode="json", include={"ranges", "facts"}))


def _card(variant: Variant, outcome: Outcome, model: BenchModel, part: Path, identity: dict[str, Any]) -> ModelCard:
    facts = read_facts(part)
    made = variant.model_copy(
        update={"ranges": {name: tuple(ends) for name, ends in outcome.ranges.items()}, "facts": dict(outcome.facts)}
    )
    made = made.model_copy(update={"outcome_sha256": _outcome_hash(made)})
    return ModelCard.model_validate(
        model.card.model_dump()
        | {
            "role": "variant",
            "parents": (model.id,),
            "sha256": facts.sha256,
            # A network's card also counts what export folds: the variant lacks only what the method removed.
            "parameters": model.card.parameters + facts.parameters - model.facts.parameters,
            "opset": facts.opset,
            "variant": made.model_dump(),
        }
        | identity
    )
