"""The input, the classes and the file of a pretrained teacher that differ from the students'."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tomli_w
import torch
from torch import nn

from kdbench.data.dataset import Dataset
from kdbench.data.reading.images import fitted_size, scaled_size
from kdbench.distill.teaching.onnx_network import require_logits
from kdbench.distill.teaching.teacher_inputs import FILTERS, Normalisation, TeacherInputs, adapt
from kdbench.errors import InputError
from kdbench.evaluate.class_map import ClassMap, class_map
from kdbench.files import storage
from kdbench.modelfile.facts import ModelFacts, output_of, read_facts
from kdbench.modelfile.layouts import layout_for, require_type
from kdbench.recipe import InputOptions, Teacher
from kdbench.recipe.tables.models import is_onnx
from kdbench.results.preprocessing import Geometry, InputSpec, Preprocessing, merged, preprocessing_of
from kdbench.workflows.files.graph_inputs import GENERAL, with_graph
from kdbench.workflows.files.model_files import OF_MODEL, card_in_folder, specs_of
from kdbench.workflows.files.pixels import require_one_unit
from kdbench.workflows.files.torch_networks import unknown_facts
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.recipe_keys import naming_recipe_keys
from kdbench.workflows.study.run_data import RunData

RECIPE = "the recipe's data"  # the source of keys that the teacher shares with the students
_NORMALISATION = ("scale", "mean", "std")
_SAMPLES, _TOLERANCE = 16, 1e-3  # a grey level is about ten times as much
_IMAGE_KEYS = ("size", "resize", "crop", "resize_mode", "crop_pct", "geometry", "colour", "channel_order")


@dataclass(frozen=True, eq=False)
class TeacherForm:
    """The input and the outputs of a pretrained teacher.

    `shape` is that of one input, channels first, and `outputs` the number of outputs. `classes` maps them to the data's
    classes; None if they are equal. `facts` are those of its ONNX file; None for a torch network. `inputs` converts
    the students' normalised inputs (B, …) to the teacher's.
    """

    spec: InputSpec
    preprocessing: Preprocessing
    inputs: TeacherInputs
    shape: tuple[int, ...]
    outputs: int
    classes: ClassMap | None
    facts: ModelFacts | None

    def adapted(self, network: nn.Module) -> nn.Module:
        """Make `network`, in place, accept the students' inputs and return logits of the data's classes; return it."""
        return adapt(network, self.inputs, None if self.classes is None else self.classes.columns)

    def describe(self, path: Path) -> None:
        """Write a sidecar of the file at `path` with the names of its outputs, if they are known."""
        if self.spec.labels is not None:
            content = self.spec.model_dump(include={"labels", "output", "layout"}, exclude_none=True)
            storage.write_text(path.with_suffix(".toml"), tomli_w.dumps(content))


def is_onnx_teacher(job: Job) -> bool:
    """Return whether a job is a teacher that is an ONNX file."""
    return isinstance(job.entry, Teacher) and is_onnx(job.entry.weights)


def built_for(job: Job, dataset: Dataset) -> tuple[tuple[int, ...], int]:
    """Return the input shape and the number of outputs that a job's network is built for."""
    if not _may_differ(job):
        return dataset.input_shape, dataset.outputs
    spec, sources = _known(job, unknown_facts())
    with naming_recipe_keys(job):
        geometry = _geometry(spec, sources, unknown_facts(), dataset, job.entry.name)
    return _shape(geometry, dataset), len(spec.labels) if spec.labels is not None else dataset.outputs


def form_of(job: Job, run_data: RunData) -> TeacherForm | None:
    """Return the form of a pretrained teacher; None if its input and outputs are the students'.

    Raises InputError if its file, its description and the data contradict each other.
    """
    return _described(job, run_data) if _may_differ(job) else None


def differs_from_data(job: Job, run_data: RunData) -> bool:
    """Return whether a ready model takes other inputs than the students do, or has other classes than the data.

    Its file and the files next to it say so, and a teacher's `input`. Raises InputError as `form_of`.
    """
    if not job.entry.is_ready or job.weights is None or (form := _described(job, run_data)) is None:
        return False
    students = run_data.example(run_data.train, _SAMPLES)
    own = form.inputs(students)
    same = own.shape == students.shape and torch.allclose(own.to(students.dtype), students, atol=_TOLERANCE)
    return form.classes is not None or not same


def _described(job: Job, run_data: RunData) -> TeacherForm | None:
    """Return the form of a ready model with a file of weights; None if nothing describes it."""
    assert job.weights is not None, "a ready model has a file"
    with naming_recipe_keys(job):
        facts = read_facts(job.weights) if is_onnx_teacher(job) else None
        spec, sources = _known(job, facts or unknown_facts())
        if facts is None and not sources:
            return None
        return _form(job, run_data, spec, sources, facts)


def _form(
    job: Job, run_data: RunData, spec: InputSpec, sources: dict[str, str], facts: ModelFacts | None
) -> TeacherForm:
    dataset, students, name = run_data.dataset, run_data.preprocessing, job.entry.name
    spec, sources = _completed(job, run_data, spec, sources, facts)
    geometry = _geometry(spec, sources, facts or unknown_facts(), dataset, name)
    shape = _shape(geometry, dataset)
    measured = geometry
    if geometry == Geometry(colour=geometry.colour):  # as the students take them
        measured = students.geometry.model_copy(update={"colour": geometry.colour})
    preprocessing = preprocessing_of(spec, sources, None, None, name).model_copy(update={"geometry": measured})
    channels = shape[dataset.channel_axis - 1] if preprocessing.mean else 0
    if len(preprocessing.mean) not in {0, 1, channels}:
        message = f"{name}: {len(preprocessing.mean)} means and standard deviations for inputs of {channels} channels"
        raise InputError(message, f"give one, or {channels}; input.colour says grey or RGB")
    if any(sources.get(key, RECIPE) != RECIPE for key in _NORMALISATION):
        require_one_unit(name, preprocessing, run_data.train.inputs, "--scale=")
    if facts is not None:
        facts = _with_output(job, _fitting(facts, spec, shape, dataset, name), spec, dataset)
    outputs = _output_count(facts, spec, dataset)
    inputs = TeacherInputs(
        Normalisation(students.mean, students.std, dataset.scale, dataset.channel_axis),
        _normalisation(preprocessing, facts, dataset, name),
        preprocessing.model_copy(update={"geometry": geometry}),
        facts.layout if facts is not None else "NCHW",
        levels=dataset.scale == 255,
    )
    classes = _classes(job, run_data, outputs, spec.labels)
    return TeacherForm(spec, preprocessing, inputs, shape, outputs, classes, facts)


def _completed(
    job: Job, run_data: RunData, spec: InputSpec, sources: dict[str, str], facts: ModelFacts | None
) -> tuple[InputSpec, dict[str, str]]:
    """Return what is known of a teacher's input, with what follows from the data, the students and the file's graph."""
    dataset, students = run_data.dataset, run_data.preprocessing
    if dataset.layout != "NCHW" and (wrong := [key for key in _IMAGE_KEYS if key in sources]):
        message = f"{job.entry.name}: {wrong[0]} is for images, and the data holds none"
        raise InputError(message, f"leave input.{wrong[0]} out")
    # Steps of 1 are pixels, unless the teacher's own normalisation is known: the students' has only small numbers.
    takes_pixels = facts is not None and facts.input_dtype in {"uint8", "int8"} and spec.input_scale == 1
    if not sources.keys() & set(_NORMALISATION) and not takes_pixels:
        update = {"scale": dataset.scale, "mean": students.mean, "std": students.std}
        spec, sources = spec.model_copy(update=update), sources | dict.fromkeys(update, GENERAL)
    if students.data_layout is not None:  # numbers, which have no scale
        numbers = {"data_layout": students.data_layout, "channel_axis": students.channel_axis}
        spec = spec.model_copy(update={**numbers, "scale": spec.scale or 1.0})
    if facts is not None:
        assert job.weights is not None
        spec = with_graph(spec, sources, facts, job.weights)
    return spec, {key: RECIPE if source == GENERAL else source for key, source in sources.items()}


def _with_output(job: Job, facts: ModelFacts, spec: InputSpec, dataset: Dataset) -> ModelFacts:
    """Return the facts with the output that holds the teacher's predictions; raises InputError if there is none."""
    assert job.weights is not None
    targets = dataset.outputs if dataset.task == "regression" else 0
    output = output_of(facts, spec.output, len(spec.labels or dataset.class_names), targets, job.weights)
    if dataset.task == "classification":
        require_logits(output, job.entry.name)
    return replace(facts, output=output)


def _output_count(facts: ModelFacts | None, spec: InputSpec, dataset: Dataset) -> int:
    """Return the number of a teacher's classes, or of the values that it predicts."""
    if facts is not None and dataset.task == "regression":
        return dataset.outputs
    classes = None if facts is None else facts.classes
    return classes or (dataset.outputs if spec.labels is None else len(spec.labels))


def _normalisation(
    preprocessing: Preprocessing, facts: ModelFacts | None, dataset: Dataset, name: str
) -> Normalisation:
    """Return a teacher's normalisation; none for an integer input that takes pixels as they are."""
    if facts is None or facts.input_dtype not in {"uint8", "int8"} or preprocessing.input_scale is not None:
        return Normalisation(preprocessing.mean, preprocessing.std, preprocessing.scale, dataset.channel_axis)
    if (
        (set(preprocessing.mean), set(preprocessing.std)) != ({0.0}, {1.0})
        or facts.input_dtype == "int8"
        or dataset.scale != 255
    ):
        message = f"{name} takes {facts.input_dtype} pixels, which cannot be normalised"
        raise InputError(message, "if it takes quantized values, give input.input_scale and input.input_zero_point")
    return Normalisation((0.0,), (1.0,), 1.0)


def _may_differ(job: Job) -> bool:
    return isinstance(job.entry, Teacher) and job.entry.is_ready and job.weights is not None


def _known(job: Job, facts: ModelFacts) -> tuple[InputSpec, dict[str, str]]:
    """Return what is known of a teacher's input from the recipe, the weights' file and the files next to it."""
    assert job.weights is not None
    given = job.entry.input if isinstance(job.entry, Teacher) else None
    card = card_in_folder(job.weights, facts) if facts.sha256 else None
    spec, sources = merged(specs_of(job.weights, facts, card, given or InputSpec(), InputOptions()))
    return spec, {key: "the recipe" if source == OF_MODEL else source for key, source in sources.items()}


def _geometry(spec: InputSpec, sources: dict[str, str], facts: ModelFacts, dataset: Dataset, name: str) -> Geometry:
    """Return how the data's images become the teacher's; by default they stay unchanged."""
    if dataset.layout != "NCHW":
        return Geometry()
    channels = facts.channels or (len(spec.mean) if spec.mean is not None and "mean" in sources else None)
    usual = channels if channels == 3 or facts.channels else None
    geometry = preprocessing_of(spec, sources, facts.sides or (None, None), usual, name).geometry
    if geometry.colour == ("RGB" if dataset.input_shape[0] == 3 else "grey"):
        geometry = geometry.model_copy(update={"colour": None})
    sides = dataset.input_shape[1:]
    if geometry.interpolation not in FILTERS and scaled_size(sides[0], sides[1], geometry) != sides:
        message = f"{name} resizes by {geometry.interpolation}, which only Pillow does, not the device that teaches"
        raise InputError(message, 'write input.interpolation = "bicubic" or "bilinear"')
    return geometry


def _shape(geometry: Geometry, dataset: Dataset) -> tuple[int, ...]:
    """Return the shape of one sample in `geometry`, channels first."""
    if dataset.layout != "NCHW":
        return dataset.input_shape
    channels, height, width = dataset.input_shape
    colour = {"RGB": 3, "grey": 1}.get(geometry.colour or "", channels)
    return (colour, *fitted_size(height, width, geometry))


def _fitting(facts: ModelFacts, spec: InputSpec, shape: tuple[int, ...], dataset: Dataset, name: str) -> ModelFacts:
    """Return an ONNX file's facts with the layout in which samples of `shape` fit; raises InputError if none does."""
    require_type(facts.input_dtype, dataset.layout, name)
    try:
        layout = layout_for(facts.input_shape, shape, name, dataset.layout)
    except InputError as error:
        sides = facts.sides if dataset.layout == "NCHW" else None
        if sides is None or None in sides or sides == shape[1:]:
            raise
        size = f"input.size = {sides[0] if sides[0] == sides[1] else list(sides)}"
        if sides[0] != sides[1]:  # no crop of images in other proportions need be as large
            size += ', input.resize_mode = "squash"'
        raise InputError(error.message, f"bring the images to its size: {size}") from error
    return replace(facts, layout=spec.layout if layout == "flat" and spec.layout == "NHWC" else layout)


def _classes(job: Job, run_data: RunData, outputs: int, labels: tuple[str, ...] | None) -> ClassMap | None:
    """Return which of a teacher's outputs are the data's classes; None if both have the same order."""
    dataset = run_data.dataset
    if dataset.task == "regression":
        if outputs != dataset.outputs:
            message = f"{job.entry.name} has {outputs} outputs, but the data has {dataset.outputs} targets"
            raise InputError(message, "choose a model of the same targets")
        return None
    occurring = np.unique(run_data.train.labels).tolist()
    inferred = dataset.inferred_classes
    classes = class_map(job.entry.name, outputs, labels, dataset.class_names, occurring, inferred=inferred)
    return None if classes.columns == tuple(range(outputs)) else classes
