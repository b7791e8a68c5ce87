"""A model file of unknown origin as a model to measure: what is known of its input, and whether images fit it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.errors import InputError
from kdbench.measure.bench_model import BenchModel, network_of
from kdbench.measure.staging import noise_shape
from kdbench.modelfile.facts import ModelFacts, output_of, read_facts
from kdbench.modelfile.known_inputs import known_inputs
from kdbench.modelfile.layouts import layout_for, require_type
from kdbench.recipe import InputOptions
from kdbench.registry import suggestion
from kdbench.results.cards import ModelCard
from kdbench.results.preprocessing import InputSpec, Preprocessing, merged, preprocessing_of
from kdbench.results.records import Diagnostic
from kdbench.results.run_folder import card_path
from kdbench.workflows.files.graph_inputs import GENERAL, with_graph
from kdbench.workflows.files.images import PartImages, only_part
from kdbench.workflows.files.pixels import require_one_unit
from kdbench.workflows.files.published_weights import with_published
from kdbench.workflows.files.tables import is_table, scaled_features

if TYPE_CHECKING:
    from kdbench.data import Dataset

OF_MODEL = "options for this model"
TABLE = "the data: rows of numbers that are no pixels"


def load_bench_model(
    path: Path,
    id_: str,
    inputs: InputOptions,
    *,
    reference: str,
    images: PartImages | None = None,
    timed: bool = True,
    card: ModelCard | None = None,
    described_by: Path | None = None,
) -> tuple[BenchModel, tuple[Diagnostic, ...]]:
    """Return a model file for the harness, to compare with `reference`, and its diagnostics.

    It runs on `images`, or on noise without them. `card` replaces the card beside the file. For an exported
    network, `described_by` is the file of its weights: the files beside it describe the input. Raises InputError for a
    file that cannot be measured on such images.
    """
    model_spec = inputs.models.get(id_, InputSpec())
    facts = read_facts(path)
    source = card or card_in_folder(path, facts)
    spec, sources = merged(specs_of(described_by or path, facts, source, model_spec, inputs))
    if spec.layout is not None and len(facts.input_shape) == 4:
        facts = replace(facts, layout=spec.layout)
    spec = with_graph(spec, sources, facts, path)
    if images is None:
        fitted = _fitted_to_noise(facts, spec, sources, path, id_, () if source is None else source.targets)
    else:
        fitted = _fitted_to_images(facts, spec, sources, path, id_, images)
    facts = replace(
        fitted.facts, output=output_of(fitted.facts, spec.output, fitted.classes, len(fitted.targets), path)
    )
    class_map = None
    if images is not None and not fitted.targets:
        class_map = images.class_map(id_, facts.classes, fitted.spec)
    _require_batch_axis(facts, path)
    is_reference = id_ == reference
    model = BenchModel(
        card=ModelCard(
            id=id_,
            name=id_,
            role="teacher" if is_reference else "student",
            parents=() if is_reference else (reference,),
            file=path.name,
            sha256=facts.sha256,
            input_shape=fitted.shape,
            layout=facts.layout,
            fixed_batch=facts.fixed_batch,
            classes=facts.classes,
            targets=fitted.targets,
            parameters=facts.parameters,
            opset=facts.opset,
            preprocessing=fitted.preprocessing,
            variant=None if source is None else source.variant,
        ),
        path=path,
        facts=facts,
        teacher=None if is_reference else reference,
        timed=timed,
        network=network_of(source, path),
        class_map=class_map,
    )
    return model, (
        *fitted.diagnostics,
        *_in_training_mode(id_, facts),
        *_unused_options(id_, inputs, fitted.preprocessing, fitted.spec),
    )


@dataclass(frozen=True)
class _Fitted:
    """A file's input and predictions as they fit the inputs that it is measured on.

    `shape` is that of one sample of the data. `classes` is None on noise; `targets` are the names of a regression's.
    """

    facts: ModelFacts
    spec: InputSpec
    preprocessing: Preprocessing
    shape: tuple[int, ...]
    classes: int | None
    targets: tuple[str, ...]
    diagnostics: tuple[Diagnostic, ...] = ()


def _fitted_to_noise(
    facts: ModelFacts, spec: InputSpec, sources: dict[str, str], path: Path, id_: str, targets: tuple[str, ...]
) -> _Fitted:
    preprocessing = preprocessing_of(spec, sources, facts.sides, facts.channels, id_)
    shape = noise_shape(facts, path.name, spec.size or preprocessing.geometry.crop)
    return _Fitted(facts, spec, preprocessing, shape, None, targets)


def _fitted_to_images(
    facts: ModelFacts, spec: InputSpec, sources: dict[str, str], path: Path, id_: str, images: PartImages
) -> _Fitted:
    """Load the images as the file takes them; raises InputError if none of its layouts fits them."""
    preprocessing = preprocessing_of(spec, sources, facts.sides, facts.channels, id_)
    dataset = images.load(preprocessing.geometry, preprocessing.data_layout)
    is_described = "scale" in preprocessing.sources or preprocessing.data_layout is not None
    if not is_described and is_table(only_part(dataset).inputs):
        spec, sources = spec.model_copy(update={"data_layout": "vectors"}), {**sources, "data_layout": TABLE}
        preprocessing = preprocessing_of(spec, sources, facts.sides, facts.channels, id_)
        dataset = images.load(preprocessing.geometry, "vectors")
    require_type(facts.input_dtype, dataset.layout, str(path))
    require_one_unit(id_, preprocessing, only_part(dataset).inputs, f"--scale {id_}=")
    facts, diagnostics = _with_layout(facts, dataset, spec, path, id_)
    diagnostics += scaled_features(id_, preprocessing, only_part(dataset).inputs)
    classes, targets = len(spec.labels or dataset.class_names), dataset.class_names
    targets = targets if dataset.task == "regression" else ()
    return _Fitted(facts, spec, preprocessing, dataset.input_shape, classes, targets, diagnostics)


def _with_layout(
    facts: ModelFacts, dataset: "Dataset", spec: InputSpec, path: Path, id_: str
) -> tuple[ModelFacts, tuple[Diagnostic, ...]]:
    """Return the facts with the layout in which the data's samples fit the input, and its diagnostics.

    The order of values in a flat input is unknown; channels first is usual.
    """
    layout = layout_for(facts.input_shape, dataset.input_shape, str(path), dataset.layout)
    if layout != "flat" or dataset.input_shape[0] == 1:
        return replace(facts, layout=layout), ()
    if spec.layout is not None:
        return replace(facts, layout=spec.layout), ()
    message = f"{id_} takes flat inputs: images are flattened channels first (channels, height, width)"
    remedy = (
        f"if its accuracy is low: --layout {id_}=NHWC flattens height, width, channels; --layout {id_}=NCHW keeps it"
    )
    return replace(facts, layout=layout), (Diagnostic(code="flat_input", message=message, remedy=remedy, model=id_),)


def _require_batch_axis(facts: ModelFacts, path: Path) -> None:
    """Raise InputError for a file whose input and output differ in their number of rows: it has no batch axis."""
    rows, samples = (facts.output.shape or (None,))[0], facts.fixed_batch
    if rows is not None and samples is not None and rows != samples:
        message = f"{path} maps {samples} inputs to {rows} outputs: its first axis is not the batch"
        raise InputError(message, "export it with a batch axis in front, such as 1x3x32x32")


def specs_of(
    path: Path, facts: ModelFacts, card: ModelCard | None, model_spec: InputSpec, general: InputOptions
) -> list[tuple[str, InputSpec]]:
    """Return what each source defines of a model's input, the most specific first.

    `model_spec` are the options for this model, `general` those for all models.
    """
    known = list(known_inputs(path, facts, described=model_spec.known))
    sidecars = [(name, spec) for name, spec in known if name.endswith(".toml")]
    from_card = [("its card", card.preprocessing.known)] if card is not None and card.preprocessing is not None else []
    others = [(name, spec) for name, spec in known if not name.endswith(".toml")]
    specs = [(OF_MODEL, model_spec), *sidecars, *from_card, *others, (GENERAL, general)]
    return list(with_published(specs))


def require_known_models(inputs: InputOptions, ids: list[str]) -> InputOptions:
    """Return the options with models by their ids; raises InputError for options of a model that is not measured."""
    models = {name if name in ids else name.removesuffix(".onnx"): spec for name, spec in inputs.models.items()}
    for name in models:
        if name not in ids:
            hint = suggestion(name, ids, f"models: {', '.join(ids)}")
            raise InputError(f"options are given for {name!r}, which is not one of the models", hint)
    return inputs.model_copy(update={"models": models})


def _in_training_mode(id_: str, facts: ModelFacts) -> tuple[Diagnostic, ...]:
    """Return a diagnostic for a file with operators in training mode: its answers are random, or those of a batch."""
    if not facts.training:
        return ()
    message = f"{' and '.join(facts.training)} compute as in training: its answers depend on chance or on the batch"
    remedy = "call model.eval() before the export"
    return (Diagnostic(code="training_mode", message=message, remedy=remedy, model=id_),)


def _unused_options(
    id_: str, inputs: InputOptions, preprocessing: Preprocessing, spec: InputSpec
) -> tuple[Diagnostic, ...]:
    """Return a diagnostic if options for all models do not apply to this one, whose own source takes precedence."""
    values = spec.known
    unused = [key for key, value in inputs.known.items() if values.get(key) != value]
    if not unused:
        return ()
    by_source = dict.fromkeys(preprocessing.sources.get(key, "") for key in unused)
    known_by = ", ".join(source for source in by_source if source) or "the model itself"
    options = ", ".join(f"--{key.replace('_', '-')}" for key in unused)
    verb = "do" if len(unused) > 1 else "does"
    message = f"{options} {verb} not apply to {id_}: {known_by} has other values"
    remedy = f"to override it, name the model: {options.partition(',')[0]} {id_}=…"
    return (Diagnostic(code="preprocessing", message=message, remedy=remedy, model=id_),)


def card_in_folder(path: Path, facts: ModelFacts) -> ModelCard | None:
    """Return the card in a file's folder, if it describes this state of the file."""
    file = card_path(path)
    card = ModelCard.read(file) if file.exists() else None
    return card if card is not None and card.sha256 == facts.sha256 else None
