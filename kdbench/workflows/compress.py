"""Compress a model file: each method's variant as a file with a card beside it, which `bench` measures like any other.

Finished files are kept, so that an interrupted compression continues where it stopped.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from kdbench.compress import COMPRESSORS, Calibration, Compressor, Source
from kdbench.compress.calibration import CalibrationChoice
from kdbench.compress.held_out import HeldOut
from kdbench.compress.sources import require_float32
from kdbench.errors import InputError, about
from kdbench.files import storage
from kdbench.measure.admission import require_answer
from kdbench.measure.bench_model import BenchModel
from kdbench.modelfile.facts import read_facts
from kdbench.modelfile.reading import require_model_file
from kdbench.progress import Progress, Silent
from kdbench.recipe import InputOptions
from kdbench.results.preprocessing import InputSpec, merged
from kdbench.results.records import Diagnostic
from kdbench.results.values import require_id
from kdbench.workflows.files.compression_samples import calibration_of, held_out_of
from kdbench.workflows.files.images import CalibrationImages
from kdbench.workflows.files.model_files import card_in_folder, load_bench_model, require_known_models, specs_of
from kdbench.workflows.files.variants import VariantFile, configured_compressor, make_variant

if TYPE_CHECKING:
    from kdbench.data import Split


@dataclass(frozen=True)
class Variants:
    """The variants of the model file `source`, in the order of the methods, and the diagnostics of its input."""

    source: Path
    made: tuple[VariantFile, ...]
    diagnostics: tuple[Diagnostic, ...] = ()


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
    part calibrates, and the model's preprocessing, as for `bench`; `calibration` chooses the samples. A file that was
    made from the same source, by the same method, settings, samples and versions is kept.

    Raises InputError for files, data and settings that do not fit, and for any other file of that name.
    """
    path, out, progress = Path(path), storage.with_home(out), progress or Silent()
    inputs, choice = inputs or InputOptions(), calibration or CalibrationChoice()
    require_model_file(path)
    compressors = _configured(methods)
    require_float32(path)
    require_id(path.stem)
    for method in compressors:
        hint = "choose another --name" if name else "rename the file, or add --name"
        require_id(f"{name or path.stem}-{method}", hint)
    inputs = require_known_models(inputs, [path.stem])
    needs_samples = _needs_samples(compressors, inputs)

    progress.stage("load", 1, 2)
    held_out = max(compressor.held_out_samples for compressor in compressors.values())
    images = CalibrationImages(inputs, choice.pick(held_out)) if needs_samples else None
    model, diagnostics = load_bench_model(path, path.stem, inputs, reference=path.stem, images=images)
    require_answer(model)
    samples = _Samples(model, images.split() if images is not None else None, choice, inputs.data or "")
    storage.make_folder(out)
    progress.folder(out)
    progress.stage("compress", 2, 2)
    made = []
    for done, (method, compressor) in enumerate(compressors.items()):
        progress.step(done, len(compressors), method)
        target = out / f"{name or path.stem}-{method}.onnx"
        source = Source(path, model.facts, samples.calibration(compressor), samples.held_out(compressor))
        with storage.storage_errors(out), about(method) if len(compressors) > 1 else nullcontext():
            made.append(make_variant(method, compressor, source, model, target))
    spec = _sidecar(path, model, inputs)
    for variant in made if spec else ():
        storage.write_text(variant.path.with_suffix(".toml"), tomli_w.dumps(spec))
    return Variants(path, tuple(made), diagnostics)


def _configured(methods: Mapping[str, Mapping[str, Any]] | Sequence[str]) -> dict[str, Compressor]:
    """Return the compressors by their methods; raises InputError without any, and for unknown methods and settings."""
    settings = dict(methods) if isinstance(methods, Mapping) else {method: {} for method in methods}
    compressors = {method: configured_compressor(method, values) for method, values in settings.items()}
    if not compressors:
        hint = f"add --method NAME, one of {', '.join(COMPRESSORS.names())}"
        raise InputError("no compression method is named", hint)
    return compressors


def _needs_samples(compressors: Mapping[str, Compressor], inputs: InputOptions) -> bool:
    """Return whether a compressor needs training samples; raises InputError if there is no data to take them from."""
    methods = [method for method, c in compressors.items() if c.calibrated or c.held_out_samples]
    if methods and inputs.data is None:
        verb = "need" if len(methods) > 1 else "needs"
        message = f"{' and '.join(methods)} {verb} training images to calibrate on"
        raise InputError(message, "add --data NAME, folder:PATH or npz:PATH, with a training part")
    return bool(methods)


@dataclass(frozen=True)
class _Samples:
    """The picked samples of the training part, and what compressors get from them; the calibration is made once."""

    model: BenchModel
    picked: "Split | None"
    choice: CalibrationChoice
    data: str

    @cached_property
    def _calibration(self) -> Calibration:
        assert self.picked is not None, "methods that need samples have some"
        return calibration_of(self.model, self.picked, self.choice, self.data)

    def calibration(self, compressor: Compressor) -> Calibration | None:
        return self._calibration if compressor.calibrated else None

    def held_out(self, compressor: Compressor) -> HeldOut | None:
        if not compressor.held_out_samples:
            return None
        assert self.picked is not None, "methods that need samples have some"
        samples = self.choice.held_out(self.picked, compressor.held_out_samples, self.model.facts.fixed_batch)
        return held_out_of(self.model, samples, self.choice, self.data, seen=True)


def _sidecar(path: Path, model: BenchModel, inputs: InputOptions) -> dict[str, Any]:
    """Return a sidecar's content: a model's labels and output, which a card does not hold; empty if unknown."""
    facts = read_facts(path)
    specs = specs_of(path, facts, card_in_folder(path, facts), inputs.models.get(model.id, InputSpec()), inputs)
    spec, _ = merged(specs)
    if spec.labels is None and spec.output is None:
        return {}
    return spec.model_dump(include={"labels", "output", "layout"}, exclude_none=True)
