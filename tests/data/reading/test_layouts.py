"""Arrays that are no pixels: what their axes mean, what is certain without being told, and what is refused."""

import numpy as np
import pytest

from kdbench.data import DATASETS, load
from kdbench.data.dataset import Dataset, Request, Split
from kdbench.data.reading.arrays import dataset_from_arrays
from kdbench.data.reading.images import axis_statistics
from kdbench.data.reading.layouts import as_inputs, as_tokens
from kdbench.errors import InputError
from kdbench.recipe import Data
from kdbench.workflows.study.run_data import _preprocessing

RNG = np.random.default_rng(0)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def saved(tmp_path, x, **arrays):
    path = tmp_path / "set.npz"
    np.savez(path, x_train=x, y_train=LABELS, x_test=x[:3], y_test=LABELS[:3], **arrays)
    return f"npz:{path}"


def normal(*shape):
    return RNG.normal(30, 5, (6, *shape))


@pytest.mark.parametrize(
    ("layout", "x", "shape", "axis"),
    [
        ("NCHW", normal(13, 4, 5), (13, 4, 5), 1),
        ("NHWC", normal(4, 5, 13), (13, 4, 5), 1),
        ("NCL", normal(2, 9), (2, 9), 1),
        ("NCDHW", normal(1, 3, 4, 5), (1, 3, 4, 5), 1),
        ("vectors", normal(7), (7,), 1),
        ("vectors", RNG.integers(-3, 300, (6, 7)), (7,), 1),
        ("vectors", RNG.integers(0, 2, (6, 7)).astype(bool), (7,), 1),
        ("sequences", normal(9, 4), (9, 4), 2),
        ("NCHW", RNG.integers(0, 10_000, (6, 13, 4, 5)).astype(np.uint16), (13, 4, 5), 1),
    ],
)
def test_numbers_stay_float32_in_the_named_layout(tmp_path, layout, x, shape, axis):
    loaded = load(saved(tmp_path, x), layout=layout)
    expected = x.transpose(0, 3, 1, 2) if layout == "NHWC" else x
    assert loaded.train.inputs.dtype == np.float32
    np.testing.assert_array_equal(loaded.train.inputs, expected.astype(np.float32))
    assert (loaded.input_shape, loaded.channel_axis, loaded.scale) == (shape, axis, 1.0)
    assert loaded.layout == ("NCHW" if layout == "NHWC" else layout)
    assert (loaded.stored_layout, loaded.mean, loaded.std) == (layout, (), ())


def test_floats_of_pixels_stay_floats_once_a_layout_is_named(tmp_path):
    x = RNG.random((6, 3, 4, 5)).astype(np.float32)
    assert load(saved(tmp_path, x)).train.inputs.dtype == np.uint8
    np.testing.assert_array_equal(load(saved(tmp_path, x), layout="NCHW").train.inputs, x)


def test_pixels_stay_pixels_in_a_layout_of_images(tmp_path):
    x = RNG.integers(0, 256, (6, 4, 4, 13), dtype=np.uint8)
    loaded = load(saved(tmp_path, x), layout="NHWC")
    assert (loaded.train.inputs.dtype, loaded.scale, loaded.input_shape) == (np.uint8, 255.0, (13, 4, 4))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int32])
def test_token_ids(tmp_path, dtype):
    x = RNG.integers(0, 50, (6, 9)).astype(dtype)
    loaded = load(saved(tmp_path, x), layout="tokens")
    assert (loaded.train.inputs.dtype, loaded.layout, loaded.mean) == (np.int64, "tokens", ())
    np.testing.assert_array_equal(loaded.train.inputs, x)


@pytest.mark.parametrize(
    ("x", "layout"),
    [
        (normal(7), "vectors"),
        (normal(3, 8, 8), "NCHW"),
        (normal(8, 8, 3), "NHWC"),
        (RNG.random((6, 13, 8, 8)), "NCHW"),  # no other axis can be the channels of square images
        (RNG.integers(0, 256, (6, 8, 8, 13), dtype=np.uint8), "NHWC"),
    ],
)
def test_auto_settles_on_what_is_certain(tmp_path, x, layout):
    assert load(saved(tmp_path, x)).stored_layout == layout


@pytest.mark.parametrize(
    "x", [normal(9, 4), normal(1, 3, 4, 5), RNG.integers(0, 50, (6, 9)), normal(13, 4, 5)], ids=lambda x: f"{x.ndim}-d"
)
def test_auto_guesses_nothing_and_names_layouts_that_work(tmp_path, x):
    with pytest.raises(InputError) as caught:
        load(saved(tmp_path, x))
    fitting = {3: "sequences", 5: "NCDHW", 2: "tokens", 4: "NCHW"}[x.ndim]
    assert "data.layout" in caught.value.hint
    assert fitting in caught.value.hint
    assert load(saved(tmp_path, x), layout=fitting).layout == fitting


@pytest.mark.parametrize(
    ("layout", "x", "message"),
    [
        ("vectors", normal(9, 4), r"shape \(6, 9, 4\)"),
        ("sequences", normal(9), r"shape \(6, 9\)"),
        ("vectors", np.full((6, 3), np.nan), "NaN"),
        ("vectors", np.full((6, 3), 1e300), "beyond the range of float32"),
        ("vectors", np.full((6, 3), "a"), "<U1"),
        ("vectors", np.full((6, 3), 1j), "complex"),
        ("tokens", np.ones((6, 3)), "float64, and tokens are whole numbers"),
        ("tokens", np.full((6, 3), -1), "token -1"),
        ("array", normal(3), "cannot be read"),
    ],
)
def test_what_a_layout_does_not_fit_is_refused(layout, x, message):
    with pytest.raises(InputError, match=message):
        as_inputs(x, layout, "x")


def test_images_alone_are_resized(tmp_path):
    with pytest.raises(InputError, match=r"data\.resize"):
        load(saved(tmp_path, normal(9, 4)), layout="sequences", resize=4)
    assert load(saved(tmp_path, normal(13, 8, 8)), layout="NCHW", resize=4).input_shape == (13, 4, 4)


def test_a_set_with_a_layout_of_its_own_refuses_another():
    with pytest.raises(InputError, match=r"'digits' holds NCHW"):
        load("digits", layout="vectors")
    assert load("digits", layout="NCHW").train.inputs.dtype == np.uint8


def test_statistics_run_over_the_channel_axis():
    x = np.concatenate([normal(9, 4) for _ in range(3)]).astype(np.float32)
    x[..., 2] = 0.1  # constant, and its rounded mean is another number
    mean, std = axis_statistics(x, 2)
    wide = x.astype(np.float64)
    assert mean == pytest.approx(wide.mean(axis=(0, 1)).tolist(), rel=1e-12)
    expected = wide.std(axis=(0, 1))
    expected[2] = 1
    assert std == pytest.approx(expected.tolist(), rel=1e-12)
    assert len(axis_statistics(x, 1)[0]) == 9


def test_statistics_of_large_offsets_keep_their_digits():
    x = (1e6 + RNG.normal(size=(20_000, 2))).astype(np.float32)
    assert axis_statistics(x, 1)[1] == pytest.approx(x.astype(np.float64).std(axis=0).tolist(), rel=1e-9)


REQUEST = Request("mine", layout="sequences")
X, Y = normal(9, 4), LABELS


@pytest.mark.parametrize(
    "arrays",
    [
        {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y, "other": object()},
        (X, Y, X, Y),
        [X.tolist(), Y.tolist(), X, Y],
        ((X, Y), (X, Y)),
    ],
    ids=["mapping", "four arrays", "lists", "two pairs"],
)
def test_plain_arrays_are_a_data_set(arrays):
    dataset = dataset_from_arrays(arrays, REQUEST)
    np.testing.assert_array_equal(dataset.train.inputs, X.astype(np.float32))
    np.testing.assert_array_equal(dataset.test.labels, Y)
    assert (dataset.name, dataset.class_names) == ("mine", ("0", "1", "2"))


@pytest.mark.parametrize("arrays", [None, (X, Y), X, (X, Y, X), {"x_test": np.array([{}]), "y_test": Y}], ids=repr)
def test_other_forms_are_refused_with_those_that_work(arrays):
    with pytest.raises(InputError) as caught:
        dataset_from_arrays(arrays, Request("mine", parts=("test",)))
    assert "arrays" in caught.value.hint or "y_test" in caught.value.hint


def test_a_loader_may_return_plain_arrays_or_a_data_set_of_floats(monkeypatch):
    def plain(request):
        return {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y}

    def whole(request):
        split = Split(X.astype(np.float32), Y)
        return Dataset(request.name, ("a", "b", "c"), split, split, (), (), "mine", channel_axis=2)

    for loader in (plain, whole):
        monkeypatch.setattr(DATASETS, "get", lambda _, loader=loader: loader)
        dataset = load("mine", layout="sequences")
        assert (dataset.layout, dataset.train.inputs.dtype) == ("sequences", np.float32)
        assert dataset.only(("test",)).train is None


def test_tokens_keep_their_type():
    ids = np.array([[1, 2]])
    assert as_tokens(ids, "x") is ids


@pytest.mark.parametrize(("layout", "channels"), [("NHWC", 13), ("auto", 3)])
def test_pixels_are_normalised_by_the_training_part_alone(layout, channels):
    """Without the validation part; a constant channel is shifted alone."""
    x = RNG.integers(0, 256, (60, 5, 6, channels), dtype=np.uint8)
    x[..., 2] = 7
    arrays = {"x_train": x, "y_train": np.arange(60) % 3, "x_test": x[:9], "y_test": np.arange(9) % 3}
    dataset = dataset_from_arrays(arrays, Request("bands", layout=layout))
    training = dataset.train.subset(range(7, 60))
    fitted = _preprocessing(dataset, training, Data(name="bands", layout=layout))
    expected = training.inputs.astype(np.float64) / 255
    np.testing.assert_allclose(fitted.mean, expected.mean(axis=(0, 2, 3)), rtol=1e-12)
    std = expected.std(axis=(0, 2, 3))
    std[2] = 1
    np.testing.assert_allclose(fitted.std, std, rtol=1e-9)
    from_recipe = _preprocessing(dataset, training, Data(name="bands", layout=layout, mean=(0.5,) * channels))
    assert (from_recipe.mean, from_recipe.std) == ((0.5,) * channels, fitted.std)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ma.masked_greater(normal(7), 33), "masked array"),
        (1.7e9 + normal(7), "float32 rounds away"),
        (normal(7) * 1e-60, "float32 rounds away"),
        (np.hstack([normal(6), 2**40 + RNG.integers(0, 9, (6, 1))]), "in channel 6"),
        (normal(7)[:0], "is empty"),
    ],
    ids=["masked", "times", "tiny", "one column", "empty"],
)
def test_values_that_would_be_lost_are_refused(x, message):
    arrays = {"x_train": x, "y_train": LABELS[: len(x)], "x_test": normal(7), "y_test": LABELS}
    with pytest.raises(InputError, match=message):
        dataset_from_arrays(arrays, Request("table", layout="vectors"))


@pytest.mark.parametrize("x", [np.full((6, 7), 1.7e9), 1e6 + normal(7), (1e7 + normal(7)).astype(np.float32)])
def test_numbers_that_float32_holds_well_enough_are_kept(x):
    arrays = {"x_train": x, "y_train": LABELS, "x_test": x, "y_test": LABELS}
    np.testing.assert_array_equal(
        dataset_from_arrays(arrays, Request("t", layout="vectors")).train.inputs, x.astype("f4")
    )


def test_a_masked_array_without_missing_values_is_an_array():
    x = np.ma.masked_greater(normal(7), 1e9)
    arrays = {"x_train": x, "y_train": LABELS, "x_test": x, "y_test": LABELS}
    dataset = dataset_from_arrays(arrays, Request("t", layout="vectors"))
    np.testing.assert_array_equal(dataset.train.inputs, x.data.astype(np.float32))


def test_tokens_beyond_any_vocabulary_are_refused():
    with pytest.raises(InputError, match="the token 9223372036854775813"):
        as_tokens(np.full((2, 3), 2**63 + 5, dtype=np.uint64), "x")
