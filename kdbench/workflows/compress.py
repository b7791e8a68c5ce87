"""Compress a model file: each method's variant as a file with a card beside it, which `bench` measures like any other.

What is already there is kept, so that an interrupted compression goes on where it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from kdbench import storage, temporary
from kdbench.compress import COMPRESSORS, Calibration, Compressor, Outcome, Source
from kdbench.compress.calibration import CalibrationChoice
from kdbench.compress.preparing import require_float32
from kdbench.errors import InputError
from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.measure.staging import stage
from kdbench.modelfile.facts import read_facts
from kdbench.progress import Progress, Silent
from kdbench.recipe import InputOptions
from kdbench.results.cards import ModelCard, Variant
from kdbench.results.preprocessing import InputSpec, merged
from kdbench.results.records import Diagnostic
from kdbench.results.run_folder import card_path
from kdbench.results.values import require_id
from kdbench.validation import validated
from kdbench.worker.inputs import prepare
from kdbench.workflows.files.model_files import (
    TrainingImages,
    card_beside,
    load_bench_model,
    require_known_models,
    specs_of,
)

if TYPE_CHECKING:
    from kdbench.data import Split


@dataclass(frozen=True)
class Made:
    """A variant's file and card; `kept` says that it was there already. Sizes are in bytes, of this and the source."""

    path: Path
    card: ModelCard
    kept: bool
    size_bytes: int
    source_bytes: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variants:
    """The variants of the model file `source`, in the order of the methods, and the diagnostics of its input."""

    source: Path
    made: tuple[Made, ...]
    diagnostics: tuple[Diagnostic, ...] = ()


def compressor(method: str, settings: Mapping[str, Any] | None = None) -> Compressor:
    """Return a method with settings; raises InputError for an unknown method or key, or an invalid value."""
    kind = COMPRESSORS.get(method)
    try:
        return validated(kind, settings or {})
    except InputError as error:
        raise InputError(f"{method}: {error.message}", error.hint) from error


def compress_model(
    path: str | Path,
    methods: Mapping[str, Mapping[str, Any]] | Sequence[str],
    *,
    out: str | Path,
    name: str | None = None,
    inputs: InputOptions | None = None,
    calibration: CalibrationChoice | None = None,
    progress: Progress | None = None,
) -> Variants:
    """Write a variant of the ONNX file at `path` by each of `methods` to the folder `out`, as NAME-METHOD.onnx.

    `methods` are names, or names with settings. `name` is by default the file's. `inputs` is the data whose training
    part is calibrated on, and the model's preprocessing, as for `bench`; `calibration` says which samples. A file that
    was made of the same source, by the same method, settings, samples and versions is kept.

    Raises InputError for files, data and settings that do not fit, and for a file of that name that is another one.
    """
    path, out, progress = Path(path), Path(out), progress or Silent()
    inputs, choice = inputs or InputOptions(), calibration or CalibrationChoice()
    settings = dict(methods) if isinstance(methods, Mapping) else {method: {} for method in methods}
    chosen = {method: compressor(method, of_method) for method, of_method in settings.items()}
    if not chosen:
        raise InputError("no compression method is named", f"--method, one of {', '.join(COMPRESSORS.names())}")
    for id_ in (path.stem, *(f"{name or path.stem}-{method}" for method in chosen)):
        require_id(id_)
    inputs = require_known_models(inputs, [path.stem])
    needing = [method for method, one in chosen.items() if one.calibrated]
    if needing and inputs.data is None:
        message = f"{' and '.join(needing)} need{'' if len(needing) > 1 else 's'} training images to calibrate on"
        raise InputError(message, "add --data NAME, folder:PATH or npz:PATH, with a training part")

    progress.stage("load", 1, 2)
    require_float32(path)
    images = TrainingImages(inputs) if needing else None
    model, diagnostics = load_bench_model(path, path.stem, inputs, reference=path.stem, images=images)
    calibrated = _calibration(model, images, choice) if images is not None else None
    storage.make_folder(out)
    progress.folder(out)
    progress.stage("compress", 2, 2)
    made = []
    for done, (method, one) in enumerate(chosen.items()):
        progress.step(done, len(chosen), method)
        target = out / f"{name or path.stem}-{method}.onnx"
        source = Source(path, model.facts, calibrated if one.calibrated else None)
        with storage.explained(out):
            made.append(_variant(method, one, source, model, target))
    spec = _described(path, model, inputs)
    for variant in made if spec else ():
        storage.write_text(variant.path.with_suffix(".toml"), tomli_w.dumps(spec))
    return Variants(path, tuple(made), diagnostics)


def _calibration(model: BenchModel, images: TrainingImages, choice: CalibrationChoice) -> Calibration:
    """Return the chosen training samples as the model takes them."""
    samples: Split = choice.of(images.split(), model.facts.fixed_batch)
    with temporary.folder() as folder:
        job = stage([model], TestSet(samples.inputs, samples.labels), folder, seed=0)[model.id]
        inputs = prepare(samples.inputs, job)
    return Calibration.of(inputs, samples, choice, images.inputs.data or "")


def _variant(method: str, one: Compressor, source: Source, model: BenchModel, target: Path) -> Made:
    known = None if source.calibration is None else source.calibration.known
    variant = Variant(
        of=model.id,
        source_sha256=source.facts.sha256,
        method=method,
        settings=one.model_dump(mode="json"),
        calibration=known,
        versions=_versions(),
        key="",
    )
    preprocessing = None if known is None or model.card.preprocessing is None else model.card.preprocessing
    hashed = {
        **variant.model_dump(mode="json", exclude={"of", "ranges", "facts"}),
        "revision": one.revision,
        "preprocessing": None if preprocessing is None else preprocessing.model_dump(mode="json", exclude={"sources"}),
    }
    variant = variant.model_copy(update={"key": storage.content_hash(hashed)})
    if (kept := _kept(target, variant)) is not None:
        return Made(target, kept, True, target.stat().st_size, source.facts.size_bytes)
    with storage.replacing(target) as part:
        outcome = one.compress(source, part)
        card = _card(variant, outcome, model, part, target)
        card.write(card_path(target))  # first: a file without a card would be somebody else's
    return Made(target, card, False, target.stat().st_size, source.facts.size_bytes, outcome.warnings)


def _versions() -> dict[str, str]:
    import onnx
    import onnxruntime

    return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}


def _kept(target: Path, variant: Variant) -> ModelCard | None:
    """Return the card of a file that was made the same way; None where there is no file yet.

    Raises InputError for a file that is another one, so that nothing is overwritten.
    """
    file = card_path(target)
    card = ModelCard.read(file) if file.exists() else None
    hint = "choose another --out or --name, or move it away"
    if card is not None and card.variant is None:
        raise InputError(f"{file} is the card of a model that is no variant", hint)
    if not target.exists():
        return None
    if card is None or card.variant is None:
        raise InputError(f"{target} exists, and kdbench did not make it by compression", hint)
    if card.sha256 != storage.sha256(target):
        raise InputError(f"{target} was changed after it was made: its card describes another file", hint)
    if card.variant.key == variant.key:
        return card
    old, new = card.variant.model_dump(mode="json"), variant.model_dump(mode="json")
    keys = [key for key in ("source_sha256", "settings", "calibration", "versions") if old[key] != new[key]]
    differing = ", ".join(_NAMES[key] for key in keys) or "preprocessing or revision of the method"
    raise InputError(f"{target} was made in another way ({differing})", hint)


_NAMES = {
    "source_sha256": "another source file",
    "settings": "other settings",
    "calibration": "other calibration samples",
    "versions": "other versions of onnx or onnxruntime",
}


def _card(variant: Variant, outcome: Outcome, model: BenchModel, part: Path, target: Path) -> ModelCard:
    facts = read_facts(part)
    made = variant.model_copy(
        update={"ranges": {name: tuple(ends) for name, ends in outcome.ranges.items()}, "facts": dict(outcome.facts)}
    )
    return ModelCard.model_validate(
        model.card.model_dump()
        | {
            "id": target.stem,
            "name": target.stem,
            "role": "variant",
            "parents": (model.id,),
            "file": target.name,
            "sha256": facts.sha256,
            "parameters": facts.parameters,
            "opset": facts.opset,
            "variant": made.model_dump(),
        }
    )


def _described(path: Path, model: BenchModel, inputs: InputOptions) -> dict[str, Any]:
    """Return what a card does not hold of a model's outputs, as the content of a sidecar; empty if nothing is known."""
    facts = read_facts(path)
    specs = specs_of(path, facts, card_beside(path, facts), inputs.models.get(model.id, InputSpec()), inputs)
    spec, _ = merged(specs)
    if spec.labels is None and spec.output is None:
        return {}
    return spec.model_dump(include={"labels", "output", "layout"}, exclude_none=True)
