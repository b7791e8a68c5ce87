"""Noisy linear regression: the statistics that its definition promises, and options in its name."""

import numpy as np
import pytest

from kdbench.data.dataset import Request
from kdbench.data.synthetic import coefficients, load_noisy_linear, read_options
from kdbench.errors import InputError

NAME = "noisy_linear:features=10,samples=4000,test=500,targets=2,noise=0.5"


def loaded(name=NAME, **keys):
    return load_noisy_linear(Request(name, **keys))


def test_targets_are_linear_in_normal_features_and_only_the_training_part_has_noise():
    dataset, beta = loaded(), coefficients(read_options(NAME))
    assert (dataset.task, dataset.outputs, dataset.input_shape) == ("regression", 2, (10,))
    train, test = dataset.train, dataset.test
    assert (train.inputs.shape, test.inputs.shape) == ((4000, 10), (500, 10))
    np.testing.assert_allclose(test.labels, test.inputs @ beta, rtol=1e-5, atol=1e-5)
    residuals = train.labels - train.inputs @ beta
    assert residuals.std(axis=0) == pytest.approx([0.5, 0.5], rel=0.05)
    assert abs(np.corrcoef(residuals.T)[0, 1]) < 0.06
    assert abs(np.corrcoef(train.inputs.T) - np.eye(10)).max() < 0.08
    assert (train.inputs.mean(), train.inputs.std()) == (pytest.approx(0, abs=0.02), pytest.approx(1, abs=0.02))
    assert beta.var() * 10 == pytest.approx(1, abs=0.8)


def test_a_number_depends_on_the_seed_and_its_place_alone():
    first, more = loaded().train, loaded(NAME.replace("samples=4000", "samples=5000")).train
    np.testing.assert_array_equal(more.inputs[:4000], first.inputs)
    np.testing.assert_array_equal(more.labels[:4000], first.labels)
    clean = loaded(NAME.replace("noise=0.5", "noise=0")).train
    louder = loaded(NAME.replace("noise=0.5", "noise=1")).train
    np.testing.assert_allclose(louder.labels - clean.labels, 2 * (first.labels - clean.labels), atol=1e-5)
    assert not np.array_equal(loaded(NAME + ",seed=1").train.inputs, first.inputs)


def test_only_requested_parts_are_there_and_defaults_need_no_colon():
    dataset = loaded("noisy_linear", parts=("test",))
    assert dataset.train is None
    assert (dataset.test.inputs.shape, dataset.class_names) == ((1000, 20), ("y",))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("noisy_linear:feature=3", "feature"),
        ("noisy_linear:features=0", "features"),
        ("noisy_linear:noise=-1", "noise"),
        ("noisy_linear:noise=much", "noise"),
        ("noisy_linear:features", "no value"),
        ("noisy_linear:seed=1,seed=2", "twice"),
        ("noisy_linear:features=10000,samples=10000000", "100,020,001,000 numbers"),
    ],
)
def test_a_wrong_option_is_named(name, message):
    with pytest.raises(InputError, match=message) as caught:
        read_options(name)
    assert caught.value.hint
