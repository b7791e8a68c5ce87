"""Evaluation of a test set against a bare batched onnxruntime loop over inputs that are already normalised.

    pytest benchmarks/bench_accuracy.py --benchmark-columns=min,median,rounds -s

The goal is 0.9 of the bare loop's rate or more with the same threads and batch. The time includes writing the images,
starting the process, normalising and returning the logits. The models are those of KDBENCH_MODELS, on random images.
"""

import os
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.measure.context import Context
from kdbench.measure.predictions.predict import predict
from kdbench.measure.staging import stage
from kdbench.modelfile.facts import inspect
from kdbench.results.cards import ModelCard
from kdbench.results.preprocessing import Preprocessing
from kdbench.worker.channel import Channel
from kdbench.worker.inputs import Inputs
from kdbench.worker.probes.logits import batch_size, evaluate
from kdbench.worker.runtimes.onnxruntime import LoadedModel

PROMISE = 0.9
THREADS = 1
ROUNDS = 5
SAMPLES = {"resnet20_cifar10.onnx": 10_000, "mnist8.onnx": 10_000}


@pytest.fixture(params=SAMPLES)
def case(request, tmp_path):
    if not (folder := os.environ.get("KDBENCH_MODELS")):
        pytest.skip("KDBENCH_MODELS is not set; set it to a folder with resnet20_cifar10.onnx and mnist8.onnx")
    path = Path(folder) / request.param
    facts = inspect(path)
    shape = facts.sample_shape
    card = ModelCard(
        id="m",
        name=path.stem,
        role="teacher",
        file=path.name,
        sha256=facts.sha256,
        input_shape=shape,
        classes=facts.classes,
        parameters=facts.parameters,
        preprocessing=Preprocessing(mean=(0.5,), std=(0.25,)),
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (SAMPLES[request.param], *shape), dtype=np.uint8)
    return BenchModel(card, path, facts), TestSet(images, rng.integers(0, 10, len(images))), tmp_path


def bare_loop(session, name, inputs, batch):
    return np.concatenate([session.run(None, {name: inputs[i : i + batch]})[0] for i in range(0, len(inputs), batch)])


def in_turn(benchmark, bare, ours):
    """Time both in every round, and return the median of bare time over ours."""
    ratios = []

    def both():
        times = []
        for work in (bare, ours):
            begin = time.perf_counter()
            work()
            times.append(time.perf_counter() - begin)
        ratios.append(times[0] / times[1])

    benchmark.pedantic(both, rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info["rate_over_bare_loop"] = statistics.median(ratios)
    print(f"\n{statistics.median(ratios):.3f} of the bare loop's rate ({min(ratios):.3f} to {max(ratios):.3f})")
    return statistics.median(ratios)


@pytest.fixture
def bare(case):
    bench_model, test, folder = case
    model = stage([bench_model], test, folder, 0)["m"]
    (inputs,) = Inputs().of(test.inputs, model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(str(bench_model.path), options, providers=["CPUExecutionProvider"])
    return lambda: bare_loop(session, model.input, inputs, batch_size(model))


def bench_evaluation(benchmark, case, bare):
    bench_model, test, folder = case

    def ours():
        models = stage([bench_model], test, folder, 0)
        predict(Context([bench_model], jobs=models, folder=folder), [bench_model], test, THREADS)

    ratio = in_turn(benchmark, bare, ours)
    if bench_model.name == "resnet20_cifar10":  # a second or more; shorter ones are mostly the start of a process
        assert ratio >= PROMISE


def bench_loop_alone(benchmark, case, bare):
    bench_model, test, folder = case
    model = stage([bench_model], test, folder, 0)["m"]
    target = LoadedModel(model, provider="cpu", threads=THREADS)
    inputs = Inputs().of(test.inputs, model)
    batch = batch_size(model)
    channel = Channel()

    def ours():
        evaluate(target, inputs, model.fixed_batch, batch, lambda done: channel.step(done, len(test.inputs)))

    ratio = in_turn(benchmark, bare, ours)
    assert ratio >= PROMISE
