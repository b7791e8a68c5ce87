"""What is made of a pretrained teacher: a network, a model to measure, and the test images that it takes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from kdbench import data
from kdbench.data.dataset import Images
from kdbench.distill.teaching.onnx_network import OnnxNetwork
from kdbench.measure.bench_model import BenchModel
from kdbench.recipe import Recipe
from kdbench.recipe.paths import located_data
from kdbench.results.cards import ModelCard
from kdbench.results.preprocessing import Geometry
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.run_data import RunData
from kdbench.workflows.study.teacher_forms import TeacherForm

_SAMPLES = 64  # enough that the logits of some are negative or above 1


def onnx_network(job: Job, form: TeacherForm, run_data: RunData) -> OnnxNetwork:
    """Return the network of a teacher that is an ONNX file; raises InputError for a classifier without logits."""
    assert job.weights is not None, "an ONNX teacher has a file"
    assert form.facts is not None, "an ONNX teacher has facts"
    known = form.preprocessing
    quantization = None if known.input_scale is None else (known.input_scale, known.input_zero_point)
    network = OnnxNetwork(job.weights, form.facts, quantization)
    if run_data.dataset.task == "classification":
        # In even steps: the first samples of sorted data are of one class, whose logits may all be alike.
        places = np.linspace(0, len(run_data.train) - 1, min(_SAMPLES, len(run_data.train)), dtype=np.int64)
        samples = run_data.example(run_data.train.subset(places), _SAMPLES)
        with torch.inference_mode():
            network.read_form(form.inputs(samples), job.entry.name)
    return network


def bench_model(job: Job, form: TeacherForm) -> BenchModel:
    """Return a teacher that is an ONNX file as a model to measure."""
    assert job.weights is not None, "an ONNX teacher has a file"
    assert form.facts is not None, "an ONNX teacher has facts"
    card = ModelCard(
        id=job.id,
        name=job.entry.name,
        role="teacher",
        file=job.weights.name,
        sha256=form.facts.sha256,
        input_shape=form.shape,
        layout=form.facts.layout,
        fixed_batch=form.facts.fixed_batch,
        classes=form.facts.classes,
        parameters=form.facts.parameters,
        preprocessing=form.preprocessing,
    )
    return BenchModel(card, job.weights, form.facts)


def test_images(forms: Sequence[TeacherForm], recipe: Recipe, run_data: RunData) -> dict[Geometry, Images]:
    """Return the test images in the geometries of pretrained teachers that differ from the students', by geometry.

    They are made from the stored images, as in `kdbench bench`.
    """
    loaded: dict[Geometry, Images] = {}
    for form in forms:
        geometry = form.preprocessing.geometry
        if geometry == run_data.preprocessing.geometry or geometry in loaded:
            continue
        root = None if recipe.data.root is None else recipe.located(recipe.data.root)
        name = located_data(recipe.data.name, recipe.folder)
        options: dict[str, Any] = {"root": root, "download": recipe.data.download, "layout": recipe.data.layout}
        options["floats"] = form.preprocessing.data_layout is None
        test = data.load(name, parts=("test",), geometry=geometry, **options).test
        assert test is not None, "loaders return the requested parts or raise"
        loaded[geometry] = test.inputs
    return loaded
