"""Classifiers that others trained: the accuracies their authors give.

Of CIFAR-10 the first 1000 images do: numpy and onnxruntime alone find 915 of them right, and 9173 of all 10,000, which
is the published accuracy.
"""

import pytest

from kdbench import data
from kdbench.errors import DataMissingError
from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.measure.predictions.predict import predict
from kdbench.modelfile.facts import inspect
from kdbench.results.cards import ModelCard
from kdbench.results.preprocessing import Preprocessing

CIFAR = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "name", "preprocessing", "top1", "images"),
    [
        ("resnet20_cifar10.onnx", "cifar10", CIFAR, 0.915, 1000),
        ("mnist8.onnx", "mnist", Preprocessing(scale=255), 0.9890, 10_000),
    ],
)
def test_published_accuracy(data_root, foreign_models, context, file, name, preprocessing, top1, images):
    try:
        dataset = data.load(name, root=str(data_root), parts=("test",))
    except DataMissingError as missing:
        pytest.skip(missing.message)
    path = foreign_models / file
    facts = inspect(path, data_shape=dataset.input_shape)
    card = ModelCard(
        id="m",
        name=file,
        role="teacher",
        file=file,
        sha256=facts.sha256,
        input_shape=dataset.input_shape,
        classes=facts.classes,
        parameters=facts.parameters,
        preprocessing=preprocessing,
    )
    models = [BenchModel(card, path, facts)]
    test = TestSet(dataset.test.inputs[:images], dataset.test.labels[:images], dataset.classes)
    predictions = predict(context(models, test), models, test, threads=1)["m"]
    assert (predictions.ranks == 0).mean() == pytest.approx(top1, abs=5e-5)
