import dataclasses

import numpy as np
import pytest

from kdbench.worker import inputs
from kdbench.worker.jobs import JobModel

MODEL = JobModel(
    id="m",
    path="",
    input="x",
    output="y",
    dtype="float32",
    layout="NCHW",
    shape=(3, 4, 5),
    fixed_batch=None,
    images="",
    scale=255.0,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (2500, 3, 4, 5), dtype=np.uint8)


def by_formula(images):
    mean, std = (np.array(values)[:, None, None] for values in (MODEL.mean, MODEL.std))
    return (images / 255.0 - mean) / std


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float16", 2e-3), ("float64", 1e-12)])
def test_pixels_are_scaled_and_normalised(images, dtype, tolerance):
    result = inputs.prepare(images, dataclasses.replace(MODEL, dtype=dtype))
    assert result.dtype == dtype
    np.testing.assert_allclose(result, by_formula(images), atol=tolerance, rtol=tolerance)


def test_layouts_hold_the_same_values(images):
    planes = inputs.prepare(images, MODEL)
    last = inputs.prepare(images, dataclasses.replace(MODEL, layout="NHWC", shape=(4, 5, 3)))
    flat = inputs.prepare(images, dataclasses.replace(MODEL, layout="flat", shape=(60,)))
    assert last.flags.c_contiguous
    np.testing.assert_array_equal(last.transpose(0, 3, 1, 2), planes)
    np.testing.assert_array_equal(flat, planes.reshape(2500, 60))


def test_a_uint8_model_gets_the_pixels(images):
    plain = dataclasses.replace(MODEL, dtype="uint8", mean=(0.0,), std=(1.0,))
    np.testing.assert_array_equal(inputs.prepare(images, plain), images)


def test_a_small_set_is_prepared_once_for_all_models_that_share_it(images):
    shared = inputs.Inputs()
    (first,) = shared.of(images, MODEL)
    (again,) = shared.of(images, dataclasses.replace(MODEL, id="other", path="other", fixed_batch=3))
    assert again is first
    (different,) = shared.of(images, dataclasses.replace(MODEL, scale=1.0))
    assert different is not first


def test_a_large_set_comes_in_chunks_of_the_same_values(images, monkeypatch):
    monkeypatch.setattr(inputs, "CHUNK_BYTES", 1)
    chunks = list(inputs.Inputs().of(images, MODEL))
    assert [len(chunk) for chunk in chunks] == [1024, 1024, 452]
    np.testing.assert_array_equal(np.concatenate(chunks), inputs.prepare(images, MODEL))
